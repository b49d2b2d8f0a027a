"""Making checkpoints: encoders, masked-LM training, fine-tuning. Reading and scoring tasks is left to `tasks`."""

"""Making checkpoints: encoders, masked-LM training, fine-tuning. Reading and scoring tasks is left to `tasks`."""

import os

# torch asks for it at its first allocation, so it has to be said before. Each step makes the gradient of the word
# embeddings anew (47 MB for a width of 384): on pages of 4 kB that is 12,000 faults, and a step of the 6-layer
# MiniLM took 18 % more processor time than on pages of 2 MB. Where the kernel has none it changes nothing.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

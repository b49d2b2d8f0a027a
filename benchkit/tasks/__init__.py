"""Tasks: the GLUE table, readers, splits, metrics, tokenization and scoring, without torch."""

"""Which of several processes that train together this one is, as `accelerate launch` and torchrun tell it."""

import os


def process_count() -> int:
    """Return how many processes train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Tell whether this process is the one that writes and prints; always true without a launcher."""
    return int(os.environ.get("RANK", "0")) == 0

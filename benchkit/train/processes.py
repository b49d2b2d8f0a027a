"""Which of several processes this one is, as `accelerate launch` and torchrun tell it. Talking is left to Trainer."""

import os

import torch


def process_count() -> int:
    """Return how many processes train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Tell whether this process is the one that writes; always true without a launcher."""
    return int(os.environ.get("RANK", "0")) == 0


def said_by_main(flag: bool, device: torch.device) -> bool:
    """Return the main process's flag in all of them: clocks differ, and all must save at the same step."""
    if process_count() == 1:
        return flag
    shared = torch.tensor([flag], dtype=torch.uint8, device=device)
    torch.distributed.broadcast(shared, 0)
    return bool(shared.item())

"""What processes that train together tell each other, beside what Trainer does."""

import torch

from benchkit.core.launcher import process_count


def said_by_main(flag: bool, device: torch.device) -> bool:
    """Return the main process's flag in all of them: clocks differ, and all must save at the same step."""
    if process_count() == 1:
        return flag
    shared = torch.tensor([flag], dtype=torch.uint8, device=device)
    torch.distributed.broadcast(shared, 0)
    return bool(shared.item())

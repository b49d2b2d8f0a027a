"""The folder from which an interrupted training goes on: what it was made from, and its last whole checkpoint.

What lies in a checkpoint is Trainer's, and beside it what `loop` knows.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchkit.core.store import canonical_json, write_text

INPUTS_FILE = "inputs.json"
_STATE_FILE, _BEST_FILE = "benchkit.json", "best.safetensors"
# Trainer writes it last, before it deletes the checkpoint that came earlier.
_LAST_FILE = "trainer_state.json"
_SHOWN_CHANGES = 4


def begin_work(work: Path, inputs: dict[str, Any]) -> str | None:
    """Keep what a training is made from, and delete checkpoints that were made from something else.

    Args:
        work: Folder of the training; made when it is not there.
        inputs: Everything that determines the result; plain JSON.

    Returns:
        A sentence that names what has changed, when that is why training starts again.
    """
    work.mkdir(parents=True, exist_ok=True)
    path, text = work / INPUTS_FILE, canonical_json(inputs) + "\n"
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if before == text:
        return None
    had_progress = last_checkpoint(work) is not None
    for folder in _checkpoints(work):
        shutil.rmtree(folder)
    write_text(path, text)
    if not had_progress:
        return None
    return f"training started again, because what it is made from has changed: {_changes(before, text)}"


def last_checkpoint(work: Path) -> Path | None:
    """Return the newest checkpoint that was written whole."""
    return max((folder for folder in _checkpoints(work) if _is_whole(folder)), key=_step, default=None)


def save_state(folder: Path, state: dict[str, Any], best: dict[str, torch.Tensor] | None) -> None:
    """Write what is not Trainer's into a checkpoint, before Trainer writes its part."""
    folder.mkdir(parents=True, exist_ok=True)
    # Not canonical JSON: a loss on validation may be infinite, and json reads that back.
    (folder / _STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    if best:
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in best.items()}, folder / _BEST_FILE)


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what `save_state` wrote."""
    state = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    best = folder / _BEST_FILE
    return state, safetensors.torch.load_file(best) if best.is_file() else {}


def _checkpoints(work: Path) -> Iterator[Path]:
    return (folder for folder in work.glob("checkpoint-*") if folder.is_dir() and folder.name[11:].isdigit())


def _step(folder: Path) -> int:
    return int(folder.name[11:])


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / _LAST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folder / _STATE_FILE).is_file()


def _changes(before: str | None, after: str) -> str:
    try:
        old = dict(_leaves(json.loads(before or "")))
    except ValueError:
        return f"{INPUTS_FILE} is missing or damaged"
    new = dict(_leaves(json.loads(after)))
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    told = [f"{name} ({_short(old.get(name))} before, {_short(new.get(name))} now)" for name in names[:_SHOWN_CHANGES]]
    return ", ".join(told) + (f" and {len(names) - _SHOWN_CHANGES} more" if len(names) > _SHOWN_CHANGES else "")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 20 else text[:12] + "..."

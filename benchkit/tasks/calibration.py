"""Unlabelled text that activation ranges are found on: a part of the train file that nobody trained on, never dev.

Turning it into batches is left to the quantizers, which know the model's tokenizer.
"""

import dataclasses
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import SplitRecipe
from benchkit.core.store import digest, file_sha256
from benchkit.tasks.readers import read_split, stream_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import Task

DEFAULT_COUNT = 128

_SCORED_ON = re.compile(r"(dev|validation|valid|test)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Texts without labels.

    Attributes:
        first: First or only text of each example.
        second: Second text of each example; None for single texts.
        source: Where they come from, such as "SST-2/train.tsv, unlabelled part".
        sha256: SHA-256 of that file.
        digest: Digest of the texts themselves.
    """

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    source: str
    sha256: str
    digest: str

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.first)


def calibration_for(
    task: Task, data: Path, splits: SplitRecipe, *, count: int = DEFAULT_COUNT, seed: int = 0
) -> Calibration:
    """Draw texts from the part of a task's train file that was carved as unlabelled.

    Texts that stand in the validation file as well, which happens in GLUE, are left out.

    Args:
        task: Row of the task table, or one's own task.
        data: The folder that holds the task's folder.
        splits: How the train file is carved: as for the training, so that no text was trained on.
        count: How many are drawn, as far as there are so many.
        seed: Seed of the draw; the order of the file is kept.

    Raises:
        BenchkitError: The train file cannot be read or carved, or no text is left.
    """
    unlabelled = carve(read_split(task, "train", data), splits).unlabelled
    scored_on = _validation_texts(task, data)
    rows = [
        row for row, text in enumerate(_pairs(unlabelled.first, unlabelled.second)) if _plain(text) not in scored_on
    ]
    chosen = sorted(random.Random(seed).sample(rows, min(count, len(rows))))
    return _calibration(
        tuple(unlabelled.first[row] for row in chosen),
        None if unlabelled.second is None else tuple(unlabelled.second[row] for row in chosen),
        source=f"{unlabelled.source}, unlabelled part",
        sha256=unlabelled.sha256,
    )


def calibration_from_file(
    path: Path, *, count: int = DEFAULT_COUNT, seed: int = 0, task: Task | None = None, data: Path | None = None
) -> Calibration:
    """Draw texts from a file of one text a line; a tab parts the two texts of a pair.

    Args:
        path: The file, UTF-8.
        count: How many are drawn, as far as there are so many.
        seed: Seed of the draw.
        task: With `data`: the task that the model will be scored on, whose validation texts are refused.
        data: The folder that holds the task's folder.

    Raises:
        BenchkitError: No such file, nothing in it, pairs and single texts mixed, or texts that scores are made on.
    """
    if _SCORED_ON.match(path.stem):
        raise BenchkitError(
            f"'{path}' looks like a split that scores are made on, and ranges found on it would flatter the score",
            remedy="give text of the train file, or of your own: --task NAME --data DIR draws from its unlabelled part",
        )
    texts = _lines(path)
    if task is not None and data is not None:
        scored_on = _validation_texts(task, data)
        found = sum(_plain(text) in scored_on for text in texts)
        if found:
            raise BenchkitError(
                f"{found:,} of the {len(texts):,} texts in '{path}' are in the validation split of '{task.name}'",
                remedy="take them out: ranges found on them would flatter the score",
            )
    rows = sorted(random.Random(seed).sample(range(len(texts)), min(count, len(texts))))
    is_pair = len(texts[0]) == 2
    return _calibration(
        tuple(texts[row][0] for row in rows),
        tuple(texts[row][1] for row in rows) if is_pair else None,
        source=path.name,
        sha256=file_sha256(path),
    )


def _calibration(first: tuple[str, ...], second: tuple[str, ...] | None, *, source: str, sha256: str) -> Calibration:
    if not any(text.strip() for text in first):
        raise BenchkitError(
            f"{source}: no text is left to calibrate on", remedy="give a file with text, or a larger unlabelled part"
        )
    return Calibration(
        first=first, second=second, source=source, sha256=sha256, digest=digest({"first": first, "second": second})
    )


def _lines(path: Path) -> list[tuple[str, ...]]:
    try:
        # Only line feeds end a line: str.splitlines would also split at the U+2028 and U+0085 inside sentences.
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise BenchkitError(f"cannot read '{path}': {error.strerror}", remedy="check --calibration-file") from error
    except UnicodeDecodeError as error:
        raise BenchkitError(f"'{path}' is no UTF-8 text", remedy="write it in UTF-8, one text a line") from error
    texts = [tuple(line.removesuffix("\r").split("\t")) for line in lines if line.strip()]
    if not texts:
        raise BenchkitError(f"'{path}' holds no text to calibrate on", remedy="write one text a line into it")
    for number, text in enumerate(texts, 1):
        if len(text) != len(texts[0]) or len(text) > 2:
            raise BenchkitError(
                f"'{path}': text {number} has {len(text)} parts, and the first has {len(texts[0])}",
                remedy="write one text a line, or two with one tab between them on every line",
            )
    return texts


def _validation_texts(task: Task, data: Path) -> set[tuple[str, ...]]:
    """Return every text of the splits that scores are made on; none where such a file is not there."""
    home = task.folder_in(data)
    found: set[tuple[str, ...]] = set()
    for split, file in task.layout.files.items():
        if split.startswith("validation") and (home / file).is_file():
            for chunk in stream_split(task, split, data):
                found.update(_plain(text) for text in _pairs(chunk.first, chunk.second))
    return found


def _pairs(first: Sequence[str], second: Sequence[str] | None) -> Iterable[tuple[str, ...]]:
    return zip(first, strict=True) if second is None else zip(first, second, strict=True)


def _plain(text: tuple[str, ...]) -> tuple[str, ...]:
    """Return texts without what spelling leaves open: case and spaces."""
    return tuple(" ".join(part.casefold().split()) for part in text)

"""Texts and token lengths of a real task, drawn by a seed, so that a model is measured on what it would meet.

Making batches of them is left to `bench.inputs`.
"""

import dataclasses
import random
from pathlib import Path

from benchkit.core.errors import BenchkitError
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer

# GLUE's dev set: texts like those that the model will meet, and not those that it was fitted on. Only their
# lengths and ids are used: no label is read and nothing is chosen, so that it stays a test set.
SPLIT = "validation"

Text = tuple[str, str | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Texts of a task and how long they are to one tokenizer.

    Attributes:
        texts: Text or pair of texts of each example drawn.
        lengths: Tokens of each, special tokens included, after truncation.
        truncated: Examples that were longer than `max_length`.
        max_length: The limit in force: what was asked, or the model's positions where they are fewer.
        source: File below the data folder, such as "SST-2/dev.tsv".
    """

    texts: tuple[Text, ...]
    lengths: tuple[int, ...]
    truncated: int
    max_length: int
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts of a task, drawn by a seed; how long they are depends on who reads them.

    Attributes:
        task: Name of the task.
        texts: Text or pair of texts of each example drawn.
        source: File below the data folder, such as "SST-2/dev.tsv".
    """

    task: str
    texts: tuple[Text, ...]
    source: str


def texts_for(task: Task, folder: Path, *, count: int = 512, seed: int = 0) -> Texts:
    """Draw texts of a task's validation split, without replacement, in random order.

    Args:
        task: Row of the task table.
        folder: The folder that holds the task's folder.
        count: Texts wanted; a smaller split is taken whole.
        seed: Seed of the draw.

    Raises:
        BenchkitError: The split cannot be read.
    """
    examples = read_split(task, SPLIT, folder)
    rows = random.Random(seed).sample(range(len(examples)), min(count, len(examples)))
    second = examples.second
    texts = tuple((examples.first[row], None if second is None else second[row]) for row in rows)
    return Texts(task=task.name, texts=texts, source=examples.source)


def lengths_to(texts: Texts, artifact_folder: Path | None, *, max_length: int | None = None) -> Drawn:
    """Say how long texts are to an artifact's own tokenizer.

    Args:
        texts: What was drawn.
        artifact_folder: Folder of the artifact; None for a bare model file.
        max_length: Most tokens of an example; None takes the model's positions.

    Raises:
        BenchkitError: No usable tokenizer, or `max_length` leaves no room for text.
    """
    if artifact_folder is None:
        raise BenchkitError(
            f"a bare model file has no tokenizer, so that the lengths of '{texts.task}' are not known",
            remedy="give the folder that holds model.onnx, config.json and tokenizer.json, "
            "or a fixed length: --sequence-length 128",
        )
    tokenizer = load_tokenizer(artifact_folder)
    limit = _limit(tokenizer, artifact_folder, max_length)
    second = [text for _, text in texts.texts if text is not None] or None
    encoded = tokenizer.encode([text for text, _ in texts.texts], second, max_length=limit)
    return Drawn(
        texts=texts.texts,
        lengths=tuple(encoded.lengths().tolist()),
        truncated=encoded.truncated,
        max_length=limit,
        source=texts.source,
    )


def _limit(tokenizer: TextTokenizer, folder: Path, max_length: int | None) -> int:
    limits = [limit for limit in (max_length, tokenizer.max_positions) if limit is not None]
    if not limits:
        raise BenchkitError(
            f"neither a length nor the config.json in '{folder}' says how long an input may be",
            remedy="give one: --sequence-length 128",
        )
    return min(limits)

"""Three small made-up tasks in GLUE's file layout, for a first run without any download.

They exercise the whole pipeline and tell models of unlike capacity apart. They are never GLUE: the
task table marks them as "toy", and their names begin with toy-.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from benchkit.core.store import write_text
from benchkit.tasks.toy_entailment import entailment_row, fact_text, other_entailment
from benchkit.tasks.toy_sentiment import flipped_sentiment, sentiment_row
from benchkit.tasks.toy_similarity import similarity_row

# Wrong labels in train and dev alike: no honest model reaches 100 %.
_WRONG_LABELS = 0.04
# Raters differ: the spread of a similarity score around the true one.
_RATER_SPREAD = 0.3

_Fields = tuple[str, ...]


def write_toy_tasks(folder: Path, *, seed: int = 0, train: int = 6000, dev: int = 800) -> None:
    """Write `train.tsv` and `dev.tsv` of toy-sentiment, toy-entailment and toy-similarity.

    The same seed and sizes give the same bytes. No text occurs twice in a task, so none of dev is in
    train. What makes an example hard is said at each grammar's `..._row`.

    Args:
        folder: Gets one folder a task, as `--data` wants it; made when absent.
        seed: Seed of everything.
        train: Examples of each train split.
        dev: Examples of each dev split.
    """
    tasks: dict[str, tuple[_Fields, Callable[[random.Random], _Fields]]] = {
        "toy-sentiment": (("sentence", "label"), _sentiment),
        "toy-entailment": (("sentence1", "sentence2", "label"), _entailment),
        "toy-similarity": (("sentence1", "sentence2", "score"), _similarity),
    }
    for name, (columns, draw) in tasks.items():
        # A text seed is hashed by SHA-512, the same in every process; each task has its own stream.
        rows = _distinct(draw, random.Random(f"{name} {seed}"), train + dev)
        _write(folder / name / "train.tsv", columns, rows[:train])
        _write(folder / name / "dev.tsv", columns, rows[train:])


def _distinct(draw: Callable[[random.Random], _Fields], rng: random.Random, size: int) -> list[_Fields]:
    row_by_text: dict[_Fields, _Fields] = {}
    while len(row_by_text) < size:
        row = draw(rng)
        row_by_text.setdefault(row[:-1], row)
    return list(row_by_text.values())


def _write(path: Path, columns: _Fields, rows: Sequence[_Fields]) -> None:
    """Write a file with a header; pairs begin with a running index, as in GLUE."""
    lines = [columns, *rows]
    if len(columns) > 2:
        lines = [("index", *columns), *((str(number), *row) for number, row in enumerate(rows))]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def _sentiment(rng: random.Random) -> _Fields:
    text, label = sentiment_row(rng)
    return text, flipped_sentiment(label) if rng.random() < _WRONG_LABELS else label


def _entailment(rng: random.Random) -> _Fields:
    premise, hypothesis, label = entailment_row(rng)
    if rng.random() < _WRONG_LABELS:
        label = other_entailment(label)
    return fact_text(rng, premise), fact_text(rng, hypothesis), label


def _similarity(rng: random.Random) -> _Fields:
    first, second, score = similarity_row(rng)
    if rng.random() < _WRONG_LABELS:
        score = rng.uniform(0, 5)
    return first, second, f"{min(5.0, max(0.0, rng.gauss(score, _RATER_SPREAD))):.3f}"

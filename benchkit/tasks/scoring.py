"""Score an open session on the examples of a task: the very artifact that would be deployed.

Opening the session is left to `runtimes`, making batches and calling to `batching` and `answering`; records, hosts
and cells to `bench`.
"""

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Statistic
from benchkit.runtimes.protocol import Array
from benchkit.stats.bootstrap import Bounds
from benchkit.tasks.answering import Answerer, Logits
from benchkit.tasks.batch_effect import BatchEffect, batch_effect, check_finite
from benchkit.tasks.batching import Batching, windows
from benchkit.tasks.intervals import BoundedScore, bounded_scores
from benchkit.tasks.label_order import LabelOrder, label_order
from benchkit.tasks.metrics import predictions
from benchkit.tasks.readers import Examples
from benchkit.tasks.tokenization import Encoded

__all__ = ["LabelOrder", "Scored", "label_order", "score_session"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What scoring found.

    Attributes:
        logits: Shape (n, outputs): rows in the order of the examples, columns in that of the task's labels.
        predictions: Class of each example, or its score; shape (n,).
        labels: Class or score that each example has, shape (n,); None where they are not known.
        statistics: Value and bounds of every metric of the task, the headline first; {} without labels.
        bounds: How each metric's bounds were drawn.
        batching: How the batches were made.
        effect: What batching changes.
        largest_batch: Most examples of a call.
        calls_at_once: Calls that ran at the same time.
        truncated: Examples that were longer than the limit.
        empty: Examples with a sentence that is empty or blank.
        real_tokens: Tokens of text and special tokens.
        padded_tokens: Tokens the model computed, padding included.
        elapsed_s: From texts to logits: tokenizing, padding and calls; not reading, the look at what batching changes
            and the bounds.
        warnings: What a reader of the score has to know.
    """

    logits: Logits
    predictions: Array
    labels: Array | None
    statistics: dict[str, Statistic]
    bounds: dict[str, Bounds]
    batching: Batching
    effect: BatchEffect
    largest_batch: int
    calls_at_once: int
    truncated: int
    empty: int
    real_tokens: int
    padded_tokens: int
    elapsed_s: float
    warnings: tuple[str, ...]

    @property
    def padding_waste(self) -> float:
        """Share of the computed tokens that was padding."""
        return 1 - self.real_tokens / self.padded_tokens

    @property
    def examples_per_s(self) -> float:
        """Examples a second, tokenizing included."""
        return len(self.logits) / self.elapsed_s

    def batching_details(self) -> dict[str, Any]:
        """Return how batches were made and what they change, as a record keeps it."""
        effect = dataclasses.asdict(self.effect)
        return {
            "mode": "examples" if self.batching.tokens is None else "tokens",
            "batch_tokens": self.batching.tokens,
            "batch_size": self.largest_batch,
            "calls_at_once": self.calls_at_once,
        } | {key: value for key, value in effect.items() if key != "refusal" or value is not None}


def score_session(
    answerer: Answerer,
    examples: Examples | Iterable[Examples],
    *,
    batch_size: int | None,
    batch_tokens: int,
    label_order: tuple[int, ...],
    total: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Scored:
    """Run every example once and hold the answers against the labels, if there are any.

    Texts are taken window by window, and only logits and labels are kept of them. A dynamically quantized model
    answers differently in different batches (its activation ranges are the batch's), which a sample of the first
    window shows: such a model is scored one example at a time unless a batch size is given.

    Args:
        answerer: The open model.
        examples: The examples, whole or in chunks.
        batch_size: Examples per call, the last call of a window may have fewer; None lets the sample decide.
        batch_tokens: Most tokens of a call, padding included, of a model that batches do not change.
        label_order: For each label of the task, the model's output that stands for it.
        total: Examples there will be, about; None where nobody knows.
        seed: Seed of the sample and of the bounds.
        progress: Told after each call.

    Raises:
        BenchkitError: There are no examples, the output is not logits of the task, or some are not finite.
    """
    task = answerer.task
    run = _Run(answerer, label_order, total, progress)
    effect: BatchEffect | None = None
    batching = Batching(tokens=batch_tokens) if batch_size is None else Batching(examples=batch_size)
    for window in windows(examples):
        began_s = time.perf_counter()
        encoded = answerer.encode(window)
        run.elapsed_s += time.perf_counter() - began_s
        if effect is None:
            effect = batch_effect(answerer, encoded, seed=seed)
            if batch_size is None and effect.is_felt:
                batching = Batching(examples=1)
        began_s = time.perf_counter()
        run.take(window, encoded, batching)
        run.elapsed_s += time.perf_counter() - began_s
    if effect is None:
        raise BenchkitError(f"there are no examples of '{task.name}'", remedy="give data with at least one example")
    logits, labels = run.joined()
    check_finite(logits, task.name)
    scores = {} if labels is None else bounded_scores(task, logits, labels, seed=seed)
    return Scored(
        logits=logits,
        predictions=predictions(task, logits),
        labels=labels,
        statistics={name: score.statistic for name, score in scores.items()},
        bounds={name: score.bounds for name, score in scores.items()},
        batching=batching,
        effect=effect,
        largest_batch=run.largest_batch,
        calls_at_once=answerer.calls_at_once,
        truncated=run.truncated,
        empty=run.empty,
        real_tokens=run.real_tokens,
        padded_tokens=run.padded_tokens,
        elapsed_s=run.elapsed_s,
        warnings=_warnings(run, scores),
    )


class _Run:
    """What is kept of the windows."""

    def __init__(self, answerer: Answerer, label_order: tuple[int, ...], total: int | None, progress: Progress) -> None:
        self.max_length = answerer.max_length
        self.done = self.truncated = self.empty = self.real_tokens = self.padded_tokens = self.largest_batch = 0
        self.elapsed_s = 0.0
        self._answerer = answerer
        self._order = list(label_order)
        self._total = total
        self._progress = progress
        self._logits: list[Logits] = []
        self._labels: list[npt.NDArray[Any]] = []

    def take(self, window: Examples, encoded: Encoded, batching: Batching) -> None:
        """Answer one window and keep what is needed of it."""
        answers = self._answerer.answer(encoded, batching, self._answered)
        self._logits.append(answers.logits[:, self._order])
        if window.labels is not None:
            self._labels.append(np.array(window.labels))
        self.truncated += encoded.truncated
        self.empty += _empty(window)
        self.real_tokens += int(encoded.lengths().sum())
        self.padded_tokens += answers.padded_tokens
        self.largest_batch = max(self.largest_batch, answers.largest_batch)

    def joined(self) -> tuple[Logits, Array | None]:
        """Return logits (n, outputs) and labels (n,) in the order of the examples, and keep them no longer."""
        logits = np.concatenate(self._logits)
        self._logits.clear()
        labels = np.concatenate(self._labels) if self._labels else None
        return logits, labels

    def _answered(self, examples: int) -> None:
        self.done += examples
        name = self._answerer.task.name
        if self._total is None:
            self._progress(f"{name}: {self.done:,} examples")
            return
        total = max(self._total, self.done)
        self._progress(f"{name}: {self.done:,} of {total:,} examples", self.done / total)


def _empty(window: Examples) -> int:
    """Count examples with an empty sentence; of a pair, either one."""
    pairs = zip(window.first, window.second or window.first, strict=True)
    return sum(not first.strip() or not second.strip() for first, second in pairs)


def _warnings(run: _Run, scores: dict[str, BoundedScore]) -> tuple[str, ...]:
    found = []
    if run.truncated:
        found.append(f"{run.truncated:,} of {run.done:,} examples were truncated to {run.max_length} tokens")
    if run.empty:
        found.append(f"{run.empty:,} of {run.done:,} examples have an empty sentence, which was scored as it is")
    figures = {name: score.statistic for name, score in scores.items()}
    return (*found, *(f"{name}: {figure.reason}" for name, figure in figures.items() if figure.reason is not None))

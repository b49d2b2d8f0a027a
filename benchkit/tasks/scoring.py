"""Score an open session on the examples of a task: the very artifact that would be deployed.

Opening the session is left to `runtimes`; records, hosts and cells to `bench`.
"""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Statistic
from benchkit.runtimes.protocol import Array, Session
from benchkit.stats.bootstrap import Bounds
from benchkit.tasks.intervals import bounded_scores
from benchkit.tasks.label_order import LabelOrder, label_order
from benchkit.tasks.metrics import predictions
from benchkit.tasks.readers import Examples
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import Encoded, TextTokenizer

__all__ = ["LabelOrder", "Scored", "label_order", "score_session"]

_HEAD_NEEDED = "score a model with a classification head for this task; any model can be profiled: benchkit profile"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What scoring found.

    Attributes:
        logits: Shape (n, outputs): rows in the order of the examples, columns in that of the task's labels.
        predictions: Class of each example, or its score; shape (n,).
        statistics: Value and bounds of every metric of the task, the headline first.
        bounds: How each metric's bounds were drawn.
        truncated: Examples that were longer than the limit.
        real_tokens: Tokens of text and special tokens.
        padded_tokens: Tokens the model computed, padding included.
        elapsed_s: From the first text to the last logit; tokenizing included, bounds not.
        warnings: What a reader of the score has to know.
    """

    logits: npt.NDArray[np.float64]
    predictions: Array
    statistics: dict[str, Statistic]
    bounds: dict[str, Bounds]
    truncated: int
    real_tokens: int
    padded_tokens: int
    elapsed_s: float
    warnings: tuple[str, ...]


def score_session(
    session: Session,
    tokenizer: TextTokenizer,
    task: Task,
    examples: Examples,
    *,
    batch_size: int,
    max_length: int,
    label_order: tuple[int, ...],
    seed: int = 0,
    progress: Progress = silent,
) -> Scored:
    """Run every example once and hold the answers against the labels.

    Batches are made of examples of like length, longest first, each padded to its own longest. A
    dynamically quantized model answers differently in different batches (its activation ranges
    are the batch's): its score belongs to the batch size.

    Args:
        session: Open model whose first output is logits of shape (batch, outputs).
        tokenizer: The model's own.
        task: Row of the task table.
        examples: Labelled examples.
        batch_size: Examples per call; the last call may have fewer.
        max_length: Most tokens of an example.
        label_order: For each label of the task, the model's output that stands for it.
        seed: Seed of the bounds.
        progress: Told after each call.

    Raises:
        BenchkitError: The examples have no labels, the output is not logits of the task, or some are not finite.
    """
    if examples.labels is None:
        raise BenchkitError(
            f"{examples.source} has no labels, so nothing can be scored on it", remedy="use --split validation"
        )
    began_s = time.perf_counter()
    encoded = tokenizer.encode(examples.first, examples.second, max_length=max_length)
    logits = np.empty((len(examples), task.outputs))
    padded_tokens = done = 0
    for rows in _batches(encoded, batch_size):
        feed = tokenizer.pad(encoded.take(rows))
        logits[rows] = _checked(session.call(session.prepare(feed)), len(rows), task)
        padded_tokens += feed["input_ids"].size
        done += len(rows)
        progress(f"scored {done:,} of {len(examples):,} examples of {task.name}", done / len(examples))
    elapsed_s = time.perf_counter() - began_s
    logits = logits[:, list(label_order)]
    _check_finite(logits, task)
    scores = bounded_scores(task, logits, np.array(examples.labels), seed=seed)
    return Scored(
        logits=logits,
        predictions=predictions(task, logits),
        statistics={name: score.statistic for name, score in scores.items()},
        bounds={name: score.bounds for name, score in scores.items()},
        truncated=encoded.truncated,
        real_tokens=int(encoded.lengths().sum()),
        padded_tokens=padded_tokens,
        elapsed_s=elapsed_s,
        warnings=_warnings(encoded, max_length, {name: score.statistic for name, score in scores.items()}),
    )


def _batches(encoded: Encoded, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each batch. The longest come first, so that a lack of memory shows at once."""
    order = np.argsort(-encoded.lengths(), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _checked(output: Array, rows: int, task: Task) -> Array:
    wanted = (rows, task.outputs)
    if output.shape == wanted:
        return output
    if output.ndim == 2 and output.shape[0] == rows:
        problem = f"{output.shape[1]} outputs an example, and task '{task.name}' needs {task.outputs}"
        raise BenchkitError(
            f"the model gives {problem}: sentence embeddings, another task's head, or no logits at all",
            remedy=_HEAD_NEEDED,
        )
    raise BenchkitError(
        f"the model's first output has shape {output.shape}, and logits of task '{task.name}' have {wanted}: "
        "hidden states of an encoder without a head, it seems",
        remedy=_HEAD_NEEDED,
    )


def _check_finite(logits: npt.NDArray[np.float64], task: Task) -> None:
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise BenchkitError(
            f"{broken:,} of {len(logits):,} examples of '{task.name}' got logits that are not finite",
            remedy="the model is damaged or overflows in its precision: compare with fp32",
        )


def _warnings(encoded: Encoded, max_length: int, statistics: dict[str, Statistic]) -> tuple[str, ...]:
    found = [f"{name}: {figure.reason}" for name, figure in statistics.items() if figure.reason is not None]
    if encoded.truncated:
        found.insert(0, f"{encoded.truncated:,} of {len(encoded):,} examples were truncated to {max_length} tokens")
    return tuple(found)

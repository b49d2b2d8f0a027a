"""The metrics of GLUE, and macro F1: computed for one sample or for a block of resamples by the same code.

Bounds are left to `benchkit.stats.bootstrap`; which task is judged by which metric is in `table`.

Source: Wang et al., "GLUE" (arXiv 1804.07461), section 3; each formula at its function.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import unknown_name
from benchkit.stats.bootstrap import Counts, Floats, Weighted
from benchkit.tasks.table import Task

Answers = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As in the task table and in records.
        weighted: Takes answers (kinds,) and labels (kinds,), gives a statistic of counts (draws, kinds).
        undefined: The value that GLUE's own scorer (scikit-learn, scipy) gives where the formula divides
            zero by zero.
    """

    name: str
    weighted: Callable[[Answers, Answers], Weighted]
    undefined: float

    def __call__(self, answers: Answers, labels: Answers) -> float:
        """Return the metric of answers (n,) against labels (n,); NaN where not even the scorer defines it."""
        if len(labels) == 0 or answers.shape != labels.shape:
            raise ValueError(
                f"{self.name} needs as many answers as labels, at least one: {answers.shape}, {labels.shape}"
            )
        return self.of_kinds(answers, labels, len(labels))

    def of_kinds(self, answers: Answers, labels: Answers, occurrences: int | npt.NDArray[np.integer[Any]]) -> float:
        """Return the metric of kinds of examples, each with its answer and label.

        Args:
            answers: Answer of each kind, shape (kinds,).
            labels: Label of each kind, shape (kinds,).
            occurrences: Examples of each kind, shape (kinds,); or their number, each a kind of its own.
        """
        counts = np.ones(occurrences) if isinstance(occurrences, int) else occurrences.astype(np.float64)
        value = float(self.weighted(answers, labels)(counts[None, :])[0])
        return self.undefined if np.isnan(value) else value


def evaluate(task: Task, logits: npt.NDArray[np.floating[Any]], labels: Answers) -> dict[str, float]:
    """Return every metric of the task by name, the headline first.

    Args:
        task: Row of the task table.
        logits: Shape (n, outputs), columns in the order of the task's labels.
        labels: Class indices or scores, shape (n,).

    Returns:
        Values by name; a correlation is NaN where answers or labels are all the same.
    """
    answers = predictions(task, logits)
    return {name: metric_named(name)(answers, np.asarray(labels)) for name in task.metrics}


def predictions(task: Task, logits: npt.NDArray[np.floating[Any]]) -> Answers:
    """Return the class of each row, shape (n,); for a regression its score."""
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def metric_named(name: str) -> Metric:
    """Return the metric of that name, or raise the error that names the nearest one."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def _accuracy(answers: Answers, labels: Answers) -> Weighted:
    right = (answers == labels).astype(np.float64)
    return lambda counts: _ratio(counts @ right, counts.sum(axis=1))


def _f1(answers: Answers, labels: Answers) -> Weighted:
    """F1 of class 1: 2 TP / (2 TP + FP + FN)."""
    hits = ((answers == 1) & (labels == 1)).astype(np.float64)
    marks = (answers == 1).astype(np.float64) + (labels == 1)
    return lambda counts: _ratio(2 * (counts @ hits), counts @ marks)


def _macro_f1(answers: Answers, labels: Answers) -> Weighted:
    """Mean F1 of the classes that are answered or labelled in a sample, each class counting the same."""
    classes = np.union1d(answers, labels)
    answered, labelled = (
        (values[:, None] == classes).astype(np.float64) for values in (np.asarray(answers), np.asarray(labels))
    )

    def weighted(counts: Counts) -> Floats:
        by_class = _ratio(2 * (counts @ (answered * labelled)), counts @ (answered + labelled))
        # A class that a resample leaves out has no F1 there; at least one class is in every sample.
        present = ~np.isnan(by_class)
        return _ratio(np.where(present, by_class, 0).sum(axis=1), present.sum(axis=1).astype(np.float64))

    return weighted


def _matthews(answers: Answers, labels: Answers) -> Weighted:
    """Matthews correlation of any number of classes.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient" (2004).
    """
    classes = np.union1d(answers, labels)
    right = (answers == labels).astype(np.float64)
    answered, labelled = (
        (values[:, None] == classes).astype(np.float64) for values in (np.asarray(answers), np.asarray(labels))
    )

    def weighted(counts: Counts) -> Floats:
        n, p, t = counts.sum(axis=1), counts @ answered, counts @ labelled
        spread = (n**2 - (p * p).sum(axis=1)) * (n**2 - (t * t).sum(axis=1))
        return _ratio(n * (counts @ right) - (p * t).sum(axis=1), np.sqrt(np.maximum(spread, 0)))

    return weighted


def _pearson(answers: Answers, labels: Answers) -> Weighted:
    # Centring first keeps the one-pass variance from cancelling; a correlation does not see the shift.
    x, y = (np.asarray(values, dtype=np.float64) - np.mean(values) for values in (answers, labels))
    moments = np.stack([x, y, x * x, y * y, x * y], axis=1)
    scale = np.array([max((x * x).mean(), 1e-300), max((y * y).mean(), 1e-300)])

    def weighted(counts: Counts) -> Floats:
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = (counts @ moments / counts.sum(axis=1, keepdims=True)).T
        variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
        # A resample of one value repeated has a variance of rounding errors instead of zero.
        flat = (variance_x <= 1e-12 * scale[0]) | (variance_y <= 1e-12 * scale[1])
        return _ratio(mean_xy - mean_x * mean_y, np.where(flat, 0, np.sqrt(np.abs(variance_x * variance_y))))

    return weighted


def _spearman(answers: Answers, labels: Answers) -> Weighted:
    """Pearson correlation of the ranks within each resample, ties at their mean rank."""
    rank_answers, rank_labels = _ranker(np.asarray(answers)), _ranker(np.asarray(labels))

    def weighted(counts: Counts) -> Floats:
        middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
        x, y = rank_answers(counts) - middle, rank_labels(counts) - middle
        products, xx, yy = (np.einsum("ij,ij,ij->i", counts, *pair) for pair in ((x, y), (x, x), (y, y)))
        return _ratio(products, np.sqrt(xx * yy))

    return weighted


def _ranker(values: Answers) -> Weighted:
    """Return a function that gives each example's mean rank in each resample, shape (draws, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    # Callers who bring distinct values in ascending order are spared the sorting.
    if np.array_equal(group, np.arange(len(values))):
        return lambda counts: np.cumsum(counts, axis=1) - (counts - 1) / 2
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))

    def ranks(counts: Counts) -> Floats:
        of_group = np.add.reduceat(counts[:, order], starts, axis=1)
        return np.take(np.cumsum(of_group, axis=1) - (of_group - 1) / 2, group, axis=1)

    return ranks


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN where the divisor is zero."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


_NAN = float("nan")

METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", weighted=_accuracy, undefined=_NAN),
        Metric(name="f1", weighted=_f1, undefined=0.0),
        Metric(name="macro_f1", weighted=_macro_f1, undefined=_NAN),
        Metric(name="matthews", weighted=_matthews, undefined=0.0),
        Metric(name="pearson", weighted=_pearson, undefined=_NAN),
        Metric(name="spearman", weighted=_spearman, undefined=_NAN),
    )
}

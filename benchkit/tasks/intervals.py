"""Scores with their bounds, and the difference of two scores on the same examples.

The formulas are in `metrics`, the resampling in `benchkit.stats`; a verdict is left to `judge`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchkit.core.records import Statistic
from benchkit.stats.bootstrap import DRAWS, Bounds, bootstrap_bounds
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.paired_scores import PairedDifference, paired_bootstrap, paired_difference
from benchkit.tasks.metrics import Answers, Metric, metric_named, predictions
from benchkit.tasks.table import Task

Logits = npt.NDArray[np.floating[Any]]

# Resampled examples in all, by metric of a regression, whose examples are all of different kinds. Ranking costs about
# 30 ns an example and a Pearson moment about 10 ns: these keep bounds of up to 100,000 examples near a second.
_RESAMPLED_EXAMPLES = {"spearman": 20_000_000, "pearson": 100_000_000}
# With 200 draws a bound lies within a sixth of a standard error, and a million examples take some seconds.
_FEWEST_DRAWS = 200


class BoundedScore(NamedTuple):
    """A score as a record keeps it, and how its bounds came about."""

    statistic: Statistic
    bounds: Bounds


def bounded_scores(task: Task, logits: Logits, labels: Answers, *, seed: int = 0) -> dict[str, BoundedScore]:
    """Return every metric of the task with bounds, the headline first.

    Args:
        task: Row of the task table.
        logits: Shape (n, outputs), columns in the order of the task's labels.
        labels: Class indices or scores, shape (n,).
        seed: Seed of the resampling.
    """
    answers = predictions(task, logits)
    return {name: _bounded(metric_named(name), answers, labels, task, seed) for name in task.metrics}


def score_differences(
    task: Task, logits_a: Logits, logits_b: Logits, labels: Answers, *, seed: int = 0
) -> dict[str, PairedDifference]:
    """Return B less A on the same examples, for every metric of the task.

    Accuracy is compared by its discordant examples and McNemar's exact test, other metrics by a
    paired bootstrap.
    """
    answers = np.stack([predictions(task, logits_a), predictions(task, logits_b)])
    differences = {}
    for name in task.metrics:
        if name == "accuracy":
            differences[name] = paired_difference(answers[0] == labels, answers[1] == labels)
            continue
        (kinds_a, kinds_b), kind_labels, occurrences = _kinds(task, answers, labels)
        weighted = metric_named(name).weighted
        differences[name] = paired_bootstrap(
            weighted(kinds_a, kind_labels),
            weighted(kinds_b, kind_labels),
            occurrences,
            seed=seed,
            draws=_draws(task, name, len(labels)),
        )
    return differences


def _bounded(metric: Metric, answers: Answers, labels: Answers, task: Task, seed: int) -> BoundedScore:
    (kinds,), kind_labels, occurrences = _kinds(task, answers[None, :], labels)
    n = len(labels)
    value = metric.of_kinds(kinds, kind_labels, occurrences)
    bounds = bootstrap_bounds(
        metric.weighted(kinds, kind_labels), occurrences, seed=seed, draws=_draws(task, metric.name, n)
    )
    low, high, reason = bounds.low, bounds.high, bounds.reason
    if metric.name == "accuracy" and bounds.constant:
        # All right or all wrong: the exact binomial bound (Clopper and Pearson, 1934) still holds.
        reach = 1 - ALPHA ** (1 / n)
        low, high, reason = (1 - reach, 1.0, None) if value == 1 else (0.0, reach, None)
    if np.isnan(value):
        reason = f"{metric.name} is undefined: all answers or all labels are the same"
        statistic = Statistic(value=None, n=n, reason=reason)
    else:
        statistic = Statistic(value=value, low=low, high=high, n=n, reason=reason)
    return BoundedScore(statistic, bounds)


def _kinds(
    task: Task, answers: Answers, labels: Answers
) -> tuple[Answers, Answers, int | npt.NDArray[np.integer[Any]]]:
    """Gather the examples that no metric can tell apart: answers (models, kinds), labels, occurrences."""
    if task.is_regression:
        order = np.argsort(answers[0], kind="stable")  # Spares one of the two rankings its sorting.
        return answers[:, order], labels[order], len(labels)
    # One number for each cell of the confusion matrix: sorting it takes a tenth of sorting columns.
    cells = np.zeros(len(labels), dtype=np.int64)
    for column in (*answers, labels):
        cells = cells * task.outputs + column.astype(np.int64)
    kinds, occurrences = np.unique(cells, return_counts=True)
    columns = []
    for _ in range(len(answers) + 1):
        kinds, column = np.divmod(kinds, task.outputs)
        columns.append(column)
    return np.stack(columns[:0:-1]), columns[0], occurrences


def _draws(task: Task, metric: str, n: int) -> int:
    if not task.is_regression:
        return DRAWS
    return min(DRAWS, max(_FEWEST_DRAWS, _RESAMPLED_EXAMPLES[metric] // n))

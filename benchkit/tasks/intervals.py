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

# Ranking a resample costs about 30 ns an example: this many keep Spearman's bounds below a second.
_RANKED_EXAMPLES = 20_000_000
_FEWEST_DRAWS = 1_000


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
            draws=_draws(name, len(labels)),
        )
    return differences


def _bounded(metric: Metric, answers: Answers, labels: Answers, task: Task, seed: int) -> BoundedScore:
    value = metric(answers, labels)
    (kinds,), kind_labels, occurrences = _kinds(task, answers[None, :], labels)
    n = len(labels)
    bounds = bootstrap_bounds(metric.weighted(kinds, kind_labels), occurrences, seed=seed, draws=_draws(metric.name, n))
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
    kinds, occurrences = np.unique(np.vstack([answers, labels]), axis=1, return_counts=True)
    return kinds[:-1], kinds[-1], occurrences


def _draws(metric: str, n: int) -> int:
    return DRAWS if metric != "spearman" else min(DRAWS, max(_FEWEST_DRAWS, _RANKED_EXAMPLES // n))

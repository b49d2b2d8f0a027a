"""Scores with bounds and paired differences of whole tasks."""

import numpy as np
import pytest

from benchkit.tasks.intervals import bounded_scores, score_differences
from benchkit.tasks.metrics import evaluate
from benchkit.tasks.table import task_named


def logits_of(right_share: float, labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    answers = np.where(rng.random(len(labels)) < right_share, labels, 1 - labels)
    return np.eye(2)[answers] + rng.normal(0, 0.01, (len(labels), 2))


LABELS = (np.arange(600) % 3 == 0).astype(int)


@pytest.mark.parametrize("name", ["mrpc", "cola", "sst2"])
def test_value_bounds_and_n(name: str) -> None:
    task, logits = task_named(name), logits_of(0.8, LABELS, 0)
    scores = bounded_scores(task, logits, LABELS, seed=1)
    assert list(scores) == list(task.metrics)
    for metric, value in evaluate(task, logits, LABELS).items():
        statistic = scores[metric].statistic
        assert statistic.value == pytest.approx(value)
        assert statistic.n == 600
        assert statistic.low is not None
        assert statistic.high is not None
        assert value - 0.12 < statistic.low < value < statistic.high < value + 0.12
        assert (scores[metric].bounds.draws, scores[metric].bounds.seed) == (10_000, 1)


def test_regression_has_bounds_and_many_examples_fewer_ranked_draws() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 4000)
    scores = bounded_scores(task_named("stsb"), (labels + rng.normal(0, 1, 4000))[:, None], labels)
    assert scores["spearman"].bounds.draws == 5_000
    assert scores["pearson"].bounds.draws == 10_000
    for score in scores.values():
        # Fisher's interval of a correlation near .82 at n = 4,000 is about +-.009.
        assert score.statistic.low == pytest.approx((score.statistic.value or 0) - 0.009, abs=0.003)


def test_all_right_is_bounded_exactly() -> None:
    statistic = bounded_scores(task_named("sst2"), np.eye(2)[LABELS], LABELS)["accuracy"].statistic
    assert (statistic.value, statistic.high, statistic.reason) == (1, 1, None)
    assert statistic.low == pytest.approx(0.05 ** (1 / 600))
    statistic = bounded_scores(task_named("sst2"), np.eye(2)[1 - LABELS], LABELS)["accuracy"].statistic
    assert (statistic.value, statistic.low) == (0, 0)
    assert statistic.high == pytest.approx(1 - 0.05 ** (1 / 600))


def test_one_class_answered_scores_zero_without_bounds() -> None:
    statistic = bounded_scores(task_named("cola"), np.tile([1.0, 0.0], (600, 1)), LABELS)["matthews"].statistic
    assert (statistic.value, statistic.low, statistic.high) == (0, None, None)
    assert "undefined" in (statistic.reason or "")


def test_constant_answers_have_no_correlation() -> None:
    statistic = bounded_scores(task_named("stsb"), np.full((50, 1), 2.5), np.arange(50) / 10)["spearman"].statistic
    assert statistic.value is None
    assert "all answers or all labels are the same" in (statistic.reason or "")


def test_differences_are_paired() -> None:
    task, worse = task_named("mrpc"), logits_of(0.8, LABELS, 0)
    better = worse.copy()
    wrong = np.flatnonzero(worse.argmax(axis=1) != LABELS)[:20]
    better[wrong] = better[wrong, ::-1]
    seen = score_differences(task, worse, better, LABELS)
    assert (seen["accuracy"].gained, seen["accuracy"].lost) == (20, 0)
    assert seen["accuracy"].p_value == pytest.approx(2 * 0.5**20)
    values = [evaluate(task, logits, LABELS)["f1"] for logits in (worse, better)]
    assert seen["f1"].value == pytest.approx(values[1] - values[0])
    assert seen["f1"].low is not None
    assert seen["f1"].low > 0  # Unpaired, the bounds of each would overlap widely.


def test_correlations_are_paired_by_example() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 300)
    answers = labels + rng.normal(0, 1, 300)
    same = score_differences(task_named("stsb"), answers[:, None], 2 * answers[:, None] + 1, labels)
    for difference in same.values():
        assert difference.value == pytest.approx(0, abs=1e-12)
        assert difference.low is None or difference.low == pytest.approx(0, abs=1e-9)
        assert difference.high is None or difference.high == pytest.approx(0, abs=1e-9)

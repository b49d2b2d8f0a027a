"""Metrics against scikit-learn and scipy; resampled metrics against metrics of the resampled examples."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from benchkit.core.errors import BenchkitError
from benchkit.tasks.metrics import METRICS, evaluate, metric_named
from benchkit.tasks.table import TASKS, task_named

REFERENCE = {
    "accuracy": lambda a, y: reference.accuracy_score(y, a),
    "f1": lambda a, y: reference.f1_score(y, a, zero_division=0),
    "macro_f1": lambda a, y: reference.f1_score(y, a, average="macro", zero_division=0),
    "matthews": lambda a, y: reference.matthews_corrcoef(y, a),
    "pearson": lambda a, y: stats.pearsonr(a, y)[0],
    "spearman": lambda a, y: stats.spearmanr(a, y)[0],
}


def case(name: str, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if name in ("pearson", "spearman"):
        labels = np.round(rng.uniform(0, 5, n) * 2) / 2  # Ties, as in STS-B.
        return np.round(labels + rng.normal(0, 1.5, n), 1 + seed % 3), labels
    labels = (rng.random(n) < 0.3).astype(int)
    return np.where(rng.random(n) < 0.75, labels, 1 - labels), labels


def test_every_metric_of_every_task_is_known() -> None:
    assert {name for task in TASKS.values() for name in task.metrics} | {"macro_f1"} == set(METRICS) == set(REFERENCE)
    with pytest.raises(BenchkitError, match="unknown metric 'f2'"):
        metric_named("f2")


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("seed", "n"), [(0, 20), (1, 101), (2, 2000), (3, 7)])
def test_metrics_equal_the_reference(name: str, seed: int, n: int) -> None:
    answers, labels = case(name, seed, n)
    assert METRICS[name](answers, labels) == pytest.approx(REFERENCE[name](answers, labels), abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_resample_scores_as_the_examples_repeated(name: str) -> None:
    answers, labels = case(name, 5, 60)
    rng = np.random.default_rng(1)
    picks = [rng.integers(0, 60, 60) for _ in range(20)]
    counts = np.array([np.bincount(pick, minlength=60) for pick in picks], dtype=float)
    seen = METRICS[name].weighted(answers, labels)(counts)
    assert seen == pytest.approx([REFERENCE[name](answers[pick], labels[pick]) for pick in picks], abs=1e-12)


def test_matthews_of_three_classes() -> None:
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    answers[:120] = labels[:120]
    assert METRICS["matthews"](answers, labels) == pytest.approx(reference.matthews_corrcoef(labels, answers))


@pytest.mark.parametrize("name", ["f1", "matthews"])
def test_one_class_only_scores_zero_as_scikit_learn_does(name: str) -> None:
    zeros = np.zeros(10, dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert METRICS[name](zeros, zeros) == REFERENCE[name](zeros, zeros) == 0
    assert np.isnan(METRICS[name].weighted(zeros, zeros)(np.ones((1, 10)))[0])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlation_of_a_constant_is_undefined(name: str) -> None:
    assert np.isnan(METRICS[name](np.full(9, 0.1), np.arange(9.0)))
    # A resample of one example, nine times: rounding must not make a correlation of it.
    values = np.linspace(0.1, 0.9, 9)
    once = np.zeros((1, 9))
    once[0, 3] = 9
    assert np.isnan(METRICS[name].weighted(values, values**2)(once)[0])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_pearson_survives_a_large_offset(offset: float) -> None:
    answers, labels = case("pearson", 1, 200)
    assert METRICS["pearson"](answers + offset, labels) == pytest.approx(stats.pearsonr(answers, labels)[0], abs=1e-8)


def test_no_examples_are_no_score() -> None:
    with pytest.raises(ValueError, match="at least one"):
        METRICS["accuracy"](np.array([]), np.array([]))


def test_evaluate_gives_the_headline_first() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    scores = evaluate(task_named("mrpc"), logits, np.array([1, 0, 0, 1]))
    assert list(scores) == ["f1", "accuracy"]
    assert scores == {"f1": pytest.approx(0.5), "accuracy": pytest.approx(0.5)}
    scores = evaluate(task_named("stsb"), np.array([[1.0], [2.0], [4.0]]), np.array([0.5, 1.0, 2.0]))
    assert scores == {"spearman": pytest.approx(1), "pearson": pytest.approx(1)}

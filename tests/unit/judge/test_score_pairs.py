"""Paired scores: verdicts, what could have been found, and what a record keeps."""

import numpy as np
import pytest

from benchkit.bench.matrix import Matrix
from benchkit.core.artifacts import load_artifact
from benchkit.judge.score_pairs import ScoreVerdict, compare_answers, compare_scores, detectable_difference
from benchkit.stats.paired_scores import paired_difference
from benchkit.tasks.table import task_named

SST2, STSB, COLA = task_named("sst2"), task_named("stsb"), task_named("cola")


def answers(n: int, *, gained: int, lost: int) -> np.ndarray:
    """Answers of two models: right on all, but for the discordant ones."""
    labels = np.arange(n) % 2
    a, b = labels.copy(), labels.copy()
    a[:gained] = 1 - a[:gained]
    b[gained : gained + lost] = 1 - b[gained : gained + lost]
    return np.stack([a, b, labels])


@pytest.mark.parametrize(
    ("gained", "lost", "word"),
    [
        (0, 0, ScoreVerdict.KEPT),
        (0, 60, ScoreVerdict.WORSE),
        (60, 5, ScoreVerdict.BETTER),
        (10, 14, ScoreVerdict.INCONCLUSIVE),
    ],
)
def test_four_words(gained: int, lost: int, word: ScoreVerdict) -> None:
    found = compare_answers(SST2, answers(872, gained=gained, lost=lost))
    assert found.verdict is word
    assert (found.headline.gained, found.headline.lost) == (gained, lost)
    assert found.reason


def test_half_a_point_is_not_found_on_sst2() -> None:
    """872 examples at a disagreement of 2.4 %: 1.3 points."""
    found = compare_answers(SST2, answers(872, gained=10, lost=11))
    assert found.detectable == pytest.approx(0.013, abs=0.001)
    right = np.ones(277, dtype=bool)
    other = right.copy()
    other[:20] = False
    assert detectable_difference(paired_difference(right, other)) == pytest.approx(0.042, abs=0.004)  # RTE


def test_other_metrics_are_resampled() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 200)
    close, far = labels + rng.normal(0, 0.3, 200), labels + rng.normal(0, 2, 200)
    found = compare_answers(STSB, np.stack([close, far, labels]))
    assert found.verdict is ScoreVerdict.WORSE
    assert set(found.differences) == {"spearman", "pearson"}
    assert found.detectable is not None
    again = compare_answers(COLA, answers(300, gained=5, lost=5))
    assert again.metric == "matthews"


def test_an_undefined_score_decides_nothing() -> None:
    flat = np.stack([np.ones(50), np.ones(50), np.ones(50)])
    found = compare_answers(STSB, flat)
    assert found.verdict is ScoreVerdict.INCONCLUSIVE
    assert found.detectable is None


def test_a_record_keeps_the_answers_and_the_labels() -> None:
    found = compare_answers(SST2, answers(40, gained=2, lost=1)).measurements()["score_difference"]
    assert [len(row) for row in found.runs] == [40, 40, 40]
    assert found.statistics["accuracy"].value == pytest.approx(1 / 40)
    assert found.details["p_value"] == 1.0


def test_two_artifacts_on_the_same_examples(pico_onnx, tiny_sst2) -> None:
    artifact = load_artifact(pico_onnx)
    found = compare_scores(artifact, artifact, SST2, tiny_sst2, Matrix(sequence_length=(16,)))
    assert found.headline.value == 0.0
    assert found.answers.shape == (3, 20)

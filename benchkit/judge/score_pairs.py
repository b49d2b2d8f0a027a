"""Two scores on the same examples: the difference with its bounds, what could have been found, a verdict."""

import dataclasses
import enum
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from benchkit.bench.matrix import Matrix
from benchkit.bench.score import ScoreSettings, data_for, score_examples
from benchkit.core.artifacts import Artifact
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Measured, Measurement, Statistic
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.paired_scores import PairedDifference
from benchkit.tasks.intervals import score_differences
from benchkit.tasks.metrics import predictions
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import Task

MAX_DROP = 0.005  # Of the headline metric, as a share of 1.
SPLIT = "validation"
_POWER = 0.8

Answers = npt.NDArray[Any]


class ScoreVerdict(enum.StrEnum):
    """What can be said of B's score against A's."""

    BETTER = "better"
    KEPT = "kept"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComparison:
    """What the same examples say of two scores.

    Attributes:
        verdict: The word.
        reason: Why, in one sentence.
        task: Task name.
        metric: The task's headline metric: what is judged.
        differences: Score of B less that of A, by metric, the headline first.
        detectable: Smallest true difference that these examples tell from none with 80 % power, at the disagreement
            seen; None without bounds.
        max_drop: Loss that counts.
        answers: Class or score of each example: of A, of B, and the label; shape (3, n).
        seed: Seed of the resampling.
        warnings: What a reader has to know of the two scorings.
    """

    verdict: ScoreVerdict
    reason: str
    task: str
    metric: str
    differences: dict[str, PairedDifference]
    detectable: float | None
    max_drop: float
    answers: Answers
    seed: int
    warnings: tuple[str, ...] = ()

    @property
    def headline(self) -> PairedDifference:
        """The difference that is judged."""
        return self.differences[self.metric]

    def measurements(self) -> dict[str, Measurement]:
        """Return what goes into a record: the answers of both, the labels, and the differences."""
        details: dict[str, Any] = {
            "task": self.task,
            "split": SPLIT,
            "headline": self.metric,
            "metrics": list(self.differences),
            "rows": ["a", "b", "label"],
            "verdict": str(self.verdict),
            "max_drop": self.max_drop,
            "detectable": self.detectable,
            "seed": self.seed,
            "gained": self.headline.gained,
            "lost": self.headline.lost,
            "p_value": self.headline.p_value,
            "method": {name: difference.method for name, difference in self.differences.items()},
        }
        runs = tuple(tuple(float(f"{answer:.7g}") for answer in row) for row in self.answers)
        statistics = {name: as_statistic(difference) for name, difference in self.differences.items()}
        return {"score_difference": Measured(unit="ratio", runs=runs, statistics=statistics, details=details)}


def as_statistic(difference: PairedDifference) -> Statistic:
    """Return a difference as a figure of a record."""
    return Statistic(
        value=difference.value, low=difference.low, high=difference.high, n=difference.n, reason=difference.reason
    )


def compare_scores(
    a: Artifact,
    b: Artifact,
    task: Task,
    data: Path | None,
    matrix: Matrix,
    *,
    max_drop: float = MAX_DROP,
    progress: Progress = silent,
) -> ScoreComparison:
    """Score both artifacts on the same examples, as the matrix's cell calls them, and compare.

    Args:
        a: The artifact that is compared with.
        b: The artifact in question.
        task: What both are scored on.
        data: Folder in the layout of the GLUE download; None for toy tasks.
        matrix: Gives runtime, device, threads, batch size and seed.
        max_drop: Loss of the headline metric that counts.
        progress: Told after each call.

    Raises:
        BenchkitError: No tokenizer, no head for this task, or broken data.
    """
    examples = read_split(task, SPLIT, data_for(task, data))
    settings = ScoreSettings(
        batch_size=matrix.batch_size[0],
        runtime=matrix.runtime[0],
        device=matrix.device[0],
        threads=matrix.threads[0],
        seed=matrix.seed,
    )
    answered = [score_examples(artifact, task, examples, settings, progress=progress) for artifact in (a, b)]
    answers = np.stack(
        [*(predictions(task, one.scored.logits) for one in answered), np.asarray(examples.labels, dtype=np.float64)]
    )
    names = dict.fromkeys(warning for one in answered for warning in one.warnings)
    found = compare_answers(task, answers, max_drop=max_drop, seed=matrix.seed)
    return dataclasses.replace(found, warnings=tuple(names))


def compare_answers(task: Task, answers: Answers, *, max_drop: float = MAX_DROP, seed: int = 0) -> ScoreComparison:
    """Compare two models by their answers to the same examples.

    Args:
        task: Row of the task table.
        answers: Answers of A, answers of B, labels: classes or scores, shape (3, n).
        max_drop: Loss of the headline metric that counts.
        seed: Seed of the resampling.
    """
    # As they stand in a record, so that the record gives the same differences.
    answers = np.array([[float(f"{answer:.7g}") for answer in row] for row in answers])
    labels = answers[2] if task.is_regression else answers[2].astype(np.int64)
    logits = [_as_logits(task, row) for row in answers[:2]]
    differences = score_differences(task, logits[0], logits[1], labels, seed=seed)
    metric = task.metrics[0]
    verdict, reason = _verdict(differences[metric], metric, max_drop)
    return ScoreComparison(
        verdict=verdict,
        reason=reason,
        task=task.name,
        metric=metric,
        differences=differences,
        detectable=detectable_difference(differences[metric]),
        max_drop=max_drop,
        answers=answers,
        seed=seed,
    )


def detectable_difference(difference: PairedDifference, *, alpha: float = ALPHA) -> float | None:
    """Return the smallest true difference that is told from none with 80 % power; None without bounds.

    The spread is that of the discordant examples where right and wrong exist, else that of the bootstrap bounds.
    """
    reach = float(special.ndtri(1 - alpha))
    if difference.gained is not None and difference.lost is not None:
        # Half an example in each cell, as in the bounds: no disagreement seen is not no disagreement.
        error = math.sqrt((difference.gained + difference.lost + 1) / (difference.n + 2) / difference.n)
    elif difference.low is not None and difference.high is not None:
        error = (difference.high - difference.low) / (2 * reach)
    else:
        return None
    return (reach + float(special.ndtri(_POWER))) * error


def _as_logits(task: Task, answers: Answers) -> Answers:
    """Return logits whose answers are the given ones."""
    if task.is_regression:
        return answers[:, None]
    return np.eye(task.outputs)[answers.astype(np.int64)]


def _verdict(difference: PairedDifference, metric: str, max_drop: float) -> tuple[ScoreVerdict, str]:
    if difference.low is None or difference.high is None:
        return ScoreVerdict.INCONCLUSIVE, difference.reason or f"{metric} has no bounds"
    if difference.high < -max_drop:
        return ScoreVerdict.WORSE, f"{metric} falls by more than {_points(max_drop)}"
    if difference.low > 0:
        return ScoreVerdict.BETTER, f"{metric} rises"
    if difference.low >= -max_drop:
        return ScoreVerdict.KEPT, f"a loss of {metric} above {_points(max_drop)} is ruled out"
    return ScoreVerdict.INCONCLUSIVE, f"a loss of {metric} above {_points(max_drop)} is neither shown nor ruled out"


def _points(share: float) -> str:
    return f"{100 * share:.3g} points"

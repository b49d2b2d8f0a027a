"""The smallest change that this machine can tell from none: one artifact compared with itself.

The pairs are measured by `pairs`, and judged by `compare`, as those of two artifacts would be.
"""

import dataclasses
import math
import re
from typing import Any

import numpy as np
from scipy import special

from benchkit.bench.matrix import Matrix
from benchkit.core.artifacts import Artifact
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Noise, Record
from benchkit.judge.compare import LOOKS, MARGIN, Comparison, Verdict, minimum_detectable
from benchkit.judge.pairs import compare_artifacts
from benchkit.stats.order_statistics import ALPHA

_RUN = re.compile(r"^run \d+: ")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DECIDED = (Verdict.SLOWER, Verdict.FASTER)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """What a number of pairs finds with 80 % power.

    Attributes:
        pairs: The number.
        change: Smallest change that would be told from none, as a share.
        change_at_most: The same from the upper 95 % bound of the spread: few pairs know it badly.
        slower: Smallest increase that would be called slower, beyond the margin.
    """

    pairs: int
    change: float
    change_at_most: float
    slower: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What an artifact compared with itself says of the machine.

    Attributes:
        quantity: What was compared.
        margin: Relative change that counts.
        comparison: The pairs: B is A.
        spread: Standard deviation of the log ratio of one pair.
        detectable: By number of pairs.
        obstacle: Why nothing can be decided on this machine now; None when it can.
    """

    quantity: str
    margin: float
    comparison: Comparison
    spread: float
    detectable: tuple[Detectable, ...]
    obstacle: str | None

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        if self.comparison.pairs < LOOKS[0]:
            return f"what can be seen here takes {LOOKS[0]} pairs to say, and these are {self.comparison.pairs}"
        most = self.detectable[-1]
        return f"a change below {most.change:.1%} cannot be seen here with {most.pairs} pairs"

    def as_json(self) -> dict[str, Any]:
        """Return the calibration as a JSON object."""
        ratio, control = self.comparison.ratio, self.comparison.control
        return {
            "quantity": self.quantity,
            "margin": self.margin,
            "pairs": self.comparison.pairs,
            "verdict": str(self.comparison.verdict),
            "ratio": ratio._asdict(),
            "control_ratio": control._asdict(),
            "spread": _finite(self.spread),
            "detectable": [
                {name: _finite(value) for name, value in dataclasses.asdict(row).items()} for row in self.detectable
            ],
            "obstacle": self.obstacle,
            "finding": self.sentence,
        }


def calibrate(
    artifact: Artifact,
    matrix: Matrix,
    *,
    quantity: str = "latency",
    margin: float = MARGIN,
    max_seconds: float | None = None,
    progress: Progress = silent,
) -> tuple[Calibration, Record]:
    """Compare an artifact with itself and say what the spread of the pairs allows to find.

    Args:
        artifact: Any; what is told holds for calls of about its duration.
        matrix: Exactly one cell.
        quantity: As in `compare_artifacts`.
        margin: Relative change that counts.
        max_seconds: Budget of time; what is there at its end is reported.
        progress: Told of each pair.

    Raises:
        BenchkitError: More than one cell, or a quantity that no pair of processes gives.
        MeasurementFailed: A worker crashed.
    """
    compared = compare_artifacts(
        artifact, artifact, matrix, quantity=quantity, margin=margin, max_seconds=max_seconds, progress=progress
    )
    found = calibration(compared.comparison, compared.record.noise, quantity=quantity, margin=margin)
    return found, compared.record


def calibration(comparison: Comparison, noise: Noise, *, quantity: str, margin: float) -> Calibration:
    """Say what the spread of an A/A comparison's pairs allows to find.

    Args:
        comparison: Of an artifact with itself.
        noise: Verdict of its record.
        quantity: What was compared.
        margin: Relative change that counts.
    """
    logs = np.array([math.log(triple.b / triple.a) for triple in comparison.triples])
    n, alpha = len(logs), ALPHA / len(LOOKS)
    # The variance of n normal values is below its estimate times (n - 1) / chi2(.05; n - 1), with 95 %.
    wider = math.sqrt((n - 1) / special.chdtri(n - 1, 1 - ALPHA)) if n > 1 else math.inf
    rows = tuple(
        Detectable(
            pairs=pairs,
            change=minimum_detectable(logs, margin=0.0, alpha=alpha, pairs=pairs),
            change_at_most=minimum_detectable(logs * wider, margin=0.0, alpha=alpha, pairs=pairs),
            slower=minimum_detectable(logs, margin=margin, alpha=alpha, pairs=pairs),
        )
        for pairs in LOOKS
    )
    return Calibration(
        quantity=quantity,
        margin=margin,
        comparison=comparison,
        spread=float(np.std(logs, ddof=1)) if n > 1 else math.inf,
        detectable=rows,
        obstacle=_obstacle(comparison, noise, margin),
    )


def _finite(value: float) -> float | None:
    """Return a number that JSON has: what no number of pairs tells is None."""
    return value if math.isfinite(value) else None


def _obstacle(comparison: Comparison, noise: Noise, margin: float) -> str | None:
    """Say why a gate would decide nothing here."""
    if noise.verdict != "clean":
        # The runs do not matter here: what disturbed several of them alike is said once.
        kinds = {_NUMBER.sub("#", reason): _RUN.sub("", reason) for reason in reversed(noise.reasons)}
        return f"the machine was not quiet: {'; '.join(list(kinds.values())[-3:])}"
    if comparison.pairs < LOOKS[0]:
        return comparison.reason
    half = math.log1p(margin) / 2
    low, high = comparison.control.low, comparison.control.high
    if low is None or high is None or math.log(low) < -half or math.log(high) > half:
        return f"the control differs from A by more than half the margin of {margin:.0%}"
    if comparison.verdict in _DECIDED:
        return f"the same artifact twice was called {comparison.verdict}"
    return None

"""What a comparison leaves in a record: ratios with bounds, by which rules they were judged, what A did meanwhile."""

import math
from collections.abc import Sequence
from typing import Any

from benchkit.core.records import Measured, Statistic
from benchkit.judge.compare import Comparison
from benchkit.judge.looks import Rules


def ratio_measurement(comparison: Comparison, rules: Rules, *, left_out: Sequence[str] = ()) -> Measured:
    """Return the ratios of a comparison with their bounds, and by which rules they were judged.

    Args:
        comparison: What the pairs say.
        rules: How it was decided.
        left_out: What disturbed each triple that was measured again.
    """
    details: dict[str, Any] = {
        "verdict": str(comparison.verdict),
        "judged_pairs": comparison.pairs,
        "taken_pairs": len(comparison.triples),
        "margin": rules.margin,
        "better": rules.better,
        "looks": list(rules.looks),
        "must_detect": rules.must_detect,
        "detectable": _or_none(comparison.detectable),
        "expected_detectable": _or_none(comparison.expected),
        "ended": comparison.ended,
        "disturbed_triples_left_out": list(left_out),
    }
    statistics = ratio_statistics(comparison)
    if comparison.repeat is not None:
        statistics |= {f"repeat_{name}": figure for name, figure in ratio_statistics(comparison.repeat).items()}
        details["repeat"] = {
            "verdict": str(comparison.repeat.verdict),
            "judged_pairs": comparison.repeat.pairs,
            "taken_pairs": len(comparison.repeat.triples),
        }
    return Measured(unit="ratio", statistics=statistics, details=details)


def ratio_statistics(comparison: Comparison) -> dict[str, Statistic]:
    """Return the ratio of B to A, of the control to A, and what A did from the first pair to the last."""
    n, drift = comparison.pairs, comparison.drift
    pairs = {"ratio": comparison.ratio, "control_ratio": comparison.control}
    found = {
        name: Statistic(value=centre.estimate, low=centre.low, high=centre.high, n=n) for name, centre in pairs.items()
    }
    ends = [None if change is None else 1 + change for change in (drift.low, drift.high)]
    return found | {"drift_ratio": Statistic(value=1 + drift.change, low=ends[0], high=ends[1], n=n)}


def _or_none(share: float) -> float | None:
    return None if math.isinf(share) else share

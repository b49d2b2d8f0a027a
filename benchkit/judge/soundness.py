"""Whether figures that were measured may decide anything.

They may on a quiet machine, with arrivals that were kept up with, and where the runs settled as far as the figure asks.
"""

from collections.abc import Mapping, Sequence

from benchkit.bench.noise_verdict import BEARABLE_SHARE
from benchkit.core.records import Measured, Record


def why_unsound(statistic: str, record: Record, measurement: Measured) -> str | None:
    """Say why figures that were measured decide nothing; None when they may."""
    if record.noise.verdict != "clean":
        return f"the machine was {record.noise.verdict}: {'; '.join(record.noise.reasons[:2])}"
    details = measurement.details
    dirty = [number for number, one in enumerate(details.get("contaminated") or (), 1) if one]
    if dirty:
        return f"energy window {', '.join(map(str, dirty))}: other processes used the CPU, whose joules count too"
    served = [one for one in details.get("runs") or () if isinstance(one, Mapping)]
    if any(one.get("cut") or one.get("waiting") or one.get("overloaded") for one in served):
        return "the system could not keep up with the arrivals: responses of those that still waited are missing"
    words = [str(one.get("verdict")) for one in details.get("steadiness") or () if isinstance(one, Mapping)]
    unsettled = unsettled_of(statistic, words)
    if len(unsettled) > BEARABLE_SHARE * len(words):
        return f"{len(unsettled)} of {len(words)} runs did not settle ({', '.join(sorted(set(unsettled)))})"
    return None


def unsettled_of(statistic: str, words: Sequence[str]) -> list[str]:
    """Return the words of the runs whose unsteadiness the bounds of a figure do not hold.

    A median's bounds hold what comes and goes: of machines that change between two levels, or whose level walks, the
    rows with unsettled runs err no more often than nominal, and less often than those whose runs happened to look
    steady. They do not hold a direction that the runs share, a warm-up or a heating of each process: against 5 % of
    change in every run, the bounds of six runs err in four of ten cases. So a median counts what goes one way more
    often than the other. Tails are pooled over runs and count every unsettled one.

    Source: simulated in tests/unit/judge/test_unsettled.py.
    """
    if statistic != "p50":
        return [word for word in words if word not in ("steady", "unknown")]
    slowing, speeding = words.count("slowing"), words.count("speeding")
    return ["slowing"] * (slowing - speeding) or ["speeding"] * (speeding - slowing)

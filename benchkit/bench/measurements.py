"""Outcomes of the workers -> measurements of quantities: one small function a quantity.

What a cell is and whether it is void is left to `record` and `verdict_on_noise`; statistics come from `stats`.
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchkit.bench.workload import InputFacts
from benchkit.core.errors import BenchkitError
from benchkit.core.records import Measured, Measurement, NotMeasured, Statistic
from benchkit.meters.cold_start import adds_up, unaccounted_share
from benchkit.meters.energy import EnergyWindow, Reading, summarise_windows
from benchkit.stats.summaries import exact_statistics, measured

Outcome = dict[str, Any]


def closed_loop(timed: Sequence[Outcome], alpha: float) -> dict[str, Measurement]:
    """Return the latency of single calls, with everything that it was taken with.

    What `stats.stationarity` calls warm-up is kept apart from the values, and never thrown away.
    """
    values, early, begins = [], [], []
    for outcome in timed:
        start = outcome["steadiness"]["start"]
        seconds = _seconds(outcome["latency_ns"])
        values.append(seconds[start:])
        early.append(_seconds(outcome["warmup_ns"]) + seconds[:start])
        begins.append(outcome["begin_us"][start:])
    details = {
        "begin_us": begins,
        "warmup_s": early,
        "first_input": [outcome["steadiness"]["start"] for outcome in timed],
        "batches": timed[0]["fed"],
        "steadiness": [outcome["steadiness"] for outcome in timed],
        "overhead_s": _overhead(timed),
    }
    found = measured("latency", values, alpha=alpha, overhead_s=details["overhead_s"])
    return {"latency": _with_details(found, details)}


def texts(timed: Sequence[Outcome], alpha: float) -> dict[str, Measurement]:
    """Return what the tokenizer takes, and what it takes together with the model, where texts were fed."""
    pairs = {"tokenize_time": "tokenize_ns", "end_to_end_latency": "end_to_end_ns"}
    return {
        quantity: measured(quantity, [_seconds(outcome[key]) for outcome in timed], alpha=alpha)
        for quantity, key in pairs.items()
    }


def open_loop(timed: Sequence[Outcome], batch_size: int, alpha: float) -> dict[str, Measurement]:
    """Return response times from the scheduled arrival, or the largest rate that kept the bound."""
    served = [outcome["served"] for outcome in timed]
    raw = ("arrival_ns", "begin_ns", "end_ns", "response_ns", "lateness_ns")
    details = {
        "runs": [{key: value for key, value in one.items() if key not in raw} for one in served],
        "arrival_s": [_seconds(one.get("arrival_ns", ())) for one in served],
        "service_s": [_seconds(map(operator.sub, one["end_ns"], one["begin_ns"])) for one in served if "end_ns" in one],
        "lateness_ns": [one.get("lateness_ns") for one in served],
    }
    found: dict[str, Measurement] = {}
    responses = [_seconds(one.get("response_ns", ())) for one in served]
    # A search keeps the responses of what it confirmed only: they would say nothing that was not asked for.
    if any(responses) and not any("search" in one for one in served):
        response_time = measured("response_time", responses, alpha=alpha, overhead_s=_overhead(timed))
        found["response_time"] = _with_details(response_time, details)
    if any("search" in one for one in served):
        found["sustained_rate"] = _sustained([one["rate_per_s"] for one in served], served, batch_size, alpha)
    return found


def _sustained(
    rates_per_s: Sequence[float | None], served: Sequence[Outcome], batch_size: int, alpha: float
) -> Measurement:
    none = [one["search"] for one in served if one["rate_per_s"] is None]
    missed = sorted({search["reason"] for search in none if not search.get("out_of_time")})
    if missed:
        return NotMeasured(
            reason="bound_not_met", detail="; ".join(missed), remedy="allow a higher --p99-at-most-s, or a faster cell"
        )
    if len(none) == len(served):
        remedy = "give the search longer: --max-seconds, half of which is for the searches"
        return NotMeasured(reason="out_of_time", detail=none[0]["reason"], remedy=remedy)
    # A search that was cut says nothing of the rate: the others stand, and all of them are in the details.
    values = per_run(rate * batch_size for rate in rates_per_s if rate is not None)
    found = measured("sustained_rate", values, alpha=alpha)
    return _with_details(found, {"searches": [one["search"] for one in served]})


def saturated(timed: Sequence[Outcome], batch_size: int, alpha: float) -> dict[str, Measurement]:
    """Return what the saturated window gives: examples and real tokens a second, CPU time an example."""
    windows = [outcome["window"] for outcome in timed]
    facts = [InputFacts.from_json(outcome["fed"]) for outcome in timed]
    pairs = list(zip(windows, facts, strict=True))
    rates: dict[str, Iterable[float]] = {
        "throughput": (window["calls"] * batch_size / window["wall_s"] for window in windows),
        "token_throughput": (fact.tokens_in(window["calls"]) / window["wall_s"] for window, fact in pairs),
        "cpu_time": (window["cpu_s"] / (window["calls"] * batch_size) for window in windows),
    }
    details = {"windows": windows, "examples_per_call": batch_size}
    found: dict[str, Measurement] = {
        quantity: _with_details(
            measured(quantity, per_run(values), alpha=alpha), details if quantity == "throughput" else {}
        )
        for quantity, values in rates.items()
    }
    waste = facts[0].padding_waste
    found["padding_waste"] = Measured(
        unit="ratio",
        runs=((waste,),),
        statistics=exact_statistics(waste),
        details={"shapes": facts[0].shapes, "truncated": facts[0].truncated, "mean_length": facts[0].mean_length},
    )
    for quantity, key in (("load_time", "load_s"), ("first_call", "first_call_s")):
        found[quantity] = measured(quantity, per_run(outcome[key] for outcome in timed), alpha=alpha)
    return found


def memory(outcomes: Sequence[Outcome], alpha: float) -> dict[str, Measurement]:
    """Return the peak over all phases of the memory passes, and the plateau after the arena's ratchet."""
    result: dict[str, Measurement] = {
        "peak_memory": _peak(outcomes, alpha),
        "plateau_memory": _plateau(outcomes, alpha),
    }
    if any(outcome["gpu"] for outcome in outcomes):
        result["peak_gpu_memory"] = _gpu_memory([outcome["gpu"] for outcome in outcomes], alpha)
    return result


def _peak(outcomes: Sequence[Outcome], alpha: float) -> Measurement:
    if any(outcome["peak_bytes"] is None for outcome in outcomes):
        return NotMeasured(
            reason="no_high_water_mark",
            detail="this system keeps no peak of a process's resident memory",
            remedy="measure on Linux or Windows",
        )
    found = measured("peak_memory", [[float(outcome["peak_bytes"])] for outcome in outcomes], alpha=alpha)
    controls = [[float(outcome["imports_only_bytes"])] for outcome in outcomes if outcome["imports_only_bytes"]]
    control = measured("peak_memory", controls, alpha=alpha).statistics["max"]
    details = {
        key: [outcome[key] for outcome in outcomes]
        for key in ("imports_only_bytes", "phases", "children_peak_bytes", "cgroup_peak", "ratchet")
    }
    return _with_details(found, details, {"imports_only": control})


def _plateau(outcomes: Sequence[Outcome], alpha: float) -> Measurement:
    if any(outcome["ratchet"] is None for outcome in outcomes):
        return NotMeasured(
            reason="fixed_shape",
            detail="the model does not take the short inputs that would follow the long ones",
            remedy="export it with dynamic axes",
        )
    sizes = [outcome["ratchet"]["plateau_bytes"] for outcome in outcomes]
    if None in sizes:
        return NotMeasured(
            reason="no_resident_size",
            detail="this system does not tell a process's resident memory",
            remedy="measure on Linux",
        )
    return measured("plateau_memory", [[float(size)] for size in sizes], alpha=alpha)


def cold_start(outcomes: Sequence[Outcome], alpha: float) -> dict[str, Measurement]:
    """Return how long a fresh process takes to its first answer, with the page cache cold; warm stands beside it."""
    by_cache = {
        cache: [outcome for outcome in outcomes if outcome["page_cache"] == cache] for cache in ("cold", "warm")
    }
    answered = {cache: per_run(_until_first(outcome) for outcome in found) for cache, found in by_cache.items()}
    found = measured("cold_start", answered["cold"], alpha=alpha)
    warm = measured("cold_start", answered["warm"], alpha=alpha)
    dropped = [outcome["dropped"] for outcome in by_cache["cold"]]
    details = {
        "until": "first inference",
        "warm_s": [list(run) for run in warm.runs],
        "phases_s": {cache: [outcome["phases_s"] for outcome in each] for cache, each in by_cache.items()},
        "answered_s": [outcome["answered_s"] for outcome in outcomes],
        "unaccounted_share": [unaccounted_share(outcome["phases_s"], outcome["answered_s"]) for outcome in outcomes],
        "dropped": dropped,
        "warnings": _unexplained(outcomes),
    }
    # A file system in memory cannot drop its pages: the cold start would be a warm one under another name.
    kept = next((one for one in dropped if one["reason"]), None)
    if kept is not None:
        warm_s = warm.statistics["median"].value
        return {
            "cold_start": NotMeasured(
                reason=kept["reason"],
                detail=f"{kept['detail']}; the warm start took {warm_s:.3f} s to the first answer",
                remedy="keep the model's files on a disk of a Linux machine, and not in memory (tmpfs)",
            )
        }
    return {"cold_start": _with_details(found, details, {"warm_median": warm.statistics["median"]})}


def _unexplained(outcomes: Sequence[Outcome]) -> list[str]:
    """Tell starts whose phases are not what the parent saw."""
    odd = [one for one in outcomes if not adds_up(one["phases_s"], one["answered_s"])]
    if not odd:
        return []
    worst = max((unaccounted_share(one["phases_s"], one["answered_s"]) for one in odd), key=abs)
    return [
        f"the phases of {len(odd)} of {len(outcomes)} cold starts leave up to {worst:.1%} of their time unexplained"
    ]


def energy(
    outcomes: Sequence[Outcome], idle: Sequence[Outcome], batch_size: int, quantity: str, alpha: float
) -> Measurement:
    """Return gross joules per example; the net figure, and what spoiled the windows, stand beside it."""
    voids = [outcome["readings"][quantity].get("void") for outcome in outcomes]
    outcomes = [outcome for outcome, void in zip(outcomes, voids, strict=True) if void is None]
    if not outcomes:
        return NotMeasured(**next(void for void in voids if void is not None))
    readings = [Reading.from_json(outcome["readings"][quantity]) for outcome in outcomes]
    windows = [
        EnergyWindow(
            reading=reading, examples=outcome["window"]["calls"] * batch_size, foreign_share=_foreign_share(outcome)
        )
        for reading, outcome in zip(readings, outcomes, strict=True)
    ]
    idle_w = [
        Reading.from_json(one["readings"][quantity]).power_w
        for one in idle
        if "void" not in one["readings"].get(quantity, {"void": True})
    ]
    summary = summarise_windows(windows, idle_w[0] if idle_w else None, idle_w[-1] if len(idle_w) > 1 else None)
    found = measured(quantity, per_run(summary.gross_j_per_example), alpha=alpha)
    net = (
        measured(quantity, per_run(summary.net_j_per_example), alpha=alpha).statistics["median"]
        if summary.net_j_per_example is not None
        else Statistic(value=None, n=len(windows), reason=summary.net_reason)
    )
    details = {
        "source": readings[0].source,
        "scope": readings[0].scope,
        "windows": [dataclasses.asdict(window) for window in windows],
        "idle_w": idle_w,
        "contaminated": list(summary.contaminated),
        "void_windows": [void["detail"] for void in voids if void is not None],
        "warnings": list(summary.warnings),
    }
    return _with_details(found, details, {"net_median": net})


def per_run(values: Iterable[float]) -> list[list[float]]:
    """Return one value for each process, with the digits that a clock of nanoseconds can give."""
    return [[float(f"{value:.9g}")] for value in values]


def gave_nothing(error: BenchkitError) -> NotMeasured:
    """Return why the process that should have measured a quantity gave nothing."""
    remedy = "see the reason; what the other processes measured is complete"
    return NotMeasured(reason="worker_failed", detail=f"{error}; {error.remedy}", remedy=remedy)


def or_failed(
    failed: Mapping[str, NotMeasured], kind: str, quantities: Sequence[str], make: Callable[[], dict[str, Measurement]]
) -> dict[str, Measurement]:
    """Return what `make` gives, or why each of the quantities could not be measured."""
    if kind in failed:
        return dict.fromkeys(quantities, failed[kind])
    return make()


def _with_details(
    found: Measured, details: Mapping[str, Any], statistics: Mapping[str, Statistic] = MappingProxyType({})
) -> Measured:
    """Return a measurement with more beside it; what its bounds were made with stays."""
    return found.model_copy(
        update={"details": found.details | dict(details), "statistics": found.statistics | dict(statistics)}
    )


def _seconds(values_ns: Iterable[int]) -> list[float]:
    # Nanoseconds in, whole nanoseconds out: rounding keeps 312.345 us from becoming 17 digits.
    return [round(value_ns * 1e-9, 9) for value_ns in values_ns]


def _overhead(timed: Sequence[Outcome]) -> float:
    costs_ns = sorted(outcome["overhead_ns"] for outcome in timed)
    return float(round(costs_ns[len(costs_ns) // 2] * 1e-9, 12))


def _until_first(outcome: Outcome) -> float:
    phases = outcome["phases_s"]
    return math.fsum(seconds for name, seconds in phases.items() if name != "steady")


def _foreign_share(outcome: Outcome) -> float | None:
    before, after = outcome["snapshots"]
    if before["busy_s"] is None or after["busy_s"] is None:
        return None
    wall_s = after["wall_s"] - before["wall_s"]
    foreign_s = (after["busy_s"] - before["busy_s"]) - (after["own_cpu_s"] - before["own_cpu_s"])
    return float(max(0.0, foreign_s / wall_s))


def _gpu_memory(found: Sequence[dict[str, int | None] | None], alpha: float) -> Measurement:
    own = [one["process_bytes"] if one else None for one in found]
    if any(value is None for value in own):
        return NotMeasured(
            reason="process_hidden",
            detail="NVML does not show this process: containers often hide process numbers",
            remedy="run in the host's PID namespace (docker run --pid=host)",
        )
    values = [[float(value)] for value in own if value is not None]
    return _with_details(measured("peak_gpu_memory", values, alpha=alpha), {"devices": list(found)})

"""How each figure of a record follows from the raw values in it; figures of which that cannot be said, say why.

Comparing with what was recorded is left to `recompute`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Record, Statistic
from benchkit.judge.arms import triples_of
from benchkit.judge.compare import Comparison, Triple
from benchkit.judge.looks import Rules, judged
from benchkit.judge.ratios import ratio_statistics
from benchkit.judge.score_pairs import as_statistic, compare_answers
from benchkit.meters.energy import EnergyWindow, Reading, summarise_windows
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import exact_statistics, peak_statistics, per_process_statistics, statistics_of
from benchkit.tasks.layouts import Layout
from benchkit.tasks.own import CORRELATIONS
from benchkit.tasks.table import TASKS, Task

Figures = dict[str, Statistic]

NO_RAW_VALUES = "its raw values are not in the record"
_RATIO = "_ratio"
# A record may say anything; this many classes fill some 100 MB.
_MOST_CLASSES = 4096


def derived(record: Record, quantity: str, measurement: Measured) -> Figures:
    """Return the figures of one measurement, made again from the raw values; those that cannot be made are absent."""
    if quantity == "score_difference":
        return _score_difference(measurement)
    if record.kind == "compare":
        return _ratios(record, quantity, measurement) if quantity.endswith(_RATIO) else {}
    if not measurement.runs or quantity not in QUANTITIES:
        return {}
    if QUANTITIES[quantity].exact:
        return exact_statistics(measurement.runs[0][0])
    alpha, details = alpha_of(record, measurement), measurement.details
    found = statistics_of(quantity, measurement.runs, alpha=alpha, overhead_s=details.get("overhead_s"))
    for (where, name), beside in _BESIDE.items():
        if quantity.startswith(where) and name in measurement.statistics:
            figure = beside(details, alpha)
            found |= {} if figure is None else {name: figure}
    return found


def alpha_of(record: Record, measurement: Measured) -> float:
    """Return the one-sided error of a measurement's bounds: its own, else the record's, else the usual one."""
    return float(measurement.details.get("alpha", record.sampling.get("alpha", ALPHA)))


def verdict_problem(record: Record, quantity: str, measurement: Measured) -> str | None:
    """Say why the recorded verdict of a comparison does not follow from its raw values; None when it does."""
    said = measurement.details.get("verdict")
    if quantity == "score_difference":
        follows = str(_score_comparison(measurement).verdict)
        return None if said == follows else f"the record says '{said}', and its answers say '{follows}'"
    if record.kind != "compare" or not quantity.endswith(_RATIO):
        return None
    comparisons = _comparisons(record, quantity, measurement)
    if not comparisons:
        return None
    words = [str(comparison.verdict) for comparison in comparisons]
    follows = words[0] if len(set(words)) == 1 else "inconclusive"
    # Noise decides nothing and stands in the counters of the kernel, not in the values.
    excused = said == "inconclusive" and (record.noise.verdict != "clean" or "time budget" in str(measurement.details))
    return None if said == follows or excused else f"the record says '{said}', and its pairs say '{follows}'"


def _imports_only(details: Mapping[str, Any], _: float) -> Statistic | None:
    controls = details.get("imports_only_bytes")
    return None if controls is None else peak_statistics([[float(value)] for value in controls if value])["max"]


def _warm_start(details: Mapping[str, Any], alpha: float) -> Statistic | None:
    runs = details.get("warm_s")
    return None if runs is None else per_process_statistics(runs, alpha=alpha)["median"]


def _net_energy(details: Mapping[str, Any], alpha: float) -> Statistic | None:
    windows, idle_w = details.get("windows"), details.get("idle_w", [])
    if windows is None:
        return None
    taken = [EnergyWindow(**(window | {"reading": Reading.from_json(window["reading"])})) for window in windows]
    summary = summarise_windows(taken, idle_w[0] if idle_w else None, idle_w[-1] if len(idle_w) > 1 else None)
    if summary.net_j_per_example is None:
        return Statistic(value=None, n=len(taken), reason=summary.net_reason)
    runs = [[float(f"{joules:.9g}")] for joules in summary.net_j_per_example]
    return per_process_statistics(runs, alpha=alpha)["median"]


# Figures that stand beside the quantity's own: (beginning of the quantity's name, figure) -> how it is made.
_BESIDE: dict[tuple[str, str], Callable[[Mapping[str, Any], float], Statistic | None]] = {
    ("peak_memory", "imports_only"): _imports_only,
    ("cold_start", "warm_median"): _warm_start,
    ("energy_", "net_median"): _net_energy,
}


def _score_comparison(measurement: Measured) -> Any:
    details = measurement.details
    return compare_answers(
        _task_of(measurement),
        np.array(measurement.runs),
        max_drop=details["max_drop"],
        seed=details["seed"],
    )


def _task_of(measurement: Measured) -> Task:
    """Return the task of a comparison: from the table, or what the record itself says of one's own.

    A record is never asked for a path: reading it must not open other files.
    """
    details = measurement.details
    name = str(details["task"])
    if name in TASKS:
        return TASKS[name]
    metrics = tuple(dict.fromkeys([str(details["headline"]), *map(str, details["metrics"])]))
    classes = 0 if metrics[0] in CORRELATIONS else int(max(max(row) for row in measurement.runs)) + 1
    if classes > _MOST_CLASSES:
        raise ValueError(f"class {classes - 1} among the answers")
    return Task(
        name=name,
        folder=".",
        labels=tuple(str(number) for number in range(classes)),
        metrics=metrics,
        pair=False,
        layout=Layout(),
        origin="own",
    )


def _score_difference(measurement: Measured) -> Figures:
    return {name: as_statistic(one) for name, one in _score_comparison(measurement).differences.items()}


def _ratios(record: Record, quantity: str, measurement: Measured) -> Figures:
    comparisons = _comparisons(record, quantity, measurement)
    found = ratio_statistics(comparisons[0]) if comparisons else {}
    for comparison in comparisons[1:]:
        found |= {f"repeat_{name}": figure for name, figure in ratio_statistics(comparison).items()}
    return found


def _comparisons(record: Record, quantity: str, measurement: Measured) -> list[Comparison]:
    """Return the comparison that a record holds, and its repeat where there was one, judged again.

    Nothing for records of earlier versions, which keep one figure of each process instead of its raw values.
    """
    details = measurement.details
    raw = record.measurements.get(quantity.removesuffix(_RATIO))
    if not isinstance(raw, Measured):
        raise KeyError(f"the raw values of {quantity} are missing")
    if "order" not in raw.details and "looks" not in details:
        return []
    triples = triples_of(raw.runs, raw.details["order"], raw.details["statistic"])
    rules = Rules(
        margin=details["margin"],
        better=details["better"],
        looks=tuple(details["looks"]),
        must_detect=details["must_detect"],
    )
    parts: list[list[Triple]] = [triples[: details["judged_pairs"]]]
    if "repeat" in details:
        begin = details["taken_pairs"]
        parts.append(triples[begin : begin + details["repeat"]["judged_pairs"]])
    return [judged(part, rules) for part in parts]

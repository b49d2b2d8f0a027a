"""How many values were taken, what ended the taking, and how narrow the bounds became; how calls arrived."""

import collections
from typing import Any

from benchkit.core.records import Record
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.plain import NOTE_LENGTH, clean
from benchkit.report.settings_in_words import load_in_words

_STOPPED = {
    "targets": "the targets: the bounds were narrow enough",
    "runs": "the number of runs asked for",
    "time": "the time budget",
}


def sampling_parts(record: Record) -> list[Listing]:
    """Return the stopping rule against what was reached, and the load of a server row."""
    sampling = record.sampling
    stopped = loose.text(sampling.get("stopped_by"))
    alpha, budget = loose.number(sampling.get("alpha")), loose.number(sampling.get("budget_s"))
    latency = loose.details(record, "latency")
    overhead = loose.number(latency.get("overhead_s"))
    rows = [
        ("stopped by", _STOPPED.get(stopped, stopped)),
        ("looks", _looks(sampling)),
        ("error of each bound", f"{alpha:.3g}, one-sided" if alpha is not None else ""),
        ("runs", loose.text(sampling.get("runs"))),
        ("p50 within", _width(sampling, "p50")),
        ("p95 within", _width(sampling, "p95")),
        ("time budget", f"{budget:g} s" if budget is not None else ""),
        ("warm-up", _warm_up(latency)),
        ("steadiness", _steadiness(latency)),
        ("timer and loop", f"{overhead * 1e9:.0f} ns a call" if overhead is not None else ""),
    ]
    known = tuple((name, text) for name, text in rows if text)
    parts = [Listing(title="Sampling", heads=("rule", "value"), rows=known)] if known else []
    return parts + _load(record)


def _looks(sampling: dict[str, Any]) -> str:
    looks = ", ".join(f"{look:.0f}" for look in loose.numbers(sampling.get("looks"))[:8])
    return f"after {looks} runs" if looks else ""


def _width(sampling: dict[str, Any], name: str) -> str:
    target, got = loose.share(sampling.get(f"{name}_within"), 2), loose.share(sampling.get(f"{name}_reached"), 2)
    return f"{f'±{got}' if got else 'no bound'} reached, ±{target} wanted" if target else ""


def _warm_up(latency: dict[str, Any]) -> str:
    counts = [float(len(loose.items(run))) for run in loose.items(latency.get("warmup_s"))]
    return f"{loose.span(counts)} calls a run, kept apart" if counts else ""


def _steadiness(latency: dict[str, Any]) -> str:
    found = loose.items(latency.get("steadiness"))
    verdicts = collections.Counter(loose.text(loose.at(one, "verdict"), 30) or "not known" for one in found)
    odd = [loose.text(loose.at(one, "detail"), 120) for one in found if loose.at(one, "verdict") != "steady"]
    told = [f"{times} of {len(found)} {word}" for word, times in sorted(verdicts.items(), key=lambda i: (-i[1], i[0]))]
    return clean("; ".join([*told, *filter(None, odd[:3])]), NOTE_LENGTH)


def _load(record: Record) -> list[Listing]:
    details = loose.details(record, "response_time")
    runs = loose.items(details.get("runs"))
    if not runs:
        return []
    heads = ("run", "queries/s", "busy", "Little's law", "waiting", "calls against saturated", "overloaded")
    rows = tuple((f"{number:,}", *_run(one)) for number, one in enumerate(runs, 1))
    late = [found for one in loose.items(details.get("lateness_ns")) if (found := loose.number(loose.at(one, "p99")))]
    lead = f"Asked: {load_in_words(record.cell) or 'no rate'}. Response times count from the scheduled arrival."
    if late:
        lead += f" The generator began its own queries late by {loose.span(v * 1e-3 for v in late)} us (p99)."
    return [Listing(title="Load", lead=lead, heads=heads, rows=rows), *_search(record)]


def _run(one: Any) -> tuple[str, ...]:
    rate, waiting = loose.number(loose.at(one, "rate_per_s")), loose.number(loose.at(one, "waiting"))
    ratio = loose.number(loose.at(one, "service_ratio"))
    overloaded = loose.at(one, "overloaded")
    return (
        "—" if rate is None else f"{rate:,.4g}",
        loose.share(loose.at(one, "utilisation")) or "—",
        _off(loose.share(loose.at(one, "littles_law", "relative_difference"), 2)),
        "—" if waiting is None else f"{waiting:,.0f}",
        "—" if ratio is None else f"{ratio:.2f} times as long",
        {True: "yes", False: "no"}.get(overloaded, "—") if isinstance(overloaded, bool) else "—",
    )


def _off(share: str) -> str:
    return f"off by {share}" if share else "—"


def _search(record: Record) -> list[Listing]:
    searches = loose.items(loose.details(record, "sustained_rate").get("searches"))
    trials = loose.items(loose.at(searches, 0, "trials"))
    if not trials:
        return []
    rows = tuple((f"{number:,}", *_trial(one)) for number, one in enumerate(trials[:16], 1))
    lead = f"First process: {loose.text(loose.at(searches, 0, 'reason'), NOTE_LENGTH)}."
    heads = ("trial", "queries/s", "p99", "bound")
    return [Listing(title="Search for the largest rate", lead=lead, heads=heads, rows=rows)]


def _trial(one: Any) -> tuple[str, ...]:
    rate = loose.number(loose.at(one, "rate_per_s"))
    met = "met" if loose.at(one, "met") is True else loose.text(loose.at(one, "why_not"), 120) or "not met"
    confirms = ", confirmed afresh" if loose.at(one, "confirms") is True and met == "met" else ""
    return ("—" if rate is None else f"{rate:,.4g}", loose.milliseconds(loose.at(one, "p99_s")), f"{met}{confirms}")

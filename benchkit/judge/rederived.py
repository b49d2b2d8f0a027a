"""What stands in a record beside the statistics and follows from what it keeps: its noise verdict, its raw values.

Statistics made of the raw values are `derivations`'s; comparing with what was recorded is left to `recompute`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchkit.bench.measurements import per_run
from benchkit.bench.noise_verdict import different_providers, noise_of, other_providers
from benchkit.bench.traces.trace import Coverage, violations
from benchkit.core.records import Measured, Noise, Record
from benchkit.meters.energy import EnergyWindow, Reading, summarise_windows

Runs = Sequence[Sequence[float]]


def noise_again(record: Record) -> Noise | None:
    """Judge the machine again from the counters in the record; None where it keeps none.

    Raises:
        KeyError, TypeError, ValueError: The counters do not fit together.
    """
    kept = record.sampling.get("noise")
    if kept is None:
        return None
    runs, cell = kept["runs"], record.cell
    if record.kind == "compare":
        broken = different_providers(runs)
    else:
        broken = other_providers(kept["asked_provider"], runs)
        coverage = record.proof.get("coverage")
        if coverage is not None:
            broken += violations(
                Coverage.from_json(coverage), provider=cell.provider, precision=record.artifact.precision
            )
    return noise_of(runs, threads=cell.threads, affinity=cell.affinity, violations=broken)


def values_again(record: Record, quantity: str) -> Runs | None:
    """Make the raw values of a quantity again from its windows; None where there are none to make them of.

    Raises:
        KeyError, TypeError, ValueError, ZeroDivisionError: The windows do not fit together.
    """
    measurement = record.measurements[quantity]
    if not isinstance(measurement, Measured):
        return None
    if quantity.startswith("energy_"):
        return _energies(measurement.details.get("windows"))
    windows = _windows(record)
    make = _BY_WINDOW.get(quantity)
    if windows is None or make is None:
        return None
    return per_run(make(window, record.cell.batch_size) for window in windows)


_BY_WINDOW = {
    "throughput": lambda window, batch_size: window["calls"] * batch_size / window["wall_s"],
    "cpu_time": lambda window, batch_size: window["cpu_s"] / (window["calls"] * batch_size),
}


def _windows(record: Record) -> Sequence[Mapping[str, Any]] | None:
    """Return the saturated window of each process: with the throughput, or with the counters of noise."""
    throughput = record.measurements.get("throughput")
    if isinstance(throughput, Measured) and "windows" in throughput.details:
        found: Sequence[Mapping[str, Any]] = throughput.details["windows"]
        return found
    kept = record.sampling.get("noise")
    return None if kept is None else [run["window"] for run in kept["runs"]]


def _energies(windows: Sequence[Mapping[str, Any]] | None) -> Runs | None:
    if windows is None:
        return None
    taken = [EnergyWindow(**{**window, "reading": Reading.from_json(window["reading"])}) for window in windows]
    return per_run(summarise_windows(taken, None, None).gross_j_per_example)

"""Outcomes of the workers -> one frozen record a cell, sealed by its digest.

The quantities are made in `measurements`, the verdict on noise in `noise_verdict`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import benchkit
from benchkit.bench import measurements
from benchkit.bench.measurements import Outcome, or_failed
from benchkit.bench.noise_verdict import evidence_of, noise_of, other_providers
from benchkit.bench.plan import Spot
from benchkit.bench.roofs.peaks import Peaks
from benchkit.bench.roofs.roofline import attained
from benchkit.bench.traces.trace import Coverage, violations
from benchkit.core.records import Cell, Measured, Measurement, Noise, NotMeasured, Record
from benchkit.core.store import sealed
from benchkit.host.facts import host_facts
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import exact_statistics


def seal(**fields: Any) -> Record:
    """Make a record with its digest as `record_id`."""
    draft = Record(record_id="", benchkit_version=benchkit.__version__, **fields)
    return Record.model_validate(sealed(draft.as_json()))


def cell_measurements(
    spot: Spot,
    outcomes: Mapping[str, Sequence[Outcome]],
    *,
    no_energy: Mapping[str, NotMeasured],
    failed: Mapping[str, NotMeasured] = MappingProxyType({}),
    alpha: float = ALPHA,
) -> dict[str, Measurement]:
    """Return every quantity of one measured cell but those of the roofline, which need the machine's peaks.

    Args:
        spot: The cell.
        outcomes: Outcomes by pass, in the order taken.
        no_energy: Why an energy was not measured, by quantity.
        failed: Why a pass gave nothing, by pass.
        alpha: One-sided error of each bound.
    """
    timed, batch_size = outcomes["time"], spot.workload.batch_size
    found: dict[str, Measurement] = {}
    if spot.scenario == "single-stream":
        found |= measurements.closed_loop(timed, alpha)
        found |= measurements.texts(timed, alpha) if spot.workload.texts else {}
    elif spot.load is not None:
        found |= measurements.open_loop(timed, batch_size, alpha)
    found |= measurements.saturated(timed, batch_size, alpha)
    found |= or_failed(
        failed,
        "memory",
        ("peak_memory", "plateau_memory"),
        lambda: measurements.memory(outcomes["memory"], ALPHA) if outcomes["memory"] else {},
    )
    if outcomes["cold-start"] or "cold-start" in failed:
        found |= or_failed(
            failed, "cold-start", ("cold_start",), lambda: measurements.cold_start(outcomes["cold-start"], ALPHA)
        )
    size = float(spot.artifact.size_bytes)
    found["artifact_size"] = Measured(unit="B", runs=((size,),), statistics=exact_statistics(size))
    # Memory, starts and energy are looked at once: none of the looks at the timed runs adds to them.
    return found | _energies(spot, outcomes, no_energy=no_energy, failed=failed, alpha=ALPHA)


def profile_record(
    spot: Spot,
    outcomes: Mapping[str, Sequence[Outcome]],
    *,
    no_energy: Mapping[str, NotMeasured],
    seed: int,
    sampling: Mapping[str, Any],
    failed: Mapping[str, NotMeasured] = MappingProxyType({}),
    warnings: Sequence[str] = (),
    found: Mapping[str, Measurement] = MappingProxyType({}),
    peaks: Peaks | None = None,
    alpha: float = ALPHA,
) -> Record:
    """Make the record of one measured cell; for the other arguments see `cell_measurements`.

    Args:
        spot: The cell.
        outcomes: Outcomes by pass, in the order taken.
        no_energy: Why an energy was not measured, by quantity.
        seed: Seed of the inputs.
        sampling: The stopping rule, what ended it, and the widths reached.
        failed: Why a pass gave nothing, by pass.
        warnings: What a reader of the record has to know.
        found: What `cell_measurements` gave of these outcomes already; {} makes it here.
        peaks: What this machine can do at the cell's threads; None when it was not measured.
        alpha: One-sided error of each bound.
    """
    timed = outcomes["time"]
    everything = [outcome for passes in outcomes.values() for outcome in passes]
    found = dict(found or cell_measurements(spot, outcomes, no_energy=no_energy, failed=failed, alpha=alpha))
    batch_size = spot.workload.batch_size
    found |= attained(found, spot.artifact, batch_size, _padded_length(timed), peaks, alpha=alpha)
    proof = timed[0]["proof"]
    coverage = outcomes["coverage"][0] if outcomes["coverage"] else None
    broken = [*other_providers(spot.options.provider, timed), *ran_otherwise(spot, coverage, proof["provider"])]
    return seal(
        kind="profile",
        artifact=spot.artifact.facts(),
        cell=cell_of(spot, proof["provider"]),
        host=host_facts(),
        started_at_utc=min(outcome["started_at_utc"] for outcome in everything),
        elapsed_s=round(sum(outcome["elapsed_s"] for outcome in everything), 3),
        seed=seed,
        measurements=found,
        noise=noise_of(timed, threads=spot.options.threads, affinity=spot.affinity, violations=broken),
        warnings=(*warnings, *_told(timed, found), *_coverage_told(coverage, failed)),
        sampling=dict(sampling) | {"noise": {"asked_provider": spot.options.provider, "runs": evidence_of(timed)}},
        proof=proof
        | {
            "busy_cores": [round(one["window"]["cpu_s"] / one["window"]["wall_s"], 3) for one in timed],
            "output_sha256": sorted({one["output"]["sha256"] for one in timed}),
            "output_values": timed[0]["output"]["values"],
            "coverage": coverage["coverage"] if coverage else None,
            "top_operators": coverage["top_operators"] if coverage else None,
        },
    )


def failed_record(spot: Spot, nothing: NotMeasured, *, started_at_utc: str, seed: int) -> Record:
    """Make the record of a cell whose worker crashed or hung: void, with its reason, and never dropped."""
    return seal(
        kind="profile",
        artifact=spot.artifact.facts(),
        cell=cell_of(spot, "none"),
        host=host_facts(),
        started_at_utc=started_at_utc,
        elapsed_s=0.0,
        seed=seed,
        measurements={"latency": nothing, "throughput": nothing, "peak_memory": nothing},
        noise=Noise(verdict="invalid", reasons=(nothing.detail,)),
        warnings=(),
    )


def cell_of(spot: Spot, provider: str) -> Cell:
    """Return the resolved settings of a cell, with the provider that was proved."""
    workload, load = spot.workload, spot.load
    return Cell(
        runtime=spot.runtime,
        device=spot.options.device,
        provider=provider,
        threads=spot.options.threads,
        inter_op_threads=spot.options.inter_op_threads,
        batch_size=workload.batch_size,
        sequence_length=workload.sequence_length,
        scenario=spot.scenario,
        padding=workload.padding,
        lengths_from=workload.lengths_from,
        rate_per_s=load.rate_per_s if load else None,
        load=load.share_of_capacity if load else None,
        p99_at_most_s=load.p99_at_most_s if load else None,
        engine=load.engine if load else "benchkit",
        affinity=spot.affinity,
        transfers=spot.options.transfers if spot.options.device == "cuda" else None,
    )


def _energies(
    spot: Spot,
    outcomes: Mapping[str, Sequence[Outcome]],
    *,
    no_energy: Mapping[str, NotMeasured],
    failed: Mapping[str, NotMeasured],
    alpha: float,
) -> dict[str, Measurement]:
    wanted = ("energy_package", "energy_gpu") if spot.options.device == "cuda" else ("energy_package",)
    if "energy" in failed:
        return dict.fromkeys(wanted, failed["energy"])
    taken = outcomes["energy"]
    quantities = sorted({name for outcome in taken for name in outcome["readings"]})
    found: dict[str, Measurement] = {}
    for quantity in quantities:
        found[quantity] = measurements.energy(taken, outcomes["idle"], spot.workload.batch_size, quantity, alpha)
    return {name: no_energy[name] for name in wanted if name in no_energy} | found


def ran_otherwise(spot: Spot, coverage: Outcome | None, provider: str) -> list[str]:
    """Say what a profiled run shows to be otherwise than the cell's label; [] where all is as asked, or not known."""
    if coverage is None or coverage["coverage"] is None:
        return []
    precision = spot.artifact.manifest.precision
    return violations(Coverage.from_json(coverage["coverage"]), provider=provider, precision=precision)


def _coverage_told(coverage: Outcome | None, failed: Mapping[str, NotMeasured]) -> list[str]:
    if "coverage" in failed:
        return [f"which operators ran where is not known: {failed['coverage'].detail}"]
    if coverage is not None and coverage["coverage"] is None:
        return ["which operators ran where is not known: this runtime gives no profile"]
    return []


def _told(timed: Sequence[Outcome], found: Mapping[str, Measurement]) -> list[str]:
    """Say what a reader has to know of how the values came about."""
    told = []
    words = [outcome["steadiness"]["verdict"] for outcome in timed if "steadiness" in outcome]
    for word in sorted(set(words) - {"steady", "unknown"}):
        runs = [str(number) for number, one in enumerate(words, 1) if one == word]
        detail = next(one["steadiness"]["detail"] for one in timed if one["steadiness"]["verdict"] == word)
        told.append(f"run {', '.join(runs)} was {word}: {detail}")
    for quantity in ("cold_start", "energy_package", "energy_gpu"):
        measurement = found.get(quantity)
        if isinstance(measurement, Measured):
            told += measurement.details.get("warnings", [])
    for one in timed:
        told += one.get("served", {}).get("warnings", [])
    if "sustained_rate" in found:
        told.append("the largest rate is one whose p99, as seen in a run of its own, kept the limit; it has no bound")
    share = found.get("roofline_share")
    if isinstance(share, Measured) and share.details.get("warning"):
        told.append(share.details["warning"])
    return list(dict.fromkeys(told))


def _padded_length(timed: Sequence[Outcome]) -> float:
    """Return the mean padded tokens of an example, over the distinct batches."""
    fed = timed[0]["fed"]
    return float(sum(fed["padded_tokens"]) / fed["examples"])

"""Outcomes of the workers -> one frozen record a cell. Statistics come from `stats`, words from `core`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import benchkit
from benchkit.bench.plan import Spot
from benchkit.core.records import Cell, Measured, Measurement, Noise, NotMeasured, Record
from benchkit.core.store import sealed
from benchkit.host.facts import host_facts
from benchkit.host.noise import Snapshot, disturbances
from benchkit.stats.summaries import exact_statistics, measured

Outcome = dict[str, Any]

# CPU time above the threads asked for: what the interpreter and the kernel do beside the operators.
_THREAD_TOLERANCE = 0.1
_BEARABLE_SHARE = 0.2


def seal(**fields: Any) -> Record:
    """Make a record with its digest as `record_id`."""
    draft = Record(record_id="", benchkit_version=benchkit.__version__, **fields)
    return Record.model_validate(sealed(draft.as_json()))


def profile_record(
    spot: Spot,
    outcomes: dict[str, list[Outcome]],
    *,
    energy: NotMeasured | None,
    seed: int,
    failed: Mapping[str, str] = MappingProxyType({}),
    warnings: Sequence[str] = (),
) -> Record:
    """Make the record of one measured cell.

    Args:
        spot: The cell.
        outcomes: Outcomes by pass ("time", "memory", "energy"), in the order taken.
        energy: Why energy was not measured; None when it was.
        failed: Why a memory or energy pass gave nothing, by pass.
        seed: Seed of the inputs.
        warnings: What a reader of the record has to know.
    """
    timed = outcomes["time"]
    everything = [outcome for passes in outcomes.values() for outcome in passes]
    measurements: dict[str, Measurement] = {}
    if spot.scenario == "single-stream":
        # Nanoseconds in, whole nanoseconds out: rounding keeps 312.345 us from becoming 17 digits.
        measurements["latency"] = measured("latency", [[round(ns * 1e-9, 9) for ns in o["latency_ns"]] for o in timed])
    examples = [o["window"]["calls"] * spot.batch_size for o in timed]
    windows = [o["window"] for o in timed]
    measurements["throughput"] = measured(
        "throughput", _per_run(n / w["wall_s"] for n, w in zip(examples, windows, strict=True))
    )
    measurements["cpu_time"] = measured(
        "cpu_time", _per_run(w["cpu_s"] / n for n, w in zip(examples, windows, strict=True))
    )
    measurements["load_time"] = measured("load_time", _per_run(o["load_s"] for o in timed))
    measurements["first_call"] = measured("first_call", _per_run(o["first_call_s"] for o in timed))
    measurements["peak_memory"] = _gave_nothing(failed, "memory") or _peak_memory(outcomes["memory"])
    size = float(spot.artifact.size_bytes)
    measurements["artifact_size"] = Measured(unit="B", runs=((size,),), statistics=exact_statistics(size))
    measurements["energy_package"] = (
        energy or _gave_nothing(failed, "energy") or _energy(outcomes["energy"], spot.batch_size)
    )
    proof = timed[0]["proof"]
    return seal(
        kind="profile",
        artifact=spot.artifact.facts(),
        cell=cell_of(spot, proof["provider"]),
        host=host_facts(),
        started_at_utc=min(outcome["started_at_utc"] for outcome in everything),
        elapsed_s=round(sum(outcome["elapsed_s"] for outcome in everything), 3),
        seed=seed,
        measurements=measurements,
        noise=noise_of(timed, threads=spot.options.threads),
        warnings=tuple(warnings),
    )


def failed_record(spot: Spot, reason: str, *, started_at_utc: str, seed: int) -> Record:
    """Make the record of a cell whose worker crashed or hung: void, with its reason, and never dropped."""
    nothing = NotMeasured(reason="worker_failed", detail=reason, remedy="see the reason; the other cells are complete")
    return seal(
        kind="profile",
        artifact=spot.artifact.facts(),
        cell=cell_of(spot, "none"),
        host=host_facts(),
        started_at_utc=started_at_utc,
        elapsed_s=0.0,
        seed=seed,
        measurements={"latency": nothing, "throughput": nothing, "peak_memory": nothing},
        noise=Noise(verdict="invalid", reasons=(reason,)),
        warnings=(),
    )


def cell_of(spot: Spot, provider: str) -> Cell:
    """Return the resolved settings of a cell, with the provider that was proved."""
    return Cell(
        runtime=spot.runtime,
        device=spot.options.device,
        provider=provider,
        threads=spot.options.threads,
        inter_op_threads=spot.options.inter_op_threads,
        batch_size=spot.batch_size,
        sequence_length=spot.sequence_length,
        scenario=spot.scenario,
    )


def noise_of(timed: Sequence[Outcome], *, threads: int) -> Noise:
    """Judge a cell by its timed runs: disturbed, run on other threads than asked, or answering nonsense.

    One run in five may be disturbed a little; more, or one that is spoiled, make the cell noisy, since tails are
    pooled over all runs. Half of the runs spoiled, or anything that was not what was asked, void it.
    """
    void = [*_foreign_threads(timed, threads), *_nonsense(timed)]
    if void:
        return Noise(verdict="invalid", reasons=tuple(void))
    judged = [_disturbance(outcome) for outcome in timed]
    invalid = sum(word == "invalid" for word, _ in judged)
    reasons = [f"run {n}: {reason}" for n, (_, found) in enumerate(judged, 1) for reason in found]
    if 2 * invalid >= len(judged):
        return Noise(verdict="invalid", reasons=tuple(reasons))
    disturbed = sum(word != "clean" for word, _ in judged)
    noisy = invalid > 0 or disturbed > _BEARABLE_SHARE * len(judged)
    return Noise(verdict="noisy" if noisy else "clean", reasons=tuple(reasons))


def is_spoiled(outcome: Outcome) -> bool:
    """Tell whether one timed run by itself is worth nothing, so that it is not used again."""
    return bool(_nonsense([outcome])) or _disturbance(outcome)[0] == "invalid"


def _disturbance(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    before, after = outcome["snapshots"]
    return disturbances(Snapshot(**before), Snapshot(**after))


def _foreign_threads(timed: Sequence[Outcome], threads: int) -> list[str]:
    busiest = max(outcome["window"]["cpu_s"] / outcome["window"]["wall_s"] for outcome in timed)
    if busiest <= threads * (1 + _THREAD_TOLERANCE):
        return []
    return [f"asked for {threads} thread(s), and {busiest:.2f} cores were busy"]


def _nonsense(timed: Sequence[Outcome]) -> list[str]:
    outputs = [outcome["output"] for outcome in timed]
    found = []
    if not all(output["finite"] for output in outputs):
        found.append("the model answers NaN or infinity")
    if any(output["constant"] for output in outputs):
        found.append("the model gives the same answer to different inputs")
    return found


def _gave_nothing(failed: Mapping[str, str], kind: str) -> NotMeasured | None:
    if kind not in failed:
        return None
    remedy = "see the reason; the quantities of the other passes are complete"
    return NotMeasured(reason="worker_failed", detail=failed[kind], remedy=remedy)


def _per_run(values: Any) -> list[list[float]]:
    return [[float(f"{value:.9g}")] for value in values]


def _peak_memory(outcomes: Sequence[Outcome]) -> Measurement:
    peaks = [outcome["peak_bytes"] for outcome in outcomes]
    if any(peak is None for peak in peaks):
        return NotMeasured(
            reason="no_high_water_mark",
            detail="this system keeps no peak of a process's resident memory",
            remedy="measure on Linux or Windows",
        )
    measurement = measured("peak_memory", [[float(peak)] for peak in peaks])
    controls = [float(outcome["imports_only_bytes"]) for outcome in outcomes if outcome["imports_only_bytes"]]
    control = measured("peak_memory", [[value] for value in controls]).statistics["max"]
    return measurement.model_copy(update={"statistics": measurement.statistics | {"imports_only": control}})


def _energy(outcomes: Sequence[Outcome], batch_size: int) -> Measured:
    joules = [outcome["energy_j"] / (outcome["window"]["calls"] * batch_size) for outcome in outcomes]
    return measured("energy_package", _per_run(joules))

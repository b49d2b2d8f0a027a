"""Whether a cell may be believed: disturbed, run otherwise than asked, or answering nonsense.

Reading the kernel's counters is left to `host.noise`, which operators ran to `trace`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchkit.core.records import Noise
from benchkit.host.clocks import canary_drift
from benchkit.host.noise import Snapshot, disturbances

Outcome = Mapping[str, Any]

# CPU time above the threads asked for: what the interpreter and the kernel do beside the operators.
_THREAD_TOLERANCE = 0.1
_TICKS_S = 0.03  # CPU time is counted in ticks of 10 ms.
BEARABLE_SHARE = 0.2
_USED_SHARE = 0.6
_OTHERS = ("other processes used", "the hypervisor took")  # As `host.noise` words them.
# Answers of timed calls against those before the timing, relative: reductions may be ordered differently.
_SAME_ANSWER = 1e-3


def noise_of(
    timed: Sequence[Outcome], *, threads: int, affinity: Sequence[int] | None = None, violations: Sequence[str] = ()
) -> Noise:
    """Judge a cell by its timed runs.

    One run in five may be disturbed a little; more, or one that is spoiled, make the cell noisy, since tails are
    pooled over all runs. Half of the runs spoiled, or anything that was not what was asked, void it.

    Args:
        timed: Outcomes of the timed pass.
        threads: Threads asked for.
        affinity: Cores asked for; None when none were.
        violations: What the profiled run showed to be otherwise than asked.
    """
    void = [
        *_foreign_threads(timed, threads),
        *_missing_threads(timed, threads),
        *_other_cores(timed, affinity),
        *nonsense_in(timed),
        *violations,
    ]
    if void:
        return Noise(verdict="invalid", reasons=tuple(void))
    judged = [_disturbance(outcome) for outcome in timed]
    invalid = sum(word == "invalid" for word, _ in judged)
    reasons = [f"run {n}: {reason}" for n, (_, found) in enumerate(judged, 1) for reason in found]
    if 2 * invalid >= len(judged):
        return Noise(verdict="invalid", reasons=tuple(reasons))
    disturbed = sum(word != "clean" for word, _ in judged)
    noisy = invalid > 0 or disturbed > BEARABLE_SHARE * len(judged)
    return Noise(verdict="noisy" if noisy else "clean", reasons=tuple(reasons))


# Of an outcome what the verdict is made of, and nothing else: it stands in the record, and makes the verdict again.
_EVIDENCE = {
    "output": ("finite", "constant", "timed_finite", "timed_difference"),
    "proof": ("provider", "affinity", "os_threads", "os_threads_before"),
    "steadiness": ("verdict",),
}


def evidence_of(timed: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return what `noise_of` judges by, for each timed run: outcomes cut down to it, which it takes as well."""
    return [
        {
            key: {name: one[key][name] for name in names if name in one[key]}
            for key, names in _EVIDENCE.items()
            if key in one
        }
        | {key: one[key] for key in ("snapshots", "canary_ns", "gpu_states", "window") if key in one}
        for one in timed
    ]


def other_providers(asked: str | None, timed: Sequence[Outcome]) -> list[str]:
    """Tell a process that ran elsewhere than was asked, or than the first one did where nothing was."""
    wanted = asked or timed[0]["proof"]["provider"]
    others = sorted({one["proof"]["provider"] for one in timed} - {wanted})
    return [f"asked for {wanted}, and the session says that it runs on {other}" for other in others]


def different_providers(outcomes: Sequence[Outcome]) -> list[str]:
    """Tell arms that ran on different providers: the ratio would be that of the devices."""
    providers = sorted({str(outcome["proof"]["provider"]) for outcome in outcomes if "proof" in outcome})
    return [] if len(providers) < 2 else [f"the processes ran on different providers: {', '.join(providers)}"]


def disturbed_by_others(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what other processes and the hypervisor did to some processes, and nothing that is their own doing."""
    found = [reason for outcome in outcomes for reason in _disturbance(outcome)[1]]
    return [reason for reason in found if reason.startswith(_OTHERS)]


def is_spoiled(outcome: Outcome) -> bool:
    """Tell whether one timed run by itself is worth nothing, so that it is not used again."""
    return bool(nonsense_in([outcome])) or _disturbance(outcome)[0] == "invalid"


def _disturbance(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    before, after = outcome["snapshots"]
    word, reasons = disturbances(Snapshot(**before), Snapshot(**after))
    drift = canary_drift(outcome.get("canary_ns", ()))
    # Interpreted work beside a busy sibling thread of the host varies by half where a model varies by a tenth: the
    # canary explains calls that did not settle, and by itself accuses nobody. Calls that go to and fro between two
    # levels are what that sibling does to each process alike: the bounds hold them (`judge.soundness`).
    if drift is not None and outcome.get("steadiness", {}).get("verdict") not in ("steady", "unknown", "bimodal"):
        word, reasons = ("noisy" if word == "clean" else word), (*reasons, drift)
    throttled = _throttled(outcome.get("gpu_states", ()))
    if throttled:
        word, reasons = ("noisy" if word == "clean" else word), (*reasons, throttled)
    return word, reasons


def _throttled(states: Sequence[Mapping[str, Any] | None]) -> str:
    """Name what slowed the GPU; an idle GPU's low clock is none of that."""
    reasons = {reason for state in states if state is not None for reason in state["throttled_by"]}
    return f"the GPU held its clock back: {', '.join(sorted(reasons))}" if reasons else ""


def _foreign_threads(timed: Sequence[Outcome], threads: int) -> list[str]:
    most = threads * (1 + _THREAD_TOLERANCE)
    busiest = max(outcome["window"]["cpu_s"] / outcome["window"]["wall_s"] for outcome in timed)
    if busiest > most:
        return [f"asked for {threads} thread(s), and {busiest:.2f} cores were busy"]
    wanted = max(_wanted_cores(*outcome["snapshots"]) for outcome in timed)
    return [f"asked for {threads} thread(s), and {wanted:.2f} cores were wanted"] if wanted > most else []


def _wanted_cores(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return how many threads ran or waited for a core at a time: more than asked show where cores are short too."""
    if before["run_delay_s"] is None or after["run_delay_s"] is None:
        return 0.0
    wanted_s = sum(after[counter] - before[counter] for counter in ("own_cpu_s", "run_delay_s"))
    return float(max(0.0, wanted_s - _TICKS_S) / (after["wall_s"] - before["wall_s"]))


def _missing_threads(timed: Sequence[Outcome], threads: int) -> list[str]:
    """Tell a pool that was never made: a runtime may ignore the number that it was given."""
    busiest = max(outcome["window"]["cpu_s"] / outcome["window"]["wall_s"] for outcome in timed)
    proofs = [outcome["proof"] for outcome in timed]
    counted = [proof for proof in proofs if None not in (proof.get("os_threads"), proof.get("os_threads_before"))]
    # The session's own: libraries that were imported before it have pools of the same size.
    made = min((proof["os_threads"] - proof["os_threads_before"] for proof in counted), default=threads)
    # A pool that sleeps between calls may be hardly busy, so that both have to be missing.
    if made >= threads - 1 or busiest > _USED_SHARE * threads:
        return []
    return [f"asked for {threads} threads, the session made {made} of its own, and {busiest:.2f} cores were busy"]


def _other_cores(timed: Sequence[Outcome], affinity: Sequence[int] | None) -> list[str]:
    if affinity is None:
        return []
    seen = {tuple(outcome["proof"]["affinity"] or ()) for outcome in timed}
    others = [cores for cores in seen if cores != tuple(sorted(affinity))]
    return [f"asked for cores {list(affinity)}, and the worker was bound to {list(cores)}" for cores in others]


def nonsense_in(timed: Sequence[Outcome]) -> list[str]:
    """Say what is wrong with the answers of some processes; [] when nothing is."""
    outputs = [outcome["output"] for outcome in timed]
    found = []
    if not all(output["finite"] and output.get("timed_finite", True) for output in outputs):
        found.append("the model answers NaN or infinity")
    if any(output["constant"] for output in outputs):
        found.append("the model gives the same answer to different inputs")
    worst = max((output.get("timed_difference", 0.0) for output in outputs), default=0.0)
    if worst > _SAME_ANSWER:
        found.append(f"timed calls answer otherwise than the same calls before the timing, by {worst:.1%}")
    return found

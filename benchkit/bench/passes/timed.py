"""The timed pass: closed or open loop, a saturated window, and what disturbed them."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from benchkit.bench.job import Job
from benchkit.bench.load.driving import drive
from benchkit.bench.passes.opening import bind_to, opened, output_facts, same_answers, what_ran, what_was_fed
from benchkit.bench.passes.texts import time_texts
from benchkit.bench.timing import Calls, middle_ns, overhead_ns, saturate, time_calls, warm_up
from benchkit.host.clocks import Canary, clock_state
from benchkit.host.noise import take_snapshot
from benchkit.stats.stationarity import is_warm, steadiness


def run(job: Job) -> dict[str, Any]:
    """Time one cell; see `benchkit.bench.job.Job`."""
    bind_to(job.affinity)
    found = opened(job)
    clock_ns = time.perf_counter_ns
    warmup_ns = warm_up(found.session.call, found.inputs, found.schedule(job), clock_ns, is_warm=is_warm)
    cost_ns = overhead_ns(clock_ns)
    call_s = middle_ns(warmup_ns) * 1e-9
    before, gpu_before = take_snapshot(), _gpu(job)
    outcome: dict[str, Any] = {}
    if job.scenario == "single-stream":
        canary_ns: list[int] = []
        # Thirty looks in a run of the least length: a canary that sang nine times could not tell a falling clock.
        every_ns = min(100_000_000, int(job.schedule.min_duration_s * 1e9 / 30))
        calls = time_calls(
            found.session.call, found.inputs, job.schedule, clock_ns, between=_canary(canary_ns), every_ns=every_ns
        )
        answers = calls.answers
        outcome |= _closed_loop(calls) | {"canary_ns": canary_ns}
        call_s = middle_ns(calls.latency_ns) * 1e-9
    window = saturate(
        found.session.call,
        found.inputs,
        job.schedule.throughput_s,
        call_s=call_s,
        clock_ns=clock_ns,
        cpu_clock_ns=time.process_time_ns,
    )
    if job.scenario in ("server", "low-rate"):
        assert job.load is not None
        outcome["served"] = drive(
            found.session.call,
            found.inputs,
            job.load,
            scenario=job.scenario,
            capacity_per_s=window.calls / window.wall_s,
            seed=job.seed,
            clock_ns=clock_ns,
            sleep=time.sleep,
        )
    if job.scenario != "single-stream":
        # Their loops keep no answers: the model is asked once more what it said before, as it is after all of them.
        answers = {number: found.session.call(prepared) for number, prepared in enumerate(found.inputs)}
    if job.workload.texts and job.scenario == "single-stream":
        outcome |= time_texts(job, found, clock_ns)
    after = take_snapshot()
    return outcome | {
        "load_s": found.load_s,
        "first_call_s": found.first_call_s,
        "output": output_facts(found) | same_answers(found, answers),
        "fed": what_was_fed(found),
        "warmup_ns": warmup_ns,
        "overhead_ns": cost_ns,
        "window": dataclasses.asdict(window),
        "snapshots": [dataclasses.asdict(before), dataclasses.asdict(after)],
        "gpu_states": [gpu_before, _gpu(job)],
        "proof": what_ran(found),
    }


def _closed_loop(calls: Calls) -> dict[str, Any]:
    origin_ns = calls.begin_ns[0]
    steady = steadiness([value_ns * 1e-9 for value_ns in calls.latency_ns])
    if steady.verdict == "unknown":
        steady = dataclasses.replace(steady, start=0)  # The warm-up went before: too few to tell is no reason to drop.
    return {
        "latency_ns": calls.latency_ns,
        "begin_us": [(begin_ns - origin_ns) // 1000 for begin_ns in calls.begin_ns],
        "steadiness": dataclasses.asdict(steady),
    }


def _canary(values_ns: list[int]) -> Callable[[], object] | None:
    """Return what keeps an eye on the clock between calls where nothing shows it; None where it can be read."""
    if clock_state().fastest_hz is not None:
        return None
    canary = Canary()
    return lambda: values_ns.append(canary.run())


def _gpu(job: Job) -> dict[str, Any] | None:
    """Read clocks, temperature and throttle reasons of the GPU where one is used."""
    if job.options.device != "cuda":
        return None
    from benchkit.host.gpus import gpu_state

    state = gpu_state(0)
    return None if state is None else dataclasses.asdict(state) | {"throttled_by": list(state.throttled_by)}

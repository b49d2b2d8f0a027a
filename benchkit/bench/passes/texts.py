"""Texts in, answers out: the latency of the tokenizer and of the whole, on the texts that the model is timed on."""

from typing import Any

from benchkit.bench.inputs import open_tokenizer
from benchkit.bench.job import Job
from benchkit.bench.passes.opening import Opened
from benchkit.bench.timing import Clock, Schedule, time_calls


def time_texts(job: Job, found: Opened, clock_ns: Clock) -> dict[str, Any]:
    """Time tokenizing, and tokenizing, binding and the model together.

    Both clocks run in one call: a tokenizer alone in a tight loop finds its tables in the cache, where one that takes
    turns with a model does not (0.1 against 0.4 ms was seen). The model's own latency is timed by itself, so that the
    three are measured and none is derived from the others.
    """
    workload = job.workload
    tokenizing = open_tokenizer(workload.tokenizer or "", workload.sequence_length, workload.padding)
    texts = tokenizing.text_batches(workload)
    tokenize_ns: list[int] = []

    def whole(batch: Any) -> Any:
        begin_ns = clock_ns()
        feed = tokenizing.encode(batch)
        tokenize_ns.append(clock_ns() - begin_ns)
        return found.session.call(found.session.prepare(feed))

    once = Schedule(min_values=len(texts), min_duration_s=0.0, max_duration_s=job.schedule.max_duration_s)
    warm = len(time_calls(whole, texts, once, clock_ns).latency_ns)
    end_to_end_ns = time_calls(whole, texts, job.schedule, clock_ns).latency_ns
    return {"tokenize_ns": tokenize_ns[warm:], "end_to_end_ns": end_to_end_ns}

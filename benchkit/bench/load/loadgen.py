"""MLCommons' LoadGen drives the same call on the same inputs, so that our own generator has somebody to agree with.

Its Python bindings hand out no latency. They are read from the trace that it writes of each sample (scheduled time and
completion, in nanoseconds), its own summary from its detail log; both lie in a temporary folder for as long as the run
lasts. A "sample" of LoadGen is one prepared batch here.
"""

import dataclasses
import importlib
import json
import queue
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from benchkit.bench.load.open_loop import Cut, Served
from benchkit.bench.timing import Call
from benchkit.core.errors import EnvironmentLacks, MeasurementFailed

LoadgenScenario = Literal["SingleStream", "Offline", "Server"]

# The trace is not valid JSON as a whole (it quotes some keys twice), so its sample lines are read by pattern. "ts" is
# in microseconds with three decimals.
_SAMPLE = re.compile(
    rb'"name":"Sample".*"ph":"b".*"ts":(\d+)\.(\d{3}),.*"sample_seq":(\d+),.*"complete_ns":(\d+)', re.MULTILINE
)
_MOST_WAITING = 1000
_EXPECTED = "Max query count reached"  # LoadGen logs the end that was asked for as an error.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadgenOutcome:
    """What LoadGen saw.

    Attributes:
        served: Arrivals and ends by LoadGen's trace, in the form of our own generator; `begin_ns` is the end less
            what we saw the call take, since LoadGen does not know when a query leaves our queue.
        results: LoadGen's own figures, such as "result_50.00_percentile_latency_ns".
        errors: What it logged as errors, beside the end that was asked for.
        version: Version of LoadGen.
    """

    served: Served
    results: dict[str, float]
    errors: tuple[str, ...]
    version: str


def run_loadgen(
    call: Call,
    inputs: Sequence[Any],
    *,
    scenario: LoadgenScenario,
    rate_per_s: float | None,
    count: int,
    max_duration_s: float,
    seed: int,
) -> LoadgenOutcome:
    """Let LoadGen drive the call, one server, first in, first out.

    Args:
        call: Runs one prepared batch.
        inputs: Prepared batches; LoadGen draws among them (SingleStream, Server) or goes round (Offline).
        scenario: LoadGen's name.
        rate_per_s: Poisson rate of "Server"; for the others a guess, which LoadGen wants for planning.
        count: Queries ("Offline": samples of the one query).
        max_duration_s: No query is issued after it; after half of it again, waiting ones are dropped.
        seed: Seed of arrivals and of the choice of inputs.

    Raises:
        EnvironmentLacks: The package is not installed.
        MeasurementFailed: LoadGen answered no query.
    """
    loadgen = _loadgen()
    system = _System(loadgen, call, inputs, deadline_s=1.5 * max_duration_s)
    with tempfile.TemporaryDirectory(prefix="benchkit-loadgen-") as folder:
        settings = _settings(
            loadgen, scenario, rate_per_s=rate_per_s or 1000.0, count=count, max_duration_s=max_duration_s, seed=seed
        )
        _start(loadgen, system, settings, Path(folder), threaded=scenario == "Server", inputs=len(inputs))
        if system.error is not None:
            raise system.error
        return _read(Path(folder), system)


class _System:
    """The system under test. An exception must not cross LoadGen's C++ frames: it is kept, and raised after the run."""

    def __init__(self, loadgen: Any, call: Call, inputs: Sequence[Any], *, deadline_s: float) -> None:
        self._loadgen, self._call, self._inputs = loadgen, call, inputs
        self._deadline_ns = time.perf_counter_ns() + int(deadline_s * 1e9)
        self.error: BaseException | None = None
        self.service_ns: list[int] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.error = error
        return True

    def answer(self, samples: Sequence[Any]) -> None:
        """Run the samples in order. After an error or the deadline they are returned unrun: LoadGen waits for each."""
        for sample in samples:
            begin_ns = time.perf_counter_ns()
            if self.error is None and begin_ns < self._deadline_ns:
                with self:
                    self._call(self._inputs[sample.index])
                    self.service_ns.append(time.perf_counter_ns() - begin_ns)
            self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(sample.id, 0, 0)])


def _loadgen() -> Any:
    try:
        return importlib.import_module("mlperf_loadgen")
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            "engine 'loadgen' needs the package 'mlcommons-loadgen'", remedy="pip install 'benchkit[loadgen]'"
        ) from error


def _settings(
    loadgen: Any, scenario: LoadgenScenario, *, rate_per_s: float, count: int, max_duration_s: float, seed: int
) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = settings.offline_expected_qps = rate_per_s
    settings.single_stream_expected_latency_ns = max(1, int(1e9 / rate_per_s))
    settings.server_max_async_queries = _MOST_WAITING
    settings.min_query_count = settings.max_query_count = count
    settings.min_duration_ms = 0
    settings.max_duration_ms = max(1, int(max_duration_s * 1e3))
    settings.schedule_rng_seed = settings.sample_index_rng_seed = settings.qsl_rng_seed = seed % 2**64
    return settings


def _start(loadgen: Any, system: _System, settings: Any, folder: Path, *, threaded: bool, inputs: int) -> None:
    """Run the test; for Server in a thread, so that calls wait in a queue and not in the thread that issues them."""
    logs = loadgen.LogSettings()
    logs.enable_trace = True
    logs.log_output.outdir = str(folder)
    work: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sut = loadgen.ConstructSUT(work.put if threaded else system.answer, lambda: None)
    library = loadgen.ConstructQSL(inputs, inputs, lambda _: None, lambda _: None)
    no_audit = str(folder / "audit.config")  # LoadGen would look for one in the working directory.

    def test() -> None:
        loadgen.StartTestWithLogSettings(sut, library, settings, logs, no_audit)
        work.put(None)

    if threaded:
        # The calls stay in this thread, where the warm-up ran and where an interrupt arrives.
        issuer = threading.Thread(target=test, daemon=True)
        issuer.start()
        for samples in iter(work.get, None):
            system.answer(samples)
        issuer.join()
    else:
        test()
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)


def _read(folder: Path, system: _System) -> LoadgenOutcome:
    trace = (folder / "mlperf_log_trace.json").read_bytes()
    found = sorted(
        (int(seq), int(micro) * 1000 + int(nano), int(complete))
        for micro, nano, seq, complete in _SAMPLE.findall(trace)
    )
    if not found or not system.service_ns:
        raise MeasurementFailed(
            "mlcommons-loadgen wrote no query into its trace", remedy="install the version that benchkit[loadgen] names"
        )
    details = [json.loads(line.removeprefix(":::MLLOG ")) for line in _lines(folder / "mlperf_log_detail.txt")]
    errors = tuple(
        str(line["value"]) for line in details if line["metadata"]["is_error"] and _EXPECTED not in str(line["value"])
    )
    values = {line["key"]: line["value"] for line in details}
    return LoadgenOutcome(
        served=_served(found, system.service_ns, errors),
        results={
            key: float(value)
            for key, value in values.items()
            if key.startswith("result_") and isinstance(value, (int, float)) and not isinstance(value, bool)
        },
        errors=errors,
        version=str(values.get("loadgen_version", "")),
    )


def _served(found: list[tuple[int, int, int]], service_ns: list[int], errors: tuple[str, ...]) -> Served:
    start_ns = found[0][1]
    ran = len(service_ns)
    arrivals = [arrival_ns - start_ns for _, arrival_ns, _ in found]
    ends = [arrival_ns - start_ns + response_ns for _, arrival_ns, response_ns in found[:ran]]
    cut: Cut = "time" if ran < len(found) else "backlog" if any("outstanding" in error for error in errors) else ""
    return Served(
        arrival_ns=tuple(arrivals[:ran]),
        begin_ns=tuple(end_ns - took_ns for end_ns, took_ns in zip(ends, service_ns, strict=True)),
        end_ns=tuple(ends),
        waiting_ns=tuple(arrivals[ran:]),
        cut=cut,
    )


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(":::MLLOG ")]

"""What is asked of each target: lists whose product are the cells, and what holds for all of them."""

from typing import get_args

import pydantic

from benchkit.bench.job import Scenario
from benchkit.bench.stopping import Stopping, exactly
from benchkit.bench.workload import PADDINGS, Padding
from benchkit.core.errors import BenchkitError, EnvironmentLacks, unknown_name
from benchkit.core.frozen import Setting
from benchkit.core.registry import RUNTIMES
from benchkit.host.clocks import own_cores
from benchkit.host.facts import usable_cores
from benchkit.runtimes.protocol import DEVICES

SCENARIOS = get_args(Scenario)
ENGINES = ("benchkit", "loadgen")

_LISTS = ("batch_size", "sequence_length", "threads", "runtime", "device", "scenario", "padding")


def check_threads(threads: int) -> None:
    """Raise the error for more threads than this process has cores."""
    if threads > usable_cores():
        raise EnvironmentLacks(
            f"asked for {threads} threads, and this process may use {usable_cores()} cores",
            remedy=f"ask for --threads up to {usable_cores()}",
        )


class Matrix(Setting):
    """What is asked of each target: the product of the lists, with everything resolved.

    Attributes:
        batch_size: Examples per call.
        sequence_length: Tokens per example; the most an example may have where lengths are drawn from a task.
        threads: Threads inside one operator. One by default: the count that differs least between machines.
        runtime: Names in the table of runtimes.
        device: "cpu" or "cuda".
        scenario: "single-stream" (latency and throughput), "server" (arrivals by themselves), "low-rate" (arrivals
            far apart), "offline" (throughput alone).
        padding: How examples of a batch get one length: "max", "longest", "bucketed", "grid".
        precision: Precisions to make of each target; () takes each as it is.
        provider: Execution provider; None takes the device's own.
        lengths_from: Task whose texts give the token lengths; None gives every example sequence_length tokens.
        rate_per_s: Calls that arrive a second, for "server" and "low-rate" (there: 1 by default).
        load: The same as a share of the capacity measured in the same process; 0.5 where no rate is given.
        find_max: Look for the largest rate whose p99 of the response time is at most `p99_at_most_s`.
        p99_at_most_s: That bound.
        engine: "benchkit", or "loadgen" for MLPerf's load generator.
        spinning: Whether idle threads of the runtime spin.
        transfers: Whether copies to and from the device are inside the timed call.
        affinity: Logical cores that the worker is bound to; None leaves that alone.
        cold_start: Also start fresh processes with the page cache cold and warm.
        runs: Exactly so many timed processes for each cell; None leaves it to `stopping`.
        stopping: When a cell has been measured enough.
        seed: Seed of the token ids, of the arrivals and of the order of the cells.
    """

    batch_size: tuple[pydantic.PositiveInt, ...] = (1,)
    sequence_length: tuple[int, ...] = (128,)
    threads: tuple[pydantic.PositiveInt, ...] = (1,)
    runtime: tuple[str, ...] = ("onnxruntime",)
    device: tuple[str, ...] = ("cpu",)
    scenario: tuple[Scenario, ...] = ("single-stream",)
    padding: tuple[Padding, ...] = ("max",)
    precision: tuple[str, ...] = ()
    provider: str | None = None
    lengths_from: str | None = None
    rate_per_s: pydantic.PositiveFloat | None = None
    load: float | None = pydantic.Field(default=None, gt=0, lt=1)
    find_max: bool = False
    p99_at_most_s: pydantic.PositiveFloat | None = None
    engine: str = "benchkit"
    spinning: bool = True
    transfers: bool = True
    affinity: tuple[pydantic.NonNegativeInt, ...] | None = None
    cold_start: bool = False
    runs: pydantic.PositiveInt | None = None
    stopping: Stopping = Stopping()
    seed: int = 0

    @pydantic.field_validator("sequence_length")
    @classmethod
    def _room_for_special_tokens(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(length < 2 for length in value):
            raise ValueError(f"must be at least 2 ([CLS] and [SEP]), got {min(value)}")
        return value

    @pydantic.model_validator(mode="after")
    def _no_list_is_empty(self) -> "Matrix":
        for name in _LISTS:
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one value")
        return self

    @pydantic.model_validator(mode="after")
    def _rates_fit_the_scenario(self) -> "Matrix":
        rates = [name for name in ("rate_per_s", "load") if getattr(self, name) is not None]
        rates += ["find_max"] if self.find_max else []
        if len(rates) > 1:
            raise ValueError(f"{' and '.join(rates)} both say how calls arrive: give one of --rate, --load, --find-max")
        if rates and not set(self.scenario) & {"server", "low-rate"}:
            raise ValueError(f"{rates[0]} is for --scenario server or low-rate, not {', '.join(self.scenario)}")
        if self.find_max != (self.p99_at_most_s is not None):
            raise ValueError("--find-max and --p99-at-most-s belong together: the largest rate that keeps the bound")
        return self

    @property
    def rule(self) -> Stopping:
        """The stopping rule in force: exactly `runs` processes where they were given."""
        if self.runs is None:
            return self.stopping
        return exactly(self.runs, max_seconds=self.stopping.max_seconds)

    def check_names(self) -> None:
        """Raise the error for a name that is in no table."""
        tables = {
            "runtime": (self.runtime, RUNTIMES.names()),
            "device": (self.device, DEVICES),
            "scenario": (self.scenario, SCENARIOS),
            "padding": (self.padding, PADDINGS),
            "engine": ((self.engine,), ENGINES),
        }
        for kind, (asked, known) in tables.items():
            for name in asked:
                if name not in known:
                    raise unknown_name(kind, name, known)

    def check_cores(self) -> None:
        """Raise the error for more threads, or other cores, than this process has."""
        check_threads(max(self.threads))
        beyond = sorted(set(self.affinity or ()) - own_cores())
        if beyond:
            usable = ", ".join(map(str, sorted(own_cores())))
            raise EnvironmentLacks(
                f"asked to bind to core {beyond[0]}, and this process may use {usable}",
                remedy="choose --affinity among them",
            )
        if self.affinity is not None and len(set(self.affinity)) < max(self.threads):
            raise BenchkitError(
                f"{max(self.threads)} threads cannot run side by side on the {len(set(self.affinity))} core(s) given",
                remedy="give --affinity at least as many cores as threads",
            )

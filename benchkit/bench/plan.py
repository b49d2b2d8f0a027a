"""Matrix -> cells -> interleaved jobs, and how long they will take. Running them is left to `profile`."""

import itertools
import random
from typing import Literal, NamedTuple

import pydantic

from benchkit.bench.job import Job, Pass
from benchkit.bench.timing import Schedule
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks, unknown_name
from benchkit.core.frozen import Setting
from benchkit.core.registry import RUNTIMES
from benchkit.host.facts import usable_cores
from benchkit.runtimes.protocol import SessionOptions

DEVICES = ("cpu", "cuda")
SCENARIOS = ("single-stream", "offline")
_LATER_SCENARIOS = ("server",)

# Seconds that a worker spends besides its loops: interpreter, imports, session. Seen on two cores of a server.
_START_S = 0.6
_ENERGY_S = 2.0
# Memory is repeatable to about 1 %, so that it needs fewer processes than time does.
_MEMORY_RUNS = 2


class Matrix(Setting):
    """What is asked of each target: the product of these lists, with everything resolved.

    Attributes:
        batch_size: Examples per call.
        sequence_length: Tokens per example.
        threads: Threads inside one operator. One by default: the count that differs least between machines.
        runtime: Names in the table of runtimes.
        device: "cpu" or "cuda".
        scenario: "single-stream" (latency and throughput) or "offline" (throughput alone).
        precision: Precisions to make of each target; () takes each as it is.
        provider: Execution provider; None takes the device's own.
        runs: Fresh processes that are timed for each cell; 5 are needed for bounds between processes.
        seed: Seed of the token ids and of the order of the cells.
    """

    batch_size: tuple[pydantic.PositiveInt, ...] = (1,)
    sequence_length: tuple[int, ...] = (128,)
    threads: tuple[pydantic.PositiveInt, ...] = (1,)
    runtime: tuple[str, ...] = ("onnxruntime",)
    device: tuple[str, ...] = ("cpu",)
    scenario: tuple[str, ...] = ("single-stream",)
    precision: tuple[str, ...] = ()
    provider: str | None = None
    runs: pydantic.PositiveInt = 5
    seed: int = 0

    @pydantic.field_validator("sequence_length")
    @classmethod
    def _room_for_special_tokens(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(length < 2 for length in value):
            raise ValueError(f"must be at least 2 ([CLS] and [SEP]), got {min(value)}")
        return value

    @pydantic.model_validator(mode="after")
    def _no_list_is_empty(self) -> "Matrix":
        for name in ("batch_size", "sequence_length", "threads", "runtime", "device", "scenario"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one value")
        return self

    def check_names(self) -> None:
        """Raise the error for a runtime, device or scenario that is in no table."""
        for name in self.runtime:
            if name not in RUNTIMES.names():
                raise unknown_name("runtime", name, RUNTIMES.names())
        for name in self.device:
            if name not in DEVICES:
                raise unknown_name("device", name, DEVICES)
        for name in self.scenario:
            if name in _LATER_SCENARIOS:
                raise BenchkitError(
                    f"scenario '{name}' is not measured by this version", remedy=f"choose among {', '.join(SCENARIOS)}"
                )
            if name not in SCENARIOS:
                raise unknown_name("scenario", name, SCENARIOS)


class Spot(NamedTuple):
    """One cell before it is measured: an artifact and one point of the matrix."""

    artifact: Artifact
    runtime: str
    options: SessionOptions
    batch_size: int
    sequence_length: int
    scenario: str

    def label(self) -> str:
        """Name the cell for people."""
        shape = f"batch {self.batch_size} x {self.sequence_length} tokens"
        return f"{self.artifact.manifest.name}, {shape}, {self.options.threads} thread(s)"


class PlannedJob(NamedTuple):
    """A job and where its outcome belongs."""

    spot: int
    run: int
    job: Job


def spots(artifacts: dict[str, list[Artifact]], matrix: Matrix) -> list[Spot]:
    """List the cells.

    Args:
        artifacts: Artifacts to measure by runtime.
        matrix: What is asked.

    Returns:
        One spot for each artifact and point of the matrix, in the order asked.

    Raises:
        EnvironmentLacks: More threads are asked for than this process has cores.
    """
    if max(matrix.threads) > usable_cores():
        raise EnvironmentLacks(
            f"asked for {max(matrix.threads)} threads, and this process may use {usable_cores()} cores",
            remedy=f"ask for --threads up to {usable_cores()}",
        )
    points = itertools.product(
        matrix.runtime, matrix.device, matrix.threads, matrix.scenario, matrix.batch_size, matrix.sequence_length
    )
    return [
        Spot(artifact, runtime, _options(device, threads, matrix.provider), batch_size, sequence_length, scenario)
        for runtime, device, threads, scenario, batch_size, sequence_length in points
        for artifact in artifacts[runtime]
    ]


def interleaved(
    cells: list[Spot], matrix: Matrix, schedule: Schedule, *, vocabulary: dict[str, int], with_energy: bool
) -> list[PlannedJob]:
    """Order the jobs in randomised complete blocks: each block runs every cell once, in its own order.

    A sequential sweep would hand whatever the machine does meanwhile to the cell that ran last.

    Args:
        cells: The cells.
        matrix: Gives the number of runs and the seed.
        schedule: How long each pass lasts.
        vocabulary: Vocabulary size by artifact id.
        with_energy: Add one energy pass for each run.
    """
    kinds: list[tuple[Pass, int]] = [("time", run) for run in range(matrix.runs)]
    kinds += [("memory", run) for run in range(min(matrix.runs, _MEMORY_RUNS))]
    if with_energy:
        kinds += [("energy", run) for run in range(matrix.runs)]
    order = random.Random(matrix.seed)
    planned = []
    for kind, run in kinds:
        block = list(range(len(cells)))
        order.shuffle(block)
        planned += [
            PlannedJob(index, run, _job(cells[index], kind, schedule, vocabulary, matrix.seed)) for index in block
        ]
    return planned


def predicted_s(planned: list[PlannedJob]) -> float:
    """Predict how long the jobs take, in seconds, when no single call takes longer than the floors of its pass."""
    total_s = 0.0
    for _, _, job in planned:
        total_s += _START_S
        schedule = job.schedule
        if job.kind == "time":
            total_s += schedule.warmup_s + schedule.throughput_s
            total_s += schedule.min_duration_s if job.scenario == "single-stream" else 0
        elif job.kind == "energy":
            total_s += schedule.warmup_s + _ENERGY_S
    return total_s


def max_positions(artifact: Artifact) -> int | None:
    """Return how many positions the model knows, None when nothing says so."""
    value = artifact.config().get("max_position_embeddings")
    return value if isinstance(value, int) else None


def check_lengths(artifact: Artifact, matrix: Matrix) -> None:
    """Raise the error for a sequence length beyond the model's positions."""
    positions = max_positions(artifact)
    longest = max(matrix.sequence_length)
    if positions is not None and longest > positions:
        raise BenchkitError(
            f"sequence length {longest} is longer than the {positions} positions of '{artifact.manifest.name}'",
            remedy=f"ask for --sequence-length up to {positions}",
        )


def _options(device: str, threads: int, provider: str | None) -> SessionOptions:
    return SessionOptions(device=device, threads=threads, provider=provider)


def _job(
    cell: Spot, kind: Literal["time", "memory", "energy"], schedule: Schedule, vocabulary: dict[str, int], seed: int
) -> Job:
    return Job(
        kind=kind,
        model=str(cell.artifact.model_file.absolute()),
        runtime=cell.runtime,
        options=cell.options,
        batch_size=cell.batch_size,
        sequence_length=cell.sequence_length,
        vocabulary_size=vocabulary[cell.artifact.manifest.id],
        seed=seed,
        scenario=cell.scenario,
        schedule=schedule,
    )

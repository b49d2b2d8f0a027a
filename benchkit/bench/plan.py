"""Matrix -> cells -> interleaved jobs. What is asked stands in `matrix`, running them is left to `profile`."""

import dataclasses
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchkit.bench.job import Job, Pass, Scenario
from benchkit.bench.load.driving import Load
from benchkit.bench.matrix import Matrix
from benchkit.bench.timing import Schedule
from benchkit.bench.workload import ASSUMED_VOCABULARY, Padding, Workload
from benchkit.core.architectures import position_limit
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.lengths import Drawn

# Memory is repeatable to about 1 %, so that it needs fewer processes than time does.
_MEMORY_RUNS = 2
_ENERGY_RUNS = 5
_COLD_RUNS = 5
_LOW_RATE_PER_S = 1.0
_LOAD = 0.5
_LOW_RATE_CALLS = 12
_SERVER_CALLS = 300
_SEARCH_S = 60.0
_DRAWN_BATCHES = 32  # Lengths of real text differ much: eight batches would be a sample too small of them.


class Spot(NamedTuple):
    """One cell before it is measured: an artifact and one point of the matrix."""

    artifact: Artifact
    runtime: str
    options: SessionOptions
    workload: Workload
    scenario: Scenario
    load: Load | None = None
    affinity: tuple[int, ...] | None = None

    def label(self) -> str:
        """Name the cell for people."""
        shape = f"batch {self.workload.batch_size} x {self.workload.sequence_length} tokens"
        return f"{self.artifact.manifest.name}, {shape}, {self.options.threads} thread(s)"


class PlannedJob(NamedTuple):
    """A job and the cells that its outcome belongs to."""

    spots: tuple[int, ...]
    run: int
    job: Job


def spots(artifacts: dict[str, list[Artifact]], matrix: Matrix, drawn: Mapping[str, Drawn] | None = None) -> list[Spot]:
    """List the cells.

    Args:
        artifacts: Artifacts to measure by runtime.
        matrix: What is asked.
        drawn: Texts and their token lengths by artifact id, where the matrix draws lengths from a task.

    Returns:
        One spot for each artifact and point of the matrix, in the order asked.

    Raises:
        EnvironmentLacks: More threads are asked for than this process has cores.
    """
    matrix.check_cores()
    points = list(
        itertools.product(
            matrix.runtime,
            matrix.device,
            matrix.threads,
            matrix.scenario,
            matrix.padding,
            matrix.batch_size,
            matrix.sequence_length,
        )
    )
    share_s = _search_s(matrix, sum(len(artifacts[runtime]) for runtime, *_ in points))
    return [
        Spot(
            artifact,
            runtime,
            _options(matrix, device, threads),
            _workload(artifact, matrix, (batch_size, length, padding), (drawn or {}).get(artifact.manifest.id)),
            scenario,
            _load(matrix, scenario, share_s),
            matrix.affinity,
        )
        for runtime, device, threads, scenario, padding, batch_size, length in points
        for artifact in artifacts[runtime]
    ]


def job_for(spot: Spot, kind: Pass, matrix: Matrix, schedule: Schedule) -> Job:
    """Return the job that measures one kind of quantity of a cell."""
    return Job(
        kind=kind,
        model=str(spot.artifact.model_file.absolute()),
        runtime=spot.runtime,
        options=spot.options,
        workload=spot.workload,
        seed=matrix.seed,
        scenario=spot.scenario,
        load=spot.load,
        schedule=schedule,
        affinity=spot.affinity,
    )


def interleaved(
    cells: Sequence[Spot], kind: Pass, runs: range, matrix: Matrix, schedule: Schedule, *, only: Sequence[int] = ()
) -> list[PlannedJob]:
    """Order one pass in randomised complete blocks: each block runs every cell once, in its own order.

    A sequential sweep would hand whatever the machine does meanwhile to the cell that ran last.

    Args:
        cells: The cells.
        kind: The pass.
        runs: Numbers of the blocks; each has its own order, whatever was run before.
        matrix: Gives the seed.
        schedule: How long each pass lasts.
        only: Indices of the cells that take part; () means all.
    """
    planned = []
    for run in runs:
        block = list(only or range(len(cells)))
        random.Random(f"{matrix.seed} {kind} {run}").shuffle(block)
        planned += [
            # Arrivals are drawn anew in each process: a single draw may be a lucky one.
            PlannedJob(
                (index,),
                run,
                dataclasses.replace(job_for(cells[index], kind, matrix, schedule), seed=matrix.seed + run),
            )
            for index in block
        ]
    return planned


def first_look(cells: Sequence[Spot], matrix: Matrix, schedule: Schedule, *, with_energy: bool) -> list[PlannedJob]:
    """Plan everything that each cell gets whatever its bounds turn out to be.

    Coverage comes first, so that a model that cannot be opened is told before the long part.
    """
    planned = _coverage(cells, matrix, schedule)
    planned += interleaved(cells, "time", range(matrix.rule.looks[0]), matrix, schedule)
    planned += interleaved(cells, "memory", range(min(matrix.rule.looks[0], _MEMORY_RUNS)), matrix, schedule)
    if matrix.cold_start:
        planned += _cold_starts(cells, matrix, schedule)
    if with_energy:
        everyone = tuple(range(len(cells)))
        idle = job_for(cells[0], "idle", matrix, schedule)
        planned.append(PlannedJob(everyone, 0, idle))
        planned += interleaved(cells, "energy", range(_ENERGY_RUNS), matrix, schedule)
        planned.append(PlannedJob(everyone, 1, idle))
    return planned


def _coverage(cells: Sequence[Spot], matrix: Matrix, schedule: Schedule) -> list[PlannedJob]:
    """Plan one profiled run for each way of opening an artifact: the shape does not change what runs where."""
    alike: dict[tuple[str, str, SessionOptions], list[int]] = {}
    for index, cell in enumerate(cells):
        options = SessionOptions(device=cell.options.device, provider=cell.options.provider)
        alike.setdefault((cell.artifact.manifest.id, cell.runtime, options), []).append(index)
    return [
        PlannedJob(tuple(indices), 0, job_for(cells[indices[0]], "coverage", matrix, schedule))
        for indices in alike.values()
    ]


def _cold_starts(cells: Sequence[Spot], matrix: Matrix, schedule: Schedule) -> list[PlannedJob]:
    planned = []
    for index, run, job in (
        (p.spots[0], p.run, p.job) for p in interleaved(cells, "cold-start", range(2 * _COLD_RUNS), matrix, schedule)
    ):
        cached = dataclasses.replace(job, page_cache="cold" if run % 2 else "warm", files=_files(cells[index].artifact))
        planned.append(PlannedJob((index,), run, cached))
    return planned


def _files(artifact: Artifact) -> tuple[str, ...]:
    if artifact.folder is None:
        return (str(artifact.model_file.absolute()),)
    return tuple(str((artifact.folder / name).absolute()) for name in artifact.manifest.files)


def max_positions(artifact: Artifact) -> int | None:
    """Return how many positions the model knows, None when nothing says so."""
    return position_limit(artifact.config())


def check_lengths(artifact: Artifact, matrix: Matrix) -> None:
    """Raise the error for a sequence length beyond the model's positions."""
    positions = max_positions(artifact)
    longest = max(matrix.sequence_length)
    if positions is not None and longest > positions:
        raise BenchkitError(
            f"sequence length {longest} is longer than the {positions} positions of '{artifact.manifest.name}'",
            remedy=f"ask for --sequence-length up to {positions}",
        )


def vocabulary_size(artifact: Artifact) -> int:
    """Return how many token ids the model knows; a bare .onnx file does not say, so that few are assumed."""
    value = artifact.config().get("vocab_size")
    return value if isinstance(value, int) else ASSUMED_VOCABULARY


def _options(matrix: Matrix, device: str, threads: int) -> SessionOptions:
    return SessionOptions(
        device=device,
        threads=threads,
        provider=matrix.provider,
        spinning=matrix.spinning,
        transfers=matrix.transfers,
    )


def _workload(artifact: Artifact, matrix: Matrix, shape: tuple[int, int, Padding], drawn: Drawn | None) -> Workload:
    batch_size, sequence_length, padding = shape
    plain = Workload(
        batch_size=batch_size,
        sequence_length=sequence_length,
        padding=padding,
        vocabulary_size=vocabulary_size(artifact),
        seed=matrix.seed,
    )
    if drawn is None:
        return plain
    return dataclasses.replace(
        plain,
        lengths=drawn.lengths,
        texts=drawn.texts,
        tokenizer=str(artifact.model_file.parent.absolute()),
        lengths_from=matrix.lengths_from,
        count=_DRAWN_BATCHES,
    )


def _search_s(matrix: Matrix, cells: int) -> float:
    """Return how long one search for the largest rate may take: two of each cell fit into a budget that was given."""
    budget_s = matrix.rule.max_seconds
    return _SEARCH_S if budget_s is None else budget_s / (2 * cells)


def _load(matrix: Matrix, scenario: str, search_s: float) -> Load | None:
    if scenario not in ("server", "low-rate"):
        return None
    if scenario == "low-rate":
        rate_per_s = matrix.rate_per_s or _LOW_RATE_PER_S
        return Load(rate_per_s=rate_per_s, engine=matrix.engine, queries=_LOW_RATE_CALLS, max_duration_s=60.0)
    given = matrix.rate_per_s is not None or matrix.find_max
    return Load(
        rate_per_s=matrix.rate_per_s,
        share_of_capacity=None if given else matrix.load or _LOAD,
        p99_at_most_s=matrix.p99_at_most_s,
        engine=matrix.engine,
        queries=_SERVER_CALLS,
        max_duration_s=search_s if matrix.find_max else 20.0,
    )

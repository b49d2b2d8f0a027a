"""The public Python API: thin doors to the same functions that the commands call."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchkit.bench.asked import own_task
from benchkit.bench.matrix import Matrix
from benchkit.bench.profile import artifacts_for, plan
from benchkit.bench.profile import profile as profile_plan
from benchkit.bench.score import ScoreSettings, data_for
from benchkit.bench.score import score as score_artifact
from benchkit.bench.targets import resolve
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Measured, Record
from benchkit.core.settings import validated
from benchkit.core.store import read_records
from benchkit.judge.pairs import Compared, compare_artifacts
from benchkit.report.notebook import comparison_html, default_progress, records_html
from benchkit.report.rendering import render
from benchkit.report.tables import comparison
from benchkit.tasks.table import task_named

Target = str | Path


class Records(Sequence[Record]):
    """Records, as a sequence that can become a data frame."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = tuple(records)

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each statistic, in base units."""
        return [
            {
                "record_id": record.record_id,
                "kind": record.kind,
                "artifact": record.artifact.name,
                "precision": record.artifact.precision,
                **record.cell.model_dump(),
                "host": record.host.id,
                "noise": record.noise.verdict,
                "quantity": quantity,
                "unit": measurement.unit,
                "statistic": name,
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "n": figure.n,
            }
            for record in self._records
            for quantity, measurement in record.measurements.items()
            if isinstance(measurement, Measured)
            for name, figure in measurement.statistics.items()
        ]

    def to_dataframe(self) -> Any:
        """Return the rows as a data frame of pandas, or of polars where pandas is not installed.

        Raises:
            BenchkitError: Neither is installed.
        """
        for library in ("pandas", "polars"):
            if importlib.util.find_spec(library) is not None:
                return importlib.import_module(library).DataFrame(self.rows())
        raise BenchkitError("a data frame needs pandas or polars, and neither is here", remedy="pip install pandas")

    def __str__(self) -> str:
        """Show the comparison table as text."""
        return str(render(comparison(self._records), "text"))

    def _repr_html_(self) -> str:
        """Show the comparison table in a notebook."""
        return records_html(self._records)


class ShownComparison(Compared):
    """A comparison that shows itself in a notebook: `judge` knows no pages, so that the page is joined here."""

    def _repr_html_(self) -> str:
        """Show the verdict with its evidence."""
        return comparison_html(self.record)


def profile(
    target: Target | Sequence[Target],
    *,
    data: Target | None = None,
    journal: Target | None = None,
    progress: Progress | None = None,
    **matrix: Any,
) -> Records:
    """Measure targets over a matrix, as `benchkit profile` does.

    Args:
        target: One target or several: folder, .onnx file, hub id, or "arch:PRESET".
        data: Folder of the data, for `lengths_from`.
        journal: JSON-lines file of finished processes: an interrupted call goes on where it was.
        progress: Told of each process; by default a bar in a notebook and nothing elsewhere.
        **matrix: Fields of `benchkit.bench.matrix.Matrix`: batch_size=[1, 8], sequence_length=[32, 128] ...

    Raises:
        BenchkitError: A target cannot be opened, or a field is unknown.
    """
    targets = [target] if isinstance(target, str | Path) else list(target)
    settings = validated(matrix, Matrix, where="benchkit.profile")
    progress = progress or default_progress()
    planned = plan(
        artifacts_for([str(one) for one in targets], settings, progress),
        settings,
        data=None if data is None else Path(data),
    )
    return Records(profile_plan(planned, journal=None if journal is None else Path(journal), progress=progress))


def score(
    target: Target, *, task: str | None = None, data: Target | None = None, progress: Progress = silent, **settings: Any
) -> Record:
    """Score one target on one task, as `benchkit score` does.

    Args:
        target: Artifact folder or checkpoint folder.
        task: Name in the task table, or the path of a task file; None takes the artifact's own.
        data: Folder in GLUE's layout.
        progress: Told after each call.
        **settings: Fields of `benchkit.bench.score.ScoreSettings`.
    """
    chosen = validated(settings, ScoreSettings, where="benchkit.score")
    artifact = resolve(str(target), runtime=chosen.runtime)
    known = own_task(artifact) if task is None else task_named(task)
    folder = data_for(known, None if data is None else Path(data))
    return score_artifact(artifact, known, folder, chosen, progress=progress)


def compare(
    a: Target,
    b: Target,
    *,
    quantity: str = "latency",
    statistic: str | None = None,
    margin: float = 0.05,
    max_seconds: float | None = None,
    task: str | None = None,
    data: Target | None = None,
    progress: Progress | None = None,
    **matrix: Any,
) -> "ShownComparison":
    """Compare B with A in one cell by pairs of fresh processes; `.verdict` is the word, `.record` the evidence.

    Args:
        a: The target that is compared with.
        b: The target in question.
        quantity: "latency", "throughput", "cpu_time", "peak_memory", "energy_package" or "energy_gpu".
        statistic: For latency "p50" (the default), "p90", "p95" or "p99" of each process.
        margin: Relative change that counts.
        max_seconds: Budget of time for the pairs.
        task: Task whose examples both are scored on, too.
        data: Folder of its data, in GLUE's layout.
        progress: Told of each pair; by default a bar in a notebook and nothing elsewhere.
        **matrix: Fields of `benchkit.bench.matrix.Matrix`, one value each.
    """
    settings = validated(matrix, Matrix, where="benchkit.compare")
    progress = progress or default_progress()
    known = None if task is None else task_named(task)
    first, second = (resolve(str(target), runtime=settings.runtime[0], progress=progress) for target in (a, b))
    compared = compare_artifacts(
        first,
        second,
        settings,
        quantity=quantity,
        statistic=statistic,
        margin=margin,
        max_seconds=max_seconds,
        task=known,
        data=None if known is None else data_for(known, None if data is None else Path(data)),
        progress=progress,
    )
    return ShownComparison(*compared)


def load_records(path: Target) -> Records:
    """Read a record file; iterable, and `.to_dataframe()` when pandas or polars is there."""
    return Records(list(read_records(Path(path))))

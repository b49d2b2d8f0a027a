"""Score an artifact on a task through the same runtime and settings as `profile`, and make a record of it."""

from pathlib import Path
from typing import NamedTuple

import pydantic

from benchkit.bench.record import seal
from benchkit.bench.targets import cache_folder
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Setting
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Cell, Measured, Noise, Record
from benchkit.core.registry import RUNTIMES
from benchkit.core.store import canonical_json, file_sha256, locked, staged_folder, utc_now, write_text
from benchkit.host.facts import host_facts
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.label_order import label_order
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.scoring import Scored, score_session
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.tasks.toy import write_toy_tasks


class ScoreSettings(Setting):
    """How an artifact is called while it is scored.

    Attributes:
        batch_size: Examples per call. A dynamically quantized artifact answers differently in other batches,
            so it is scored as it will be called.
        max_length: Longest input in tokens; longer ones are truncated and counted.
        split: "validation" is GLUE's dev set.
        runtime: Name in the table of runtimes.
        device: "cpu" or "cuda".
        threads: Threads inside one operator.
        seed: Seed of the bootstrap.
    """

    batch_size: pydantic.PositiveInt = 1
    max_length: int = pydantic.Field(default=128, ge=4)
    split: str = "validation"
    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: pydantic.PositiveInt = 1
    seed: int = 0


def score(
    artifact: Artifact,
    task: Task,
    data: Path,
    settings: ScoreSettings,
    *,
    predictions: Path | None = None,
    progress: Progress = silent,
) -> Record:
    """Score an artifact on one split of a task.

    Args:
        artifact: What the runtime opens.
        task: Row of the task table.
        data: Folder in the layout of the GLUE download.
        settings: How the artifact is called.
        predictions: Folder for the per-example answers, so that two artifacts can be compared on the same
            examples; None keeps none.
        progress: Told after each call.

    Raises:
        BenchkitError: No tokenizer, no head for this task, labels in no order that fits, broken data.
    """
    examples = read_split(task, settings.split, data)
    started_at_utc = utc_now()
    answered = score_examples(artifact, task, examples, settings, progress=progress)
    scored = answered.scored
    files = {}
    if predictions is not None:
        name = f"predictions-{artifact.manifest.id}-{task.name}-{settings.split}.json"
        _keep(predictions / name, scored, artifact=artifact.manifest.id, examples=examples)
        files = {name: file_sha256(predictions / name)}
    return seal(
        kind="score",
        artifact=artifact.facts(),
        cell=Cell(
            runtime=settings.runtime,
            device=settings.device,
            provider=answered.provider,
            threads=settings.threads,
            batch_size=settings.batch_size,
            scenario="score",
            padding="longest",
            task=task.name,
            split=settings.split,
        ),
        host=host_facts(),
        started_at_utc=started_at_utc,
        elapsed_s=round(scored.elapsed_s, 3),
        seed=settings.seed,
        measurements={"score": Measured(unit="ratio", statistics=scored.statistics)},
        noise=Noise(verdict="clean"),
        warnings=answered.warnings,
        files=files,
    )


class Answered(NamedTuple):
    """Scored examples, and what ran."""

    scored: Scored
    provider: str
    warnings: tuple[str, ...]


def score_examples(
    artifact: Artifact, task: Task, examples: Examples, settings: ScoreSettings, *, progress: Progress = silent
) -> Answered:
    """Run an artifact on given examples, whatever part of the data they are; raises as `score`."""
    called = artifact.manifest.name
    if artifact.manifest.weights == "random":
        raise BenchkitError(
            f"'{called}' has random weights: a score would mean nothing", remedy="score a trained artifact"
        )
    if artifact.folder is None:
        raise BenchkitError(
            f"'{artifact.path}' is a bare file: without tokenizer and config.json no text can be scored",
            remedy="give the folder that holds model.onnx, config.json and tokenizer.json",
        )
    tokenizer = load_tokenizer(artifact.folder)
    order = label_order(artifact.config(), task, f"'{called}'")
    options = SessionOptions(device=settings.device, threads=settings.threads)
    session = RUNTIMES.get(settings.runtime)().open(artifact.model_file, options)
    scored = score_session(
        session,
        tokenizer,
        task,
        examples,
        batch_size=settings.batch_size,
        max_length=min(settings.max_length, tokenizer.max_positions or settings.max_length),
        label_order=order.order,
        seed=settings.seed,
        progress=progress,
    )
    warnings = tuple(warning for warning in (order.warning, *scored.warnings) if warning)
    return Answered(scored, session.proof().provider, warnings)


def _keep(path: Path, scored: Scored, *, artifact: str, examples: Examples) -> None:
    """Write the per-example logits beside the records."""
    value = {
        "artifact": artifact,
        "task": examples.task,
        "split": examples.split,
        "data_sha256": examples.sha256,
        "logits": [[float(f"{logit:.7g}") for logit in row] for row in scored.logits],
    }
    write_text(path, canonical_json(value) + "\n")


def data_for(task: Task, data: Path | None) -> Path:
    """Return the folder that a task is read from; toy tasks are made when none is given.

    Raises:
        BenchkitError: A task of other origin, and no folder.
    """
    if data is not None:
        return data
    if task.origin != "toy":
        raise BenchkitError(
            f"task '{task.name}' is read from files, and no folder is given",
            remedy=f"--data DIR, the folder that holds {task.folder}/dev.tsv",
        )
    folder = cache_folder() / "toy-tasks"
    with locked(folder):
        if not folder.is_dir():
            with staged_folder(folder) as out:
                write_toy_tasks(out)
    return folder

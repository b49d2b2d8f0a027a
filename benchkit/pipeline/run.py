"""Run an experiment: data, steps, scores, sweep, page. Finished parts are reused, an interrupted run resumes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import filelock

from benchkit.bench.prediction import Prediction
from benchkit.bench.profile import artifacts_for, plan, profile
from benchkit.bench.score import score
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Record
from benchkit.core.registry import STEPS
from benchkit.core.store import canonical_json, digest, explained_writes, file_sha256, staged_folder, write_text
from benchkit.host.facts import host_facts
from benchkit.pipeline.experiment import Experiment, Sweep
from benchkit.pipeline.graph import artifact_names, steps_of
from benchkit.pipeline.inputs import folder_of, split_file, task_facts, train_digest
from benchkit.pipeline.steps import Step, Workshop
from benchkit.report.page import write_report
from benchkit.tasks.table import Task, task_named
from benchkit.tasks.toy import write_toy_tasks


class Planned(NamedTuple):
    """What a run would do.

    Attributes:
        name: Step, or the sweep.
        kind: What is done.
        reused: True when it was finished before.
        detail: In words.
    """

    name: str
    kind: str
    reused: bool
    detail: str


class Finished(NamedTuple):
    """What a run left behind."""

    records: list[Record]
    files: list[Path]


def run_experiment(
    experiment: Experiment,
    *,
    data: Path | None = None,
    models: Path = Path("models"),
    reports: Path = Path("reports"),
    progress: Progress = silent,
) -> Finished:
    """Run every step that is not finished, then score, profile and report.

    Args:
        experiment: What to run.
        data: Folder of the data; None takes the experiment's own.
        models: Artifacts go to models/NAME.
        reports: Records and page go to reports/NAME.
        progress: Told all the way.

    Raises:
        BenchkitError: A step cannot be made from what it is given.
    """
    workshop = Workshop(models / experiment.name)
    with _sole_user(workshop.folder, progress):
        workshop.clear_remains()
        folder = _data_folder(experiment, data, workshop, progress)
        artifacts = _make_all(steps_of(experiment, folder, _train_digests(experiment, folder)), workshop, progress)
        out = reports / experiment.name
        records = [
            _scored(experiment, task, artifacts[name], data=folder, workshop=workshop, out=out, progress=progress)
            for task, name in artifact_names(experiment)
        ]
        for sweep in experiment.sweep:
            records += _measured(experiment, sweep, artifacts, workshop, data=folder, progress=progress)
        lines = "".join(canonical_json(record.as_json()) + "\n" for record in records)
        write_text(out / "records.jsonl", lines)
        progress("report")
        files = write_report(records, out, title=experiment.title or experiment.name)
    return Finished(records, [out / "records.jsonl", *files])


def plan_experiment(
    experiment: Experiment, *, data: Path | None = None, models: Path = Path("models")
) -> list[Planned]:
    """Say what a run would do, without doing anything; needs neither the hub nor the data."""
    workshop = Workshop(models / experiment.name)
    folder = data or experiment.data or workshop.folder / "data"
    steps = steps_of(experiment, folder, _train_digests(experiment, folder, strict=False))
    made: dict[str, Artifact] = {}
    planned = []
    for step in steps:
        artifact = workshop.finished(step, made) if all(name in made for name in step.inputs) else None
        if artifact is not None:
            made[step.name] = artifact
        source = f"from {', '.join(step.inputs)}" if step.inputs else str(step.settings.get("source", ""))
        planned.append(Planned(step.name, step.kind, artifact is not None, source))
    planned += [
        Planned(name, "score", False, f"{task.name}, {experiment.score.split}")
        for task, name in artifact_names(experiment)
    ]
    planned += [_planned_sweep(experiment, sweep) for sweep in experiment.sweep]
    return planned


def _planned_sweep(experiment: Experiment, settings: Sweep) -> Planned:
    points = 1
    for key in ("batch_size", "sequence_length", "threads", "runtime", "device", "scenario", "padding"):
        points *= len(getattr(settings, key))
    targets = len(settings.targets) * max(1, len(settings.precision))
    cells = points * (targets or len(artifact_names(experiment, settings.candidates)))
    per_run_s = settings.warmup_s + settings.min_duration_s + settings.throughput_s + 0.6
    least_s = cells * (settings.runs * per_run_s + 1.2)
    name = ", ".join(settings.targets) or "every artifact above"
    return Planned(name, "profile", False, f"{cells} cells x {settings.runs} runs, at least {least_s:.0f} s")


def _sole_user(folder: Path, progress: Progress) -> filelock.BaseFileLock:
    """Take the experiment's folder for this run; wait for another run to end."""
    with explained_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".run.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            progress(f"another run works on {folder}: waiting for it to end")
            lock.acquire()
    return lock


def _data_folder(experiment: Experiment, data: Path | None, workshop: Workshop, progress: Progress) -> Path:
    """Return the folder of the tasks' files: the one given, the toy tasks made here, or GLUE from the hub."""
    given = data or experiment.data
    if experiment.toy_data is None and given is not None:
        return given
    tasks = [task for task in map(task_named, experiment.tasks) if task.home is None]
    toy, folder = experiment.toy_data, workshop.folder / "data"
    if toy is None and not tasks:
        return folder  # Every task says itself where it lies.
    key = digest({"toy": toy.model_dump()} if toy is not None else {"hub": sorted(task.name for task in tasks)})
    if workshop.recall("data", key) is None or not folder.is_dir():
        if folder.is_dir() and not workshop.is_kept("data"):
            raise BenchkitError(
                f"'{folder}' was not made by this experiment, so it is not replaced",
                remedy=f"--data {folder}, or move it",
            )
        with staged_folder(folder) as out:
            if toy is not None:
                progress("make the toy tasks")
                write_toy_tasks(out, seed=toy.seed, train=toy.train, dev=toy.dev)
            else:
                STEPS.get("glue-data")(tasks, out=out, progress=progress)
        workshop.keep("data", key, {"folder": folder.name})
    return folder


def _train_digests(experiment: Experiment, folder: Path, *, strict: bool = True) -> dict[str, str]:
    """Return the digest of each task's train file, so that a changed file makes its steps again."""
    digests = {}
    for task in map(task_named, experiment.tasks):
        is_read = strict or split_file(task, "train", folder).is_file()
        digests[task.name] = train_digest(task, folder) if is_read else "not read"
    return digests


def _make_all(steps: Sequence[Step], workshop: Workshop, progress: Progress) -> dict[str, Artifact]:
    made: dict[str, Artifact] = {}
    for number, step in enumerate(steps, 1):
        label = f"[{number}/{len(steps)}] {step.kind} {step.name}"
        finished = workshop.finished(step, made)
        if finished is not None:
            progress(f"{label}: reused")
            made[step.name] = finished
            continue
        changes = workshop.changes(step, made)
        progress(f"{label}: made again, since {'; '.join(changes)}" if changes else label)

        def told(message: str, done: float | None = None, label: str = label) -> None:
            progress(f"{label}: {message}", done)

        made[step.name] = workshop.make(step, made, told)
    return made


def _scored(
    experiment: Experiment,
    task: Task,
    artifact: Artifact,
    *,
    data: Path,
    workshop: Workshop,
    out: Path,
    progress: Progress,
) -> Record:
    settings, name = experiment.score, artifact.manifest.name
    path = split_file(task, settings.split, data)
    key = digest(
        [
            artifact.manifest.id,
            task_facts(task),
            settings.model_dump(),
            file_sha256(path) if path.is_file() else None,  # What is wrong with it, `score` says best.
            host_facts().id,
            host_facts().versions,
        ]
    )
    kept = workshop.recall(f"score-{name}", key)
    if kept is not None and all((out / file).is_file() for file in kept["files"]):
        return Record.model_validate(kept)
    progress(f"score {name}")
    record = score(artifact, task, folder_of(task, data), settings, predictions=out, progress=progress)
    workshop.keep(f"score-{name}", key, record.as_json())
    return record


def _measured(
    experiment: Experiment,
    sweep: Sweep,
    artifacts: dict[str, Artifact],
    workshop: Workshop,
    *,
    data: Path,
    progress: Progress,
) -> list[Record]:
    matrix = sweep.matrix()
    if sweep.targets:
        by_runtime = artifacts_for(sweep.targets, matrix, progress)
    else:
        matrix.check_names()
        own = [artifacts[name] for _, name in artifact_names(experiment, sweep.candidates)]
        by_runtime = dict.fromkeys(matrix.runtime, own)
    planned = plan(by_runtime, matrix, sweep.schedule(), data=data)
    predicted_s = Prediction(planned.cells).of(planned.jobs)
    progress(f"profile {len(planned.cells)} cells in {len(planned.jobs)} processes, about {predicted_s:.0f} s")
    return profile(planned, journal=workshop.folder / "profile.journal.jsonl", progress=progress)

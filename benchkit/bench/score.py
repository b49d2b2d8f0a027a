"""Score an artifact on a task through the same runtime and settings as `profile`, and make a record of it."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchkit.bench.predictions import keep_predictions, keep_submission, submission_file
from benchkit.bench.record import seal
from benchkit.bench.score_record import ScoreSettings, data_warnings, score_cell, score_measurement
from benchkit.bench.targets import cache_folder
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.records import Noise, Record
from benchkit.core.registry import RUNTIMES
from benchkit.core.store import file_sha256, locked, staged_folder, utc_now
from benchkit.host.facts import host_facts
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.answering import Answerer
from benchkit.tasks.batching import WINDOW_EXAMPLES
from benchkit.tasks.label_order import label_order
from benchkit.tasks.official import Tally, state_of
from benchkit.tasks.readers import Examples, stream_split
from benchkit.tasks.scoring import Scored, score_session
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.tasks.toy import write_toy_tasks

__all__ = ["Answered", "ScoreSettings", "data_for", "score", "score_examples", "splits_of"]

# Where calls may run at the same time, so many of them on one core each take less time than one after the other on
# all cores: small encoders have little to share out. onnxruntime's Run is thread-safe and lets go of Python's lock;
# torch keeps one number of threads for the whole process, and OpenVINO one request for each compiled model.
_CALLS_RUN_TOGETHER = {("onnxruntime", "cpu")}

# Tokens of one call that keep a core busy: fewer leave its vector units waiting, and the activations of many more fall
# out of its cache. Of the 6-layer 384-wide encoder, 256 to 512 take the same time and 2,048 a third more.
_TOKENS_PER_CORE = 384
_TOKENS_PER_GPU = 16_384


def score(
    artifact: Artifact,
    task: Task,
    data: Path,
    settings: ScoreSettings,
    *,
    predictions: Path | None = None,
    submission: Path | None = None,
    progress: Progress = silent,
) -> Record:
    """Score an artifact on one split of a task.

    Args:
        artifact: What the runtime opens.
        task: Row of the task table, or one's own task.
        data: Folder in the layout of the GLUE download; a task that knows its own folder does not look at it.
        settings: How the artifact is called.
        predictions: Folder for the per-example answers, so that two artifacts can be compared on the same
            examples; None keeps none.
        submission: Folder for the answers in the form that GLUE's site takes; None writes none.
        progress: Told after each call.

    Returns:
        A record; its score is not measured where the split has no labels.

    Raises:
        BenchkitError: No tokenizer, no head for this task, labels in no order that fits, broken data.
    """
    submitted = None if submission is None else submission_file(submission, task, settings.split)
    source: list[str] = []
    tally = Tally()
    chunks = _tallied(stream_split(task, settings.split, data, rows=WINDOW_EXAMPLES), task, tally, source)
    first = next(chunks)  # What is wrong with the data is said before a model is loaded.
    started_at_utc = utc_now()
    answered = score_examples(
        artifact,
        task,
        itertools.chain((first,), chunks),
        settings,
        total=_rows_about(task, settings.split, data),
        progress=progress,
    )
    scored = answered.scored
    state = state_of(
        task,
        settings.split,
        rows=tally.rows,
        labels=tally.labels,
        sha256=tally.sha256,
        text_bytes=tally.text_bytes,
        score_sum=tally.score_sum,
    )
    files = {}
    if predictions is not None:
        name = f"predictions-{artifact.manifest.id}-{task.name}-{settings.split}.json"
        keep_predictions(
            predictions / name, scored, artifact=artifact.manifest.id, task=task, split=settings.split, tally=tally
        )
        files = {name: file_sha256(predictions / name)}
    if submitted is not None:
        keep_submission(submitted, scored, task)
    return seal(
        kind="score",
        artifact=artifact.facts(),
        cell=score_cell(task, settings, scored, answered.provider),
        host=host_facts(),
        started_at_utc=started_at_utc,
        elapsed_s=round(scored.elapsed_s, 3),
        seed=settings.seed,
        measurements={"score": score_measurement(task, scored, state, source=source[0], sha256=tally.sha256)},
        noise=Noise(verdict="clean"),
        warnings=(*data_warnings(task, settings.split, state), *answered.warnings),
        files=files,
    )


class Answered(NamedTuple):
    """Scored examples, and what ran."""

    scored: Scored
    provider: str
    warnings: tuple[str, ...]


def score_examples(
    artifact: Artifact,
    task: Task,
    examples: Examples | Iterable[Examples],
    settings: ScoreSettings,
    *,
    total: int | None = None,
    progress: Progress = silent,
) -> Answered:
    """Run an artifact on given examples, whatever part of the data they are; raises as `score`.

    Args:
        artifact: What the runtime opens.
        task: What is asked.
        examples: The examples, whole or in chunks.
        settings: How the artifact is called.
        total: Examples there will be, about; None where nobody knows.
        progress: Told after each call.
    """
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
    together = settings.threads if (settings.runtime, settings.device) in _CALLS_RUN_TOGETHER else 1
    options = SessionOptions(device=settings.device, threads=settings.threads // together)
    session = RUNTIMES.get(settings.runtime)().open(artifact.model_file, options)

    def told(message: str, done: float | None = None) -> None:
        progress(f"score {called} on {message}", done)

    scored = score_session(
        Answerer(
            session=session,
            tokenizer=tokenizer,
            task=task,
            max_length=min(settings.max_length, tokenizer.max_positions or settings.max_length),
            calls_at_once=together,
        ),
        examples,
        batch_size=settings.batch_size,
        batch_tokens=settings.batch_tokens or _tokens_per_call(options),
        label_order=order.order,
        total=len(examples) if isinstance(examples, Examples) else total,
        seed=settings.seed,
        progress=told,
    )
    warnings = tuple(warning for warning in (order.warning, *scored.warnings) if warning)
    return Answered(scored, session.proof().provider, warnings)


def splits_of(task: Task, split: str, data: Path) -> tuple[str, ...]:
    """Return the split, and its mismatched half where the task has one and its file is there."""
    other = f"{split}_mismatched"
    file = task.layout.files.get(other)
    is_there = file is not None and (task.folder_in(data) / file).is_file()
    return (split, other) if is_there else (split,)


def _tokens_per_call(options: SessionOptions) -> int:
    return _TOKENS_PER_CORE * options.threads if options.device == "cpu" else _TOKENS_PER_GPU


def _tallied(chunks: Iterable[Examples], task: Task, tally: Tally, source: list[str]) -> Iterator[Examples]:
    """Yield chunks and keep their figures and where they come from."""
    for chunk in chunks:
        tally.add(task, chunk)
        source[:] = [chunk.source]
        yield chunk


def _rows_about(task: Task, split: str, data: Path) -> int | None:
    """Return the lines of a text file, for progress: its examples, but for a header and for lines inside quotes."""
    layout = task.layout.of_split(split)
    if layout.format == "parquet":
        return None
    with (task.folder_in(data) / task.layout.files[split]).open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return max(1, lines - (layout.format != "jsonl" and not layout.headless))


def data_for(task: Task, data: Path | None) -> Path:
    """Return the folder that a task is read from: its own, the one given, or toy tasks made now.

    Raises:
        BenchkitError: A task of other origin, and no folder.
    """
    if task.home is not None:
        return task.home
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

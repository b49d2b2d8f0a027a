"""Make what a recipe file asks for: reuse what is finished, go on with what was interrupted, alone or side by side.

Under `accelerate launch` or `torchrun` every process comes here; all of them train, and only the main one writes.
"""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import filelock

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.launcher import is_main_process, process_count
from benchkit.core.manifest import MANIFEST, Manifest, read_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.store import explained_writes
from benchkit.host.cgroups import cpu_quota_cores, memory_limit_bytes
from benchkit.host.facts import host_facts, usable_cores
from benchkit.host.topology import smt_siblings
from benchkit.pipeline.outlook import Outlook, in_words
from benchkit.pipeline.side_by_side import clear_after, train_side_by_side
from benchkit.pipeline.steps import STEP_NOTE, Workshop, read_note
from benchkit.pipeline.trainings import Order, Training

# Weights, gradients and the two moments of Adam are 4 times the encoder; activations, the interpreter and torch are
# the rest. Two trainings of MiniLM-L6 (90.9 MB) on MRPC at batch 32 had peaks (VmHWM) of 1.80 and 1.96 GB.
_MEMORY_FACTOR = 22


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How one training ended.

    Attributes:
        training: What was asked for.
        manifest: What its checkpoint says; None when it failed.
        error: Why it failed.
        reused: True when it was finished before and nothing that determines it has changed.
        changes: Why a finished one was trained again.
    """

    training: Training
    manifest: Manifest | None = None
    error: BenchkitError | None = None
    reused: bool = False
    changes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command would do.

    Attributes:
        trainings: All of them.
        jobs: How many side by side.
        finished: Names of those that are reused.
        changes: By name of those that are made again, why.
        interrupted: Names of those that were interrupted.
        said: What there is to say about `jobs`.
    """

    trainings: tuple[Training, ...]
    jobs: int
    finished: frozenset[str]
    changes: Mapping[str, tuple[str, ...]]
    interrupted: frozenset[str]
    said: str = ""


def plan_training(order: Order, *, jobs: int | None, encoder_bytes: int | None = None) -> Plan:
    """Say what there is to do; nothing is fetched, written or trained.

    Args:
        order: What is asked for.
        jobs: Trainings side by side; None decides by the cores, and by memory where `encoder_bytes` is known.
        encoder_bytes: Size of the encoder's weights.
    """
    count, said = _jobs(order, jobs, encoder_bytes)
    trainings = order.trainings(threads=_threads(count))
    finished, changes = set(), {}
    for training in trainings:
        if training.workshop.finished(training.step(), {}) is not None:
            finished.add(training.name)
        else:
            changes[training.name] = tuple(training.workshop.changes(training.step(), {}))
    works = {training.name: training.workshop.work_folder(training.folder.name) for training in trainings}
    interrupted = {name for name, work in works.items() if work.is_dir() and any(work.iterdir())} - finished
    return Plan(
        trainings=tuple(trainings),
        jobs=count,
        finished=frozenset(finished),
        changes=changes,
        interrupted=frozenset(interrupted),
        said=said,
    )


def train_all(order: Order, *, jobs: int | None = None, progress: Progress = silent) -> list[Made]:
    """Make every checkpoint that is asked for; one that fails stops none of the others.

    Args:
        order: What is asked for.
        jobs: Trainings side by side; None decides.
        progress: Told all the way.

    Returns:
        How each training ended, in the order of the recipe.

    Raises:
        BenchkitError: Something is wrong with all of them: the data, the encoder, a teacher.
    """
    if not is_main_process():
        _follow(order)
        return []
    order.trainings(threads=1)  # What is wrong with data and teachers is told before anything is made or fetched.
    with _sole_user(order, progress):
        for _, _, _, folder in order.targets:
            Workshop(folder.parent).clear_remains(folder.name)
        encoder = _Encoder(order, progress)
        encoder_bytes = None if jobs is not None or len(order.targets) == 1 else encoder.size_bytes()
        plan = plan_training(order, jobs=jobs, encoder_bytes=encoder_bytes)
        if plan.said:
            progress(plan.said)
        for name in sorted(plan.finished):
            progress(f"train {name}: reused, since nothing that it is made from has changed")
        for name, changes in plan.changes.items():
            if changes:
                progress(f"train {name}: again, since {'; '.join(changes)}")
        pending = [training for training in plan.trainings if training.name not in plan.finished]
        errors = _run(pending, plan.jobs, encoder, progress) if pending else {}
        encoder.forget()
    return [_made(training, plan, errors.get(training.name)) for training in plan.trainings]


def _run(pending: Sequence[Training], jobs: int, encoder: "_Encoder", progress: Progress) -> dict[str, BenchkitError]:
    """Train what is pending; return the errors by name."""
    lanes = min(jobs, len(pending))
    board = _Board(pending, lanes=lanes, progress=progress)
    if lanes > 1:
        try:
            train_side_by_side(pending, encoder=encoder.get(), jobs=lanes, told=board.told, ended=board.ended)
        finally:
            clear_after(pending)
        return board.errors
    for number, training in enumerate(pending):

        def told(message: str, done: float | None = None, number: int = number) -> None:
            board.told(number, message, done)

        try:
            _train(training, encoder.get(), told)
        except BenchkitError as error:
            if len(pending) == 1:
                raise
            board.ended(number, error)
        else:
            board.ended(number, None)
    return board.errors


def _train(training: Training, encoder: Artifact, progress: Progress) -> None:
    training.workshop.make(training.step(), _inputs(training, encoder), progress)


def _inputs(training: Training, encoder: Artifact) -> dict[str, Artifact]:
    made = {"encoder": encoder}
    if training.teacher is not None:
        made["teacher"] = load_artifact(training.teacher)
    return made


class _Board:
    """Gathers what the trainings tell into one line: how many are done, where the others are, when all will be."""

    def __init__(self, trainings: Sequence[Training], *, lanes: int, progress: Progress) -> None:
        self.errors: dict[str, BenchkitError] = {}
        self._names = [training.name for training in trainings]
        self._shares: dict[int, float] = {}
        self._ended: set[int] = set()
        self._outlook = Outlook([training.cost() for training in trainings], lanes=lanes)
        self._progress = progress

    def told(self, number: int, message: str, done: float | None) -> None:
        if done is not None:
            self._outlook.told(number, done)
            self._shares[number] = done
        if len(self._names) == 1:
            self._progress(message, done)  # One training says for itself how long it will be.
        elif done is None or done >= 1:
            self._progress(message, min(self._outlook.share(), 0.999))
        else:
            self._progress(self._line(), min(self._outlook.share(), 0.999))

    def ended(self, number: int, error: BenchkitError | None) -> None:
        self._outlook.ended(number)
        self._ended.add(number)
        if error is not None:
            self.errors[self._names[number]] = error
            told = str(error).removeprefix(f"{self._names[number]}: ")
            self._progress(f"{self._names[number]} failed: {told}", min(self._outlook.share(), 0.999))

    def _line(self) -> str:
        shares = [
            f"{self._names[number]} {share:.0%}" for number, share in self._shares.items() if number not in self._ended
        ]
        left_s = self._outlook.left_s()
        told = [f"train: {len(self._ended)} of {len(self._names)} done", *shares]
        return ", ".join([*told, *([in_words(left_s)] if left_s is not None else [])])


class _Encoder:
    """The encoder of all trainings: fetched once, when it is first needed, and kept until they are done."""

    def __init__(self, order: Order, progress: Progress) -> None:
        self._order, self._progress = order, progress
        self._workshop, self._step = order.encoder_workshop(), order.encoder_step()
        self._artifact: Artifact | None = None

    def get(self) -> Artifact:
        if self._artifact is None:
            self._workshop.clear_remains()
            self._artifact = self._workshop.finished(self._step, {}) or self._workshop.make(
                self._step, {}, self._progress
            )
        return self._artifact

    def size_bytes(self) -> int:
        """Return the size of its weights; a checkpoint that was trained from it is as large, and needs no fetching."""
        for _, _, _, folder in self._order.targets:
            settings = (read_note(folder / STEP_NOTE) or {}).get("settings")
            if isinstance(settings, dict) and settings.get("encoder") == self._step.settings:
                with contextlib.suppress(BenchkitError):
                    return load_artifact(folder).size_bytes
        return self.get().size_bytes

    def forget(self) -> None:
        shutil.rmtree(self._workshop.folder, ignore_errors=True)


def _made(training: Training, plan: Plan, error: BenchkitError | None) -> Made:
    return Made(
        training=training,
        manifest=None if error is not None else read_manifest(training.folder / MANIFEST),
        error=error,
        reused=training.name in plan.finished,
        changes=plan.changes.get(training.name, ()),
    )


def _jobs(order: Order, jobs: int | None, encoder_bytes: int | None) -> tuple[int, str]:
    """Return how many trainings run side by side, and what there is to say about it."""
    wanted, device = len(order.targets), order.file.train.device
    if process_count() > 1:
        if jobs is not None and jobs > 1:
            raise BenchkitError(
                f"--jobs {jobs} with {process_count()} processes that train together",
                remedy="leave out --jobs: under accelerate launch there is one training at a time",
            )
        return 1, ""
    if jobs is not None:
        return min(jobs, wanted), ""
    if wanted == 1 or device != "cpu":
        return 1, ""
    count = min(wanted, max(1, training_cores() // (order.file.train.threads or 1)))
    if encoder_bytes is None:
        return count, ""
    need_bytes, memory_bytes = encoder_bytes * _MEMORY_FACTOR, _memory_bytes()
    fit = max(1, memory_bytes // need_bytes)
    if fit >= count:
        return count, ""
    return fit, f"memory ({memory_bytes / 2**30:.0f} GiB) holds {fit} trainings of {need_bytes / 2**30:.1f} GiB at once"


def training_cores() -> int:
    """Return the cores that training can use: physical ones, since two threads of one core do not multiply faster."""
    siblings = smt_siblings() or ()
    cores = usable_cores() - sum(len(group) - 1 for group in siblings)
    quota = cpu_quota_cores()
    return max(1, cores if quota is None else min(cores, int(quota)))


def _threads(jobs: int) -> int:
    """Return the threads of each training; OMP_NUM_THREADS bounds them, as it bounds everything else's."""
    share = max(1, training_cores() // (jobs * max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdecimal() and int(asked) > 0 else share


def _memory_bytes() -> int:
    limit_bytes = memory_limit_bytes()
    total_bytes = host_facts().memory_bytes
    return total_bytes if limit_bytes is None else min(total_bytes, limit_bytes)


@contextlib.contextmanager
def _sole_user(order: Order, progress: Progress) -> Iterator[None]:
    """Keep other commands from the same recipe's work; wait for one that is at it."""
    path = order.place / ".work" / f"{order.work_name}.lock"
    lock = filelock.FileLock(path)
    with explained_writes(order.place):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            progress(f"another training works on {order.place / order.work_name}: waiting for it to end")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _follow(order: Order) -> None:
    """Train along with the main process, which alone writes; they share the folder that lets a training go on."""
    plan = plan_training(order, jobs=1)
    with tempfile.TemporaryDirectory() as scratch:
        encoder = Path(scratch) / "encoder"
        for training in plan.trainings:
            if training.name in plan.finished:
                continue
            if not encoder.is_dir():
                encoder.mkdir()
                order.encoder_step().make(encoder, {}, silent, Path(scratch) / "none")
            out = Path(scratch) / training.name
            out.mkdir()
            work = training.workshop.work_folder(training.folder.name)
            training.step().make(out, _inputs(training, load_artifact(encoder)), silent, work)

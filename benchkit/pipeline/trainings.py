"""`benchkit train`: from one recipe file to the trainings that it asks for, one for each task and seed.

Running them is left to `train_all`, what they learn to the wing `train`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchkit.bench.score import data_for
from benchkit.core.artifacts import Artifact, check_replaceable, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.launcher import process_count
from benchkit.core.manifest import MANIFEST
from benchkit.core.overrides import beside, load_overridden
from benchkit.core.progress import Progress
from benchkit.core.recipes import SplitRecipe, TrainFile, TrainRecipe
from benchkit.core.registry import STEPS
from benchkit.pipeline.experiment import EncoderSettings
from benchkit.pipeline.graph import encoder_facts, fetched_encoder
from benchkit.pipeline.inputs import split_file, task_facts, train_digest
from benchkit.pipeline.steps import Step, Workshop
from benchkit.tasks.table import Task, task_named

# Bytes of a short sentence or pair with its label: to foretell what a share of a file costs.
_EXAMPLE_BYTES = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One checkpoint to make.

    Attributes:
        name: Name of the artifact.
        task_text: The task, as `task_named` takes it.
        recipe: Hyperparameters, with seed and threads.
        splits: How the train file is carved.
        candidate: The model behind it, task and seed aside.
        folder: Where the checkpoint will be.
        data: Folder that holds the task's folder.
        teacher: Folder of the checkpoint that it learns from.
        inputs: Everything that determines the result.
    """

    name: str
    task_text: str
    recipe: TrainRecipe
    splits: SplitRecipe
    candidate: str
    folder: Path
    data: Path
    teacher: Path | None
    inputs: dict[str, Any]

    @property
    def task(self) -> Task:
        """The task."""
        return task_named(self.task_text)

    @property
    def workshop(self) -> Workshop:
        """The folder around the checkpoint's."""
        return Workshop(self.folder.parent)

    def step(self) -> Step:
        """Return it as a step; its `make` looks for "encoder" and "teacher" among what was made before."""
        return Step(name=self.folder.name, kind="train", settings=self.inputs, inputs=(), make=self._make)

    def cost(self) -> float:
        """Return about how much text is learned from, in bytes: two trainings compare by it, before either ran."""
        path = split_file(self.task, "train", self.data)
        size_bytes = float(path.stat().st_size)
        if self.recipe.max_examples is not None:
            size_bytes = min(size_bytes, self.recipe.max_examples * _EXAMPLE_BYTES)
        return max(1.0, size_bytes * self.recipe.epochs)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON, for another process."""
        return {
            "name": self.name,
            "task_text": self.task_text,
            "recipe": self.recipe.model_dump(mode="json"),
            "splits": self.splits.model_dump(mode="json"),
            "candidate": self.candidate,
            "folder": str(self.folder),
            "data": str(self.data),
            "teacher": None if self.teacher is None else str(self.teacher),
            "inputs": self.inputs,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Training":
        """Read what `as_json` gave."""
        return cls(
            name=value["name"],
            task_text=value["task_text"],
            recipe=TrainRecipe.model_validate(value["recipe"]),
            splits=SplitRecipe.model_validate(value["splits"]),
            candidate=value["candidate"],
            folder=Path(value["folder"]),
            data=Path(value["data"]),
            teacher=None if value["teacher"] is None else Path(value["teacher"]),
            inputs=dict(value["inputs"]),
        )

    def _make(self, out: Path, made: Mapping[str, Artifact], progress: Progress, work: Path) -> None:
        STEPS.get("train")(
            self.recipe,
            encoder=made["encoder"],
            teacher=made.get("teacher"),
            task=self.task,
            data=self.data,
            splits=self.splits,
            name=self.name,
            candidate=self.candidate,
            out=out,
            work=work,
            progress=progress,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one command asks for, before it is known how many trainings run side by side.

    Attributes:
        file: The recipe, with the command's tasks and seeds.
        targets: (name, task as text, seed, folder) of each checkpoint.
        data: Folder of the data; None where every task knows its own.
    """

    file: TrainFile
    targets: tuple[tuple[str, str, int, Path], ...]
    data: Path | None

    @property
    def work_name(self) -> str:
        """Name of what is kept beside the checkpoints while they are made: the lock, and the encoder."""
        return self.targets[0][3].name if len(self.targets) == 1 else self.file.name

    @property
    def place(self) -> Path:
        """The folder around the checkpoints."""
        return self.targets[0][3].parent

    def encoder_step(self) -> Step:
        """Return the step that brings the encoder."""
        name = f"{self.file.candidate or self.file.name}-encoder"
        return fetched_encoder(name, self._encoder(), seed=self.file.train.seed)

    def encoder_workshop(self) -> Workshop:
        """Return where the encoder is kept while it is needed."""
        return Workshop(self.place / ".work" / f"{self.work_name}.encoder")

    def trainings(self, *, threads: int) -> list[Training]:
        """Resolve every training; `threads` is for recipes that do not say how many.

        Raises:
            BenchkitError: A task without train file, a teacher that is not there.
        """
        encoder = encoder_facts(self._encoder(), seed=self.file.train.seed)
        return [self._training(target, encoder, threads) for target in self.targets]

    def _encoder(self) -> EncoderSettings:
        file = self.file
        return EncoderSettings(
            source=file.encoder, tokenizer=file.tokenizer, revision=file.revision, allow_pickle=file.allow_pickle
        )

    def _training(self, target: tuple[str, str, int, Path], encoder: dict[str, Any], threads: int) -> Training:
        name, task_text, seed, folder = target
        file, task = self.file, task_named(task_text)
        data = data_for(task, self.data) if task.home is None else task.home
        resolved = file.train.for_task(task.name).model_dump() | {"seed": seed}
        resolved["threads"] = resolved["threads"] or threads
        recipe = TrainRecipe.model_validate(resolved)
        teacher = self._teacher(name, task, seed)
        candidate = file.candidate or file.name
        inputs = {
            "name": name,
            "candidate": candidate,
            "encoder": encoder,
            **task_facts(task),
            "data": train_digest(task, data),
            "splits": file.splits.model_dump(mode="json"),
            "train": recipe.model_dump(mode="json"),
        }
        if teacher is not None:
            inputs["teacher"] = teacher.manifest.id
        if process_count() > 1:
            inputs["processes"] = process_count()  # Each has a batch of its own.
        return Training(
            name=name,
            task_text=task_text,
            recipe=recipe,
            splits=file.splits,
            candidate=candidate,
            folder=folder,
            data=data.absolute(),
            teacher=None if teacher is None else teacher.path.absolute(),
            inputs=inputs,
        )

    def _teacher(self, name: str, task: Task, seed: int) -> Artifact | None:
        if self.file.teacher is None:
            return None
        path = Path(self.file.teacher.replace("{task}", task.name).replace("{seed}", str(seed))).expanduser()
        if not path.exists():
            raise BenchkitError(
                f"{name} learns from a teacher, and there is none at '{path}'",
                remedy="train it first, or correct 'teacher' in the recipe ({task} and {seed} are filled in)",
            )
        return load_artifact(path)


def order_from(
    path: Path,
    *,
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Sequence[str] = (),
    data: Path | None = None,
    out: Path | None = None,
) -> Order:
    """Read a recipe file and say which checkpoints it asks for, and where they go.

    A checkpoint is called NAME; NAME-TASK where the file or the command names several tasks, and -seedN behind it
    where there are several seeds: so that no choice of one of them replaces another one's.

    Args:
        path: TOML file; see `core.recipes.TrainFile`.
        tasks: Instead of the file's.
        seeds: Instead of the file's.
        overrides: `key.path=value`, as --set takes them.
        data: Folder that holds the tasks' folders.
        out: Folder of the checkpoint, or the parent folder of several; None is models/.

    Raises:
        BenchkitError: A mistake in the file, an unknown task, or a folder in the way that benchkit did not make.
    """

    def prepare(value: dict[str, Any]) -> dict[str, Any]:
        return value | {"task": beside(path.parent, value["task"])} if "task" in value else value

    file = load_overridden(path, TrainFile, overrides, prepare=prepare)
    of_file = (file.task,) if isinstance(file.task, str) else file.task
    task_texts = tuple(dict.fromkeys(tasks or of_file))
    if not task_texts:
        raise BenchkitError(f"{path}: no task", remedy='write task = "sst2", or give --task sst2')
    seeds = tuple(dict.fromkeys(seeds or file.seeds or (file.train.seed,)))
    names = [task_named(text).name for text in task_texts]
    _check_exceptions(path, file, {*names, *(task_named(text).name for text in of_file)})
    with_task, with_seed = max(len(of_file), len(task_texts)) > 1, max(len(file.seeds), len(seeds)) > 1
    targets = [
        (
            file.name + (f"-{task}" if with_task else "") + (f"-seed{seed}" if with_seed else ""),
            os.path.abspath(text) if text.endswith(".toml") else text,
            seed,
        )
        for text, task in zip(task_texts, names, strict=True)
        for seed in seeds
    ]
    parent = out or Path("models")
    if out is not None and len(targets) > 1 and (out / MANIFEST).is_file():
        raise BenchkitError(
            f"'{out}' is an artifact, and {len(targets)} trainings need a folder around theirs",
            remedy="give another folder: -o DIR",
        )
    placed = [(*target, out if out is not None and len(targets) == 1 else parent / target[0]) for target in targets]
    for _, _, _, folder in placed:
        check_replaceable(folder)
    return Order(file=file, targets=tuple(placed), data=data)


def _check_exceptions(path: Path, file: TrainFile, known: set[str]) -> None:
    unknown = sorted(set(file.train.by_task) - known)
    if unknown:
        raise BenchkitError(
            f"{path}: [train.by_task.{unknown[0]}] is for a task that is not trained on",
            remedy=f"tasks here: {', '.join(sorted(known))}",
        )

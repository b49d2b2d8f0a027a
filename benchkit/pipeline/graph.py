"""Experiment -> steps, in an order in which each finds its inputs made. Running them is left to `run`."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.manifest import TOKENIZER_FILES
from benchkit.core.progress import Progress
from benchkit.core.registry import EXPORTERS, QUANTIZERS, STEPS
from benchkit.core.store import file_sha256
from benchkit.pipeline.experiment import EncoderSettings, Experiment
from benchkit.pipeline.inputs import folder_of, task_facts
from benchkit.pipeline.steps import Step
from benchkit.tasks.table import Task, task_named

_PACKAGE = "pypi:"


def steps_of(experiment: Experiment, data: Path, data_sha256: Mapping[str, str]) -> list[Step]:
    """List the steps of an experiment.

    Args:
        experiment: What to make.
        data: Folder of the tasks' files.
        data_sha256: Digest of each task's train file: what is made from it depends on it.
    """
    steps: list[Step] = []
    for name, encoder in experiment.encoder.items():
        steps += _encoder_steps(name, encoder, experiment, data, data_sha256)
    for task in map(task_named, experiment.tasks):
        steps += _candidate_steps(_TaskScope(experiment, task, data, data_sha256[task.name]))
    return steps


def encoder_name(name: str) -> str:
    """Return the step name of an encoder: a prefix keeps it apart from a candidate of the same name."""
    return f"encoder-{name}"


def artifact_names(experiment: Experiment, candidates: Sequence[str] = ()) -> list[tuple[Task, str]]:
    """List (task, step name) of every ONNX artifact, or of some candidates' ones, in the order of the page."""
    return [
        (task, _onnx_name(candidate, task.name, precision))
        for task in map(task_named, experiment.tasks)
        for candidate in (candidates or (*experiment.train, *experiment.merge))
        for precision in dict.fromkeys(("fp32", *experiment.precisions))
    ]


def _onnx_name(candidate: str, task: str, precision: str) -> str:
    return f"{candidate}-{task}-{precision}"


def _encoder_steps(
    name: str, settings: EncoderSettings, experiment: Experiment, data: Path, data_sha256: Mapping[str, str]
) -> list[Step]:
    step_name = encoder_name(name)
    if settings.toy is None:
        return [fetched_encoder(step_name, settings)]
    toy = settings.toy
    raw_name = f"{step_name}-raw" if settings.pretrain else step_name

    def make_raw(out: Path, _made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        STEPS.get("toy-encoder")(toy, name=raw_name, data=data, out=out, progress=progress)

    resolved = {"toy": toy.model_dump(), "data": dict(data_sha256)}
    raw = Step(name=raw_name, kind="toy-encoder", settings=resolved, inputs=(), make=make_raw)
    if settings.pretrain is None:
        return [raw]
    recipe = settings.pretrain
    # A user's own task lies elsewhere; what all encoders may learn from is the text that the experiment has.
    tasks = tuple(task for task in map(task_named, experiment.tasks) if task.home is None)

    def pretrain(out: Path, made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        STEPS.get("pretrain")(
            recipe, encoder=made[raw_name], data=data, tasks=tasks, name=step_name, out=out, progress=progress
        )

    learned = {"pretrain": recipe.model_dump(), "data": dict(data_sha256), "tasks": list(experiment.tasks)}
    return [raw, Step(name=step_name, kind="pretrain", settings=learned, inputs=(raw_name,), make=pretrain)]


def fetched_encoder(step_name: str, settings: EncoderSettings, *, seed: int = 0) -> Step:
    """Return the step that brings an encoder from its source; `seed` is for random weights."""
    source = settings.source
    assert source is not None

    def make(out: Path, _made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        STEPS.get("encoder")(
            source,
            name=step_name,
            out=out,
            revision=settings.revision,
            tokenizer=settings.tokenizer,
            allow_pickle=settings.allow_pickle,
            seed=seed,
            progress=progress,
        )

    return Step(name=step_name, kind="encoder", settings=encoder_facts(settings, seed=seed), inputs=(), make=make)


def encoder_facts(settings: EncoderSettings, *, seed: int = 0) -> dict[str, Any]:
    """Return what determines an encoder that comes from a source, as far as it is known without fetching it."""
    source = settings.source
    assert source is not None
    resolved = settings.model_dump(mode="json", exclude_none=True)
    # A source's name stays when what is in it changes.
    resolved["content"] = _content(source, allow_pickle=settings.allow_pickle)
    resolved["tokenizer_content"] = _tokenizer_content(settings.tokenizer)
    return resolved | ({"seed": seed} if seed and source.startswith("arch:") else {})


class _TaskScope(NamedTuple):
    """What the steps of one task share."""

    experiment: Experiment
    task: Task
    data: Path
    data_sha256: str

    def settings(self) -> dict[str, Any]:
        """Return what determines the steps that read the data."""
        splits = self.experiment.splits.model_dump()
        return task_facts(self.task) | {"data": self.data_sha256, "splits": splits}


def _content(source: str, *, allow_pickle: bool) -> str | None:
    if source.startswith(_PACKAGE):
        return _package_version(source.removeprefix(_PACKAGE))
    path = Path(source).expanduser()
    return load_artifact(path, allow_pickle=allow_pickle).manifest.id if path.exists() else None


def _tokenizer_content(source: str | None) -> Any:
    if source is None:
        return None
    if source.startswith(_PACKAGE):
        return _package_version(source.removeprefix(_PACKAGE))
    paths = [Path(source).expanduser() / name for name in TOKENIZER_FILES]
    return [file_sha256(path) for path in paths if path.is_file()]


def _package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # The step itself says how to install it.


def _candidate_steps(scope: _TaskScope) -> list[Step]:
    experiment, task = scope.experiment, scope.task
    steps = [
        _train_step(scope, candidate) if candidate in experiment.train else _merge_step(scope, candidate)
        for candidate in experiment.candidates_in_order()
    ]
    for candidate in (*experiment.train, *experiment.merge):
        steps.append(_export_step(candidate, experiment, task))
        steps += [
            _quantize_step(candidate, experiment, task, precision)
            for precision in experiment.precisions
            if precision != "fp32"
        ]
    return steps


def _train_step(scope: _TaskScope, candidate: str) -> Step:
    train = scope.experiment.train[candidate]
    recipe = train.for_task(scope.task.name)
    name, source = f"{candidate}-{scope.task.name}", encoder_name(train.encoder)
    teacher = None if train.teacher is None else f"{train.teacher}-{scope.task.name}"

    def make(out: Path, made: Mapping[str, Artifact], progress: Progress, work: Path) -> None:
        STEPS.get("train")(
            recipe,
            encoder=made[source],
            teacher=None if teacher is None else made[teacher],
            task=scope.task,
            data=folder_of(scope.task, scope.data),
            splits=scope.experiment.splits,
            name=name,
            candidate=candidate,
            out=out,
            work=work,
            progress=progress,
        )

    settings = scope.settings() | {"train": recipe.model_dump(mode="json")}
    inputs = (source,) if teacher is None else (source, teacher)
    return Step(name=name, kind="train", settings=settings, inputs=inputs, make=make)


def _merge_step(scope: _TaskScope, candidate: str) -> Step:
    merge = scope.experiment.merge[candidate]
    recipe = merge.recipe()
    name, donor, base = f"{candidate}-{scope.task.name}", f"{merge.donor}-{scope.task.name}", encoder_name(merge.base)
    donor_base = encoder_name(scope.experiment.train[merge.donor].encoder)

    def make(out: Path, made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        STEPS.get("merge")(
            recipe,
            donor=made[donor],
            donor_base=made[donor_base],
            base=made[base],
            task=scope.task,
            data=folder_of(scope.task, scope.data),
            splits=scope.experiment.splits,
            name=name,
            candidate=candidate,
            out=out,
            progress=progress,
        )

    settings = scope.settings() | {"merge": recipe.model_dump(mode="json")}
    return Step(name=name, kind="merge", settings=settings, inputs=(donor, donor_base, base), make=make)


def _export_step(candidate: str, experiment: Experiment, task: Task) -> Step:
    name, source = _onnx_name(candidate, task.name, "fp32"), f"{candidate}-{task.name}"
    recipe = experiment.export

    def make(out: Path, made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        EXPORTERS.get("torch")(recipe, checkpoint=made[source], name=name, out=out, progress=progress)

    return Step(name=name, kind="export", settings=recipe.model_dump(), inputs=(source,), make=make)


def _quantize_step(candidate: str, experiment: Experiment, task: Task, precision: str) -> Step:
    name, source = _onnx_name(candidate, task.name, precision), _onnx_name(candidate, task.name, "fp32")
    recipe = experiment.quantize

    def make(out: Path, made: Mapping[str, Artifact], progress: Progress, _work: Path) -> None:
        QUANTIZERS.get(precision)(recipe, source=made[source], name=name, out=out, progress=progress)

    settings = recipe.model_dump() | {"precision": precision}
    return Step(name=name, kind="quantize", settings=settings, inputs=(source,), make=make)

"""Fine-tune an encoder on one task: a new head, the carved train part, and an honest look at validation.

The dev split is never opened here. The loop is `loop`; what learns, `modes` and `probe`; from what, `material`; by
which loss, `objectives`.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.launcher import is_main_process
from benchkit.core.manifest import environment_versions, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import SplitRecipe, TrainRecipe
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.train.batches import Collate, collator_for, cut, logits_of
from benchkit.train.checkpoints import save_model
from benchkit.train.classifier import classifier_on
from benchkit.train.early_stopping import EarlyStopping, Evaluation
from benchkit.train.loop import Feature, Schedule, cpu_threads, train
from benchkit.train.material import Material, add_teacher, class_weights_of, read_material
from benchkit.train.modes import Prepared, prepare
from benchkit.train.objectives import Objective, objective_for
from benchkit.train.precision import resolved_precision
from benchkit.train.probe import Probed, fit_probe, probe_warnings
from benchkit.train.resuming import begin_work
from benchkit.train.scores import baseline_of, evaluation_of, headline_of, score_warnings
from benchkit.train.teacher import teacher_facts
from benchkit.train.tokenizer_files import bring_tokenizer

_EVALUATION_BATCH_SIZE = 64


def finetune(
    recipe: TrainRecipe,
    *,
    encoder: Artifact,
    teacher: Artifact | None = None,
    task: Task,
    data: Path,
    splits: SplitRecipe,
    name: str,
    candidate: str,
    out: Path,
    work: Path | None = None,
    progress: Progress = silent,
) -> None:
    """Train a classifier (or, for a regression, one output by mean squared error) and write its checkpoint.

    Under `accelerate launch` only the main process writes; the others leave `out` as it is.

    Args:
        recipe: Hyperparameters.
        encoder: Checkpoint to start from; a head it may have is not used.
        teacher: Whose answers are learned, as the recipe's distill says.
        task: Row of the task table, or an own task.
        data: Folder that holds the task's folder.
        splits: How the train file is carved; only its train part, or its text without labels, is learned from.
        name: Name of the artifact.
        candidate: The model behind it, task aside.
        out: Existing empty folder.
        work: Folder that an interrupted training goes on from; the caller deletes it once the artifact is in its
            place. None keeps nothing.
        progress: Told of each step.

    Raises:
        BenchkitError: Unreadable data, a tokenizer that does not fit, settings that do not go together, or a loss
            that diverges.
        EnvironmentLacks: The device, its precision or a package is not here.
    """
    _check(recipe)
    precision = resolved_precision(recipe.precision, recipe.device)
    material = read_material(recipe, task, data, splits)
    with cpu_threads(recipe.threads) as threads:
        job = _Job(recipe, encoder, teacher, task, splits, name, material, precision, threads)
        warnings = _begin(job, work, progress)
        learned = _learn(job, work, progress)
    if not is_main_process():
        return
    if teacher is not None:
        learned.notes["teacher"] = teacher_facts(
            teacher.path,
            task,
            material.carved.validation,
            max_length=recipe.max_length,
            splits=splits,
            device=recipe.device,
        )
        warnings += learned.notes["teacher"]["warnings"]
    baseline = baseline_of(task, material.labelled(), material.carved.validation)
    scores = learned.evaluation.metrics
    save_model(learned.model, out)
    bring_tokenizer(encoder.path, out)
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        candidate=candidate,
        task=task.name,
        seed=recipe.seed,
        recipe=_resolved(job) | learned.resolved | _model_facts(learned.model),
        weights="trained",
        parents=(encoder.manifest.id, *([teacher.manifest.id] if teacher is not None else [])),
        notes={
            **learned.notes,
            "validation": scores,
            "baseline": baseline,
            "data": {material.source: material.sha256},
            "warnings": [*warnings, *learned.warnings, *score_warnings(task, scores, baseline)],
        },
    )
    progress(f"{name}: {headline_of(task, scores)} on carved validation", 1.0)


class _Job(NamedTuple):
    """Everything that determines the result."""

    recipe: TrainRecipe
    encoder: Artifact
    teacher: Artifact | None
    task: Task
    splits: SplitRecipe
    name: str
    material: Material
    precision: str
    threads: int


class _Learned(NamedTuple):
    """A trained model, what it is worth, and what its checkpoint says of how it came about."""

    model: Any
    evaluation: Evaluation
    resolved: dict[str, Any]
    notes: dict[str, Any]
    warnings: list[str]


def _check(recipe: TrainRecipe) -> None:
    if recipe.mode == "linear_probe" and recipe.early_stopping is not None:
        raise BenchkitError(
            "early_stopping has nothing to stop in mode 'linear_probe', which is fitted to convergence",
            remedy="leave [train.early_stopping] out, or take another mode: full, bitfit, lora",
        )


def _begin(job: _Job, work: Path | None, progress: Progress) -> list[str]:
    """Make the work folder ready; return a warning when what lay there belongs to another training."""
    if work is None or not is_main_process():
        return []
    settings = {key: value for key, value in _resolved(job).items() if key != "step"}
    inputs = settings | {
        "name": job.name,
        "data": {job.material.source: job.material.sha256},
        "versions": environment_versions(),
    }
    changed = begin_work(work, inputs)
    if changed is None:
        return []
    progress(f"{job.name}: {changed}")
    return [changed]


def _learn(job: _Job, work: Path | None, progress: Progress) -> _Learned:
    """Build the model, train it in the recipe's mode, and score what came out."""
    recipe, task, material = job.recipe, job.task, job.material
    tokenizer = load_tokenizer(job.encoder.path)
    model, new = classifier_on(job.encoder.path, task, seed=recipe.seed)
    # Before adapters change the names of what an objective looks at.
    objective = objective_for(
        recipe,
        task,
        model,
        teacher=job.teacher.path if job.teacher is not None else None,
        class_weights=class_weights_of(recipe, task, material.labelled()),
    )
    progress(f"{job.name}: tokenizing {len(material.part):,} examples of {task.name}", 0.0)
    part = cut(material.part, tokenizer, max_length=recipe.max_length)
    if job.teacher is not None:
        add_teacher(part.features, job.teacher.path, material.part, task, recipe=recipe, progress=progress)
    validation = cut(material.carved.validation, tokenizer, max_length=recipe.max_length)
    inputs = _Inputs(part.features, validation.features, collator_for(model, tokenizer, task))
    if recipe.mode == "linear_probe":
        fitted = _fit_probe(job, model, inputs, objective, progress)
    else:
        prepared = prepare(model, recipe, new)
        fitted = _fit_by_steps(job, prepared, inputs, objective, work=work, progress=progress)
    logits = logits_of(fitted.model, validation.features, inputs.collate, batch_size=_EVALUATION_BATCH_SIZE)
    counts = material.counts() | {"truncated": part.truncated, "validation_truncated": validation.truncated}
    return _Learned(
        model=fitted.model,
        evaluation=evaluation_of(task, logits, material.carved.validation),
        resolved=fitted.resolved | objective.facts(),
        notes=fitted.notes | {"new_weights": new, "examples": counts, "precision": job.precision},
        warnings=probe_warnings(fitted.model, new) if recipe.mode == "linear_probe" else [],
    )


class _Inputs(NamedTuple):
    """What is learned from, what is chosen on, and how either becomes batches."""

    part: list[Feature]
    validation: list[Feature]
    collate: Collate


class _Fitted(NamedTuple):
    """An ordinary model that has learned, the hyperparameters that it took, and notes."""

    model: Any
    resolved: dict[str, Any]
    notes: dict[str, Any]


def _fit_by_steps(
    job: _Job, prepared: Prepared, inputs: _Inputs, objective: Objective, *, work: Path | None, progress: Progress
) -> _Fitted:
    """Train by gradient steps what learns in the recipe's mode."""
    schedule = _schedule(job.recipe, len(inputs.part), job.precision)
    trained = train(
        prepared.model,
        inputs.part,
        inputs.collate,
        schedule,
        name=job.name,
        objective=objective,
        stopping=_stopping(job, inputs),
        work=work,
        progress=progress,
    )
    return _Fitted(prepared.finished(), schedule.resolved(), trained.notes(schedule.batch_size) | prepared.facts)


def _fit_probe(job: _Job, model: Any, inputs: _Inputs, objective: Objective, progress: Progress) -> _Fitted:
    """Fit the last layer alone, on features that are computed once."""
    probed = fit_probe(
        model.to(job.recipe.device),
        inputs.part,
        inputs.validation,
        inputs.collate,
        objective=objective,
        evaluate=lambda logits: evaluation_of(job.task, logits, job.material.carved.validation),
        precision=job.precision,
        name=job.name,
        progress=progress,
    )
    return _Fitted(model.to("cpu"), Probed.resolved(), probed.notes())


def _stopping(job: _Job, inputs: _Inputs) -> EarlyStopping | None:
    settings, task, validation = job.recipe.early_stopping, job.task, job.material.carved.validation
    if settings is None:
        return None

    def evaluate(model: Any) -> Evaluation:
        logits = logits_of(model, inputs.validation, inputs.collate, batch_size=_EVALUATION_BATCH_SIZE)
        return evaluation_of(task, logits, validation)

    steps_per_epoch = len(inputs.part) / job.recipe.batch_size
    return EarlyStopping(
        evaluate=evaluate,
        every_steps=max(1.0, steps_per_epoch / settings.evaluations_per_epoch),
        patience=settings.patience,
    )


def _schedule(recipe: TrainRecipe, examples: int, precision: str) -> Schedule:
    steps = max(1, math.ceil(recipe.epochs * math.ceil(examples / recipe.batch_size)))
    return Schedule(
        steps=steps,
        batch_size=min(recipe.batch_size, examples),
        learning_rate=recipe.learning_rate,
        warmup_steps=math.ceil(recipe.warmup_share * steps),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        device=recipe.device,
        precision=precision,
        report_to=recipe.report_to,
    )


def _resolved(job: _Job) -> dict[str, Any]:
    """Return the recipe with what it left open."""
    return {
        "step": "train",
        "encoder": _named(job.encoder),
        "teacher": _named(job.teacher) if job.teacher is not None else None,
        "task": job.task.name,
        **job.recipe.model_dump(mode="json"),
        "precision": job.precision,
        "threads": job.threads,
        "splits": job.splits.model_dump(mode="json"),
    }


def _named(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {"name": manifest.name, "id": manifest.id, "recipe": manifest.recipe}


def _model_facts(model: Any) -> dict[str, Any]:
    return {"dropout": model.config.to_dict().get("hidden_dropout_prob")}

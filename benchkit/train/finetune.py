"""Fine-tune an encoder on one task: a new head, the carved train part, and an honest look at validation.

The dev split is never opened here. The loop is `loop`; how a split is carved is `tasks.splits`.
"""

import dataclasses
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import SplitRecipe, TrainRecipe
from benchkit.tasks.metrics import evaluate
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.splits import Carved, carve
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer
from benchkit.train.batches import Collate, collator, features_of, logits_of
from benchkit.train.checkpoints import load_encoder, save_model
from benchkit.train.loop import Feature, Schedule, cpu_threads, train
from benchkit.train.quiet import quiet_libraries
from benchkit.train.tokenizer_files import bring_tokenizer

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_EVALUATION_BATCH_SIZE = 64


def finetune(
    recipe: TrainRecipe,
    *,
    encoder: Artifact,
    task: Task,
    data: Path,
    splits: SplitRecipe,
    name: str,
    candidate: str,
    out: Path,
    progress: Progress = silent,
) -> None:
    """Train a classifier (or, for a regression, one output by mean squared error) and write its checkpoint.

    Args:
        recipe: Hyperparameters.
        encoder: Checkpoint to start from; a head it may have is not used.
        task: Row of the task table.
        data: Folder that holds the task's folder.
        splits: How the train file is carved; only its train part is learned from.
        name: Name of the artifact.
        candidate: The model behind it, task aside.
        out: Existing empty folder.
        progress: Told of each step.

    Raises:
        BenchkitError: Unreadable data, a tokenizer that does not fit, or a loss that diverges.
    """
    examples = read_split(task, "train", data)
    carved = carve(examples, splits)
    part = _drawn(carved.train, recipe.max_examples, recipe.seed)
    tokenizer = load_tokenizer(encoder.path)
    schedule = _schedule(recipe, len(part))
    with cpu_threads(recipe.threads) as threads:
        progress(f"{name}: tokenizing {len(part):,} examples of {task.name}", 0.0)
        features = features_of(part, tokenizer, max_length=recipe.max_length)
        model, new_weights = classifier_on(encoder.path, task, seed=recipe.seed)
        collate = _collator(model, tokenizer, task)
        trained = train(model, features, collate, schedule, name=name, progress=progress)
        logits = _validation_logits(model, carved.validation, tokenizer, collate, recipe.max_length)
    scores = _scores(task, logits, carved.validation)
    baseline = _baseline(task, part, carved.validation)
    save_model(model, out)
    bring_tokenizer(encoder.path, out)
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        candidate=candidate,
        task=task.name,
        seed=recipe.seed,
        recipe={
            "step": "train",
            "encoder": {"name": encoder.manifest.name, "id": encoder.manifest.id, "recipe": encoder.manifest.recipe},
            "task": task.name,
            **recipe.model_dump(mode="json"),
            **schedule.resolved(),
            "threads": threads,
            "splits": splits.model_dump(mode="json"),
            "dropout": model.config.to_dict().get("hidden_dropout_prob"),
            "loss": "mean squared error" if task.is_regression else "cross-entropy",
        },
        weights="trained",
        parents=(encoder.manifest.id,),
        notes={
            **trained.notes(schedule.steps * schedule.batch_size),
            "examples": _counts(part, carved),
            "validation": scores,
            "baseline": baseline,
            "new_weights": new_weights,
            "data": {examples.source: examples.sha256},
            "warnings": _warnings(task, scores, baseline),
        },
    )
    progress(f"{name}: {_headline(task, scores)} on carved validation", 1.0)


def classifier_on(folder: Path, task: Task, *, seed: int) -> tuple[Any, list[str]]:
    """Return a model with the folder's encoder and a new head for the task, and the names of what is new in it.

    The head is drawn from the seed alone, so it is the same whatever was loaded before.
    """
    encoder = load_encoder(folder).model
    config = encoder.config
    config.num_labels = task.outputs
    if task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: number for number, label in enumerate(task.labels)}
    config.problem_type = "regression" if task.is_regression else "single_label_classification"
    transformers.set_seed(seed)
    models: Any = transformers.AutoModelForSequenceClassification
    with quiet_libraries():
        try:
            model = models.from_config(config, attn_implementation="eager")
        except ValueError as error:
            raise BenchkitError(
                f"no classifier is known for '{folder}': {str(error).splitlines()[0]}",
                remedy="give an encoder such as BERT's",
            ) from error
    missing, _ = model.base_model.load_state_dict(encoder.state_dict(), strict=False)
    prefix = model.base_model_prefix
    heads = [key for key in model.state_dict() if not key.startswith(f"{prefix}.")]
    return model, sorted([*heads, *(f"{prefix}.{key}" for key in missing)])


def _schedule(recipe: TrainRecipe, examples: int) -> Schedule:
    steps = max(1, math.ceil(recipe.epochs * math.ceil(examples / recipe.batch_size)))
    return Schedule(
        steps=steps,
        batch_size=min(recipe.batch_size, examples),
        learning_rate=recipe.learning_rate,
        warmup_steps=math.ceil(recipe.warmup_share * steps),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        device=recipe.device,
    )


def _drawn(examples: Examples, most: int | None, seed: int) -> Examples:
    """Return at most so many of the examples, drawn by the seed, in the order of the file."""
    if most is None or most >= len(examples):
        return examples
    rows = sorted(np.random.default_rng(seed).choice(len(examples), size=most, replace=False).tolist())
    return dataclasses.replace(
        examples,
        first=tuple(examples.first[row] for row in rows),
        second=None if examples.second is None else tuple(examples.second[row] for row in rows),
        labels=None if examples.labels is None else tuple(examples.labels[row] for row in rows),
    )


def _collator(model: Any, tokenizer: TextTokenizer, task: Task) -> Collate:
    accepted = inspect.signature(model.forward).parameters
    names = [name for name in _INPUTS if name in accepted]
    return collator(tokenizer, names, torch.float32 if task.is_regression else torch.int64)


def _validation_logits(
    model: Any, validation: Examples, tokenizer: TextTokenizer, collate: Collate, max_length: int
) -> npt.NDArray[np.float64]:
    features: Sequence[Feature] = features_of(validation, tokenizer, max_length=max_length)
    return logits_of(model, features, collate, batch_size=_EVALUATION_BATCH_SIZE)


def _scores(task: Task, logits: npt.NDArray[np.float64], examples: Examples) -> dict[str, float | None]:
    """Return each metric; None where it is not defined, as a correlation of constants."""
    values = evaluate(task, logits, np.array(examples.labels))
    return {metric: value if math.isfinite(value) else None for metric, value in values.items()}


def _baseline(task: Task, train_part: Examples, validation: Examples) -> dict[str, float | None]:
    """Score the answer that looks at no text: the commonest class of the train part, or, for scores, none at all."""
    if task.is_regression:
        # Any constant answer has no correlation with anything; zero is what knowing nothing is worth.
        return dict.fromkeys(task.metrics, 0.0)
    commonest = int(np.bincount(np.array(train_part.labels), minlength=task.outputs).argmax())
    logits = np.zeros((len(validation), task.outputs))
    logits[:, commonest] = 1
    return _scores(task, logits, validation)


def _counts(part: Examples, carved: Carved) -> dict[str, int]:
    return {
        "train": len(part),
        "train_available": len(carved.train),
        "validation": len(carved.validation),
        "unlabelled": len(carved.unlabelled),
    }


def _warnings(task: Task, scores: dict[str, float | None], baseline: dict[str, float | None]) -> list[str]:
    metric = task.metrics[0]
    score, floor = scores[metric], baseline[metric] or 0.0
    if score is not None and score > floor:
        return []
    said = "not defined, since every answer is the same" if score is None else f"{score:.3f}"
    nothing = "no correlation" if task.is_regression else "always answering the commonest class"
    return [f"it has not learned {task.name}: {metric} on carved validation is {said}, and {nothing} gives {floor:.3f}"]


def _headline(task: Task, scores: dict[str, float | None]) -> str:
    score = scores[task.metrics[0]]
    return f"{task.metrics[0]} " + ("not defined" if score is None else f"{score:.3f}")

"""What a merge is fed with: the parts of the task's train file as token batches, and the donor's answers on them."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from benchkit.core.architectures import position_limit
from benchkit.core.artifacts import Artifact
from benchkit.core.recipes import MergeRecipe, SplitRecipe
from benchkit.core.store import digest
from benchkit.merge.heads import HEADS, Head
from benchkit.merge.texts import Rows, Texts, batched, calibration_rows, encoded, first_states
from benchkit.tasks.label_order import label_order
from benchkit.tasks.metrics import evaluate
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.splits import Carved, carve
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer

Scores = dict[str, float | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything about the task that does not depend on the scale.

    Attributes:
        task: Row of the task table.
        calibration: Unlabelled text for alignment.
        calibration_digest: Digest of its token ids.
        head_texts: Text that heads are fitted on.
        head_labels: Its labels when the head may see them, else None.
        validation: Text that the scale is chosen on.
        validation_labels: Its labels.
        donor_head: The donor's head, its outputs in the task's order.
        donor_states: The donor's first-token states of `head_texts`, shape (n, donor's hidden).
        donor_scores: The donor's own scores on `validation`.
        majority_scores: Scores there of the answer that looks at no text.
        data: SHA-256 of the train file, by its name.
        warnings: What could not be checked.
    """

    task: Task
    calibration: Texts
    calibration_digest: str
    head_texts: Texts
    head_labels: Tensor | None
    validation: Texts
    validation_labels: Tensor
    donor_head: Head
    donor_states: Tensor
    donor_scores: Scores
    majority_scores: Scores
    data: dict[str, str]
    warnings: tuple[str, ...]


def gather(
    recipe: MergeRecipe,
    classifier: BertForSequenceClassification,
    *,
    donor: Artifact,
    base: Artifact,
    task: Task,
    data: Path,
    splits: SplitRecipe,
) -> Evidence:
    """Read, carve and tokenize the task, and let the donor answer.

    Args:
        recipe: Sizes of the parts.
        classifier: The donor in memory.
        donor: Names the donor's labels.
        base: Its tokenizer is the merged model's.
        task: Row of the task table.
        data: Folder that holds the task's folder.
        splits: How the train file is carved.
    """
    examples = read_split(task, "train", data)
    carved = carve(examples, splits)
    tokenizer = load_tokenizer(base.path)
    # Both encoders must take every input.
    longest = min(recipe.calibration.max_length, *(_positions(artifact) for artifact in (donor, base)))

    unlabelled = _draw(len(carved.unlabelled), recipe.calibration.sentences, recipe.calibration.seed)
    pool = encoded(tokenizer, carved.unlabelled, unlabelled, max_length=longest)
    calibration = pool.take(calibration_rows(pool, recipe.calibration))

    fitted_on = carved.train if HEADS[recipe.head.mode].gold else carved.unlabelled
    head_rows = _draw(len(fitted_on), recipe.head.examples, recipe.head.seed)
    validation_rows = _spread(len(carved.validation), recipe.search.max_examples)
    head_texts = batched(tokenizer, encoded(tokenizer, fitted_on, head_rows, max_length=longest))
    validation = batched(tokenizer, encoded(tokenizer, carved.validation, validation_rows, max_length=longest))
    validation_labels = _labels(carved.validation, validation_rows)

    order = label_order(donor.config(), task, f"donor '{donor.path}'")
    donor_head = _head_of(classifier, order.order)
    encoder = classifier.bert
    return Evidence(
        task=task,
        calibration=batched(tokenizer, calibration),
        calibration_digest=digest(calibration.ids),
        head_texts=head_texts,
        head_labels=_labels(fitted_on, head_rows) if fitted_on.labels is not None else None,
        validation=validation,
        validation_labels=validation_labels,
        donor_head=donor_head,
        donor_states=first_states(encoder, head_texts),
        donor_scores=scores(task, donor_head.logits(first_states(encoder, validation)), validation_labels),
        majority_scores=_majority(task, carved, validation_labels),
        data={examples.source: examples.sha256},
        warnings=() if order.warning is None else (order.warning,),
    )


def scores(task: Task, logits: Tensor, labels: Tensor) -> Scores:
    """Return every metric of the task, the headline first; None where it is undefined."""
    values = evaluate(task, logits.numpy(), labels.numpy())
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def weakness(evidence: Evidence) -> str | None:
    """Say that the donor has nothing to give, or None when it does better than an answer without looking."""
    for metric, score in evidence.donor_scores.items():
        floor = evidence.majority_scores[metric] or 0.0
        if metric in (evidence.task.metrics[0], "accuracy") and (score is None or score <= floor):
            shown = "undefined (one answer for every text)" if score is None else f"{score:.3f}"
            what = "no correlation" if evidence.task.is_regression else "always answering the commonest class"
            return (
                f"the donor has nothing to give: its {metric} on carved validation is {shown}, "
                f"and {what} gives {floor:.3f}"
            )
    return None


def _majority(task: Task, carved: Carved, labels: Tensor) -> Scores:
    if task.is_regression:
        # A constant answer correlates with nothing; its correlation is undefined, and zero is what it is worth.
        return dict.fromkeys(task.metrics, 0.0)
    commonest = int(np.bincount(np.array(carved.train.labels), minlength=task.outputs).argmax())
    logits = torch.zeros(len(labels), task.outputs, dtype=torch.float64)
    logits[:, commonest] = 1
    return scores(task, logits, labels)


def _head_of(classifier: BertForSequenceClassification, order: tuple[int, ...]) -> Head:
    rows = list(order)
    pooler, output = classifier.get_submodule("bert.pooler.dense"), classifier.get_submodule("classifier")
    return Head(
        pooler_weight=pooler.get_parameter("weight").double(),
        pooler_bias=pooler.get_parameter("bias").double(),
        classifier_weight=output.get_parameter("weight").double()[rows],
        classifier_bias=output.get_parameter("bias").double()[rows],
    )


def _labels(examples: Examples, rows: Rows) -> Tensor:
    return torch.from_numpy(np.array(examples.labels)[rows])


def _draw(n: int, most: int, seed: int) -> Rows:
    return np.random.default_rng(seed).permutation(n)[:most]


def _spread(n: int, most: int) -> Rows:
    """Take evenly spaced examples, so that a limit keeps the mix of the file."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _positions(artifact: Artifact) -> int:
    return position_limit(artifact.config()) or 512

"""How a trained model is judged on carved validation: its metrics, what looking at no text would give, and warnings."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from benchkit.tasks.metrics import evaluate
from benchkit.tasks.readers import Examples
from benchkit.tasks.table import Task
from benchkit.train.early_stopping import Evaluation, finite

Logits = npt.NDArray[np.floating[Any]]
Scores = dict[str, float | None]


def evaluation_of(task: Task, logits: Logits, examples: Examples) -> Evaluation:
    """Score logits of shape (n, outputs), and give the plain loss of the labels beside the metrics."""
    metrics = scores_of(task, logits, examples)
    headline = metrics[task.metrics[0]]
    return Evaluation(
        headline=math.nan if headline is None else headline, loss=_loss(task, logits, examples), metrics=metrics
    )


def scores_of(task: Task, logits: Logits, examples: Examples) -> Scores:
    """Return each metric; None where it is not defined, as a correlation of constants."""
    values = evaluate(task, logits, np.array(examples.labels))
    return {metric: finite(value) for metric, value in values.items()}


def baseline_of(task: Task, train_part: Examples, validation: Examples) -> Scores:
    """Score the answer that looks at no text: the commonest class of the train part, or, for scores, none at all."""
    if task.is_regression:
        # Any constant answer has no correlation with anything; zero is what knowing nothing is worth.
        return dict.fromkeys(task.metrics, 0.0)
    commonest = int(np.bincount(np.array(train_part.labels), minlength=task.outputs).argmax())
    logits = np.zeros((len(validation), task.outputs))
    logits[:, commonest] = 1
    return scores_of(task, logits, validation)


def score_warnings(task: Task, scores: Scores, baseline: Scores) -> list[str]:
    """Say so when a model is worth no more than its baseline."""
    metric = task.metrics[0]
    score, floor = scores[metric], baseline[metric] or 0.0
    if score is not None and score > floor:
        return []
    said = "not defined, since every answer is the same" if score is None else f"{score:.3f}"
    nothing = "no correlation" if task.is_regression else "always answering the commonest class"
    return [f"it has not learned {task.name}: {metric} on carved validation is {said}, and {nothing} gives {floor:.3f}"]


def headline_of(task: Task, scores: Scores) -> str:
    """Return the metric that counts, with its name, for a line of progress."""
    score = scores[task.metrics[0]]
    return f"{task.metrics[0]} " + ("not defined" if score is None else f"{score:.3f}")


def _loss(task: Task, logits: Logits, examples: Examples) -> float:
    answers, labels = torch.as_tensor(logits).double(), torch.tensor(examples.labels)
    if task.is_regression:
        return float(functional.mse_loss(answers[:, 0], labels.double()))
    return float(functional.cross_entropy(answers, labels.long()))

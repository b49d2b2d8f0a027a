"""A model with a given encoder and a new head for a task. Training it is left to `finetune`."""

from pathlib import Path
from typing import Any

import transformers

from benchkit.core.errors import BenchkitError
from benchkit.tasks.table import Task
from benchkit.train.checkpoints import load_encoder
from benchkit.train.quiet import quiet_libraries


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

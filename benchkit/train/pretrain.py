"""Masked-language-model training: an encoder learns a corpus before it sees a label.

Source: Devlin et al., "BERT" (arXiv 1810.04805), section 3.1, task 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import PretrainRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.train.batches import features_of
from benchkit.train.checkpoints import load_encoder, save_encoder
from benchkit.train.loop import Feature, Schedule, cpu_threads, train
from benchkit.train.quiet import quiet_libraries
from benchkit.train.tokenizer_files import bring_tokenizer

# Share of the steps in which the rate rises, and decay, as BERT was pre-trained (appendix A.2: 1 % and 0.01);
# a warm-up of 1 % is too short for some hundred steps.
_WARMUP_SHARE, _WEIGHT_DECAY = 0.1, 0.01


def pretrain_masked_lm(
    recipe: PretrainRecipe,
    *,
    encoder: Artifact,
    data: Path,
    tasks: tuple[Task, ...],
    name: str,
    out: Path,
    progress: Progress = silent,
) -> None:
    """Train an encoder to fill in masked tokens of the tasks' train texts; their labels are never looked at.

    Args:
        recipe: Steps, batch size, rate, share of masked tokens.
        encoder: Checkpoint to start from.
        data: Folder that holds the tasks' folders.
        tasks: Tasks whose train text is read.
        name: Name of the artifact.
        out: Existing empty folder.
        progress: Told of each step.

    Raises:
        BenchkitError: No task, unreadable data, an encoder without masked-LM head, or a loss that diverges.
    """
    if not tasks:
        raise BenchkitError(f"{name}: no task whose text to train on", remedy="name at least one task")
    splits = [read_split(task, "train", data) for task in tasks]
    tokenizer = load_tokenizer(encoder.path)
    features = [
        {key: feature[key] for key in ("input_ids", "token_type_ids")}
        for split in splits
        for feature in features_of(split, tokenizer, max_length=recipe.max_length)
    ]
    schedule = Schedule(
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=round(_WARMUP_SHARE * recipe.steps),
        weight_decay=_WEIGHT_DECAY,
        seed=recipe.seed,
        device=recipe.device,
    )
    with cpu_threads(recipe.threads) as threads:
        model = _masked_lm(encoder.path, recipe.seed)
        mask = _masking(encoder.path, recipe.mask_share)
        trained = train(model, features, mask, schedule, name=name, progress=progress)
    save_encoder(model.base_model, out)
    bring_tokenizer(encoder.path, out)
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        recipe={
            "step": "pretrain",
            "encoder": {"name": encoder.manifest.name, "id": encoder.manifest.id, "recipe": encoder.manifest.recipe},
            **schedule.resolved(),
            "max_length": recipe.max_length,
            "mask_share": recipe.mask_share,
            "threads": threads,
            "tasks": [task.name for task in tasks],
            "data": {split.source: split.sha256 for split in splits},
        },
        weights="trained",
        parents=(encoder.manifest.id,),
        notes=trained.notes(recipe.batch_size) | {"examples": len(features)},
    )


def _masked_lm(folder: Path, seed: int) -> Any:
    """Return a masked-LM model with the folder's encoder and a new head, whose decoder is the word embedding."""
    encoder = load_encoder(folder).model
    transformers.set_seed(seed)
    try:
        models: Any = transformers.AutoModelForMaskedLM
        model = models.from_config(encoder.config, attn_implementation="eager")
    except ValueError as error:
        raise BenchkitError(
            f"no masked-language-model head is known for '{folder}': {str(error).splitlines()[0]}",
            remedy="give an encoder such as BERT's, or leave this step out",
        ) from error
    setattr(model, model.base_model_prefix, encoder)
    model.tie_weights()
    return model


def _masking(folder: Path, share: float) -> Callable[[list[Feature]], dict[str, torch.Tensor]]:
    """Return a collator that pads, and masks anew each time an example is seen: 80 % [MASK], 10 % random, 10 % kept."""
    with quiet_libraries():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.mask_token is None:
        raise BenchkitError(
            f"the tokenizer in '{folder}' has no mask token", remedy="name it in tokenizer_config.json: mask_token"
        )
    collate: Callable[[list[Feature]], dict[str, torch.Tensor]] = transformers.DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=share
    )
    return collate

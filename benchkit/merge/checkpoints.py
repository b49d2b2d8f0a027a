"""The checkpoints of a merge in memory, and the merged one on disk.

Loading itself is `runtimes.torch`'s; whether checkpoints fit together is left to `compatibility`.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertModel

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import TOKENIZER_FILES, WEIGHTS_FILE
from benchkit.runtimes.torch import load_checkpoint, quiet_transformers
from benchkit.tasks.table import Task

# What a config says about its head, and where it came from; the merged checkpoint says its own.
_OF_THE_HEAD = {"num_labels", "id2label", "label2id", "problem_type", "architectures", "_name_or_path", "dtype"}


def load_encoder(artifact: Artifact, role: str) -> BertModel:
    """Load a checkpoint's BERT encoder in eval mode and float32; its pooler and head are left behind.

    Args:
        artifact: A checkpoint folder.
        role: What it is in this merge, for messages: "donor", "donor_base" or "base".

    Raises:
        BenchkitError: No BERT checkpoint, a damaged one, or one that lacks tensors or holds NaN.
    """
    encoder: BertModel = _loaded(artifact, role).base_model
    # A pooler that the file lacks was filled with random numbers; heads bring their own.
    encoder.pooler = None
    return encoder


def load_classifier(artifact: Artifact, role: str) -> BertForSequenceClassification:
    """Load a fine-tuned checkpoint with pooler and classifier; raises as `load_encoder`."""
    model = _loaded(artifact, role)
    if not isinstance(model, BertForSequenceClassification):
        raise BenchkitError(
            f"{role} '{artifact.path}' is a {type(model).__name__}, which has no classifier",
            remedy="give a checkpoint that was fine-tuned on the task: benchkit train",
        )
    return model


def encoder_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Return an encoder's tensors by the names they have inside a BertModel; they are not copied."""
    return {name: parameter.detach() for name, parameter in encoder.named_parameters() if "pooler" not in name}


def save_merged(encoder: BertModel, head: dict[str, Tensor], task: Task, tokenizer_from: Path, out: Path) -> None:
    """Write a BertForSequenceClassification folder: weights, config with the task's labels, tokenizer.

    Args:
        encoder: The merged BertModel.
        head: Tensors of pooler and classifier, by their names in BertForSequenceClassification.
        task: Gives the labels.
        tokenizer_from: Folder whose tokenizer files are copied.
        out: Existing empty folder.
    """
    kept = {key: value for key, value in encoder.config.to_dict().items() if key not in _OF_THE_HEAD}
    config = BertConfig(**kept)
    config.num_labels = task.outputs
    config.problem_type = "regression" if task.is_regression else "single_label_classification"
    if task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: number for number, label in enumerate(task.labels)}
    model = BertForSequenceClassification(config)
    weights = {f"bert.{name}": tensor for name, tensor in encoder_weights(encoder).items()} | head
    model.load_state_dict({name: tensor.to(torch.float32) for name, tensor in weights.items()}, strict=True)
    with quiet_transformers():
        model.save_pretrained(out)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, out / name)


def check_finite(name: str, tensor: Tensor, where: str) -> None:
    """Refuse a tensor with NaN or infinite numbers, which every merge would spread."""
    if not torch.isfinite(tensor).all():
        raise BenchkitError(
            f"{where}: tensor '{name}' holds NaN or infinite numbers", remedy="train it or download it again"
        )


def _loaded(artifact: Artifact, role: str) -> Any:
    where = f"{role} '{artifact.path}'"
    if artifact.manifest.kind != "checkpoint" or artifact.folder is None:
        raise BenchkitError(
            f"{where} is an artifact of kind '{artifact.manifest.kind}': merging needs weights by name",
            remedy=f"give the checkpoint folder (with {WEIGHTS_FILE}) that it was exported from",
        )
    family = artifact.config().get("model_type")
    if family != "bert":
        raise BenchkitError(
            f"{where} has model_type '{family}', and this version merges 'bert' only",
            remedy="give BERT checkpoints (BERT, TinyBERT, MiniLM)",
        )
    # Eager attention calls the layers' parts one by one, which is what calibration watches.
    model = load_checkpoint(artifact.model_file, attention="eager").model
    for name, parameter in model.named_parameters():
        check_finite(name, parameter, where)
    return model.eval().requires_grad_(False)

"""Checkpoints of a known shape with random weights: latency and memory of an architecture without a download.

The shapes themselves stand in `benchkit.core.architectures`.
"""

from pathlib import Path
from typing import Any

import torch
import transformers

from benchkit.core.architectures import Architecture, architecture_named
from benchkit.core.manifest import write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.runtimes.torch import quiet_transformers

# BERT's own initializer_range.
_SPREAD = 0.02


def random_checkpoint(
    preset: str, *, name: str, out: Path, seed: int = 0, labels: int = 2, progress: Progress = silent
) -> None:
    """Write a sequence classifier of the preset's shape with random weights to `out`.

    Args:
        preset: Name in `benchkit.core.architectures`.
        name: Name of the new artifact.
        out: Empty folder to fill.
        seed: Seed of the weights; the process's own random state is left as it is.
        labels: Width of the logits.
        progress: Told of the work.

    Raises:
        BenchkitError: Unknown preset; names the nearest one.
    """
    architecture = architecture_named(preset)
    progress(f"draw {architecture.parameter_count() / 1e6:.1f} M random weights for {preset}")
    model = _random_model(architecture, seed=seed, labels=labels)
    with quiet_transformers():
        model.save_pretrained(out)
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        recipe={"step": "random-checkpoint", "preset": preset, "seed": seed, "labels": labels},
        candidate=name,
        weights="random",
        notes={
            "preset": preset,
            "trained_weights_at": architecture.hub_id,
            "warnings": ["random weights and no tokenizer: can be profiled, not scored"],
        },
    )


def _random_model(architecture: Architecture, *, seed: int, labels: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(architecture, labels)
        with torch.no_grad():
            for weights in model.parameters():
                # Biases and norms start out equal; left so, the exporter would fold them into one, and the
                # graph would differ from a trained model's.
                if weights.dim() == 1:
                    weights.add_(torch.randn_like(weights), alpha=_SPREAD)
    return model


def _model(architecture: Architecture, labels: int) -> Any:
    shared = {
        "vocab_size": architecture.vocabulary_size,
        "max_position_embeddings": architecture.max_positions,
        "num_labels": labels,
    }
    # from_dict instead of the constructors, whose signatures do not show every key.
    if architecture.family == "distilbert":
        shape: dict[str, Any] = {
            "dim": architecture.hidden_size,
            "n_layers": architecture.layers,
            "n_heads": architecture.heads,
            "hidden_dim": architecture.intermediate_size,
        }
        config = transformers.DistilBertConfig.from_dict(shared | shape)
        return transformers.DistilBertForSequenceClassification(config)
    shape = {
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.intermediate_size,
    }
    if architecture.family == "roberta":
        # The checkpoints' own; RobertaConfig's defaults are BERT's.
        shape |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
        return transformers.RobertaForSequenceClassification(transformers.RobertaConfig.from_dict(shared | shape))
    if architecture.family == "electra":
        shape |= {"embedding_size": architecture.embedding_size or architecture.hidden_size}
        return transformers.ElectraForSequenceClassification(transformers.ElectraConfig.from_dict(shared | shape))
    return transformers.BertForSequenceClassification(transformers.BertConfig.from_dict(shared | shape))

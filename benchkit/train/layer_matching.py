"""What a student learns from the inside of its teacher: hidden states and attention scores, layer by layer.

Mapping, projections and the two losses. The logits and the mixing are left to `objectives`.

Source: Jiao et al., "TinyBERT" (arXiv 1909.10351), equations 6 to 9 and 11. What is as there: student layer m learns
from teacher layer g(m), layer 0 is the embeddings, and the losses of the layers are added. What differs: all terms
are learned in one stage, each layer has a projection of its own (their equations have one for the embeddings and one
for all layers), and means are taken over real tokens, so that padding has no say.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import DistillRecipe
from benchkit.runtimes.torch import LoadedCheckpoint, load_checkpoint
from benchkit.tasks.table import Task
from benchkit.train.attention_scores import SCORES, giving_scores
from benchkit.train.teacher import teacher_artifact

_WITHOUT = "set hidden_weight and attention_weight to 0 in [train.distill], which learns from the logits alone"


class LayerMatching:
    """Holds a teacher's layers against a student's, batch by batch."""

    def __init__(self, distill: DistillRecipe, student: Any, teacher: LoadedCheckpoint, *, seed: int, device: str):
        """Draw the projections, and bring them and the teacher to the device.

        A projection has no bias, as in the paper. Between equal widths it begins as the identity: a student that was
        cut out of its teacher needs no other, and one with a basis of its own can turn. Between unequal ones it begins
        as a random matrix with orthonormal rows or columns, which keeps lengths.

        Args:
            distill: Weights of the terms.
            student: Model that learns; only its config is read.
            teacher: Taken over: frozen, moved, its attention exchanged.
            seed: Seed of the projections.
            device: "cpu" or "cuda".

        Raises:
            BenchkitError: Attention scores are asked for, and the numbers of heads differ.
        """
        own, other = student.config, teacher.model.config
        self._distill = distill
        self.layers = layer_map(own.num_hidden_layers, other.num_hidden_layers)
        """Teacher's layer by student's layer, embeddings first."""
        self._teacher = teacher
        teacher.model.requires_grad_(False).to(device)
        self.projections: list[torch.nn.Parameter] = []
        if distill.hidden_weight:
            generator = torch.Generator().manual_seed(seed)
            self.projections = [
                torch.nn.Parameter(_projection(own.hidden_size, other.hidden_size, generator).to(device))
                for _ in self.layers
            ]
        if distill.attention_weight:
            _check_heads(own.num_attention_heads, other.num_attention_heads)
            teacher.model.set_attn_implementation(SCORES)

    @property
    def asks(self) -> dict[str, bool]:
        """What a forward pass has to give out besides the logits."""
        return {
            "output_hidden_states": bool(self._distill.hidden_weight),
            "output_attentions": bool(self._distill.attention_weight),
        }

    def watching(self, model: Any) -> contextlib.AbstractContextManager[None]:
        """Make the student's attention give out its scores inside the block, where they are compared."""
        return giving_scores(model) if self._distill.attention_weight else contextlib.nullcontext()

    def __call__(self, student: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of both terms.

        Args:
            student: Output of the student's forward pass, made with `asks`.
            inputs: What both were given: int64 tensors of shape (batch, sequence).
        """
        feed = {name: inputs[name] for name in self._teacher.input_names if name in inputs}
        with torch.no_grad():
            # Not inference_mode: what is made under it cannot be part of a loss.
            teacher = self._teacher.model.base_model(**feed, **self.asks)
        real = inputs["attention_mask"].float()
        loss = torch.zeros((), device=real.device)
        if self._distill.hidden_weight:
            loss = loss + self._distill.hidden_weight * sum(
                hidden_loss(own @ projection.T, teacher.hidden_states[layer], real)
                for own, projection, layer in zip(student.hidden_states, self.projections, self.layers, strict=True)
            )
        if self._distill.attention_weight:
            loss = loss + self._distill.attention_weight * sum(
                attention_loss(own, teacher.attentions[layer - 1], real)
                for own, layer in zip(student.attentions, self.layers[1:], strict=True)
            )
        return loss


def matching_for(
    distill: DistillRecipe, student: Any, teacher: Path, task: Task, *, max_length: int, seed: int, device: str
) -> LayerMatching:
    """Load a teacher whose inside a student can be held against.

    Args:
        distill: Weights of the terms.
        student: Model that learns, loaded from a folder with its tokenizer.
        teacher: Checkpoint folder.
        task: Row of the task table.
        max_length: Most tokens that the teacher will be given.
        seed: Seed of the projections.
        device: "cpu" or "cuda".

    Raises:
        BenchkitError: The teacher is an ONNX model, has another vocabulary, fewer positions or other inputs, or
            another number of heads where attention scores are asked for.
    """
    artifact = teacher_artifact(teacher)
    if artifact.manifest.kind != "checkpoint":
        raise BenchkitError(
            f"the teacher '{artifact.manifest.name}' is an ONNX model, whose hidden states and attention nobody sees",
            remedy=f"give the checkpoint that it was exported from, or {_WITHOUT}",
        )
    _check_same_words(Path(student.config._name_or_path), artifact.path)
    loaded = load_checkpoint(artifact.model_file, attention="eager")
    if max_length > loaded.max_positions:
        raise BenchkitError(
            f"max_length {max_length}, and the teacher '{artifact.manifest.name}' has {loaded.max_positions} positions",
            remedy=f"set max_length to at most {loaded.max_positions}, or {_WITHOUT}",
        )
    if task.pair and "token_type_ids" in loaded.input_names and not getattr(student.config, "type_vocab_size", 0):
        raise BenchkitError(
            f"the teacher '{artifact.manifest.name}' tells the sentences of a pair apart by token_type_ids, "
            f"and a student of model type '{student.config.model_type}' takes none",
            remedy=f"give a teacher of the student's family, or {_WITHOUT}",
        )
    return LayerMatching(distill, student, loaded, seed=seed, device=device)


def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Return for each layer of the student, embeddings first, the layer of the teacher it learns from.

    Uniform: g(m) = m N / M, rounded to the nearest (a half up), so g(0) = 0 are the embeddings and g(M) = N the last
    layers. No layer of the student is given the embeddings, even where it has more layers than the teacher.
    """
    nearest = [
        (2 * layer * teacher_layers + student_layers) // (2 * student_layers) for layer in range(1, student_layers + 1)
    ]
    return (0, *(max(1, layer) for layer in nearest))


def hidden_loss(student: torch.Tensor, teacher: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error between hidden states of real tokens.

    Args:
        student: Projected states, shape (batch, sequence, teacher's width).
        teacher: States of the same shape.
        real: 1 for a token, 0 for padding; shape (batch, sequence).

    Source: TinyBERT, equations 8 and 9.
    """
    squared = (student.float() - teacher.float()).square().mean(dim=-1)
    return (squared * real).sum() / real.sum()


def attention_loss(student: torch.Tensor, teacher: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error between attention scores, over heads and pairs of real tokens.

    Args:
        student: Scores before the softmax, shape (batch, heads, sequence, sequence).
        teacher: Scores of the same shape.
        real: 1 for a token, 0 for padding; shape (batch, sequence).

    Source: TinyBERT, equation 7; "the (unnormalized) attention matrix" is the one before the softmax.
    """
    squared = (student.float() - teacher.float()).square().mean(dim=1)
    pairs = real[:, :, None] * real[:, None, :]
    return (squared * pairs).sum() / pairs.sum()


def _projection(student_width: int, teacher_width: int, generator: torch.Generator) -> torch.Tensor:
    weights = torch.empty(teacher_width, student_width)
    if student_width == teacher_width:
        return torch.nn.init.eye_(weights)
    return torch.nn.init.orthogonal_(weights, generator=generator)


def _check_heads(student_heads: int, teacher_heads: int) -> None:
    # No mean over heads: it would forget which head looks where, which is all that this term has to teach.
    if student_heads != teacher_heads:
        raise BenchkitError(
            f"attention_weight needs as many heads on both sides: the student has {student_heads}, the teacher "
            f"{teacher_heads}",
            remedy="set attention_weight = 0; hidden_weight needs no equal shapes",
        )


def _check_same_words(student: Path, teacher: Path) -> None:
    """Refuse a teacher whose ids mean other tokens: it is given the student's."""
    own, other = _words(student), _words(teacher)
    if own == other:
        return
    differing = sum(own.get(token) != other.get(token) for token in own.keys() | other.keys())
    raise BenchkitError(
        f"hidden states are matched token by token, and the vocabularies differ in {differing:,} tokens: "
        f"'{student}' has {len(own):,}, the teacher '{teacher}' {len(other):,}",
        remedy=f"give a teacher with the student's vocabulary, or {_WITHOUT}",
    )


def _words(folder: Path) -> dict[str, int]:
    """Return the id of each token; folders without tokenizer.json have been refused or have a WordPiece vocab.txt."""
    if (folder / "tokenizer.json").is_file():
        words: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
        return words
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {word: number for number, word in enumerate(lines)}

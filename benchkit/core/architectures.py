"""The encoder shapes that benchkit knows by name, with their size and work in closed form.

Making a checkpoint of such a shape is left to `benchkit.export.presets`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from benchkit.core.errors import unknown_name

ROBERTA_LIKE = ("roberta", "xlm-roberta", "camembert")
"""Values of `model_type` whose models are RoBERTa with another vocabulary."""
_ROBERTA_PADDING = 1  # RobertaConfig's default.
# Rows of the segment embeddings. RoBERTa's single row is added to every token.
_SEGMENTS = {"bert": 2, "electra": 2, "roberta": 1, "distilbert": 0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of a text encoder.

    Attributes:
        name: As in `arch:NAME`.
        family: "bert", or one without pooler: "distilbert" (no segment embeddings either), "roberta", "electra".
        layers: Encoder layers.
        hidden_size: Width of the residual stream.
        heads: Attention heads.
        intermediate_size: Width of the feed-forward layers.
        vocabulary_size: Rows of the word embeddings.
        max_positions: Rows of the position embeddings; RoBERTa never uses the first two.
        embedding_size: Width of the embeddings, where a projection leads from it to the residual stream (ELECTRA);
            None: they have the stream's width.
        hub_id: Where trained weights of this shape are found.
    """

    name: str
    family: Literal["bert", "distilbert", "roberta", "electra"] = "bert"
    layers: int
    hidden_size: int
    heads: int
    intermediate_size: int
    vocabulary_size: int = 30_522  # bert-base-uncased's WordPiece vocabulary
    max_positions: int = 512
    embedding_size: int | None = None
    hub_id: str

    def parameter_count(self) -> int:
        """Return the parameters of embeddings, encoder and pooler; a task's head is left out."""
        width, wide = self.hidden_size, self.intermediate_size
        norm = 2 * width
        narrow = self.embedding_size or width
        embeddings = (self.vocabulary_size + self.max_positions + _SEGMENTS[self.family]) * narrow + 2 * narrow
        if narrow != width:
            embeddings += narrow * width + width
        attention = 4 * (width * width + width)
        feed_forward = width * wide + wide + wide * width + width
        pooler = width * width + width if self.family == "bert" else 0
        return embeddings + self.layers * (attention + feed_forward + 2 * norm) + pooler

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """Return the floating-point operations of one forward pass of the encoder's matrix products.

        A multiply-add counts as two. Pooler and head are left out: they see one token of each example. So is the
        projection of narrow embeddings, which is below 1 %.

        Source: per layer, with width H, feed-forward width I and S tokens: 8 S H^2 for query, key, value and
            output, 4 S^2 H for the scores and their product with the values, 4 S H I for the feed-forward part.
        """
        width, tokens = self.hidden_size, sequence_length
        layer = 8 * tokens * width**2 + 4 * tokens**2 * width + 4 * tokens * width * self.intermediate_size
        return batch_size * self.layers * layer


# Sources: the config.json of each hub id.
ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="bert-base",
            layers=12,
            hidden_size=768,
            heads=12,
            intermediate_size=3072,
            hub_id="google-bert/bert-base-uncased",
        ),
        Architecture(
            name="bert-large",
            layers=24,
            hidden_size=1024,
            heads=16,
            intermediate_size=4096,
            hub_id="google-bert/bert-large-uncased",
        ),
        Architecture(
            name="distilbert",
            family="distilbert",
            layers=6,
            hidden_size=768,
            heads=12,
            intermediate_size=3072,
            hub_id="distilbert/distilbert-base-uncased",
        ),
        Architecture(
            name="tinybert-4l-312",
            layers=4,
            hidden_size=312,
            heads=12,
            intermediate_size=1200,
            hub_id="huawei-noah/TinyBERT_General_4L_312D",
        ),
        Architecture(
            name="tinybert-6l-768",
            layers=6,
            hidden_size=768,
            heads=12,
            intermediate_size=3072,
            hub_id="huawei-noah/TinyBERT_General_6L_768D",
        ),
        Architecture(
            name="minilm-l6-h384",
            layers=6,
            hidden_size=384,
            heads=12,
            intermediate_size=1536,
            hub_id="nreimers/MiniLM-L6-H384-uncased",
        ),
        Architecture(
            name="minilm-l12-h384",
            layers=12,
            hidden_size=384,
            heads=12,
            intermediate_size=1536,
            hub_id="microsoft/MiniLM-L12-H384-uncased",
        ),
        Architecture(
            name="roberta-base",
            family="roberta",
            layers=12,
            hidden_size=768,
            heads=12,
            intermediate_size=3072,
            vocabulary_size=50_265,
            max_positions=514,
            hub_id="FacebookAI/roberta-base",
        ),
        Architecture(
            name="electra-small",
            family="electra",
            layers=12,
            hidden_size=256,
            heads=4,
            intermediate_size=1024,
            embedding_size=128,
            hub_id="google/electra-small-discriminator",
        ),
        Architecture(
            name="electra-base",
            family="electra",
            layers=12,
            hidden_size=768,
            heads=12,
            intermediate_size=3072,
            embedding_size=768,
            hub_id="google/electra-base-discriminator",
        ),
    )
}


def position_limit(config: Mapping[str, Any]) -> int | None:
    """Return the longest input in tokens that a `config.json` allows, None when it does not say.

    RoBERTa and its kin count positions from pad_token_id + 1 (fairseq's way), so that many rows are never used.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    if config.get("model_type") not in ROBERTA_LIKE:
        return positions
    padding = config.get("pad_token_id")
    return positions - (padding if isinstance(padding, int) else _ROBERTA_PADDING) - 1


def architecture_named(name: str) -> Architecture:
    """Return the architecture of that name, or raise the error that names the nearest one."""
    if name not in ARCHITECTURES:
        raise unknown_name("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]

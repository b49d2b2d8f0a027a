"""What a graph is run on while it is quantized: batches of calibration texts, of probe sentences, or of random ids."""

import dataclasses
from typing import Any

import numpy as np
import onnx

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.graphs import fixed_shape, input_shape, vocabulary_size
from benchkit.quantize.source import Source
from benchkit.runtimes.protocol import Feed
from benchkit.tasks.calibration import Calibration
from benchkit.tasks.probe_sentences import PROBE_SENTENCES

# Every so many texts one is held back from the ranges; too few texts serve for both.
_HELD_BACK_EVERY = 4
_LEAST_HELD_BACK = 2
_RANDOM_SHAPES = ((1, 16), (4, 32))
# Any vocabulary has so many ids; for bare files that do not show theirs.
_SAFE_VOCABULARY = 100
_NEEDS_TEXT = (
    "benchkit quantize DIR -o DIR --method {method} --task sst2 --data DIR draws texts from the train file's "
    "unlabelled part; --calibration-file takes a file of one text a line"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What a method is fitted on and what it is judged on.

    Attributes:
        fit: Batches that activation ranges are found on; () for methods that need none.
        compared: Batches on which the quantized graph is held against the fp32 one.
        inputs: What those are, in words.
        facts: Where the calibration texts come from and how many serve for what; None without any.
    """

    fit: tuple[Feed, ...]
    compared: tuple[Feed, ...]
    inputs: str
    facts: dict[str, Any] | None


def batches_for(source: Source, recipe: QuantizeRecipe, calibration: Calibration | None, *, needed_by: str) -> Batches:
    """Return the batches of a method.

    Args:
        source: The fp32 artifact.
        recipe: Sizes of the batches.
        calibration: Texts; None where there are none.
        needed_by: The method, where it cannot do without; "" where it can.

    Raises:
        BenchkitError: The method needs texts and there are none, or no tokenizer to read them with.
    """
    if calibration is not None:
        return _on_texts(source, recipe, calibration)
    if needed_by and source.artifact.manifest.weights != "random":
        raise BenchkitError(
            f"{needed_by} finds the ranges of activations on text, and none is given",
            remedy=_NEEDS_TEXT.format(method=needed_by),
        )
    random_ids = random_feeds(source.model, source.artifact.config())
    if source.tokenizer is None:
        compared, inputs = random_ids, "random token ids"
    else:
        compared, inputs = _text_feeds(source, recipe, PROBE_SENTENCES, None), "benchkit's probe sentences"
    if not needed_by:
        return Batches(fit=(), compared=tuple(compared), inputs=inputs, facts=None)
    # Random weights have no inputs that they were made for: these serve as well, for speed and size.
    facts = {"source": "random token ids, as the weights are random", "texts": 0}
    return Batches(fit=tuple(random_ids), compared=tuple(compared), inputs=inputs, facts=facts)


def random_feeds(model: onnx.ModelProto, config: dict[str, Any]) -> list[Feed]:
    """Draw padded batches of token ids that the model's embeddings have rows for."""
    generator = np.random.default_rng(0)
    rows = vocabulary_size(model) or config.get("vocab_size") or _SAFE_VOCABULARY
    feeds: list[Feed] = []
    for default in _RANDOM_SHAPES:
        shape = input_shape(model, default)
        lengths = generator.integers(max(2, shape[1] // 2), shape[1] + 1, (shape[0], 1))
        mask = np.arange(shape[1]) < lengths
        ids = np.where(mask, generator.integers(0, rows, shape), 0)
        feeds.append(_feed(ids, mask.astype(np.int64), np.zeros(shape, dtype=np.int64)))
    return feeds


def _on_texts(source: Source, recipe: QuantizeRecipe, calibration: Calibration) -> Batches:
    if source.tokenizer is None:
        raise BenchkitError(
            f"no tokenizer beside '{source.artifact.path}', so that no text can be turned into its token ids",
            remedy="give the folder that holds model.onnx, config.json and tokenizer.json",
        )
    rows = range(len(calibration))
    held_back = [row for row in rows if row % _HELD_BACK_EVERY == _HELD_BACK_EVERY - 1]
    if len(held_back) < _LEAST_HELD_BACK:
        fit, held_back = list(rows), list(rows)
    else:
        fit = [row for row in rows if row % _HELD_BACK_EVERY != _HELD_BACK_EVERY - 1]
    fitted, compared = (
        _text_feeds(
            source,
            recipe,
            [calibration.first[row] for row in chosen],
            None if calibration.second is None else [calibration.second[row] for row in chosen],
        )
        for chosen in (fit, held_back)
    )
    facts = {
        "source": calibration.source,
        "sha256": calibration.sha256,
        "digest": calibration.digest,
        "texts": len(calibration),
        "texts_for_ranges": len(fit),
        "texts_compared": len(held_back),
        "tokens_for_ranges": sum(int(feed["attention_mask"].sum()) for feed in fitted),
    }
    return Batches(fit=tuple(fitted), compared=tuple(compared), inputs=f"texts of {calibration.source}", facts=facts)


def _text_feeds(source: Source, recipe: QuantizeRecipe, first: Any, second: Any) -> list[Feed]:
    """Return batches of like length, each padded to its longest, or to the shape that the graph insists on."""
    tokenizer = source.tokenizer
    assert tokenizer is not None, "texts are taken only where a tokenizer is"
    batch_size, length = fixed_shape(source.model)
    longest = min(recipe.max_length, length or recipe.max_length, tokenizer.max_positions or recipe.max_length)
    encoded = tokenizer.encode(first, second, max_length=longest)
    order = np.argsort(-encoded.lengths(), kind="stable")
    size = batch_size or recipe.calibration_batch_size
    if batch_size and len(order) % batch_size:
        # The last batch is filled up with the first texts once more.
        order = np.resize(order, -(-len(order) // batch_size) * batch_size)
    feeds = []
    for start in range(0, len(order), size):
        padded = tokenizer.pad(encoded.take(order[start : start + size]), to=length)
        feeds.append(_feed(padded["input_ids"], padded["attention_mask"], padded["token_type_ids"]))
    return feeds


def _feed(ids: Any, mask: Any, types: Any) -> Feed:
    positions = np.tile(np.arange(ids.shape[1]), (ids.shape[0], 1))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "position_ids": positions}

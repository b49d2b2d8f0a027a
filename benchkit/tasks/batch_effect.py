"""What a model answers alone and in a batch: the same, or, where activations are quantized by the batch's range, not.

Source: onnxruntime's DynamicQuantizeLinear takes scale and zero point from the whole tensor, all examples of the
batch and their padding included (https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html).
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError
from benchkit.tasks.answering import Answerer, Logits
from benchkit.tasks.batching import FELT_DIFFERENCE, Batching
from benchkit.tasks.metrics import predictions
from benchkit.tasks.tokenization import Encoded

SAMPLE = 64
BATCHED = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchEffect:
    """What batching changed in a sample.

    Attributes:
        sample: Examples that were answered twice.
        batched: Examples per call the second time; the first time it was 1.
        max_logit_difference: Largest difference of a logit; None where the model takes no such batch.
        changed_answers: Examples whose answer changed: their label, or their score by more than `FELT_DIFFERENCE`.
        refusal: What the model said to such a batch; None where it took it.
    """

    sample: int
    batched: int
    max_logit_difference: float | None
    changed_answers: int | None
    refusal: str | None = None

    @property
    def is_felt(self) -> bool:
        """Tell whether the answers depend on the batch, or none can be made."""
        return self.max_logit_difference is None or self.max_logit_difference > FELT_DIFFERENCE


def batch_effect(answerer: Answerer, encoded: Encoded, *, seed: int) -> BatchEffect:
    """Answer a sample alone and in batches of neighbours in length, and compare.

    Args:
        answerer: The open model.
        encoded: Examples to draw from.
        seed: Seed of the draw.

    Raises:
        BenchkitError: The output is not logits of the task, or some are not finite.
    """
    sample = encoded.take(spread_sample(encoded.lengths(), SAMPLE, seed=seed))
    batched = min(BATCHED, len(sample))
    alone = answerer.answer(sample, Batching(examples=1)).logits
    check_finite(alone, answerer.task.name)
    try:
        together = answerer.answer(sample, Batching(examples=batched)).logits
    except BenchkitError as error:  # Of a graph whose batch is fixed to 1; any other fault showed above.
        return BatchEffect(
            sample=len(sample), batched=batched, max_logit_difference=None, changed_answers=None, refusal=str(error)
        )
    check_finite(together, answerer.task.name)
    difference = np.abs(alone - together)
    answers = [predictions(answerer.task, logits) for logits in (alone, together)]
    changed = difference[:, 0] > FELT_DIFFERENCE if answerer.task.is_regression else answers[0] != answers[1]
    return BatchEffect(
        sample=len(sample),
        batched=batched,
        max_logit_difference=float(difference.max()),
        changed_answers=int(changed.sum()),
    )


def spread_sample(lengths: npt.NDArray[np.int64], size: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Draw rows, one of each of `size` equal parts of the examples sorted by length."""
    order = np.argsort(lengths, kind="stable")
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(part) for part in np.array_split(order, min(size, len(order)))], dtype=np.int64)


def check_finite(logits: Logits, task: str) -> None:
    """Raise the error for logits that are no numbers; logits have the shape (n, outputs)."""
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise BenchkitError(
            f"{broken:,} of {len(logits):,} examples of '{task}' got logits that are not finite",
            remedy="the model is damaged or overflows in its precision: compare with fp32",
        )

"""How far a quantized graph answers from the fp32 one, on the same batches. What that does to a score: `judge`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError
from benchkit.quantize.source import Source
from benchkit.runtimes.protocol import Array, Feed, Session

Answers = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far answers moved.

    Attributes:
        max: Largest absolute difference of an output.
        mean: Mean absolute difference.
        relative: Root mean square of the differences, as a share of the spread of the fp32 outputs over the examples;
            None where those do not differ.
        changed_answers: Examples whose largest logit is another one; None for outputs that are no classes.
        largest_fp32_output: For scale.
        examples: Examples compared.
    """

    max: float
    mean: float
    relative: float | None
    changed_answers: int | None
    largest_fp32_output: float
    examples: int


def answers_of(session: Session, feeds: Sequence[Feed]) -> Answers:
    """Run batches and return one row for each example, or for each token of text where outputs are hidden states."""
    rows: list[Array] = []
    for feed in feeds:
        output = session.call(session.prepare(feed))
        if output.ndim == 3:
            output = output[feed["attention_mask"].astype(bool)]
        rows.append(output.reshape(len(output), -1))
    if len({row.shape[1] for row in rows}) > 1:  # One value for each token, padding and all: there are no rows then.
        rows = [row.reshape(-1, 1) for row in rows]
    return np.concatenate(rows).astype(np.float64)


def agreement(source: Source, references: Answers, answers: Answers, *, examples: int, name: str) -> Agreement:
    """Compare answers with the references.

    Raises:
        BenchkitError: Answers that are no numbers.
    """
    if not np.isfinite(answers).all():
        raise BenchkitError(
            f"'{name}' gives outputs that are no numbers",
            remedy="try per_channel = true, or another method, or keep the model in fp32",
        )
    differences = np.abs(answers - references)
    is_classes = source.gives_logits and references.shape[1] > 1
    changed = int((answers.argmax(axis=1) != references.argmax(axis=1)).sum()) if is_classes else None
    return Agreement(
        max=float(differences.max()),
        mean=float(differences.mean()),
        relative=relative_error(references, answers),
        changed_answers=changed,
        largest_fp32_output=float(np.abs(references).max()),
        examples=examples,
    )


def relative_error(references: Answers, answers: Answers) -> float | None:
    """Return the root mean square of the differences as a share of the references' spread; None without spread."""
    spread = float(np.sqrt(np.mean((references - references.mean(axis=0)) ** 2)))
    return float(np.sqrt(np.mean((answers - references) ** 2))) / spread if spread > 0 else None


def as_note(found: Agreement, inputs: str) -> dict[str, Any]:
    """Return what an artifact keeps."""
    return dataclasses.asdict(found) | {"inputs": inputs}

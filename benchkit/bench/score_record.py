"""How an artifact is called while it is scored, and what a score's record says of it."""

from typing import Any

import pydantic

from benchkit.core.frozen import Setting
from benchkit.core.records import Cell, Measured, Measurement, NotMeasured
from benchkit.tasks.official import DataState
from benchkit.tasks.scoring import Scored
from benchkit.tasks.table import Task


class ScoreSettings(Setting):
    """How an artifact is called while it is scored.

    Attributes:
        batch_size: Examples per call. None looks whether batches change the answers, as they do where activations
            are quantized by the batch's range: such an artifact is scored one at a time, others by `batch_tokens`.
        batch_tokens: Most tokens per call, padding included, where batches do not change the answers; None takes what
            fills a core or a GPU.
        max_length: Longest input in tokens; longer ones are truncated and counted.
        split: "validation" is GLUE's dev set.
        runtime: Name in the table of runtimes.
        device: "cpu" or "cuda".
        threads: Cores that are used: threads inside one operator, or calls at once on one thread each.
        seed: Seed of the bootstrap, and of the sample that shows what batches change.
    """

    batch_size: pydantic.PositiveInt | None = None
    batch_tokens: pydantic.PositiveInt | None = None
    max_length: int = pydantic.Field(default=128, ge=4)
    split: str = "validation"
    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: pydantic.PositiveInt = 1
    seed: int = 0


def score_cell(task: Task, settings: ScoreSettings, scored: Scored, provider: str) -> Cell:
    """Return what was run, as resolved."""
    return Cell(
        runtime=settings.runtime,
        device=settings.device,
        provider=provider,
        threads=settings.threads,
        batch_size=scored.batching.examples or scored.largest_batch,
        batch_tokens=scored.batching.tokens,
        scenario="score",
        padding="longest",
        task=task.name,
        split=settings.split,
    )


def score_measurement(task: Task, scored: Scored, state: DataState, *, source: str, sha256: str) -> Measurement:
    """Return the score with all that a reader may ask of it; not measured where the examples have no labels.

    Args:
        task: What was asked.
        scored: What scoring found.
        state: The examples, held against the official ones.
        source: Their file below the data folder.
        sha256: Digest of that file.
    """
    if scored.labels is None:
        return NotMeasured(
            reason="no_labels",
            detail=f"{source} has no labels; {len(scored.logits):,} examples were answered",
            remedy="score --split validation, or send the answers in: --submission DIR",
        )
    details: dict[str, Any] = {
        "headline": task.metrics[0],
        "metrics": list(task.metrics),
        "data": {
            "source": source,
            "sha256": sha256,
            "rows": state.rows,
            "official_rows": state.official_rows,
            "state": state.state,
        },
        "batching": scored.batching_details(),
        "truncated": scored.truncated,
        "empty": scored.empty,
        "padding_waste": round(scored.padding_waste, 4),
        "examples_per_s": float(f"{scored.examples_per_s:.4g}"),
        "bootstrap_draws": {name: bounds.draws for name, bounds in scored.bounds.items()},
    }
    return Measured(unit="ratio", statistics=scored.statistics, details=details)


def data_warnings(task: Task, split: str, state: DataState) -> tuple[str, ...]:
    """Say that a score is not comparable where the examples are not the official ones."""
    if state.state not in ("subset", "altered"):
        return ()
    kind = "a subset of the official data" if state.state == "subset" else "altered data"
    return (f"{task.name} {split} is {kind} ({state.said}): not comparable with published scores",)

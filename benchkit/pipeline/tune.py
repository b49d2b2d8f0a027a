"""The fastest variant of one target that keeps the score, measured on this machine.

Variants are precisions x runtimes x threads. Each precision is scored paired against fp32 on validation carved from
train; what keeps the score is profiled side by side; the fastest is measured once more, in pairs of fresh processes
against fp32, before it is called faster. A search without exhausting every variant is left to later work.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic

from benchkit.bench.matrix import Matrix
from benchkit.bench.profile import plan, profile
from benchkit.bench.score import ScoreSettings, score_examples
from benchkit.bench.targets import resolve
from benchkit.core.artifacts import Artifact, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError, MeasurementFailed
from benchkit.core.frozen import Setting
from benchkit.core.json_files import read_json
from benchkit.core.manifest import MANIFEST, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.quantities import format_value
from benchkit.core.recipes import SplitRecipe
from benchkit.core.records import Record
from benchkit.judge.best import Best, apparent_best
from benchkit.judge.compare import Verdict
from benchkit.judge.pairs import Compared, compare_artifacts
from benchkit.tasks.intervals import score_differences
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import Task


class TuneSettings(Setting):
    """What is tried, and what must be kept.

    Attributes:
        max_score_drop: Largest loss of the headline metric against fp32, as a share of 1.
        precisions: Precisions that are made and tried; fp32 always is.
        runtimes: Names in the table of runtimes.
        threads: Thread counts.
        batch_size: Examples per call, of the scores too.
        sequence_length: Tokens per example of the timed calls.
        splits: How validation is carved from train.
        seed: Seed of inputs, order and resampling.
    """

    max_score_drop: float = pydantic.Field(default=0.005, ge=0, lt=1)
    precisions: tuple[str, ...] = ("dynamic-int8",)
    runtimes: tuple[str, ...] = ("onnxruntime",)
    threads: tuple[pydantic.PositiveInt, ...] = (1,)
    batch_size: pydantic.PositiveInt = 1
    sequence_length: int = 128
    splits: SplitRecipe = SplitRecipe()
    seed: int = 0

    def matrix(self, runtime: str) -> Matrix:
        """Return the cells of one runtime."""
        return Matrix(
            runtime=(runtime,),
            threads=self.threads,
            batch_size=(self.batch_size,),
            sequence_length=(self.sequence_length,),
            seed=self.seed,
        )


class Tried(NamedTuple):
    """One variant and what became of it.

    Attributes:
        precision: Of its graph.
        runtime: That ran it.
        threads: Inside one operator.
        p50_s: Median latency; None when it was not measured.
        fate: "fastest", or why it was dropped.
    """

    precision: str
    runtime: str
    threads: int
    p50_s: float | None
    fate: str


class Tuned(NamedTuple):
    """The result of a search.

    Attributes:
        winner: The artifact, with its settings in artifact.json when it was written to a folder.
        tried: Every variant.
        compared: The winner against fp32 in the same runtime and threads; None when fp32 itself won.
        sentence: What it brings and costs.
    """

    winner: Artifact
    tried: list[Tried]
    compared: Compared | None
    sentence: str


def tune(
    target: str, task: Task, data: Path, settings: TuneSettings, *, out: Path | None = None, progress: Progress = silent
) -> Tuned:
    """Find the fastest variant of a target that keeps the score, and write it to `out`.

    Args:
        target: A checkpoint or an fp32 ONNX artifact.
        task: What it is scored on.
        data: Folder in the layout of the GLUE download, with the task's train file.
        settings: What is tried, and what must be kept.
        out: Folder of the winner; None writes nothing.
        progress: Told all the way.

    Raises:
        BenchkitError: The target has no tokenizer or head, or its data cannot be read.
    """
    for runtime in settings.runtimes:
        settings.matrix(runtime).check_names()
    if "torch" in settings.runtimes:
        raise BenchkitError("tune tries ONNX runtimes, and torch is none", remedy="--runtime onnxruntime,openvino")
    precisions = tuple(dict.fromkeys(("fp32", *settings.precisions)))
    artifacts = {p: resolve(target, runtime="onnxruntime", precision=p, progress=progress) for p in precisions}
    validation = carve(read_split(task, "train", data), settings.splits).validation
    lost = _score_losses(artifacts, task, validation, settings, progress)
    kept = {precision: artifact for precision, artifact in artifacts.items() if precision not in lost}
    records = [
        record
        for runtime in settings.runtimes
        for record in profile(plan({runtime: list(kept.values())}, settings.matrix(runtime)), progress=progress)
    ]
    chosen = apparent_best(records)
    # Where every row is void, the lowest figure is what is left to go on with; its row says that it is void.
    best = next((record for record in records if record.record_id == chosen.apparent_id), min(records, key=_p50))
    if not np.isfinite(_p50(best)):
        raise MeasurementFailed("no variant gave a median latency", remedy="profile the target to see why")
    tried = [_tried(record, best, chosen) for record in records]
    tried += [Tried(p, "-", 0, None, reason) for p, reason in lost.items()]
    winner = kept[best.artifact.precision]
    compared = _confirmed(artifacts["fp32"], winner, best, settings, progress)
    sentence = _sentence(artifacts["fp32"], winner, compared)
    if out is not None:
        winner = _written(winner, out, best, sentence)
    return Tuned(winner, tried, compared, sentence)


def _score_losses(
    artifacts: dict[str, Artifact], task: Task, validation: Examples, settings: TuneSettings, progress: Progress
) -> dict[str, str]:
    """Return the precisions that do not surely keep the score, each with the reason."""
    calls = ScoreSettings(batch_size=settings.batch_size, seed=settings.seed)
    labels = np.array(validation.labels)
    logits = {}
    for precision, artifact in artifacts.items():
        progress(f"score {precision} on {len(validation):,} validation examples")
        logits[precision] = score_examples(artifact, task, validation, calls, progress=progress).scored.logits
    lost = {}
    for precision, own in logits.items():
        if precision == "fp32":
            continue
        metric = task.metrics[0]
        change = score_differences(task, logits["fp32"], own, labels, seed=settings.seed)[metric]
        if change.low is None or change.low < -settings.max_score_drop:
            bounds = "no bounds" if change.low is None else f"{change.low:+.4f} to {change.high:+.4f}"
            lost[precision] = f"{metric} changes by {bounds}: a loss above {settings.max_score_drop} is not ruled out"
    return lost


def _p50(record: Record) -> float:
    figure = record.statistic("latency", "p50")
    return figure.value if figure is not None and figure.value is not None else float("inf")


def _tried(record: Record, best: Record, chosen: Best) -> Tried:
    p50_s = _p50(record)
    fate = f"{p50_s / _p50(best):.2f} times as slow as the fastest"
    if record is best:
        fate = "fastest" if chosen.record_id else f"fastest by its figure alone; {chosen.reason}"
    if record.noise.verdict != "clean":
        fate += f" ({record.noise.verdict})"
    return Tried(record.artifact.precision, record.cell.runtime, record.cell.threads, p50_s, fate)


def _confirmed(
    base: Artifact, winner: Artifact, best: Record, settings: TuneSettings, progress: Progress
) -> Compared | None:
    """Measure the winner again, in pairs of fresh processes; the apparent best of many is partly luck."""
    if winner.manifest.id == base.manifest.id:
        return None
    matrix = settings.matrix(best.cell.runtime).model_copy(update={"threads": (best.cell.threads,)})
    return compare_artifacts(base, winner, matrix, progress=progress)


def _sentence(base: Artifact, winner: Artifact, compared: Compared | None) -> str:
    if compared is None:
        return "fp32 stays: nothing that keeps the score is faster"
    ratio = compared.comparison.ratio
    size = winner.size_bytes / base.size_bytes
    bounds = "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.3f}-{ratio.high:.3f})"
    said = f"{winner.manifest.precision}: {ratio.estimate:.3f}{bounds} of the latency of fp32, {size:.2f} of its size"
    if compared.comparison.verdict is not Verdict.FASTER:
        said += f"; not confirmed as faster: {compared.comparison.reason}"
    return said


def _written(winner: Artifact, out: Path, best: Record, sentence: str) -> Artifact:
    """Copy the winner and write its settings into artifact.json; the files, and so the id, stay what they are."""
    with staged_artifact(out) as stage:
        assert winner.folder is not None, "a variant is a folder: it was scored"
        shutil.copytree(winner.folder, stage, dirs_exist_ok=True)
        if winner.foreign:
            write_manifest(stage, kind="onnx", name=winner.manifest.name, recipe={}, weights="unknown")
        value = read_json(stage / MANIFEST)
        value["notes"]["tuned"] = {
            "runtime": best.cell.runtime,
            "threads": best.cell.threads,
            "batch_size": best.cell.batch_size,
            "sequence_length": best.cell.sequence_length,
            "latency_p50": format_value("latency", _p50(best)),
            "result": sentence,
        }
        (stage / MANIFEST).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return load_artifact(out)

"""Mixed int8: a pass over the layers finds those whose quantization costs the most, and they stay in fp32.

Each group of layers is quantized alone, and the answers on the calibration texts are held against fp32's. Errors of
groups add up roughly like noise, so the groups are then kept in fp32 from the costliest on, as many as it takes: the
number is found by halving, and what comes out is measured, not summed.

Source: Dong et al., "HAWQ" (arXiv 1905.03696) for the idea; the measure here is the error of the logits themselves.
"""

import tempfile
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.agreement import answers_of, relative_error
from benchkit.quantize.dynamic import NO_SATURATION, SATURATION, write_dynamic
from benchkit.quantize.groups import groups_of
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.ranges import Ranges
from benchkit.quantize.source import open_graph
from benchkit.quantize.static import SETTINGS, ranges_for, write_static
from benchkit.tasks.calibration import Calibration

_EVERY = 3


def quantize_mixed_int8(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Quantize an fp32 ONNX artifact to int8 but for the layers that cost the most.

    Args:
        recipe: The method that it starts from, and the error that may be left.
        source: Artifact of kind "onnx" in fp32, with its tokenizer beside it.
        name: Name of the new artifact.
        out: Empty folder to fill.
        calibration: Texts without labels; needed unless the weights are random.
        progress: Told of each group, with the time left.

    Raises:
        BenchkitError: No calibration, every layer would stay in fp32, or as
            `benchkit.quantize.making.make_artifact`.
    """
    make_artifact(_METHOD, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


class _Search:
    """Measures the error that is left when some nodes are quantized."""

    def __init__(self, job: Job, scratch: Path) -> None:
        self.job = job
        self._path = scratch / "model.onnx"
        self._references = answers_of(job.source.session, job.batches.fit)
        # Batches go from long texts to short ones, so that every third stands for all lengths.
        self._some = job.batches.fit[::_EVERY]
        self._some_references = answers_of(job.source.session, self._some)
        self._ranges: Ranges = ranges_for(job) if job.recipe.base == "static-int8" else {}

    def error(self, nodes: Collection[str], *, roughly: bool = False) -> float:
        """Return the error of the logits, as a share of their spread, with these nodes quantized.

        Args:
            nodes: Their names.
            roughly: On a third of the texts, which is enough to put groups in order.
        """
        if not nodes:
            return 0.0
        feeds, references = self.job.batches.fit, self._references
        if roughly:
            feeds, references = self._some, self._some_references
        self.write(self._path, nodes)
        error = relative_error(references, answers_of(open_graph(self._path), feeds))
        if error is None:
            raise BenchkitError(
                f"'{self.job.source.artifact.path}' gives the same answer to every text, so that no error can be told",
                remedy="give more texts, or choose dynamic-int8",
            )
        return error

    def write(self, path: Path, nodes: Collection[str]) -> list[str]:
        """Write the graph with these nodes quantized; return what the quantizer had to say."""
        source, recipe = self.job.source, self.job.recipe
        if recipe.base == "static-int8":
            return write_static(source, path, recipe, self._ranges, nodes=nodes)
        return write_dynamic(source.model, path, recipe, nodes=nodes)


def _write(job: Job) -> dict[str, Any]:
    groups = groups_of(job.source.model)
    if not groups:
        raise BenchkitError(
            f"'{job.source.artifact.path}' has no operator with weights that could be quantized",
            remedy="give the ONNX export of an encoder, with its weights as initializers",
        )
    with tempfile.TemporaryDirectory() as scratch:
        search = _Search(job, Path(scratch))
        sensitivity = _sensitivity(search, groups)
        costly = sorted(sensitivity, key=lambda group: -sensitivity[group])
        errors = _halved(search, groups, costly)
        kept = costly[: min(count for count, error in errors.items() if error <= job.recipe.max_logit_error)]
        if len(kept) == len(groups):
            least = f"{costly[-1]}, the least costly, alone costs {errors[len(kept) - 1]:.3g}"
            raise BenchkitError(
                f"no layer of '{job.source.artifact.path}' can be quantized within max_logit_error = "
                f"{job.recipe.max_logit_error:g}: {least}",
                remedy="allow more: --set max_logit_error=0.05, or keep the model in fp32",
            )
        messages = search.write(job.path, _nodes(groups, kept))
    return {
        "base": job.recipe.base,
        "sensitivity": sensitivity,
        "kept_in_fp32": kept,
        "error_by_groups_kept": {str(count): error for count, error in sorted(errors.items())},
        "error_measured_on": "the texts that ranges are found on",
        "portability": NO_SATURATION if job.recipe.reduce_range else SATURATION,
        "warnings": messages,
    }


def _sensitivity(search: _Search, groups: dict[str, list[str]]) -> dict[str, float]:
    """Return the error that each group costs when it alone is quantized."""
    found: dict[str, float] = {}
    began_s = time.monotonic()
    for number, (group, nodes) in enumerate(groups.items(), 1):
        found[group] = search.error(nodes, roughly=True)
        left_s = (time.monotonic() - began_s) / number * (len(groups) - number)
        search.job.progress(
            f"quantize alone: {group} costs {found[group]:.4f}, {left_s:.0f} s left", 0.5 + 0.2 * number / len(groups)
        )
    return found


def _halved(search: _Search, groups: dict[str, list[str]], costly: list[str]) -> dict[int, float]:
    """Return the error by the number of costliest groups kept, at the numbers that were tried.

    All of them kept leave no error, so that one number at least is within the limit.
    """
    errors = {0: search.error(_nodes(groups, ())), len(costly): 0.0}
    low, high = 0, len(costly)
    if errors[0] <= search.job.recipe.max_logit_error:
        return errors
    while high - low > 1:
        middle = (low + high) // 2
        errors[middle] = search.error(_nodes(groups, costly[:middle]))
        search.job.progress(f"keep {middle} of {len(groups)} groups in fp32: {errors[middle]:.4f} left", 0.75)
        if errors[middle] <= search.job.recipe.max_logit_error:
            high = middle
        else:
            low = middle
    return errors


def _nodes(groups: dict[str, list[str]], kept: Iterable[str]) -> list[str]:
    """Return the nodes of all groups but the kept ones."""
    left_out = set(kept)
    return [node for group, nodes in groups.items() if group not in left_out for node in nodes]


_METHOD = Method(
    name="mixed-int8",
    settings=("base", "max_logit_error", *SETTINGS),
    fixed={"weight_type": "QInt8"},
    needs_text=True,
    write=_write,
)

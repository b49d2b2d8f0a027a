"""Ranges of activations over calibration batches, one batch at a time, so that memory does not grow with their number.

onnxruntime's own calibrators keep every activation of every batch (of BERT-base a batch of 8 x 128 has 600 MB of them),
and their histograms want batches of one length. Here only the tensors that will be quantized are fetched, and each
batch is folded in before the next one runs. The histograms themselves, and what is cut off of them, are onnxruntime's.

Source: Migacz, "8-bit inference with TensorRT" (GTC 2017) for the entropy.
"""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import HistogramCollector

from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.graph_files import save_graph
from benchkit.quantize.messages import taken_messages
from benchkit.quantize.source import Source
from benchkit.runtimes.protocol import Array, Feed

Ranges = Mapping[str, tuple[float, float]]

# As in the source. onnxruntime's default for the entropy, 128 of each, leaves it one range to choose from: the widest.
_BINS = 2048
_QUANTIZED_BINS = 128


def activation_ranges(
    source: Source, tensors: Sequence[str], feeds: Sequence[Feed], recipe: QuantizeRecipe, progress: Progress = silent
) -> Ranges:
    """Return (lowest, highest) of each tensor over the batches, by the way that the recipe names.

    Args:
        source: The fp32 artifact.
        tensors: Names of float tensors of its graph.
        feeds: Calibration batches.
        recipe: How ranges are found.
        progress: Told after each batch.

    Raises:
        BenchkitError: A tensor takes values that are no numbers.
    """
    folder = Extremes() if recipe.activation_ranges == "minmax" else Histograms(recipe)
    session = _session_with(source, tensors)
    began_s = time.monotonic()
    for number, feed in enumerate(feeds, 1):
        values = session.run(list(tensors), source.bound(feed))
        folder.fold(dict(zip(tensors, values, strict=True)))
        left_s = (time.monotonic() - began_s) / number * (len(feeds) - number)
        progress(f"find ranges: batch {number} of {len(feeds)}, {left_s:.0f} s left", 0.1 + 0.4 * number / len(feeds))
    ranges = folder.ranges()
    broken = next((name for name, limits in ranges.items() if not np.isfinite(limits).all()), None)
    if broken is not None:
        raise BenchkitError(
            f"'{source.artifact.path}': tensor '{broken}' takes values that are no numbers on the calibration texts",
            remedy="the checkpoint is damaged: train or fetch it again",
        )
    return ranges


class Extremes:
    """The least and the largest value seen."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}

    def fold(self, values: Mapping[str, Array]) -> None:
        """Take in the tensors of one batch."""
        for name, array in values.items():
            low, high = self._ranges.get(name, (np.inf, -np.inf))
            self._ranges[name] = (min(low, float(array.min())), max(high, float(array.max())))

    def ranges(self) -> Ranges:
        """Return (lowest, highest) of each tensor."""
        return self._ranges


class Histograms:
    """onnxruntime's histograms, with what lies far out cut off."""

    def __init__(self, recipe: QuantizeRecipe) -> None:
        self._collector: Any = HistogramCollector(
            method=recipe.activation_ranges,
            symmetric=False,
            num_bins=_BINS,
            num_quantized_bins=_QUANTIZED_BINS,
            percentile=recipe.percentile,
            scenario="same",
        )

    def fold(self, values: Mapping[str, Array]) -> None:
        """Take in the tensors of one batch."""
        with taken_messages():  # It prints.
            self._collector.collect({name: array.ravel() for name, array in values.items()})

    def ranges(self) -> Ranges:
        """Return (lowest, highest) of each tensor."""
        with taken_messages():
            found = self._collector.compute_collection_result()
        return {name: (float(limits[0]), float(limits[1])) for name, limits in found.items()}


def _session_with(source: Source, tensors: Iterable[str]) -> Any:
    """Open the graph with these tensors as outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(source.model)
    present = {output.name for output in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1  # Sums, and so the ranges, repeat to the last bit.
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as scratch:  # From a file: a message of bytes ends at 2 GiB.
        path = Path(scratch) / "model.onnx"
        save_graph(shown, path)
        return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

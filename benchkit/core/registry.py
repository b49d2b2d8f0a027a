"""Tables of plug-ins: a name, and where its code is. A plug-in's module is imported when first asked for.

Third parties add to a table by an entry point of the group `benchkit.<table>`.
"""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from benchkit.core.errors import EnvironmentLacks, unknown_name


class Registry:
    """Names of plug-ins of one kind."""

    def __init__(
        self, kind: str, targets: Mapping[str, str], *, extra: str = "train", extras: Mapping[str, str] | None = None
    ) -> None:
        """Make a table.

        Args:
            kind: What one row is, for messages ("runtime").
            targets: "module:attribute" by name.
            extra: The extra of benchkit that brings what the rows import.
            extras: The extra by name, for rows that differ.
        """
        self._kind = kind
        self._targets = dict(targets)
        self._extra = extra
        self._extras = dict(extras or {})

    def names(self) -> tuple[str, ...]:
        """Return every known name, built-in ones first."""
        return tuple(self._targets) + tuple(name for name in self._foreign() if name not in self._targets)

    def get(self, name: str) -> Any:
        """Return the plug-in of that name, importing its module.

        Raises:
            BenchkitError: No such name; the remedy gives the nearest one.
            EnvironmentLacks: The plug-in needs a package that is not installed.
        """
        target = self._targets.get(name) or self._foreign().get(name)
        if target is None:
            raise unknown_name(self._kind, name, self.names())
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "benchkit":
                raise
            raise EnvironmentLacks(
                f"{self._kind} '{name}' needs the package '{error.name}', which is not installed",
                remedy=f"pip install 'benchkit[{self._extras.get(name, self._extra)}]'",
            ) from error

    def _foreign(self) -> dict[str, str]:
        group = f"benchkit.{self._kind.replace(' ', '_')}s"
        return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=group)}


RUNTIMES = Registry(
    "runtime",
    {
        "onnxruntime": "benchkit.runtimes.onnxruntime:OnnxRuntime",
        "openvino": "benchkit.runtimes.openvino:OpenVinoRuntime",
        "torch": "benchkit.runtimes.torch_session:TorchRuntime",
    },
    extras={"onnxruntime": "cpu", "openvino": "openvino"},
)

EXPORTERS = Registry(
    "exporter",
    {
        "torch": "benchkit.export.onnx_from_checkpoint:export_checkpoint",
        "optimum": "benchkit.export.onnx_by_optimum:export_by_optimum",
    },
    extras={"optimum": "optimum"},
)

QUANTIZERS = Registry(
    "quantizer",
    {
        "fp32-fused": "benchkit.export.fused:fuse",
        "dynamic-int8": "benchkit.quantize.dynamic:quantize_dynamic_int8",
        "static-int8": "benchkit.quantize.static:quantize_static_int8",
        "mixed-int8": "benchkit.quantize.mixed:quantize_mixed_int8",
        "nncf-int8": "benchkit.quantize.nncf_int8:quantize_nncf_int8",
        "weight-int8": "benchkit.quantize.weights:quantize_weight_int8",
        "weight-int4": "benchkit.quantize.weights:quantize_weight_int4",
        "fp16": "benchkit.quantize.half:convert_to_fp16",
    },
    extras={"nncf-int8": "nncf"},
)

# One function a kind of step; `benchkit.pipeline` runs them by name, so that it imports no wing.
STEPS = Registry(
    "step",
    {
        "glue-data": "benchkit.train.hub_data:fetch_glue",
        "encoder": "benchkit.train.encoders:fetch_encoder",
        "toy-encoder": "benchkit.train.toy:make_toy_encoder",
        "pretrain": "benchkit.train.pretrain:pretrain_masked_lm",
        "train": "benchkit.train.finetune:finetune",
        "merge": "benchkit.merge.run:merge",
        "merge-file": "benchkit.merge.recipe_file:merge_from_file",
        "random-checkpoint": "benchkit.export.presets:random_checkpoint",
    },
)

"""OpenVINO on the CPU: the same .onnx file, compiled for this machine; often the faster of the two on x86.

Its own number formats (bf16, NNCF's int8) are left to `quantize`: here a graph runs in the precision it has.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openvino

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.runtimes.protocol import Array, Feed, Proof, SessionOptions


class OpenVinoRuntime:
    """OpenVINO's CPU plug-in."""

    name = "openvino"

    def open(self, model: Path, options: SessionOptions) -> "OpenVinoSession":
        """Compile a .onnx file; see `benchkit.runtimes.protocol.Runtime`."""
        if options.device != "cpu" or options.provider not in (None, "CPU"):
            raise EnvironmentLacks(
                f"runtime 'openvino' runs on the CPU, not on '{options.provider or options.device}'",
                remedy="say --device cpu, or choose --runtime onnxruntime",
            )
        if not model.is_file():
            raise BenchkitError(f"no model file at '{model}'", remedy="check the path")
        settings = {
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": 1,
            # Where the CPU has bfloat16, OpenVINO would use it unasked: an fp32 artifact is to run in fp32.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = openvino.Core().compile_model(str(model), "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BenchkitError(
                f"openvino cannot load '{model}': {reason[:300]}",
                remedy="export the model again, or choose --runtime onnxruntime",
            ) from error
        return OpenVinoSession(compiled)


class OpenVinoSession:
    """A compiled model with one request; see `benchkit.runtimes.protocol.Session`."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._inputs = {item.get_any_name(): item for item in compiled.inputs}
        names = [output.get_any_name() for output in compiled.outputs]
        self._output = names.index("logits") if "logits" in names else 0

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self._inputs)

    def prepare(self, feed: Feed) -> dict[str, Array]:
        """Bind a batch by name; see `benchkit.runtimes.protocol.Session.prepare`."""
        prepared: dict[str, Array] = {}
        for name, item in self._inputs.items():
            if name not in feed:
                raise BenchkitError(
                    f"the model asks for input '{name}', and the batch has {', '.join(feed)}",
                    remedy="export again with the inputs of a text encoder: input_ids, attention_mask, token_type_ids",
                )
            array = np.ascontiguousarray(feed[name], dtype=item.get_element_type().to_dtype())
            if not item.get_partial_shape().compatible(openvino.PartialShape(list(array.shape))):
                raise BenchkitError(
                    f"input '{name}' has the fixed shape {item.get_partial_shape()}, and the batch is {array.shape}",
                    remedy="ask for that shape (--batch-size, --sequence-length), or export with dynamic axes",
                )
            prepared[name] = array
        return prepared

    def call(self, prepared: dict[str, Array]) -> Array:
        """Run one prepared batch and return its first output."""
        self._request.infer(prepared, share_inputs=True)
        # A copy: the request writes the next answer into the same memory.
        return np.array(self._request.get_output_tensor(self._output).data)

    def proof(self) -> Proof:
        """Say what really runs: the plug-in's own word."""
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        return Proof(provider=",".join(devices), version=str(openvino.__version__))

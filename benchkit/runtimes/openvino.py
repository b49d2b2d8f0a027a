"""OpenVINO on the CPU: the same .onnx file, compiled for this machine; often the faster of the two on x86.

Its own number formats (bf16, NNCF's int8) are left to `quantize`: here a graph runs in the precision it has, or in fp32
where OpenVINO takes its quantization apart, as it does with operators of onnxruntime's dynamic int8. The trace tells.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.runtimes.protocol import Array, Feed, Proof, SessionOptions

# What the plug-in is asked back after compiling. The thread pool is oneTBB's, whose workers sleep by themselves.
_TOLD = (
    "INFERENCE_NUM_THREADS",
    "NUM_STREAMS",
    "INFERENCE_PRECISION_HINT",
    "PERFORMANCE_HINT",
    "EXECUTION_MODE_HINT",
    "ENABLE_CPU_PINNING",
    "ENABLE_HYPER_THREADING",
    "SCHEDULING_CORE_TYPE",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "RUNTIME_REQUIREMENTS",
)


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
        if not options.spinning:
            raise BenchkitError(
                "runtime 'openvino' has no switch for spinning: the workers of its thread pool sleep by themselves",
                remedy="leave that setting out, or choose --runtime onnxruntime",
            )
        if not model.is_file():
            raise BenchkitError(f"no model file at '{model}'", remedy="check the path")
        settings = {
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": 1,
            # Where the CPU has bfloat16, OpenVINO would use it unasked: an fp32 artifact is to run in fp32.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": bool(options.trace),
        }
        try:
            compiled = openvino.Core().compile_model(str(model), "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BenchkitError(
                f"openvino cannot load '{model}': {reason[:300]}",
                remedy="export the model again, or choose --runtime onnxruntime",
            ) from error
        return TracedSession(compiled, Path(f"{options.trace}.json")) if options.trace else OpenVinoSession(compiled)


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
        known = self._compiled.get_property("SUPPORTED_PROPERTIES")
        settings = {name.lower(): _as_text(self._compiled.get_property(name)) for name in _TOLD if name in known}
        return Proof(provider=",".join(devices), version=str(openvino.__version__), settings=settings)

    def close(self) -> Path | None:
        """Give the model back."""
        del self._request, self._compiled
        return None


class TracedSession(OpenVinoSession):
    """A session that keeps the plug-in's counters of every call and writes them as a Chrome trace.

    The counters are durations without a time of day, so the trace lays the operators of a call end to end. Operators
    that were fused into others did not run, and are left out.
    """

    def __init__(self, compiled: Any, file: Path) -> None:
        super().__init__(compiled)
        self._file = file
        self._calls: list[list[Any]] = []

    def call(self, prepared: dict[str, Array]) -> Array:
        """Run one prepared batch and keep its counters."""
        answer = super().call(prepared)
        self._calls.append([node for node in self._request.profiling_info if node.status.name == "EXECUTED"])
        return answer

    def close(self) -> Path | None:
        """Write the trace and give the model back."""
        provider = self.proof().provider
        events: list[dict[str, Any]] = []
        now_us = 0.0
        for nodes in self._calls:
            begin_us = now_us
            for node in nodes:
                duration_us = node.real_time.total_seconds() * 1e6
                told = {"op_name": node.node_type, "kernel": node.exec_type, "provider": provider}
                events.append(_event("Node", node.node_name, now_us, duration_us) | {"args": told})
                now_us += duration_us
            events.append(_event("Session", "model_run", begin_us, now_us - begin_us))
        self._file.write_text(json.dumps(events), encoding="utf-8")
        super().close()
        return self._file


def _event(category: str, name: str, begin_us: float, duration_us: float) -> dict[str, Any]:
    return {"cat": category, "name": name, "ph": "X", "pid": 1, "tid": 1, "ts": begin_us, "dur": duration_us}


def _as_text(value: Any) -> str:
    """Return a property as text: number formats and choices are objects of OpenVINO's own."""
    if hasattr(value, "get_type_name"):
        return str(value.get_type_name())
    return str(getattr(value, "name", value))

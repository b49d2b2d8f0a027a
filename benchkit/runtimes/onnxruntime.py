"""The default runtime: one InferenceSession, bound by name, with the provider proved instead of assumed."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from benchkit.core.errors import BenchkitError, EnvironmentLacks, unknown_name
from benchkit.runtimes.protocol import Array, Feed, Proof, SessionOptions

PROVIDER_BY_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(bool)": np.bool_}
# onnxruntime's exceptions share no base class but Exception itself.
_LOAD_ERRORS = (
    states.EPFail,
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
    RuntimeError,
    ValueError,
)
_EXTERNAL_DATA = re.compile(r"external|escapes|outside", re.IGNORECASE)
_REMEDY_CORRUPT = "download or export the model again"


class OnnxRuntime:
    """onnxruntime on the CPU or a CUDA device."""

    name = "onnxruntime"

    def open(self, model: Path, options: SessionOptions) -> "OnnxRuntimeSession":
        """Load a .onnx file; see `benchkit.runtimes.protocol.Runtime`."""
        provider = _checked_provider(options)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = options.inter_op_threads
        settings.log_severity_level = 3  # Errors only: warnings of the graph optimizer are no news to a user.
        try:
            session = onnxruntime.InferenceSession(str(model), settings, providers=[provider])
        except _LOAD_ERRORS as error:
            raise _explained(model, error) from error
        session.disable_fallback()
        proved = session.get_providers()[0]
        if proved != provider:
            raise EnvironmentLacks(
                f"asked for {provider}, and the session runs on {proved}",
                remedy=f"install the package that brings {provider}, or say --device cpu",
            )
        return OnnxRuntimeSession(session, provider)


class OnnxRuntimeSession:
    """An open onnxruntime session; see `benchkit.runtimes.protocol.Session`."""

    def __init__(self, session: Any, provider: str) -> None:
        self._provider = provider
        self._inputs = session.get_inputs()
        self._shapes = {item.name: item.shape for item in self._inputs}
        self._types = {item.name: _DTYPES.get(item.type) for item in self._inputs}
        outputs = [item.name for item in session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]
        # A partial, so that a timed call costs what a bare session.run costs.
        self._run = functools.partial(session.run, [self._output])

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(item.name for item in self._inputs)

    def prepare(self, feed: Feed) -> dict[str, Array]:
        """Bind a batch by name; see `benchkit.runtimes.protocol.Session.prepare`."""
        prepared: dict[str, Array] = {}
        for name in self.input_names:
            if name not in feed:
                raise BenchkitError(
                    f"the model asks for input '{name}', and the batch has {', '.join(feed)}",
                    remedy="export again with the inputs of a text encoder: input_ids, attention_mask, token_type_ids",
                )
            dtype = self._types[name]
            if dtype is None:
                raise BenchkitError(
                    f"input '{name}' has a type that no token ids fit", remedy="export again with int64 inputs"
                )
            array: Array = np.ascontiguousarray(feed[name], dtype=dtype)
            self._check_shape(name, array)
            prepared[name] = array
        return prepared

    def call(self, prepared: dict[str, Array]) -> Array:
        """Run one prepared batch and return its first output."""
        return self._run(prepared)[0]  # type: ignore[no-any-return]

    def proof(self) -> Proof:
        """Say what really runs."""
        return Proof(provider=self._provider, version=onnxruntime.__version__)

    def _check_shape(self, name: str, array: Array) -> None:
        wanted = self._shapes[name]
        fits = len(wanted) == array.ndim and all(
            not isinstance(size, int) or size == given for size, given in zip(wanted, array.shape, strict=True)
        )
        if not fits:
            fixed = " x ".join(str(size) for size in wanted)
            raise BenchkitError(
                f"input '{name}' has the fixed shape {fixed}, and the batch is {' x '.join(map(str, array.shape))}",
                remedy="ask for the model's own shape (--batch-size, --sequence-length), or export with dynamic axes",
            )


def _checked_provider(options: SessionOptions) -> str:
    if options.device not in PROVIDER_BY_DEVICE:
        raise unknown_name("device", options.device, PROVIDER_BY_DEVICE)
    own = PROVIDER_BY_DEVICE[options.device]
    provider = options.provider or own
    available = onnxruntime.get_available_providers()
    if provider not in onnxruntime.get_all_providers():
        raise unknown_name("provider", provider, onnxruntime.get_all_providers())
    if provider != own:
        # Any other provider falls back to the CPU node by node, and a label would hide it.
        raise BenchkitError(
            f"provider '{provider}' is not what device '{options.device}' runs on here, which is {own}",
            remedy=f"leave --provider out, or say --device for one of {', '.join(PROVIDER_BY_DEVICE.values())}",
        )
    if provider in available:
        return provider
    raise EnvironmentLacks(
        f"asked for {provider}, and this onnxruntime has {', '.join(available)}",
        remedy="pip install 'benchkit[gpu]' in place of the CPU build, or say --device cpu",
    )


def _explained(model: Path, error: Exception) -> BenchkitError:
    message = " ".join(str(error).split())
    short = message if len(message) < 300 else message[:297] + "..."
    if not model.is_file():
        return BenchkitError(f"no model file at '{model}'", remedy="check the path")
    if _EXTERNAL_DATA.search(message):
        return BenchkitError(
            f"'{model}' has external data that cannot be used: {short}",
            remedy="put the data file into the model's own folder; data outside of it is refused",
        )
    return BenchkitError(f"onnxruntime cannot load '{model}': {short}", remedy=_REMEDY_CORRUPT)

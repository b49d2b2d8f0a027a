"""The default runtime: one InferenceSession, bound by name, with the provider proved instead of assumed.

On a CUDA device the copies from and to the host are a named choice (`SessionOptions.transfers`):

* inside the call: plain `session.run`, which copies the inputs to the device, runs, copies the outputs back and so ends
  when the device has. No binding here: binding an input of the host copies it at once (`IOBinding::BindInput` calls
  `CopyOneInputAcrossDevices`, onnxruntime/core/session/IOBinding.cc), so the copy would fall out of the call.
* outside: inputs are bound on the device by `prepare`, the output stays there, and `call` returns a handle.
  By default a run ends with a synchronisation of the provider's stream (run option
  `disable_synchronize_execution_providers`, "0" by default, onnxruntime_run_options_config_keys.h).
"""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed, unknown_name
from benchkit.runtimes.device_answer import DeviceAnswer
from benchkit.runtimes.protocol import Array, Feed, Proof, SessionOptions

PROVIDER_BY_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

# `session.disable_cpu_ep_fallback` stays off. It refuses a model as soon as one node of its main graph is assigned to
# the CPU (inference_session.cc, microsoft/onnxruntime#16016), and onnxruntime puts the integer arithmetic on shapes
# there on purpose (GetCpuPreferredNodes, #17930), which every encoder with dynamic axes has. What ran where is proved
# by a profiled run instead: `benchkit.bench.traces.trace`.
_PROVIDER_OPTIONS: dict[str, dict[str, str]] = {
    # On by default, TF32 rounds the factors of fp32 products to 10 bits: an fp32 artifact is to run in fp32.
    # https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#use_tf32
    "CUDAExecutionProvider": {"device_id": "0", "use_tf32": "0"},
}
_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")
_DEVICE_ID = 0

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
        providers = [(provider, _PROVIDER_OPTIONS.get(provider, {}))]
        try:
            session = onnxruntime.InferenceSession(str(model), _settings(options), providers=providers)
        except _LOAD_ERRORS as error:
            raise _explained(model, error) from error
        session.disable_fallback()
        proved = session.get_providers()[0]
        if proved != provider:
            raise EnvironmentLacks(
                f"asked for {provider}, and the session runs on {proved}",
                remedy=f"install the package that brings {provider} and the libraries it needs, or say --device cpu",
            )
        kind = OnnxRuntimeSession if options.device == "cpu" or options.transfers else OnDeviceSession
        return kind(session, provider, options)


class OnnxRuntimeSession:
    """An open onnxruntime session; see `benchkit.runtimes.protocol.Session`."""

    def __init__(self, session: Any, provider: str, options: SessionOptions) -> None:
        self._session = session
        self._provider = provider
        self._options = options
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

    def prepare(self, feed: Feed) -> Any:
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

    def call(self, prepared: Any) -> Array:
        """Run one prepared batch and return its first output."""
        return self._run(prepared)[0]  # type: ignore[no-any-return]

    def proof(self) -> Proof:
        """Say what really runs, asked of the open session."""
        held = self._session.get_session_options()
        settings = {
            "intra_op_threads": str(held.intra_op_num_threads),
            "inter_op_threads": str(held.inter_op_num_threads),
            "graph_optimization_level": held.graph_optimization_level.name,
            "execution_mode": held.execution_mode.name,
            "providers": ",".join(self._session.get_providers()),
        } | {name.removeprefix("session."): held.get_session_config_entry(name) for name in _SPINNING}
        if self._options.device != "cpu":
            told = self._session.get_provider_options().get(self._provider, {})
            settings |= {name: told[name] for name in _PROVIDER_OPTIONS[self._provider] if name in told}
            settings["transfers"] = "inside" if self._options.transfers else "outside"
        return Proof(provider=self._provider, version=onnxruntime.__version__, settings=settings)

    def close(self) -> Path | None:
        """Give the session back; return the profile where one was asked for."""
        profile = Path(self._session.end_profiling()) if self._options.trace else None
        del self._session, self._run
        if profile is not None and not profile.is_file():
            raise MeasurementFailed(
                f"onnxruntime wrote no profile to '{profile}'", remedy="choose a folder that exists and can be written"
            )
        return profile

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


class OnDeviceSession(OnnxRuntimeSession):
    """A session whose inputs and output stay on the device, so that no copy is inside the call."""

    def prepare(self, feed: Feed) -> Any:
        """Bind a batch by name and bring it to the device."""
        binding = self._session.io_binding()
        for name, array in super().prepare(feed).items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, self._options.device, _DEVICE_ID)
            binding.bind_ortvalue_input(name, value)
        # Without a buffer of ours: the output's shape is known only once the batch has run.
        binding.bind_output(self._output, self._options.device, _DEVICE_ID)
        binding.synchronize_inputs()
        return binding

    def call(self, prepared: Any) -> Array:
        """Run one prepared batch until the device has finished; the answer is a handle for `numpy.asarray`."""
        self._session.run_with_iobinding(prepared)
        # The run has synchronised its stream already; this says so for providers that write on another one.
        prepared.synchronize_outputs()
        return DeviceAnswer(functools.partial(_first_output, prepared))  # type: ignore[return-value]


def _first_output(binding: Any) -> Array:
    array: Array = binding.copy_outputs_to_cpu()[0]
    return array


def _settings(options: SessionOptions) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = options.inter_op_threads
    settings.log_severity_level = 3  # Errors only: warnings of the graph optimizer are no news to a user.
    for name in _SPINNING:
        settings.add_session_config_entry(name, "1" if options.spinning else "0")
    if not options.prepacking:
        settings.add_session_config_entry("session.disable_prepacking", "1")
    if options.trace:
        settings.enable_profiling = True
        settings.profile_file_prefix = options.trace
    return settings


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

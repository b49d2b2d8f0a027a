"""torch, eager and fp32: loading of checkpoint folders, for export too, and the baseline runtime.

Nothing is fetched from a hub and no code of a checkpoint is run. ONNX files are left to the other runtimes.

On a CUDA device the copies from and to the host are inside the call or outside of it, as `SessionOptions.transfers`
says; either way a call ends when the device has finished (`torch.cuda.synchronize`), since kernels are only queued:
https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
"""

import contextlib
import dataclasses
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import safetensors
import torch
import transformers

from benchkit.core.architectures import ROBERTA_LIKE, position_limit
from benchkit.core.artifacts import check_safetensors
from benchkit.core.errors import BenchkitError, EnvironmentLacks, unknown_name
from benchkit.core.json_files import read_json
from benchkit.runtimes.device_answer import DeviceAnswer
from benchkit.runtimes.protocol import DEVICES, Array, Feed, Proof, SessionOptions

PROVIDER = "torch-eager"

_IDS = ("input_ids", "attention_mask")
# Inputs by `model_type`. RoBERTa has segment embeddings, but a single row of them, and its tokenizer gives none.
INPUTS_BY_FAMILY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bert": (*_IDS, "token_type_ids"),
        "distilbert": _IDS,
        "electra": (*_IDS, "token_type_ids"),
        **dict.fromkeys(ROBERTA_LIKE, _IDS),
    }
)
_CLASSIFIER = "ForSequenceClassification"
# Heads of pre-training are dropped: what is left is the encoder, as `AutoModel` reads it.
_HEADLESS = ("Model", "ForMaskedLM", "ForPreTraining")
_REMEDY_WEIGHTS = "restore or make the checkpoint again: config.json and weights must be of one model"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCheckpoint:
    """A checkpoint in memory, in fp32 and evaluation mode.

    Attributes:
        model: The transformers model.
        architecture: Its class name, such as BertForSequenceClassification.
        input_names: What it takes, in the order of an exported graph.
        output_name: "logits", or "last_hidden_state" of an encoder without head.
        max_positions: Longest input in tokens.
        warnings: What a user should know about the loading.
    """

    model: Any
    architecture: str
    input_names: tuple[str, ...]
    output_name: str
    max_positions: int
    warnings: tuple[str, ...] = ()

    def __call__(self, feed: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Run a batch of int64 tensors of shape (batch, sequence); return its logits or hidden states."""
        output: torch.Tensor = self.model(**feed, return_dict=True)[self.output_name]
        return output


def load_checkpoint(weights: Path, *, attention: str = "sdpa", allow_pickle: bool = False) -> LoadedCheckpoint:
    """Load the checkpoint whose weights lie in `weights`, with config.json beside it.

    Args:
        weights: A .safetensors file, or with `allow_pickle` a pickled state (.bin).
        attention: transformers' name of the attention implementation: "sdpa" or "eager".
        allow_pickle: Read pickled weights too; only tensors are unpickled (`weights_only`).

    Raises:
        BenchkitError: Files missing, damaged, pickled without leave, or of an unsupported architecture.
    """
    config = _config(weights.parent)
    architecture = _architecture(weights.parent, config)
    is_classifier = architecture.endswith(_CLASSIFIER)
    state = _state(weights, allow_pickle=allow_pickle)
    try:
        with quiet_transformers():
            model_class = _model_class(config, is_classifier=is_classifier)
            model, report = model_class.from_pretrained(
                weights.parent if state is None else None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                attn_implementation=attention,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise BenchkitError(f"cannot load '{weights}': {_first_lines(error)}", remedy=_REMEDY_WEIGHTS) from error
    warnings = _checked(weights, architecture, report)
    return LoadedCheckpoint(
        model=model.eval(),
        architecture=type(model).__name__,
        input_names=INPUTS_BY_FAMILY[config.model_type],
        output_name="logits" if is_classifier else "last_hidden_state",
        max_positions=position_limit(config.to_dict()) or 0,
        warnings=warnings,
    )


class TorchRuntime:
    """Eager torch in fp32 on a checkpoint folder: what a model costs before it is exported."""

    name = "torch"

    def open(self, model: Path, options: SessionOptions) -> "TorchSession":
        """Load a checkpoint by its model.safetensors; see `benchkit.runtimes.protocol.Runtime`."""
        if model.suffix == ".onnx":
            raise BenchkitError(
                f"the torch runtime runs checkpoints, and '{model}' is an ONNX file",
                remedy="give the checkpoint's folder, or say --runtime onnxruntime",
            )
        _check_device(options)
        _set_threads(options)
        checkpoint, device = load_checkpoint(model), torch.device(options.device)
        if options.trace:
            return TracedSession(checkpoint, device, transfers=options.transfers, file=Path(f"{options.trace}.json"))
        return TorchSession(checkpoint, device, transfers=options.transfers)


class TorchSession:
    """An open checkpoint; see `benchkit.runtimes.protocol.Session`."""

    def __init__(self, checkpoint: LoadedCheckpoint, device: torch.device, *, transfers: bool = True) -> None:
        checkpoint.model.to(device)
        self._checkpoint = checkpoint
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._transfers = transfers
        self._vocabulary_size = int(checkpoint.model.config.vocab_size)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._checkpoint.input_names

    def prepare(self, feed: Feed) -> dict[str, torch.Tensor]:
        """Bind a batch by name, on the device already unless `call` is to copy it there."""
        missing = [name for name in self.input_names if name not in feed]
        if missing:
            raise BenchkitError(
                f"the model asks for input '{missing[0]}', and the batch has {', '.join(feed)}",
                remedy="give the inputs of a text encoder: input_ids, attention_mask, token_type_ids",
            )
        self._check_ids(feed["input_ids"])
        arrays = {name: np.ascontiguousarray(feed[name], dtype=np.int64) for name in self.input_names}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return tensors if self._transfers else {name: tensor.to(self._device) for name, tensor in tensors.items()}

    def call(self, prepared: dict[str, torch.Tensor]) -> Array:
        """Run one prepared batch until the device has finished; return its logits, or its last hidden state."""
        with torch.inference_mode():
            if not self._is_cuda:
                return self._checkpoint(prepared).numpy()
            if self._transfers:
                output = self._checkpoint({name: tensor.to(self._device) for name, tensor in prepared.items()}).cpu()
            else:
                output = self._checkpoint(prepared)
        torch.cuda.synchronize(self._device)
        if self._transfers:
            return output.numpy()
        return DeviceAnswer(lambda: output.cpu().numpy())  # type: ignore[return-value]

    def proof(self) -> Proof:
        """Say what really runs, asked of the weights themselves."""
        device = next(self._checkpoint.model.parameters()).device.type
        if device != self._device.type:
            raise EnvironmentLacks(
                f"asked for {self._device.type}, and the weights lie on {device}", remedy="say --device cpu"
            )
        settings = {
            "num_threads": str(torch.get_num_threads()),
            "num_interop_threads": str(torch.get_num_interop_threads()),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "mkldnn": str(torch.backends.mkldnn.is_available()),  # type: ignore[no-untyped-call]
            "attention": str(self._checkpoint.model.config._attn_implementation),
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
        }
        if self._is_cuda:
            settings["device_name"] = torch.cuda.get_device_name(self._device)
            settings["transfers"] = "inside" if self._transfers else "outside"
        return Proof(provider=PROVIDER, version=torch.__version__, settings=settings)

    def device_memory_bytes(self) -> dict[str, int]:
        """Return the peaks of torch's own allocator on the device, {} on the CPU; NVML sees the context beside it."""
        if not self._is_cuda:
            return {}
        return {
            "allocated_peak_bytes": torch.cuda.max_memory_allocated(self._device),
            "reserved_peak_bytes": torch.cuda.max_memory_reserved(self._device),
        }

    def close(self) -> Path | None:
        """Give the model back."""
        del self._checkpoint
        return None

    def _check_ids(self, input_ids: Array) -> None:
        if input_ids.shape[-1] > self._checkpoint.max_positions:
            limit = self._checkpoint.max_positions
            raise BenchkitError(
                f"a batch of {input_ids.shape[-1]} tokens, and the model has {limit} positions",
                remedy=f"ask for a --sequence-length of at most {limit}",
            )
        if input_ids.size and input_ids.max() >= self._vocabulary_size:
            raise BenchkitError(
                f"token id {input_ids.max()}, and the model has {self._vocabulary_size} rows of word embeddings",
                remedy="use the tokenizer that belongs to the model",
            )


class TracedSession(TorchSession):
    """A session under torch.profiler, whose Chrome trace is written by `close`. Each call is marked as a model_run."""

    def __init__(
        self, checkpoint: LoadedCheckpoint, device: torch.device, *, transfers: bool = True, file: Path
    ) -> None:
        super().__init__(checkpoint, device, transfers=transfers)
        self._file = file
        kinds = torch.profiler.ProfilerActivity
        activities = [kinds.CPU, kinds.CUDA] if self._is_cuda else [kinds.CPU]
        # Shapes: with them come the number formats of the inputs.
        self._profiler = torch.profiler.profile(activities=activities, record_shapes=True)
        self._profiler.start()

    def call(self, prepared: dict[str, torch.Tensor]) -> Array:
        """Run one prepared batch under the profiler."""
        with torch.profiler.record_function("model_run"):
            return super().call(prepared)

    def close(self) -> Path | None:
        """Write the trace and give the model back."""
        self._profiler.stop()
        self._profiler.export_chrome_trace(str(self._file))
        super().close()
        return self._file


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' reports and progress bars off the terminal, and set them back after."""
    logs: Any = transformers.utils.logging  # Untyped in transformers.
    verbosity, had_bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if had_bars:
            logs.enable_progress_bar()


def _config(folder: Path) -> Any:
    path = folder / "config.json"
    values = read_json(path)
    family = values.get("model_type")
    if family not in INPUTS_BY_FAMILY:
        names = ", ".join(values.get("architectures") or ()) or "no architecture named"
        raise BenchkitError(
            f"'{path}': model type '{family}' ({names}) is not supported",
            remedy=f"supported: {', '.join(INPUTS_BY_FAMILY)}, each for sequence classification or as an encoder",
        )
    if values.get("is_decoder"):
        raise BenchkitError(
            f"'{path}' describes a decoder (is_decoder = true), which sees the words before each word only",
            remedy="give an encoder: a model whose every word sees the whole text",
        )
    positions = values.get("position_embedding_type") or "absolute"
    if positions != "absolute":  # transformers 5 reads such weights as if they were absolute.
        raise BenchkitError(
            f"'{path}' has position_embedding_type '{positions}', and only absolute positions are computed here",
            remedy="give a model with absolute positions",
        )
    try:
        with quiet_transformers():
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchkitError(f"'{path}' is no usable config: {_first_lines(error)}", remedy=_REMEDY_WEIGHTS) from error


def _architecture(folder: Path, config: Any) -> str:
    """Return the class name of the config; an encoder's when the config names none."""
    name = str((config.architectures or [f"{config.model_type}Model"])[0])
    if not name.endswith((_CLASSIFIER, *_HEADLESS)):
        raise BenchkitError(
            f"'{folder}' is a {name}, which is neither a sequence classifier nor a plain encoder",
            remedy=f"give a *{_CLASSIFIER} checkpoint, or an encoder ({', '.join('*' + kind for kind in _HEADLESS)})",
        )
    return name


def _model_class(config: Any, *, is_classifier: bool) -> Any:
    """Return the concrete class: only that one takes a state without a folder, with old names of weights mended."""
    auto: Any = transformers.AutoModelForSequenceClassification if is_classifier else transformers.AutoModel
    with torch.device("meta"):
        return type(auto.from_config(config))


def _state(weights: Path, *, allow_pickle: bool) -> dict[str, torch.Tensor] | None:
    """Return the state of a pickled file, or None for safetensors, which transformers reads by itself."""
    if not weights.is_file():
        raise BenchkitError(f"no weights at '{weights}'", remedy="check the path")
    if weights.suffix == ".safetensors":
        check_safetensors(weights)
        return None
    if not allow_pickle:
        raise BenchkitError(
            f"'{weights}' is a pickle, and unpickling can run code",
            remedy="say --allow-pickle to read its tensors only (weights_only), or convert it to safetensors",
        )
    try:
        state: dict[str, torch.Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BenchkitError(
            f"'{weights}' holds more than tensors, or is damaged: {_first_lines(error)}",
            remedy="have its owner save it as safetensors; it is not loaded here",
        ) from error
    return state


def _checked(weights: Path, architecture: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse a model that is partly random; say which weights of the file go unused."""
    # The pooler of an encoder without head feeds nothing that is measured.
    headless = not architecture.endswith(_CLASSIFIER)
    missing = sorted(name for name in report["missing_keys"] if not (headless and name.startswith("pooler.")))
    if missing:
        raise BenchkitError(
            f"'{weights}' lacks {len(missing)} weights of a {architecture}, such as '{missing[0]}'",
            remedy="fine-tune it first (benchkit train), or correct 'architectures' in config.json",
        )
    unused = sorted(name for name in report["unexpected_keys"] if not name.endswith("position_ids"))
    return (f"{len(unused)} weights of the checkpoint are not used, such as '{unused[0]}'",) if unused else ()


def _check_device(options: SessionOptions) -> None:
    if options.device not in DEVICES:
        raise unknown_name("device", options.device, DEVICES)
    if options.provider not in (None, PROVIDER):
        raise unknown_name("provider", str(options.provider), (PROVIDER,))
    if options.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks(
            f"asked for cuda, and torch {torch.__version__} finds no CUDA device here",
            remedy="install a CUDA build of torch on a machine with a GPU, or say --device cpu",
        )


def _set_threads(options: SessionOptions) -> None:
    if not options.spinning and os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        # OpenMP reads it once, when torch is imported: too late from here.
        raise BenchkitError(
            "torch's idle threads spin unless OpenMP is told otherwise before it is loaded",
            remedy="set OMP_WAIT_POLICY=PASSIVE in the environment, as benchkit's own workers have it",
        )
    torch.set_num_threads(options.threads)
    if torch.get_num_interop_threads() != options.inter_op_threads:
        # torch fixes this number at its first parallel work; eager inference has none across operators,
        # so a process that is past that point measures the same.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(options.inter_op_threads)


def _first_lines(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return message if len(message) < 300 else message[:297] + "..."

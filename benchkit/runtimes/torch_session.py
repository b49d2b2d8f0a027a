"""torch, eager and fp32: the baseline runtime. ONNX files are left to the other runtimes, loading to `torch`.

On a CUDA device the copies from and to the host are inside the call or outside of it, as `SessionOptions.transfers`
says; either way a call ends when the device has finished (`torch.cuda.synchronize`), since kernels are only queued:
https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
"""

import contextlib
import os
from pathlib import Path

import numpy as np
import torch

from benchkit.core.errors import BenchkitError, EnvironmentLacks, unknown_name
from benchkit.runtimes.device_answer import DeviceAnswer
from benchkit.runtimes.protocol import DEVICES, Array, Feed, Proof, SessionOptions
from benchkit.runtimes.torch import LoadedCheckpoint, load_checkpoint

PROVIDER = "torch-eager"


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

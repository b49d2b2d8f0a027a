"""The CPU on real sessions; CUDA on a stand-in for the library, which notes what is asked of it and in which order."""

import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import benchkit.runtimes.onnxruntime as module
from benchkit.bench.inputs import make_batches
from benchkit.bench.workload import Workload
from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed
from benchkit.runtimes.device_answer import DeviceAnswer
from benchkit.runtimes.onnxruntime import OnnxRuntime
from benchkit.runtimes.protocol import SessionOptions

LOGITS = np.array([[1.5, -2.5]], dtype=np.float32)


@pytest.fixture
def feed() -> Any:
    return make_batches(Workload(batch_size=1, sequence_length=4, vocabulary_size=19))[0].feed


def test_the_proof_tells_what_the_session_holds(pico_onnx: Path) -> None:
    options = SessionOptions(threads=2, inter_op_threads=1, spinning=False)
    proof = OnnxRuntime().open(pico_onnx / "model.onnx", options).proof()
    assert proof.provider == "CPUExecutionProvider"
    assert proof.settings == {
        "intra_op_threads": "2",
        "inter_op_threads": "1",
        "graph_optimization_level": "ORT_ENABLE_ALL",
        "execution_mode": "ORT_SEQUENTIAL",
        "providers": "CPUExecutionProvider",
        "intra_op.allow_spinning": "0",
        "inter_op.allow_spinning": "0",
    }
    spinning = OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions()).proof().settings
    assert spinning["intra_op.allow_spinning"] == spinning["inter_op.allow_spinning"] == "1"


def test_a_trace_is_written_when_the_session_is_closed(pico_onnx: Path, feed: Any, tmp_path: Path) -> None:
    session = OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions(trace=str(tmp_path / "mine")))
    session.call(session.prepare(feed))
    file = session.close()
    assert file is not None
    assert file.name.startswith("mine")
    assert '"model_run"' in file.read_text()


def test_a_trace_that_cannot_be_written_is_said(pico_onnx: Path, feed: Any, tmp_path: Path) -> None:
    session = OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions(trace=str(tmp_path / "none" / "mine")))
    session.call(session.prepare(feed))
    with pytest.raises(MeasurementFailed, match="wrote no profile"):
        session.close()


def test_without_a_trace_nothing_is_kept(pico_onnx: Path) -> None:
    session = OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions())
    assert session.close() is None
    with pytest.raises(AttributeError):
        session.call({})


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_cuda_where_there_is_none(pico_onnx: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="asked for CUDAExecutionProvider, and this onnxruntime has "):
        OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions(device="cuda"))


def test_another_provider_than_the_devices_own_is_refused(pico_onnx: Path) -> None:
    with pytest.raises(BenchkitError, match="is not what device 'cpu' runs on"):
        OnnxRuntime().open(pico_onnx / "model.onnx", SessionOptions(provider="CUDAExecutionProvider"))


class FakeBinding:
    def __init__(self, events: list[Any]) -> None:
        self.events = events

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.events.append(("bind input", name, value))

    def bind_output(self, name: str, device: str, device_id: int) -> None:
        self.events.append(("bind output", name, device, device_id))

    def synchronize_inputs(self) -> None:
        self.events.append(("synchronize inputs",))

    def synchronize_outputs(self) -> None:
        self.events.append(("synchronize outputs",))

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        self.events.append(("copy to host",))
        return [LOGITS]


class FakeSession:
    """What InferenceSession shows of itself; the settings are held by the real SessionOptions."""

    def __init__(self, events: list[Any], model: str, options: Any, providers: Any, granted: list[str]) -> None:
        self.events, self.options, self.granted = events, options, granted
        events.append(("open", providers))

    def get_inputs(self) -> list[Any]:
        names = ("input_ids", "attention_mask")
        return [types.SimpleNamespace(name=name, shape=["batch", "length"], type="tensor(int64)") for name in names]

    def get_outputs(self) -> list[Any]:
        return [types.SimpleNamespace(name="logits")]

    def get_providers(self) -> list[str]:
        return self.granted

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {"CUDAExecutionProvider": {"device_id": "0", "use_tf32": "0", "do_copy_in_default_stream": "1"}}

    def get_session_options(self) -> Any:
        return self.options

    def disable_fallback(self) -> None:
        self.events.append(("disable fallback",))

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self.events)

    def run(self, outputs: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.events.append(("run", tuple(feed)))
        return [LOGITS]

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        self.events.append(("run bound",))


class FakeLibrary:
    """What the runtime uses of the module onnxruntime, with CUDA."""

    __version__ = "1.99.0"
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, granted: list[str]) -> None:
        self.events: list[Any] = []
        self.granted = granted
        events = self.events

        class OrtValue:
            @staticmethod
            def ortvalue_from_numpy(array: np.ndarray, device: str, device_id: int) -> str:
                events.append(("copy to device", array.dtype.name, array.shape, device, device_id))
                return "on device"

        self.OrtValue = OrtValue

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_all_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider", "ROCMExecutionProvider"]

    def InferenceSession(self, model: str, options: Any, providers: Any) -> FakeSession:
        return FakeSession(self.events, model, options, providers, self.granted)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    library = FakeLibrary(["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(module, "onnxruntime", library)
    return library


def kinds(events: list[Any]) -> list[str]:
    return [event[0] for event in events]


def test_cuda_with_the_copies_outside(cuda: FakeLibrary, feed: Any) -> None:
    session = OnnxRuntime().open(Path("model.onnx"), SessionOptions(device="cuda", transfers=False))
    cuda.events.clear()
    prepared = session.prepare(feed)
    assert kinds(cuda.events) == [
        "copy to device", "bind input", "copy to device", "bind input", "bind output", "synchronize inputs",
    ]  # fmt: skip
    assert cuda.events[0] == ("copy to device", "int64", (1, 4), "cuda", 0)
    assert cuda.events[1] == ("bind input", "input_ids", "on device")
    assert cuda.events[4] == ("bind output", "logits", "cuda", 0)
    cuda.events.clear()
    answer = session.call(prepared)
    assert kinds(cuda.events) == ["run bound", "synchronize outputs"], "no copy is inside the call"
    np.testing.assert_array_equal(np.asarray(answer, dtype=np.float32), LOGITS)
    assert kinds(cuda.events)[2:] == ["copy to host"]


def test_cuda_with_the_copies_inside(cuda: FakeLibrary, feed: Any) -> None:
    session = OnnxRuntime().open(Path("model.onnx"), SessionOptions(device="cuda"))
    cuda.events.clear()
    prepared = session.prepare(feed)
    assert cuda.events == [], "the inputs wait on the host"
    assert isinstance(session.call(prepared), np.ndarray)
    assert cuda.events == [("run", ("input_ids", "attention_mask"))]


@pytest.mark.parametrize(("transfers", "word"), [(True, "inside"), (False, "outside")])
def test_cuda_runs_in_fp32_and_says_where_the_copies_are(cuda: FakeLibrary, transfers: bool, word: str) -> None:
    session = OnnxRuntime().open(Path("model.onnx"), SessionOptions(device="cuda", transfers=transfers))
    assert cuda.events[0] == ("open", [("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"})])
    proof = session.proof()
    assert proof.provider == "CUDAExecutionProvider"
    assert proof.settings["providers"] == "CUDAExecutionProvider,CPUExecutionProvider"
    assert proof.settings["use_tf32"] == "0"
    assert proof.settings["transfers"] == word


@pytest.mark.parametrize("transfers", [True, False])
def test_a_session_that_fell_back_to_the_cpu_is_refused(cuda: FakeLibrary, transfers: bool) -> None:
    cuda.granted = ["CPUExecutionProvider"]
    with pytest.raises(EnvironmentLacks, match="asked for CUDAExecutionProvider, and the session runs on CPU"):
        OnnxRuntime().open(Path("model.onnx"), SessionOptions(device="cuda", transfers=transfers))


def test_an_answer_on_the_device_is_copied_when_it_is_looked_at() -> None:
    copies = []
    answer = DeviceAnswer(lambda: copies.append(1) or LOGITS)
    assert copies == []
    assert np.asarray(answer).dtype == np.float32
    assert np.asarray(answer, dtype=np.float64).dtype == np.float64
    assert len(copies) == 2

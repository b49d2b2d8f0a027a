import json
from pathlib import Path

import numpy as np
import pytest

from benchkit.bench.inputs import make_batches
from benchkit.bench.workload import Workload
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import SessionOptions

pytest.importorskip("openvino", reason="the extra openvino is not installed")


@pytest.fixture
def feeds() -> list:
    return [one.feed for one in make_batches(Workload(batch_size=3, sequence_length=9, vocabulary_size=19))]


def test_it_answers_what_onnxruntime_answers(pico_onnx: Path, feeds) -> None:
    answers = []
    for name in ("onnxruntime", "openvino"):
        session = RUNTIMES.get(name)().open(pico_onnx / "model.onnx", SessionOptions())
        answers.append([session.call(session.prepare(feed)) for feed in feeds])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_an_answer_is_not_overwritten_by_the_next(pico_onnx: Path, feeds) -> None:
    session = RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions())
    first = session.call(session.prepare(feeds[0]))
    kept = first.copy()
    session.call(session.prepare(feeds[1]))
    np.testing.assert_array_equal(first, kept)


def test_the_device_is_the_plugins_own_word(pico_onnx: Path) -> None:
    session = RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions(threads=1))
    assert session.proof().provider == "CPU"
    assert set(session.input_names) == {"input_ids", "attention_mask", "token_type_ids"}


def test_refusals(pico_onnx: Path, tmp_path: Path, feeds) -> None:
    runtime = RUNTIMES.get("openvino")()
    with pytest.raises(EnvironmentLacks, match="runs on the CPU, not on 'cuda'"):
        runtime.open(pico_onnx / "model.onnx", SessionOptions(device="cuda"))
    with pytest.raises(BenchkitError, match="no model file"):
        runtime.open(tmp_path / "none.onnx", SessionOptions())
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(BenchkitError, match="openvino cannot load"):
        runtime.open(tmp_path / "broken.onnx", SessionOptions())
    session = runtime.open(pico_onnx / "model.onnx", SessionOptions())
    with pytest.raises(BenchkitError, match="asks for input"):
        session.prepare({"input_ids": feeds[0]["input_ids"]})


def test_the_proof_tells_what_was_compiled(pico_onnx: Path) -> None:
    settings = RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions(threads=1)).proof().settings
    assert settings["inference_num_threads"] == "1"
    assert settings["num_streams"] == "1"
    assert settings["inference_precision_hint"] == "f32"
    assert settings["execution_mode_hint"] == "PERFORMANCE"


def test_what_it_cannot_choose_is_refused(pico_onnx: Path) -> None:
    with pytest.raises(BenchkitError, match="no switch for spinning"):
        RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions(spinning=False))


def test_a_trace_of_every_call(pico_onnx: Path, feeds, tmp_path: Path) -> None:
    plain = RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions())
    traced = RUNTIMES.get("openvino")().open(pico_onnx / "model.onnx", SessionOptions(trace=str(tmp_path / "mine")))
    for feed in feeds[:2]:
        np.testing.assert_array_equal(traced.call(traced.prepare(feed)), plain.call(plain.prepare(feed)))
    file = traced.close()
    assert file == tmp_path / "mine.json"
    events = json.loads(file.read_text())
    assert sum(event["name"] == "model_run" for event in events) == 2
    products = [event for event in events if event.get("args", {}).get("op_name") == "FullyConnected"]
    assert products
    assert all(event["args"]["kernel"].endswith("_f32") for event in products)
    assert plain.close() is None

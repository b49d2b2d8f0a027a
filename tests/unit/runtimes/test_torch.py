import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.runtimes.protocol import SessionOptions
from benchkit.runtimes.torch import load_checkpoint
from benchkit.runtimes.torch_session import TorchRuntime

FEED = {
    "input_ids": np.array([[2, 6, 8, 3], [2, 7, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.array([[0, 0, 0, 0], [0, 0, 0, 0]]),
}


def expected(folder: Path) -> np.ndarray:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**{name: torch.from_numpy(array) for name, array in FEED.items()}).logits.numpy()


def logits(weights: Path, **options: object) -> np.ndarray:
    session = TorchRuntime().open(weights, SessionOptions(**options))
    return session.call(session.prepare(FEED))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def copy(pico_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pico_checkpoint, tmp_path / "copy")


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_logits_are_those_of_transformers(pico_checkpoint: Path) -> None:
    got = logits(pico_checkpoint / "model.safetensors")
    assert got.shape == (2, 2)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected(pico_checkpoint), atol=1e-6)
    assert abs(got[0] - got[1]).max() > 1e-3, "the two examples must differ, or this test proves nothing"


def test_padding_does_not_matter(pico_checkpoint: Path) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions())
    short = {name: array[1:, :3] for name, array in FEED.items()}
    alone = session.call(session.prepare(short))
    np.testing.assert_allclose(alone[0], session.call(session.prepare(FEED))[1], atol=1e-6)


def test_proof_and_threads(pico_checkpoint: Path) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(threads=1))
    assert session.proof().provider == "torch-eager"
    assert session.proof().version == torch.__version__
    assert session.input_names == ("input_ids", "attention_mask", "token_type_ids")
    assert torch.get_num_threads() == 1


def test_half_precision_weights_run_in_fp32(copy: Path) -> None:
    weights = copy / "model.safetensors"
    state = {name: tensor.half() for name, tensor in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(state, weights, {"format": "pt"})
    change_config(copy, dtype="float16")
    assert logits(weights).dtype == np.float32


def test_old_names_of_layer_norms_load(copy: Path, pico_checkpoint: Path) -> None:
    weights = copy / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor + 0.25
        if "LayerNorm" in name
        else tensor
        for name, tensor in safetensors.torch.load_file(weights).items()
    }
    new = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in old.items()
    }
    safetensors.torch.save_file(new, weights, {"format": "pt"})
    wanted = expected(copy)
    safetensors.torch.save_file(old, weights, {"format": "pt"})
    np.testing.assert_allclose(logits(weights), wanted, atol=1e-6)
    assert abs(wanted - expected(pico_checkpoint)).max() > 1e-3


def test_encoder_without_head_gives_hidden_states(pico_checkpoint: Path, tmp_path: Path) -> None:
    transformers.AutoModel.from_pretrained(pico_checkpoint).save_pretrained(tmp_path)
    session = TorchRuntime().open(tmp_path / "model.safetensors", SessionOptions())
    assert session.call(session.prepare(FEED)).shape == (2, 4, 32)


def test_distilbert_takes_no_segments(tmp_path: Path) -> None:
    config = transformers.DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    transformers.DistilBertForSequenceClassification(config).save_pretrained(tmp_path)
    session = TorchRuntime().open(tmp_path / "model.safetensors", SessionOptions())
    assert session.input_names == ("input_ids", "attention_mask")
    assert session.call(session.prepare(FEED)).shape == (2, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_where_there_is_none(pico_checkpoint: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="asked for cuda"):
        TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(device="cuda"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A CUDA device that there is not: tensors stay where they are, and what is asked of the device is noted."""
    asked: list[str] = []
    really_to = torch.Tensor.to

    def to(tensor: torch.Tensor, *what: object, **named: object) -> torch.Tensor:
        if what[:1] != (torch.device("cuda"),):
            return really_to(tensor, *what, **named)
        asked.append("to cuda")
        return tensor

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        asked.append("to host")
        return tensor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append(f"synchronize {device}"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2000)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    return asked


def test_cuda_with_the_copies_inside(pico_checkpoint: Path, cuda: list[str]) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(device="cuda"))
    cuda.clear()
    prepared = session.prepare(FEED)
    assert cuda == [], "the inputs wait on the host"
    assert isinstance(session.call(prepared), np.ndarray)
    assert cuda[:3] == ["to cuda"] * 3
    assert cuda[-2:] == ["to host", "synchronize cuda"]


def test_cuda_with_the_copies_outside(pico_checkpoint: Path, cuda: list[str]) -> None:
    options = SessionOptions(device="cuda", transfers=False)
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", options)
    cuda.clear()
    prepared = session.prepare(FEED)
    assert cuda == ["to cuda"] * 3
    cuda.clear()
    answer = session.call(prepared)
    assert "to host" not in cuda
    assert cuda[-1] == "synchronize cuda"
    assert np.asarray(answer, dtype=np.float32).shape == (2, 2)
    assert cuda[-1] == "to host"


def test_weights_that_did_not_reach_the_device_are_no_proof(pico_checkpoint: Path, cuda: list[str]) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(device="cuda"))
    with pytest.raises(EnvironmentLacks, match="asked for cuda, and the weights lie on cpu"):
        session.proof()
    assert session.device_memory_bytes() == {"allocated_peak_bytes": 1000, "reserved_peak_bytes": 2000}


def test_the_proof_reads_the_threads_back(pico_checkpoint: Path) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(threads=2))
    assert session.proof().settings["num_threads"] == "2"
    torch.set_num_threads(1)
    assert session.proof().settings["num_threads"] == "1", "asked of torch, not of the options"
    assert session.proof().settings["float32_matmul_precision"] == "highest"
    assert session.device_memory_bytes() == {}


def test_spinning_is_openmps_choice(pico_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with pytest.raises(BenchkitError, match="idle threads spin") as caught:
        TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(spinning=False))
    assert "OMP_WAIT_POLICY=PASSIVE" in caught.value.remedy
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(spinning=False))
    assert session.proof().settings["omp_wait_policy"] == "PASSIVE"


def test_a_trace_is_written_when_the_session_is_closed(pico_checkpoint: Path, tmp_path: Path) -> None:
    options = SessionOptions(trace=str(tmp_path / "mine"))
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", options)
    prepared = session.prepare(FEED)
    np.testing.assert_allclose(session.call(prepared), expected(pico_checkpoint), atol=1e-6)
    file = session.close()
    assert file == tmp_path / "mine.json"
    names = [event["name"] for event in json.loads(file.read_text())["traceEvents"]]
    assert names.count("model_run") == 1
    assert "aten::addmm" in names


@pytest.mark.parametrize(
    ("options", "message"),
    [({"device": "tpu"}, "unknown device 'tpu'"), ({"provider": "CPUExecutionProvider"}, "unknown provider")],
)
def test_unknown_device_and_provider(pico_checkpoint: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(BenchkitError, match=message):
        TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions(**options))


def test_onnx_files_are_for_other_runtimes(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="is an ONNX file"):
        TorchRuntime().open(tmp_path / "model.onnx", SessionOptions())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_type_ids": None}, "asks for input 'token_type_ids'"),
        ({"input_ids": np.full((2, 4), 19 + 1_000)}, "rows of word embeddings"),
        ({"input_ids": np.ones((1, 65), dtype=np.int64)}, "65 tokens, and the model has 64 positions"),
    ],
)
def test_batches_that_do_not_fit(pico_checkpoint: Path, change: dict[str, object], message: str) -> None:
    session = TorchRuntime().open(pico_checkpoint / "model.safetensors", SessionOptions())
    feed = {name: array for name, array in (FEED | change).items() if array is not None}
    with pytest.raises(BenchkitError, match=message):
        session.prepare(feed)


def test_truncated_weights(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BenchkitError, match="is truncated"):
        load_checkpoint(weights)


def test_a_missing_head_is_not_made_up(copy: Path) -> None:
    weights = copy / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}
    safetensors.torch.save_file(state, weights, {"format": "pt"})
    with pytest.raises(BenchkitError, match=r"lacks 2 weights .* 'classifier.bias'"):
        load_checkpoint(weights)


def test_head_of_another_width(copy: Path) -> None:
    change_config(copy, id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    with pytest.raises(BenchkitError, match="cannot load"):
        load_checkpoint(copy / "model.safetensors")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, r"'gpt2' \(GPT2Model\) is not supported"),
        ({"architectures": ["BertForTokenClassification"]}, "is a BertForTokenClassification"),
    ],
)
def test_unsupported_architectures(copy: Path, values: dict[str, object], message: str) -> None:
    change_config(copy, **values)
    with pytest.raises(BenchkitError, match=message) as caught:
        load_checkpoint(copy / "model.safetensors")
    assert "sequence" in caught.value.remedy or "ForSequenceClassification" in caught.value.remedy


def as_pickle(folder: Path) -> Path:
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def test_pickles_are_refused_unless_asked_for(copy: Path) -> None:
    wanted = expected(copy)
    weights = as_pickle(copy)
    with pytest.raises(BenchkitError, match="is a pickle"):
        load_checkpoint(weights)
    with pytest.raises(BenchkitError, match="pickled weights only"):
        load_artifact(copy)
    artifact = load_artifact(copy, allow_pickle=True)
    assert artifact.model_file == weights
    assert artifact.size_bytes == weights.stat().st_size
    loaded = load_checkpoint(artifact.model_file, allow_pickle=True)
    with torch.inference_mode():
        got = loaded({name: torch.from_numpy(array) for name, array in FEED.items()}).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-6)


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_is_never_run(copy: Path, tmp_path: Path) -> None:
    weights = as_pickle(copy)
    trace = tmp_path / "was-run"
    weights.write_bytes(pickle.dumps(_Payload(trace), protocol=2))
    with pytest.raises(BenchkitError, match="holds more than tensors"):
        load_checkpoint(weights, allow_pickle=True)
    assert not trace.exists()


def test_loading_says_nothing(pico_checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers.utils.logging.get_verbosity()
    load_checkpoint(pico_checkpoint / "model.safetensors")
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == before

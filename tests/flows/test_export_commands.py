"""`benchkit export` from the command line, and what becomes of unusual checkpoints and graphs behind it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

QUICK = ("--sequence-length", "8", "--runs", "1", "-q")


@pytest.fixture
def encoder(pico_checkpoint: Path, tmp_path: Path) -> Path:
    """The pico checkpoint without its head, as hubs keep encoders."""
    import transformers

    folder = tmp_path / "encoder"
    shutil.copytree(pico_checkpoint, folder)
    transformers.AutoModel.from_pretrained(pico_checkpoint).save_pretrained(folder)
    return folder


def int32_model(path: Path) -> None:
    """A foreign graph that takes int32 ids and no segments, as converters for phones and GPUs write them."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["batch", "sequence"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT32, ["batch", "sequence"])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    table = numpy_helper.from_array(np.random.default_rng(0).random((2000, 2), np.float32), "table")
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("Gather", ["table", "kept"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axes"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "sum", [ids, mask], [output], [axes, table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_text_says_how_far_the_graph_is_from_the_checkpoint(command, pico_checkpoint: Path) -> None:
    ended = command("export", str(pico_checkpoint), "-o", "onnx", "-q")
    assert (ended.code, ended.err) == (0, "")
    path, facts = ended.out.splitlines()
    assert path == "onnx"
    parity = json.loads(Path("onnx/artifact.json").read_text())["notes"]["parity"]
    assert "opset 17" in facts
    assert f"logits at most {parity['max_difference']:.1e} off" in facts
    assert "on sentences and random token ids in 10 shapes" in facts
    assert f"a tolerance of {parity['passing_tolerance']:g} passes" in facts


def test_json_gives_the_facts(command, pico_checkpoint: Path) -> None:
    ended = command("export", str(pico_checkpoint), "-o", "onnx", "--opset", "18", "--fused", "-q", "--format", "json")
    facts = json.loads(ended.out)
    assert (facts["path"], facts["precision"], facts["opset"]) == ("onnx", "fp32-fused", 18)
    assert facts["fusions"]["Attention"] == 2
    assert facts["parity"]["output"] == "logits"
    assert facts["size_bytes"] == Path("onnx/model.onnx").stat().st_size
    manifest = json.loads(Path("onnx/artifact.json").read_text())
    assert (manifest["name"], manifest["candidate"]) == ("onnx", "pico-sst2")


def test_optimum_wants_its_own_environment(command, pico_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optimum", None)
    ended = command("export", str(pico_checkpoint), "-o", "onnx", "--exporter", "optimum", "-q")
    assert ended.code == 4
    assert "pip install 'benchkit[optimum]' in an environment of its own" in ended.err
    assert not Path("onnx").exists()


def test_an_exporter_that_is_none(command, pico_checkpoint: Path) -> None:
    ended = command("export", str(pico_checkpoint), "-o", "onnx", "--exporter", "tf2onnx", "-q")
    assert ended.code == 2
    assert "unknown exporter 'tf2onnx'" in ended.err


def test_a_decoder_is_refused(command, pico_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pico_checkpoint, tmp_path / "gpt")
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 19, "n_embd": 32}
    (folder / "config.json").write_text(json.dumps(config))
    for verb in (("export", "gpt", "-o", "onnx", "-q"), ("profile", "gpt", *QUICK)):
        ended = command(*verb)
        assert ended.code == 2
        assert "model type 'gpt2' (GPT2LMHeadModel) is not supported" in ended.err
        assert "roberta" in ended.err, "the remedy names what is"
    assert not Path("onnx").exists()


def test_an_encoder_without_head_profiles_and_says_why_it_has_no_score(command, encoder: Path, tiny_sst2: Path) -> None:
    ended = command("export", str(encoder), "-o", "onnx", "-q")
    assert "last_hidden_state" in ended.out
    assert "warning: no head for a task" in ended.out
    assert command("profile", "onnx", *QUICK).code == 0
    score = command("score", "onnx", "--task", "sst2", "--data", str(tiny_sst2), "-q")
    assert score.code == 2
    assert "hidden" in score.err
    assert "  fix: " in score.err


def test_int32_inputs_profile(command) -> None:
    int32_model(Path("int32.onnx"))
    assert command("profile", "int32.onnx", *QUICK, "--runtime", "onnxruntime,openvino").code == 0


def test_precision_fused_is_made_where_it_is_asked_for(pico_checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    from benchkit.bench.targets import resolve

    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))
    made = resolve(str(pico_checkpoint), runtime="onnxruntime", precision="fp32-fused")
    assert (made.manifest.precision, made.manifest.candidate) == ("fp32-fused", "pico-sst2")
    assert resolve(str(pico_checkpoint), runtime="onnxruntime", precision="fp32-fused").path == made.path

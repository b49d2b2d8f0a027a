"""Each gets one message (what, value, fix), the exit code of the contract, and nothing that was there is lost."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest


def broken(folder: Path, name: str, keep_bytes: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep_bytes])


@pytest.fixture
def onnx_folder(pico_onnx: Path, tmp_path: Path) -> Path:
    """A foreign copy of the pico artifact, free to be spoiled."""
    folder = tmp_path / "model"
    shutil.copytree(pico_onnx, folder)
    (folder / "artifact.json").unlink()
    return folder


@pytest.fixture
def checkpoint(pico_checkpoint: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    shutil.copytree(pico_checkpoint, folder)
    return folder


def says(ended, code: int, *parts: str) -> None:
    assert ended.code == code, ended.err
    lines = ended.err.strip().splitlines()
    # Talk may stand before; the problem and its fix are the last two lines.
    assert lines[-2].startswith("error: "), ended.err
    assert lines[-1].startswith("  fix: "), ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err


QUICK = ("--sequence-length", "8", "--runs", "1", "--quiet")


def test_a_missing_model(command) -> None:
    says(command("profile", "none.onnx", *QUICK), 2, "no artifact at 'none.onnx'")


def test_a_corrupt_onnx(command, onnx_folder: Path) -> None:
    broken(onnx_folder, "model.onnx", 500)
    says(command("profile", str(onnx_folder), *QUICK), 2, "cannot load", "model.onnx")


def test_an_artifact_that_was_changed(command, pico_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(pico_onnx, tmp_path / "model")
    broken(tmp_path / "model", "model.onnx", 500)
    says(command("profile", "model", *QUICK), 2, "is not the file that artifact.json describes")


def test_truncated_safetensors(command, checkpoint: Path) -> None:
    broken(checkpoint, "model.safetensors", 5000)
    says(command("export", str(checkpoint), "-o", "out", "-q"), 2, "model.safetensors", "truncated")
    assert not Path("out").exists()


def test_a_pickle_is_refused_unless_asked_for(command, checkpoint: Path) -> None:
    import safetensors.torch
    import torch

    state = safetensors.torch.load_file(checkpoint / "model.safetensors")
    torch.save(state, checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    says(command("export", str(checkpoint), "-o", "out", "-q"), 2, "pickled weights", "--allow-pickle")
    assert command("export", str(checkpoint), "-o", "out", "-q", "--allow-pickle").code == 0
    assert (Path("out") / "model.onnx").is_file()


def test_a_folder_without_tokenizer(command, onnx_folder: Path, tiny_sst2: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (onnx_folder / name).unlink(missing_ok=True)
    score = command("score", str(onnx_folder), "--task", "sst2", "--data", str(tiny_sst2), "-q")
    says(score, 2, "tokenizer")


def test_a_tokenizer_that_does_not_fit(command, onnx_folder: Path, tiny_sst2: Path) -> None:
    config = json.loads((onnx_folder / "config.json").read_text())
    (onnx_folder / "config.json").write_text(json.dumps(config | {"vocab_size": 10}))
    says(command("score", str(onnx_folder), "--task", "sst2", "--data", str(tiny_sst2), "-q"), 2, "10")


def test_a_wrong_number_of_labels(command, onnx_folder: Path, tiny_sst2: Path) -> None:
    config = json.loads((onnx_folder / "config.json").read_text())
    labels = {"0": "a", "1": "b", "2": "c"}
    (onnx_folder / "config.json").write_text(json.dumps(config | {"id2label": labels}))
    ended = command("score", str(onnx_folder), "--task", "sst2", "--data", str(tiny_sst2), "-q")
    says(ended, 2, "a, b, c", "negative, positive")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "dev.tsv:1"),
        ("sentence\tlabel\ngood\t1\nbad\n", "dev.tsv:3"),
        ("sentence\tlabel\ngood\t7\n", "dev.tsv:2"),
    ],
)
def test_malformed_data_names_file_and_line(command, pico_onnx: Path, tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "data" / "SST-2").mkdir(parents=True)
    (tmp_path / "data" / "SST-2" / "dev.tsv").write_text(text)
    says(command("score", str(pico_onnx), "--task", "sst2", "--data", "data", "-q"), 2, where)


def test_no_data_folder(command, pico_onnx: Path) -> None:
    says(command("score", str(pico_onnx), "--task", "sst2", "-q"), 2, "--data DIR")
    says(command("score", str(pico_onnx), "--task", "sst2", "--data", "nowhere", "-q"), 2, "nowhere")


def test_external_data_outside_the_folder(command, pico_onnx: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(pico_onnx / "model.onnx")
    folder = tmp_path / "escaping"
    folder.mkdir()
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    (folder / "weights.data").rename(tmp_path / "weights.data")
    spoiled = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in spoiled.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.data"
    (folder / "model.onnx").write_bytes(spoiled.SerializeToString())
    says(command("profile", str(folder), *QUICK), 2, "external data", "model's own folder")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("score", "MODEL", "--task", "sts2", "--data", "."), 2, "did you mean"),
        (("profile", "MODEL", "--runtime", "onxruntime"), 2, "did you mean 'onnxruntime'"),
        (("profile", "MODEL", "--device", "gpu"), 2, "unknown device 'gpu'"),
        (("profile", "MODEL", "--provider", "CUDAExecutionProvder", "--sequence-length", "8"), 2, "unknown provider"),
        (("profile", "MODEL", "--device", "cuda", "--sequence-length", "8"), 4, "asked for CUDAExecutionProvider"),
        (("profile", "MODEL", "--batch-size", "one"), 2, "--batch-size: 'one'"),
        (("profile", "MODEL", "--sequence-length", "4096"), 2, "64 positions"),
        (("quantize", "MODEL", "-o", "out", "--method", "int7"), 2, "unknown quantizer 'int7'"),
        (("profile", "arch:bert-bas"), 2, "did you mean 'bert-base'"),
        (("profil", "MODEL"), 2, "profile"),
        (("compare", "MODEL", "MODEL", "--batch-size", "1,8", "--sequence-length", "8"), 2, "one cell"),
        (("run", "none.toml"), 2, "no file at 'none.toml'"),
        (("report", "none.jsonl", "-o", "out"), 2, "no record file at 'none.jsonl'"),
    ],
)
def test_names_and_values(command, pico_onnx: Path, arguments: tuple[str, ...], code: int, part: str) -> None:
    says(command(*(str(pico_onnx) if word == "MODEL" else word for word in arguments)), code, part)


def test_a_read_only_output_folder(command, pico_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no permission stops: the refusal is injected where the folder is made."""

    def refused(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)
        ended = command("quantize", str(pico_onnx), "-o", "out", "-q")
    says(ended, 4, "cannot write to", "Permission denied")


def test_what_an_artifact_is_made_from_is_not_replaced(command, pico_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(pico_onnx, tmp_path / "model")
    says(command("quantize", "model", "-o", "model", "-q"), 2, "is what it is made from")
    (tmp_path / "precious.onnx").write_text("mine")
    says(command("quantize", "model", "-o", "precious.onnx", "-q"), 2, "is a file")
    assert (tmp_path / "precious.onnx").read_text() == "mine"
    assert (tmp_path / "model" / "model.onnx").read_bytes() == (pico_onnx / "model.onnx").read_bytes()


def test_a_provider_that_is_not_the_devices_own(command, pico_onnx: Path) -> None:
    arguments = ("--provider", "CPUExecutionProvider", "--device", "cuda")
    says(command("profile", str(pico_onnx), *QUICK, *arguments), 2, "is not what device 'cuda' runs on")


def test_overrides_and_budgets_that_make_no_sense(command, pico_onnx: Path, tmp_path: Path) -> None:
    demo = str(Path(__file__).resolve().parents[2] / "models" / "demo.toml")
    says(command("run", demo, "--dry-run", "--set", "sweep.batch_size=[1]"), 2, "is no table")
    says(command("run", demo, "--dry-run", "--set", "score.batch_size=0"), 2, "greater than 0")
    limit = 'quantity = "latency"\nstatistic = "p50"\nat_most_s = 1'
    (tmp_path / "b.toml").write_text(f'[[budget]]\nname = "b"\nwhere = {{ sequence_length = 1 }}\n{limit}\n')
    says(command("check", str(pico_onnx), "--budgets", "b.toml", "-q"), 2, "at least 2")
    says(command("profile", str(pico_onnx), *QUICK, "--output", str(tmp_path)), 2, "is a folder")


def test_a_budget_that_means_nothing_is_told_before_anything_is_measured(command, pico_onnx: Path, monkeypatch) -> None:
    where = 'where = {model = "large", sequence_length = 8}'
    Path("b.toml").write_text(
        f'[[budget]]\nname = "b"\nquantity = "latency"\nstatistic = "p50"\nat_most_s = 1\n{where}\n'
    )
    monkeypatch.setattr("benchkit.bench.sweep.run_in_child", lambda *_, **__: pytest.fail("measured"))
    ended = command("check", str(pico_onnx), "--budgets", "b.toml", "-q")
    says(ended, 2, "budget 'b' means none of the cells", "model = 'large', and there is only pico-sst2-fp32")


def test_a_folder_of_the_users_is_not_replaced(command, checkpoint: Path) -> None:
    precious = Path("thesis")
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    says(command("export", str(checkpoint), "-o", "thesis", "-q"), 2, "is not replaced")
    assert (precious / "chapter.txt").read_text() == "years of work"


def test_an_edited_record(command, tmp_path: Path, pico_onnx: Path) -> None:
    assert command("profile", str(pico_onnx), *QUICK, "--output", "records.jsonl").code == 0
    path = tmp_path / "records.jsonl"
    record = json.loads(path.read_text())
    figure = record["measurements"]["latency"]["statistics"]["p50"]
    figure["value"] = 1e-9
    path.write_text(json.dumps(record) + "\n")
    says(command("report", "records.jsonl", "-o", "out"), 2, "records.jsonl:1", "was changed")


def test_a_static_shape_says_which(command, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32), "table")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows", "axis"], ["logits"], keepdims=0),
        ],
        "static",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [table, numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "static.onnx")
    says(command("profile", "static.onnx", *QUICK), 2, "fixed shape 1 x 16", "1 x 8")
    assert command("profile", "static.onnx", "--sequence-length", "16", "--runs", "1", "-q").code == 0

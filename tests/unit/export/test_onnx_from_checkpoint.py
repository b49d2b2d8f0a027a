import json
import logging
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
import transformers
from onnxruntime.transformers import optimizer

from benchkit.core.architectures import ROBERTA_LIKE
from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import TOKENIZER_FILES
from benchkit.core.registry import RUNTIMES
from benchkit.export import onnx_file, tracing
from benchkit.runtimes.protocol import SessionOptions
from benchkit.runtimes.torch import load_checkpoint

Export = Callable[..., Artifact]
MakeCheckpoint = Callable[..., Path]

SENTENCES = ["a bad film", "this movie is not very good !", "good", "the film is bad . the movie is good ."]
EVERY_INPUT = ("input_ids", "attention_mask", "token_type_ids")


def padded_feed(names: tuple[str, ...], batch_size: int, length: int, *, pad_id: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(batch_size * 1000 + length)
    lengths = generator.integers(1, length + 1, batch_size)
    mask = np.arange(length) < lengths[:, None]
    segments = generator.integers(0, 2, mask.shape) if "token_type_ids" in names else mask
    ids = np.where(mask, generator.integers(2, 40, mask.shape), pad_id)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    return {name: feed[name].astype(np.int64) for name in names}


def torch_output(model: torch.nn.Module, feed: dict[str, np.ndarray], *, head: bool) -> np.ndarray:
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(array) for name, array in feed.items()})
    return (output.logits if head else output.last_hidden_state).numpy()


@pytest.mark.parametrize(
    ("family", "head", "names"),
    [
        ("bert", True, EVERY_INPUT),
        ("bert", False, EVERY_INPUT),
        ("distilbert", True, EVERY_INPUT[:2]),
        ("distilbert", False, EVERY_INPUT[:2]),
        ("roberta", True, EVERY_INPUT[:2]),
        ("roberta", False, EVERY_INPUT[:2]),
        ("xlm-roberta", True, EVERY_INPUT[:2]),
        ("camembert", True, EVERY_INPUT[:2]),
        ("electra", True, EVERY_INPUT),
        ("electra", False, EVERY_INPUT),
        ("tinybert", True, EVERY_INPUT),
        ("minilm", True, EVERY_INPUT),
    ],
)
def test_the_graph_computes_what_the_checkpoint_computes_at_any_shape(
    make_checkpoint: MakeCheckpoint, export: Export, family: str, head: bool, names: tuple[str, ...]
) -> None:
    checkpoint = make_checkpoint(family, head=head)
    made = export(checkpoint)
    session = RUNTIMES.get("onnxruntime")().open(made.model_file, SessionOptions())
    assert session.input_names == names
    auto = transformers.AutoModelForSequenceClassification if head else transformers.AutoModel
    model = auto.from_pretrained(checkpoint).eval()
    spread = 0.0
    for batch_size in (1, 3, 8):
        for length in (2, 5, 17, 64):
            feed = padded_feed(names, batch_size, length, pad_id=1 if family in ROBERTA_LIKE else 0)
            got = session.call(session.prepare(feed))
            np.testing.assert_allclose(got, torch_output(model, feed, head=head), atol=2e-5)
            spread = max(spread, float(got.std(axis=0).max()))
    assert spread > 0.01, "outputs must differ between inputs, or equality proves nothing"


@pytest.mark.parametrize(("family", "longest"), [("bert", 70), ("electra", 70), ("roberta", 68), ("camembert", 68)])
def test_the_longest_input_is_the_checkpoints(
    make_checkpoint: MakeCheckpoint, export: Export, family: str, longest: int
) -> None:
    checkpoint = make_checkpoint(family)
    made = export(checkpoint)
    session = RUNTIMES.get("onnxruntime")().open(made.model_file, SessionOptions())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    # RoBERTa counts positions from its padding's id on, so that the last rows are for fewer tokens.
    ones = np.ones((1, longest), np.int64)
    everything = {"input_ids": 5 * ones, "attention_mask": ones, "token_type_ids": ones}
    feed = {name: everything[name] for name in session.input_names}
    np.testing.assert_allclose(session.call(session.prepare(feed)), torch_output(model, feed, head=True), atol=2e-5)
    longer = {name: np.pad(array, ((0, 0), (0, 1)), mode="edge") for name, array in feed.items()}
    with pytest.raises((IndexError, RuntimeError)):
        torch_output(model, longer, head=True)


def test_roberta_on_sentences_of_its_own_tokenizer(byte_level_roberta: Path, export: Export) -> None:
    made = export(byte_level_roberta)
    parity = made.manifest.notes["parity"]
    assert parity["inputs"] == "sentences and random token ids"
    assert max(length for _, length in parity["shapes"]) == 68, "cut to the positions that the model has"
    assert 0 < parity["max_difference"] < 1e-5
    assert made.manifest.notes["inputs"] == ["input_ids", "attention_mask"]
    assert made.manifest.notes["warnings"] == []


def test_axes_and_names(pico_checkpoint: Path, export: Export) -> None:
    graph = onnx.load(export(pico_checkpoint).model_file).graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {name: ["batch_size", "sequence_length"] for name in EVERY_INPUT} | {"logits": ["batch_size", 2]}
    assert "bert.embeddings.word_embeddings.weight" in {weights.name for weights in graph.initializer}


def test_hidden_states_are_dynamic_too(make_checkpoint: MakeCheckpoint, export: Export) -> None:
    made = export(make_checkpoint("bert", head=False))
    assert any(
        "last_hidden_state, which can be profiled, not scored" in text for text in made.manifest.notes["warnings"]
    )
    (output,) = onnx.load(made.model_file).graph.output
    assert output.name == "last_hidden_state"
    dims = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert dims == ["batch_size", "sequence_length", 32]


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_onnxruntime_fuses_the_graph_whole(make_checkpoint: MakeCheckpoint, export: Export, family: str) -> None:
    made = export(make_checkpoint(family))
    logging.disable(logging.WARNING)
    try:
        fused = optimizer.optimize_model(str(made.model_file), "bert", num_heads=2, hidden_size=32, opt_level=0)
    finally:
        logging.disable(logging.NOTSET)
    counts = fused.get_fused_operator_statistics()
    assert counts["Attention"] == 2
    assert counts["SkipLayerNormalization"] == 4
    assert counts["EmbedLayerNormalization"] == 1


def test_manifest(pico_checkpoint: Path, export: Export) -> None:
    source = load_artifact(pico_checkpoint)
    made = export(pico_checkpoint, sentences=SENTENCES)
    manifest = made.manifest
    assert (manifest.kind, manifest.precision, manifest.name) == ("onnx", "fp32", "made")
    assert manifest.parents == (source.manifest.id,)
    assert manifest.candidate == source.manifest.candidate
    assert manifest.weights == "unknown", "a foreign checkpoint does not say whether it was trained"
    assert manifest.recipe["opset"] == 17
    parity = manifest.notes["parity"]
    assert 0 < parity["max_difference"] < 1e-5
    assert parity["inputs"] == "sentences and random token ids"
    assert [1, 5] in parity["shapes"], "[CLS] a bad film [SEP]"
    assert [8, 64] in parity["shapes"]
    assert manifest.notes["warnings"] == []
    assert manifest.notes["output"] == "logits"


def test_folder_holds_config_and_tokenizer(pico_checkpoint: Path, export: Export) -> None:
    made = export(pico_checkpoint)
    for name in ("config.json", *TOKENIZER_FILES):
        if (pico_checkpoint / name).is_file():
            assert (made.path / name).read_bytes() == (pico_checkpoint / name).read_bytes()
    assert made.config()["id2label"] == {"0": "negative", "1": "positive"}
    assert set(made.manifest.files) == {path.name for path in made.path.iterdir()} - {"artifact.json"}


def test_metadata_inside_the_file(pico_checkpoint: Path, export: Export) -> None:
    made = export(pico_checkpoint)
    model = onnx.load(made.model_file)
    onnx.checker.check_model(model, full_check=True)
    properties = {item.key: item.value for item in model.metadata_props}
    assert model.producer_name == "benchkit"
    assert model.producer_version == made.manifest.versions["benchkit"]
    assert properties["benchkit.source_id"] == load_artifact(pico_checkpoint).manifest.id
    assert properties["benchkit.architecture"] == "BertForSequenceClassification"


@pytest.mark.parametrize("opset", [14, 18])
def test_opset_is_the_recipes(pico_checkpoint: Path, export: Export, opset: int) -> None:
    (imported,) = onnx.load(export(pico_checkpoint, opset=opset).model_file).opset_import
    assert imported.version == opset


def test_opset_that_torch_cannot_make(pico_checkpoint: Path, export: Export) -> None:
    with pytest.raises(BenchkitError, match="with opset 99"):
        export(pico_checkpoint, opset=99)


def test_same_bytes_each_time(pico_checkpoint: Path, export: Export) -> None:
    assert export(pico_checkpoint).manifest.id == export(pico_checkpoint).manifest.id


def test_difference_above_the_tolerance_names_the_one_that_passes(pico_checkpoint: Path, export: Export) -> None:
    with pytest.raises(BenchkitError, match="the tolerance is 1e-12") as caught:
        export(pico_checkpoint, tolerance=1e-12)
    passing = re.search(r"tolerance of ([\d.e-]+) would pass", caught.value.remedy)
    assert passing is not None
    export(pico_checkpoint, tolerance=float(passing[1]))


def test_checkpoint_without_tokenizer(make_checkpoint: MakeCheckpoint, export: Export) -> None:
    made = export(make_checkpoint("bert"), sentences=SENTENCES)
    assert made.manifest.notes["parity"]["inputs"] == "random token ids"
    assert any("no tokenizer" in warning for warning in made.manifest.notes["warnings"])


def test_tokenizer_of_another_model(pico_checkpoint: Path, export: Export, tmp_path: Path) -> None:
    folder = shutil.copytree(pico_checkpoint, tmp_path / "copy")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"]["extra"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(BenchkitError, match="does not fit the model"):
        export(folder)


def test_weights_that_are_not_used_are_named(pico_checkpoint: Path, export: Export, tmp_path: Path) -> None:
    folder = shutil.copytree(pico_checkpoint, tmp_path / "copy")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state["cls.seq_relationship.weight"] = torch.zeros(2, 32)
    safetensors.torch.save_file(state, folder / "model.safetensors", {"format": "pt"})
    (warning,) = export(folder).manifest.notes["warnings"]
    assert "'cls.seq_relationship.weight'" in warning


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_without_numbers(pico_checkpoint: Path, export: Export, tmp_path: Path, number: float) -> None:
    folder = shutil.copytree(pico_checkpoint, tmp_path / "copy")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state["bert.embeddings.word_embeddings.weight"][7, 0] = number
    safetensors.torch.save_file(state, folder / "model.safetensors", {"format": "pt"})
    # Whether or not any text that is compared holds word 7.
    with pytest.raises(BenchkitError, match=r"'bert\.embeddings\.word_embeddings\.weight' .* no numbers"):
        export(folder)


def test_pickled_checkpoint_when_allowed(make_checkpoint: MakeCheckpoint, export: Export) -> None:
    folder = make_checkpoint("bert")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    # As bert-base-uncased names them, which is also the likeliest checkpoint to be pickled.
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
    torch.save(renamed, folder / "pytorch_model.bin")
    plain = export(folder)
    (folder / "model.safetensors").unlink()
    pickled = export(folder, allow_pickle=True)
    assert pickled.manifest.files["model.onnx"].size_bytes > 0
    sessions = [RUNTIMES.get("onnxruntime")().open(made.model_file, SessionOptions()) for made in (plain, pickled)]
    feed = padded_feed(EVERY_INPUT, 3, 7, pad_id=0)
    first, second = (session.call(session.prepare(feed)) for session in sessions)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_decoder": True}, "describes a decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "'gpt2' (GPT2LMHeadModel) is not supported"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "'t5' (T5For"),
        ({"architectures": ["BertForQuestionAnswering"]}, "neither a sequence classifier nor a plain encoder"),
    ],
)
def test_what_is_no_encoder(
    pico_checkpoint: Path, export: Export, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = shutil.copytree(pico_checkpoint, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BenchkitError, match=re.escape(message)):
        export(folder)


def test_the_checkpoint_is_left_as_it_was(pico_checkpoint: Path) -> None:
    loaded = load_checkpoint(pico_checkpoint / "model.safetensors", attention="eager")
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    tracing.trace(loaded, opset=17)
    after = loaded.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in loaded.model.parameters())
    assert "forward" not in vars(loaded.model)


def test_only_checkpoints_are_exported(pico_checkpoint: Path, export: Export) -> None:
    with pytest.raises(BenchkitError, match="only a checkpoint can be exported"):
        export(export(pico_checkpoint).path)


@pytest.fixture
def outgrown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any model be too large for one file."""
    monkeypatch.setattr(onnx_file, "EXTERNAL_ABOVE_BYTES", 10_000)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.usefixtures("outgrown")
def test_more_than_one_file_can_hold(pico_checkpoint: Path, export: Export, runtime: str) -> None:
    pytest.importorskip(runtime)
    made = export(pico_checkpoint)
    data = made.path / "model.onnx_data"
    assert made.model_file.stat().st_size < data.stat().st_size
    assert made.manifest.files["model.onnx_data"].size_bytes == data.stat().st_size
    assert made.size_bytes == data.stat().st_size + made.model_file.stat().st_size
    onnx.checker.check_model(made.model_file, full_check=True)
    session = RUNTIMES.get(runtime)().open(made.model_file, SessionOptions())
    feed = padded_feed(EVERY_INPUT, 3, 7, pad_id=0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(pico_checkpoint).eval()
    feed["input_ids"] %= model.config.vocab_size
    np.testing.assert_allclose(session.call(session.prepare(feed)), torch_output(model, feed, head=True), atol=2e-5)


@pytest.mark.usefixtures("outgrown")
def test_external_data_belongs_to_the_artifact(pico_checkpoint: Path, export: Export) -> None:
    made = export(pico_checkpoint)
    graph = onnx.load(made.model_file, load_external_data=False).graph
    outside = [item for item in graph.initializer if item.data_location == onnx.TensorProto.EXTERNAL]
    places = [{entry.key: entry.value for entry in item.external_data} for item in outside]
    assert {place["location"] for place in places} == {"model.onnx_data"}
    assert all(int(place["offset"]) % 4096 == 0 for place in places), "to be mapped into memory"
    assert all(np.prod(item.dims) * 4 < 1024 for item in graph.initializer if item not in outside)
    with (made.path / "model.onnx_data").open("r+b") as file:
        file.seek(100)
        file.write(b"changed")
    with pytest.raises(BenchkitError, match=r"model\.onnx_data' is not the file that artifact.json describes"):
        load_artifact(made.path)


def test_export_says_nothing_by_itself(
    pico_checkpoint: Path, export: Export, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(pico_checkpoint, progress=lambda message, done=None: heard.append((message, done)))
    assert capfd.readouterr() == ("", "")
    assert [done for _, done in heard] == sorted(done for _, done in heard)
    assert any("trace" in message for message, _ in heard)

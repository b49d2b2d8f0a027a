import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from benchkit.core.artifacts import check_safetensors, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An artifact of our own making."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "config.json").write_text("{}")
    write_manifest(folder, kind="onnx", name="own", recipe={"step": "test"}, parents=("p",), task="sst2")
    return folder


def test_what_was_written_reads_back(own: Path) -> None:
    artifact = load_artifact(own)
    assert not artifact.foreign
    assert artifact.manifest.parents == ("p",)
    assert artifact.facts().size_bytes == 5
    assert artifact.manifest.versions["python"]
    value = json.loads((own / "artifact.json").read_text())
    assert {"schema", "kind", "task", "precision", "files", "recipe", "parents", "versions", "created_at_utc"} <= set(
        value
    )


@pytest.mark.parametrize("name", ["model.onnx", "config.json"])
def test_a_changed_file_is_found(own: Path, name: str) -> None:
    (own / name).write_text("[1]")
    with pytest.raises(BenchkitError, match=f"{name}' is not the file that artifact.json describes"):
        load_artifact(own)
    (own / name).unlink()
    with pytest.raises(BenchkitError, match="deleted"):
        load_artifact(own)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "onnx"}'])
def test_a_damaged_manifest_is_named(own: Path, text: str) -> None:
    (own / "artifact.json").write_text(text)
    with pytest.raises(BenchkitError, match=r"artifact\.json"):
        load_artifact(own)


def test_a_foreign_artifact_is_known_by_all_that_decides_its_answers(own: Path) -> None:
    (own / "artifact.json").unlink()
    before = load_artifact(own).manifest.id
    (own / "config.json").write_text('{"id2label": {"0": "b"}}')
    after = load_artifact(own)
    assert after.foreign
    assert after.manifest.id != before
    assert after.manifest.precision == "unknown"


def test_int8_is_seen_in_a_foreign_graph(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(b"...DynamicQuantizeLinear...")
    assert load_artifact(path).manifest.precision == "int8"
    path.write_bytes(b"")
    assert load_artifact(path).manifest.precision == "unknown"


def test_external_data_counts_into_size_and_id(tmp_path: Path) -> None:
    for folder, weights in (("a", b"1" * 1000), ("b", b"2" * 1000)):
        (tmp_path / folder).mkdir()
        name = b"any name.dat"
        entry = b"\x0a\x08location\x12" + bytes([len(name)]) + name  # As onnx.proto encodes it.
        (tmp_path / folder / "model.onnx").write_bytes(b"the same graph" + entry + b"and more")
        (tmp_path / folder / name.decode()).write_bytes(weights)
    first, second = (load_artifact(tmp_path / folder / "model.onnx") for folder in "ab")
    assert first.size_bytes == 1000 + (tmp_path / "a" / "model.onnx").stat().st_size
    assert first.manifest.id != second.manifest.id


def test_a_hub_snapshot_has_the_models_name(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--tiny-bert" / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    assert load_artifact(folder).manifest.name == "tiny-bert"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "holds neither"),
        ({"pytorch_model.bin": b""}, "pickled weights only"),
        ({"model_quantized.onnx": b""}, "has no model.onnx but model_quantized.onnx"),
    ],
)
def test_folders_that_are_no_artifact(tmp_path: Path, files: dict[str, bytes], problem: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchkitError, match=problem):
        load_artifact(tmp_path)
    with pytest.raises(BenchkitError, match="no artifact at"):
        load_artifact(tmp_path / "none")


def safetensors(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "truncated or no safetensors"),
        (b"\xff" * 20, "truncated or no safetensors"),
        (safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), "its header promises"),
        (struct.pack("<Q", 4) + b"nope", "no valid safetensors header"),
    ],
)
def test_truncated_safetensors(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BenchkitError, match=problem):
        check_safetensors(path)


def test_whole_safetensors_pass(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"))
    check_safetensors(path)


def test_an_artifact_takes_the_place_of_an_artifact_only(own: Path, tmp_path: Path) -> None:
    with staged_artifact(own) as out:
        (out / "model.onnx").write_bytes(b"newer")
        write_manifest(out, kind="onnx", name="own", recipe={})
    assert (own / "model.onnx").read_bytes() == b"newer"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex", Path("/proc")):
        with pytest.raises(BenchkitError), staged_artifact(place):
            pass
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_a_rename_that_fails_puts_back_what_was_there(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(16, "Device or resource busy")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="busy"), staged_artifact(own) as out:
        (out / "model.onnx").write_bytes(b"newer")
    assert (own / "model.onnx").read_bytes() == b"graph"
    assert os.listdir(own.parent) == ["own"]
    shutil.rmtree(own)

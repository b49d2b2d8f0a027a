"""Optimum pins an older transformers, so it is another Python's: BENCHKIT_OPTIMUM_PYTHON names it.

To make one: python -m venv DIR && DIR/bin/pip install -e '.[optimum]'
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import EnvironmentLacks
from benchkit.core.recipes import ExportRecipe, QuantizeRecipe
from benchkit.core.registry import EXPORTERS, QUANTIZERS, RUNTIMES
from benchkit.export import onnx_file
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.tokenization import load_tokenizer

REPOSITORY = Path(__file__).parents[3]
Export = Callable[..., Artifact]
Theirs = Callable[..., str]

SENTENCES = ["a bad film", "this movie is not very good !", "good", "the film is bad . the movie is good ."]
LOGITS_BY_OPTIMUM = """
import json, sys, transformers
from optimum.onnxruntime import ORTModelForSequenceClassification
model = ORTModelForSequenceClassification.from_pretrained(sys.argv[1])
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
answers = model(**tokenizer(json.loads(sys.argv[2]), padding=True, return_tensors="pt")).logits
print(json.dumps({"logits": answers.tolist(), "labels": model.config.id2label}))
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Theirs:
    """Run Optimum's Python on something, in an empty folder; return what it printed."""
    python = os.environ.get("BENCHKIT_OPTIMUM_PYTHON")
    if not python:
        pytest.skip("no environment with optimum-onnx: set BENCHKIT_OPTIMUM_PYTHON to its python")
    folder = tmp_path / "theirs"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, *arguments], capture_output=True, text=True, cwd=folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def logits(artifact: Artifact) -> np.ndarray:
    tokenizer = load_tokenizer(artifact.path)
    session = RUNTIMES.get("onnxruntime")().open(artifact.model_file, SessionOptions())
    return session.call(session.prepare(tokenizer.pad(tokenizer.encode(SENTENCES, None, max_length=64))))


def test_without_optimum(monkeypatch: pytest.MonkeyPatch, pico_checkpoint: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optimum", None)
    with pytest.raises(EnvironmentLacks, match="needs the package 'optimum-onnx'") as caught:
        EXPORTERS.get("optimum")(ExportRecipe(), checkpoint=load_artifact(pico_checkpoint), name="made", out=tmp_path)
    assert "pip install 'benchkit[optimum]' in an environment of its own" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "external", "fp32-fused", "dynamic-int8"])
def test_our_folders_load_there(
    pico_checkpoint: Path,
    export: Export,
    theirs: Theirs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    if form == "external":
        monkeypatch.setattr(onnx_file, "EXTERNAL_ABOVE_BYTES", 10_000)
    ours = export(pico_checkpoint)
    if form in QUANTIZERS.names():
        (tmp_path / form).mkdir()
        QUANTIZERS.get(form)(QuantizeRecipe(), source=ours, name=form, out=tmp_path / form)
        ours = load_artifact(tmp_path / form)
    seen = json.loads(theirs("-c", LOGITS_BY_OPTIMUM, str(ours.path), json.dumps(SENTENCES)))
    assert seen["labels"] == {"0": "negative", "1": "positive"}
    np.testing.assert_allclose(seen["logits"], logits(ours), atol=1e-5)


@pytest.mark.slow
def test_what_optimum_cli_writes_loads_here(
    pico_checkpoint: Path, export: Export, theirs: Theirs, tmp_path: Path
) -> None:
    out = tmp_path / "by-optimum-cli"
    theirs(
        "-m", "optimum.commands.optimum_cli", "export", "onnx", "--model", str(pico_checkpoint), "--task",
        "text-classification", str(out),
    )  # fmt: skip
    found = load_artifact(out)
    assert found.foreign
    assert found.config()["id2label"] == {"0": "negative", "1": "positive"}
    np.testing.assert_allclose(logits(found), logits(export(pico_checkpoint)), atol=1e-5)
    for precision in ("fp32-fused", "dynamic-int8"):
        (tmp_path / precision).mkdir()
        QUANTIZERS.get(precision)(QuantizeRecipe(), source=found, name="made", out=tmp_path / precision)
        assert load_artifact(tmp_path / precision).manifest.parents == (found.manifest.id,)


@pytest.mark.slow
def test_exporter_optimum(pico_checkpoint: Path, export: Export, theirs: Theirs, tmp_path: Path) -> None:
    out = tmp_path / "by-benchkit"
    arguments = ["-o", str(out), "--exporter", "optimum", "--opset", "18", "-q", "--format", "json"]
    facts = json.loads(theirs("-m", "benchkit", "export", str(pico_checkpoint), *arguments))
    assert facts["opset"] == 18
    assert facts["parity"]["max_difference"] < 1e-5
    made = load_artifact(out)
    assert made.manifest.recipe["exporter"] == "optimum-onnx"
    assert made.manifest.versions["transformers"].startswith("4.")
    assert sorted(made.manifest.files) == [
        "config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    np.testing.assert_allclose(logits(made), logits(export(pico_checkpoint)), atol=1e-5)


@pytest.mark.slow
def test_our_exporter_under_the_older_transformers(
    pico_checkpoint: Path, export: Export, theirs: Theirs, tmp_path: Path
) -> None:
    theirs("-m", "benchkit", "export", str(pico_checkpoint), "-o", str(tmp_path / "older"), "-q", "--fused")
    made = load_artifact(tmp_path / "older")
    assert made.manifest.notes["fusions"]["Attention"] == 2
    np.testing.assert_allclose(logits(made), logits(export(pico_checkpoint)), atol=1e-5)

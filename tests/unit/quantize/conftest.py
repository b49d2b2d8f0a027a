from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.recipes import ExportRecipe, QuantizeRecipe, SplitRecipe
from benchkit.core.registry import EXPORTERS, QUANTIZERS, RUNTIMES
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.calibration import Calibration, calibration_for
from benchkit.tasks.table import task_named

FEED = {
    "input_ids": np.array([[2, 6, 8, 3], [2, 7, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.zeros((2, 4), dtype=np.int64),
}


@pytest.fixture(scope="session")
def fp32(pico_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The ONNX artifact of the pico checkpoint. Never written to."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("fp32")
    EXPORTERS.get("torch")(ExportRecipe(), checkpoint=load_artifact(pico_checkpoint), name="pico", out=out)
    return load_artifact(out)


@pytest.fixture(scope="session")
def texts(tiny_sst2: Path) -> Calibration:
    """Twelve texts of the unlabelled part of the tiny SST-2."""
    return calibration_for(task_named("sst2"), tiny_sst2, SplitRecipe())


@pytest.fixture
def quantize(tmp_path: Path) -> Callable[..., Artifact]:
    """Quantize an artifact into a fresh folder and load what came out."""

    def run(
        source: Artifact, method: str = "dynamic-int8", calibration: Calibration | None = None, **recipe: Any
    ) -> Artifact:
        out = tmp_path / f"int8-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        QUANTIZERS.get(method)(QuantizeRecipe(**recipe), source=source, name="small", out=out, calibration=calibration)
        return load_artifact(out)

    return run


@pytest.fixture
def logits() -> Callable[..., np.ndarray]:
    """Answers of an artifact to two short examples."""

    def run(artifact: Artifact, runtime: str = "onnxruntime") -> np.ndarray:
        session = RUNTIMES.get(runtime)().open(artifact.model_file, SessionOptions())
        return session.call(session.prepare(FEED))

    return run


@pytest.fixture
def with_graph(tmp_path: Path, fp32: Artifact) -> Callable[[Callable[[onnx.ModelProto], Any]], Artifact]:
    """A folder with the pico tokenizer and a changed graph, without artifact.json."""

    def make(change: Callable[[onnx.ModelProto], Any]) -> Artifact:
        folder = tmp_path / "changed"
        folder.mkdir()
        model = onnx.load(fp32.model_file)
        change(model)
        onnx.save(model, folder / "model.onnx")
        for name in ("config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json"):
            (folder / name).write_bytes((fp32.path / name).read_bytes())
        return load_artifact(folder)

    return make

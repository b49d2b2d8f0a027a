from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.recipes import ExportRecipe, QuantizeRecipe
from benchkit.core.registry import EXPORTERS, QUANTIZERS


@pytest.fixture(scope="session")
def fp32(pico_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The ONNX artifact of the pico checkpoint. Never written to."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("fp32")
    EXPORTERS.get("torch")(ExportRecipe(), checkpoint=load_artifact(pico_checkpoint), name="pico", out=out)
    return load_artifact(out)


@pytest.fixture
def quantize(tmp_path: Path) -> Callable[..., Artifact]:
    """Quantize an artifact into a fresh folder and load what came out."""

    def run(source: Artifact, **recipe: bool) -> Artifact:
        out = tmp_path / f"int8-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        QUANTIZERS.get("dynamic-int8")(QuantizeRecipe(**recipe), source=source, name="small", out=out)
        return load_artifact(out)

    return run

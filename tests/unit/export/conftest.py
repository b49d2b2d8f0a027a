from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.recipes import ExportRecipe
from benchkit.core.registry import EXPORTERS

_BERT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 70,
}
_CONFIGS = {
    "bert": transformers.BertConfig(**_BERT),
    "electra": transformers.ElectraConfig(**_BERT, embedding_size=16),
    "roberta": transformers.RobertaConfig(**_BERT, type_vocab_size=1, pad_token_id=1),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=40, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=70
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Save a pico model whose outputs differ clearly between inputs."""

    def make(family: str, *, head: bool = True) -> Path:
        auto = transformers.AutoModelForSequenceClassification if head else transformers.AutoModel
        torch.manual_seed(1)
        model = auto.from_config(_CONFIGS[family])
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(3).add_(torch.randn_like(weights), alpha=0.05)
        folder = tmp_path / f"{family}-{'head' if head else 'encoder'}"
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Artifact]:
    """Export a checkpoint folder into a fresh folder and load what came out."""

    def run(checkpoint: Path, *, opset: int = 17, tolerance: float = 1e-4, **more: object) -> Artifact:
        out = tmp_path / f"onnx-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        source = load_artifact(checkpoint, allow_pickle=bool(more.get("allow_pickle")))
        recipe = ExportRecipe(opset=opset, tolerance=tolerance)
        EXPORTERS.get("torch")(recipe, checkpoint=source, name="made", out=out, **more)
        return load_artifact(out)

    return run

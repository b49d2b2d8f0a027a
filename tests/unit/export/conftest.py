import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.recipes import ExportRecipe
from benchkit.core.registry import EXPORTERS
from benchkit.tasks.probe_sentences import PROBE_SENTENCES

_BERT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 70,
}
_ROBERTA = {**_BERT, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_CONFIGS = {
    "bert": transformers.BertConfig(**_BERT),
    # TinyBERT's and MiniLM's heads are narrower, and their widths no powers of two.
    "tinybert": transformers.BertConfig(**_BERT | {"hidden_size": 52, "intermediate_size": 200}),
    "minilm": transformers.BertConfig(**_BERT | {"hidden_size": 48, "num_attention_heads": 12}),
    "electra": transformers.ElectraConfig(**_BERT, embedding_size=16),
    "roberta": transformers.RobertaConfig(**_ROBERTA),
    "xlm-roberta": transformers.XLMRobertaConfig(**_ROBERTA),
    "camembert": transformers.CamembertConfig(**_ROBERTA),
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

    def make(family: str, *, head: bool = True, **settings: object) -> Path:
        config = copy.deepcopy(_CONFIGS[family])
        config.update(settings)
        auto = transformers.AutoModelForSequenceClassification if head else transformers.AutoModel
        torch.manual_seed(1)
        model = auto.from_config(config)
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(3).add_(torch.randn_like(weights), alpha=0.05)
        folder = tmp_path / f"{family}-{'head' if head else 'encoder'}"
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def byte_level_roberta(make_checkpoint: Callable[..., Path]) -> Path:
    """A pico RoBERTa with a byte-level tokenizer of its own kind: <s> and </s>, padding 1, no segments."""
    folder = make_checkpoint("roberta", vocab_size=400)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(PROBE_SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}), encoding="utf-8")
    return folder


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

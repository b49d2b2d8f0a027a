"""Fixtures that every room may use: pico encoders and real data where it exists. Built, never downloaded."""

import json
import os
from pathlib import Path

import pytest

PICO_WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bad", "good", "film", "is",
    "movie", "not", "the", "this", "very", ".", "!", "##s", "##ly",
]  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    """Write a pico WordPiece tokenizer that transformers and tokenizers both read."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(PICO_WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(PICO_WORDS) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 64,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


@pytest.fixture(scope="session")
def pico_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foreign checkpoint folder: BertForSequenceClassification of hidden 32, 2 layers, with the labels of sst2."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("pico") / "pico-sst2"
    folder.mkdir()
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(PICO_WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    model = transformers.BertForSequenceClassification(config).eval()
    # Larger weights than BERT's initialisation, so that logits differ between inputs.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(5)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def glue() -> Path:
    """The real GLUE files, or a skip that says why."""
    folder = Path(os.environ.get("BENCHKIT_GLUE", Path(__file__).resolve().parents[2] / "shared" / "glue"))
    if not (folder / "SST-2" / "dev.tsv").is_file():
        pytest.skip(f"no real GLUE files at {folder}; set BENCHKIT_GLUE to the folder that holds SST-2/dev.tsv")
    return folder


@pytest.fixture(scope="session")
def pico_onnx(pico_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pico checkpoint as an ONNX artifact folder of our own export."""
    from benchkit.core.artifacts import load_artifact
    from benchkit.core.recipes import ExportRecipe
    from benchkit.core.registry import EXPORTERS

    folder = tmp_path_factory.mktemp("pico-onnx") / "pico-sst2-fp32"
    folder.mkdir()
    EXPORTERS.get("torch")(ExportRecipe(), checkpoint=load_artifact(pico_checkpoint), name="pico-sst2-fp32", out=folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sst2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an SST-2 of the pico tokenizer's words: 60 examples to train on, 20 to score on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "SST-2").mkdir()
    rows = ["this film is very good !\t1", "a bad movie .\t0", "not good\t0", "not bad\t1"]
    for split, copies in (("train", 15), ("dev", 5)):
        lines = [row.replace("\t", f" {'very ' * n}.\t") for n in range(copies) for row in rows]
        text = "sentence\tlabel\n" + "\n".join(lines) + "\n"
        (folder / "SST-2" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder

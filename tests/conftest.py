"""Fixtures that every room may use: pico encoders and real data where it exists. Built, never downloaded."""

import json
import os
from pathlib import Path

import pytest

PICO_WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a bad good film is movie not the this very . ! ##s ##ly".split()


def write_tokenizer(folder: Path) -> None:
    """Write a pico WordPiece tokenizer that transformers and tokenizers both read."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(PICO_WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
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
    """A foreign checkpoint folder: BertForSequenceClassification, hidden 32, 2 layers, random weights, labels of sst2."""
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

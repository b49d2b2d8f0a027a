"""Pico encoders in float64 for the maths, pico checkpoints and a pico task for whole merges."""

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from benchkit.core.artifacts import Artifact, load_artifact

torch.set_num_threads(1)

GOOD, BAD = ("good", "very good", "not bad"), ("bad", "very bad", "not good")
VOCABULARY = 22


def _encoder(seed: int, *, layers: int = 2, hidden: int = 32, heads: int = 2, inner: int = 64) -> Any:
    """A BertModel in float64 whose weights are large enough for layers to differ."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval().double().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(4) if parameter.dim() == 2 else parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _tuned(encoder: Any, seed: int, *, share: float = 0.1) -> Any:
    """A copy of an encoder whose layers were changed a little, as by fine-tuning."""
    torch.manual_seed(seed)
    changed = copy.deepcopy(encoder)
    for name, parameter in changed.named_parameters():
        if name.startswith("encoder"):
            parameter.add_(share * torch.randn_like(parameter) * parameter.std().clamp_min(0.1))
    return changed


def _batches(*, number: int = 6, size: int = 8, length: int = 16, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(number):
        mask = torch.ones(size, length, dtype=torch.int64)
        mask[0, length // 2 :] = 0  # Padding must not be counted.
        batches.append(
            {
                "input_ids": torch.randint(0, VOCABULARY, (size, length), generator=generator),
                "attention_mask": mask,
                "token_type_ids": torch.zeros(size, length, dtype=torch.int64),
            }
        )
    return batches


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., Any]:
    return _encoder


@pytest.fixture(scope="session")
def tune() -> Callable[..., Any]:
    return _tuned


@pytest.fixture(scope="session")
def batches() -> list[dict[str, torch.Tensor]]:
    return _batches()


@pytest.fixture(scope="session")
def sst2_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SST-2/train.tsv: short phrases whose label a pico model can learn."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "SST-2").mkdir()
    draw = random.Random(0)
    lines, seen = ["sentence\tlabel"], set()
    while len(lines) < 401:
        label = draw.randint(0, 1)
        words = [draw.choice(GOOD if label else BAD), *draw.choices(("film", "movie", "the", "this", "is", "a"), k=4)]
        draw.shuffle(words)
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            lines.append(f"{text}\t{label}")
    (folder / "SST-2" / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, pico_checkpoint: Path) -> Callable[..., Artifact]:
    """Write a pico encoder, or with `classes` a classifier on it, as a checkpoint folder with a tokenizer."""

    def write(encoder: Any, *, classes: int | None = None, seed: int = 0) -> Artifact:
        folder = tmp_path_factory.mktemp("checkpoint")
        encoder = encoder.float()
        if classes is None:
            encoder.save_pretrained(folder)
        else:
            torch.manual_seed(seed)
            config = transformers.BertConfig.from_dict(encoder.config.to_dict() | {"architectures": None})
            config.num_labels = classes
            if classes == 2:
                config.id2label, config.label2id = {0: "negative", 1: "positive"}, {"negative": 0, "positive": 1}
            model = transformers.BertForSequenceClassification(config).eval()
            model.bert.load_state_dict(encoder.state_dict(), strict=False)
            with torch.no_grad():
                model.classifier.weight.mul_(20)
                model.bert.pooler.dense.weight.mul_(10)
            model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(pico_checkpoint / name, folder / name)
        return load_artifact(folder)

    return write


@pytest.fixture(scope="session")
def learned_donor(checkpoint: Callable[..., Artifact], sst2_data: Path) -> tuple[Artifact, Artifact]:
    """A pico donor that was really fine-tuned, and the encoder that it was fine-tuned from."""
    from benchkit.core.recipes import SplitRecipe
    from benchkit.tasks.readers import read_split
    from benchkit.tasks.splits import carve
    from benchkit.tasks.table import task_named
    from benchkit.tasks.tokenization import load_tokenizer

    source = checkpoint(_encoder(1))
    train = carve(read_split(task_named("sst2"), "train", sst2_data), SplitRecipe()).train
    tokenizer = load_tokenizer(source.path)
    batch = {
        name: torch.from_numpy(values)
        for name, values in tokenizer.pad(tokenizer.encode(train.first, None, max_length=32)).items()
    }
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(
        source.path, id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1}
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(40):
        model(**batch, labels=torch.tensor(train.labels)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = source.path.parent / f"{source.path.name}-donor"
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(source.path / name, folder / name)
    return load_artifact(folder), source


@pytest.fixture(scope="session")
def edited() -> Callable[..., Artifact]:
    """Copy a checkpoint with other values in its config.json."""

    def edit(artifact: Artifact, into: Path, **changes: Any) -> Artifact:
        shutil.copytree(artifact.path, into)
        config = json.loads((into / "config.json").read_text())
        (into / "config.json").write_text(json.dumps(config | changes))
        return load_artifact(into)

    return edit

"""Fixtures of the training room: one thread, a small data folder, and packages that look installed."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchkit.core.artifacts import Artifact, load_artifact


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 and STS-B in words that the pico tokenizer knows: sentiment is a word, similarity is sameness."""
    data = tmp_path_factory.mktemp("glue")
    rng = random.Random(0)
    words = ["film", "is", "movie", "not", "the", "this", "very", ".", "!"]
    rows = []
    for number in range(160):
        text = [*rng.sample(words, 4), "good" if number % 2 else "bad"]
        rng.shuffle(text)
        rows.append(f"{' '.join(text)}\t{number % 2}")
    (data / "SST-2").mkdir()
    (data / "SST-2" / "train.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n")
    lines = ["index\tsentence1\tsentence2\tscore"]
    for number in range(80):
        first = rng.choices(words, k=4)
        second = first if number % 2 else rng.choices(words, k=4)
        lines.append(f"{number}\t{' '.join(first)}\t{' '.join(second)}\t{5.0 if number % 2 else 0.5}")
    (data / "STS-B").mkdir()
    (data / "STS-B" / "train.tsv").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture(scope="session")
def pico_encoder(pico_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The pico checkpoint as an encoder artifact."""
    from benchkit.train.encoders import fetch_encoder

    out = tmp_path_factory.mktemp("encoder") / "pico"
    out.mkdir()
    fetch_encoder(str(pico_checkpoint), name="pico", out=out)
    return load_artifact(out)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Path]], Path]:
    """Return a function that makes files look like those of an installed package, at version 1.2.3."""

    def installed(package: str, files: dict[str, Path]) -> Path:
        site = tmp_path / "site-packages"
        facts = site / f"{package.replace('-', '_')}-1.2.3.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
        for place, source in files.items():
            (site / place).parent.mkdir(parents=True, exist_ok=True)
            os.link(source, site / place)
        (facts / "RECORD").write_text("".join(f"{place},,\n" for place in files))
        monkeypatch.syspath_prepend(site)
        return site

    return installed


@pytest.fixture
def make_checkpoint(pico_checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a classifier of any small shape with the pico tokenizer, to be a teacher."""
    import shutil

    import transformers

    def made(name: str, *, labels: tuple[str, ...] = ("negative", "positive"), seed: int = 0, **shape: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        known: dict[str, object] = {
            "vocab_size": 19,
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "num_labels": len(labels) or 1,
        }
        if labels:
            known["id2label"] = dict(enumerate(labels))
            known["label2id"] = {label: number for number, label in enumerate(labels)}
        torch.manual_seed(seed)
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**known | shape)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(5)
        model.save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copyfile(pico_checkpoint / file, folder / file)
        return folder

    return made

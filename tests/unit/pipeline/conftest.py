"""A recipe in a folder of its own, and steps that make something without torch."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.registry import STEPS

RECIPE = """
name = "pico"
encoder = "encoder"
task = "sst2"

[splits]
validation = 10
unlabelled = 5

[train]
epochs = 1
threads = 1
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes a recipe, some lines of it replaced, in the folder that we are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    (tmp_path / "encoder" / "model.safetensors").write_text("weights")

    def write(**changes: str) -> Path:
        text = RECIPE
        for key, value in changes.items():
            old = next((line for line in text.splitlines() if line.startswith(f"{key} =")), None)
            text = text.replace(old, f"{key} = {value}") if old else f"{key} = {value}\n{text}"
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


class FakeSteps:
    """What the wing would do, in no time: "weights" are a digest of what the training was given."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fail: dict[str, BaseException] = {}
        self.warnings: list[str] = []

    def diverges(self, name: str) -> None:
        problem = f"{name}: the loss is nan at step 3 of 9, learning rate 1"
        self.fail[name] = BenchkitError(problem, remedy="lower learning_rate")

    def get(self, name: str):
        return {"encoder": self.encoder, "train": self.train}[name]

    def encoder(self, source, *, name, out, progress, **_) -> None:
        self.log.append(f"encoder {source}")
        (out / "config.json").write_text("{}")
        (out / "model.safetensors").write_text("weights")
        write_manifest(out, kind="checkpoint", name=name, recipe={})

    def train(self, recipe, *, encoder, teacher, task, data, splits, name, candidate, out, work, progress) -> None:
        self.log.append(name)
        progress(f"{name}: step 1 of 2, loss 0.7", 0.5)
        work.mkdir(parents=True, exist_ok=True)
        (work / "inputs.json").write_text("{}")
        if name in self.fail:
            raise self.fail[name]
        text = f"{recipe.model_dump_json()} {encoder.manifest.id} {teacher and teacher.manifest.id} {task.name}"
        (out / "model.safetensors").write_text(hashlib.sha256(text.encode()).hexdigest())
        notes = {
            "validation": dict.fromkeys(task.metrics, 0.8 + recipe.seed / 100),
            "train_s": 2.0,
            "train_examples_per_s": 100.0,
            "warnings": self.warnings,
        }
        write_manifest(
            out, kind="checkpoint", name=name, candidate=candidate, task=task.name, seed=recipe.seed, recipe={},
            notes=notes,
        )  # fmt: skip
        progress(f"{name}: accuracy 0.9 on carved validation", 1.0)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """Steps that log what they do."""
    fake = FakeSteps()
    monkeypatch.setattr(STEPS, "get", fake.get)
    return fake

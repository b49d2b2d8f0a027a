import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.recipes import SplitRecipe
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.table import TASKS
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.train.teacher import teacher_facts, teacher_logits

SST2, STSB, MNLI = TASKS["sst2"], TASKS["stsb"], TASKS["mnli"]
SPLITS = SplitRecipe(validation=40, unlabelled=20)


@pytest.fixture
def examples(tiny_glue: Path) -> Examples:
    """Texts of several lengths."""
    part = read_split(SST2, "train", tiny_glue)
    return dataclasses.replace(
        part,
        first=tuple(f"{text} {'very ' * (n % 7)}" for n, text in enumerate(part.first[:100])),
        labels=part.labels[:100],
    )


def rename_labels(folder: Path, names: tuple[str, ...]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))


def test_logits_are_those_of_the_model_one_by_one(pico_checkpoint, examples):
    logits = teacher_logits(pico_checkpoint, examples, SST2, max_length=32)
    assert (logits.shape, logits.dtype) == ((100, 2), np.float32)
    model = AutoModelForSequenceClassification.from_pretrained(pico_checkpoint).eval()
    tokenizer = load_tokenizer(pico_checkpoint)
    for row in (0, 1, 6, 99):
        feed = tokenizer.pad(tokenizer.encode(examples.first[row : row + 1], None, max_length=32))
        with torch.no_grad():
            alone = model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits[0].numpy()
        assert logits[row] == pytest.approx(alone, abs=1e-5)
    assert len(np.unique(logits.round(4), axis=0)) > 50


def test_long_text_is_cut_at_the_limit_and_at_the_teachers_own(make_checkpoint, examples):
    short = make_checkpoint("short", max_position_embeddings=12)
    long = dataclasses.replace(examples, first=("good " * 300, "good " * 10), labels=(1, 1))
    logits = teacher_logits(short, long, SST2, max_length=128)
    assert logits[0] == pytest.approx(logits[1], abs=1e-5)


def test_an_onnx_artifact_teaches_as_its_checkpoint(pico_onnx, pico_checkpoint, examples):
    as_onnx = teacher_logits(pico_onnx, examples, SST2, max_length=32)
    assert as_onnx == pytest.approx(teacher_logits(pico_checkpoint, examples, SST2, max_length=32), abs=1e-4)


def test_columns_are_in_the_tasks_order_whatever_the_teachers_is(make_checkpoint, examples):
    usual, other = make_checkpoint("usual"), make_checkpoint("other")
    weights = load_file(other / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    rename_labels(other, ("Positive", "Negative"))
    expected = teacher_logits(usual, examples, SST2, max_length=32)
    assert teacher_logits(other, examples, SST2, max_length=32) == pytest.approx(expected, abs=1e-6)
    assert abs(expected[:, 0] - expected[:, 1]).min() > 1e-3


def test_a_teacher_of_other_labels_or_another_number_is_an_error_that_names_both(make_checkpoint, examples):
    three = make_checkpoint("three", labels=("entailment", "neutral", "contradiction"))
    with pytest.raises(BenchkitError, match=r"entailment, neutral, contradiction; the task has negative, positive"):
        teacher_logits(three, examples, SST2, max_length=32)


def test_an_onnx_teacher_without_names_is_held_against_the_number_of_its_outputs(pico_onnx, tiny_glue, tmp_path):
    folder = tmp_path / "nameless"
    shutil.copytree(pico_onnx, folder, ignore=shutil.ignore_patterns("artifact.json"))
    rename_labels(folder, ())
    pairs = dataclasses.replace(read_split(STSB, "train", tiny_glue), task="mnli", labels=None)
    with pytest.raises(BenchkitError, match=r"gives 2 outputs, and task 'mnli' has 3: entailment, neutral, contrad"):
        teacher_logits(folder, pairs, MNLI, max_length=32)


def test_a_regression_is_taught_by_one_score(make_checkpoint, tiny_glue):
    pairs = read_split(STSB, "train", tiny_glue)
    scores = teacher_logits(make_checkpoint("scores", labels=()), pairs, STSB, max_length=32)
    assert scores.shape == (80, 1)
    assert scores.std() > 0.01


def test_what_has_no_head_or_no_training_is_no_teacher(pico_encoder, pico_checkpoint, pico_onnx, examples, tmp_path):
    with pytest.raises(BenchkitError, match="no classification head"):
        teacher_logits(pico_encoder.path, examples, SST2, max_length=32)
    with pytest.raises(BenchkitError, match="bare file"):
        teacher_logits(pico_onnx / "model.onnx", examples, SST2, max_length=32)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((pico_checkpoint / name).read_bytes())
    write_manifest(tmp_path, kind="checkpoint", name="untrained", recipe={}, weights="random")
    with pytest.raises(BenchkitError, match="'untrained' has random weights"):
        teacher_logits(tmp_path, examples, SST2, max_length=32)


def test_logits_that_are_not_finite_are_refused(make_checkpoint, examples):
    folder = make_checkpoint("broken")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = float("inf")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BenchkitError, match=r"'broken' gives 100 of 100 examples logits that are not finite"):
        teacher_logits(folder, examples, SST2, max_length=32)


def test_threads_and_progress(pico_checkpoint, examples):
    said: list[tuple[str, float | None]] = []
    before = torch.get_num_threads(), torch.get_num_interop_threads()
    teacher_logits(
        pico_checkpoint, examples, SST2, max_length=32, progress=lambda text, share=None: said.append((text, share))
    )
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == before
    assert said[-1] == ("pico-sst2 answers 100 of 100 examples", 1.0)


def test_facts_say_who_taught_and_how_well(make_checkpoint, examples):
    folder = make_checkpoint("wise")
    recipe = {"step": "train", "splits": SPLITS.model_dump(mode="json")}
    notes = {"data": {examples.source: examples.sha256}}
    manifest = write_manifest(
        folder, kind="checkpoint", name="wise", task="sst2", seed=3, recipe=recipe, notes=notes, weights="trained"
    )
    logits = teacher_logits(folder, examples, SST2, max_length=32)
    facts = teacher_facts(folder, SST2, examples, max_length=32, splits=SPLITS)
    assert facts == {
        "name": "wise",
        "id": manifest.id,
        "kind": "checkpoint",
        "precision": "fp32",
        "task": "sst2",
        "seed": 3,
        "validation": {"accuracy": float((logits.argmax(axis=1) == np.array(examples.labels)).mean())},
        "warnings": [],
    }
    json.dumps(facts, allow_nan=False)


def test_facts_warn_of_a_teacher_that_may_have_seen_what_it_is_scored_on(make_checkpoint, examples):
    folder = make_checkpoint("seer")
    (unknown,) = teacher_facts(folder, SST2, examples, max_length=32, splits=SPLITS)["warnings"]
    assert "does not say how its train file was carved" in unknown
    recipe = {"splits": SPLITS.model_copy(update={"seed": 1}).model_dump(mode="json")}
    notes = {"data": {examples.source: examples.sha256}}
    write_manifest(folder, kind="checkpoint", name="seer", task="cola", recipe=recipe, notes=notes)
    other_task, carving = teacher_facts(folder, SST2, examples, max_length=32, splits=SPLITS)["warnings"]
    assert "fine-tuned on cola, not on sst2" in other_task
    assert "another file or carving" in carving


def test_facts_warn_of_labels_without_names(make_checkpoint, examples):
    facts = teacher_facts(
        make_checkpoint("nameless", labels=("LABEL_0", "LABEL_1")), SST2, examples, max_length=32, splits=SPLITS
    )
    assert "assumed to be negative, positive" in facts["warnings"][0]


def test_an_undefined_score_is_none(make_checkpoint, tiny_glue):
    pairs = read_split(STSB, "train", tiny_glue)
    same = dataclasses.replace(pairs, first=pairs.first[:1] * 3, second=pairs.second[:1] * 3, labels=(1.0, 1.0, 1.0))
    facts = teacher_facts(make_checkpoint("scores", labels=()), STSB, same, max_length=32, splits=SPLITS)
    assert facts["validation"] == {"spearman": None, "pearson": None}

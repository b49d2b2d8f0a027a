"""Scores of real small ONNX models: independent of batches, told in full, and with the data's state."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.bench.asked import asked_tasks, own_task
from benchkit.bench.score import ScoreSettings, data_for, score, score_examples, splits_of
from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import QuantizeRecipe
from benchkit.core.records import Measured, NotMeasured, Record
from benchkit.core.registry import QUANTIZERS
from benchkit.tasks.own import Columns
from benchkit.tasks.readers import Examples
from benchkit.tasks.table import task_named

SST2 = task_named("sst2")
WORDS = ("a", "bad", "good", "film", "is", "movie", "not", "the", "this", "very", ".", "!")


def examples_of(texts: list[str]) -> Examples:
    labels = tuple(number % 2 for number in range(len(texts)))
    return Examples(
        task="sst2", split="validation", first=tuple(texts), second=None, labels=labels, source="x", sha256="0" * 64
    )


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(0, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def fp32(pico_onnx: Path) -> Artifact:
    return load_artifact(pico_onnx)


@pytest.fixture(scope="module")
def int8(fp32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("int8") / "pico-int8"
    folder.mkdir()
    QUANTIZERS.get("dynamic-int8")(QuantizeRecipe(), source=fp32, name="pico-int8", out=folder)
    return load_artifact(folder)


def logits_of(artifact: Artifact, texts: list[str], **settings: Any) -> np.ndarray:
    return score_examples(artifact, SST2, examples_of(texts), ScoreSettings(**settings)).scored.logits


def test_fp32_answers_depend_on_neither_order_nor_batches_nor_threads(fp32: Artifact) -> None:
    texts = random_texts(200)
    order = np.random.default_rng(1).permutation(200)
    alone = logits_of(fp32, texts, batch_size=1)
    assert np.ptp(alone, axis=0).max() > 0.05  # Else the tolerance would say nothing.
    for settings in ({}, {"batch_tokens": 2048}, {"batch_size": 7}, {"batch_size": 200}, {"threads": 2}):
        np.testing.assert_allclose(logits_of(fp32, texts, **settings), alone, rtol=0, atol=1e-5)
        shuffled = logits_of(fp32, [texts[row] for row in order], **settings)
        np.testing.assert_allclose(shuffled, alone[order], rtol=0, atol=1e-5)


def test_dynamic_int8_is_scored_as_it_is_called_in_single_stream(int8: Artifact, tiny_sst2: Path) -> None:
    texts = random_texts(200)
    order = np.random.default_rng(1).permutation(200)
    alone = logits_of(int8, texts, batch_size=1)
    np.testing.assert_array_equal(logits_of(int8, texts), alone)
    np.testing.assert_array_equal(logits_of(int8, [texts[row] for row in order], threads=2), alone[order])
    assert np.abs(logits_of(int8, texts, batch_size=50) - alone).max() > 1e-4
    record = score(int8, SST2, tiny_sst2, ScoreSettings())
    assert (record.cell.batch_size, record.cell.batch_tokens) == (1, None)
    batching = details_of(record)["batching"]
    assert batching["mode"] == "examples"
    assert batching["max_logit_difference"] > 1e-4
    given = score(int8, SST2, tiny_sst2, ScoreSettings(batch_size=4))
    assert (given.cell.batch_size, details_of(given)["batching"]["max_logit_difference"] > 1e-4) == (4, True)


def details_of(record: Record) -> dict[str, Any]:
    measurement = record.measurements["score"]
    assert isinstance(measurement, Measured)
    return measurement.details


def test_a_record_tells_all(fp32: Artifact, tiny_sst2: Path, tmp_path: Path) -> None:
    record = score(fp32, SST2, tiny_sst2, ScoreSettings(threads=2), predictions=tmp_path)
    details = details_of(record)
    assert (details["headline"], details["metrics"]) == ("accuracy", ["accuracy"])
    data = details["data"]
    assert (data["source"], data["rows"], data["official_rows"], data["state"]) == ("SST-2/dev.tsv", 20, 872, "subset")
    assert len(data["sha256"]) == 64
    assert details["batching"]["mode"] == "tokens"
    assert details["batching"]["batch_size"] == record.cell.batch_size > 1
    assert details["batching"]["sample"] == 20
    assert details["batching"]["calls_at_once"] == record.cell.threads == 2
    assert details["batching"]["max_logit_difference"] < 1e-5
    assert (record.cell.batch_tokens, details["truncated"], details["empty"]) == (384, 0, 0)
    assert 0 <= details["padding_waste"] < 0.5
    assert details["examples_per_s"] > 0
    assert any("subset" in warning and "20 of 872" in warning for warning in record.warnings)
    [name] = record.files
    kept = json.loads((tmp_path / name).read_text())
    assert (kept["task"], kept["split"], kept["artifact"]) == ("sst2", "validation", fp32.manifest.id)
    assert kept["data_sha256"] == data["sha256"]
    assert [max((0, 1), key=row.__getitem__) for row in kept["logits"]] == [
        kept["labels"].index(answer) for answer in kept["predictions"]
    ]
    assert len(kept["predictions"]) == 20


def test_bad_sentences_are_counted_and_said(fp32: Artifact, tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    rows = ["good film\t1", "\t0", "  \t1", "bad " * 25_000 + "\t0"]
    (tmp_path / "SST-2" / "dev.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n")
    record = score(fp32, SST2, tmp_path, ScoreSettings(max_length=32))
    details = details_of(record)
    assert (details["truncated"], details["empty"]) == (1, 2)
    assert "1 of 4 examples were truncated to 32 tokens" in record.warnings
    assert "2 of 4 examples have an empty sentence, which was scored as it is" in record.warnings


def test_a_split_without_labels_is_answered_and_not_scored(fp32: Artifact, tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "test.tsv").write_text("index\tsentence\n0\tgood film\n1\ta bad movie\n")
    record = score(
        fp32, SST2, tmp_path, ScoreSettings(split="test"), predictions=tmp_path / "out", submission=tmp_path / "send"
    )
    measurement = record.measurements["score"]
    assert isinstance(measurement, NotMeasured)
    assert measurement.reason == "no_labels"
    assert measurement.remedy
    [name] = record.files
    answers = json.loads((tmp_path / "out" / name).read_text())["predictions"]
    assert set(answers) <= {"negative", "positive"}
    numbers = ["negative", "positive"].index(answers[0]), ["negative", "positive"].index(answers[1])
    assert (tmp_path / "send" / "SST-2.tsv").read_text() == f"index\tprediction\n0\t{numbers[0]}\n1\t{numbers[1]}\n"


def test_only_glue_is_sent_in(fp32: Artifact, tmp_path: Path) -> None:
    own = own_data(tmp_path)
    [task] = asked_tasks(fp32, [str(own)], Columns(text="text"))
    with pytest.raises(BenchkitError, match="no task 'own'"):
        score(fp32, task, tmp_path, ScoreSettings(), submission=tmp_path / "send")


def own_data(folder: Path) -> Path:
    rows = [{"text": f"{'good' if number % 2 else 'bad'} film", "label": number % 2} for number in range(40)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "own.jsonl"


def test_own_data_takes_the_model_s_labels_and_its_own_folder(fp32: Artifact, tmp_path: Path) -> None:
    [task] = asked_tasks(fp32, [str(own_data(tmp_path))], Columns(text="text"))
    assert task.labels == ("negative", "positive")
    assert data_for(task, None) == data_for(task, Path("elsewhere")) == tmp_path
    record = score(fp32, task, tmp_path, ScoreSettings())
    assert (record.cell.task, details_of(record)["data"]["state"]) == ("own", "unofficial")
    swapped = asked_tasks(fp32, [str(tmp_path / "own.jsonl")], Columns(text="text", labels=("positive", "negative")))
    other = score(fp32, swapped[0], tmp_path, ScoreSettings())
    values = [one.statistic("score", "accuracy") for one in (record, other)]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0].value == pytest.approx(1 - (values[1].value or 0))


def test_a_wrong_set_of_labels_names_both(fp32: Artifact, tmp_path: Path) -> None:
    rte = task_named("rte")
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\tgood\tbad\tentailment\n")
    with pytest.raises(BenchkitError, match="negative, positive; the task has entailment, not_entailment"):
        score(fp32, rte, tmp_path, ScoreSettings())


def made_for(artifact: Artifact, task: str | None) -> Artifact:
    return artifact.model_copy(update={"manifest": artifact.manifest.model_copy(update={"task": task})})


def test_which_tasks_fit_an_artifact(fp32: Artifact, tmp_path: Path) -> None:
    names = ["sst2", "mrpc", "ax"]

    def found(task: str | None) -> list[str]:
        return [one.name for one in asked_tasks(made_for(fp32, task), names, None)]

    assert [found(task) for task in ("sst2", "mnli", "qqp")] == [["sst2"], ["ax"], []]
    # Of a foreign artifact, or one made for a task of its user's, the labels decide.
    assert found(None) == found("my-reviews") == names
    assert own_task(made_for(fp32, "rte")).name == "rte"
    with pytest.raises(BenchkitError, match="does not say what it is to be scored on"):
        own_task(made_for(fp32, None))
    with pytest.raises(BenchkitError, match="'my-reviews'"):
        own_task(made_for(fp32, "my-reviews"))
    with pytest.raises(BenchkitError, match="knows its own columns"):
        asked_tasks(fp32, ["sst2"], Columns(text="text"))
    own = own_data(tmp_path)
    both = asked_tasks(made_for(fp32, "sst2"), ["sst2", str(own)], Columns(text="text"))
    assert [task.name for task in both] == ["sst2", "own"]


def test_both_halves_of_mnli_where_they_are(tmp_path: Path) -> None:
    mnli = task_named("mnli")
    assert splits_of(mnli, "validation", tmp_path) == ("validation",)
    (tmp_path / "MNLI").mkdir()
    (tmp_path / "MNLI" / "dev_mismatched.tsv").write_text("x\n")
    assert splits_of(mnli, "validation", tmp_path) == ("validation", "validation_mismatched")
    assert splits_of(mnli, "validation_mismatched", tmp_path) == ("validation_mismatched",)
    assert splits_of(SST2, "validation", tmp_path) == ("validation",)


def test_data_is_looked_at_before_a_model_is_loaded(fp32: Artifact, tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "dev.tsv").write_text("sentence\tlabel\ngood\t7\n")
    broken = fp32.model_copy(update={"path": tmp_path})
    with pytest.raises(BenchkitError, match=r"dev\.tsv:2: label '7' is not one of 0, 1"):
        score(broken, SST2, tmp_path, ScoreSettings())

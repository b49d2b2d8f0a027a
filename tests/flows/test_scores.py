"""`benchkit score` as a person types it: own tasks, own data, several at once, and what cannot be scored."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def made_for(pico_onnx: Path, tmp_path: Path):
    """Copy the pico artifact under another name, as one that says what it is made for."""

    def make(name: str, task: str | None) -> str:
        folder = tmp_path / name
        shutil.copytree(pico_onnx, folder)
        manifest = json.loads((folder / "artifact.json").read_text())
        about = {"task": task, "name": name, "candidate": name, "id": f"{name:>012}"[:12]}
        (folder / "artifact.json").write_text(json.dumps(manifest | about))
        return str(folder)

    return make


def records_of(text: str) -> list[dict[str, Any]]:
    return json.loads(text)


def test_one_table_of_several(command, made_for, tiny_sst2: Path) -> None:
    first, second = made_for("first", "sst2"), made_for("second", "mrpc")
    ended = command("score", first, second, "--task", "sst2", "--data", str(tiny_sst2))
    assert ended.code == 0, ended.err
    assert "sst2" in ended.out
    assert "first" in ended.out
    assert "second" not in ended.out
    assert "'second' is made for mrpc, and not for sst2: skipped" in ended.err
    markdown = command("score", first, "--data", str(tiny_sst2), "--format", "markdown", "-q")
    assert markdown.code == 0, markdown.err
    assert "| first" in markdown.out


def test_own_task_by_default(command, made_for, pico_onnx: Path, tiny_sst2: Path) -> None:
    ended = command("score", made_for("mine", "sst2"), "--data", str(tiny_sst2), "--format", "json", "-q")
    assert [record["cell"]["task"] for record in records_of(ended.out)] == ["sst2"]
    unsaid = command("score", made_for("unsaid", None), "--data", str(tiny_sst2), "-q")
    assert unsaid.code == 2
    assert "'unsaid' names no task in its artifact.json" in unsaid.err
    other = command("score", made_for("other", "rte"), "--task", "sst2", "--data", str(tiny_sst2), "-q")
    assert other.code == 2
    assert "'other' is made for rte, and not for sst2" in other.err
    assert "--task rte" in other.err


def test_nothing_fits(command, made_for, tiny_sst2: Path) -> None:
    several = (made_for("one", "rte"), made_for("two", "mrpc"))
    ended = command("score", *several, "--task", "sst2", "--data", str(tiny_sst2))
    assert ended.code == 4
    assert "nothing was scored" in ended.err


def test_data_of_ones_own(command, pico_onnx: Path, tmp_path: Path) -> None:
    rows = "".join(f'"good, film",{1 - number % 2},{number % 2}\n' for number in range(30))
    (tmp_path / "mine.csv").write_text("review,other,sense\n" + rows)
    ended = command(
        *("score", str(pico_onnx), "--task", "mine.csv", "--text-column", "review", "--label-column", "sense"),
        *("--labels", "negative,positive", "--format", "json", "-q"),
    )
    assert ended.code == 0, ended.err
    [record] = records_of(ended.out)
    assert record["cell"]["task"] == "mine"
    assert record["measurements"]["score"]["statistics"]["accuracy"]["value"] == 0.5
    assert command("score", str(pico_onnx), "--task", "mine.csv", "-q").code == 2  # Which column is the text?
    wrong = command("score", str(pico_onnx), "--task", "sst2", "--labels", "a,b", "-q")
    assert wrong.code == 2
    assert "--text-column" in wrong.err
    (tmp_path / "mine.csv").write_text("review,sense\ngood,2\nbad,0\n")
    outside = command(
        *("score", str(pico_onnx), "--task", "mine.csv", "--text-column", "review", "--label-column", "sense"), "-q"
    )
    assert outside.code == 2
    assert "mine.csv:2" in outside.err
    assert "'2' is not one of" in outside.err


def test_a_wrong_order_of_labels_is_put_right_and_other_names_are_refused(
    command, made_for, tiny_sst2: Path, tmp_path: Path
) -> None:
    values = []
    for name, labels in (
        ("as-is", None),
        ("swapped", {"0": "Positive", "1": "Negative"}),
        ("bad", {"0": "a", "1": "b"}),
    ):
        folder = Path(made_for(name, "sst2"))
        (folder / "artifact.json").unlink()
        if labels:
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"id2label": labels}))
        ended = command("score", str(folder), "--task", "sst2", "--data", str(tiny_sst2), "--format", "json", "-q")
        if name == "bad":
            assert ended.code == 2
            assert "the model has a, b; the task has negative, positive" in ended.err
        else:
            values.append(records_of(ended.out)[0]["measurements"]["score"]["statistics"]["accuracy"]["value"])
    assert values[0] == pytest.approx(1 - values[1])


def test_a_test_split_has_answers_and_no_score(command, pico_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "test.tsv").write_text("index\tsentence\n0\tgood film\n")
    arguments = ("score", str(pico_onnx), "--task", "sst2", "--data", ".", "--split", "test")
    ended = command(*arguments, "--output", "kept/records.jsonl", "-q")
    assert ended.code == 4
    assert "SST-2/test.tsv has no labels" in ended.err
    assert len(list((tmp_path / "kept").glob("predictions-*-sst2-test.json"))) == 1
    assert command(*arguments, "--submission", "send", "-q").code == 0
    assert (tmp_path / "send" / "SST-2.tsv").read_text().startswith("index\tprediction\n0\t")


def test_several_splits(command, pico_onnx: Path, tiny_sst2: Path) -> None:
    ended = command(
        *("score", str(pico_onnx), "--task", "sst2", "--data", str(tiny_sst2), "--split", "validation,train"),
        *("--batch-tokens", "64", "--format", "json", "-q"),
    )
    assert ended.code == 0, ended.err
    cells = [record["cell"] for record in records_of(ended.out)]
    assert [(cell["split"], cell["batch_tokens"]) for cell in cells] == [("validation", 64), ("train", 64)]


def test_an_error_in_the_middle_keeps_what_was_scored(
    command, pico_onnx: Path, tiny_sst2: Path, tmp_path: Path
) -> None:
    ended = command(
        *("score", str(pico_onnx), "--task", "sst2,rte", "--data", str(tiny_sst2)), "--output", "records.jsonl", "-q"
    )
    assert ended.code == 2
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 1

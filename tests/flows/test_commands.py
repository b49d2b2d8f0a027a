"""The verbs on a pico model, as typed."""

import json
from pathlib import Path

import pytest

import benchkit

QUICK = ("--sequence-length", "8", "--runs", "2", "--quiet")


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_profile_writes_each_form_to_stdout(command, pico_onnx: Path, form: str) -> None:
    ended = command("profile", str(pico_onnx), *QUICK, "--format", form)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    if form == "json":
        [record] = json.loads(ended.out)
        assert record["schema"] == "benchkit.record/1"
        assert record["measurements"]["latency"]["unit"] == "s"
    else:
        assert "pico-sst2" in ended.out


def test_profile_of_a_checkpoint_exports_it_once(command, pico_checkpoint: Path) -> None:
    first = command("profile", str(pico_checkpoint), "--sequence-length", "8", "--runs", "1")
    again = command("profile", str(pico_checkpoint), "--sequence-length", "8", "--runs", "1")
    assert "export pico-sst2" in first.err
    assert "export pico-sst2" not in again.err


def test_profile_runs_a_checkpoint_eagerly(command, pico_checkpoint: Path) -> None:
    ended = command("profile", str(pico_checkpoint), "--runtime", "torch", *QUICK, "--format", "json")
    # A busy machine voids the one cell, which is 4; the record is there all the same.
    assert ended.code == 0 or "every cell is void" in ended.err, ended.err
    [record] = json.loads(ended.out)
    assert (record["cell"]["runtime"], record["cell"]["provider"]) == ("torch", "torch-eager")


def test_profile_makes_precisions(command, pico_onnx: Path) -> None:
    ended = command("profile", str(pico_onnx), "--precision", "fp32,dynamic-int8", *QUICK, "--format", "json")
    records = json.loads(ended.out)
    assert [record["artifact"]["precision"] for record in records] == ["fp32", "dynamic-int8"]
    assert records[1]["artifact"]["parents"] == [records[0]["artifact"]["id"]]


def test_a_dry_run_measures_nothing(command, pico_onnx: Path) -> None:
    ended = command("profile", str(pico_onnx), "--batch-size", "1,8", "--sequence-length", "8", "--dry-run")
    assert ended.code == 0
    assert "2 cells, 17 fresh processes" in ended.out


def test_score_keeps_the_answers_beside_the_records(command, pico_onnx: Path, tiny_sst2: Path, tmp_path: Path) -> None:
    arguments = ("score", str(pico_onnx), "--task", "sst2", "--data", str(tiny_sst2), "-q")
    ended = command(*arguments, "--format", "json", "--output", str(tmp_path / "kept" / "records.jsonl"))
    assert ended.code == 0, ended.err
    [record] = json.loads(ended.out)
    [(name, _digest)] = record["files"].items()
    kept = json.loads((tmp_path / "kept" / name).read_text())
    assert len(kept["logits"]) == 20
    accuracy = record["measurements"]["score"]["statistics"]["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1


def test_scores_of_torch_and_onnx_agree(command, pico_onnx: Path, pico_checkpoint: Path, tiny_sst2: Path) -> None:
    values = []
    for target, runtime in ((pico_onnx, "onnxruntime"), (pico_checkpoint, "torch")):
        ended = command(
            "score",
            str(target),
            "--task",
            "sst2",
            "--data",
            str(tiny_sst2),
            "--runtime",
            runtime,
            "-q",
            "--format",
            "json",
        )
        assert ended.code == 0, ended.err
        values.append(json.loads(ended.out)[0]["measurements"]["score"]["statistics"]["accuracy"]["value"])
    assert values[0] == values[1]


def test_random_weights_are_not_scored(command, tmp_path: Path) -> None:
    ended = command("score", "arch:minilm-l6-h384", "--task", "toy-sentiment", "-q")
    assert ended.code == 2
    assert "random weights" in ended.err


def test_compare_says_its_word_and_its_code(command, pico_onnx: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "records.jsonl")
    ended = command("compare", str(pico_onnx), str(pico_onnx), "--sequence-length", "8", "-q", "--output", out)
    word = ended.out.split(":")[0]
    # What a busy test machine says is not the test's to choose: the word and the code must fit.
    assert {"equal": 0, "faster": 0, "not slower": 0, "slower": 1, "inconclusive": 3}[word] == ended.code
    [record] = benchkit.load_records(out)
    assert record.kind == "compare"
    assert record.statistic("latency_ratio", "ratio").n in (6, 12, 20)
    # Three processes a pair; those taken after the look that decided are kept, too.
    assert len(record.measurements["latency"].runs) >= 3 * record.statistic("latency_ratio", "ratio").n


def test_export_and_quantize_leave_artifacts(command, pico_checkpoint: Path) -> None:
    assert command("export", str(pico_checkpoint), "-o", "onnx", "-q").code == 0
    assert command("quantize", "onnx", "-o", "int8", "-q").code == 0
    manifests = [json.loads((Path(name) / "artifact.json").read_text()) for name in ("onnx", "int8")]
    assert manifests[1]["parents"] == [manifests[0]["id"]]
    assert manifests[1]["precision"] == "dynamic-int8"


def test_check_measures_the_budgets_cells(command, pico_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "budgets.toml").write_text(
        '[[budget]]\nname = "size"\nwhere = { batch_size = 2, sequence_length = 8 }\nquantity = "artifact_size"\n'
        'statistic = "value"\nat_most_bytes = 10\n'
    )
    ended = command("check", str(pico_onnx), "--budgets", "budgets.toml", "--runs", "1", "-q", "--format", "json")
    [verdict] = json.loads(ended.out)
    assert verdict["budget"] == "size"
    # 1 when the machine was quiet, 3 when it was not; never 0: the file is larger than 10 bytes.
    assert ended.code in (1, 3)


def test_the_python_api(pico_onnx: Path, tiny_sst2: Path) -> None:
    records = benchkit.profile(pico_onnx, sequence_length=[8], runs=1)
    assert len(records) == 1
    frame = records.to_dataframe()
    assert {"latency", "throughput", "peak_memory"} <= set(frame["quantity"])
    assert benchkit.score(pico_onnx, task="sst2", data=tiny_sst2).kind == "score"
    assert "<table>" in records._repr_html_()
    with pytest.raises(benchkit_error(), match="unknown key 'batchsize'"):
        benchkit.profile(pico_onnx, batchsize=[1])


def benchkit_error() -> type[Exception]:
    from benchkit.core.errors import BenchkitError

    return BenchkitError


def test_an_interrupted_profile_goes_on_from_its_journal(command, pico_onnx: Path, tmp_path: Path, monkeypatch) -> None:
    from benchkit.bench import sweep

    arguments = ("profile", str(pico_onnx), *QUICK, "--output", str(tmp_path / "records.jsonl"))
    real, started = sweep.run_in_child, []

    def interrupted_at_the_second(job, *, timeout_s):
        started.append(job)
        if len(started) == 2:
            raise KeyboardInterrupt
        return real(job, timeout_s=timeout_s)

    monkeypatch.setattr(sweep, "run_in_child", interrupted_at_the_second)
    monkeypatch.setattr("benchkit.bench.journal.is_spoiled", lambda _: False)  # A busy machine would spoil some.
    assert command(*arguments).code == 130
    assert command(*arguments).code == 0
    assert len(started) == 2 + 4  # Of five processes (coverage, two timed, two of memory) one was finished.
    assert len(benchkit.load_records(tmp_path / "records.jsonl")) == 1
    assert not list(tmp_path.glob("*.journal"))


def test_an_output_that_cannot_be_written_is_told_before_measuring(command, pico_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = command("profile", str(pico_onnx), *QUICK, "--output", str(tmp_path / "file" / "records.jsonl"))
    assert ended.code == 2
    assert "is a file" in ended.err
    assert ended.out == ""


def test_tune_returns_a_variant_with_its_settings(command, pico_checkpoint: Path, tiny_sst2: Path) -> None:
    arguments = ("--task", "sst2", "--data", str(tiny_sst2), "--sequence-length", "8", "--max-score-drop", "0.9")
    ended = command("tune", str(pico_checkpoint), *arguments, "-o", "winner", "-q")
    assert ended.code in (0, 3), ended.err
    manifest = json.loads(Path("winner/artifact.json").read_text())
    assert manifest["notes"]["tuned"]["threads"] == 1
    assert manifest["precision"] in ("fp32", "dynamic-int8")
    assert "fastest" in ended.out
    assert command("profile", "winner", *QUICK).code == 0


def test_tune_drops_what_may_lose_the_score(command, pico_checkpoint: Path, tiny_sst2: Path) -> None:
    """Few examples rule out no loss, however alike the answers are: so nothing but fp32 may win."""
    ended = command(
        "tune", str(pico_checkpoint), "--task", "sst2", "--data", str(tiny_sst2), "--sequence-length", "8", "-q"
    )
    assert ended.code == 0, ended.err
    assert "a loss above 0.005 is not ruled out" in ended.out
    assert ended.out.strip().splitlines()[-1].startswith("fp32 stays")

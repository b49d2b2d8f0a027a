"""`benchkit quantize` from the command line: what it writes, what it says, what it refuses."""

import json
from pathlib import Path

import pytest

from benchkit.bench.targets import resolve
from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import SplitRecipe
from benchkit.tasks.calibration import calibration_for
from benchkit.tasks.table import task_named


def refused(ended, *parts: str) -> None:
    assert ended.code == 2, ended.err
    assert "  fix: " in ended.err
    for part in parts:
        assert part in ended.err


def test_in_words(command, pico_onnx: Path, tiny_sst2: Path) -> None:
    ended = command(
        "quantize", str(pico_onnx), "-o", "int8", "--method", "static-int8", "--task", "sst2", "--data", str(tiny_sst2)
    )
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].endswith("int8")
    assert lines[1].startswith("static-int8: 0.1 MiB -> 0.1 MiB (")
    assert lines[2] == "covered: Gather 2 of 3 with weights; MatMul+Gemm 14 of 14 with weights"
    assert lines[3].startswith("outputs differ by ")
    assert "of 2 answers change (texts of SST-2/train.tsv, unlabelled part)" in lines[3]
    assert lines[4] == "calibrated on 9 texts: SST-2/train.tsv, unlabelled part"
    assert "find ranges" in ended.err, "the talk is on stderr"


def test_as_json(command, pico_onnx: Path, tiny_sst2: Path) -> None:
    arguments = (
        "--task",
        "sst2",
        "--data",
        str(tiny_sst2),
        "--set",
        "base=static-int8",
        "--set",
        "max_logit_error=0.1",
    )
    ended = command(
        "quantize", str(pico_onnx), "-o", "m", "--method", "mixed-int8", *arguments, "--format", "json", "-q"
    )
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert (facts["precision"], facts["base"]) == ("mixed-int8", "static-int8")
    assert set(facts["kept_in_fp32"]) < set(facts["sensitivity"])
    assert facts["size_after_bytes"] == Path("m/model.onnx").stat().st_size
    assert facts["calibration"]["digest"] == calibration_for(task_named("sst2"), tiny_sst2, SplitRecipe()).digest


def test_settings_by_flag_and_by_name(command, pico_onnx: Path) -> None:
    assert command("quantize", str(pico_onnx), "-o", "a", "--per-tensor", "-q").code == 0
    assert command("quantize", str(pico_onnx), "-o", "b", "--set", "per_channel=false", "-q").code == 0
    first, second = (load_artifact(Path(name)).manifest for name in ("a", "b"))
    assert first.recipe["per_channel"] is second.recipe["per_channel"] is False
    assert first.id == second.id
    refused(command("quantize", str(pico_onnx), "-o", "c", "--set", "per_chanel=false"), "did you mean 'per_channel'?")
    refused(command("quantize", str(pico_onnx), "-o", "c", "--set", "block_size=33"), "block_size")
    refused(command("quantize", str(pico_onnx), "-o", "c", "--set", "per_channel"), "has no '='")


def test_a_file_of_texts(command, pico_onnx: Path, tiny_sst2: Path) -> None:
    Path("texts.txt").write_text("this film is good\nnot bad\na very bad movie !\n", encoding="utf-8")
    given = ("quantize", str(pico_onnx), "-o", "int8", "--method", "static-int8", "--calibration-file")
    ended = command(*given, "texts.txt", "-q")
    assert ended.code == 0, ended.err
    assert "calibrated on 3 texts: texts.txt" in ended.out
    Path("empty.txt").write_text("\n", encoding="utf-8")
    refused(command(*given, "empty.txt"), "'empty.txt' holds no text to calibrate on")
    refused(command(*given, "none.txt"), "cannot read 'none.txt'")
    refused(command(*given, str(tiny_sst2 / "SST-2" / "dev.tsv")), "looks like a split that scores are made on")
    sentences = [row.rpartition("\t")[0] for row in (tiny_sst2 / "SST-2" / "dev.tsv").read_text().splitlines()[1:3]]
    Path("mine.txt").write_text("\n".join(["good film", *sentences]) + "\n", encoding="utf-8")
    ended = command(*given, "mine.txt", "--task", "sst2", "--data", str(tiny_sst2))
    refused(ended, "2 of the 3 texts in 'mine.txt' are in the validation split of 'sst2'")


def test_methods_that_need_text_say_where_it_comes_from(command, pico_onnx: Path) -> None:
    ended = command("quantize", str(pico_onnx), "-o", "int8", "--method", "static-int8")
    refused(ended, "static-int8 finds the ranges of activations on text", "--calibration-file")
    assert not Path("int8").exists()


def test_a_target_is_made_small_on_the_fly(
    pico_onnx: Path, tiny_sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no text is made of a target by its name; what does, of a target and texts."""
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path))
    target = str(pico_onnx)
    assert resolve(target, runtime="onnxruntime", precision="weight-int8").manifest.precision == "weight-int8"
    with pytest.raises(BenchkitError, match="static-int8 finds the ranges of activations on text") as caught:
        resolve(target, runtime="onnxruntime", precision="static-int8")
    assert "--calibration-file" in caught.value.remedy
    given = [calibration_for(task_named("sst2"), tiny_sst2, SplitRecipe(), count=count) for count in (9, 9, 5)]
    made = [resolve(target, runtime="onnxruntime", precision="static-int8", calibration=texts).path for texts in given]
    assert made[0] == made[1] != made[2], "the texts are part of what an artifact is"


@pytest.mark.parametrize("method", ["dynamic-int8", "weight-int8"])
def test_a_fused_graph_becomes_small_too(command, pico_onnx: Path, method: str) -> None:
    assert command("quantize", str(pico_onnx), "-o", "fused", "--method", "fp32-fused", "-q").code == 0
    ended = command("quantize", "fused", "-o", "small", "--method", method, "-q")
    assert ended.code == 0, ended.err
    manifest = load_artifact(Path("small")).manifest
    assert (manifest.precision, manifest.notes["source_precision"]) == (method, "fp32-fused")

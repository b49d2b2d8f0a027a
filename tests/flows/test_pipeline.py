"""The main job on pico sizes, as a user runs it: from a file to a page; again; killed in the middle; two at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXPERIMENT = """\
name = "trial"
tasks = ["toy-sentiment"]

[toy_data]
train = 200
dev = 40

[encoder.small]
toy = { hidden_size = 16, layers = 1, heads = 2, intermediate_size = 32, vocabulary_size = 200 }

[encoder.large]
toy = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, vocabulary_size = 200 }
pretrain = { steps = 4, batch_size = 8, threads = 1 }

[train.small]
encoder = "small"
epochs = 1
learning_rate = 1e-3
max_length = 32
threads = 1

[merge.merged]
donor = "small"
base = "large"
search = { grid = [0.0, 1.0], extend_to = 1.0 }
calibration = { sentences = 32 }

[[sweep]]
sequence_length = [16]
runs = 2
warmup_s = 0.0
min_duration_s = 0.01
throughput_s = 0.01
"""

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchkit", "run", "trial.toml", *arguments]
    # A test run in the background of a shell ignores SIGINT, and its children would inherit that.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, former)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    # Where others keep the machine busy, every cell is void and says so; the pipeline has done its work all the same.
    assert process.returncode == 0 or "every cell is void" in err, err
    return out, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the experiment has been run, after a kill -9 in its middle."""
    folder = tmp_path_factory.mktemp("trial")
    (folder / "trial.toml").write_text(EXPERIMENT)
    first = start(folder)
    waited_for = folder / "models" / "trial" / "small-toy-sentiment" / "artifact.json"
    deadline_s = time.monotonic() + 120
    while not waited_for.is_file() and time.monotonic() < deadline_s and first.poll() is None:
        time.sleep(0.05)
    assert waited_for.is_file(), "the donor was never finished"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, err = finish(start(folder))
    assert "train small-toy-sentiment: reused" in err
    return folder


def records_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "reports" / "trial" / "records.jsonl").read_text().splitlines()]


def test_every_artifact_is_scored_and_profiled(finished: Path) -> None:
    found = {(record["kind"], record["artifact"]["name"]) for record in records_of(finished)}
    names = [f"{c}-toy-sentiment-{p}" for c in ("small", "merged") for p in ("fp32", "dynamic-int8")]
    assert found == {(kind, name) for kind in ("score", "profile") for name in names}


def test_lineage_leads_back_to_the_encoders(finished: Path) -> None:
    models = finished / "models" / "trial"
    id_by_name = {path.parent.name: json.loads(path.read_text())["id"] for path in models.glob("*/artifact.json")}
    manifest = json.loads((models / "merged-toy-sentiment" / "artifact.json").read_text())
    assert set(manifest["parents"]) == {
        id_by_name["small-toy-sentiment"],
        id_by_name["encoder-small"],
        id_by_name["encoder-large"],
    }
    quantized = json.loads((models / "merged-toy-sentiment-dynamic-int8" / "artifact.json").read_text())
    assert quantized["parents"] == [id_by_name["merged-toy-sentiment-fp32"]]
    assert quantized["precision"] == "dynamic-int8"
    assert manifest["recipe"]
    assert manifest["versions"]["torch"]


def test_the_page_is_there_and_made_of_the_records_alone(finished: Path, tmp_path: Path) -> None:
    report = finished / "reports" / "trial"
    command = [sys.executable, "-m", "benchkit", "report", str(report / "records.jsonl"), "-o", str(tmp_path / "again")]
    subprocess.run([*command, "--title", "trial"], check=True, capture_output=True, timeout=120)
    for name in ("index.html", "report.md", "comparison.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (report / name).read_bytes(), name


def test_a_second_run_makes_nothing_and_changes_nothing(finished: Path) -> None:
    before = records_of(finished)
    _, err = finish(start(finished))
    steps = [line for line in err.splitlines() if line.startswith("[")]
    assert steps
    assert all(line.endswith("reused") for line in steps)
    # A run that was spoiled by a busy test machine is measured again; everything else comes back as it was.
    quiet = [record for record in before if not record["noise"]["reasons"]]
    assert quiet, "scores at least are never disturbed"
    assert all(record in records_of(finished) for record in quiet)


def test_two_runs_at_once_take_turns(finished: Path) -> None:
    changed = ("--set", "train.small.seed=1")
    together = [start(finished, *changed), start(finished, *changed)]
    talk = [finish(process)[1] for process in together]
    made = [
        sum("train small-toy-sentiment" in line and "reused" not in line for line in err.splitlines()) for err in talk
    ]
    assert sorted(count > 0 for count in made) == [False, True], "one made it, the other reused it"
    assert not list((finished / "models" / "trial").glob(".*.partial"))
    assert len(records_of(finished)) == 8


def test_ctrl_c_ends_with_130_and_one_line(finished: Path) -> None:
    process = start(finished, "--set", "train.small.seed=2")
    assert process.stderr is not None
    for line in process.stderr:
        if "train small" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("interrupted")
    assert not list((finished / "models" / "trial").glob(".*.partial"))


def test_the_plan_is_printed_and_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "trial.toml").write_text(EXPERIMENT)
    out, _ = finish(start(tmp_path, "--dry-run"))
    assert "make   merge        merged-toy-sentiment" in out
    assert [path.name for path in tmp_path.iterdir()] == ["trial.toml"]

"""Real trainings on a pico encoder: side by side, interrupted in the middle, taken up again, to the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = """
name = "pico"
encoder = "{encoder}"
task = "sst2"

[splits]
validation = 10
unlabelled = 4

[train]
epochs = {epochs}
batch_size = 4
learning_rate = 1e-3
threads = 1
"""
pytestmark = pytest.mark.slow


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchkit", "train", "recipe.toml", "--seeds", "0,1", *arguments]
    # A test run in the background of a shell ignores SIGINT, and its children would inherit that.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.fixture
def folder(tmp_path: Path, pico_checkpoint: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(encoder=pico_checkpoint, epochs=200))
    return tmp_path


def test_an_interruption_kills_the_children_and_leaves_nothing_half_made(folder: Path, tiny_sst2: Path) -> None:
    process = start(folder, "--data", str(tiny_sst2), "--jobs", "2")
    assert process.stderr is not None
    for line in process.stderr:
        if "pico-seed0" in line and "%" in line:
            break
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert not [pid for pid in children if is_alive(pid)]
    left = [path.name for path in (folder / "models").iterdir()]
    assert not [name for name in left if name.endswith(".partial")]
    assert "pico-seed0" not in left


def test_side_by_side_and_one_by_one_give_the_same_bits(folder: Path, tiny_sst2: Path, pico_checkpoint: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE.format(encoder=pico_checkpoint, epochs=1))
    weights = []
    for jobs in ("2", "1"):
        process = start(folder, "--data", str(tiny_sst2), "--jobs", jobs, "-o", jobs)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        weights.append([(folder / jobs / f"pico-seed{seed}" / "model.safetensors").read_bytes() for seed in (0, 1)])
    assert weights[0] == weights[1]
    assert weights[0][0] != weights[0][1]
    assert sorted(path.name for path in (folder / "2").iterdir()) == ["pico-seed0", "pico-seed1"]


def children_of(pid: int) -> list[int]:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        found = [int(word) for word in done.stdout.split()]
        if len(found) == 2:
            return found
        time.sleep(0.2)
    return []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

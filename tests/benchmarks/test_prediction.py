"""`make bench`: what a dry run predicts against what the same sweep takes, on an otherwise idle machine."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

SWEEPS = {
    "closed loop": ("--sequence-length", "32,64", "--runs", "3"),
    "several batches": ("--batch-size", "1,8", "--sequence-length", "128", "--runs", "3"),
    "open loop": ("--sequence-length", "32", "--scenario", "server", "--load", "0.5", "--runs", "3"),
    "largest rate": (
        "--sequence-length",
        "32",
        "--scenario",
        "server",
        "--find-max",
        "--p99-at-most-s",
        "0.1",
        "--runs",
        "2",
    ),
    "cold starts": ("--sequence-length", "32", "--scenario", "offline", "--runs", "2", "--cold-start"),
}


def benchkit(*arguments: str) -> tuple[str, float]:
    begin_s = time.perf_counter()
    command = [sys.executable, "-m", "benchkit", "profile", "arch:minilm-l6-h384", "--quiet", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout, time.perf_counter() - begin_s


@pytest.mark.parametrize("name", SWEEPS)
def test_a_dry_run_tells_the_time_within_a_factor_of_one_and_a_half(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    # Exporting the preset and measuring the machine's peaks are done once a day, and are no part of the sweep.
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path))
    benchkit("--sequence-length", "8", "--scenario", "offline", "--runs", "1")
    plan, _ = benchkit(*SWEEPS[name], "--dry-run")
    found = re.search(r"fresh processes, about (\d+) s", plan)
    assert found is not None, plan
    predicted_s = float(found[1])
    _, took_s = benchkit(*SWEEPS[name])
    ratio = took_s / predicted_s
    word = "met" if 1 / 1.5 < ratio < 1.5 else "MISSED"
    tell(f"{name}: predicted {predicted_s:.0f} s, took {took_s:.1f} s, ratio {ratio:.2f}, bar 1.5 either way: {word}")

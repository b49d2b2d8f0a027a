"""`make bench`: seeds side by side, each on its share of the cores, against one after the other on all of them."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

Tell = Callable[[str], None]

ROUNDS = 3
EXAMPLES = 1600
RECIPE = f"""
name = "seeds"
encoder = "encoder"
task = "toy-entailment"

[train]
epochs = 1
max_examples = {EXAMPLES}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe for an encoder of MiniLM's size (6 layers, 384 wide), made here, on text made here."""
    from benchkit.core.recipes import ToyEncoderRecipe
    from benchkit.core.registry import STEPS
    from benchkit.tasks.toy import write_toy_tasks

    write_toy_tasks(tmp_path / "data", train=EXAMPLES * 2)
    shape = ToyEncoderRecipe(hidden_size=384, layers=6, heads=12, intermediate_size=1536)
    (tmp_path / "encoder").mkdir()
    STEPS.get("toy-encoder")(shape, name="encoder", data=tmp_path / "data", out=tmp_path / "encoder")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def train(folder: Path, out: str, jobs: int, seeds: str) -> tuple[float, float]:
    """Train from nothing; return the seconds that the command took, and the examples/s of one training."""
    command = [sys.executable, "-m", "benchkit", "train", "recipe.toml", "--data", "data", "--seeds", seeds]
    # Nothing that was set for tests may bound the threads here.
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    begin_s = time.perf_counter()
    done = subprocess.run(
        [*command, "--jobs", str(jobs), "-o", out, "--format", "json", "--quiet"],
        cwd=folder,
        env=free,
        check=True,
        capture_output=True,
        text=True,
    )
    took_s = time.perf_counter() - begin_s
    return took_s, statistics.fmean(one["train_examples_per_s"] for one in json.loads(done.stdout)["trainings"])


def test_two_seeds_side_by_side(folder: Path, tell: Tell) -> None:
    from benchkit.pipeline.train_all import training_cores

    count = max(2, min(4, training_cores()))
    seeds = ",".join(map(str, range(count)))
    took_s: dict[int, list[float]] = {1: [], count: []}
    rates: dict[int, list[float]] = {1: [], count: []}
    for turn in range(ROUNDS):
        for jobs in (1, count)[:: 1 if turn % 2 else -1]:
            seen_s, rate = train(folder, f"{turn}-{jobs}", jobs, seeds)
            took_s[jobs].append(seen_s)
            rates[jobs].append(rate)
    ratio = statistics.median(one / side for one, side in zip(took_s[1], took_s[count], strict=True))
    one, side = statistics.median(took_s[1]), statistics.median(took_s[count])
    told = f"{count} seeds, 6 layers 384 wide, {EXAMPLES} examples each: one by one on all cores {one:.1f} s"
    rate = f"{statistics.median(rates[1]):.0f} against {count} x {statistics.median(rates[count]):.0f} examples/s"
    verdict = "side by side is faster" if ratio > 1 else "side by side is NOT faster: --jobs auto should be 1 here"
    tell(f"{told}, side by side {side:.1f} s ({rate}); ratio {ratio:.2f} (median of {ROUNDS} rounds): {verdict}")

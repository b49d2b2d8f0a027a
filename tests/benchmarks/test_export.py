"""`make bench`: what an export takes of time and memory, on an otherwise idle machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

Tell = Callable[[str], None]
# Runs the command it is given, and says what the whole took; a parent of its own keeps each peak apart.
_MEASURED = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"peak_rss_bytes": used.ru_maxrss * 1024, "cpu_s": used.ru_utime + used.ru_stime}))
"""


def met(holds: bool) -> str:
    return "met" if holds else "MISSED"


def measured(*arguments: str) -> tuple[float, dict[str, float]]:
    """Run benchkit; return its wall time in seconds, its largest memory and its CPU time."""
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-m", "benchkit", *arguments]
    begin_s = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - begin_s, json.loads(done.stdout)


@pytest.mark.parametrize("preset", ["bert-base", "minilm-l6-h384"])
def test_export_within_15_s_and_2_5_times_the_weights(tmp_path: Path, tell: Tell, preset: str) -> None:
    """The peak of the process that exports, the libraries it imports included, over the size of the weights."""
    from benchkit.core.artifacts import load_artifact
    from benchkit.core.registry import STEPS

    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    STEPS.get("random-checkpoint")(preset, name=preset, out=checkpoint)
    weights_bytes = load_artifact(checkpoint).size_bytes
    wall_s, used = measured("export", str(checkpoint), "-o", str(tmp_path / "onnx"), "-q")
    share = used["peak_rss_bytes"] / weights_bytes
    bars = ""
    if preset == "bert-base":  # Of a small model the libraries take the most.
        bars = f", bars 15 s: {met(wall_s < 15)}, 2.5 x: {met(share < 2.5)}"
    tell(
        f"benchkit export {preset} ({weights_bytes / 1e6:.0f} MB), {os.cpu_count()} cores: {wall_s:.1f} s "
        f"({used['cpu_s']:.1f} s of CPU), peak {used['peak_rss_bytes'] / 1e6:.0f} MB = {share:.2f} x the weights{bars}"
    )


def test_fusing_within_30_s(tmp_path: Path, tell: Tell) -> None:
    from benchkit.bench.targets import resolve

    resolve("arch:bert-base", runtime="onnxruntime")
    wall_s, used = measured("export", "arch:bert-base", "-o", str(tmp_path / "fused"), "--fused", "-q")
    notes = json.loads((tmp_path / "fused" / "artifact.json").read_text())["notes"]
    told = f"peak {used['peak_rss_bytes'] / 1e6:.0f} MB, {notes['nodes']['before']} -> {notes['nodes']['after']} nodes"
    tell(f"fusing bert-base ahead: {wall_s:.1f} s, {told}, bar 30 s: {met(wall_s < 30)}")

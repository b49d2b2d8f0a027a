"""What real processes show: 300 MB in the parent, in an earlier phase, and for a moment inside a call."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchkit.meters.memory import reset_peak

SIZE_BYTES = 300 << 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not reset_peak(), reason="the high-water mark cannot be reset here"
)


def in_a_process(code: str) -> dict[str, dict[str, Any]]:
    """Run code that fills `phases` in a fresh process; return the phases by name."""
    whole = (
        "import json, mmap, time\n"
        "from benchkit.meters.memory import Phases, children_peak_bytes, footprint\n"
        f"SIZE = {SIZE_BYTES}\n"
        "phases = Phases()\n"
        f"{code}\n"
        "print(json.dumps(phases.as_json()))\n"
    )
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True, timeout=120)
    return {phase["name"]: phase for phase in json.loads(done.stdout)}


def test_a_moments_allocation_inside_a_call_is_caught_within_one_percent() -> None:
    """It lives for 3 ms after its last page was touched: a poller of 10 ms would see some of it at best."""
    found = in_a_process(
        "def call():\n"
        "    block = mmap.mmap(-1, SIZE)\n"
        "    page = b'x' * (1 << 20)\n"
        "    for _ in range(300):\n"
        "        block.write(page)\n"
        "    time.sleep(0.003)\n"
        "    block.close()\n"
        "phases.end('before')\n"
        "call()\n"
        "phases.end('call')\n"
        "phases.end('after')\n"
    )
    before, call, after = (found[name]["footprint"] for name in ("before", "call", "after"))
    assert call["peak_bytes"] - before["resident_bytes"] == pytest.approx(SIZE_BYTES, rel=0.01)
    assert after["peak_bytes"] - before["resident_bytes"] < 0.01 * SIZE_BYTES


def test_what_an_earlier_phase_gave_back_is_absent() -> None:
    found = in_a_process(
        "with phases.phase('export'):\n"
        "    block = b'x' * SIZE\n"
        "    del block\n"
        "with phases.phase('session'):\n"
        "    pass\n"
    )
    export, session = (found[name]["footprint"] for name in ("export", "session"))
    assert export["peak_bytes"] > SIZE_BYTES
    assert session["peak_bytes"] == pytest.approx(export["peak_bytes"] - SIZE_BYTES, abs=0.01 * SIZE_BYTES)


def test_what_an_earlier_phase_keeps_is_present() -> None:
    found = in_a_process("block = b'x' * SIZE\nphases.end('session')\nphases.end('calls')\n")
    calls = found["calls"]["footprint"]
    assert calls["peak_bytes"] > SIZE_BYTES
    assert calls["anonymous_bytes"] > SIZE_BYTES
    assert calls["uss_bytes"] > SIZE_BYTES
    assert calls["pss_bytes"] <= calls["resident_bytes"]


def test_the_parents_memory_is_absent_in_a_fresh_child() -> None:
    block = b"x" * SIZE_BYTES
    found = in_a_process("phases.end('imports')\n")
    del block
    assert 0 < found["imports"]["footprint"]["peak_bytes"] < 0.5 * SIZE_BYTES


def test_a_childs_memory_is_in_the_sum() -> None:
    """The child says when it has touched its pages, and lives until its pipe is closed."""
    found = in_a_process(
        "import subprocess, sys\n"
        "code = 'import sys; block = b\"x\" * ' + str(SIZE) + '; print(flush=True); sys.stdin.read()'\n"
        "child = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "phases.end('with child')\n"
        "child.stdin.close(); child.wait()\n"
        "phases.end('without')\n"
    )
    assert SIZE_BYTES < found["with child"]["children_peak_bytes"] < 1.2 * SIZE_BYTES
    assert found["with child"]["footprint"]["peak_bytes"] < 0.5 * SIZE_BYTES
    assert found["without"]["children_peak_bytes"] == 0


def test_the_meter_imports_nothing_heavy() -> None:
    code = (
        "import sys, benchkit.meters.memory, benchkit.meters.page_cache, benchkit.meters.cold_start\n"
        "print(sorted({'psutil', 'numpy', 'pydantic', 'ctypes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

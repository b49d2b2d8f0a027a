import sys
from pathlib import Path

import pytest

from benchkit.meters.memory import PeakMemory, peak_memory, reset_peak


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_short_allocation_is_caught_within_one_percent() -> None:
    """A block that lives for a moment: a poller of 10 ms would miss it."""
    assert reset_peak()
    before = peak_memory()
    block = b"x" * (300 << 20)
    del block
    after = peak_memory()
    assert before is not None
    assert after is not None
    assert after.peak_bytes - before.peak_bytes == pytest.approx(300 << 20, rel=0.01)
    assert reset_peak()
    again = peak_memory()
    assert again is not None
    assert again.peak_bytes < after.peak_bytes - (250 << 20)


def test_a_scripted_proc(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\n")
    assert peak_memory(tmp_path) == PeakMemory(peak_bytes=2048 * 1024, source="VmHWM")


def test_a_system_without_proc_gives_no_number(tmp_path: Path) -> None:
    assert not reset_peak(tmp_path / "none")
    if sys.platform != "win32":
        assert peak_memory(tmp_path / "none") is None

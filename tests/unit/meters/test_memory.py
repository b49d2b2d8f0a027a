"""Scripted /proc trees; what real processes show is in test_memory_processes.py."""

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchkit.meters.memory import (
    Footprint,
    PeakMemory,
    PhaseMemory,
    Phases,
    Ratchet,
    cgroup_peak_bytes,
    children_peak_bytes,
    footprint,
    highest_peak,
    peak_memory,
    ratchet,
    reset_peak,
)

STATUS = """Name:\tpython
State:\tR (running)
VmPeak:\t  999999 kB
VmHWM:\t    4096 kB
VmRSS:\t    2000 kB
RssAnon:\t     900 kB
RssFile:\t    1000 kB
RssShmem:\t     100 kB
Threads:\t1
"""
ROLLUP = """55ad44e30000-7ffe28a9b000 ---p 00000000 00:00 0                          [rollup]
Rss:                2048 kB
Pss:                1500 kB
Shared_Clean:        800 kB
Private_Clean:        48 kB
Private_Dirty:       900 kB
Anonymous:           928 kB
"""


def proc_tree(root: Path, *, status: str = STATUS, rollup: str | None = ROLLUP, stat: str = "7 (python) R 1 7") -> Path:
    own = root / "self"
    own.mkdir(parents=True)
    (own / "status").write_text(status)
    (own / "stat").write_text(stat)
    if rollup is not None:
        (own / "smaps_rollup").write_text(rollup)
    return root


def child(proc: Path, pid: int, parent: int, *, peak_kb: int | None, state: str = "S", name: str = "sleep") -> Path:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} 1")
    (folder / "status").write_text("" if peak_kb is None else f"VmHWM:\t{peak_kb} kB\n")
    return folder


class TestPeak:
    def test_is_the_high_water_mark(self, tmp_path: Path) -> None:
        assert peak_memory(proc_tree(tmp_path)) == PeakMemory(peak_bytes=4096 * 1024, source="VmHWM")

    def test_without_proc_there_is_no_number(self, tmp_path: Path) -> None:
        assert not reset_peak(tmp_path / "none")
        if sys.platform != "win32":
            assert peak_memory(tmp_path / "none") is None

    def test_reset_writes_five(self, tmp_path: Path) -> None:
        assert reset_peak(proc_tree(tmp_path))
        assert (tmp_path / "self" / "clear_refs").read_text() == "5"


class TestFootprint:
    def test_of_a_whole_tree(self, tmp_path: Path) -> None:
        assert footprint(proc_tree(tmp_path)) == Footprint(
            resident_bytes=2048 * 1024,
            peak_bytes=4096 * 1024,
            pss_bytes=1500 * 1024,
            uss_bytes=948 * 1024,
            anonymous_bytes=928 * 1024,
            file_backed_bytes=(2048 - 928 - 100) * 1024,
            shared_memory_bytes=100 * 1024,
            source="VmHWM",
        )

    def test_without_rollup_the_status_stands_in_and_the_rest_is_not_known(self, tmp_path: Path) -> None:
        found = footprint(proc_tree(tmp_path, rollup=None))
        assert found.resident_bytes == 2000 * 1024
        assert found.anonymous_bytes == 900 * 1024
        assert found.file_backed_bytes == 1000 * 1024
        assert found.pss_bytes is None
        assert found.uss_bytes is None

    def test_half_a_uss_is_none(self, tmp_path: Path) -> None:
        assert footprint(proc_tree(tmp_path, rollup="Rss: 2048 kB\nPrivate_Dirty: 900 kB\n")).uss_bytes is None

    def test_garbage_is_no_number(self, tmp_path: Path) -> None:
        status = "VmHWM:\tmany kB\nVmRSS: 10 kB\nRssAnon:\nRssFile: -5 kB\n\x00\xff:::\nRssShmem: 3 MB\n"
        found = footprint(proc_tree(tmp_path, status=status, rollup="[rollup]\nPss: ?? kB\n"))
        assert found == Footprint(resident_bytes=10 * 1024, source="none")

    def test_the_peak_is_never_below_what_is_resident(self, tmp_path: Path) -> None:
        """The kernel adds its per-core counters up lazily; the walk over the pages is exact."""
        found = footprint(proc_tree(tmp_path, rollup=ROLLUP.replace("2048", "5000")))
        assert found.peak_bytes == found.resident_bytes == 5000 * 1024

    def test_unreadable_rollup(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        proc = proc_tree(tmp_path)
        real = Path.read_text

        def guarded(path: Path, *args: object, **more: object) -> str:
            if path.name == "smaps_rollup":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **more)  # type: ignore[arg-type]

        # Injected: tests run as root, which may read everything.
        monkeypatch.setattr(Path, "read_text", guarded)
        found = footprint(proc)
        assert found.peak_bytes == 4096 * 1024
        assert found.pss_bytes is None


def imitate(monkeypatch: pytest.MonkeyPatch, *, children: tuple[SimpleNamespace, ...] = (), **methods: object) -> None:
    """Put a fake in the place of `psutil.Process` that has these methods and no others."""
    fake = SimpleNamespace(children=lambda recursive: children)
    for name, answer in methods.items():
        setattr(fake, name, lambda answer=answer: answer)
    monkeypatch.setattr(psutil, "Process", lambda: fake)


class TestWithoutProc:
    def test_macos_has_a_size_and_no_peak(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        imitate(
            monkeypatch,
            memory_info=SimpleNamespace(rss=5000, vms=9, pfaults=1, pageins=1),
            memory_full_info=SimpleNamespace(rss=5000, uss=4000),
        )
        found = footprint(tmp_path)
        assert found == Footprint(resident_bytes=5000, uss_bytes=4000, source="none")
        assert peak_memory(tmp_path) is None
        assert children_peak_bytes(tmp_path) == 0

    def test_windows_has_a_peak(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=70))
        imitate(monkeypatch, children=(one, one), memory_info=SimpleNamespace(rss=5000, peak_wset=8000))
        assert footprint(tmp_path) == Footprint(resident_bytes=5000, peak_bytes=8000, source="peak_wset")
        assert peak_memory(tmp_path) == PeakMemory(peak_bytes=8000, source="peak_wset")
        assert children_peak_bytes(tmp_path) == 140

    def test_a_later_psutil_knows_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        imitate(
            monkeypatch,
            memory_info=SimpleNamespace(rss=5000),
            memory_info_ex=SimpleNamespace(rss=5000, peak_footprint=9000),
            memory_footprint=SimpleNamespace(uss=4000),
        )
        found = footprint(tmp_path)
        assert found == Footprint(resident_bytes=5000, peak_bytes=9000, uss_bytes=4000, source="peak_footprint")

    def test_a_refusal_is_not_a_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise psutil.AccessDenied

        imitate(monkeypatch)
        monkeypatch.setattr(psutil, "Process", refuse)
        assert footprint(tmp_path) == Footprint()
        assert children_peak_bytes(tmp_path) is None

    def test_phases_that_do_not_raise_the_mark_have_no_peak(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Windows keeps one peak for the whole life of a process."""
        now = SimpleNamespace(rss=50, peak_wset=100)
        imitate(monkeypatch, memory_info=now)
        phases = Phases(tmp_path)
        now.peak_wset = 300
        phases.end("export")
        phases.end("session")
        now.peak_wset = 301
        phases.end("first_call")
        assert [phase.peak_bytes for phase in phases.done] == [300, None, 301]
        assert phases.done[1].footprint.source == "peak_wset, not reset"
        assert highest_peak(phases.done) == 301


class TestPhases:
    def test_each_block_is_reset_and_stored(self, tmp_path: Path) -> None:
        proc = proc_tree(tmp_path)
        phases = Phases(proc)
        for name, kilobytes in (("imports", 3000), ("session", 9000), ("first_call", 5000)):
            (proc / "self" / "clear_refs").unlink()
            with phases.phase(name):
                assert (proc / "self" / "clear_refs").read_text() == "5"
                (proc / "self" / "status").write_text(STATUS.replace("4096", str(kilobytes)))
        assert [phase.name for phase in phases.done] == ["imports", "session", "first_call"]
        assert [phase.peak_bytes for phase in phases.done] == [3000 * 1024, 9000 * 1024, 5000 * 1024]
        assert highest_peak(phases.done) == 9000 * 1024
        assert phases.as_json()[1]["footprint"]["peak_bytes"] == 9000 * 1024

    def test_one_that_raises_is_not_recorded(self, tmp_path: Path) -> None:
        phases = Phases(proc_tree(tmp_path))
        with pytest.raises(ZeroDivisionError), phases.phase("session"):
            raise ZeroDivisionError
        assert phases.done == ()

    def test_children_count(self, tmp_path: Path) -> None:
        proc = proc_tree(tmp_path)
        child(proc, 8, 7, peak_kb=100)
        phases = Phases(proc)
        assert (proc / "8" / "clear_refs").read_text() == "5"
        assert phases.end("session").peak_bytes == (4096 + 100) * 1024

    def test_no_peak_at_all(self) -> None:
        assert highest_peak([PhaseMemory(name="session", footprint=Footprint(resident_bytes=1))]) is None
        assert highest_peak([]) is None


class TestChildren:
    def test_are_summed_over_generations(self, tmp_path: Path) -> None:
        proc = proc_tree(tmp_path)
        child(proc, 8, 7, peak_kb=100, name="a) R 1 (b")
        child(proc, 9, 8, peak_kb=20)
        child(proc, 10, 1, peak_kb=5000)
        assert children_peak_bytes(proc) == 120 * 1024

    def test_none_is_zero(self, tmp_path: Path) -> None:
        assert children_peak_bytes(proc_tree(tmp_path)) == 0

    def test_a_zombie_has_none_left(self, tmp_path: Path) -> None:
        proc = proc_tree(tmp_path)
        child(proc, 8, 7, peak_kb=None, state="Z")
        child(proc, 9, 7, peak_kb=3)
        assert children_peak_bytes(proc) == 3 * 1024

    def test_one_that_cannot_be_read_leaves_the_sum_unknown(self, tmp_path: Path) -> None:
        proc = proc_tree(tmp_path)
        child(proc, 8, 7, peak_kb=None)
        child(proc, 9, 7, peak_kb=3)
        assert children_peak_bytes(proc) is None


class TestControlGroup:
    def group(self, root: Path, text: str) -> Path:
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "cgroup").write_text(text)
        return root / "proc"

    @pytest.mark.parametrize(
        ("text", "file", "source"),
        [
            ("0::/user.slice/a.scope\n", "user.slice/a.scope/memory.peak", "memory.peak"),
            ("0::/\n", "memory.peak", "memory.peak"),
            ("0::/docker/abc\n", "memory.peak", "memory.peak"),
            ("4:memory:/\n0::/\n", "unified/memory.peak", "memory.peak"),
            (
                "9:cpu:/x\n4:memory:/jobs/1\n0::/\n",
                "memory/jobs/1/memory.max_usage_in_bytes",
                "memory.max_usage_in_bytes",
            ),
            ("4:memory:/docker/abc\n", "memory/memory.max_usage_in_bytes", "memory.max_usage_in_bytes"),
        ],
    )
    def test_where_it_is(self, tmp_path: Path, text: str, file: str, source: str) -> None:
        path = tmp_path / "cgroup" / file
        path.parent.mkdir(parents=True)
        path.write_text("12345\n")
        assert cgroup_peak_bytes(self.group(tmp_path, text), tmp_path / "cgroup") == (12345, source)

    @pytest.mark.parametrize("text", ["", "0::/\n", "4:memory:/\n", "garbage\n::\n\n", "0::/../other\n"])
    def test_nowhere(self, tmp_path: Path, text: str) -> None:
        assert cgroup_peak_bytes(self.group(tmp_path, text), tmp_path / "cgroup") is None

    def test_an_older_kernel_does_not_lend_the_root_groups(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup" / "mine").mkdir(parents=True)
        (tmp_path / "cgroup" / "memory.peak").write_text("12345\n")
        assert cgroup_peak_bytes(self.group(tmp_path, "0::/mine\n"), tmp_path / "cgroup") is None

    def test_garbage_and_no_proc(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup").mkdir()
        (tmp_path / "cgroup" / "memory.peak").write_text("max\n")
        assert cgroup_peak_bytes(self.group(tmp_path, "0::/\n"), tmp_path / "cgroup") is None
        assert cgroup_peak_bytes(tmp_path / "none", tmp_path / "cgroup") is None


class TestRatchet:
    def test_an_arena_that_keeps_everything(self) -> None:
        """Arena of the longest input so far: the peak is the plateau."""
        held: list[int] = [0]
        seen: list[int] = []

        def call(length: int) -> None:
            seen.append(length)
            held[0] = max(held[0], length)

        found = ratchet(call, [16, 128, 512], [16, 16], lambda: 1000 + held[0])
        assert seen == [16, 128, 512, 16, 16]
        assert found == Ratchet(first_short_bytes=1016, peak_bytes=1512, plateau_bytes=1512)

    def test_an_arena_that_gives_back(self) -> None:
        held: list[int] = [0]
        found = ratchet(lambda length: held.__setitem__(0, length), [16, 512], [16, 16], lambda: 1000 + held[0])
        assert found == Ratchet(first_short_bytes=1016, peak_bytes=1512, plateau_bytes=1016)

    def test_unknown_stays_unknown(self) -> None:
        found = ratchet(lambda length: None, [16, 512], [16], lambda: None)
        assert found == Ratchet(first_short_bytes=None, peak_bytes=None, plateau_bytes=None)

"""Dropping files from the page cache, and what `mincore` says was left."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from benchkit.meters.page_cache import Dropped, drop_from_page_cache, resident_share

MIB = 1 << 20
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="posix_fadvise and mincore as Linux has them")


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """A folder whose files can leave the page cache at all."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if tmp_path.is_relative_to(mount.mountpoint)]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"
    if kind in ("tmpfs", "ramfs", "unknown"):
        pytest.skip(f"temporary files lie on {kind}, whose pages are the files themselves")
    return tmp_path


@LINUX
def test_a_file_just_written_becomes_cold_and_reading_makes_it_warm(on_disk: Path) -> None:
    """Just written: its pages are dirty, which DONTNEED alone would leave."""
    file = on_disk / "model.onnx"
    file.write_bytes(os.urandom(8 * MIB))
    assert resident_share(file) == 1.0
    dropped = drop_from_page_cache([file])
    assert dropped.cold, dropped
    assert dropped.size_bytes == 8 * MIB
    assert dropped.resident_share is not None
    assert dropped.resident_share <= 0.01
    file.read_bytes()
    assert resident_share(file) == 1.0


@LINUX
def test_the_files_of_a_folder(on_disk: Path) -> None:
    (on_disk / "artifact" / "tokenizer").mkdir(parents=True)
    for name, size in (("model.onnx", MIB), ("model.onnx.data", 3 * MIB), ("tokenizer/vocab.txt", 0)):
        (on_disk / "artifact" / name).write_bytes(b"x" * size)
    dropped = drop_from_page_cache([on_disk / "artifact"])
    assert dropped.cold, dropped
    assert dropped.size_bytes == 4 * MIB


@LINUX
def test_a_mapped_file_stays_and_the_share_says_so(on_disk: Path) -> None:
    import mmap

    file = on_disk / "model.onnx"
    file.write_bytes(b"x" * 4 * MIB)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert mapping[:: mmap.PAGESIZE].count(b"x") == 4 * MIB // mmap.PAGESIZE
        dropped = drop_from_page_cache([file])
    assert not dropped.cold
    assert dropped.reason == "still_resident"
    assert dropped.resident_share is not None
    assert dropped.resident_share > 0.5


@LINUX
def test_tmpfs_cannot_be_dropped_and_the_share_says_so() -> None:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("no /dev/shm that may be written to")
    file = memory / f"benchkit-test-{os.getpid()}"
    file.write_bytes(b"x" * MIB)
    try:
        dropped = drop_from_page_cache([file])
    finally:
        file.unlink()
    assert dropped.resident_share == 1.0
    assert dropped.reason == "still_resident"
    assert "100%" in dropped.detail


def test_a_system_without_posix_fadvise_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    (tmp_path / "model.onnx").write_bytes(b"x")
    dropped = drop_from_page_cache([tmp_path / "model.onnx"])
    assert (dropped.reason, dropped.resident_share, dropped.cold) == ("no_posix_fadvise", None, False)


@LINUX
def test_a_missing_file_is_a_reason(tmp_path: Path) -> None:
    dropped = drop_from_page_cache([tmp_path / "none.onnx"])
    assert dropped.reason == "unreadable"
    assert "none.onnx" in dropped.detail


@LINUX
def test_of_a_foreign_file_the_kernel_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls such files resident, and that must not become a share."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x" * MIB)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert resident_share(file) is None
    dropped = drop_from_page_cache([file])
    assert (dropped.reason, dropped.resident_share) == ("share_not_known", None)


def test_where_mincore_is_missing_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    def windows(name: object, **settings: object) -> None:
        raise TypeError("bad argument type for built-in operation")

    monkeypatch.setattr(ctypes, "CDLL", windows)
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert resident_share(tmp_path / "model.onnx") is None


def test_an_empty_file_has_no_share(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident_share(tmp_path / "empty") is None


def test_a_share_within_the_tolerance_is_cold() -> None:
    assert Dropped(size_bytes=1, resident_share=0.0).cold
    assert not Dropped(size_bytes=1, resident_share=0.5, reason="still_resident").cold

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchkit.core import store
from benchkit.core.errors import BenchkitError, EnvironmentLacks


def test_equal_values_have_equal_digests() -> None:
    assert store.digest({"b": 1, "a": [1.5, "ü"]}) == store.digest({"a": [1.5, "ü"], "b": 1})
    assert store.digest({"a": 1}) != store.digest({"a": 2})
    with pytest.raises(ValueError, match="Out of range"):
        store.digest({"a": float("nan")})


def test_a_failed_block_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    with store.staged_folder(folder) as out:
        (out / "file").write_text("old")
    with pytest.raises(FileExistsError), store.staged_folder(folder) as out:  # noqa: PT012 - the block is the subject
        (out / "file").write_text("half")
        (out / "file").touch(exist_ok=False)
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_full_disk_is_explained_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    store.write_text(path, "old")
    with pytest.raises(EnvironmentLacks, match="no space left") as caught, store.explained_writes(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.exit == 4
    assert path.read_text() == "old"


def test_a_disk_that_fills_while_appending_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.jsonl"
    store.append_lines(path, [{"a": 1}])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(EnvironmentLacks):
        store.append_lines(path, [{"a": 2}])
    assert path.read_text() == '{"a":1}\n'


def test_an_unfinished_last_line_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a":1}\n{"a":')
    store.append_lines(path, [{"a": 3}])
    assert path.read_text().splitlines()[-1] == '{"a":3}'


APPENDER = """
import sys
from pathlib import Path
from benchkit.core.store import append_lines
for number in range(40):
    append_lines(Path(sys.argv[1]), [{"writer": sys.argv[2], "number": number, "filler": "x" * 500}])
"""


def test_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(writer)]) for writer in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    values = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(value["writer"], value["number"]) for value in values} == {(w, n) for w in "01" for n in range(40)}


def test_an_edited_record_is_found_by_its_digest(tmp_path: Path, record_json: dict) -> None:
    path = tmp_path / "records.jsonl"
    store.append_lines(path, [record_json])
    assert len(list(store.read_records(path))) == 1
    edited = record_json | {"seed": 99}
    store.append_lines(path, [edited])
    with pytest.raises(BenchkitError, match=r"records.jsonl:2: record .* was changed"):
        list(store.read_records(path))


@pytest.mark.parametrize("line", ["{", "[]", '{"schema":"benchkit.record/1"}', "[" * 100_000])
def test_a_line_that_is_no_record_names_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(BenchkitError, match=r"records.jsonl:2: not a benchkit record"):
        list(store.read_records(path))


def test_a_missing_record_file(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="no record file"):
        list(store.read_records(tmp_path / "none.jsonl"))


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchkitError, match="cannot make"), store.staged_folder(tmp_path / "file" / "inner"):
        pass

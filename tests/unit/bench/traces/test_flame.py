"""The recorder on a stand-in for py-spy, and on the real one where it is installed and may look into processes."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchkit.bench.traces import flame as module
from benchkit.bench.traces.flame import flame, py_spy
from benchkit.core.errors import EnvironmentLacks, MeasurementFailed

WORKER = 'import json, sys; job = json.load(sys.stdin); print(json.dumps({"seen": job["n"], "values": [1, 2]}))'


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program of the given Python text in py-spy's place; its arguments go to calls.jsonl."""

    def put(text: str) -> Path:
        calls = tmp_path / "calls.jsonl"
        program = tmp_path / "bin" / "py-spy"
        program.parent.mkdir(exist_ok=True)
        noted = f"import json, sys; open({str(calls)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        program.write_text(f"#!{sys.executable}\n{noted}{text}")
        program.chmod(0o755)
        monkeypatch.setattr(module, "py_spy", lambda: str(program))
        return calls

    return put


RECORDS = """
import pathlib, subprocess
print("py-spy> Sampling process 100 times a second. Press Control-C to exit.\\n", flush=True)
arguments = sys.argv[1:]
subprocess.run(arguments[arguments.index("--") + 1:], check=True)
pathlib.Path(arguments[arguments.index("--output") + 1]).write_text("recorded as " + arguments[2])
print("\\npy-spy> Stopped sampling because process exited")
"""


def test_two_recordings_and_the_workers_answer(stand_in, tmp_path: Path) -> None:
    calls = stand_in(RECORDS)
    svg, speedscope = tmp_path / "out" / "a.svg", tmp_path / "out" / "a.speedscope.json"
    command = [sys.executable, "-c", WORKER]
    answer = flame(command, '{"n": 7}', svg, speedscope, rate_hz=250, duration_s=3, native=True)
    assert answer == {"seen": 7, "values": [1, 2]}
    assert svg.read_text() == "recorded as flamegraph"
    assert speedscope.read_text() == "recorded as speedscope"
    first, second = (json.loads(line) for line in calls.read_text().splitlines())
    assert first == [
        "record", "--format", "flamegraph", "--rate", "250", "--output", str(svg), "--duration", "3", "--native", "--",
        *command,
    ]  # fmt: skip
    assert second[2] == "speedscope"


def test_a_worker_that_was_ended_gave_no_answer(stand_in, tmp_path: Path) -> None:
    stand_in(
        "import pathlib; pathlib.Path(sys.argv[sys.argv.index('--output') + 1]).write_text('x'); print('py-spy> !')"
    )
    assert flame([sys.executable, "-c", ""], "{}", tmp_path / "a.svg", tmp_path / "a.json") is None


def test_the_answer_between_the_recorders_words() -> None:
    assert module._answer('py-spy> Sampling\n\n{"seen": "py-spy> {"}py-spy> Stopped\n') == {"seen": "py-spy> {"}
    assert module._answer('py-spy> Sampling\n{"seen": [1, 2') is None
    assert module._answer("py-spy> Sampling\n") is None


@pytest.mark.parametrize(
    "said",
    [
        "Permission Denied: Try running again with elevated permissions by going 'sudo env \"PATH=$PATH\" !!'",
        "Permission Denied. Please make sure you started your container with the SYS_PTRACE capability.",
        "Error: Operation not permitted (os error 1)",
    ],
)
def test_a_denied_look_names_the_remedy(stand_in, tmp_path: Path, said: str) -> None:
    stand_in(f"sys.exit({said!r})")
    with pytest.raises(EnvironmentLacks, match="may not look into the worker") as caught:
        flame([sys.executable, "-c", ""], "{}", tmp_path / "a.svg", tmp_path / "a.json")
    assert "SYS_PTRACE" in caught.value.remedy
    assert "ptrace_scope" in caught.value.remedy


def test_an_old_recording_does_not_pass_for_a_new_one(stand_in, tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("of yesterday")
    stand_in("sys.exit('Error: Failed to create process')")
    with pytest.raises(MeasurementFailed, match="recorded nothing: Error: Failed to create"):
        flame([sys.executable, "-c", ""], "{}", tmp_path / "a.svg", tmp_path / "a.json")
    assert not (tmp_path / "a.svg").exists()
    stand_in("print('done')")  # A good end without a file is no recording either.
    with pytest.raises(MeasurementFailed, match="recorded nothing"):
        flame([sys.executable, "-c", ""], "{}", tmp_path / "a.svg", tmp_path / "a.json")


def test_a_recording_that_hangs(stand_in, tmp_path: Path) -> None:
    stand_in("import time; time.sleep(60)")
    with pytest.raises(MeasurementFailed, match="no flame graph after"):
        flame([sys.executable, "-c", ""], "{}", tmp_path / "a.svg", tmp_path / "a.json", timeout_s=0.3)


def test_where_py_spy_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, other = tmp_path / "venv", tmp_path / "path"
    for folder in (beside, other):
        folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(other))
    with pytest.raises(EnvironmentLacks, match="no program 'py-spy'") as caught:
        py_spy()
    assert "pip install 'benchkit[flame]'" in caught.value.remedy
    for folder in (other, beside):
        (folder / "py-spy").write_text("#!/bin/sh\n")
        (folder / "py-spy").chmod(0o755)
        assert py_spy() == str(folder / "py-spy")


@pytest.mark.skipif(
    shutil.which("py-spy", path=str(Path(sys.executable).parent)) is None and shutil.which("py-spy") is None,
    reason="py-spy is not installed; pip install 'benchkit[flame]'",
)
def test_the_real_one(tmp_path: Path) -> None:
    busy = "def busy_loop():\n    return sum(range(10_000_000))\nbusy_loop()\n"
    svg, speedscope = tmp_path / "a.svg", tmp_path / "a.speedscope.json"
    try:
        answer = flame([sys.executable, "-c", busy + WORKER], '{"n": 7}', svg, speedscope, rate_hz=200)
    except EnvironmentLacks as error:
        pytest.skip(str(error))
    assert answer == {"seen": 7, "values": [1, 2]}
    assert "busy_loop" in svg.read_text()
    frames = json.loads(speedscope.read_text())["shared"]["frames"]
    assert any(frame["name"] == "busy_loop" for frame in frames)

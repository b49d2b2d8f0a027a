"""The command line in this process: fast, and the exit code is what a shell would see."""

import dataclasses
import io
from pathlib import Path

import pytest

from benchkit.cli.app import app
from benchkit.cli.boundary import guarded


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no neighbour of the tests void a cell: an exit code would be the machine's, and not the command's."""
    monkeypatch.setattr("benchkit.bench.noise_verdict.disturbances", lambda *_: ("clean", ()))
    monkeypatch.setattr("benchkit.bench.noise_verdict._wanted_cores", lambda *_: 0.0)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `benchkit ARGUMENTS` in an empty folder with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> Ended:
        err = io.StringIO()
        code = guarded(lambda: app(list(arguments), standalone_mode=False), err)
        captured = capsys.readouterr()
        return Ended(int(code), captured.out, captured.err + err.getvalue())

    return run

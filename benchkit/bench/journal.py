"""The finished jobs of a sweep, so that an interrupted one goes on where it was."""

import importlib.metadata
import json
from pathlib import Path

import benchkit
from benchkit.bench.job import Job
from benchkit.bench.measurements import Outcome
from benchkit.bench.noise_verdict import is_spoiled
from benchkit.core.store import append_lines, digest, file_sha256
from benchkit.host.facts import host_facts


class Journal:
    """Outcomes by what was measured, with what, where; kept in memory, and in a JSON-lines file where one is given."""

    def __init__(self, path: Path | None) -> None:
        """Read what a former sweep left.

        Args:
            path: The file; None keeps nothing.
        """
        self._path = path
        self._done: dict[str, Outcome] = {}
        if path is None:
            return
        host = host_facts()
        # Another wheel measures another thing, and another machine's runs are never mixed in.
        self._made_by = [host.id, host.versions, benchkit.__version__, _code(), _plug_ins()]
        self._done = _read(path)

    def find(self, job: Job, artifact_id: str, run: int) -> Outcome | None:
        """Return the outcome of a job that was finished before."""
        return self._done.get(self._key(job, artifact_id, run)) if self._done else None

    def keep(self, job: Job, artifact_id: str, run: int, outcome: Outcome) -> None:
        """Write an outcome to disk before the next job begins."""
        if self._path is not None:
            append_lines(self._path, [{"key": self._key(job, artifact_id, run), "outcome": outcome}])

    def _key(self, job: Job, artifact_id: str, run: int) -> str:
        return digest([job.as_json(), artifact_id, run, self._made_by])


def _code() -> str:
    """Digest the code that measures: between two releases it changes under one version number."""
    package = Path(benchkit.__file__).parent
    rooms = ("bench", "host", "meters", "runtimes", "tasks")
    files = sorted(path for room in rooms for path in (package / room).rglob("*.py"))
    return digest([[str(path.relative_to(package)), file_sha256(path)] for path in files])


def _plug_ins() -> dict[str, str]:
    """Return the versions of the distributions that add runtimes: facts of the host know ours only."""
    entries = importlib.metadata.entry_points(group="benchkit.runtimes")
    return {entry.dist.name: entry.dist.version for entry in entries if entry.dist is not None}


def _read(path: Path) -> dict[str, Outcome]:
    """Read the finished jobs; what an interrupted writer left half, and runs that were spoiled, are run again."""
    done: dict[str, Outcome] = {}
    if not path.is_file():
        return done
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            key, outcome = entry["key"], entry["outcome"]
        except (ValueError, KeyError, TypeError):
            continue
        if "overhead_ns" in outcome and is_spoiled(outcome):
            done.pop(key, None)
        else:
            done[key] = outcome
    return done

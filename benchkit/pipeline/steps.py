"""A step: a folder made of other folders, reused for as long as everything that determines it is the same.

Its key is the digest of that; the folder is staged and renamed, so that an interrupted step leaves nothing
half-written.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchkit.core.artifacts import Artifact, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress
from benchkit.core.store import digest, write_text

# Raised when a step's code changes what it makes of the same settings, so that old results are made again.
STEP_VERSION = 1
_STEP_NOTE = ".step.json"

Make = Callable[[Path, Mapping[str, Artifact], Progress], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One artifact to make.

    Attributes:
        name: Its folder below the experiment's.
        kind: "encoder", "train", "merge", "export" or "quantize".
        settings: Everything that determines it, besides its inputs.
        inputs: Names of the steps it is made from.
        make: Fills the folder.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    make: Make

    def key(self, made: Mapping[str, Artifact]) -> str:
        """Return the digest of everything that determines the step's result."""
        return digest(
            [STEP_VERSION, self.kind, self.name, self.settings, [made[name].manifest.id for name in self.inputs]]
        )


class Workshop:
    """The folder of an experiment's artifacts, and the notes of what each was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clear_remains(self) -> None:
        """Delete what an interrupted run left half-written; call it under the lock."""
        for path in self.folder.glob(".*.old"):
            place = path.with_name(path.name.removeprefix(".").rsplit(".", 2)[0])
            if not place.exists():  # Killed between the two renames: what was there before is put back.
                path.rename(place)
        for pattern in (".*.partial", ".*.old"):
            for path in self.folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)

    def finished(self, step: Step, made: Mapping[str, Artifact]) -> Artifact | None:
        """Return the step's artifact when it was made before from the same inputs and is unchanged."""
        note = _read_note(self.folder / step.name / _STEP_NOTE)
        if note is None or note.get("key") != step.key(made):
            return None
        try:
            artifact = load_artifact(self.folder / step.name)
        except BenchkitError:
            return None  # Deleted or damaged since: it is made again.
        return artifact

    def make(self, step: Step, made: Mapping[str, Artifact], progress: Progress) -> Artifact:
        """Make the step's artifact, in place of what was there before."""
        with staged_artifact(self.folder / step.name) as out:
            step.make(out, made, progress)
            # In the folder itself, so that one rename makes both the artifact and the note of what it is.
            note = {"key": step.key(made), "kind": step.kind}
            (out / _STEP_NOTE).write_text(json.dumps(note, sort_keys=True) + "\n", encoding="utf-8")
        return load_artifact(self.folder / step.name)

    def recall(self, name: str, key: str) -> dict[str, Any] | None:
        """Return what was kept under a name, if it was kept under the same key."""
        note = _read_note(self._note_path(name))
        return note.get("value") if note is not None and note.get("key") == key else None

    def is_kept(self, name: str) -> bool:
        """Tell whether something was ever kept under a name."""
        return self._note_path(name).is_file()

    def keep(self, name: str, key: str, value: dict[str, Any]) -> None:
        """Keep a finished result that is no folder, such as a score record."""
        write_text(self._note_path(name), json.dumps({"key": key, "value": value}, sort_keys=True) + "\n")

    def _note_path(self, name: str) -> Path:
        return self.folder / ".steps" / f"{name}.json"


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None

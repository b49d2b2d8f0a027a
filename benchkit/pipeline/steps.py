"""A step: a folder made of other folders, reused for as long as everything that determines it is the same.

Its key is the digest of that; the folder is staged and renamed, so that an interrupted step leaves nothing
half-written.
"""

import contextlib
import dataclasses
import glob
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchkit.core.artifacts import Artifact, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress
from benchkit.core.store import canonical_json, digest, write_text

# Raised when a step's code changes what it makes of the same settings, so that old results are made again.
STEP_VERSION = 1
STEP_NOTE = ".step.json"
_READABLE = 60

Make = Callable[[Path, Mapping[str, Artifact], Progress, Path], None]
"""Takes the folder to fill, what was made before, whom to tell, and a folder that outlives an interruption."""

# Below the workshop's folder: what lets an interrupted step go on. It is gone when the step is done.
_WORK = ".work"


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

    def clear_remains(self, name: str | None = None) -> None:
        """Delete what an interrupted run left half-written; call it under the lock.

        Args:
            name: Of one step only, where others may be at work in the same folder; None clears everything.
        """
        own = "*" if name is None else f"{glob.escape(name)}.{'[0-9a-f]' * 8}"
        for path in self.folder.glob(f".{own}.old"):
            place = path.with_name(path.name.removeprefix(".").rsplit(".", 2)[0])
            if not place.exists():  # Killed between the two renames: what was there before is put back.
                path.rename(place)
        for kind in ("partial", "old"):
            for path in self.folder.glob(f".{own}.{kind}"):
                shutil.rmtree(path, ignore_errors=True)

    def work_folder(self, name: str) -> Path:
        """Return where a step keeps what lets it go on after an interruption."""
        return self.folder / _WORK / name

    def tidy(self) -> None:
        """Delete the folder of interrupted work when nothing is in it."""
        with contextlib.suppress(OSError):
            (self.folder / _WORK).rmdir()

    def finished(self, step: Step, made: Mapping[str, Artifact]) -> Artifact | None:
        """Return the step's artifact when it was made before from the same inputs and is unchanged."""
        note = read_note(self.folder / step.name / STEP_NOTE)
        if note is None or note.get("key") != step.key(made):
            return None
        try:
            artifact = load_artifact(self.folder / step.name)
        except BenchkitError:
            return None  # Deleted or damaged since: it is made again.
        return artifact

    def changes(self, step: Step, made: Mapping[str, Artifact]) -> list[str]:
        """Say in which settings the step differs from how its folder was made; [] when there is no such folder."""
        note = read_note(self.folder / step.name / STEP_NOTE)
        if note is None or note.get("key") == step.key(made):
            return []
        if not isinstance(note.get("settings"), dict):
            return ["it was made by another version"]
        found = differences(note["settings"], json.loads(canonical_json(step.settings)))
        was = note.get("inputs")
        ids = {name: made[name].manifest.id for name in step.inputs}
        found += [f"{name} was made again" for name in ids if isinstance(was, dict) and was.get(name) != ids[name]]
        return found or ["it was made by another version"]

    def make(self, step: Step, made: Mapping[str, Artifact], progress: Progress) -> Artifact:
        """Make the step's artifact, in place of what was there before."""
        work = self.work_folder(step.name)
        with staged_artifact(self.folder / step.name) as out:
            step.make(out, made, progress, work)
            # In the folder itself, so that one rename makes both the artifact and the note of what it is.
            inputs = {name: made[name].manifest.id for name in step.inputs}
            note = {"key": step.key(made), "kind": step.kind, "settings": step.settings, "inputs": inputs}
            (out / STEP_NOTE).write_text(json.dumps(note, sort_keys=True) + "\n", encoding="utf-8")
        shutil.rmtree(work, ignore_errors=True)
        self.tidy()
        return load_artifact(self.folder / step.name)

    def recall(self, name: str, key: str) -> dict[str, Any] | None:
        """Return what was kept under a name, if it was kept under the same key."""
        note = read_note(self._note_path(name))
        return note.get("value") if note is not None and note.get("key") == key else None

    def is_kept(self, name: str) -> bool:
        """Tell whether something was ever kept under a name."""
        return self._note_path(name).is_file()

    def keep(self, name: str, key: str, value: dict[str, Any]) -> None:
        """Keep a finished result that is no folder, such as a score record."""
        write_text(self._note_path(name), json.dumps({"key": key, "value": value}, sort_keys=True) + "\n")

    def _note_path(self, name: str) -> Path:
        return self.folder / ".steps" / f"{name}.json"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two nested tables, such as "train.epochs: 3.0, now 4.0"."""
    old, new = _flat(before), _flat(now)
    found = []
    for key in sorted(old | new):
        if old.get(key) != new.get(key):
            if any(isinstance(value, str) and len(value) > _READABLE for value in (old.get(key), new.get(key))):
                found.append(f"{key} has changed")  # A digest tells a person nothing.
            else:
                found.append(f"{key}: {_shown(old.get(key))}, now {_shown(new.get(key))}")
    return found


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def read_note(path: Path) -> dict[str, Any] | None:
    """Return a note of what was made from what, None where there is none that can be read."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None

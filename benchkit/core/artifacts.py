"""An artifact: a folder (or a bare .onnx file) that can be trained further, exported, measured or scored.

Layout and `artifact.json` are the contract of the interface: Hugging Face and Optimum read the same
folder. What is inside the weights is left to the wings; what a task's labels mean, to `tasks`.
"""

import contextlib
import json
import platform
import shutil
import struct
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pydantic

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Fact
from benchkit.core.records import ArtifactFacts
from benchkit.core.store import digest, file_sha256, staged_folder, utc_now

MANIFEST = "artifact.json"
ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")

# What an artifact's making may depend on; absent packages are left out.
_VERSIONED = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "safetensors",
    "tokenizers",
    "numpy",
    "onnx",
    "onnxruntime",
)


class FileFacts(Fact):
    """Size and digest of one file of an artifact."""

    sha256: str
    size_bytes: int


class Manifest(Fact):
    """What `artifact.json` says: enough to make the artifact again, and to tell when it was changed.

    Attributes:
        kind: "checkpoint" (model.safetensors) or "onnx" (model.onnx).
        name: What people call it.
        id: Digest of the files' digests.
        candidate: The model behind it, task and precision aside.
        task: Task of its head; None for an encoder without one.
        precision: "fp32", "dynamic-int8", ...
        weights: "random" when never trained.
        files: Facts by file name.
        recipe: The resolved recipe with every hyperparameter.
        parents: Ids of what it was made from.
        versions: Environment of the making, by package.
        notes: What the step that made it wants to keep (scores on validation, parity, fit).
    """

    schema_: Literal["benchkit.artifact/1"] = pydantic.Field(default="benchkit.artifact/1", alias="schema")
    kind: Literal["checkpoint", "onnx"]
    name: str
    id: str
    candidate: str | None = None
    task: str | None = None
    precision: str = "fp32"
    weights: Literal["trained", "random", "unknown"] = "unknown"
    files: dict[str, FileFacts]
    recipe: dict[str, Any] = {}
    parents: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    created_at_utc: str | None = None
    notes: dict[str, Any] = {}

    model_config = pydantic.ConfigDict(populate_by_name=True)


class Artifact(Fact):
    """An artifact on disk.

    Attributes:
        path: The folder, or the bare .onnx file.
        manifest: From `artifact.json`, or derived for a foreign one.
        foreign: True when there was no `artifact.json`.
    """

    path: Path
    manifest: Manifest
    foreign: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder with config and tokenizer; None for a bare .onnx file."""
        return self.path if self.path.is_dir() else None

    @property
    def model_file(self) -> Path:
        """The file that holds the weights or the graph."""
        if not self.path.is_dir():
            return self.path
        if self.manifest.kind == "onnx":
            return self.path / ONNX_FILE
        # Pickled weights stand alone only when `load_artifact` was allowed to take them.
        pickled = PICKLE_FILE in self.manifest.files and WEIGHTS_FILE not in self.manifest.files
        return self.path / (PICKLE_FILE if pickled else WEIGHTS_FILE)

    @property
    def size_bytes(self) -> int:
        """Bytes of the model file and its external data; tokenizer and config left out."""
        return sum(facts.size_bytes for name, facts in self.manifest.files.items() if _is_weights(name))

    def config(self) -> dict[str, Any]:
        """Return `config.json`, or {} when there is none."""
        path = self.path / "config.json"
        return read_json(path) if self.path.is_dir() and path.is_file() else {}

    def facts(self) -> ArtifactFacts:
        """Return what a record says of this artifact."""
        manifest = self.manifest
        return ArtifactFacts(
            name=manifest.name,
            id=manifest.id,
            precision=manifest.precision,
            sha256=manifest.files[self.model_file.name].sha256,
            size_bytes=self.size_bytes,
            parents=manifest.parents,
            candidate=manifest.candidate,
            weights=manifest.weights,
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, or raise an error that names it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchkitError(
            f"cannot read '{path}': {error}", remedy="restore the file, or make the artifact again"
        ) from error
    if not isinstance(value, dict):
        raise BenchkitError(f"'{path}' holds no JSON object", remedy="restore the file, or make the artifact again")
    return value


def environment_versions() -> dict[str, str]:
    """Return versions of Python, benchkit and the packages that artifacts depend on."""
    versions = {"python": platform.python_version()}
    for package in ("benchkit", *_VERSIONED):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_manifest(
    folder: Path,
    *,
    kind: Literal["checkpoint", "onnx"],
    name: str,
    recipe: dict[str, Any],
    candidate: str | None = None,
    task: str | None = None,
    precision: str = "fp32",
    weights: Literal["trained", "random", "unknown"] = "trained",
    parents: tuple[str, ...] = (),
    notes: dict[str, Any] | None = None,
) -> Manifest:
    """Digest every file of `folder` and write `artifact.json` beside them; call it last."""
    files = _file_facts(folder)
    manifest = Manifest(
        kind=kind,
        name=name,
        id=_id_of(files),
        candidate=candidate or name,
        task=task,
        precision=precision,
        weights=weights,
        files=files,
        recipe=recipe,
        parents=parents,
        versions=environment_versions(),
        created_at_utc=utc_now(),
        notes=notes or {},
    )
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def copy_companions(source: Path, out: Path) -> None:
    """Copy what belongs to a model beside its weights, config.json and tokenizer files, as far as it is there."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


@contextlib.contextmanager
def staged_artifact(folder: Path) -> Iterator[Path]:
    """Give a folder to fill with an artifact; it replaces an artifact at `folder`, and nothing else.

    Raises:
        BenchkitError: `folder` holds something that benchkit did not make: it would be lost.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise BenchkitError(
            f"'{folder}' is not empty and holds no {MANIFEST}, so it is not replaced",
            remedy="give another folder: -o DIR",
        )
    with staged_folder(folder) as out:
        yield out


def load_artifact(path: Path, *, allow_pickle: bool = False) -> Artifact:
    """Open an artifact folder or a bare .onnx file; a folder without `artifact.json` is foreign.

    Args:
        path: The folder or file.
        allow_pickle: Take a foreign folder whose only weights are a pickle; nothing is unpickled here.

    Raises:
        BenchkitError: Nothing there, nothing usable there, or the model file does not fit its digest.
    """
    if not path.exists():
        raise BenchkitError(
            f"no artifact at '{path}'", remedy="check the path; a hub id is written owner/name, a preset arch:NAME"
        )
    if path.is_file():
        return _bare_onnx(path)
    if (path / MANIFEST).is_file():
        artifact = Artifact(path=path, manifest=_manifest(path / MANIFEST))
        _check_model_file(artifact)
        return artifact
    pickled = allow_pickle and not (path / ONNX_FILE).is_file() and not (path / WEIGHTS_FILE).is_file()
    kind = "checkpoint" if pickled and (path / PICKLE_FILE).is_file() else _foreign_kind(path)
    weights = PICKLE_FILE if pickled else WEIGHTS_FILE
    names = [path / (ONNX_FILE if kind == "onnx" else weights)]
    if kind == "onnx":
        names += _external_data(path)
    files = {name.name: FileFacts(sha256=file_sha256(name), size_bytes=name.stat().st_size) for name in names}
    manifest = Manifest(
        kind=kind,
        name=path.resolve().name,
        id=_id_of(files),
        candidate=path.resolve().name,
        files=files,
        precision="fp32",
    )
    return Artifact(path=path, manifest=manifest, foreign=True)


def check_safetensors(path: Path) -> None:
    """Check length and header of a safetensors file without reading the tensors.

    Raises:
        BenchkitError: The file is truncated or no safetensors file.

    Source: the safetensors format: 8 bytes little-endian header size, JSON header, data.
    """
    remedy = "download or make the checkpoint again"
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        header_bytes = struct.unpack("<Q", head)[0] if len(head) == 8 else None
        if header_bytes is None or header_bytes > size_bytes - 8:
            raise BenchkitError(f"'{path}' is truncated or no safetensors file ({size_bytes} bytes)", remedy=remedy)
        try:
            header = json.loads(file.read(header_bytes))
            end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchkitError(f"'{path}' has no valid safetensors header", remedy=remedy) from error
    if 8 + header_bytes + end != size_bytes:
        raise BenchkitError(
            f"'{path}' is truncated: {size_bytes} bytes, and its header promises {8 + header_bytes + end}",
            remedy=remedy,
        )


def _is_weights(name: str) -> bool:
    return name.endswith((".onnx", ".safetensors", ".onnx.data", ".onnx_data", ".data")) or name == PICKLE_FILE


def _file_facts(folder: Path) -> dict[str, FileFacts]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(folder).as_posix(): FileFacts(sha256=file_sha256(path), size_bytes=path.stat().st_size)
        for path in paths
    }


def _id_of(files: dict[str, FileFacts]) -> str:
    return digest({name: facts.sha256 for name, facts in files.items()})


def _manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate(read_json(path))
    except pydantic.ValidationError as error:
        raise BenchkitError(
            f"'{path}' is no artifact.json: {error.errors()[0]['msg']}", remedy="make the artifact again"
        ) from error


def _check_model_file(artifact: Artifact) -> None:
    path = artifact.model_file
    facts = artifact.manifest.files.get(path.name)
    if facts is None or not path.is_file():
        raise BenchkitError(f"'{artifact.path}' has no {path.name}", remedy="make the artifact again")
    # The digest is checked too: a record must not carry the id of an artifact that was changed since.
    if path.stat().st_size != facts.size_bytes or file_sha256(path) != facts.sha256:
        raise BenchkitError(
            f"'{path}' is not the file that artifact.json describes: it was changed or truncated",
            remedy="make the artifact again, or delete artifact.json to measure it as a foreign artifact",
        )


def _bare_onnx(path: Path) -> Artifact:
    if path.suffix != ".onnx":
        raise BenchkitError(
            f"'{path}' is no .onnx file and no folder",
            remedy="give an artifact folder, a .onnx file or a checkpoint folder",
        )
    files = {path.name: FileFacts(sha256=file_sha256(path), size_bytes=path.stat().st_size)}
    manifest = Manifest(kind="onnx", name=path.stem, id=_id_of(files), candidate=path.stem, files=files)
    return Artifact(path=path, manifest=manifest, foreign=True)


def _foreign_kind(folder: Path) -> Literal["checkpoint", "onnx"]:
    if (folder / ONNX_FILE).is_file():
        return "onnx"
    if (folder / WEIGHTS_FILE).is_file():
        return "checkpoint"
    others = sorted(path.name for path in folder.iterdir())
    onnx_files = [name for name in others if name.endswith(".onnx")]
    if onnx_files:
        raise BenchkitError(
            f"'{folder}' has no {ONNX_FILE} but {', '.join(onnx_files)}",
            remedy=f"give the file itself, such as '{folder / onnx_files[0]}'",
        )
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt")) for name in others):
        raise BenchkitError(
            f"'{folder}' holds pickled weights only, and unpickling can run code",
            remedy=f"convert them: benchkit export '{folder}' -o DIR --allow-pickle (loads with weights_only)",
        )
    raise BenchkitError(
        f"'{folder}' holds neither {ONNX_FILE} nor {WEIGHTS_FILE}",
        remedy="give an artifact folder, a .onnx file or a checkpoint folder",
    )


def _external_data(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith((".onnx_data", ".onnx.data", ".data")))

"""An artifact: a folder (or a bare .onnx file) that can be trained further, exported, measured or scored.

The layout is the contract of the interface: Hugging Face and Optimum read the same folder. What `artifact.json` says
is `manifest`'s; what is inside the weights is left to the wings; what a task's labels mean, to `tasks`.
"""

import contextlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Fact
from benchkit.core.manifest import (
    MANIFEST,
    ONNX_FILE,
    PICKLE_FILE,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
    FileFacts,
    Manifest,
    id_of,
    read_json,
    read_manifest,
)
from benchkit.core.records import ArtifactFacts
from benchkit.core.store import file_sha256, staged_folder


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
        artifact = Artifact(path=path, manifest=read_manifest(path / MANIFEST))
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
        id=id_of(files),
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
    manifest = Manifest(kind="onnx", name=path.stem, id=id_of(files), candidate=path.stem, files=files)
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

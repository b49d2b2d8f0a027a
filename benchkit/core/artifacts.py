"""An artifact: a folder (or a bare .onnx file) that can be trained further, exported, measured or scored.

The layout is the contract of the interface: Hugging Face and Optimum read the same folder. What `artifact.json` says
is `manifest`'s; what is inside the weights is left to the wings; what a task's labels mean, to `tasks`.
"""

import contextlib
import json
import mmap
import os
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Fact
from benchkit.core.json_files import read_json
from benchkit.core.manifest import (
    MANIFEST,
    ONNX_FILE,
    PICKLE_FILE,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
    FileFacts,
    Manifest,
    id_of,
    read_manifest,
)
from benchkit.core.records import ArtifactFacts
from benchkit.core.store import file_sha256, staged_folder

_INT8_OPERATORS = (b"MatMulInteger", b"DynamicQuantizeLinear", b"QLinearMatMul", b"DequantizeLinear", b"QAttention")
# Tag and length of "location", then tag and length of the name, which is shorter than 128 bytes.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)


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
            task=manifest.task,
            seed=manifest.seed,
        )


def copy_companions(source: Path, out: Path) -> None:
    """Copy what belongs to a model beside its weights, config.json and tokenizer files, as far as it is there."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


@contextlib.contextmanager
def staged_artifact(folder: Path, *, sources: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a folder to fill with an artifact; it replaces an artifact at `folder`, and nothing else.

    Args:
        folder: Where the artifact is to be.
        sources: Folders that it is made from, which it must not replace.

    Raises:
        BenchkitError: `folder` is one of the sources, a file or a mount point, or holds something that
            benchkit did not make: it would be lost.
    """
    folder = folder.absolute()
    check_replaceable(folder)
    if any(source.resolve() == folder.resolve() for source in sources):
        raise BenchkitError(f"'{folder}' is what it is made from", remedy="give another folder: -o DIR")
    with staged_folder(folder) as out:
        yield out


def check_replaceable(folder: Path) -> None:
    """Refuse a place that no artifact may take: what benchkit did not make is never replaced.

    Raises:
        BenchkitError: `folder` is a file or a mount point, or holds something else than an artifact.
    """
    folder = folder.absolute()
    if folder.is_file() or os.path.ismount(folder):
        what = "a file" if folder.is_file() else "a mount point, which no folder can take the place of"
        raise BenchkitError(f"'{folder}' is {what}", remedy="give a folder inside of it or beside it: -o DIR")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise BenchkitError(
            f"'{folder}' is not empty and holds no {MANIFEST}, so it is not replaced",
            remedy="give another folder: -o DIR",
        )


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
        _check_files(artifact)
        return artifact
    pickled = allow_pickle and not (path / ONNX_FILE).is_file() and not (path / WEIGHTS_FILE).is_file()
    kind = "checkpoint" if pickled and (path / PICKLE_FILE).is_file() else _foreign_kind(path)
    weights = PICKLE_FILE if pickled else WEIGHTS_FILE
    names = [path / (ONNX_FILE if kind == "onnx" else weights)]
    if kind == "onnx":
        names += _external_data(names[0])
    # What is said beside the weights decides the answers too: a corrected tokenizer is another artifact.
    names += [path / name for name in ("config.json", *TOKENIZER_FILES) if (path / name).is_file()]
    return _foreign(path, kind, names)


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
    """Tell weights from what stands beside them: external data may have any name, settings and words have these."""
    return not name.endswith((".json", ".txt", ".md", ".jinja", ".py"))


def _check_files(artifact: Artifact) -> None:
    """Hold every file against its digest: a record must not carry the id of an artifact that was changed since."""
    facts_by_name = dict(artifact.manifest.files)
    if artifact.model_file.name not in facts_by_name:
        raise BenchkitError(f"'{artifact.path}' has no {artifact.model_file.name}", remedy="make the artifact again")
    for name, facts in facts_by_name.items():
        path = artifact.path / name
        if not path.is_file() or path.stat().st_size != facts.size_bytes or file_sha256(path) != facts.sha256:
            raise BenchkitError(
                f"'{path}' is not the file that artifact.json describes: it was changed, truncated or deleted",
                remedy="make the artifact again, or delete artifact.json to take it as a foreign artifact",
            )


def _bare_onnx(path: Path) -> Artifact:
    if path.suffix != ".onnx":
        raise BenchkitError(
            f"'{path}' is no .onnx file and no folder",
            remedy="give an artifact folder, a .onnx file or a checkpoint folder",
        )
    return _foreign(path, "onnx", [path, *_external_data(path)])


def _foreign(path: Path, kind: Literal["checkpoint", "onnx"], names: list[Path]) -> Artifact:
    """Derive what can be derived of an artifact that says nothing of itself."""
    files = {name.name: FileFacts(sha256=file_sha256(name), size_bytes=name.stat().st_size) for name in names}
    name = _hub_name(path) or path.absolute().name.removesuffix(".onnx")
    precision = _precision_in(names[0]) if kind == "onnx" else "fp32"
    manifest = Manifest(kind=kind, name=name, id=id_of(files), candidate=name, files=files, precision=precision)
    return Artifact(path=path, manifest=manifest, foreign=True)


def _hub_name(path: Path) -> str | None:
    """Return the model's name of a folder in the hub's cache, whose own name is a commit."""
    repository = path.parent.parent.name
    return repository.split("--")[-1] if path.parent.name == "snapshots" and "--" in repository else None


def _precision_in(graph: Path) -> str:
    """Tell int8 from the names of operators in the file; "unknown" where nothing tells, since this parses no graph."""
    if graph.stat().st_size == 0:
        return "unknown"
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return "int8" if any(content.find(operator) >= 0 for operator in _INT8_OPERATORS) else "unknown"


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


def _external_data(graph: Path) -> list[Path]:
    """Return the data files that a graph names, so that they count into its size and its id.

    Read from the bytes, since a target machine has no `onnx`: an entry of `external_data` is a message of two strings
    (field 1 "location", field 2 the file's name), whatever the name is.

    Source: onnx.proto, TensorProto.external_data and StringStringEntryProto.
    """
    found = set()
    with graph.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for match in _LOCATION.finditer(content):
                name = content[match.end() : match.end() + match.group(1)[0]].decode(errors="replace")
                beside = graph.parent / name
                # What lies outside the folder is refused by the runtime; here it is only not counted.
                if beside.is_file() and beside.resolve().is_relative_to(graph.parent.resolve()):
                    found.add(beside)
    return sorted(found)

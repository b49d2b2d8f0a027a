"""`artifact.json`: what an artifact is, what it was made of and how; enough to make it again.

Finding and checking artifacts on disk is left to `artifacts`.
"""

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pydantic

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Fact
from benchkit.core.json_files import read_json
from benchkit.core.store import digest, file_sha256, utc_now

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
    "peft",
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
        seed: Seed of the training behind it; artifacts of one candidate that differ in it are repeats.
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
    seed: int | None = None
    precision: str = "fp32"
    weights: Literal["trained", "random", "unknown"] = "unknown"
    files: dict[str, FileFacts]
    recipe: dict[str, Any] = {}
    parents: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    created_at_utc: str | None = None
    notes: dict[str, Any] = {}

    model_config = pydantic.ConfigDict(populate_by_name=True)


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
    seed: int | None = None,
    precision: str = "fp32",
    weights: Literal["trained", "random", "unknown"] = "trained",
    parents: tuple[str, ...] = (),
    notes: dict[str, Any] | None = None,
) -> Manifest:
    """Digest every file of `folder` and write `artifact.json` beside them; call it last."""
    files = file_facts(folder)
    manifest = Manifest(
        kind=kind,
        name=name,
        id=id_of(files),
        candidate=candidate or name,
        task=task,
        seed=seed,
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


def file_facts(folder: Path) -> dict[str, FileFacts]:
    """Digest every file below a folder but its manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(folder).as_posix(): FileFacts(sha256=file_sha256(path), size_bytes=path.stat().st_size)
        for path in paths
    }


def id_of(files: dict[str, FileFacts]) -> str:
    """Return the id of an artifact of these files."""
    return digest({name: facts.sha256 for name, facts in files.items()})


def read_manifest(path: Path) -> Manifest:
    """Read an artifact.json, or raise the error that names it."""
    try:
        return Manifest.model_validate(read_json(path))
    except pydantic.ValidationError as error:
        raise BenchkitError(
            f"'{path}' is no artifact.json: {error.errors()[0]['msg']}", remedy="make the artifact again"
        ) from error

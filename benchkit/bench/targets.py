"""TARGET as a person writes it -> artifact on disk that a runtime can open.

A checkpoint is exported, a precision is made, a preset is built; each once, into the cache, by name
through the tables, so that measuring an ONNX artifact needs none of the wings.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pydantic

from benchkit.core.artifacts import Artifact, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.core.hub import hub_folder, is_hub_id
from benchkit.core.manifest import PICKLE_FILE
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ExportRecipe, QuantizeRecipe
from benchkit.core.registry import EXPORTERS, QUANTIZERS, STEPS
from benchkit.core.store import digest, locked, staged_folder
from benchkit.tasks.calibration import Calibration

_HUB_FILES = ("config.json", "model.safetensors", "model.onnx", "tokenizer*", "vocab.txt", "special_tokens_map.json")
_PRESET = "arch:"
_FUSED = "fp32-fused"


class Refused(Artifact):
    """A target that is there and could not be made into what was asked: its cells are void, the others are measured.

    Attributes:
        error: Why not.
    """

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    error: BenchkitError


def cache_folder() -> Path:
    """Return the folder of derived artifacts: BENCHKIT_CACHE, or benchkit inside the user's cache folder."""
    named = os.environ.get("BENCHKIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchkit"


def resolve(
    target: str,
    *,
    runtime: str,
    precision: str | None = None,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Return the artifact that `runtime` opens for a target.

    Args:
        target: An artifact folder, a .onnx file, a checkpoint folder, a hub id, or arch:PRESET.
        runtime: "torch" opens checkpoints, every other runtime ONNX files.
        precision: Precision to make of it; None takes it as it is.
        calibration: Texts for the precisions that need some.
        progress: Told what is being made.

    Raises:
        BenchkitError: Nothing there, or it cannot become what was asked.
        EnvironmentLacks: Making it needs an extra that is not installed.
    """
    artifact = _opened(target, progress)
    _check(artifact, target, runtime, precision)
    return _made(artifact, runtime, precision, progress, calibration)


def resolve_or_refuse(
    target: str, *, runtime: str, precision: str | None = None, progress: Progress = silent
) -> Artifact:
    """Return what `resolve` does, or a `Refused` where the target was opened and making something of it failed.

    Raises:
        BenchkitError: Nothing there, or a request that can be seen to be wrong before anything is made.
    """
    artifact = _opened(target, progress)
    _check(artifact, target, runtime, precision)
    try:
        return _made(artifact, runtime, precision, progress)
    except BenchkitError as error:
        manifest = artifact.manifest.model_copy(update={"precision": precision or artifact.manifest.precision})
        return Refused(path=artifact.path, manifest=manifest, foreign=artifact.foreign, error=error)


def _check(artifact: Artifact, target: str, runtime: str, precision: str | None) -> None:
    """Raise the error for what no making can give."""
    own = artifact.manifest.precision
    if runtime == "torch":
        _check_for_torch(artifact, target, precision)
    elif precision not in (None, own, "fp32") and precision not in QUANTIZERS.names():
        raise unknown_name("precision", str(precision), ("fp32", *QUANTIZERS.names()))
    elif precision not in (None, own) and own not in ("fp32", "unknown", _FUSED):
        raise BenchkitError(
            f"'{target}' is {own}, and {precision} is made of fp32",
            remedy="give the fp32 artifact or the checkpoint",
        )


def _made(
    artifact: Artifact,
    runtime: str,
    precision: str | None,
    progress: Progress,
    calibration: Calibration | None = None,
) -> Artifact:
    if runtime == "torch":
        return artifact
    if artifact.manifest.kind == "checkpoint":
        artifact = exported(artifact, progress)
    if precision in (None, "fp32", artifact.manifest.precision):
        return artifact
    assert precision is not None
    return quantized(artifact, precision, progress, calibration=calibration)


def exported(
    checkpoint: Artifact,
    progress: Progress = silent,
    *,
    recipe: ExportRecipe | None = None,
    exporter: str = "torch",
    allow_pickle: bool = False,
) -> Artifact:
    """Return the ONNX artifact of a checkpoint, from the cache or made now."""
    recipe, name, export = recipe or ExportRecipe(), checkpoint.manifest.name, EXPORTERS.get(exporter)

    def make(out: Path) -> None:
        progress(f"export {name}")
        export(recipe, checkpoint=checkpoint, name=name, out=out, allow_pickle=allow_pickle)

    other = [] if exporter == "torch" else [exporter]
    return _cached(["export", checkpoint.manifest.id, recipe.model_dump(), *other], name, make)


def quantized(
    source: Artifact,
    precision: str,
    progress: Progress = silent,
    *,
    recipe: QuantizeRecipe | None = None,
    calibration: Calibration | None = None,
) -> Artifact:
    """Return the quantized sibling of an fp32 ONNX artifact, from the cache or made now."""
    recipe = recipe or QuantizeRecipe()
    name = f"{source.manifest.name}-{precision}"
    quantize = QUANTIZERS.get(precision)

    def make(out: Path) -> None:
        quantize(recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)

    texts = [] if calibration is None else [calibration.digest]
    return _cached(["quantize", precision, source.manifest.id, recipe.model_dump(), *texts], name, make)


def export_to(
    target: str,
    out: Path,
    recipe: ExportRecipe,
    *,
    exporter: str = "torch",
    fused: bool = False,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """Export a checkpoint into a folder of the user's; with `fused`, the plain graph stays in the cache."""
    checkpoint = _opened(target, progress, allow_pickle=allow_pickle)
    if checkpoint.manifest.kind != "checkpoint":
        raise BenchkitError(f"'{target}' is ONNX already", remedy="give a checkpoint folder, a hub id or arch:PRESET")
    export = EXPORTERS.get(exporter)
    with staged_artifact(out, sources=[checkpoint.path]) as staged:
        if fused:
            plain = exported(checkpoint, progress, recipe=recipe, exporter=exporter, allow_pickle=allow_pickle)
            QUANTIZERS.get("fp32-fused")(QuantizeRecipe(), source=plain, name=out.name, out=staged, progress=progress)
        else:
            export(
                recipe, checkpoint=checkpoint, name=out.name, out=staged, allow_pickle=allow_pickle, progress=progress
            )
    return load_artifact(out)


def quantize_to(
    target: str,
    out: Path,
    precision: str,
    recipe: QuantizeRecipe,
    *,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Quantize an ONNX artifact into a folder of the user's."""
    quantize = QUANTIZERS.get(precision)
    source = resolve(target, runtime="onnxruntime", progress=progress)
    with staged_artifact(out, sources=[source.path]) as staged:
        quantize(recipe, source=source, name=out.name, out=staged, calibration=calibration, progress=progress)
    return load_artifact(out)


def _opened(target: str, progress: Progress, *, allow_pickle: bool = False) -> Artifact:
    if target.startswith(_PRESET):
        return _preset(target.removeprefix(_PRESET), progress)
    path = Path(target)
    if not path.exists() and is_hub_id(target) and not target.endswith(".onnx"):
        patterns = (*_HUB_FILES, PICKLE_FILE) if allow_pickle else _HUB_FILES
        path = hub_folder(target, patterns, progress=progress)
    return load_artifact(path, allow_pickle=allow_pickle)


def _preset(preset: str, progress: Progress) -> Artifact:
    build = STEPS.get("random-checkpoint")

    def make(out: Path) -> None:
        progress(f"build {preset} with random weights")
        build(preset, name=preset, out=out)

    return _cached(["preset", preset], preset, make)


def _check_for_torch(artifact: Artifact, target: str, precision: str | None) -> None:
    if artifact.manifest.kind != "checkpoint":
        raise BenchkitError(
            f"runtime 'torch' opens checkpoints, and '{target}' is {artifact.manifest.kind}",
            remedy="give the checkpoint folder, or choose --runtime onnxruntime",
        )
    if precision not in (None, "fp32"):
        raise BenchkitError(f"runtime 'torch' runs fp32, not {precision}", remedy="choose --runtime onnxruntime")


def _cached(key: list[object], name: str, make: Callable[[Path], None]) -> Artifact:
    safe_name = re.sub(r"[^\w.-]", "-", name)
    folder = cache_folder() / f"{safe_name}-{digest(key)}"
    with locked(folder):
        if not folder.is_dir():
            with staged_folder(folder) as out:
                make(out)
    return load_artifact(folder)

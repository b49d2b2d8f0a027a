"""Merge checkpoints of one shape tensor by tensor, as mergekit does; no task data is needed.

Reading the recipe is left to `mergekit_file`, the formulas to `operators`.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchkit.core.artifacts import Artifact, check_safetensors
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import TOKENIZER_FILES, WEIGHTS_FILE, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.merge.checkpoints import check_finite
from benchkit.merge.mergekit_file import MergekitFile
from benchkit.merge.operators import linear, slerp, task_arithmetic
from benchkit.merge.report import REPORT_FILE


def merge_same_shape(
    recipe: MergekitFile, artifacts: Mapping[str, Artifact], *, name: str, out: Path, progress: Progress = silent
) -> None:
    """Merge every tensor of the checkpoints and write the folder with its manifest and `merge_report.json`.

    Config and tokenizer are those of the base model, or of the first model when there is none.

    Args:
        recipe: What to do.
        artifacts: Checkpoints by the names they have in the recipe.
        name: Name of the artifact.
        out: Existing empty folder.
        progress: Told of each tensor.

    Raises:
        BenchkitError: A tensor is missing on one side, differs in shape, or holds NaN; or labels differ.
    """
    first = artifacts[recipe.sources()[0]]
    for artifact in artifacts.values():
        _check_weights(artifact)
    _check_labels(artifacts, first)
    with contextlib.ExitStack() as stack:
        files = {
            source: stack.enter_context(safetensors.safe_open(artifacts[source].model_file, framework="pt"))
            for source in recipe.sources()
        }
        names = _common_names(files)
        merged = {}
        for number, tensor_name in enumerate(names, 1):
            merged[tensor_name] = _merged(recipe, tensor_name, files)
            progress(f"{name}: merged {tensor_name}", number / len(names))
    save_file(merged, out / WEIGHTS_FILE, metadata={"format": "pt"})
    _copy_config(first.path, out, recipe)
    notes = {"inputs": {source: artifact.manifest.id for source, artifact in artifacts.items()}, "warnings": []}
    plan = [{"tensor": tensor_name, "action": recipe.merge_method} for tensor_name in names]
    report = json.dumps(notes | {"plan": plan}, indent=2, sort_keys=True, allow_nan=False)
    (out / REPORT_FILE).write_text(report + "\n", encoding="utf-8")
    tasks = {artifact.manifest.task for artifact in artifacts.values()} - {None}
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        task=tasks.pop() if len(tasks) == 1 else None,
        precision={"float16": "fp16", "bfloat16": "bf16"}.get(recipe.dtype or "", "fp32"),
        recipe={"step": "merge-file", **recipe.model_dump(mode="json", by_alias=True)},
        weights=first.manifest.weights,
        parents=tuple(artifact.manifest.id for artifact in artifacts.values()),
        notes=notes,
    )


def _merged(recipe: MergekitFile, name: str, files: Mapping[str, Any]) -> Tensor:
    tensors = {source: file.get_tensor(name) for source, file in files.items()}
    shapes = {source: tuple(tensor.shape) for source, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        shown = ", ".join(f"{shape} in '{source}'" for source, shape in shapes.items())
        raise BenchkitError(
            f"tensor '{name}' has different shapes: {shown}",
            remedy="merge checkpoints of one shape, or use a TOML recipe with project.width for other widths",
        )
    first = next(iter(tensors.values()))
    if not first.is_floating_point():
        return _the_same(name, tensors)
    for source, tensor in tensors.items():
        check_finite(name, tensor, f"'{source}'")
    if recipe.dtype is not None:
        tensors = {source: tensor.to(getattr(torch, recipe.dtype)) for source, tensor in tensors.items()}
    return _applied(recipe, tensors).contiguous()


def _applied(recipe: MergekitFile, tensors: dict[str, Tensor]) -> Tensor:
    parameters, tuned = recipe.parameters, recipe.tuned()
    if recipe.merge_method == "slerp":
        assert recipe.base_model is not None
        assert parameters.t is not None
        other = next(source for source in tensors if source != recipe.base_model)
        return slerp(tensors[recipe.base_model], tensors[other], share=parameters.t)
    weights = [float(recipe.weight_of(model) or 0.0) for model in tuned]
    mixed = [tensors[model.model] for model in tuned]
    if recipe.merge_method == "linear":
        return linear(mixed, weights, normalize=parameters.normalize is not False)
    assert recipe.base_model is not None
    return task_arithmetic(
        tensors[recipe.base_model], mixed, weights, scale=parameters.scale, normalize=parameters.normalize is True
    )


def _the_same(name: str, tensors: dict[str, Tensor]) -> Tensor:
    first = next(iter(tensors.values()))
    if any(not torch.equal(first, tensor) for tensor in tensors.values()):
        raise BenchkitError(
            f"tensor '{name}' holds whole numbers that differ between the models, and these cannot be averaged",
            remedy="merge checkpoints of one architecture",
        )
    return first


def _common_names(files: Mapping[str, Any]) -> list[str]:
    names = {source: set(file.keys()) for source, file in files.items()}
    everything = set().union(*names.values())
    for tensor_name in sorted(everything):
        lacking = next((source for source, own in names.items() if tensor_name not in own), None)
        if lacking is not None:
            raise BenchkitError(
                f"'{lacking}' has no tensor '{tensor_name}', and another model of the merge has it",
                remedy="merge checkpoints of one architecture, all with the same head or all without",
            )
    return sorted(everything)


def _check_weights(artifact: Artifact) -> None:
    if artifact.manifest.kind != "checkpoint" or artifact.folder is None:
        raise BenchkitError(
            f"'{artifact.path}' is an artifact of kind '{artifact.manifest.kind}': merging needs weights by name",
            remedy=f"give a checkpoint folder with {WEIGHTS_FILE}",
        )
    check_safetensors(artifact.model_file)


def _check_labels(artifacts: Mapping[str, Artifact], first: Artifact) -> None:
    expected = first.config().get("id2label")
    for source, artifact in artifacts.items():
        labels = artifact.config().get("id2label")
        if labels != expected:
            raise BenchkitError(
                f"'{source}' names its labels {labels}, and '{first.path}' {expected}: "
                "averaged classifiers would mix different answers",
                remedy="merge models with one id2label, in one order",
            )


def _copy_config(source: Path, out: Path, recipe: MergekitFile) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if recipe.dtype is not None:
        key = "dtype" if "dtype" in config else "torch_dtype"
        config[key] = recipe.dtype
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)

"""A checkpoint folder -> an ONNX artifact that computes the same, proved on the spot.

The graph is made by `tracing` or by Optimum, the proof by `parity`; smaller number formats are left to `quantize`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchkit.core.artifacts import Artifact, copy_companions
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import ONNX_FILE, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ExportRecipe
from benchkit.export.onnx_file import write_onnx
from benchkit.export.parity import compare, parity_feeds, ranges_of
from benchkit.export.tracing import trace
from benchkit.runtimes.protocol import Array, Feed
from benchkit.runtimes.torch import LoadedCheckpoint, load_checkpoint
from benchkit.tasks.probe_sentences import PROBE_SENTENCES
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer

EXPORTER = "torch-torchscript"
NO_TOKENIZER = "no tokenizer beside the checkpoint: the artifact can be profiled, not scored"
NO_HEAD = "no head for a task: the graph gives last_hidden_state, which can be profiled, not scored"


class Job(NamedTuple):
    """What a writer of graphs is given.

    Attributes:
        source: The checkpoint's artifact, with a folder.
        loaded: Its model.
        out: Folder that model.onnx goes into.
        opset: ONNX opset.
        properties: Metadata for the file.
    """

    source: Artifact
    loaded: LoadedCheckpoint
    out: Path
    opset: int
    properties: dict[str, str]


def export_checkpoint(
    recipe: ExportRecipe,
    *,
    checkpoint: Artifact,
    name: str,
    out: Path,
    sentences: Sequence[str] = PROBE_SENTENCES,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> None:
    """Export a checkpoint to `out` and compare both on the same inputs.

    Args:
        recipe: Opset, and the difference that still passes.
        checkpoint: Artifact of kind "checkpoint".
        name: Name of the new artifact.
        out: Empty folder to fill.
        sentences: Real text to compare on, beside random token ids; left out for a checkpoint without tokenizer.
        allow_pickle: Read pickled weights too, tensors only.
        progress: Told of each stage.

    Raises:
        BenchkitError: No checkpoint, an unsupported architecture, a tokenizer that does not fit, or a
            difference above the tolerance.
    """
    export_with(
        _write,
        (EXPORTER, torch.__version__),
        recipe,
        checkpoint=checkpoint,
        name=name,
        out=out,
        sentences=sentences,
        allow_pickle=allow_pickle,
        progress=progress,
    )


def export_with(
    write: Callable[[Job], None],
    exporter: tuple[str, str],
    recipe: ExportRecipe,
    *,
    checkpoint: Artifact,
    name: str,
    out: Path,
    sentences: Sequence[str] = PROBE_SENTENCES,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> None:
    """Do what `export_checkpoint` does, with a graph that `write` makes.

    Args:
        write: Writes model.onnx, and nothing else that is to stay as it is.
        exporter: Name and version of what makes the graph.
        recipe: As for `export_checkpoint`, and so on.
        checkpoint: See there.
        name: See there.
        out: See there.
        sentences: See there.
        allow_pickle: See there.
        progress: See there.
    """
    if checkpoint.manifest.kind != "checkpoint" or checkpoint.folder is None:
        raise BenchkitError(
            f"'{checkpoint.path}' is {checkpoint.manifest.kind}, and only a checkpoint can be exported",
            remedy="give the checkpoint folder it was made from",
        )
    tokenizer = _tokenizer(checkpoint.folder)
    progress(f"load {checkpoint.manifest.name}", 0.0)
    loaded = load_checkpoint(checkpoint.model_file, attention="eager", allow_pickle=allow_pickle)
    facts = _facts(loaded, has_tokenizer=tokenizer is not None)
    feeds, inputs = parity_feeds(ranges_of(loaded.model.config.to_dict(), loaded.input_names), tokenizer, sentences)
    references = reference_outputs(loaded, feeds)
    progress(f"trace {loaded.architecture}, opset {recipe.opset}", 0.2)
    properties = _properties(checkpoint, loaded.architecture, " ".join(exporter))
    write(Job(source=checkpoint, loaded=loaded, out=out, opset=recipe.opset, properties=properties))
    output = loaded.output_name
    del loaded  # onnxruntime loads its own copy of the weights; two at once are enough.
    progress(f"compare {name} with its checkpoint", 0.7)
    parity = compare(out / ONNX_FILE, feeds, references, output=output, inputs=inputs)
    parity.check(recipe.tolerance)
    copy_companions(checkpoint.folder, out)
    source = checkpoint.manifest
    write_manifest(
        out,
        kind="onnx",
        name=name,
        recipe={"step": "export", "exporter": exporter[0], **recipe.model_dump(mode="json")},
        candidate=source.candidate,
        task=source.task,
        seed=source.seed,
        precision="fp32",
        weights=source.weights,
        parents=(source.id,),
        notes=facts | {"parity": parity.notes(recipe.tolerance)},
    )


def reference_outputs(checkpoint: LoadedCheckpoint, feeds: Sequence[Feed]) -> list[Array]:
    """Run the checkpoint itself, with the mask and the attention that transformers gives it."""
    with torch.inference_mode():
        return [checkpoint({name: torch.from_numpy(array) for name, array in feed.items()}).numpy() for feed in feeds]


def _write(job: Job) -> None:
    skeleton, weights = trace(job.loaded, opset=job.opset)
    write_onnx(job.out / ONNX_FILE, skeleton, weights, properties=job.properties)


def _facts(loaded: LoadedCheckpoint, *, has_tokenizer: bool) -> dict[str, Any]:
    warnings = list(loaded.warnings)
    if not has_tokenizer:
        warnings.append(NO_TOKENIZER)
    if loaded.output_name != "logits":
        warnings.append(NO_HEAD)
    return {
        "architecture": loaded.architecture,
        "inputs": list(loaded.input_names),
        "output": loaded.output_name,
        "warnings": warnings,
    }


def _tokenizer(folder: Path) -> TextTokenizer | None:
    """Return the folder's tokenizer, checked against the model; None when there is none at all."""
    present = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    return load_tokenizer(folder) if present else None


def _properties(checkpoint: Artifact, architecture: str, exporter: str) -> dict[str, str]:
    return {
        "benchkit.task": checkpoint.manifest.task or "",
        "benchkit.source_name": checkpoint.manifest.name,
        "benchkit.source_id": checkpoint.manifest.id,
        "benchkit.architecture": architecture,
        "benchkit.exporter": exporter,
    }

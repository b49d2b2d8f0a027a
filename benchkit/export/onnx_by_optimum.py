"""A checkpoint folder -> an ONNX artifact through Hugging Face Optimum's exporter, proved like our own.

Optimum pins an older transformers than the extra `train` takes, so it wants an environment of its own.
"""

import contextlib
import importlib
import importlib.metadata
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.manifest import ONNX_FILE
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ExportRecipe
from benchkit.export.onnx_file import add_properties
from benchkit.export.onnx_from_checkpoint import Job, export_with
from benchkit.tasks.probe_sentences import PROBE_SENTENCES

EXPORTER = "optimum-onnx"
_TASK_BY_OUTPUT = {"logits": "text-classification", "last_hidden_state": "feature-extraction"}


def export_by_optimum(
    recipe: ExportRecipe,
    *,
    checkpoint: Artifact,
    name: str,
    out: Path,
    sentences: Sequence[str] = PROBE_SENTENCES,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> None:
    """Export a checkpoint by Optimum; arguments and errors as for `export_checkpoint`.

    Args:
        recipe: Opset, and the difference that still passes.
        checkpoint: Artifact of kind "checkpoint".
        name: Name of the new artifact.
        out: Empty folder to fill.
        sentences: Real text to compare on, beside random token ids.
        allow_pickle: Read pickled weights too, tensors only.
        progress: Told of each stage.

    Raises:
        EnvironmentLacks: Optimum is not installed here.
    """
    export = _exporter()

    def write(job: Job) -> None:
        with _quiet():
            try:
                export(
                    job.loaded.model,
                    job.out,
                    opset=job.opset,
                    task=_TASK_BY_OUTPUT[job.loaded.output_name],
                    do_validation=False,  # Ours follows, on more shapes.
                )
            except (RuntimeError, ValueError, KeyError, TypeError, NotImplementedError) as error:
                raise BenchkitError(
                    f"optimum cannot export {job.loaded.architecture} with opset {job.opset}: "
                    f"{' '.join(str(error).split())[:200]}",
                    remedy="choose another --opset, or --exporter torch",
                ) from error
        add_properties(job.out / ONNX_FILE, job.properties)
        for path in job.out.iterdir():  # Settings of its own that it writes beside the graph; ours are copied after.
            if not path.name.startswith(ONNX_FILE):
                path.unlink()

    export_with(
        write,
        (EXPORTER, importlib.metadata.version("optimum-onnx")),
        recipe,
        checkpoint=checkpoint,
        name=name,
        out=out,
        sentences=sentences,
        allow_pickle=allow_pickle,
        progress=progress,
    )


def _exporter() -> Any:
    try:
        exporters = importlib.import_module("optimum.exporters.onnx")
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            f"exporter 'optimum' needs the package 'optimum-onnx', which is not installed (no module {error.name})",
            remedy="pip install 'benchkit[optimum]' in an environment of its own: it pins an older transformers",
        ) from error
    return exporters.onnx_export_from_model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optimum's and the exporter's talk off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

"""`benchkit train RECIPE.toml`: from a file to a fine-tuned checkpoint. Whole experiments are left to `pipeline`."""

import tempfile
from pathlib import Path

from benchkit.core.artifacts import load_artifact, staged_artifact
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import TrainFile
from benchkit.core.registry import STEPS
from benchkit.core.settings import load_toml
from benchkit.tasks.table import task_named


def train_from_file(path: Path, *, data: Path, out: Path | None = None, progress: Progress = silent) -> Path:
    """Fetch the encoder that the file names, fine-tune it, and return the checkpoint's folder.

    Args:
        path: TOML file; see `core.recipes.TrainFile`.
        data: Folder that holds the task's folder.
        out: Folder of the checkpoint; None takes models/NAME. It is replaced only when all went well.
        progress: Told of each step.

    Raises:
        BenchkitError: A mistake in the file, the data, the encoder; or `out` holds something else than an artifact.
        EnvironmentLacks: torch is not installed, or the encoder cannot be had here.
    """
    recipe = load_toml(path, TrainFile)
    task = task_named(recipe.task)
    folder = out if out is not None else Path("models") / recipe.name
    with tempfile.TemporaryDirectory() as scratch, staged_artifact(folder) as stage:
        STEPS.get("encoder")(
            recipe.encoder,
            name=f"{recipe.candidate or recipe.name}-encoder",
            out=Path(scratch),
            revision=recipe.revision,
            tokenizer=recipe.tokenizer,
            allow_pickle=recipe.allow_pickle,
            seed=recipe.train.seed,
            progress=progress,
        )
        STEPS.get("train")(
            recipe.train,
            encoder=load_artifact(Path(scratch)),
            task=task,
            data=data,
            splits=recipe.splits,
            name=recipe.name,
            candidate=recipe.candidate or recipe.name,
            out=stage,
            progress=progress,
        )
    return folder

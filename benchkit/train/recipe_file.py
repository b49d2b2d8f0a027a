"""`benchkit train RECIPE.toml`: from a file to a fine-tuned checkpoint. Whole experiments are left to `pipeline`."""

import tempfile
from pathlib import Path

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import TrainFile
from benchkit.core.registry import STEPS
from benchkit.core.settings import load_toml
from benchkit.core.store import staged_folder
from benchkit.tasks.table import task_named

_PRESET = "arch:"


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
    _check_replaceable(folder)
    with tempfile.TemporaryDirectory() as scratch, staged_folder(folder) as stage:
        encoder = _encoder(recipe, Path(scratch), progress)
        STEPS.get("train")(
            recipe.train,
            encoder=encoder,
            task=task,
            data=data,
            splits=recipe.splits,
            name=recipe.name,
            candidate=recipe.candidate or recipe.name,
            out=stage,
            progress=progress,
        )
    return folder


def _encoder(recipe: TrainFile, scratch: Path, progress: Progress) -> Artifact:
    """Bring the encoder into a scratch folder; a preset's random weights get a tokenizer on the way."""
    name = f"{recipe.candidate or recipe.name}-encoder"
    source = recipe.encoder
    if source.startswith(_PRESET):
        random_weights = scratch / "random"
        random_weights.mkdir()
        STEPS.get("random-checkpoint")(
            source.removeprefix(_PRESET), name=name, out=random_weights, seed=recipe.train.seed, progress=progress
        )
        source = str(random_weights)
    folder = scratch / "encoder"
    folder.mkdir()
    STEPS.get("encoder")(
        source,
        name=name,
        out=folder,
        revision=recipe.revision,
        tokenizer=recipe.tokenizer,
        allow_pickle=recipe.allow_pickle,
        progress=progress,
    )
    return load_artifact(folder)


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that benchkit did not make: it would be lost."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "artifact.json").is_file():
        raise BenchkitError(
            f"'{folder}' is not empty and holds no artifact.json, so it would not be replaced",
            remedy="give another folder: -o DIR",
        )

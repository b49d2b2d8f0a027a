"""`benchkit merge RECIPE`: from a file, ours or mergekit's, to a merged checkpoint folder."""

from pathlib import Path

from benchkit.core.artifacts import Artifact, load_artifact, staged_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import MergeFile
from benchkit.core.settings import load_toml
from benchkit.merge.mergekit_file import load_mergekit_file
from benchkit.merge.run import merge
from benchkit.merge.same_shape import merge_same_shape
from benchkit.tasks.table import task_named

_YAML = (".yaml", ".yml")


def merge_from_file(
    path: Path, *, data: Path | None = None, out: Path | None = None, progress: Progress = silent
) -> Path:
    """Run a merge recipe and return the merged checkpoint's folder.

    Folders named in the file are looked for from where the command runs, then beside the file.

    Args:
        path: TOML (`core.recipes.MergeFile`), or a mergekit YAML file (`mergekit_file`), which needs no data.
        data: Folder that holds the task's folder; None takes the file's own.
        out: Folder of the checkpoint; None takes models/NAME. It is replaced only when all went well.
        progress: Told of each stage.

    Raises:
        BenchkitError: A mistake in the file, a folder that is not there, or checkpoints that do not fit together.
    """
    if path.suffix in _YAML:
        return _merge_mergekit(path, out, progress)
    file = load_toml(path, MergeFile)
    task = task_named(file.task)
    donor, base = _artifact(file.donor, path, "donor"), _artifact(file.base, path, "base")
    donor_base = None if file.donor_base is None else _artifact(file.donor_base, path, "donor_base")
    folder = out or Path("models") / file.name
    with staged_artifact(folder) as stage:
        merge(
            file.recipe(),
            donor=donor,
            donor_base=donor_base,
            base=base,
            task=task,
            data=_data(file, path, data),
            splits=file.splits,
            name=file.name,
            candidate=file.candidate or file.name,
            out=stage,
            progress=progress,
        )
    return folder


def _merge_mergekit(path: Path, out: Path | None, progress: Progress) -> Path:
    recipe = load_mergekit_file(path)
    artifacts = {model: _artifact(model, path, "model") for model in recipe.sources()}
    folder = out or Path("models") / path.stem
    with staged_artifact(folder) as stage:
        merge_same_shape(recipe, artifacts, name=path.stem, out=stage, progress=progress)
    return folder


def _artifact(name: str, recipe: Path, role: str) -> Artifact:
    return load_artifact(_found(name, recipe, role))


def _found(name: str, recipe: Path, role: str) -> Path:
    for folder in (Path(name), recipe.parent / name):
        if folder.is_dir():
            return folder
    raise BenchkitError(
        f"{recipe}: {role} '{name}' is no folder, from here or beside the file",
        remedy="give a checkpoint folder; fetch a hub id first: benchkit train or huggingface-cli download",
    )


def _data(file: MergeFile, recipe: Path, data: Path | None) -> Path:
    if data is not None:
        return data
    if file.data is None:
        raise BenchkitError(
            f"{recipe}: merging for task '{file.task}' needs its text, to align and to choose the scale on",
            remedy="give the folder that holds the task's folder: --data DIR, or data = 'DIR' in the file",
        )
    return _found(file.data, recipe, "data")

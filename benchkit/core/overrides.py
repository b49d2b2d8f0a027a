"""`--set key.path=value`: single keys of a TOML file, changed from the command line."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchkit.core.errors import BenchkitError
from benchkit.core.settings import SettingT, load_toml, validated

Prepare = Callable[[dict[str, Any]], dict[str, Any]]


def load_overridden(
    path: Path, model: type[SettingT], overrides: Sequence[str] = (), *, prepare: Prepare | None = None
) -> SettingT:
    """Read a TOML file into a settings model, with `key.path=value` overrides whose values are TOML.

    Args:
        path: The file.
        model: The settings class.
        overrides: Such as "train.epochs=1".
        prepare: Applied to the plain data before it is validated, such as to resolve what lies beside the file.

    Raises:
        BenchkitError: As `load_toml`, or an override that is no `key=value`.
    """
    loaded = load_toml(path, model, prepare=prepare)  # Mistakes of the file are told with their lines, before others.
    if not overrides:
        return loaded
    value = tomllib.loads(path.read_text(encoding="utf-8"))
    for override in overrides:
        _set(value, override)
    where = f"{path} with --set {' '.join(overrides)}"
    return validated(prepare(value) if prepare else value, model, where=where)


def from_overrides(model: type[SettingT], overrides: Sequence[str]) -> SettingT:
    """Return settings that are given by `key=value` alone; what is not given takes its default.

    Raises:
        BenchkitError: An unknown key or a value that does not fit, or an override that is no `key=value`.
    """
    value: dict[str, Any] = {}
    for override in overrides:
        _set(value, override)
    return validated(value, model, where=f"--set {' '.join(overrides)}")


def beside(folder: Path, names: Any) -> Any:
    """Return names of tasks with the task files (.toml) among them as paths from here; anything else as it was."""
    if isinstance(names, str):
        return str(folder / Path(names).expanduser()) if names.endswith(".toml") else names
    return [beside(folder, name) for name in names] if isinstance(names, list) else names


def _set(value: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise BenchkitError(f"--set '{override}' has no '='", remedy="write --set KEY=VALUE, such as train.epochs=1")
    try:
        parsed = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = text  # A bare word is taken as a string: shells eat the quotes that TOML wants.
    *tables, last = key.split(".")
    for table in tables:
        value = value.setdefault(table, {})
        if not isinstance(value, dict):
            raise BenchkitError(f"--set '{override}': '{table}' is no table", remedy="edit the file for keys of a list")
    value[last] = parsed

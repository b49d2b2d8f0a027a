"""TOML that a person wrote -> validated settings; a misspelt key names the nearest known one, with file and line.

What a setting means is left to the room that owns its model.
"""

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from benchkit.core.errors import BenchkitError

SettingT = TypeVar("SettingT", bound=pydantic.BaseModel)


def load_toml(
    path: Path, model: type[SettingT], *, prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> SettingT:
    """Read a TOML file into a settings model; `prepare` may change the plain data before it is validated.

    Raises:
        BenchkitError: Missing file, broken TOML, unknown key, wrong type or value; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BenchkitError(f"no file at '{path}'", remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchkitError(f"cannot read '{path}': {error}", remedy="give a TOML file in UTF-8") from error
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchkitError(
            f"{path}: not valid TOML: {error}", remedy="mend the line that the message names"
        ) from error
    return validated(prepare(value) if prepare else value, model, where=str(path), text=text)


def validated(value: dict[str, Any], model: type[SettingT], *, where: str, text: str = "") -> SettingT:
    """Validate plain data against a settings model.

    Args:
        value: What was read.
        model: The settings class.
        where: File name for messages.
        text: The file's text, to find line numbers in.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _explained(first, model, where, text) from error


def _explained(problem: Any, model: type[pydantic.BaseModel], where: str, text: str) -> BenchkitError:
    location = tuple(problem["loc"])
    keys = [str(part) for part in location if not isinstance(part, int)]
    line = _line_of(text, location)
    place = f"{where}:{line}" if line else where
    table = f" in [{'.'.join(keys[:-1])}]" if len(keys) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return BenchkitError(
            f"{place}: unknown key '{keys[-1]}'{table}", remedy=f"{hint}known here: {', '.join(sorted(known))}"
        )
    if problem["type"] == "missing":
        return BenchkitError(f"{place}: key '{keys[-1]}' is missing{table}", remedy=f"add '{keys[-1]}'")
    message = problem["msg"].removeprefix("Value error, ")
    got = f", got {problem['input']!r}" if isinstance(problem["input"], str | int | float | bool) else ""
    name = f"'{keys[-1]}'{table}: " if keys else ""
    return BenchkitError(f"{place}: {name}{message[:1].lower()}{message[1:]}{got}", remedy="correct the value")


def _known_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the settings model allows at a place inside it."""
    candidates: list[Any] = [model]
    for part in location:
        following: list[Any] = []
        for candidate in candidates:
            for inner in _models_inside(candidate):
                field = next((f for n, f in inner.model_fields.items() if part in (n, f.alias)), None)
                if field is not None:
                    following.append(field.annotation)
        # A list index or the tag of a union names no field: stay where we are.
        candidates = following or candidates
    return [
        field.alias or name
        for candidate in candidates
        for m in _models_inside(candidate)
        for name, field in m.model_fields.items()
    ]


def _models_inside(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (list, tuple, dict, typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in _models_inside(part)]
    return []


def _line_of(text: str, location: tuple[Any, ...]) -> int | None:
    """Find the line of a key: the first `key =` after the header of its table.

    tomllib keeps no positions, so this reads the text once more; None when it cannot tell.
    """
    keys = [part for part in location if isinstance(part, str)]
    if not text or not keys:
        return None
    index = next((part for part in location if isinstance(part, int)), 0)
    lines = text.splitlines()
    start = 0
    if len(keys) > 1:
        header = re.compile(rf"\s*\[\[?\s*{re.escape(keys[0])}\s*(\.|\])")
        headers = [n for n, line in enumerate(lines) if header.match(line)]
        start = headers[min(index, len(headers) - 1)] if headers else 0
    key = re.compile(rf"""(^|[\s{{,\[])["']?{re.escape(keys[-1])}["']?\s*(=|\])""")
    found = next((n for n in range(start, len(lines)) if key.search(lines[n])), None)
    return None if found is None else found + 1

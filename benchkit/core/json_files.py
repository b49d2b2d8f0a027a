"""JSON objects in files. Records and JSON lines are left to `store`; no pydantic here, since workers import this."""

import json
from pathlib import Path
from typing import Any

from benchkit.core.errors import BenchkitError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, or raise an error that names it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchkitError(
            f"cannot read '{path}': {error}", remedy="restore the file, or make the artifact again"
        ) from error
    if not isinstance(value, dict):
        raise BenchkitError(f"'{path}' holds no JSON object", remedy="restore the file, or make the artifact again")
    return value

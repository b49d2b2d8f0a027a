"""benchkit: which of my models should I deploy on this hardware?

The public Python API; each name is imported when first used, so that `import benchkit` stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from benchkit.api import compare, load_records, profile, score

__all__ = ["compare", "load_records", "profile", "score"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchkit.api"), name)
    raise AttributeError(f"module 'benchkit' has no attribute '{name}'")

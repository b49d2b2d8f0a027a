"""The one door to the model hub: a repository's files, as a folder in the hub's own cache.

What is in the folder is left to `artifacts` and the wings.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.progress import Progress, silent

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def is_hub_id(text: str) -> bool:
    """Tell whether a text has the form owner/name."""
    return _HUB_ID.fullmatch(text) is not None


def hub_folder(
    hub_id: str, patterns: Sequence[str], *, revision: str | None = None, progress: Progress = silent
) -> Path:
    """Bring the files of a hub repository that fit the patterns; the folder's name is the commit.

    Raises:
        BenchkitError: The hub has no such repository or revision, or does not show it.
        EnvironmentLacks: The hub cannot be reached, and the files are not in its cache.
    """
    import huggingface_hub  # Comes with tokenizers; 0.2 s to import, so only when a hub id is given.
    import huggingface_hub.errors as hub_errors

    progress(f"asking the hub for {hub_id}")
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, revision=revision, allow_patterns=list(patterns)))
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError) as error:
        at = f" at revision '{revision}'" if revision else ""
        raise BenchkitError(
            f"no folder '{hub_id}', and the hub has no '{hub_id}'{at} that you may read",
            remedy="check the spelling; for a gated model log in first: hf auth login",
        ) from error
    # OSError covers "not in the cache either"; HTTPError, of whichever client the hub uses, a broken download.
    except (OSError, hub_errors.HTTPError) as error:  # type: ignore[attr-defined]
        raise EnvironmentLacks(
            f"no folder '{hub_id}', and the hub cannot be reached for it: {_first_line(error)}",
            remedy="run where the hub can be reached, or give a local folder with config.json and model.safetensors",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

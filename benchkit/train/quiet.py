"""Keep transformers and the hub client from talking: benchkit's own progress says what happens."""

import contextlib
from collections.abc import Iterator
from typing import Any

import huggingface_hub.constants
import huggingface_hub.utils.logging
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from benchkit.runtimes.torch import quiet_transformers

_hub_log: Any = huggingface_hub.utils.logging  # Any, because some of its functions are not annotated.


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence logs, bars and telemetry of transformers and the hub client inside the block."""
    verbosity, had_bars = _hub_log.get_verbosity(), not are_progress_bars_disabled()
    # Once set this stays: nobody who calls benchkit asked for telemetry.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    _hub_log.set_verbosity_error()
    disable_progress_bars()
    try:
        with quiet_transformers():
            yield
    finally:
        _hub_log.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()

"""Keep transformers and the hub client from talking: benchkit's own progress says what happens."""

import contextlib
from collections.abc import Iterator
from typing import Any

import huggingface_hub.constants
import huggingface_hub.utils.logging
import transformers.utils.logging
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

# Any, because some of their functions are not annotated.
_log: Any = transformers.utils.logging
_hub_log: Any = huggingface_hub.utils.logging


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence logs, bars and telemetry of transformers and the hub client inside the block."""
    before = (_log.get_verbosity(), _log.is_progress_bar_enabled())
    hub_before = (_hub_log.get_verbosity(), not are_progress_bars_disabled())
    # Once set this stays: nobody who calls benchkit asked for telemetry.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    _log.set_verbosity_error()
    _log.disable_progress_bar()
    _hub_log.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        _log.set_verbosity(before[0])
        _hub_log.set_verbosity(hub_before[0])
        if before[1]:
            _log.enable_progress_bar()
        if hub_before[1]:
            enable_progress_bars()

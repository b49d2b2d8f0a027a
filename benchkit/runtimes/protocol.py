"""What a runtime is to the rest of benchkit: it opens a model file and runs batches bound by name.

Timing is left to `bench`, token ids to `tasks` and `bench`, proofs to the session itself.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feed = Mapping[str, npt.NDArray[np.int64]]

DEVICES = ("cpu", "cuda")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session is opened; every field is resolved, none is "auto".

    Attributes:
        device: "cpu" or "cuda".
        threads: Threads inside one operator.
        inter_op_threads: Threads across operators.
        provider: Execution provider asked for; None takes the device's own.
        spinning: Whether idle threads of the pool spin; false gives the core back between calls.
        transfers: On a device, whether the copies from and to the host are inside `Session.call`. With False,
            `prepare` puts the batch on the device, and `call` ends when the device has finished.
        prepacking: Whether weights are also kept in the layout that the kernels like best, where the runtime has a
            switch for it. Without, a model takes less memory and more time: never in a timed pass.
        trace: Write the runtime's own profile of every call to files with this prefix; "" for none. Never in a
            timed pass.
    """

    device: str = "cpu"
    threads: int = 1
    inter_op_threads: int = 1
    provider: str | None = None
    spinning: bool = True
    transfers: bool = True
    prepacking: bool = True
    trace: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What really runs, asked of the open session.

    Attributes:
        provider: Execution provider in use.
        version: Version of the runtime.
        settings: What the runtime itself says of its threads, precision hints and optimizations, as text by name.
    """

    provider: str
    version: str
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


class Session(Protocol):
    """An open model."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, such as input_ids, attention_mask, token_type_ids."""

    def prepare(self, feed: Feed) -> Any:
        """Turn a batch of int64 arrays of shape (batch, sequence) into what `call` takes.

        Inputs that the model does not have are dropped; types are converted to the model's.

        Raises:
            BenchkitError: The model asks for an input that the feed lacks, or has another fixed shape.
        """

    def call(self, prepared: Any) -> Array:
        """Run one prepared batch; return its first output (logits), shape (batch, ...). This is what is timed."""

    def proof(self) -> Proof:
        """Say what really runs."""

    def close(self) -> Path | None:
        """Give the model back; return the profile's file where one was asked for."""


class Runtime(Protocol):
    """A way to run a model file."""

    name: str

    def open(self, model: Path, options: SessionOptions) -> Session:
        """Load the model.

        Raises:
            BenchkitError: The file is missing, corrupt or unsupported.
            EnvironmentLacks: The device or provider is not here.
        """

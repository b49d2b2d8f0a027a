"""What the parent asks of a worker, and what the worker answers: plain JSON over its two pipes.

Dataclasses, not pydantic: what the worker imports counts into the memory that it measures.
"""

import dataclasses
from typing import Any, Literal

from benchkit.bench.timing import Schedule
from benchkit.runtimes.protocol import SessionOptions

Pass = Literal["time", "memory", "energy"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One pass over one cell in one fresh process.

    Attributes:
        kind: Which quantities the process measures; time, memory and energy never share one.
        model: Path of the model file.
        runtime: Name in the table of runtimes.
        options: How the session is opened.
        batch_size: Examples per call.
        sequence_length: Tokens per example.
        vocabulary_size: Token ids are drawn below it.
        seed: Seed of the token ids.
        scenario: "single-stream" times calls and a saturated window, "offline" the window only.
        schedule: How long each part lasts.
    """

    kind: Pass
    model: str
    runtime: str
    options: SessionOptions
    batch_size: int
    sequence_length: int
    vocabulary_size: int
    seed: int
    scenario: str
    schedule: Schedule

    def as_json(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Job":
        """Read a job back."""
        inner = {"options": SessionOptions(**value["options"]), "schedule": Schedule(**value["schedule"])}
        return cls(**(value | inner))

"""What the parent asks of a worker, and what the worker answers: plain JSON over its two pipes.

Dataclasses, not pydantic: what the worker imports counts into the memory that it measures.
"""

import dataclasses
from typing import Any, Literal

from benchkit.bench.load.driving import Load
from benchkit.bench.timing import Schedule
from benchkit.bench.workload import Workload
from benchkit.runtimes.protocol import SessionOptions

Scenario = Literal["single-stream", "server", "low-rate", "offline"]
Pass = Literal["time", "memory", "energy", "idle", "cold-start", "coverage"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One pass over one cell in one fresh process.

    Attributes:
        kind: Which quantities the process measures; time, memory and energy never share one.
        model: Path of the model file.
        runtime: Name in the table of runtimes.
        options: How the session is opened.
        workload: What is fed: shapes, lengths, padding, texts.
        seed: Seed of the arrivals.
        scenario: "single-stream" times calls and a saturated window, "offline" the window only, "server" and
            "low-rate" answer calls that arrive by themselves.
        load: How calls arrive, for the last two.
        schedule: How long each part lasts.
        affinity: Logical cores to be bound to; None leaves the binding alone.
        page_cache: For cold starts: "cold" drops the model's files from the page cache before, "warm" reads them.
        files: Files of the artifact, for that.
    """

    kind: Pass
    model: str
    runtime: str
    options: SessionOptions
    workload: Workload
    seed: int
    scenario: Scenario
    load: Load | None
    schedule: Schedule
    affinity: tuple[int, ...] | None = None
    page_cache: Literal["cold", "warm"] | None = None
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Job":
        """Read a job back."""
        load = value["load"]
        inner = {
            "options": SessionOptions(**value["options"]),
            "workload": Workload.from_json(value["workload"]),
            "load": None if load is None else Load(**load),
            "schedule": Schedule(**value["schedule"]),
            "affinity": None if value["affinity"] is None else tuple(value["affinity"]),
            "files": tuple(value["files"]),
        }
        return cls(**(value | inner))

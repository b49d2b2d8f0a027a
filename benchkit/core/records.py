"""Frozen facts: what was measured, on what, where. The schema is the contract `benchkit.record/1`.

Reading and writing files of them is left to `benchkit.core.store`; making statistics of raw values
to `benchkit.stats`.
"""

from typing import Annotated, Any, Literal

import pydantic

from benchkit.core.frozen import Fact

Kind = Literal["profile", "score", "compare"]
NoiseWord = Literal["clean", "noisy", "invalid"]


class Statistic(Fact):
    """A figure made of raw values, with one-sided 95 % bounds on either side.

    Attributes:
        value: In the measurement's unit; None when the sample is too small for it.
        low: Lower bound; None when there is none.
        high: Upper bound; None when there is none.
        n: Raw values behind the figure.
        reason: Why `value`, `low` or `high` is None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    reason: str | None = None


class Measured(Fact):
    """Values of one quantity.

    Attributes:
        unit: Base unit of every value.
        runs: Raw values, one inner tuple for each worker process, in the order taken.
        statistics: Figures by name: p50, p95, median, max, accuracy ...
        details: What the values were taken with or beside: source and scope of a meter, warm-up values,
            time stamps, phases. Names carry units.
    """

    status: Literal["measured"] = "measured"
    unit: str
    runs: tuple[tuple[float, ...], ...] = ()
    statistics: dict[str, Statistic]
    details: dict[str, Any] = {}


class NotMeasured(Fact):
    """A quantity that could not be measured here. It never becomes a number.

    Attributes:
        reason: A short machine-readable word such as "no_powercap".
        detail: One sentence for people.
        remedy: What would make it measurable.
    """

    status: Literal["not_measured"] = "not_measured"
    reason: str
    detail: str = ""
    remedy: str = ""


Measurement = Annotated[Measured | NotMeasured, pydantic.Field(discriminator="status")]


class ArtifactFacts(Fact):
    """Which artifact a record speaks of.

    Attributes:
        name: What people call it, such as "small-sst2-int8".
        id: Digest of its files.
        precision: "fp32", "dynamic-int8", ...
        sha256: SHA-256 of the model file.
        size_bytes: Model file and its external data.
        parents: Ids of the artifacts that it was made from.
        candidate: The model behind it, precision and task aside ("small"); for grouping in reports.
        weights: "random" when the weights were never trained, so that no score means anything.
        task: Task of its head; None where it has none or does not say.
        seed: Seed of the training behind it; artifacts of one candidate that differ in it alone are repeats.
    """

    name: str
    id: str
    precision: str
    sha256: str
    size_bytes: int
    parents: tuple[str, ...] = ()
    candidate: str | None = None
    weights: Literal["trained", "random", "unknown"] = "unknown"
    task: str | None = None
    seed: int | None = None


class Cell(Fact):
    """What was run: every setting as resolved, never "auto".

    Attributes:
        runtime: Name in the table of runtimes.
        device: "cpu" or "cuda".
        provider: Execution provider that ran, proved after the run.
        threads: Threads inside one operator (intra-op).
        inter_op_threads: Threads across operators.
        batch_size: Examples per call; with `batch_tokens` the most that one call had.
        batch_tokens: Most tokens per call, padding included, where a score's batches are made by tokens.
        sequence_length: Tokens per example, padding included; None when inputs have their own lengths.
        scenario: "single-stream", "offline", "server" or "low-rate"; "score" for a scoring run.
        padding: "max" (all to sequence_length), "longest" (to the longest of the batch), "bucketed" (batches of
            neighbours in length, to the longest) or "grid" (to the next of 16, 32, 64, 128, 256, 512).
        task: Task name of a score.
        split: Split of a score.
        rate_per_s: Arrivals a second of a server or low-rate cell.
        load: Rate as a share of the measured capacity, where that was asked.
        p99_at_most_s: Bound under which the largest rate was looked for.
        lengths_from: Task whose texts gave the token lengths; None when all are sequence_length.
        affinity: Logical cores that the worker was bound to; None when it was not bound.
        transfers: Whether host-to-device and device-to-host copies are inside the timed call; None on a CPU.
        engine: Who drives the load: "benchkit" or "loadgen".
    """

    runtime: str
    device: str
    provider: str
    threads: int
    inter_op_threads: int = 1
    batch_size: int
    batch_tokens: int | None = None
    sequence_length: int | None = None
    scenario: str = "single-stream"
    padding: str = "max"
    task: str | None = None
    split: str | None = None
    rate_per_s: float | None = None
    load: float | None = None
    p99_at_most_s: float | None = None
    lengths_from: str | None = None
    affinity: tuple[int, ...] | None = None
    transfers: bool | None = None
    engine: str = "benchkit"


class Host(Fact):
    """The machine. Records of different `id` are never mixed in silence."""

    id: str
    cpu_model: str
    cores: int
    memory_bytes: int
    flags: tuple[str, ...] = ()
    os: str
    kernel: str
    machine: str = ""
    gpus: tuple[str, ...] = ()
    versions: dict[str, str] = {}


class Noise(Fact):
    """What disturbed the measurement. Noisy may be shown; it cannot pass or fail a gate."""

    verdict: NoiseWord
    reasons: tuple[str, ...] = ()


class Record(Fact):
    """All measurements of one cell on one host: one line of `records.jsonl`.

    `sampling` holds the stopping rule, what ended it and the widths reached; `proof` what the open session and the
    kernel said of what ran; `files` the SHA-256 of each file that belongs to the record and lies beside the record
    file, by name.
    """

    model_config = pydantic.ConfigDict(populate_by_name=True)

    schema_: Literal["benchkit.record/1"] = pydantic.Field(default="benchkit.record/1", alias="schema")
    record_id: str
    kind: Kind
    artifact: ArtifactFacts
    cell: Cell
    host: Host
    started_at_utc: str
    elapsed_s: float
    seed: int
    benchkit_version: str
    measurements: dict[str, Measurement]
    noise: Noise
    warnings: tuple[str, ...] = ()
    sampling: dict[str, Any] = {}
    proof: dict[str, Any] = {}
    files: dict[str, str] = {}

    def as_json(self) -> dict[str, Any]:
        """Return the record as the JSON object of the contract."""
        return self.model_dump(mode="json", by_alias=True)

    def statistic(self, quantity: str, name: str) -> Statistic | None:
        """Return one figure, or None when the quantity was not measured or the figure is absent."""
        measurement = self.measurements.get(quantity)
        return measurement.statistics.get(name) if isinstance(measurement, Measured) else None

    def _repr_html_(self) -> str:
        """Show the record as a table in a notebook."""
        from html import escape

        rows = []
        for quantity, measurement in self.measurements.items():
            if isinstance(measurement, NotMeasured):
                rows.append(
                    f"<tr><td>{escape(quantity)}</td><td colspan=2>not measured: {escape(measurement.detail)}</td></tr>"
                )
                continue
            for name, figure in measurement.statistics.items():
                rows.append(
                    f"<tr><td>{escape(quantity)}</td><td>{escape(name)}</td>"
                    f"<td>{figure.value} {escape(measurement.unit)}</td></tr>"
                )
        return f"<b>{escape(self.artifact.name)}</b><table>{''.join(rows)}</table>"

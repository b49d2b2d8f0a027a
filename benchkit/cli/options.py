"""Flags that several verbs share, and how their text becomes values."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchkit.core.errors import BenchkitError

Format = Literal["text", "json", "csv", "markdown"]

FormatOption = Annotated[Format, typer.Option("--format", help="How results are written to stdout.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="Append the records to this JSON-lines file.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No talk and no progress on stderr.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and the predicted time, and stop.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of inputs, order and resampling.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data, laid out as GLUE's own download (SST-2/dev.tsv ...).")
]
TaskOption = Annotated[str, typer.Option("--task", help="Task, or several with commas: sst2, mrpc, rte ...")]

BatchSizeOption = Annotated[str, typer.Option("--batch-size", help="Examples per call, a comma list.")]
SequenceLengthOption = Annotated[str, typer.Option("--sequence-length", help="Tokens per example, a comma list.")]
ThreadsOption = Annotated[str, typer.Option("--threads", help="Threads inside one operator, a comma list.")]
RuntimeOption = Annotated[str, typer.Option("--runtime", help="onnxruntime, openvino, torch; a comma list.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda; a comma list.")]
ScenarioOption = Annotated[
    str, typer.Option("--scenario", help="single-stream, server, low-rate, offline; a comma list.")
]
PaddingOption = Annotated[
    str, typer.Option("--padding", help="max, longest, bucketed, grid; a comma list. Matters with --lengths-from.")
]
LengthsFromOption = Annotated[
    str | None, typer.Option("--lengths-from", help="Task whose texts give the lengths, read from --data.")
]
RateOption = Annotated[
    float | None, typer.Option("--rate", min=1e-6, help="Calls that arrive a second (server, low-rate).")
]
LoadOption = Annotated[
    float | None,
    typer.Option(
        "--load", help="Rate as a share of the measured capacity, above 0 and below 1 (server; 0.5 by default)."
    ),
]
FindMaxOption = Annotated[
    bool, typer.Option("--find-max", help="Look for the largest rate that keeps --p99-at-most-s (server).")
]
P99Option = Annotated[float | None, typer.Option("--p99-at-most-s", min=1e-9, help="Bound on p99, in seconds.")]
EngineOption = Annotated[
    str, typer.Option("--engine", help="Who makes the arrivals: benchkit, or loadgen (MLPerf's generator).")
]
AffinityOption = Annotated[
    str | None, typer.Option("--affinity", help="Logical cores to bind the workers to, a comma list such as 0,1.")
]
SpinningOption = Annotated[
    bool, typer.Option("--spinning/--no-spinning", help="Whether idle threads of the runtime spin or sleep.")
]
TransfersOption = Annotated[
    bool,
    typer.Option("--transfers/--no-transfers", help="Whether copies to and from the GPU are inside the timed call."),
]
ColdStartOption = Annotated[
    bool, typer.Option("--cold-start", help="Also start fresh processes, page cache cold and warm.")
]
MaxSecondsOption = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        min=1,
        help="Time budget: at its end no process is begun and what is there is reported. By default 20 s a cell, and "
        "the first look at each is completed.",
    ),
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="Precisions to make of each target: fp32, dynamic-int8; a comma list.")
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", help="Execution provider, such as CPUExecutionProvider.")
]
RunsOption = Annotated[
    int | None,
    typer.Option(
        "--runs",
        min=1,
        help="Exactly so many timed processes for each cell (bounds need 5); by default as many as narrow bounds need.",
    ),
]
CellTimeoutOption = Annotated[
    float, typer.Option("--cell-timeout", min=1, help="Longest life of one worker, in seconds.")
]


def words(text: str) -> tuple[str, ...]:
    """Split a comma list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(text: str, flag: str) -> tuple[int, ...]:
    """Split a comma list of positive whole numbers; `flag` is for the message."""
    numbers = []
    for part in words(text):
        if not part.isdecimal() or int(part) < 1:
            raise BenchkitError(f"{flag}: '{part}' is no positive whole number", remedy=f"write it as {flag} 1,8")
        numbers.append(int(part))
    if not numbers:
        raise BenchkitError(f"{flag} is empty", remedy=f"write it as {flag} 1,8")
    return tuple(numbers)


def cores(text: str) -> tuple[int, ...]:
    """Split a comma list of logical cores, which count from 0."""
    parts = words(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise BenchkitError(f"--affinity: '{text}' is no list of cores", remedy="write it as --affinity 0,1")
    return tuple(int(part) for part in parts)


def matrix_values(
    *,
    batch_size: str,
    sequence_length: str,
    threads: str,
    runtime: str,
    device: str,
    scenario: str,
    precision: str | None = None,
    padding: str = "max",
    affinity: str | None = None,
) -> dict[str, Any]:
    """Turn the texts of the matrix flags into the values that `Matrix` takes."""
    return {
        "batch_size": integers(batch_size, "--batch-size"),
        "sequence_length": integers(sequence_length, "--sequence-length"),
        "threads": integers(threads, "--threads"),
        "runtime": words(runtime),
        "device": words(device),
        "scenario": words(scenario),
        "precision": words(precision or ""),
        "padding": words(padding),
        "affinity": None if affinity is None else cores(affinity),
    }

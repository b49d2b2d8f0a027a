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
ScenarioOption = Annotated[str, typer.Option("--scenario", help="single-stream, offline; a comma list.")]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="Precisions to make of each target: fp32, dynamic-int8; a comma list.")
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", help="Execution provider, such as CPUExecutionProvider.")
]
RunsOption = Annotated[int, typer.Option("--runs", min=1, help="Fresh processes timed for each cell; bounds need 5.")]
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


def matrix_values(
    *,
    batch_size: str,
    sequence_length: str,
    threads: str,
    runtime: str,
    device: str,
    scenario: str,
    precision: str | None = None,
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
    }

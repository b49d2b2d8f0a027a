"""`benchkit doctor`: what can be measured here, what cannot and why, and how small a change can be seen."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import EnvironmentLacks, Exit

if TYPE_CHECKING:
    from benchkit.core.artifacts import Artifact
    from benchkit.core.progress import Progress
    from benchkit.judge.calibration import Calibration

_LABEL = 22  # Columns of the names; the longest is "MLPerf load generator".
_SMALLEST = "arch:tinybert-4l-312"


def command(
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="How long the machine's noise is watched.")
    ] = 2.0,
    threads: Annotated[
        str, typer.Option("--threads", help="Thread counts of the peaks, a comma list; the first is calibrated.")
    ] = "1",
    peaks: Annotated[
        bool, typer.Option("--peaks/--no-peaks", help="Measure matrix products and memory bandwidth, about 4 s each.")
    ] = True,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Compare a model with itself: the smallest change that can be seen.")
    ] = False,
    target: Annotated[
        str, typer.Option("--target", help="What --calibrate runs: a model.onnx, a folder, a hub id, arch:PRESET.")
    ] = _SMALLEST,
    runtime: options.RuntimeOption = "onnxruntime",
    sequence_length: options.SequenceLengthOption = "128",
    quantity: Annotated[str, typer.Option("--quantity", help="What --calibrate compares.")] = "latency",
    margin: Annotated[float, typer.Option("--margin", min=0.001, help="Relative change that counts.")] = 0.05,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=1, help="Budget of time for --calibrate.")
    ] = None,
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
) -> Exit:
    """Show the machine, each instrument with its reason, the noise right now and the measured peaks.

    With --calibrate: exit code 3 when the machine is too noisy to decide anything.
    """
    from benchkit.cli.talk import progress_on
    from benchkit.judge.examination import examine

    progress = progress_on(quiet=quiet)
    counts = options.integers(threads, "--threads")
    found = examine(watch_s=seconds, peak_threads=counts if peaks else (), progress=progress)
    answer = found.as_json()
    if format == "text":
        progress("doctor", 1.0)
        typer.echo("\n\n".join(_section(name, lines) for name, lines in found.sections.items()))
    code = Exit.OK
    if calibrate:
        matrix_values = options.matrix_values(
            batch_size="1",
            sequence_length=sequence_length,
            threads=str(counts[0]),
            runtime=runtime,
            device="cpu",
            scenario="single-stream",
        )
        seen = _calibrated(
            target,
            matrix_values,
            quantity=quantity,
            margin=margin,
            max_seconds=max_seconds,
            output=output,
            progress=progress,
        )
        answer["calibration"] = seen.as_json()
        code = Exit.OK if seen.obstacle is None else Exit.INCONCLUSIVE
        if format == "text":
            typer.echo(f"\n{_section('calibration', _calibration_lines(seen, target))}")
    progress("doctor", 1.0)
    if format == "json":
        typer.echo(json.dumps(answer, indent=2))
    return code


def _calibrated(
    target: str,
    values: dict[str, Any],
    *,
    quantity: str,
    margin: float,
    max_seconds: float | None,
    output: Any,
    progress: "Progress",
) -> "Calibration":
    from benchkit.bench.matrix import Matrix
    from benchkit.cli.results import keep
    from benchkit.core.settings import validated
    from benchkit.judge.calibration import calibrate

    matrix = validated(values, Matrix, where="the matrix flags")
    matrix.check_names()
    keep([], output)
    artifact = _resolved(target, matrix.runtime[0], progress)
    seen, record = calibrate(
        artifact, matrix, quantity=quantity, margin=margin, max_seconds=max_seconds, progress=progress
    )
    keep([record], output)
    return seen


def _resolved(target: str, runtime: str, progress: "Progress") -> "Artifact":
    from benchkit.bench.targets import resolve

    try:
        return resolve(target, runtime=runtime, progress=progress)
    except EnvironmentLacks as error:
        # The preset is built and exported by torch, which a target machine need not have.
        remedy = f"calibrate with a model that is there: --target model.onnx; or {error.remedy}"
        raise EnvironmentLacks(str(error), remedy=remedy) from error


def _calibration_lines(seen: "Calibration", target: str) -> dict[str, str]:
    def percent(share: float) -> str:
        return f"{share:.1%}" if share < 10 else "more than tenfold"

    def bounds(centre: Any) -> str:
        if centre.low is None or centre.high is None:
            return f"{centre.estimate:.4f}, no bounds"
        return f"{centre.estimate:.4f} ({centre.low:.4f} to {centre.high:.4f})"

    lines = {
        "what": f"{seen.quantity} of {target} against itself, {seen.comparison.pairs} pairs of processes",
        "B / A": bounds(seen.comparison.ratio),
        "control, A' / A": bounds(seen.comparison.control),
        "verdict": f"{seen.comparison.verdict}: {seen.comparison.reason}",
        "spread of one pair": percent(seen.spread) if math.isfinite(seen.spread) else "not known by a single pair",
    }
    for row in seen.detectable if math.isfinite(seen.spread) else ():
        lines[f"with {row.pairs} pairs"] = (
            f"a change of {percent(row.change)} (at most {percent(row.change_at_most)}) is seen with 80 % power; "
            f"an increase of {percent(row.slower)} is called slower by {seen.margin:.0%}"
        )
    lines["so"] = seen.sentence
    if seen.obstacle is not None:
        lines["but"] = f"nothing can be decided here now: {seen.obstacle}"
    return lines


def _section(name: str, lines: dict[str, str]) -> str:
    """Write a section: its name, then one line a fact, wrapped under its own column."""
    import shutil
    import textwrap

    width = max(60, shutil.get_terminal_size((110, 24)).columns)
    wrapped = [
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {label:<{_LABEL}} ",
            subsequent_indent=" " * (_LABEL + 3),
            break_on_hyphens=False,
            break_long_words=False,
        )
        for label, text in lines.items()
    ]
    return "\n".join([name, *wrapped])

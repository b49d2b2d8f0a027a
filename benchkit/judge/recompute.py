"""Does a record say what its raw values say? Every figure is made again from the record alone and compared.

A record that was edited is read all the same, so that what was changed can be named; `core.store.read_records`
refuses it.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from benchkit.core.errors import BenchkitError, Exit
from benchkit.core.records import Measured, Record, Statistic
from benchkit.core.store import file_sha256, is_sealed
from benchkit.judge.derivations import NO_RAW_VALUES, derived, verdict_problem
from benchkit.judge.rederived import noise_again, values_again
from benchkit.stats.order_statistics import ALPHA

# Another processor or library may round the last digits of a logarithm otherwise.
_SAME = 1e-9


class Deviation(NamedTuple):
    """One figure that does not follow from its raw values.

    Attributes:
        quantity: Of the measurement.
        statistic: Name of the figure, and which part of it: "p50", "p50 high".
        recorded: As it stands in the record.
        recomputed: As the raw values have it.
    """

    quantity: str
    statistic: str
    recorded: object
    recomputed: object


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """One line of a record file, held against itself.

    Attributes:
        where: File and line, such as "records.jsonl:3".
        record_id: Its id; "" when the line is no record.
        problems: What is wrong with the record as a whole: no record, edited, a file beside it that differs.
        deviations: Figures that do not follow from their raw values.
        left_out: Figures that could not be made again, as "quantity statistic: why".
        figures: How many were made again and compared.
    """

    where: str
    record_id: str
    problems: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    left_out: tuple[str, ...] = ()
    figures: int = 0

    @property
    def fits(self) -> bool:
        """Tell whether nothing is wrong with it."""
        return not self.problems and not self.deviations


def recompute_file(path: Path) -> Iterator[Recomputed]:
    """Yield one result for each line of a JSON-lines file; a line that is no record is a result too.

    Raises:
        BenchkitError: There is no such file.
    """
    if not path.is_file():
        raise BenchkitError(f"no record file at '{path}'", remedy="give a records.jsonl that benchkit wrote")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _line(line, f"{path}:{number}", path.parent)


def recompute(record: Record) -> tuple[tuple[Deviation, ...], tuple[str, ...], int]:
    """Make every figure of a record again.

    Returns:
        What deviates, what could not be made again and why, and how many figures were compared; the verdict on noise
        is one of them.
    """
    deviations: list[Deviation] = []
    left_out: list[str] = []
    compared = 0
    for quantity, measurement in record.measurements.items():
        if not isinstance(measurement, Measured):
            continue
        try:
            figures, problem = derived(record, quantity, measurement), verdict_problem(record, quantity, measurement)
            deviations += _values(record, quantity, measurement)
        except _MISFIT as error:
            deviations.append(Deviation(quantity, "all figures", "given", f"cannot be made: {error}"))
            continue
        for name, recorded in measurement.statistics.items():
            if name not in figures:
                left_out.append(f"{quantity} {name}: {_why_not(record, quantity)}")
                continue
            compared += 1
            deviations += _compare(quantity, name, recorded, figures[name])
        if problem is not None:
            deviations.append(Deviation(quantity, "verdict", measurement.details.get("verdict"), problem))
    # A score has no counters, and where nothing was measured nothing was disturbed.
    if record.kind != "score" and any(isinstance(one, Measured) for one in record.measurements.values()):
        found = _noise(record)
        if found is None:
            left_out.append("noise verdict: the counters that it was made of are not in the record")
        else:
            deviations += found
            compared += 1
    return tuple(deviations), tuple(left_out), compared


# What raw values or counters that do not fit together raise: an edited record may hold anything.
_MISFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError, BenchkitError)


def _noise(record: Record) -> list[Deviation] | None:
    """Hold the verdict on noise against the counters that it was made of; None where they were not kept."""
    try:
        again = noise_again(record)
    except _MISFIT as error:
        return [Deviation("noise", "verdict", record.noise.verdict, f"cannot be made: {error!r}")]
    if again is None or again.verdict == record.noise.verdict:
        return None if again is None else []
    reasons = "; ".join(again.reasons[:2]) or "nothing disturbed it"
    return [Deviation("noise", "verdict", record.noise.verdict, f"{again.verdict} ({reasons})")]


def _values(record: Record, quantity: str, measurement: Measured) -> list[Deviation]:
    """Hold raw values against the windows that they were made of, where those are kept."""
    again = values_again(record, quantity)
    if again is None:
        return []
    recorded = [list(run) for run in measurement.runs]
    if len(recorded) != len(again):
        return [Deviation(quantity, "processes", len(recorded), len(again))]
    return [
        Deviation(quantity, f"value of process {number}", old[0], new[0])
        for number, (old, new) in enumerate(zip(recorded, again, strict=True), 1)
        if not _same(old[0], new[0])
    ]


def in_words(results: Sequence[Recomputed]) -> str:
    """Return what `benchkit report --recompute` prints: what is wrong first, then the count."""
    lines: list[str] = []
    for result in results:
        lines += [f"{result.where}: {problem}" for problem in result.problems]
        lines += [
            f"{result.where}: record '{result.record_id}': {one.quantity} {one.statistic} is recorded as "
            f"{one.recorded}, and its raw values give {one.recomputed}"
            for one in result.deviations
        ]
    left_out: dict[str, int] = {}
    for result in results:
        for reason in result.left_out:
            left_out[reason] = left_out.get(reason, 0) + 1
    lines += [f"not recomputed, in {times} record(s): {reason}" for reason, times in sorted(left_out.items())]
    figures, wrong = sum(result.figures for result in results), sum(not result.fits for result in results)
    if wrong:
        end = f"{wrong} record(s) cannot be believed"
    elif not figures:
        end = "nothing could be made again, so that nothing is known of them"
    else:
        end = "all of them follow from their raw values"
    return "\n".join([*lines, f"{len(results)} record(s), {figures} figures made again: {end}"])


def exit_of(results: Sequence[Recomputed]) -> Exit:
    """Return 0 when everything fits, 1 when something does not, 3 when nothing could be made again."""
    if not all(result.fits for result in results):
        return Exit.FAIL
    return Exit.OK if not results or any(result.figures for result in results) else Exit.INCONCLUSIVE


def _line(line: str, where: str, folder: Path) -> Recomputed:
    try:
        value = json.loads(line)
        record = Record.model_validate(value)
    except (ValueError, RecursionError) as error:
        detail = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else str(error)
        return Recomputed(where=where, record_id="", problems=(f"not a benchkit record: {detail}",))
    problems = [] if is_sealed(value) else [_edited(record, value)]
    problems += _files_beside(record, folder)
    problems += _other_error(record)
    deviations, left_out, figures = recompute(record)
    return Recomputed(
        where=where,
        record_id=record.record_id,
        problems=tuple(problems),
        deviations=deviations,
        left_out=left_out,
        figures=figures,
    )


def _edited(record: Record, value: dict[str, Any]) -> str:
    said = f"record '{record.record_id}' ({value['artifact'].get('name', 'unnamed')})"
    return f"{said} was edited after it was written: its digest does not fit"


def _other_error(record: Record) -> list[str]:
    """Name an error that the looks do not give: a larger one would narrow every bound."""
    looks, alpha = record.sampling.get("looks"), record.sampling.get("alpha")
    if not isinstance(looks, list) or not looks or not isinstance(alpha, int | float):
        return []
    split = ALPHA / len(looks)
    if abs(alpha - split) <= 1e-9:
        return []
    return [f"record '{record.record_id}': its bounds claim an error of {alpha:g}, and its looks give {split:g} each"]


def _files_beside(record: Record, folder: Path) -> list[str]:
    """Name the files that belong to a record, lie beside it, and are others now; absent ones are no fault."""
    return [
        f"record '{record.record_id}': '{name}' beside it is another file now: its digest does not fit"
        for name, sha256 in record.files.items()
        if Path(name).name == name and (folder / name).is_file() and file_sha256(folder / name) != sha256
    ]


def _why_not(record: Record, quantity: str) -> str:
    if record.kind == "score" and quantity == "score":
        return "the answers are in a predictions file beside the record, the labels in the task's data"
    return NO_RAW_VALUES


def _compare(quantity: str, name: str, recorded: Statistic, again: Statistic) -> list[Deviation]:
    pairs = {
        name: (recorded.value, again.value),
        f"{name} low": (recorded.low, again.low),
        f"{name} high": (recorded.high, again.high),
        f"{name} n": (recorded.n, again.n),
    }
    return [Deviation(quantity, part, old, new) for part, (old, new) in pairs.items() if not _same(old, new)]


def _same(recorded: float | None, again: float | None) -> bool:
    if recorded is None or again is None:
        return recorded is again
    return math.isclose(recorded, again, rel_tol=_SAME, abs_tol=1e-15)

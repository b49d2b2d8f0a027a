"""Budgets: what a person may write, and four verdicts on records. Only certainty passes or fails; silence fails.

The files are TOML; regressions between two artifacts are measured by `pairs`.
"""

import enum
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pydantic

from benchkit.core.errors import Exit, worst_exit
from benchkit.core.frozen import Setting
from benchkit.core.quantities import UNIT_SUFFIXES, format_value, quantity_named
from benchkit.core.records import Measured, NotMeasured, Record, Statistic
from benchkit.stats.summaries import MIN_RUNS


class Status(enum.StrEnum):
    """A judgement has four words."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"


class Gate(Setting):
    """How the budgets are held.

    Attributes:
        on_inconclusive: "warn" lets an undecided budget through with exit code 3, "fail" counts it as failed.
    """

    on_inconclusive: Literal["warn", "fail"] = "warn"


class Where(Setting):
    """Which records a budget speaks of; what is not given is not asked."""

    model: str | None = None
    precision: str | None = None
    runtime: str | None = None
    device: str | None = None
    threads: int | None = None
    batch_size: int | None = None
    sequence_length: int | None = None
    scenario: str | None = None
    task: str | None = None
    host: str | None = None

    def matches(self, record: Record) -> bool:
        """Tell whether a record is meant."""
        own = {"model": record.artifact.name, "precision": record.artifact.precision, "host": record.host.id}
        cell = record.cell.model_dump()
        return all(value is None or own.get(key, cell.get(key)) == value for key, value in self.model_dump().items())


class Budget(Setting):
    """An absolute limit. The key of the limit carries the unit: `at_most_s`, `at_least_per_s`, `at_most_bytes` ..."""

    name: str
    where: Where = Where()
    quantity: str
    statistic: str
    at_most_s: float | None = None
    at_most_bytes: float | None = None
    at_most_j: float | None = None
    at_most_ratio: float | None = None
    at_least_per_s: float | None = None
    at_least_ratio: float | None = None

    @pydantic.model_validator(mode="after")
    def _one_limit_in_the_right_unit(self) -> "Budget":
        given = self._given()
        if len(given) != 1:
            raise ValueError(f"budget '{self.name}' needs exactly one limit, such as at_most_s; it has {len(given)}")
        key = next(iter(given))
        quantity = quantity_named(self.quantity)
        suffix = UNIT_SUFFIXES[quantity.unit]
        wanted = f"{'at_most' if quantity.better == 'lower' else 'at_least'}_{suffix}"
        if key != wanted:
            raise ValueError(f"budget '{self.name}': {quantity.name} is in {quantity.unit}, so its limit is '{wanted}'")
        return self

    @property
    def limit(self) -> float:
        """The limit in the quantity's base unit."""
        return next(iter(self._given().values()))

    def _given(self) -> dict[str, float]:
        return {key: value for key, value in self.model_dump().items() if key.startswith("at_") and value is not None}


class BudgetFile(Setting):
    """A file of budgets."""

    gate: Gate = Gate()
    budget: tuple[Budget, ...] = ()

    @pydantic.model_validator(mode="after")
    def _names_are_unique(self) -> "BudgetFile":
        names = [budget.name for budget in self.budget]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two budgets have the name '{twice[0]}'")
        if not names:
            raise ValueError("the file has no [[budget]]")
        return self


class Judgement(NamedTuple):
    """One budget held against one record (or against none).

    Attributes:
        budget: Its name.
        artifact: Name of the artifact; None when no record matched.
        status: One of the four words.
        reason: Why, and what would change it.
        exit: What it means for the exit code.
    """

    budget: str
    artifact: str | None
    status: Status
    reason: str
    exit: Exit


def judge(file: BudgetFile, records: Sequence[Record]) -> list[Judgement]:
    """Hold every budget against every record that it means; a budget that means none is missing, never passed."""
    judgements = []
    for budget in file.budget:
        kinds = ("score",) if budget.quantity == "score" else ("profile",)
        meant = [record for record in records if record.kind in kinds and budget.where.matches(record)]
        if not meant:
            reason = "no record matches this budget"
            judgements.append(Judgement(budget.name, None, Status.MISSING, reason, Exit.USAGE))
        judgements += [_judged(budget, record) for record in meant]
    return judgements


def exit_of(judgements: Sequence[Judgement], gate: Gate) -> Exit:
    """Return the exit code of all judgements; a budget that means no record is a mistake in the file."""
    codes = {judgement.exit for judgement in judgements}
    if Exit.USAGE in codes:
        return Exit.USAGE
    if gate.on_inconclusive == "fail":
        codes = {Exit.FAIL if code is Exit.INCONCLUSIVE else code for code in codes}
    return worst_exit(codes)


# What a status means for the exit code; a quantity that was not measured is the environment's fault.
_EXITS = {
    Status.PASS: Exit.OK,
    Status.FAIL: Exit.FAIL,
    Status.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Status.MISSING: Exit.NOT_MEASURED,
}


def _judged(budget: Budget, record: Record) -> Judgement:
    status, reason = _status(budget, record)
    return Judgement(budget.name, record.artifact.name, status, reason, _EXITS[status])


def _status(budget: Budget, record: Record) -> tuple[Status, str]:
    measurement: Any = record.measurements.get(budget.quantity)
    if measurement is None:
        return Status.MISSING, f"{budget.quantity} is not in the record"
    if isinstance(measurement, NotMeasured):
        return Status.MISSING, f"not measured: {measurement.detail or measurement.reason}"
    assert isinstance(measurement, Measured)
    figure = measurement.statistics.get(budget.statistic)
    if figure is None:
        return Status.MISSING, f"no statistic '{budget.statistic}'; there are {', '.join(measurement.statistics)}"
    if record.noise.verdict != "clean":
        return Status.INCONCLUSIVE, f"the machine was {record.noise.verdict}: {'; '.join(record.noise.reasons[:2])}"
    runs = len(measurement.runs)
    if not quantity_named(budget.quantity).exact and budget.statistic != "max" and runs < MIN_RUNS:
        return Status.INCONCLUSIVE, f"{MIN_RUNS} fresh processes are needed for a verdict, and these are {runs}"
    return _against_limit(budget, figure)


def _against_limit(budget: Budget, figure: Statistic) -> tuple[Status, str]:
    quantity = quantity_named(budget.quantity)
    limit = format_value(quantity.name, budget.limit)
    # A peak over processes claims no bounds: the peak itself is what was needed.
    low = figure.value if budget.statistic == "max" else figure.low
    high = figure.value if budget.statistic == "max" else figure.high
    if quantity.better == "higher":
        low, high = (None if high is None else -high), (None if low is None else -low)
        signed_limit, word, far = -budget.limit, "at least", "at most"
    else:
        signed_limit, word, far = budget.limit, "at most", "at least"
    if high is not None and high <= signed_limit:
        return Status.PASS, f"{word} {format_value(quantity.name, abs(high))}, limit {limit}"
    if low is not None and low > signed_limit:
        return Status.FAIL, f"{far} {format_value(quantity.name, abs(low))}, limit {limit}"
    if figure.value is None:
        return Status.INCONCLUSIVE, figure.reason or "too few values"
    about = format_value(quantity.name, figure.value)
    return Status.INCONCLUSIVE, f"about {about}, and its bounds straddle the limit {limit}; run it with more --runs"

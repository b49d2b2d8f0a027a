"""Budgets: what a person may write, and four verdicts on records. Only certainty passes or fails; silence fails.

The files are TOML; regressions between two artifacts are measured by `pairs`. Each of several budgets could fail by
chance, so that failures share the error allowed (Holm); all must pass, so that passes need not.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pydantic

from benchkit.bench.noise_verdict import BEARABLE_SHARE
from benchkit.core.errors import BenchkitError, Exit, worst_exit
from benchkit.core.frozen import Setting
from benchkit.core.quantities import UNIT_SUFFIXES, format_value, quantity_named
from benchkit.core.records import ArtifactFacts, Cell, Measured, NotMeasured, Record
from benchkit.core.repeats import Chosen, cleanness, one_of_each_cell
from benchkit.judge.derivations import alpha_of
from benchkit.judge.levels import Ends, bounds_at_error
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import minimum_runs


class Status(enum.StrEnum):
    """A judgement has four words."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"


class Gate(Setting):
    """How the budgets are held.

    Attributes:
        alpha: One-sided error of each pass, and of all failures together.
        on_inconclusive: "warn" lets an undecided budget through with exit code 3, "fail" counts it as failed.
    """

    alpha: float = pydantic.Field(default=ALPHA, gt=0, lt=0.5)
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
    padding: str | None = None
    lengths_from: str | None = None
    rate_per_s: float | None = None
    load: float | None = None
    provider: str | None = None
    task: str | None = None
    host: str | None = None

    def matches(self, record: Record) -> bool:
        """Tell whether a record is meant."""
        facts = facts_of(record.artifact, record.cell, record.host.id)
        return all(facts.get(key) == value for key, value in self.asked().items())

    def asked(self) -> dict[str, Any]:
        """Return the keys that are given."""
        return {key: value for key, value in self.model_dump().items() if value is not None}


Facts = Mapping[str, Any]


def facts_of(artifact: ArtifactFacts, cell: Cell, host_id: str) -> dict[str, Any]:
    """Return what the keys of a `where` are held against."""
    return cell.model_dump() | {"model": artifact.name, "precision": artifact.precision, "host": host_id}


def why_none(where: Where, there: Sequence[Facts]) -> str | None:
    """Say which keys keep a `where` from meaning anything; None when it means something.

    Args:
        where: What a budget asks for.
        there: From `facts_of`; keys that are not known yet may be absent, and keep nothing away.
    """
    asked = where.asked()
    if any(all(key not in facts or facts[key] == value for key, value in asked.items()) for facts in there):
        return None
    if not there:
        return "there is nothing"
    for key, value in asked.items():
        values = {str(facts[key]) for facts in there if key in facts}
        if values and str(value) not in values:
            return f"{key} = {value!r}, and there is only {', '.join(sorted(values)[:6])}"
    return f"{', '.join(f'{key} = {value!r}' for key, value in asked.items())} in one: each alone is there"


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
        left_aside: Other records of the same cell, which were not held.
    """

    budget: str
    artifact: str | None
    status: Status
    reason: str
    exit: Exit
    left_aside: int = 0


def judge(file: BudgetFile, records: Sequence[Record]) -> list[Judgement]:
    """Hold every budget against each cell that it means; a budget that means none is missing, never passed.

    Of several records of one cell (the same artifact, settings and host) the latest is held that is clean and has the
    quantity; without such a one the latest with the quantity, else the latest.

    "Missing" is one word for two mistakes, which the exit code tells apart: a `where` that no record matches is a
    mistake in the file (2); a cell that is there without the quantity was not measured (4).

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    held: list[Judgement | _Question] = []
    for budget in file.budget:
        kind = "score" if budget.quantity == "score" else "profile"
        there = [record for record in records if record.kind == kind]
        meant = one_of_each_cell(
            (record for record in there if budget.where.matches(record)),
            usable=lambda record, budget=budget: _usable(budget, record),  # type: ignore[misc]
        )
        if not meant:
            facts = [facts_of(record.artifact, record.cell, record.host.id) for record in there]
            reason = f"no {kind} record matches this budget: {why_none(budget.where, facts)}"
            held.append(Judgement(budget.name, None, Status.MISSING, reason, Exit.USAGE))
        held += [_without_bounds(budget, one) or _Question(budget, *one) for one in meant]
    questions = [one for one in held if isinstance(one, _Question)]
    failures = _failures([one for one in questions if not one.is_fixed], file.gate.alpha)
    level = file.gate.alpha / max(1, sum(not one.is_fixed for one in questions) - len(failures))
    return [_answered(one, file.gate.alpha, failures, level) if isinstance(one, _Question) else one for one in held]


def check_means_something(file: BudgetFile, there: Sequence[Facts]) -> None:
    """Raise the error for a budget that none of the cells that are to be measured can answer.

    Args:
        file: The budgets.
        there: Facts of the cells, without what only measuring can tell.
    """
    for budget in file.budget:
        why = why_none(budget.where, there)
        if why is not None:
            raise BenchkitError(
                f"budget '{budget.name}' means none of the cells that would be measured: {why}",
                remedy="correct its 'where', or give the target that it means",
            )


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


class _Question(NamedTuple):
    """A budget and a record that can answer it: measured, on a quiet machine, by enough processes."""

    budget: Budget
    record: Record
    left_aside: int = 0

    @property
    def is_fixed(self) -> bool:
        """Whether repeating gives the same figure: a file's size; a peak, which claims no bounds."""
        return self.budget.statistic == "max" or quantity_named(self.budget.quantity).unit == "B"

    def ends(self, alpha: float) -> Ends:
        """Return the bounds at an error, of the looks of the record too; less is better, whatever the quantity."""
        quantity, statistic = self.budget.quantity, self.budget.statistic
        figure, measurement = self.record.statistic(quantity, statistic), self.record.measurements[quantity]
        assert figure is not None
        assert isinstance(measurement, Measured)
        if self.is_fixed:
            ends = Ends(figure.value, figure.value)
        else:
            # A record that was looked at several times has the usual error split over its looks already.
            share = alpha_of(self.record, measurement) / ALPHA
            ends = bounds_at_error(self.record, quantity, statistic, alpha * share)
        if quantity_named(quantity).better == "lower":
            return ends
        return Ends(*(None if end is None else -end for end in (ends.high, ends.low)))

    @property
    def limit(self) -> float:
        """The limit, in the direction of `ends`."""
        return self.budget.limit if quantity_named(self.budget.quantity).better == "lower" else -self.budget.limit

    def is_above(self, alpha: float) -> bool:
        """Tell whether the figure lies beyond the limit, at an error."""
        low = self.ends(alpha).low
        return low is not None and low > self.limit


def _failures(questions: Sequence[_Question], alpha: float) -> list[_Question]:
    """Return the questions that fail: Holm's steps, from the error shared by all to that of the last one left."""
    failures: list[_Question] = []
    while len(failures) < len(questions):
        level = alpha / (len(questions) - len(failures))
        found = [question for question in questions if question.is_above(level)]
        if len(found) <= len(failures):
            break
        failures = found
    return failures


def _usable(budget: Budget, record: Record) -> int:
    """Return how far a record can answer a budget: a clean one that was measured before a noisy or an empty one."""
    is_there = _missing(budget, record.measurements.get(budget.quantity)) is None
    return 1 + cleanness(record) if is_there else 0


def _without_bounds(budget: Budget, chosen: Chosen) -> Judgement | None:
    """Return the judgement where no bounds are asked: nothing measured, a noisy machine, too few processes."""
    record = chosen.record

    def say(status: Status, reason: str) -> Judgement:
        return Judgement(budget.name, record.artifact.name, status, reason, _EXITS[status], chosen.left_aside)

    measurement = record.measurements.get(budget.quantity)
    missing = _missing(budget, measurement)
    if missing is not None or not isinstance(measurement, Measured):
        return say(Status.MISSING, missing or "not measured")
    unsound = _unsound(record, measurement)
    if unsound is not None:
        return say(Status.INCONCLUSIVE, unsound)
    runs, needed = len(measurement.runs), minimum_runs(alpha_of(record, measurement))
    if not quantity_named(budget.quantity).exact and budget.statistic != "max" and runs < needed:
        return say(Status.INCONCLUSIVE, f"{needed} fresh processes are needed for a verdict, and these are {runs}")
    return None


def _missing(budget: Budget, measurement: Measured | NotMeasured | None) -> str | None:
    """Say what a budget asks for and the record lacks; None when it is there."""
    if measurement is None:
        return f"{budget.quantity} is not in the record"
    if isinstance(measurement, NotMeasured):
        return f"not measured: {measurement.detail or measurement.reason}"
    if budget.statistic not in measurement.statistics:
        return f"no statistic '{budget.statistic}'; there are {', '.join(measurement.statistics)}"
    if not measurement.runs and not quantity_named(budget.quantity).exact:
        return "the record holds no raw values of it"
    return None


def _unsound(record: Record, measurement: Measured) -> str | None:
    """Say why figures that were measured decide nothing; None when they may."""
    if record.noise.verdict != "clean":
        return f"the machine was {record.noise.verdict}: {'; '.join(record.noise.reasons[:2])}"
    details = measurement.details
    dirty = [number for number, one in enumerate(details.get("contaminated") or (), 1) if one]
    if dirty:
        return f"energy window {', '.join(map(str, dirty))}: other processes used the CPU, whose joules count too"
    served = [one for one in details.get("runs") or () if isinstance(one, Mapping)]
    if any(one.get("cut") or one.get("waiting") or one.get("overloaded") for one in served):
        return "the system could not keep up with the arrivals: responses of those that still waited are missing"
    words = [one.get("verdict") for one in details.get("steadiness") or () if isinstance(one, Mapping)]
    unsteady = [word for word in words if word not in ("steady", "unknown")]
    if len(unsteady) > BEARABLE_SHARE * len(words):
        return f"{len(unsteady)} of {len(words)} runs did not settle ({', '.join(sorted(set(map(str, unsteady))))})"
    return None


def _answered(question: _Question, alpha: float, failures: Sequence[_Question], level: float) -> Judgement:
    status, reason = _against_limit(question, alpha, failed=question in failures, level=level)
    name = question.record.artifact.name
    return Judgement(question.budget.name, name, status, reason, _EXITS[status], question.left_aside)


def _against_limit(question: _Question, alpha: float, *, failed: bool, level: float) -> tuple[Status, str]:
    budget, ends = question.budget, question.ends(alpha)
    quantity = quantity_named(budget.quantity)
    limit = format_value(quantity.name, budget.limit)
    word, far = ("at most", "at least") if quantity.better == "lower" else ("at least", "at most")
    if ends.high is not None and ends.high <= question.limit:
        return Status.PASS, f"{word} {format_value(quantity.name, abs(ends.high))}, limit {limit}"
    is_above = ends.low is not None and ends.low > question.limit
    beyond = f"{far} {format_value(quantity.name, abs(ends.low))}, limit {limit}" if ends.low is not None else ""
    if failed or (is_above and question.is_fixed):
        return Status.FAIL, beyond
    if is_above:
        several = f"sure by itself, but not among all budgets (an error of {level:.2g} each)"
        return Status.INCONCLUSIVE, f"{beyond}: {several}; run it with more --runs"
    figure = question.record.statistic(quantity.name, budget.statistic)
    if figure is None or figure.value is None:
        return Status.INCONCLUSIVE, (figure.reason if figure else None) or "too few values"
    about = format_value(quantity.name, figure.value)
    return Status.INCONCLUSIVE, f"about {about}, and its bounds straddle the limit {limit}; run it with more --runs"

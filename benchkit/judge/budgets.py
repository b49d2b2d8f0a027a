"""Budgets held against records: four verdicts. Only certainty passes or fails; silence fails.

What a file of budgets may say is `budget_file`'s; regressions between two artifacts are measured by `pairs`. Each of
several budgets could fail by chance, so that failures share the error allowed (Holm); all must pass, so that passes
need not.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

from benchkit.core.errors import Exit, worst_exit
from benchkit.core.quantities import format_value, quantity_named
from benchkit.core.records import Measured, NotMeasured, Record
from benchkit.core.repeats import Chosen, cleanness, one_of_each_cell
from benchkit.judge.budget_file import Budget, BudgetFile, Gate, facts_of, why_none
from benchkit.judge.derivations import alpha_of
from benchkit.judge.levels import Ends, bounds_at_error
from benchkit.judge.soundness import why_unsound
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import minimum_runs


class Status(enum.StrEnum):
    """A judgement has four words."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"


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
    unsound = why_unsound(budget.statistic, record, measurement)
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

"""What a person may write into a file of budgets, and which records or cells a budget speaks of.

Holding budgets against records is left to `budgets`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Setting
from benchkit.core.quantities import UNIT_SUFFIXES, quantity_named
from benchkit.core.records import ArtifactFacts, Cell, Record
from benchkit.stats.order_statistics import ALPHA


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

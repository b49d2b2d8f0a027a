"""`benchkit check --budgets FILE`: hold budgets against records or against what is measured now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchkit.bench.plan import Spot
    from benchkit.core.records import Record
    from benchkit.judge.budget_file import BudgetFile
    from benchkit.judge.budgets import Judgement

# What a budget's `where` may ask of a sweep: lists whose product is measured, and settings that a sweep has once.
_LISTS = ("batch_size", "sequence_length", "threads", "runtime", "device", "scenario", "padding")
_SINGLE = ("provider", "rate_per_s", "load")


def command(
    budgets: Annotated[Path, typer.Option("--budgets", help="TOML file of budgets.")],
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET...]", help="Profiled now, in the budgets' cells.")
    ] = None,
    records: Annotated[Path | None, typer.Option("--records", help="Records measured before.")] = None,
    runs: options.RunsOption = None,
    format: Annotated[
        Literal["text", "json", "markdown"], typer.Option("--format", help="How verdicts are written.")
    ] = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
) -> Exit:
    """Exit code 0 when every budget passes, 1 when one fails, 3 when one is undecided.

    "missing" is 2 when a budget's `where` matches nothing, which is a mistake in the file, and 4 when its cell is
    there and the quantity was not measured. Of several records of one cell the latest clean one is held.
    """
    from benchkit.core.settings import load_toml
    from benchkit.core.store import read_records
    from benchkit.judge.budget_file import BudgetFile
    from benchkit.judge.budgets import exit_of, judge

    file = load_toml(budgets, BudgetFile)
    if bool(targets) == (records is not None):
        raise BenchkitError(
            "check holds budgets against TARGETs or against --records FILE",
            remedy="give one of the two: benchkit check --budgets budgets.toml model/",
        )
    measured = (
        list(read_records(records))
        if records is not None
        else _measured(file, targets or [], runs=runs, output=output, quiet=quiet)
    )
    judgements = judge(file, measured)
    typer.echo(_written(judgements, format))
    return exit_of(judgements, file.gate)


def _measured(
    file: "BudgetFile", targets: list[str], *, runs: int | None, output: Path | None, quiet: bool
) -> "list[Record]":
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan, profile
    from benchkit.cli.results import keep
    from benchkit.cli.talk import progress_on
    from benchkit.core.settings import validated
    from benchkit.judge.budget_file import check_means_something

    matrix = validated(_wanted(file) | {"runs": runs}, Matrix, where="the budgets' where")
    progress = progress_on(quiet=quiet)
    planned = plan(artifacts_for(targets, matrix, progress), matrix)
    check_means_something(file, [_known(cell) for cell in planned.cells])
    keep([], output)
    records = profile(planned, progress=progress)
    keep(records, output)
    return records


def _wanted(file: "BudgetFile") -> dict[str, Any]:
    """Return the matrix whose cells the budgets speak of.

    Raises:
        BenchkitError: A budget on a score, or two on settings that one sweep has once.
    """
    wanted: dict[str, list[Any]] = {}
    for budget in file.budget:
        if budget.quantity == "score":
            raise BenchkitError(
                f"budget '{budget.name}' is on a score, and check measures no scores by itself",
                remedy="score first: benchkit score TARGET --task sst2 --output records.jsonl; then check --records",
            )
        for key in (*_LISTS, *_SINGLE):
            value = getattr(budget.where, key)
            if value is not None and value not in wanted.setdefault(key, []):
                wanted[key].append(value)
    several = next((key for key in _SINGLE if len(wanted.get(key, ())) > 1), None)
    if several is not None:
        raise BenchkitError(
            f"the budgets ask for {several} {' and '.join(map(str, wanted[several]))}, and one sweep has one of them",
            remedy="profile each by itself with --output records.jsonl, then check --records records.jsonl",
        )
    return {key: tuple(values) if key in _LISTS else values[0] for key, values in wanted.items()}


def _known(cell: "Spot") -> dict[str, Any]:
    """Return what is known of a cell before it is measured: not which provider it will be proved to run on."""
    from benchkit.bench.record import cell_of
    from benchkit.host.facts import host_facts
    from benchkit.judge.budget_file import facts_of

    facts = facts_of(cell.artifact.facts(), cell_of(cell, cell.options.provider or ""), host_facts().id)
    return {key: value for key, value in facts.items() if key != "provider" or value}


def _written(judgements: "Sequence[Judgement]", format: str) -> str:
    if format == "json":
        return json.dumps([one._asdict() | {"exit": int(one.exit)} for one in judgements], indent=2)
    rows = [(one.status.value, one.budget, one.artifact or "-", f"{one.reason}{_aside(one)}") for one in judgements]
    if format == "markdown":
        from benchkit.report.markdown import escaped

        lines = ["| verdict | budget | artifact | why |", "|---|---|---|---|"]
        return "\n".join(lines + ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows])
    return "\n".join(f"{status:<12} {budget} [{artifact}]: {reason}" for status, budget, artifact, reason in rows)


def _aside(judgement: "Judgement") -> str:
    count = judgement.left_aside
    return f" ({count} other record{'s' if count > 1 else ''} of this cell left aside)" if count else ""

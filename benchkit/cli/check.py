"""`benchkit check --budgets FILE`: hold budgets against records or against what is measured now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from benchkit.core.records import Record
    from benchkit.judge.budgets import BudgetFile


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
    """Exit code 0 when every budget passes, 1 when one fails, 3 when one is undecided, 4 when one was not measured."""
    from benchkit.core.settings import load_toml
    from benchkit.core.store import read_records
    from benchkit.judge.budgets import BudgetFile, exit_of, judge

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
    rows = [(j.status.value, j.budget, j.artifact or "-", j.reason) for j in judgements]
    typer.echo(_written(rows, format))
    return exit_of(judgements, file.gate)


def _measured(
    file: "BudgetFile", targets: list[str], *, runs: int | None, output: Path | None, quiet: bool
) -> "list[Record]":
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan, profile
    from benchkit.cli.results import keep
    from benchkit.cli.talk import progress_on
    from benchkit.core.settings import validated

    wanted: dict[str, list[Any]] = {}
    for budget in file.budget:
        if budget.quantity == "score":
            raise BenchkitError(
                f"budget '{budget.name}' is on a score, and check measures no scores by itself",
                remedy="score first: benchkit score TARGET --task sst2 --output records.jsonl; then check --records",
            )
        for key in ("batch_size", "sequence_length", "threads", "runtime", "device", "scenario"):
            value = getattr(budget.where, key)
            if value is not None and value not in wanted.setdefault(key, []):
                wanted[key].append(value)
    values = {key: tuple(values) for key, values in wanted.items()} | {"runs": runs}
    matrix = validated(values, Matrix, where="the budgets' where")
    progress = progress_on(quiet=quiet)
    keep([], output)
    records = profile(plan(artifacts_for(targets, matrix, progress), matrix), progress=progress)
    keep(records, output)
    return records


def _written(rows: list[tuple[str, str, str, str]], format: str) -> str:
    if format == "json":
        keys = ("status", "budget", "artifact", "reason")
        return json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2)
    if format == "markdown":
        from benchkit.report.markdown import escaped

        lines = ["| verdict | budget | artifact | why |", "|---|---|---|---|"]
        return "\n".join(lines + ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows])
    return "\n".join(f"{status:<12} {budget} [{artifact}]: {reason}" for status, budget, artifact, reason in rows)

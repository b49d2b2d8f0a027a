"""`benchkit data check DIR` and `benchkit data fetch glue -o DIR`: are these the official files, and where from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from benchkit.report.cells import TableCell
    from benchkit.report.tables import Table
    from benchkit.tasks.official import FileState

app = typer.Typer(help="Check data folders against the official figures, and fetch GLUE.", no_args_is_help=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Laid out as GLUE's own download (SST-2/dev.tsv ...).")],
    format: options.FormatOption = "text",
) -> Exit:
    """Say of each file whether it is the official one whole, a subset, or altered.

    Exit code 1 when a file is altered; subsets are told, not failed.
    """
    from benchkit.report.rendering import render
    from benchkit.tasks.official import check_folder

    states = check_folder(folder)
    if all(state.state == "absent" for state in states):
        known = ", ".join(dict.fromkeys(state.file.partition("/")[0] for state in states))
        raise BenchkitError(
            f"'{folder}' holds no file of a GLUE task", remedy=f"give the folder that holds one of {known}"
        )
    typer.echo(render(_table(states), format))
    return Exit.FAIL if any(state.state == "altered" for state in states) else Exit.OK


@app.command()
def fetch(
    collection: Annotated[Literal["glue"], typer.Argument(metavar="glue", help="What to fetch: glue.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the tasks' folders.")],
    task: Annotated[str | None, typer.Option("--task", help="Only these, a comma list: sst2, mrpc ...")] = None,
    quiet: options.QuietOption = False,
) -> Exit:
    """Bring GLUE from the hub, in the layout of its own download; the folder appears whole or not at all."""
    from benchkit.cli.talk import progress_on
    from benchkit.core.registry import STEPS
    from benchkit.core.store import staged_folder
    from benchkit.tasks.table import TASKS, task_named

    names = options.words(task or "") or tuple(name for name, known in TASKS.items() if known.origin == "glue")
    tasks = [task_named(name) for name in dict.fromkeys(names)]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchkitError(f"'{out}' is there already, and nothing in it is overwritten", remedy="-o NEW_FOLDER")
    progress = progress_on(quiet=quiet)
    fetch_glue = STEPS.get("glue-data")
    with staged_folder(out) as staged:
        fetch_glue(tasks, out=staged, progress=progress)
    progress("fetch", 1.0)
    typer.echo(str(out))
    return Exit.OK


def _table(states: "list[FileState]") -> "Table":
    from benchkit.report.cells import Column
    from benchkit.report.tables import Row, Table

    columns = (
        Column(key="file", title="file", is_number=False),
        Column(key="rows", title="rows"),
        Column(key="official_rows", title="official rows"),
        Column(key="labels", title="labels", is_number=False, rank=3),
        Column(key="state", title="state", is_number=False),
        Column(key="said", title="why", is_number=False, is_detail=True),
    )
    notes = [f"{state.file}, {state.state}: {state.said}" for state in states if state.state in ("subset", "altered")]
    counts = {
        word: sum(state.state == word for state in states) for word in ("complete", "subset", "altered", "absent")
    }
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    rows = tuple(Row(record_id="", cells=_cells(state)) for state in states)
    return Table(columns=columns, rows=rows, notes=(*notes, f"{len(states)} files: {summary}"))


def _cells(state: "FileState") -> "tuple[TableCell, ...]":
    from benchkit.report.cells import TableCell, absent

    rows = absent(state.said) if state.rows is None else TableCell(text=f"{state.rows:,}", value=state.rows)
    labels = _labels(state)
    tones: dict[str, Literal["clean", "noisy", "void", "absent"]] = {
        "complete": "clean",
        "subset": "noisy",
        "altered": "void",
        "absent": "absent",
    }
    return (
        TableCell(text=state.file, value=state.file),
        rows,
        TableCell(text=f"{state.official_rows:,}", value=state.official_rows),
        TableCell(text=labels, value=labels) if labels else absent("no labels"),
        TableCell(text=state.state, value=state.state, note=state.said, tone=tones[state.state]),
        TableCell(text=state.said, value=state.said),
    )


def _labels(state: "FileState") -> str:
    if state.score_mean is not None:
        return f"mean score {state.score_mean:.3f}"
    return ", ".join(f"{name} {count:,}" for name, count in (state.labels or {}).items())

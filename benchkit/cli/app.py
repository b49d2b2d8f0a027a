"""The table of verbs. Each verb's file imports nothing heavier than the settings it parses into."""

from typing import Annotated

import typer

import benchkit
from benchkit.cli import check, compare, data, doctor, export, merge, profile, quantize, report, run, score, train, tune
from benchkit.core.errors import Exit

# The base of typer's usage errors; typer carries its own copy of click, or imports it, as versions go.
ABORT: type[BaseException] = typer.Abort
USAGE_PROBLEM: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="benchkit",
    help="Which of my text encoders should I deploy on this hardware? Measured, with bounds, on the artifact itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for verb in (doctor, run, train, merge, export, quantize, profile, score, compare, tune, check, report):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
app.add_typer(data.app, name="data")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"benchkit {benchkit.__version__}")
        raise typer.Exit(Exit.OK)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


VERBS = frozenset(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # A group of commands is one.

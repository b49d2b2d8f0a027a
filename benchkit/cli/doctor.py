"""`benchkit doctor`: what can be measured here, what cannot and why."""

import json
from typing import Annotated, Literal

import typer

from benchkit.core.errors import Exit


def command(
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="How long the machine's noise is watched.")
    ] = 2.0,
) -> Exit:
    """Show the machine, each instrument as ready or not with the reason, runtimes, and the noise right now."""
    from benchkit.judge.examination import examine

    found = examine(watch_s=seconds)
    if format == "json":
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        for section, lines in found.sections.items():
            typer.echo(section)
            for name, text in lines.items():
                typer.echo(f"  {name:<22} {text}")
    return Exit.OK

"""The one boundary where every way a command can end becomes a message and an exit code."""

import io
import os
import sys
import traceback
from collections.abc import Callable, Container
from typing import Any, TextIO

from benchkit.core.errors import BenchkitError, Exit

_INTERRUPTED = "interrupted: finished steps are kept, and cells of a profile with --output; run the same command again"


def guarded(command: Callable[[], object], err: TextIO) -> Exit:
    """Run a command; turn each way it can end into a message and an exit code.

    This is the only place in benchkit that catches every exception.
    """
    from benchkit.cli.app import ABORT, USAGE_PROBLEM, VERBS

    try:
        result = command()
        # A reader that went away (`benchkit ... | head`) shows only when the last of the output is written.
        sys.stdout.flush()
    except BenchkitError as error:
        print(f"error: {error}\n  fix: {error.remedy}", file=err)
        return error.exit
    except USAGE_PROBLEM as problem:
        print(f"error: {_sentence(problem)}\n  fix: see {_help_for(problem, VERBS)}", file=err)
        return Exit.USAGE
    except (KeyboardInterrupt, ABORT):
        result = Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer answers a reader that went away by SystemExit.
        # Nobody reads stdout any more; point it elsewhere so that the interpreter's last flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.NOT_MEASURED  # What was measured did not reach its reader; a gate must not pass on it.
    except Exception:
        traceback.print_exc(file=err)
        print("this is a bug in benchkit; please report it with the lines above", file=err)
        return Exit.BUG
    # typer itself turns Ctrl-C inside a verb into the bare number.
    code = Exit(result) if isinstance(result, int) and result in set(Exit) else Exit.OK
    if code is Exit.INTERRUPTED:
        print(_INTERRUPTED, file=err)
    return code


def _help_for(problem: Exception, known: Container[str]) -> str:
    """Return the command that explains the verb in which a mistake was made, as far as it was understood."""
    context: Any = getattr(problem, "ctx", None)
    verbs: list[str] = []
    if context is None:  # An option without its value is told before typer notes whose it is.
        verbs = [word for word in sys.argv[1:2] if word in known]
    while context is not None and context.parent is not None:
        verbs.append(context.info_name)
        context = context.parent
    return " ".join(["benchkit", *reversed(verbs), "--help"])


def _sentence(problem: Exception) -> str:
    message = getattr(problem, "format_message", lambda: str(problem))()
    return f"{message[:1].lower()}{message[1:].rstrip('.')}"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from benchkit.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        # A pipe of Windows is cp1252: an arrow that it lacks must not end a command that measured for an hour.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(guarded(lambda: app(standalone_mode=False), sys.stderr))

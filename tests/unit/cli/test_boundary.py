import io

import pytest

from benchkit.cli.boundary import guarded
from benchkit.core.errors import BenchkitError, EnvironmentLacks, Exit


def ended(command) -> tuple[Exit, str]:
    err = io.StringIO()
    return guarded(command, err), err.getvalue()


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


def test_a_users_mistake_is_two_lines() -> None:
    code, text = ended(raising(BenchkitError("unknown runtime 'x'", remedy="known: onnxruntime")))
    assert (code, text) == (Exit.USAGE, "error: unknown runtime 'x'\n  fix: known: onnxruntime\n")


def test_the_environments_fault_is_4() -> None:
    assert ended(raising(EnvironmentLacks("no GPU", remedy="get one")))[0] is Exit.NOT_MEASURED


def test_an_interrupt_is_130() -> None:
    code, text = ended(raising(KeyboardInterrupt()))
    assert code is Exit.INTERRUPTED
    assert text.startswith("interrupted")


def test_a_bug_shows_where_and_is_70() -> None:
    code, text = ended(raising(ZeroDivisionError("division by zero")))
    assert code is Exit.BUG
    assert "test_boundary.py" in text
    assert "report it" in text


@pytest.mark.parametrize(
    ("result", "code"), [(None, Exit.OK), (Exit.FAIL, Exit.FAIL), (Exit.INCONCLUSIVE, Exit.INCONCLUSIVE)]
)
def test_results_are_exit_codes(result: object, code: Exit) -> None:
    assert ended(lambda: result)[0] is code

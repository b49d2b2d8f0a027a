import io

import pytest

from benchkit.cli.app import app
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


@pytest.mark.parametrize(
    ("arguments", "help_of"),
    [
        (["profile"], "benchkit profile --help"),
        (["profile", "model", "--batchsize", "8"], "benchkit profile --help"),
        (["check", "--budgets"], "benchkit check --help"),
        (["profil", "model"], "benchkit --help"),
    ],
)
def test_a_usage_error_names_the_help_of_its_verb(arguments: list[str], help_of: str, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchkit", *arguments])
    code, text = ended(lambda: app(arguments, standalone_mode=False))
    assert code is Exit.USAGE
    assert text.splitlines()[-1] == f"  fix: see {help_of}"


def test_a_report_of_nothing_is_a_mistake(tmp_path) -> None:
    (tmp_path / "records.jsonl").write_text("\n")
    for more in (["-o", str(tmp_path / "page")], ["--recompute"]):
        code, text = ended(
            lambda more=more: app(["report", str(tmp_path / "records.jsonl"), *more], standalone_mode=False)
        )
        assert code is Exit.USAGE
        assert "there is no record in" in text
    assert not (tmp_path / "page").exists()

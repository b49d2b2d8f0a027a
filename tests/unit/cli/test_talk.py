import io

import pytest

from benchkit.cli import talk
from benchkit.cli.options import integers, matrix_values, words
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(talk.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_lines_now_and_then_and_no_control_characters(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = talk.progress_on(stream, quiet=False)
    for step in range(100):
        clock[0] += 0.1
        progress(f"train small: step {step}, loss 0.1", step / 100)
    progress("export small")
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "export small"
    assert 2 <= len(lines) <= 5
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_keeps_one_line_and_leaves_it_empty(clock: list[float]) -> None:
    stream = Terminal()
    progress = talk.progress_on(stream, quiet=False)
    for step in range(10):
        clock[0] += 1
        progress(f"step {step} " + "x" * 500, step / 10)
    progress("done", 1.0)
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[2K")
    assert max(len(part) for part in stream.getvalue().split("\r")) < 300


def test_quiet_says_nothing() -> None:
    assert talk.progress_on(Terminal(), quiet=True) is silent


def test_comma_lists() -> None:
    assert words(" a, b,,c ") == ("a", "b", "c")
    assert integers("1,8", "--batch-size") == (1, 8)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "one", "1,,x"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(BenchkitError, match="--threads"):
        integers(text, "--threads")


def test_the_matrix_flags_become_values() -> None:
    values = matrix_values(
        batch_size="1,8",
        sequence_length="32",
        threads="1",
        runtime="onnxruntime",
        device="cpu",
        scenario="single-stream",
        precision=None,
    )
    assert values["batch_size"] == (1, 8)
    assert values["precision"] == ()

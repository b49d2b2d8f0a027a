import pytest

from benchkit.core.errors import BenchkitError, Exit, worst_exit
from benchkit.core.quantities import format_number, format_value, quantity_named, significant_digits


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (12.3456, 3, "12.3"),
        (9.996, 3, "10.0"),
        (0.0123, 2, "0.012"),
        (123456.0, 3, "123,000"),
        (0, 3, "0"),
        (-1.5, 2, "-1.5"),
    ],
)
def test_numbers_are_written_with_their_digits(number: float, digits: int, text: str) -> None:
    assert format_number(number, digits) == text


def test_values_are_written_in_display_units() -> None:
    assert format_value("latency", 0.0123) == "12.3 ms"
    assert format_value("peak_memory", 2.0**20 * 100, digits=4) == "100.0 MiB"
    assert format_value("energy_package", None) == "—"
    with pytest.raises(BenchkitError, match="unknown quantity 'latncy'"):
        quantity_named("latncy")


def test_only_supported_digits() -> None:
    assert significant_digits(10.0, 9.999, 10.001) == 4
    assert significant_digits(10.0, 9.0, 11.0) == 2
    assert significant_digits(10.0, None, None) == 3


def test_the_worst_exit_wins() -> None:
    assert worst_exit([Exit.OK, Exit.INCONCLUSIVE, Exit.FAIL]) is Exit.FAIL
    assert worst_exit([Exit.FAIL, Exit.NOT_MEASURED]) is Exit.NOT_MEASURED
    assert worst_exit([]) is Exit.OK

# ruff: noqa: RUF001 - ranges are written with an en dash, as tables print them.
"""Figures carry the digits that their bounds support, and no more."""

import pytest

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Statistic
from benchkit.report.figures import bounds_text, value_text, with_unit

LATENCY, SCORE, MEMORY = (QUANTITIES[name] for name in ("latency", "score", "peak_memory"))


@pytest.mark.parametrize(
    ("value", "low", "high", "text", "bounds"),
    [
        (0.0123, 0.0121, 0.0126, "12.3", "12.1–12.6"),
        (0.012345, 0.012340, 0.012351, "12.35", "12.34–12.36"),
        (0.0100, 0.0050, 0.0200, "10", "5–20"),
        (0.009996, 0.00999, 0.01001, "10.0", "9.9–10.1"),
        (12.3456, 12.2, 12.6, "12,300", "12,200–12,600"),
        (0.0123, None, 0.0126, "12.3", "≤ 12.6"),
        (0.0123, 0.0121, None, "12.3", "≥ 12.1"),
        (0.0123, None, None, "12.3", ""),
        (None, None, None, "—", ""),
        (0.0, 0.0, 0.0, "0", "0.000–0.000"),
    ],
)
def test_digits_follow_the_bounds(value, low, high, text, bounds):
    statistic = Statistic(value=value, low=low, high=high, n=100)
    assert value_text(LATENCY, statistic) == text
    assert bounds_text(LATENCY, statistic) == bounds


def test_bounds_are_rounded_outwards():
    # Plain rounding would print 12.6 for a bound of 12.61.
    statistic = Statistic(value=0.01250, low=0.01234, high=0.01261, n=100)
    assert bounds_text(LATENCY, statistic) == "12.3–12.7"


def test_floating_point_noise_does_not_widen_a_bound():
    # 0.0123 * 1e3 is 12.299999999999999, which must not floor to 12.2.
    statistic = Statistic(value=0.0124, low=0.0123, high=0.0126, n=100)
    assert bounds_text(LATENCY, statistic) == "12.3–12.6"


def test_an_exact_quantity_keeps_its_digits_whatever_the_bounds():
    statistic = Statistic(value=0.9014, low=0.884, high=0.918, n=872)
    assert with_unit(SCORE, statistic) == "90.1 % (88.4–91.8)"


def test_negative_scores_are_readable():
    assert with_unit(SCORE, Statistic(value=-0.0313, low=-0.1, high=0.05, n=100)) == "-3.13 % (-10.00–5.00)"


@pytest.mark.parametrize("value", [1e300, 1e308, 5e-324, -1e300])
def test_absurd_values_stay_short(value):
    statistic = Statistic(value=value, low=value, high=value, n=1)
    assert len(with_unit(LATENCY, statistic)) < 60


def test_memory_is_shown_in_mib():
    assert with_unit(MEMORY, Statistic(value=190.0 * 2**20, n=3)) == "190 MiB"

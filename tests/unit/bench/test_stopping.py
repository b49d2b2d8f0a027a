import pytest

from benchkit.bench.matrix import Matrix
from benchkit.bench.stopping import Reached, Stopping, exactly, reached
from benchkit.core.records import Measured, NotMeasured, Statistic


def test_the_error_is_split_over_the_looks() -> None:
    assert Stopping(looks=(6, 9, 14)).alpha == pytest.approx(0.05 / 3)
    assert exactly(5).alpha == 0.05


def test_a_number_of_runs_takes_the_place_of_the_rule() -> None:
    assert Matrix(runs=5).rule.looks == (5,)
    assert Matrix().rule.looks == (6, 9, 14)
    assert Matrix(runs=5, stopping={"max_seconds": 7}).rule.max_seconds == 7


def test_each_cell_has_its_share_of_the_time() -> None:
    assert Stopping().budget_s(3) == 60
    assert Stopping(max_seconds=10).budget_s(3) == 10


@pytest.mark.parametrize(
    ("widths", "enough"),
    [
        ((0.02, 0.05), True),
        ((0.021, 0.05), False),
        ((0.02, 0.051), False),
        ((None, 0.01), False),
        ((0.01, None), False),
    ],
)
def test_both_targets_count(widths, enough) -> None:
    assert Reached(*widths).is_enough(Stopping()) is enough


def figure(value, low, high):
    return Statistic(value=value, low=low, high=high, n=100)


def test_the_width_is_the_worse_half() -> None:
    latency = Measured(unit="s", statistics={"p50": figure(1.0, 0.99, 1.03), "p95": figure(2.0, 1.8, 2.02)})
    widths = reached({"latency": latency})
    assert widths.p50 == pytest.approx(0.03)
    assert widths.p95 == pytest.approx(0.1)


def test_offline_is_judged_by_its_throughput() -> None:
    throughput = Measured(unit="examples/s", statistics={"median": figure(100.0, 99.0, 101.0)})
    assert reached({"throughput": throughput}).is_enough(Stopping())


def test_nothing_measured_is_never_enough() -> None:
    assert not reached({"latency": NotMeasured(reason="worker_failed")}).is_enough(Stopping())

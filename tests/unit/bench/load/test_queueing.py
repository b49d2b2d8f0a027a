import numpy as np
import pytest

from benchkit.bench.load.arrivals import even_arrivals_ns, poisson_arrivals_ns
from benchkit.bench.load.open_loop import Served
from benchkit.bench.load.queueing import keeping_up, lateness_warning, littles_law

MS = 1_000_000


def one_server(arrivals_ns: np.ndarray, service_ns: np.ndarray | int, *, served: int | None = None) -> Served:
    """Serve first in, first out, by the recursion of Lindley; all after the first `served` are left waiting."""
    begins, ends, end = [], [], 0
    for arrival, service in zip(arrivals_ns.tolist(), np.broadcast_to(service_ns, len(arrivals_ns)), strict=True):
        begins.append(max(arrival, end))
        ends.append(end := begins[-1] + int(service))
    n = served or len(ends)
    return Served(
        arrival_ns=tuple(arrivals_ns[:n].tolist()),
        begin_ns=tuple(begins[:n]),
        end_ns=tuple(ends[:n]),
        waiting_ns=tuple(arrivals_ns[n:].tolist()),
        cut="time" if served else "",
    )


def at_load(load: float, n: int, seed: int) -> Served:
    return one_server(poisson_arrivals_ns(load * 200, count=n, seed=seed), 5 * MS)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_littles_law_holds_when_the_system_keeps_up(load: float) -> None:
    for seed in range(20):
        little = littles_law(at_load(load, 2000, seed))
        assert little.holds, little
        assert little.mean_in_system == pytest.approx(little.rate_per_s * little.mean_response_s, rel=0.05)


def test_littles_law_of_a_known_case() -> None:
    # 5 ms of service every 10 ms: half a query in the system on average.
    little = littles_law(one_server(even_arrivals_ns(100.0, 11), 5 * MS))
    assert little.rate_per_s == pytest.approx(10 / 0.110)
    assert little.mean_in_system == pytest.approx(10 * 0.005 / 0.110)
    assert little.relative_difference == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("load", [1.2, 2.0, 5.0])
def test_littles_law_is_broken_by_an_overloaded_run(load: float) -> None:
    little = littles_law(at_load(load, 1000, 0))
    assert not little.holds
    assert little.relative_difference == pytest.approx(1 / load - 1, abs=0.08)


def test_littles_law_is_broken_by_a_run_that_was_cut() -> None:
    """A cut leaves out the longest responses: what is left looks better than it was, and does not add up."""
    arrivals_ns = poisson_arrivals_ns(240.0, count=1000, seed=1)
    little = littles_law(one_server(arrivals_ns, 5 * MS, served=600))
    assert not little.complete
    assert not little.holds


def test_littles_law_of_nothing_is_not_checked() -> None:
    assert littles_law(Served(arrival_ns=(), begin_ns=(), end_ns=())).relative_difference is None


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_a_system_that_keeps_up_is_not_called_overloaded(load: float) -> None:
    for seed in range(40):
        keeping = keeping_up(at_load(load, 500, seed))
        assert not keeping.overloaded, keeping
        assert keeping.utilisation == pytest.approx(load, rel=0.2)


@pytest.mark.parametrize("load", [1.2, 1.5, 3.0])
def test_a_system_that_does_not_keep_up_is_called_overloaded(load: float) -> None:
    growths = []
    for seed in range(20):
        keeping = keeping_up(at_load(load, 500, seed))
        assert keeping.overloaded
        growths.append(keeping.growth_s_per_s)
    assert np.mean(growths) == pytest.approx(load - 1, rel=0.2)


def test_a_stall_that_is_worked_off_is_no_overload() -> None:
    service_ns = np.full(1000, 5 * MS)
    service_ns[300] = 405 * MS
    assert not keeping_up(one_server(poisson_arrivals_ns(100.0, count=1000, seed=0), service_ns)).overloaded


def test_a_system_that_slows_down_until_it_cannot_keep_up_is_called_overloaded() -> None:
    """Its mean service leaves room, the service of its second half does not."""
    service_ns = np.where(np.arange(600) < 300, 4 * MS, 7 * MS)
    keeping = keeping_up(one_server(even_arrivals_ns(170.0, 600), service_ns))
    assert keeping.utilisation < 1
    assert keeping.overloaded


def test_a_generator_that_is_late_is_told() -> None:
    arrivals_ns = even_arrivals_ns(100.0, 50)
    begins = [int(value) + 2 * MS for value in arrivals_ns]
    late = Served(
        arrival_ns=tuple(arrivals_ns.tolist()), begin_ns=tuple(begins), end_ns=tuple(begin + 5 * MS for begin in begins)
    )
    assert "29%" in lateness_warning(late)
    assert not lateness_warning(one_server(arrivals_ns, 5 * MS))
    assert not lateness_warning(one_server(even_arrivals_ns(400.0, 50), 5 * MS))  # A queue is not lateness.

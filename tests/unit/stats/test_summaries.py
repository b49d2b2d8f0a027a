import numpy as np

from benchkit.stats.summaries import latency_statistics, measured, peak_statistics, per_process_statistics


def runs_of(n: int, *, processes: int = 5, seed: int = 0) -> list[list[float]]:
    noise = np.random.default_rng(seed)
    return [list(0.01 + noise.exponential(1e-3, n)) for _ in range(processes)]


def test_a_tail_that_was_hardly_sampled_is_not_printed() -> None:
    found = latency_statistics(runs_of(20))
    assert found["p99"].value is None
    assert "p99 needs 299" in (found["p99"].reason or "")
    assert found["p50"].value is not None
    assert latency_statistics(runs_of(100))["p99"].value is not None


def test_a_slow_process_widens_the_bounds() -> None:
    """Between processes lies what no single process shows: one of five at twice the time must be in the bounds."""
    steady = runs_of(200)
    slow = [*steady[:4], [2 * value for value in steady[4]]]
    assert latency_statistics(slow)["p50"].high > 1.9 * 0.01
    assert latency_statistics(steady)["p50"].high < 1.2 * 0.01


def test_bounds_enclose_the_figure() -> None:
    for seed in range(30):
        for figure in latency_statistics(runs_of(80, seed=seed)).values():
            if figure.value is not None and figure.low is not None:
                assert figure.low <= figure.value <= figure.high


def test_fewer_than_five_processes_are_said() -> None:
    found = latency_statistics(runs_of(100, processes=3))["p50"]
    assert "5 runs are needed" in (found.reason or "")
    alone = per_process_statistics([[2.0], [3.0]])["median"]
    assert (alone.value, alone.low, alone.high) == (2.5, None, None)


def test_nothing_gives_no_number() -> None:
    assert latency_statistics([])["p50"].value is None
    assert per_process_statistics([])["median"].value is None
    assert peak_statistics([])["max"].value is None


def test_peaks_are_the_largest_and_claim_no_bound() -> None:
    figure = peak_statistics([[10.0], [12.0]])["max"]
    assert (figure.value, figure.low, figure.high, figure.n) == (12.0, None, None, 2)


def test_statistics_are_functions_of_the_runs() -> None:
    runs = runs_of(50)
    first, second = measured("latency", runs), measured("latency", [list(run) for run in runs])
    assert first == second
    assert first.unit == "s"

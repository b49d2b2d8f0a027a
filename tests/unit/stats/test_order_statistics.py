import numpy as np
import pytest
from scipy import stats as oracle

from benchkit.stats.dependence import autocorrelation_time, effective_n
from benchkit.stats.order_statistics import bounds_at, minimum_n, nearest_rank, quantile_ranks


@pytest.mark.parametrize(("q", "n"), [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)])
def test_smallest_samples_with_an_upper_bound(q: float, n: int) -> None:
    assert minimum_n(q) == n
    assert quantile_ranks(n, q).high == n
    assert quantile_ranks(n - 1, q).high is None


@pytest.mark.parametrize("n", [1, 7, 59, 300, 5000])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_ranks_are_those_of_the_binomial(n: int, q: float) -> None:
    low, high = int(oracle.binom.ppf(0.05, n, q)), int(oracle.binom.ppf(0.95, n, q)) + 1
    assert quantile_ranks(n, q) == (low if low > 0 else None, high if high <= n else None)


def test_no_values_no_bounds() -> None:
    assert quantile_ranks(0, 0.5) == (None, None)


def test_nearest_rank_is_a_value_that_occurred() -> None:
    ordered = np.arange(1.0, 21.0)
    assert nearest_rank(ordered, 0.95) == 19.0
    assert nearest_rank(ordered, 0.5) == 10.0
    assert nearest_rank(ordered[:1], 0.99) == 1.0


def test_bounds_cover_the_truth_at_their_level() -> None:
    """98 % of the calls take 1 unit, 2 % take 3: the true p99 is 3.0, the true p50 1.0."""
    hits = {0.5: 0, 0.99: 0}
    for seed in range(200):
        noise = np.random.default_rng(seed)
        ordered = np.sort(np.where(noise.random(600) < 0.02, 3.0, 1.0) + noise.random(600) * 1e-3)
        for q, truth in ((0.5, 1.0005), (0.99, 3.0005)):
            low, high = bounds_at(ordered, q, effective_n=600)
            assert high is not None
            hits[q] += (low is None or low <= truth) and truth <= high
    assert all(hit >= 0.86 * 200 for hit in hits.values()), hits  # Two one-sided 95 % bounds: 90 %, less slack.


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_dependent_calls_keep_the_coverage(rho: float) -> None:
    """An AR(1) series: the upper bound on p95 holds in about 95 % of the runs, whatever the dependence."""
    q, n, held = 0.95, 1000, 0
    truth = float(oracle.norm.ppf(q)) / np.sqrt(1 - rho**2)
    for seed in range(200):
        shocks = np.random.default_rng(seed).normal(size=n + 200)
        series = np.empty_like(shocks)
        series[0] = shocks[0]
        for i in range(1, len(shocks)):
            series[i] = rho * series[i - 1] + shocks[i]
        values = series[200:]
        ordered = np.sort(values)
        independent = effective_n([values], nearest_rank(ordered, q))
        _, high = bounds_at(ordered, q, effective_n=independent)
        held += high is None or truth <= high
    assert held >= 0.90 * 200


def test_independent_calls_count_fully() -> None:
    values = np.tile([1.0, 2.0], 50)
    assert autocorrelation_time(values, 1.5) == 1.0  # Alternating values are anticorrelated: never counted above n.
    assert autocorrelation_time(np.ones(50), 1.0) == 1.0
    assert autocorrelation_time(np.repeat([1.0, 2.0], 25), 1.5) > 5

"""Planted series, over seeds: what is steady must not be doubted, what is not must be named."""

import collections
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from benchkit.stats.stationarity import is_warm, steadiness

Series = Callable[[np.random.Generator], np.ndarray]


def noise(rng: np.random.Generator, n: int, *, rho: float = 0.5, spread: float = 0.03, spikes: float = 0.01):
    """An AR(1) series around 10 ms, with calls that take three times as long."""
    shocks = rng.normal(size=n + 200)
    series = np.empty_like(shocks)
    series[0] = shocks[0]
    for i in range(1, len(shocks)):
        series[i] = rho * series[i - 1] + shocks[i]
    values = 0.01 * (1 + spread * np.sqrt(1 - rho**2) * series[200:])
    values[rng.random(n) < spikes] *= 3
    return values


def verdicts(make: Series, seeds: int = 60) -> collections.Counter[str]:
    return collections.Counter(steadiness(make(np.random.default_rng(seed))).verdict for seed in range(seeds))


@pytest.mark.parametrize("rho", [0.0, 0.9])
@pytest.mark.parametrize("n", [200, 1000])
def test_a_stationary_series_is_steady(n: int, rho: float) -> None:
    found = verdicts(lambda rng: noise(rng, n, rho=rho), seeds=150)
    assert found["steady"] >= 0.95 * 150, found


def test_hardly_anything_of_a_stationary_series_is_dropped() -> None:
    starts = [steadiness(noise(np.random.default_rng(seed), 500, rho=0.9)).start for seed in range(60)]
    assert np.quantile(starts, 0.9) <= 12
    assert max(starts) <= 250


def test_a_warm_up_is_dropped_and_said() -> None:
    found = [
        steadiness(noise(np.random.default_rng(seed), 400, spread=0.02) * (1 + np.exp(-np.arange(400) / 10)))
        for seed in range(60)
    ]
    assert sum(one.verdict == "steady" for one in found) >= 57
    assert all(15 <= one.start <= 80 for one in found)
    assert "warm-up" in found[0].detail
    assert "slower" in found[0].detail


def test_a_drift_is_named_by_its_direction() -> None:
    assert verdicts(lambda rng: noise(rng, 500) * np.linspace(1, 1.3, 500))["slowing"] >= 58
    assert verdicts(lambda rng: noise(rng, 500) * np.linspace(1, 0.75, 500))["speeding"] >= 58
    change = steadiness(noise(np.random.default_rng(0), 500) * np.linspace(1, 1.3, 500)).change
    assert 0.2 < change < 0.32


def test_one_step_is_a_drift_and_not_two_modes() -> None:
    found = verdicts(lambda rng: noise(rng, 500) * np.where(np.arange(500) > 300, 1.3, 1.0))
    assert found["slowing"] >= 58, found


@pytest.mark.parametrize("period", [1, 20, 60])
def test_two_levels_in_turn_are_bimodal(period: int) -> None:
    found = verdicts(lambda rng: noise(rng, 500) * np.where(np.arange(500) // period % 2, 1.3, 1.0))
    assert found["bimodal"] >= 58, found


def test_wide_noise_is_no_mode() -> None:
    assert verdicts(lambda rng: 0.01 * (1 + rng.random(500)))["steady"] >= 56
    assert verdicts(lambda rng: 0.01 * np.exp(rng.normal(0, 0.3, 500)))["steady"] >= 56
    assert verdicts(lambda rng: noise(rng, 500, spikes=0.02))["bimodal"] == 0


def test_a_level_that_walks_has_no_steady_state() -> None:
    found = verdicts(lambda rng: 0.01 * np.exp(np.cumsum(rng.normal(0, 0.03, 1000))))
    assert found["steady"] <= 9, found


def test_too_few_values_are_not_called_steady() -> None:
    assert steadiness([0.01] * 11).verdict == "unknown"
    assert "12 are needed" in steadiness([0.01] * 3).detail
    assert steadiness([]).start == 0
    assert steadiness([0.01] * 12).verdict == "steady"


def test_facts_cross_the_pipe() -> None:
    found = steadiness(noise(np.random.default_rng(0), 300))
    assert json.loads(json.dumps(found.as_json()))["verdict"] == found.verdict


def test_the_live_look() -> None:
    seeds = range(100)
    decay = 1 + np.exp(-np.arange(60) / 15)
    assert not is_warm([0.01] * 8)
    assert sum(is_warm(noise(np.random.default_rng(s), 60) * decay) for s in seeds) <= 3
    assert sum(is_warm(noise(np.random.default_rng(s), 60)) for s in seeds) >= 85


def test_nothing_heavy_comes_with_it() -> None:
    code = "import sys, benchkit.stats.stationarity; print(sorted(set(sys.modules) & {'scipy', 'pydantic', 'psutil'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

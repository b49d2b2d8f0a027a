import math

import numpy as np
import pytest

from benchkit.core.errors import MeasurementFailed
from benchkit.judge.compare import (
    LOOKS,
    Comparison,
    Triple,
    Verdict,
    compare_triples,
    drift_of,
    minimum_detectable,
)
from benchkit.judge.looks import Rules, compare


def triples(effect: float, *, n: int, seed: int = 0, sigma: float = 0.01, drift: float = 0.0) -> list[Triple]:
    """Draw pairs with a planted effect, noise between processes, and a drift over the run."""
    noise = np.random.default_rng(seed)
    found = []
    for pair in range(n):
        base = 0.01 * (1 + drift * pair / n)
        a, b, control = base * np.exp(noise.normal(0, sigma, 3))
        found.append(Triple(float(a), float(b) * (1 + effect), float(control)))
    return found


def run(effect: float, **settings: float) -> Comparison:
    source = iter(triples(effect, n=LOOKS[-1], **settings))  # type: ignore[arg-type]
    return compare(lambda: next(source), Rules())


def test_the_same_artifact_is_hardly_ever_told_apart() -> None:
    verdicts = [run(0.0, seed=seed, sigma=0.02).verdict for seed in range(100)]
    told_nothing_apart = (Verdict.EQUAL, Verdict.NOT_SLOWER, Verdict.INCONCLUSIVE)
    decided = sum(verdict not in told_nothing_apart for verdict in verdicts)
    assert decided <= 9, decided  # 5 % plus binomial slack


def test_ten_percent_more_work_is_found() -> None:
    verdicts = [run(0.10, seed=seed, sigma=0.01).verdict for seed in range(100)]
    assert verdicts.count(Verdict.SLOWER) >= 90
    assert Verdict.EQUAL not in verdicts
    assert Verdict.FASTER not in verdicts


def test_bounds_cover_the_truth() -> None:
    held = 0
    for seed in range(300):
        ratio = compare_triples(triples(0.07, n=12, seed=seed, sigma=0.03)).ratio
        held += ratio.low <= 1.07 <= ratio.high
    assert held >= 0.93 * 300


def test_a_drift_of_both_arms_leaves_the_ratio() -> None:
    ratio = compare_triples(triples(0.0, n=12, sigma=0.005, drift=0.3)).ratio
    assert ratio.low <= 1.0 <= ratio.high


def test_more_throughput_is_faster() -> None:
    found = compare_triples([Triple(100.0, 150.0 + n, 100.0 + n / 10) for n in range(6)], better="higher")
    assert found.verdict is Verdict.FASTER
    assert found.ratio.low <= found.ratio.estimate <= found.ratio.high
    assert found.ratio.low > 1.4


def test_an_interval_that_reaches_far_down_is_not_called_equal() -> None:
    """Bounds of -30 % to +2 %: not slower is known, equal is not."""
    found = compare_triples([Triple(1.0, ratio, 1.0) for ratio in (0.70, 0.72, 0.9, 1.0, 1.01, 1.02)])
    assert found.verdict is Verdict.NOT_SLOWER
    assert "faster is not ruled out" in found.reason


def test_less_latency_is_faster() -> None:
    assert run(-0.3).verdict is Verdict.FASTER


def test_an_arm_that_differs_from_itself_decides_nothing() -> None:
    spoiled = [t._replace(control=t.a * 1.2) for t in triples(0.5, n=6)]
    found = compare_triples(spoiled)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "A against itself differs" in found.reason


def test_a_noisy_machine_decides_nothing() -> None:
    found = compare_triples(triples(0.5, n=6), noisy="other processes used 80% of a core")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "80% of a core" in found.reason


def test_too_few_pairs_have_no_bounds() -> None:
    found = compare_triples(triples(0.5, n=4))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (found.ratio.low, found.ratio.high) == (None, None)


def test_an_easy_case_ends_at_the_first_look() -> None:
    assert run(0.5).pairs == LOOKS[0]


def test_detectable_effect() -> None:
    assert minimum_detectable(np.array([0.1]), margin=0.05, alpha=0.05) == math.inf
    small = minimum_detectable(np.full(20, 0.02), margin=0.05, alpha=0.05)
    assert small == pytest.approx(0.05)


@pytest.mark.parametrize(("effect", "sigma", "power"), [(0.10, 0.02, 0.9), (0.10, 0.03, 0.5), (-0.10, 0.02, 0.9)])
def test_effects_are_found_at_the_stated_power(effect: float, sigma: float, power: float) -> None:
    wanted = Verdict.SLOWER if effect > 0 else Verdict.FASTER
    verdicts = [run(effect, seed=seed, sigma=sigma).verdict for seed in range(100)]
    assert verdicts.count(wanted) >= 100 * power
    opposite = {Verdict.SLOWER, Verdict.FASTER} - {wanted}
    assert not opposite & set(verdicts)


@pytest.mark.parametrize("effect", [0.03, 0.05, 0.10])
def test_bounds_at_every_look_cover_what_was_injected(effect: float) -> None:
    """Whenever a comparison ends, its bounds hold what was injected: 1 - 2 * alpha, the looks taken together."""
    ratios = [run(effect, seed=seed, sigma=0.02).ratio for seed in range(200)]
    held = sum(ratio.low <= 1 + effect <= ratio.high for ratio in ratios)
    assert held >= 0.9 * 200 - 9  # Less two standard deviations.
    assert sum(ratio.low > 1 + effect for ratio in ratios) <= 0.05 * 200 + 6


def test_at_the_margin_failures_stay_within_the_error_declared() -> None:
    failures = sum(run(0.05, seed=seed, sigma=0.02).verdict is Verdict.SLOWER for seed in range(300))
    assert failures <= 0.05 * 300 + 8


def test_what_is_called_detectable_is_detected() -> None:
    """An increase of the size printed is called slower in about four of five comparisons of so many pairs."""
    found = 0
    for seed in range(200):
        sigma = 0.03
        alpha = 0.05 / 3
        spread = sigma * math.sqrt(2)  # A and B both vary.
        normal = np.random.default_rng(10_000 + seed).normal(0, spread, 20)
        effect = minimum_detectable(normal, margin=0.05, alpha=alpha)
        found += compare_triples(triples(effect, n=20, seed=seed, sigma=sigma)).ratio.low > 1.05
    assert 0.68 * 200 <= found <= 0.92 * 200


def test_a_slowing_machine_is_named_and_does_not_touch_the_ratio() -> None:
    covered = named = 0
    for seed in range(60):
        found = compare_triples(triples(0.0, n=12, seed=seed, sigma=0.01, drift=0.3))
        covered += found.ratio.low <= 1.0 <= found.ratio.high
        named += found.drift.detail is not None
        assert found.verdict in {Verdict.EQUAL, Verdict.NOT_SLOWER, Verdict.INCONCLUSIVE}
    assert covered >= 56
    assert named == 60
    assert 0.2 < found.drift.change < 0.4
    assert "rose by" in found.drift.detail


def test_no_drift_is_hardly_ever_named() -> None:
    named = sum(drift_of(triples(0.1, n=12, seed=seed, sigma=0.01)).detail is not None for seed in range(100))
    assert named <= 3
    assert drift_of(triples(0.0, n=2)).low is None


def test_what_must_be_detected_and_cannot_is_not_passed() -> None:
    some = triples(0.0, n=6, sigma=0.005)
    assert compare_triples(some).verdict is Verdict.EQUAL
    held = compare_triples(some, must_detect=0.055)
    assert held.verdict is Verdict.INCONCLUSIVE
    assert "would be found" in held.reason


def test_figures_that_do_not_vary_are_compared() -> None:
    """Memory in whole pages: every process gives the same."""
    same = [Triple(100.0, 100.0, 100.0)] * 6
    assert compare_triples(same).verdict is Verdict.EQUAL
    more = [Triple(100.0, 110.0, 100.0)] * 6
    assert compare_triples(more).verdict is Verdict.SLOWER
    assert compare_triples(more).ratio.low == pytest.approx(1.1)


def test_zero_has_no_ratio() -> None:
    with pytest.raises(MeasurementFailed, match="zero"):
        compare_triples([Triple(1.0, 0.0, 1.0)] * 6)

import math

import numpy as np
import pytest

from benchkit.judge.compare import LOOKS, Comparison, Triple, Verdict, compare, compare_triples, minimum_detectable


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
    return compare(lambda: next(source))


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

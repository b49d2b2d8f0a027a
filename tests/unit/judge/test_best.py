"""Among many cells: no winner where there is none, and one where there is."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchkit.bench.record import seal
from benchkit.core.records import Noise, Record
from benchkit.judge.best import apparent_best
from benchkit.stats.summaries import measured


def cell(
    name: str,
    level: float,
    rng: np.random.Generator,
    *,
    runs: int = 5,
    noise: str = "clean",
    batch_size: int = 1,
    calls: int = 60,
) -> Record:
    """A cell whose processes differ by 2 %, and their calls by 5 %."""
    levels = level * np.exp(rng.normal(0, 0.02, runs))
    latency = [[round(float(x), 9) for x in one * np.exp(rng.normal(0, 0.05, calls))] for one in levels]
    shape = {"threads": 1, "batch_size": batch_size, "sequence_length": 128}
    return seal(
        kind="profile",
        artifact={"name": name, "id": name, "precision": "fp32", "sha256": "0", "size_bytes": 10},
        cell={"runtime": "onnxruntime", "device": "cpu", "provider": "p"} | shape,
        host={"id": "h", "cpu_model": "c", "cores": 2, "memory_bytes": 1, "os": "o", "kernel": "k"},
        started_at_utc="2026-01-01T00:00:00Z",
        elapsed_s=1.0,
        seed=0,
        measurements={
            "latency": measured("latency", latency),
            "throughput": measured("throughput", [[1 / float(one)] for one in levels]),
            "peak_memory": measured("peak_memory", [[level * 1e9]]),
        },
        noise=Noise(verdict=noise),
    )


def cells(levels: Sequence[float], *, seed: int = 0, **settings) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [cell(f"m{n}", level, rng, **settings) for n, level in enumerate(levels)]


@pytest.mark.parametrize("runs", [5, 10])
def test_forty_cells_without_a_difference_have_no_winner(runs: int) -> None:
    winners = 0
    for seed in range(20):
        found = apparent_best(cells([0.01] * 40, seed=seed, runs=runs, calls=5), "throughput")
        winners += found.record_id is not None
        assert found.apparent_id is not None
        assert found.needs_confirmation
    assert winners <= 2


@pytest.mark.parametrize("k", [2, 3, 8])
def test_a_few_cells_without_a_difference_hardly_ever_have_one(k: int) -> None:
    winners = sum(
        apparent_best(cells([0.01] * k, seed=seed, calls=5), "throughput").record_id is not None for seed in range(100)
    )
    assert winners <= 9


@pytest.mark.parametrize("quantity", ["latency", "throughput"])
def test_a_real_winner_is_found_and_still_to_be_confirmed(quantity: str) -> None:
    records = cells([0.01, 0.005, *[0.01] * 8])
    found = apparent_best(records, quantity)
    assert found.record_id == found.apparent_id == records[1].record_id
    assert found.needs_confirmation
    assert found.second_id not in {None, found.record_id}
    assert "all 9 others" in found.reason


def test_a_near_tie_names_whom_it_is_not_told_apart_from() -> None:
    found = apparent_best(cells([0.0100, 0.0101, 0.02]))
    assert found.record_id is None
    assert found.reason.startswith("no winner: ")
    assert "'m2'" not in found.reason


def test_one_run_each_tells_nothing() -> None:
    found = apparent_best(cells([0.01, 0.02], runs=1), "throughput")
    assert found.record_id is None
    assert "too few" in found.reason


def test_noise_decides_nothing_and_void_cells_do_not_count() -> None:
    quiet = cells([0.01, 0.02])
    rng = np.random.default_rng(9)
    assert apparent_best([*quiet, cell("fast", 0.001, rng, noise="noisy")]).record_id is None
    found = apparent_best([*quiet, cell("void", 0.001, rng, noise="invalid")])
    assert found.record_id == quiet[0].record_id


def test_other_places_are_not_mixed() -> None:
    found = apparent_best([*cells([0.01]), *cells([0.02], batch_size=8)])
    assert found.record_id is None
    assert "differ in host, scenario or shape" in found.reason


def test_alone_and_nothing() -> None:
    [alone] = cells([0.01])
    assert apparent_best([alone]).record_id == alone.record_id
    assert not apparent_best([alone]).needs_confirmation
    assert apparent_best([alone], "energy_package") == (
        None,
        None,
        "no cell has a median of energy_package",
        False,
        None,
    )


def test_memory_is_compared_as_it_is() -> None:
    records = cells([0.01, 0.02])
    assert apparent_best(records, "peak_memory").record_id == records[0].record_id

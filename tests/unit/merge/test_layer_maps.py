import hypothesis.strategies as st
import pytest
from hypothesis import given

from benchkit.core.errors import BenchkitError
from benchkit.merge.layer_maps import placements


def pairs(layer_map: str, spread: str, donor_layers: int, base_layers: int) -> list[tuple[int, int, float]]:
    placed = placements(layer_map, spread, donor_layers=donor_layers, base_layers=base_layers)
    return [(one.donor_layer, one.base_layer, one.share) for one in placed]


def test_uniform_gives_each_donor_layer_a_block() -> None:
    assert pairs("uniform", "even", 2, 4) == [(0, 0, 0.5), (0, 1, 0.5), (1, 2, 0.5), (1, 3, 0.5)]
    assert pairs("uniform", "all", 2, 4) == [(0, 0, 1.0), (0, 1, 1.0), (1, 2, 1.0), (1, 3, 1.0)]


def test_the_last_layer_stands_for_its_block_as_in_tinybert() -> None:
    assert pairs("uniform", "last", 4, 12) == [(0, 2, 1.0), (1, 5, 1.0), (2, 8, 1.0), (3, 11, 1.0)]


def test_top_and_bottom() -> None:
    assert pairs("top", "even", 2, 5) == [(0, 3, 1.0), (1, 4, 1.0)]
    assert pairs("bottom", "even", 2, 5) == [(0, 0, 1.0), (1, 1, 1.0)]


@given(st.integers(1, 12), st.integers(0, 12), st.sampled_from(["last", "even", "all"]))
def test_uniform_covers_every_base_layer_once_and_in_order(donor_layers: int, more: int, spread: str) -> None:
    placed = pairs("uniform", spread, donor_layers, donor_layers + more)
    base = [base_layer for _, base_layer, _ in placed]
    donors = [donor_layer for donor_layer, _, _ in placed]
    assert base == sorted(set(base))
    assert donors == sorted(donors)
    assert set(donors) == set(range(donor_layers))
    if spread != "last":
        assert base == list(range(donor_layers + more))
    if spread != "all":
        for donor_layer in range(donor_layers):
            assert sum(share for donor, _, share in placed if donor == donor_layer) == pytest.approx(1.0)


def test_a_donor_deeper_than_the_base_is_refused_with_both_depths() -> None:
    with pytest.raises(BenchkitError, match="6 layers and the base 3"):
        pairs("uniform", "even", 6, 3)

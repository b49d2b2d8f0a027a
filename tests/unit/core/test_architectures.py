import pytest

from benchkit.core.architectures import ARCHITECTURES, architecture_named
from benchkit.core.errors import BenchkitError


@pytest.mark.parametrize(
    ("name", "giga"),
    [("bert-base", 22.35), ("tinybert-6l-768", 11.17), ("tinybert-4l-312", 1.25), ("minilm-l6-h384", 2.87)],
)
def test_flops_at_128_tokens(name: str, giga: float) -> None:
    assert architecture_named(name).flops(1, 128) / 1e9 == pytest.approx(giga, abs=0.005)


def test_flops_grow_with_the_batch_and_faster_than_the_sequence() -> None:
    shape = architecture_named("bert-base")
    assert shape.flops(8, 128) == 8 * shape.flops(1, 128)
    assert shape.flops(1, 256) > 2 * shape.flops(1, 128)


@pytest.mark.parametrize(
    ("name", "parameters"),
    # As the papers and model cards round them.
    [("bert-base", 109.5e6), ("bert-large", 335.1e6), ("distilbert", 66.4e6), ("tinybert-4l-312", 14.35e6)],
)
def test_parameters(name: str, parameters: float) -> None:
    assert architecture_named(name).parameter_count() == pytest.approx(parameters, rel=0.001)


def test_names_and_sources() -> None:
    assert {shape.name for shape in ARCHITECTURES.values()} == set(ARCHITECTURES)
    assert all(shape.hub_id.count("/") == 1 for shape in ARCHITECTURES.values())
    assert all(shape.hidden_size % shape.heads == 0 for shape in ARCHITECTURES.values())


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(BenchkitError, match="unknown architecture 'tinybert'") as caught:
        architecture_named("tinybert")
    assert "tinybert-4l-312" in caught.value.remedy

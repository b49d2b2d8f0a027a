"""The algebra that every same-shape merge must keep."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from benchkit.merge.operators import PAIRWISE, add_task_vectors, linear, slerp, task_arithmetic

SHARES = st.floats(min_value=0, max_value=1, allow_nan=False)
SEEDS = st.integers(min_value=0, max_value=10_000)


def drawn(seed: int, number: int = 2, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(5, 7, generator=generator, dtype=dtype) for _ in range(number)]


@given(SEEDS, SHARES)
@settings(max_examples=50, deadline=None)
def test_merging_a_tensor_with_itself_gives_it_back(seed: int, share: float) -> None:
    (a,) = drawn(seed, 1)
    assert torch.equal(task_arithmetic(a, [a, a], [0.3, share], scale=1.7), a)
    torch.testing.assert_close(linear([a, a], [1 - share, share]), a, rtol=2e-7, atol=1e-7)
    torch.testing.assert_close(slerp(a, a, share=share), a, rtol=2e-7, atol=1e-7)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_ends_are_the_inputs(seed: int) -> None:
    a, b = drawn(seed)
    assert torch.equal(linear([a, b], [1.0, 0.0]), a)
    assert torch.equal(linear([a, b], [0.0, 1.0]), b)
    assert torch.equal(task_arithmetic(a, [b], [1.0], scale=0.0), a)
    torch.testing.assert_close(task_arithmetic(a, [b], [1.0]), b)
    torch.testing.assert_close(slerp(a, b, share=0.0), a)
    torch.testing.assert_close(slerp(a, b, share=1.0), b)


@given(SEEDS, SHARES)
@settings(max_examples=50, deadline=None)
def test_linear_of_base_and_donor_is_task_arithmetic(seed: int, share: float) -> None:
    base, donor = drawn(seed, dtype=torch.float64)
    by_average = PAIRWISE["linear"].merge(base, donor, share)
    by_vector = PAIRWISE["task_arithmetic"].merge(base, donor - base, share)
    torch.testing.assert_close(by_average, by_vector, rtol=1e-12, atol=1e-12)


@given(SEEDS, SHARES)
@settings(max_examples=50, deadline=None)
def test_slerp_walks_the_same_arc_from_either_end(seed: int, share: float) -> None:
    a, b = drawn(seed, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, share=share), slerp(b, a, share=1 - share), rtol=1e-12, atol=1e-12)


def test_slerp_of_unit_vectors_stays_on_the_circle() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    third = slerp(a, b, share=1 / 3)
    torch.testing.assert_close(third, torch.tensor([3**0.5 / 2, 0.5]))


def test_slerp_of_nearly_parallel_tensors_is_straight() -> None:
    a = torch.ones(4)
    b = a * 3
    torch.testing.assert_close(slerp(a, b, share=0.25), torch.full((4,), 1.5))


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_linear_does_not_depend_on_the_order(seed: int) -> None:
    a, b, c = drawn(seed, 3)
    torch.testing.assert_close(linear([a, b, c], [0.2, 0.3, 0.9]), linear([c, a, b], [0.9, 0.2, 0.3]))


def test_weights_are_normalized_only_when_asked() -> None:
    a, b = torch.tensor([2.0]), torch.tensor([4.0])
    assert linear([a, b], [1.0, 3.0]).item() == 3.5
    assert linear([a, b], [1.0, 3.0], normalize=False).item() == 14.0
    assert add_task_vectors(a, torch.stack([b, b]), [1.0, 3.0], normalize=True).item() == 6.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_of_the_base_is_kept(dtype: torch.dtype) -> None:
    a, b = (tensor.to(dtype) for tensor in drawn(0))
    assert slerp(a, b, share=0.3).dtype == dtype
    assert task_arithmetic(a, [b], [1.0], scale=0.5).dtype == dtype

import pytest
import torch

from benchkit.core.recipes import HeadRecipe
from benchkit.merge.heads import HEADS, Head, HeadInputs, linear_pooler


def rows(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def donor_head(width: int, outputs: int, seed: int = 9) -> Head:
    return Head(
        pooler_weight=rows(width, width, seed) / width**0.5,
        pooler_bias=rows(1, width, seed + 1)[0],
        classifier_weight=rows(outputs, width, seed + 2),
        classifier_bias=rows(1, outputs, seed + 3)[0],
    )


def inputs(*, hidden: int = 12, donor_hidden: int = 8, outputs: int = 2, n: int = 400) -> HeadInputs:
    """States whose donor is a linear function of them, with an outlier channel as BERT has them."""
    states = rows(n, hidden, 0)
    states[:, 3] = 40 + 5 * states[:, 3]
    return HeadInputs(
        states=states,
        donor_states=states @ rows(hidden, donor_hidden, 1) / hidden + 0.5,
        donor_head=donor_head(donor_hidden, outputs),
        labels=None,
        outputs=outputs,
    )


def test_a_linear_function_passes_the_pooler_as_it_is() -> None:
    """tanh stands between; what is exported must still be the linear probe."""
    given = inputs()
    weights = rows(12, 2, 4)
    targets = given.states @ weights + 1.0
    linear_donor = Head(
        pooler_weight=torch.eye(2, dtype=torch.float64) * 1e-6,
        pooler_bias=torch.zeros(2, dtype=torch.float64),
        classifier_weight=torch.eye(2, dtype=torch.float64) * 1e6,
        classifier_bias=torch.zeros(2, dtype=torch.float64),
    )
    given = HeadInputs(states=given.states, donor_states=targets, donor_head=linear_donor, labels=None, outputs=2)
    head = HEADS["probe_kd"].fit(given, HeadRecipe(ridge=1e-12))
    error = (head.logits(given.states) - targets).abs().max() / targets.std()
    assert error < 1e-3
    assert head.r2 is not None
    assert head.r2 > 1 - 1e-6


def test_the_pooler_keeps_every_direction_within_tanhs_linear_part() -> None:
    states = inputs().states
    weight, bias = linear_pooler(states, seed=0)
    pooled = states @ weight.T + bias
    assert pooled.abs().max() < 0.12
    assert torch.linalg.matrix_rank(weight) == 12
    torch.testing.assert_close(weight @ weight.T, weight[0].square().sum() * torch.eye(12, dtype=torch.float64))


def test_transplant_is_the_donors_head_behind_the_map() -> None:
    given = inputs()
    head = HEADS["transplant"].fit(given, HeadRecipe(ridge=1e-13))
    wanted = given.donor_head.logits(given.donor_states)
    torch.testing.assert_close(head.logits(given.states), wanted, rtol=1e-6, atol=1e-6)
    assert not head.pooler_weight[8:].any()
    assert not head.classifier_weight[:, 8:].any()


def test_a_gold_probe_learns_labels_and_scores() -> None:
    given = inputs()
    signal = given.states @ rows(12, 1, 7)[:, 0]
    classes = (signal > signal.median()).long()
    labelled = HeadInputs(
        states=given.states, donor_states=given.donor_states, donor_head=given.donor_head, labels=classes, outputs=2
    )
    head = HEADS["probe_gold"].fit(labelled, HeadRecipe(mode="probe_gold", ridge=1e-4))
    accuracy = (head.logits(given.states).argmax(1) == classes).double().mean()
    assert accuracy > 0.97
    scored = HeadInputs(
        states=given.states, donor_states=given.donor_states, donor_head=donor_head(8, 1), labels=signal, outputs=1
    )
    head = HEADS["probe_gold"].fit(scored, HeadRecipe(mode="probe_gold", ridge=1e-10))
    torch.testing.assert_close(head.logits(given.states)[:, 0], signal, rtol=0, atol=0.02 * float(signal.std()))


def test_random_heads_repeat_by_seed() -> None:
    one, same, other = (HEADS["random"].fit(inputs(), HeadRecipe(mode="random", seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.classifier_weight, same.classifier_weight)
    assert not torch.equal(one.classifier_weight, other.classifier_weight)


@pytest.mark.parametrize("mode", sorted(HEADS))
def test_every_head_has_the_shapes_of_the_base(mode: str) -> None:
    given = inputs()
    if HEADS[mode].gold:
        given = HeadInputs(
            states=given.states,
            donor_states=given.donor_states,
            donor_head=given.donor_head,
            labels=torch.arange(400) % 2,
            outputs=2,
        )
    tensors = HEADS[mode].fit(given, HeadRecipe()).tensors()
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "bert.pooler.dense.weight": (12, 12),
        "bert.pooler.dense.bias": (12,),
        "classifier.weight": (2, 12),
        "classifier.bias": (2,),
    }

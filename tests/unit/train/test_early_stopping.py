import math

import pytest
import torch

from benchkit.train.early_stopping import Best, EarlyStopping, Evaluation
from benchkit.train.loop import Schedule, train


def evaluation(headline: float, loss: float = 1.0) -> Evaluation:
    return Evaluation(headline=headline, loss=loss, metrics={})


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        (evaluation(0.5), None, True),
        (evaluation(0.6), evaluation(0.5), True),
        (evaluation(0.5, loss=0.1), evaluation(0.5), False),
        (evaluation(math.nan, loss=0.5), evaluation(math.nan), True),
        (evaluation(math.nan), evaluation(math.nan), False),
        (evaluation(-0.2), evaluation(math.nan), True),
        (evaluation(math.nan, loss=0.1), evaluation(-0.2), False),
    ],
)
def test_what_is_better(new, old, better):
    assert new.better_than(old) is better


def test_when_it_is_due():
    def due(every, steps=10):
        stopping = EarlyStopping(evaluate=lambda _: evaluation(0), every_steps=every, patience=1)
        return [step for step in range(1, steps + 1) if stopping.is_due(step, steps)]

    assert due(3.5) == [4, 7, 10]
    assert due(1.0) == list(range(1, 11))
    assert due(100.0) == [10]


def test_the_best_weights_come_back_and_training_ends():
    """Headlines rise twice and then fall: the second evaluation's weights are kept, two more are waited for."""
    headlines = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    weights = []

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)

        def forward(self, lengths):
            return {"loss": (self.weight * lengths.float()).mean()}

    def evaluate(model):
        assert not model.training
        weights.append(model.weight.detach().clone())
        return evaluation(next(headlines))

    model = One()
    trained = train(
        model,
        [{"input_ids": [0] * 4}] * 64,
        lambda rows: {"lengths": torch.tensor([len(row["input_ids"]) for row in rows])},
        Schedule(steps=40, batch_size=8, learning_rate=0.1, warmup_steps=0, weight_decay=0.0, seed=0),
        name="one",
        stopping=EarlyStopping(evaluate=evaluate, every_steps=4, patience=2),
    )
    assert len(weights) == 4
    assert torch.equal(model.weight, weights[1])
    assert len(trained.losses) == 16
    assert trained.stopping["kept_step"] == 8
    assert trained.stopping["stopped_early"] is True
    assert [found["step"] for found in trained.stopping["evaluations"]] == [4, 8, 12, 16]


def test_its_state_goes_through_a_resume():
    stopping = EarlyStopping(evaluate=lambda _: evaluation(math.nan, loss=0.3), every_steps=1, patience=2)
    model = torch.nn.Linear(1, 1)
    before, after = Best(stopping), Best(stopping)
    assert before.take(model, 1)
    after.resume(before.state(), before.weights)
    assert after.take(model, 2)
    assert not after.take(model, 3)
    assert after.notes(10)["kept_step"] == 1

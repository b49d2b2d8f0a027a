"""Which output stands for which label: permuted, generic, absent and wrong names."""

from typing import Any

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.tasks.scoring import label_order
from benchkit.tasks.table import task_named


@pytest.mark.parametrize(
    ("task", "names", "order"),
    [
        ("sst2", ["negative", "positive"], (0, 1)),
        ("sst2", ["POSITIVE", "NEGATIVE"], (1, 0)),
        ("rte", ["Not entailment", "entailment"], (1, 0)),
        ("mnli", ["contradiction", "entailment", "neutral"], (1, 2, 0)),
        ("stsb", ["LABEL_0"], (0,)),
        ("stsb", ["similarity"], (0,)),
    ],
)
def test_names_give_the_order(task: str, names: list[str], order: tuple[int, ...]) -> None:
    config = {"id2label": {str(number): name for number, name in enumerate(names)}}
    found = label_order(config, task_named(task), "m")
    assert (found.order, found.warning) == (order, None)


@pytest.mark.parametrize("config", [{}, {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, {"id2label": {0: 0, 1: 1}}])
def test_names_without_meaning_are_assumed_and_said(config: dict[str, Any]) -> None:
    found = label_order(config, task_named("rte"), "models/x")
    assert found.order == (0, 1)
    assert found.warning is not None
    assert "models/x" in found.warning
    assert "entailment, not_entailment, in this order" in found.warning


def test_a_regression_without_names_needs_no_warning() -> None:
    assert label_order({}, task_named("stsb"), "m").warning is None


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("sst2", ["negative", "neutral", "positive"]),
        ("sst2", ["entailment", "not_entailment"]),
        ("sst2", ["negative", "negative"]),
        ("sst2", ["LABEL_1", "LABEL_0"]),
        ("stsb", ["negative", "positive"]),
        ("mnli", ["LABEL_0", "LABEL_1"]),
    ],
)
def test_other_labels_are_an_error_that_names_both(task: str, names: list[str]) -> None:
    with pytest.raises(BenchkitError) as caught:
        label_order({"id2label": dict(enumerate(names))}, task_named(task), "models/x")
    message = str(caught.value)
    assert "models/x" in message
    assert ", ".join(names) in message
    assert (", ".join(task_named(task).labels) or "one output") in message


@pytest.mark.parametrize("named", [["a", "b"], {"a": "x"}, {"1": "a", "2": "b"}])
def test_unnumbered_labels_are_refused(named: Any) -> None:
    with pytest.raises(BenchkitError, match="does not number its labels from 0 on"):
        label_order({"id2label": named}, task_named("sst2"), "m")

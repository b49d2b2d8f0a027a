"""Scoring: original order, label order, what is counted, and outputs that are no logits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.core.errors import BenchkitError
from benchkit.runtimes.protocol import Feed, Proof
from benchkit.tasks.readers import Examples
from benchkit.tasks.scoring import Scored, score_session
from benchkit.tasks.table import task_named
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer


class FakeSession:
    """Answers by a function of the feed; keeps the shapes that it saw."""

    input_names = ("input_ids", "attention_mask", "token_type_ids")

    def __init__(self, answer: Callable[[Feed], Any]) -> None:
        self._answer = answer
        self.shapes: list[tuple[int, ...]] = []

    def prepare(self, feed: Feed) -> Any:
        self.shapes.append(feed["input_ids"].shape)
        return feed

    def call(self, prepared: Any) -> Any:
        return self._answer(prepared)

    def proof(self) -> Proof:
        return Proof(provider="fake", version="0")


def count_good(feed: Feed) -> Any:
    """Logits by the words: 'good' has id 7 and 'bad' id 6 in the pico vocabulary."""
    ids = feed["input_ids"]
    return np.stack([(ids == 6).sum(axis=1), (ids == 7).sum(axis=1)], axis=1).astype(np.float32)


def make(first: list[str], labels: list[int] | None, task: str = "sst2") -> Examples:
    return Examples(
        task=task,
        split="validation",
        first=tuple(first),
        second=None,
        labels=None if labels is None else tuple(labels),
        source="SST-2/dev.tsv",
        sha256="0" * 64,
    )


EXAMPLES = make(
    ["bad", "good good good film", "", "bad bad bad bad bad bad film", "good film", "not good"], [0, 1, 0, 0, 1, 0]
)


@pytest.fixture(scope="module")
def tokenizer(pico_checkpoint: Path) -> TextTokenizer:
    return load_tokenizer(pico_checkpoint)


def score(answer: Callable[[Feed], Any], tokenizer: TextTokenizer, **changes: Any) -> tuple[Scored, FakeSession]:
    session = FakeSession(answer)
    settings: dict[str, Any] = {"batch_size": 2, "max_length": 16, "label_order": (0, 1)} | changes
    examples = settings.pop("examples", EXAMPLES)
    return score_session(session, tokenizer, task_named("sst2"), examples, **settings), session


def test_order_is_restored_and_everything_counted(tokenizer: TextTokenizer) -> None:
    told: list[float | None] = []
    scored, session = score(count_good, tokenizer, progress=lambda _, done=None: told.append(done))
    assert scored.logits.tolist() == [[1, 0], [0, 3], [0, 0], [6, 0], [0, 1], [0, 1]]
    assert scored.predictions.tolist() == [0, 1, 0, 0, 1, 1]
    assert scored.statistics["accuracy"].value == pytest.approx(5 / 6)
    assert scored.statistics["accuracy"].n == 6
    assert session.shapes == [(2, 9), (2, 4), (2, 3)]
    assert (scored.real_tokens, scored.padded_tokens) == (9 + 6 + 4 + 4 + 3 + 2, 18 + 8 + 6)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    assert (scored.truncated, scored.warnings) == (0, ())


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_batches_do_not_change_the_answers(tokenizer: TextTokenizer, batch_size: int) -> None:
    scored, session = score(count_good, tokenizer, batch_size=batch_size)
    assert scored.predictions.tolist() == [0, 1, 0, 0, 1, 1]
    assert len(session.shapes) == -(-6 // batch_size)


def test_columns_follow_the_label_order(tokenizer: TextTokenizer) -> None:
    scored, _ = score(lambda feed: count_good(feed)[:, ::-1], tokenizer, label_order=(1, 0))
    assert scored.logits.tolist() == [[1, 0], [0, 3], [0, 0], [6, 0], [0, 1], [0, 1]]


def test_truncation_is_said(tokenizer: TextTokenizer) -> None:
    scored, _ = score(count_good, tokenizer, max_length=5)
    assert scored.truncated == 2
    assert scored.warnings == ("2 of 6 examples were truncated to 5 tokens",)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda feed: np.zeros((*feed["input_ids"].shape, 32)), r"shape \(2, 9, 32\).*hidden states"),
        (lambda feed: np.zeros((len(feed["input_ids"]), 384)), r"384 outputs an example.*needs 2: sentence embeddings"),
        (lambda feed: np.zeros((len(feed["input_ids"]), 3)), "3 outputs an example"),
        (lambda feed: np.zeros(len(feed["input_ids"])), r"shape \(2,\)"),
        (lambda feed: np.zeros((1, 2)), r"shape \(1, 2\)"),
    ],
)
def test_outputs_that_are_no_logits(tokenizer: TextTokenizer, answer: Callable[[Feed], Any], said: str) -> None:
    with pytest.raises(BenchkitError, match=said) as caught:
        score(answer, tokenizer)
    assert "classification head" in caught.value.remedy
    assert "profile" in caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_counted(tokenizer: TextTokenizer, value: float) -> None:
    def answer(feed: Feed) -> Any:
        logits = count_good(feed)
        logits[logits[:, 0] == 0] = value
        return logits

    with pytest.raises(BenchkitError, match="4 of 6 examples of 'sst2' got logits that are not finite"):
        score(answer, tokenizer)


def test_unlabelled_examples_cannot_be_scored(tokenizer: TextTokenizer) -> None:
    with pytest.raises(BenchkitError, match=r"SST-2/dev\.tsv has no labels"):
        score(count_good, tokenizer, examples=make(["good"], None))


def test_bounds_repeat_and_follow_the_seed(tokenizer: TextTokenizer) -> None:
    examples = make(["good", "bad"] * 50, ([1, 0] * 40) + [0, 1] * 10)
    first, again = (score(count_good, tokenizer, examples=examples, seed=5)[0] for _ in range(2))
    assert first.statistics == again.statistics
    assert first.bounds["accuracy"].seed == 5
    statistic = first.statistics["accuracy"]
    assert statistic.low is not None
    assert statistic.high is not None
    assert 0.70 < statistic.low < 0.80 < statistic.high < 0.90


def test_an_onnx_graph_scores_like_its_formula(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    # Each token has two logits; an example's are their sum over its real tokens.
    table = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    helper, types = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["token_logits"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=types.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
            helper.make_node("Mul", ["token_logits", "weights"], ["real"]),
            helper.make_node("ReduceSum", ["real", "tokens"], ["logits"], keepdims=0),
        ],
        "bag",
        [helper.make_tensor_value_info(name, types.INT64, ["b", "s"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", types.FLOAT, ["b", 2])],
        [
            onnx.numpy_helper.from_array(table, "table"),
            onnx.numpy_helper.from_array(np.array([2]), "last"),
            onnx.numpy_helper.from_array(np.array([1]), "tokens"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])

    def answer(feed: Feed) -> Any:
        return session.run(None, {name: feed[name] for name in ("input_ids", "attention_mask")})[0]

    scored, _ = score(answer, tokenizer, batch_size=4)
    ids = tokenizer.encode(EXAMPLES.first, None, max_length=16).ids
    np.testing.assert_allclose(scored.logits, [table[row].sum(axis=0) for row in ids], atol=1e-5)

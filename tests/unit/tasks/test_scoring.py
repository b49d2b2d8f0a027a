"""Scoring: original order, label order, what is counted, and outputs that are no logits."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.core.errors import BenchkitError
from benchkit.runtimes.protocol import Feed, Proof
from benchkit.tasks.answering import Answerer
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
    """Score with a fake session, which then keeps the shapes that it saw after those of the sample."""
    session = FakeSession(answer)
    settings: dict[str, Any] = {"batch_size": 2, "batch_tokens": 512, "label_order": (0, 1)} | changes
    examples = settings.pop("examples", EXAMPLES)
    about = {"max_length": settings.pop("max_length", 16), "calls_at_once": settings.pop("calls_at_once", 1)}
    answerer = Answerer(session=session, tokenizer=tokenizer, task=task_named("sst2"), **about)
    return score_session(answerer, examples, **settings), session


def test_order_is_restored_and_everything_counted(tokenizer: TextTokenizer) -> None:
    told: list[float | None] = []
    scored, session = score(count_good, tokenizer, total=6, progress=lambda _, done=None: told.append(done))
    assert scored.logits.tolist() == [[1, 0], [0, 3], [0, 0], [6, 0], [0, 1], [0, 1]]
    assert scored.predictions.tolist() == [0, 1, 0, 0, 1, 1]
    assert scored.statistics["accuracy"].value == pytest.approx(5 / 6)
    assert scored.statistics["accuracy"].n == 6
    # First the sample, which are all six here: alone, the longest first, then in one batch.
    assert session.shapes == [(1, 9), (1, 6), (1, 4), (1, 4), (1, 3), (1, 2), (6, 9), (2, 9), (2, 4), (2, 3)]
    assert (scored.real_tokens, scored.padded_tokens) == (9 + 6 + 4 + 4 + 3 + 2, 18 + 8 + 6)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    assert (scored.truncated, scored.empty) == (0, 1)
    assert scored.warnings == ("1 of 6 examples have an empty sentence, which was scored as it is",)
    assert scored.padding_waste == pytest.approx(4 / 32)


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_batches_do_not_change_the_answers(tokenizer: TextTokenizer, batch_size: int) -> None:
    scored, session = score(count_good, tokenizer, batch_size=batch_size)
    assert scored.predictions.tolist() == [0, 1, 0, 0, 1, 1]
    assert len(session.shapes) == 7 + -(-6 // batch_size)
    assert (scored.batching.examples, scored.largest_batch) == (batch_size, min(6, batch_size))


def test_columns_follow_the_label_order(tokenizer: TextTokenizer) -> None:
    scored, _ = score(lambda feed: count_good(feed)[:, ::-1], tokenizer, label_order=(1, 0))
    assert scored.logits.tolist() == [[1, 0], [0, 3], [0, 0], [6, 0], [0, 1], [0, 1]]


def test_truncation_is_said(tokenizer: TextTokenizer) -> None:
    scored, _ = score(count_good, tokenizer, max_length=5)
    assert scored.truncated == 2
    assert scored.warnings[0] == "2 of 6 examples were truncated to 5 tokens"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda feed: np.zeros((*feed["input_ids"].shape, 32)), r"shape \(1, 9, 32\).*hidden states"),
        (lambda feed: np.zeros((len(feed["input_ids"]), 384)), r"384 outputs an example.*needs 2: sentence embeddings"),
        (lambda feed: np.zeros((len(feed["input_ids"]), 3)), "3 outputs an example"),
        (lambda feed: np.zeros(len(feed["input_ids"])), r"shape \(1,\)"),
        (lambda feed: np.zeros((3, 2)), r"shape \(3, 2\)"),
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


def test_examples_without_labels_are_answered_and_not_scored(tokenizer: TextTokenizer) -> None:
    scored, _ = score(count_good, tokenizer, examples=make(["good", "bad"], None))
    assert scored.predictions.tolist() == [1, 0]
    assert (scored.labels, scored.statistics, scored.bounds) == (None, {}, {})


def test_no_examples(tokenizer: TextTokenizer) -> None:
    with pytest.raises(BenchkitError, match="no examples of 'sst2'"):
        score(count_good, tokenizer, examples=iter(()))


def test_bounds_repeat_and_follow_the_seed(tokenizer: TextTokenizer) -> None:
    examples = make(["good", "bad"] * 50, ([1, 0] * 40) + [0, 1] * 10)
    first, again = (score(count_good, tokenizer, examples=examples, seed=5)[0] for _ in range(2))
    assert first.statistics == again.statistics
    assert first.bounds["accuracy"].seed == 5
    statistic = first.statistics["accuracy"]
    assert statistic.low is not None
    assert statistic.high is not None
    assert 0.70 < statistic.low < 0.80 < statistic.high < 0.90


def as_if_quantized(feed: Feed) -> Any:
    """Answers that depend on the batch, as where activations are rounded by the batch's range."""
    return count_good(feed) + 0.01 * feed["input_ids"].max()


def test_a_model_that_batches_change_is_scored_one_at_a_time(tokenizer: TextTokenizer) -> None:
    scored, session = score(as_if_quantized, tokenizer, batch_size=None)
    assert session.shapes[-6:] == [(1, 9), (1, 6), (1, 4), (1, 4), (1, 3), (1, 2)]
    details = scored.batching_details()
    assert (details["mode"], details["batch_tokens"], details["batch_size"]) == ("examples", None, 1)
    assert (details["sample"], details["batched"], details["changed_answers"]) == (6, 6, 0)
    # The largest id of "" alone is [SEP], 3, and that of all six "not", 11.
    assert details["max_logit_difference"] == pytest.approx(0.08, abs=1e-5)


def test_a_given_batch_size_is_obeyed_and_its_effect_told(tokenizer: TextTokenizer) -> None:
    scored, session = score(as_if_quantized, tokenizer, batch_size=3)
    assert session.shapes[-2:] == [(3, 9), (3, 4)]
    assert scored.effect.is_felt
    assert scored.batching_details()["max_logit_difference"] > 1e-3


def test_other_models_are_scored_under_a_budget_of_tokens(tokenizer: TextTokenizer) -> None:
    scored, session = score(count_good, tokenizer, batch_size=None, batch_tokens=12)
    assert session.shapes[7:] == [(1, 9), (2, 6), (3, 4)]
    details = scored.batching_details()
    assert (details["mode"], details["batch_tokens"], details["batch_size"]) == ("tokens", 12, 3)
    assert (details["max_logit_difference"], details["changed_answers"]) == (0, 0)


def test_a_model_that_takes_no_batch(tokenizer: TextTokenizer) -> None:
    class OneAtATime(FakeSession):
        def prepare(self, feed: Feed) -> Any:
            if len(feed["input_ids"]) > 1:
                raise BenchkitError("input 'input_ids' has the fixed shape 1 x s", remedy="...")
            return super().prepare(feed)

    answerer = Answerer(session=OneAtATime(count_good), tokenizer=tokenizer, task=task_named("sst2"), max_length=16)
    scored = score_session(answerer, EXAMPLES, batch_size=None, batch_tokens=512, label_order=(0, 1))
    assert scored.predictions.tolist() == [0, 1, 0, 0, 1, 1]
    details = scored.batching_details()
    assert (details["batch_size"], details["max_logit_difference"]) == (1, None)
    assert "fixed shape" in details["refusal"]


def test_chunks_are_scored_as_the_whole_and_in_order(tokenizer: TextTokenizer) -> None:
    words = ["good", "bad", "film", "good good", "not bad bad", "very good film", "a film is bad ."]
    texts = [words[number * number % 7] for number in range(500)]
    labels = [number % 2 for number in range(500)]
    whole, _ = score(count_good, tokenizer, examples=make(texts, labels), batch_size=None)
    chunks = (make(texts[start : start + 70], labels[start : start + 70]) for start in range(0, 500, 70))
    parts, _ = score(count_good, tokenizer, examples=chunks, batch_size=None)
    assert parts.logits.tolist() == whole.logits.tolist()
    assert parts.statistics == whole.statistics
    assert parts.labels.tolist() == labels
    assert parts.logits.dtype == np.float32


def test_calls_at_once_give_the_same_and_run_together(tokenizer: TextTokenizer) -> None:
    meeting = threading.Barrier(2, timeout=10)
    seen = []

    def together(feed: Feed) -> Any:
        if len(feed["input_ids"]) == 3:  # The batches of the scoring, not those of the sample.
            meeting.wait()
            seen.append(threading.get_ident())
        return count_good(feed)

    scored, _ = score(together, tokenizer, batch_size=3, calls_at_once=2)
    assert scored.logits.tolist() == [[1, 0], [0, 3], [0, 0], [6, 0], [0, 1], [0, 1]]
    assert len(set(seen)) == 2
    assert scored.batching_details()["calls_at_once"] == 2


def test_an_error_in_a_thread_reaches_the_caller(tokenizer: TextTokenizer) -> None:
    with pytest.raises(BenchkitError, match="3 outputs an example"):
        score(lambda feed: np.zeros((len(feed["input_ids"]), 3)), tokenizer, calls_at_once=2)


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
    assert scored.effect.max_logit_difference == pytest.approx(0, abs=1e-5)
    ids = tokenizer.encode(EXAMPLES.first, None, max_length=16).ids
    np.testing.assert_allclose(scored.logits, [table[row].sum(axis=0) for row in ids], atol=1e-5)

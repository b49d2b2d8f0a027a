"""Answer encoded examples with an open session: batches, several calls at once, logits in the examples' order.

Which examples share a batch is in `batching`; what the answers are worth is left to `scoring`.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError
from benchkit.runtimes.protocol import Array, Session
from benchkit.tasks.batching import Batching
from benchkit.tasks.readers import Examples
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import Encoded, TextTokenizer

Logits = npt.NDArray[np.float32]

# Texts are tokenized so many characters at a time: of each token the tokenizer keeps some hundred bytes until its ids
# are taken, of what is truncated too.
_SLICE_CHARACTERS = 1_000_000

_HEAD_NEEDED = "score a model with a classification head for this task; any model can be profiled: benchkit profile"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers to some examples.

    Attributes:
        logits: Shape (n, outputs): rows in the order of the examples, columns in that of the model.
        padded_tokens: Tokens that the model computed, padding included.
        calls: Calls of the model.
        largest_batch: Most examples of a call.
    """

    logits: Logits
    padded_tokens: int
    calls: int
    largest_batch: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """An open model with its tokenizer.

    Attributes:
        session: Open model whose first output is logits of shape (batch, outputs).
        tokenizer: The model's own.
        task: What is asked.
        max_length: Most tokens of an example.
        calls_at_once: Calls that run at the same time, each from a thread of its own; above 1 the session has to
            allow it.
    """

    session: Session
    tokenizer: TextTokenizer
    task: Task
    max_length: int
    calls_at_once: int = 1

    def encode(self, examples: Examples) -> Encoded:
        """Turn texts into token ids; on one core, where the calls have one."""
        ids: list[list[int]] = []
        type_ids: list[list[int]] = []
        truncated = 0
        with _tokenizing_on_one_core() if self.calls_at_once == 1 else contextlib.nullcontext():
            for rows in _slices(examples):
                second = None if examples.second is None else examples.second[rows]
                part = self.tokenizer.encode(examples.first[rows], second, max_length=self.max_length)
                ids += part.ids
                type_ids += part.type_ids
                truncated += part.truncated
        return Encoded(ids=ids, type_ids=type_ids, truncated=truncated)

    def answer(self, encoded: Encoded, batching: Batching, answered: Callable[[int], None] = lambda _: None) -> Answers:
        """Run the model on every example once.

        Args:
            encoded: The examples.
            batching: How large a batch is.
            answered: Told after each call how many examples it had.

        Raises:
            BenchkitError: The output is not logits of the task.
        """
        logits = np.empty((len(encoded), self.task.outputs), dtype=np.float32)
        padded_tokens = calls = largest = 0
        for rows, output, tokens in self._called(encoded, batching):
            logits[rows] = output
            padded_tokens += tokens
            calls += 1
            largest = max(largest, len(rows))
            answered(len(rows))
        return Answers(logits=logits, padded_tokens=padded_tokens, calls=calls, largest_batch=largest)

    def _called(self, encoded: Encoded, batching: Batching) -> "Iterator[tuple[npt.NDArray[np.int64], Array, int]]":
        """Yield rows, output and padded tokens of each call, in the order of the batches."""

        def call(rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Array, int]:
            feed = self.tokenizer.pad(encoded.take(rows))
            output = self.session.call(self.session.prepare(feed))
            return rows, _checked(output, len(rows), self.task), feed["input_ids"].size

        batches = batching.batches(encoded.lengths())
        if self.calls_at_once == 1:
            yield from map(call, batches)
            return
        with concurrent.futures.ThreadPoolExecutor(self.calls_at_once, thread_name_prefix="score") as pool:
            waiting: collections.deque[concurrent.futures.Future[tuple[npt.NDArray[np.int64], Array, int]]]
            waiting = collections.deque()
            for rows in batches:
                waiting.append(pool.submit(call, rows))
                # One more than run keeps every thread busy; more would only hold outputs.
                if len(waiting) > 2 * self.calls_at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _slices(examples: Examples) -> Iterator[slice]:
    """Cut examples into runs with few characters; a run has one example at least."""
    start = characters = 0
    for row in range(len(examples)):
        characters += len(examples.first[row]) + (0 if examples.second is None else len(examples.second[row]))
        if characters >= _SLICE_CHARACTERS:
            yield slice(start, row + 1)
            start, characters = row + 1, 0
    if start < len(examples):
        yield slice(start, len(examples))


@contextlib.contextmanager
def _tokenizing_on_one_core() -> Iterator[None]:
    """Keep the tokenizer, which takes all cores otherwise, from using more of them than the cell claims."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _checked(output: Array, rows: int, task: Task) -> Array:
    wanted = (rows, task.outputs)
    if output.shape == wanted:
        return output
    if output.ndim == 2 and output.shape[0] == rows:
        problem = f"{output.shape[1]} outputs an example, and task '{task.name}' needs {task.outputs}"
        raise BenchkitError(
            f"the model gives {problem}: sentence embeddings, another task's head, or no logits at all",
            remedy=_HEAD_NEEDED,
        )
    raise BenchkitError(
        f"the model's first output has shape {output.shape}, and logits of task '{task.name}' have {wanted}: "
        "hidden states of an encoder without a head, it seems",
        remedy=_HEAD_NEEDED,
    )

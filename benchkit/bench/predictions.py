"""Per-example answers as files: for comparing two artifacts on the same examples, and for GLUE's site."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchkit.core.errors import BenchkitError
from benchkit.core.store import write_text
from benchkit.tasks.official import Tally
from benchkit.tasks.scoring import Scored
from benchkit.tasks.table import Task

_ROWS_AT_ONCE = 4_096

# The names that the site asks for. Source: the sample submission of https://gluebenchmark.com.
_SUBMITTED = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI-m",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
    "ax": "AX",
}
_MISMATCHED = {"mnli": "MNLI-mm"}


def keep_predictions(path: Path, scored: Scored, *, artifact: str, task: Task, split: str, tally: Tally) -> None:
    """Write the logits and the answer of each example beside the records, as one JSON object.

    Args:
        path: The file.
        scored: The answers.
        artifact: Id of the artifact.
        task: What was asked; its labels are the columns of the logits and the names of the answers.
        split: Whose examples.
        tally: Figures of the data.
    """
    write_text(path, _pieces(scored, artifact=artifact, task=task, split=split, sha256=tally.sha256))


def submission_file(folder: Path, task: Task, split: str) -> Path:
    """Return the file that GLUE's site takes for a task's answers.

    Raises:
        BenchkitError: The site has no such task.
    """
    name = (_MISMATCHED if split.endswith("_mismatched") else _SUBMITTED).get(task.name)
    if name is None:
        raise BenchkitError(f"GLUE's site has no task '{task.name}'", remedy="leave --submission out")
    return folder / f"{name}.tsv"


def keep_submission(path: Path, scored: Scored, task: Task) -> None:
    """Write the answers as GLUE's site takes them: tab-separated, index and prediction."""
    rows = (f"{index}\t{answer}\n" for index, answer in enumerate(_submitted(scored, task)))
    write_text(path, itertools.chain(("index\tprediction\n",), rows))


def _pieces(scored: Scored, *, artifact: str, task: Task, split: str, sha256: str) -> Iterator[str]:
    """Yield the JSON of a predictions file; a million examples at once would take a gigabyte."""
    head = {"artifact": artifact, "data_sha256": sha256, "labels": task.labels, "split": split, "task": task.name}
    yield json.dumps(head, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"logits":['
    for start in range(0, len(scored.logits), _ROWS_AT_ONCE):
        rows = scored.logits[start : start + _ROWS_AT_ONCE].tolist()
        yield ("," if start else "") + ",".join(f"[{','.join(f'{logit:.7g}' for logit in row)}]" for row in rows)
    yield '],"predictions":['
    names = [json.dumps(label, ensure_ascii=False) for label in task.labels]
    for start in range(0, len(scored.predictions), _ROWS_AT_ONCE):
        answers = scored.predictions[start : start + _ROWS_AT_ONCE].tolist()
        yield ("," if start else "") + ",".join(names[one] if names else f"{one:.7g}" for one in answers)
    yield "]}\n"


def _submitted(scored: Scored, task: Task) -> Iterator[str]:
    """Yield each answer as the task's own files write it; scores between their limits."""
    if task.is_regression:
        low, high = task.layout.scores
        yield from (f"{score:.3f}" for score in np.clip(scored.predictions, low, high).tolist())
        return
    names = task.labels if task.layout.written == "name" else [str(number) for number in range(task.outputs)]
    yield from (names[answer] for answer in scored.predictions.tolist())

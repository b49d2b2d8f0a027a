"""Which file of a task holds which split, and which column what. Reading them is left to `readers`.

Source: the files of https://gluebenchmark.com/tasks.
"""

import dataclasses
from typing import Literal

Format = Literal["glue", "csv", "tsv", "jsonl", "parquet"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a task's files keep what.

    Attributes:
        first: Column of the first sentence.
        second: Column of the second sentence; None for tasks on one sentence.
        label: Column of the label.
        written: How labels are written: by name, or as the number of the class, or as a score.
        scores: Least and largest score of a regression; None on a side without bound.
        files: File by split, below the task's folder.
        headless: Columns of the files that have no header line; GLUE's test files always have one.
        format: "glue" is tab-separated without quoting, as the original download; the others are what their
            names say, CSV and TSV with the usual quoting.
        by_split: Layout of the splits whose files differ from the rest in columns or format.
    """

    first: str = "sentence1"
    second: str | None = "sentence2"
    label: str = "label"
    written: Literal["name", "number", "score"] = "name"
    scores: tuple[float | None, float | None] = (0.0, 5.0)
    files: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    )
    headless: tuple[str, ...] = ()
    format: Format = "glue"
    by_split: "dict[str, Layout]" = dataclasses.field(default_factory=dict)

    def of_split(self, split: str) -> "Layout":
        """Return how the file of one split is laid out."""
        return self.by_split.get(split, self)


ONE_SENTENCE = Layout(first="sentence", second=None, written="number")
COLA = dataclasses.replace(ONE_SENTENCE, headless=("source", "label", "original_mark", "sentence"))
MRPC = Layout(first="#1 String", second="#2 String", label="Quality", written="number")
QQP = Layout(first="question1", second="question2", label="is_duplicate", written="number")
QNLI = Layout(first="question", second="sentence")
MNLI = Layout(
    label="gold_label",
    files={
        "train": "train.tsv",
        "validation": "dev_matched.tsv",
        "validation_mismatched": "dev_mismatched.tsv",
        "test": "test_matched.tsv",
        "test_mismatched": "test_mismatched.tsv",
    },
)
# The unlabelled file that is sent in, and the diagnostics with their labels, which the site gives out too.
AX = Layout(
    files={"test": "AX.tsv", "validation": "diagnostic-full.tsv"},
    by_split={"validation": Layout(first="Premise", second="Hypothesis", label="Label")},
)
BY_NAME = Layout()
BY_NUMBER = Layout(written="number")
BY_SCORE = Layout(label="score", written="score")

"""Tasks of one's own: a task file (TOML) that names columns and data files, or a data file and its columns.

Reading the examples is left to `readers`, the formats to `formats`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pydantic

from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.core.frozen import Setting
from benchkit.core.settings import load_toml
from benchkit.tasks.formats import SUFFIX_FORMATS, Row, columns_of, no_examples, place, rows_of
from benchkit.tasks.layouts import Format, Layout
from benchkit.tasks.readers import as_written, check_columns
from benchkit.tasks.table import TASKS, Task

SUFFIXES = (".toml", *SUFFIX_FORMATS)

# A classifier with more labels than this was hardly meant: amounts and dates look like labels, too.
_MOST_LABELS = 1000
# The metrics of a regression.
CORRELATIONS = ("spearman", "pearson")
_NAME = re.compile(r"\w[\w.-]*")

Kind = Literal["classification", "regression"]


class Columns(Setting):
    """What a data file holds where, for a data file without a task file.

    Attributes:
        text: Column of the text, or of the first of two.
        second_text: Column of the second text; None for tasks on one.
        label: Column of the label.
        labels: Label names in the order of the logits; () takes those of the file, sorted.
        kind: Whether the answer is a label or a number.
        metrics: The headline first; () takes the usual ones.
    """

    text: str
    second_text: str | None = None
    label: str = "label"
    labels: tuple[str, ...] = ()
    kind: Kind = "classification"
    metrics: tuple[str, ...] = ()

    @classmethod
    def from_flags(
        cls, text_column: str, label_column: str = "label", *, labels: Sequence[str] = (), kind: Kind = "classification"
    ) -> "Columns":
        """Return what --text-column A[,B], --label-column and label names say.

        Raises:
            BenchkitError: No text column, or more than two.
        """
        names = [name.strip() for name in text_column.split(",")]
        if len(names) > 2 or not all(names):
            raise BenchkitError(
                f"--text-column '{text_column}' names {len([name for name in names if name])} columns",
                remedy="name one, or the two of a pair: --text-column question,answer; "
                "a name with a comma goes into a task file",
            )
        return cls(
            text=names[0],
            second_text=names[1] if len(names) > 1 else None,
            label=label_column,
            labels=tuple(labels),
            kind=kind,
        )


class TaskFile(Setting):
    """What a task file says.

    Attributes:
        name: As in commands and records; None takes the file's name.
        kind: Whether the answer is a label or a number.
        text: Column of the text, or of the first of two.
        second_text: Column of the second text; None for tasks on one.
        label: Column of the label.
        labels: Label names in the order of the logits; None takes the distinct ones of the train file, else of the
            validation file, sorted. Where the files number their labels from 0 on, these are their names.
        metrics: The headline first; () takes accuracy, or Spearman's and Pearson's correlation.
        train: File to learn from, beside the task file.
        validation: File to score on.
        test: Another file to score on; it may lack the label column.
        format: How the files are written; None goes by their suffixes.
    """

    name: str | None = pydantic.Field(default=None, pattern=r"^\w[\w.-]*$")
    kind: Kind = "classification"
    text: str
    second_text: str | None = None
    label: str
    labels: tuple[str | bool | int, ...] | None = None
    metrics: tuple[str, ...] = ()
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    format: Format | None = None


def task_from(text: str, *, beside: Path | None = None, columns: Columns | None = None) -> Task:
    """Return the task that a file describes, its labels resolved.

    Args:
        text: Path of a task file (.toml), or of a data file, which becomes the validation split.
        beside: Folder that a relative path starts from; None takes the working directory.
        columns: What a data file holds where; None with a task file, which says it itself.

    Raises:
        BenchkitError: No such file, a key that a task file does not have, a column that is not there, labels that
            are repeated or too many, metrics that do not fit, or the name of a task of the table.
        EnvironmentLacks: A Parquet file without pyarrow.
    """
    path = _found(Path(text), beside)
    if path.suffix.lower() != ".toml":
        return _task(_as_task_file(path, columns), path)
    if columns is not None:
        raise BenchkitError(
            f"'{path}' is a task file, which names its columns itself",
            remedy="leave out the columns, or change the file",
        )
    return _task(load_toml(path, TaskFile), path)


def _found(path: Path, beside: Path | None) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        raise BenchkitError(
            f"'{path}' is neither a task file nor a data file",
            remedy=f"its name has to end in one of {', '.join(SUFFIXES)}",
        )
    places = [path] if beside is None else [beside / path, path]
    for candidate in places:
        if candidate.is_file():
            return candidate
    raise BenchkitError(f"no file at '{places[0]}'", remedy="check the path")


def _as_task_file(path: Path, columns: Columns | None) -> TaskFile:
    """Return the task file that one need not write for a single data file."""
    if columns is None:
        present = columns_of(path, SUFFIX_FORMATS[path.suffix.lower()])
        raise BenchkitError(
            f"'{path}' has the columns {', '.join(present)}, and which of them hold what is not said",
            remedy="--text-column NAME[,NAME] --label-column NAME, or write a task file",
        )
    name = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "data"
    return TaskFile(
        name=name,
        kind=columns.kind,
        text=columns.text,
        second_text=columns.second_text,
        label=columns.label,
        labels=columns.labels or None,
        metrics=columns.metrics,
        validation=path.name,
    )


def _task(file: TaskFile, path: Path) -> Task:
    layout = _layout(file, path)
    labels, layout = _labels(file, layout, path)
    return Task(
        name=_name(file, path),
        folder=".",
        labels=labels,
        metrics=_metrics(file, len(labels), path),
        pair=file.second_text is not None,
        layout=layout,
        origin="own",
        home=path.parent,
    )


def _name(file: TaskFile, path: Path) -> str:
    name = file.name or path.stem
    if not _NAME.fullmatch(name):
        raise BenchkitError(
            f"{path}: '{name}' is no name of a task", remedy='use letters, digits, "-" and "_": name = "my-reviews"'
        )
    if name.lower() in TASKS:
        raise BenchkitError(
            f"{path}: '{name}' is the name of a task that benchkit knows, and scores on it would be mistaken for that",
            remedy=f'give yours another one: name = "my-{name.lower()}" in a task file',
        )
    return name


def _layout(file: TaskFile, path: Path) -> Layout:
    files = {
        split: name
        for split, name in (("train", file.train), ("validation", file.validation), ("test", file.test))
        if name is not None
    }
    if not files:
        raise BenchkitError(
            f"{path}: names no data file", remedy='write validation = "dev.csv", and train = "train.csv"'
        )
    forms = {split: file.format or _format(name, split, path) for split, name in files.items()}

    def written(form: Format) -> Layout:
        return Layout(
            first=file.text,
            second=file.second_text,
            label=file.label,
            written="score" if file.kind == "regression" else "name",
            scores=(None, None),
            files=files,
            format=form,
        )

    return _with_splits(written(next(iter(forms.values()))), {split: written(form) for split, form in forms.items()})


def _with_splits(layout: Layout, by_split: Mapping[str, Layout]) -> Layout:
    differing = {split: other for split, other in by_split.items() if other != layout}
    return dataclasses.replace(layout, by_split=differing)


def _format(name: str, split: str, path: Path) -> Format:
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise BenchkitError(
            f"{path}: {split} = '{name}' does not tell its format by its suffix",
            remedy=f'known suffixes: {", ".join(SUFFIX_FORMATS)}; or write format = "csv"',
        )
    return SUFFIX_FORMATS[suffix]


def _labels(file: TaskFile, layout: Layout, path: Path) -> tuple[tuple[str, ...], Layout]:
    """Return the labels in the order of the logits, and the layout with how the files write them."""
    if file.kind == "regression":
        if file.labels is not None:
            raise BenchkitError(
                f"{path}: a regression has no labels", remedy='leave labels out, or write kind = "classification"'
            )
        return (), layout
    split = next((split for split in ("train", "validation") if split in layout.files), None)
    if file.labels is None:
        if split is None:
            raise BenchkitError(
                f"{path}: the labels are not known: there is neither a train nor a validation file",
                remedy='write labels = ["negative", "positive"]',
            )
        return _distinct(layout.of_split(split), split, path), layout
    names = tuple(as_written(name) for name in file.labels)
    _check_labels(names, path)
    return names, _numbered(layout, names, split, path)


def _check_labels(names: Sequence[str], path: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BenchkitError(f"{path}: label '{repeated[0]}' is repeated in labels", remedy="name each label once")
    if "" in names:
        raise BenchkitError(f"{path}: a label in labels is empty", remedy="give every label a name")
    if len(names) < 2:
        raise BenchkitError(
            f"{path}: labels has {len(names)} label(s), and a classification needs two", remedy="name all labels"
        )


def _distinct(layout: Layout, split: str, path: Path) -> tuple[str, ...]:
    """Return the labels that occur in a file, sorted, numbers by their value."""
    found: set[str] = set()
    file = _existing(layout, split, path)
    for row in _label_rows(file, layout):
        written = as_written(row.values[0])
        if not written.strip():
            raise BenchkitError(
                f"{place(file, layout.format, row.number)}: no label in column '{layout.label}'",
                remedy="fill it in, or leave the row out",
            )
        found.add(written)
        if len(found) > _MOST_LABELS:
            raise BenchkitError(
                f"{place(file, layout.format, row.number)}: column '{layout.label}' has more than "
                f"{_MOST_LABELS:,} different labels, such as {', '.join(sorted(found)[:3])}; is it a regression?",
                remedy='write kind = "regression" for numbers; or name the labels: labels = [...]',
            )
    if not found:
        raise no_examples(file)
    if len(found) < 2:
        raise BenchkitError(
            f"{file}: every example has the label '{found.pop()}', so there is nothing to tell apart",
            remedy='name all labels, those that do not occur too: labels = ["negative", "positive"]',
        )
    return _sorted(found)


def _sorted(labels: Iterable[str]) -> tuple[str, ...]:
    named = sorted(labels)
    # As text, 10 would come before 2.
    return tuple(sorted(named, key=int)) if all(name.isascii() and name.isdecimal() for name in named) else tuple(named)


def _numbered(layout: Layout, names: Sequence[str], split: str | None, path: Path) -> Layout:
    """Return the layout with labels written as numbers where the file does so and no label is called like that."""
    if split is None:
        return layout
    file = path.parent / layout.files[split]
    if not file.is_file():  # On a machine that only scores, the train file is not needed.
        return layout
    first = next(iter(_label_rows(file, layout.of_split(split))), None)
    written = "" if first is None else as_written(first.values[0])
    if written in names or written not in {str(number) for number in range(len(names))}:
        return layout
    by_split = {split: dataclasses.replace(one, written="number") for split, one in layout.by_split.items()}
    return dataclasses.replace(layout, written="number", by_split=by_split)


def _existing(layout: Layout, split: str, path: Path) -> Path:
    file = path.parent / layout.files[split]
    if not file.is_file():
        raise BenchkitError(
            f"no file at '{file}', the {split} file of '{path.name}', and the labels are to be read from it",
            remedy='bring the file, or name the labels in the task file: labels = ["negative", "positive"]',
        )
    return file


def _label_rows(file: Path, layout: Layout) -> Iterable[Row]:
    present = columns_of(file, layout.format)
    texts = [layout.first] if layout.second is None else [layout.first, layout.second]
    check_columns([*texts, layout.label], present, file, layout.format, own=True)
    return rows_of(file, layout.format, [layout.label])


def _metrics(file: TaskFile, labels: int, path: Path) -> tuple[str, ...]:
    if not file.metrics:
        return CORRELATIONS if file.kind == "regression" else ("accuracy",)
    from benchkit.tasks.metrics import METRICS  # The metrics know the table, and this room's table knows us.

    for name in file.metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS, where=str(path))
        if (name in CORRELATIONS) != (file.kind == "regression"):
            fitting = [other for other in METRICS if (other in CORRELATIONS) == (file.kind == "regression")]
            raise BenchkitError(
                f"{path}: metric '{name}' does not fit a {file.kind}", remedy=f"those that do: {', '.join(fitting)}"
            )
    if "f1" in file.metrics and labels != 2:
        raise BenchkitError(
            f"{path}: metric 'f1' is that of the second of two labels, and there are {labels}",
            remedy="take accuracy or matthews",
        )
    return tuple(dict.fromkeys(file.metrics))

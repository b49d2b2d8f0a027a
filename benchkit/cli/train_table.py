"""What `benchkit train` made, as a table for people and as JSON for programs: the same facts."""

import json
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Statistic
from benchkit.pipeline.train_all import Made
from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.figures import value_text
from benchkit.report.plain import counted
from benchkit.report.tables import Row, Table

SCHEMA = "benchkit.training/1"

_QUANTITY = QUANTITIES["score"]


def training_table(made: Sequence[Made]) -> Table:
    """Build the table: tasks in rows; the score of each seed on carved validation, their mean and spread."""
    seeds = sorted({one.training.recipe.seed for one in made})
    columns = [
        Column(key="task", title="task", is_number=False),
        Column(key="metric", title="metric", is_number=False, folds=True),
        *(
            Column(key=f"seed_{seed}", title=f"seed {seed}", unit="%", better="higher", quantity="score", rank=2)
            for seed in seeds
        ),
    ]
    if len(seeds) > 1:
        columns.append(Column(key="mean", title="mean", unit="%", better="higher", quantity="score"))
    columns += [
        Column(key="train_s", title="training", unit="s a seed", better="lower", rank=1),
        Column(key="train_examples_per_s", title="examples/s", better="higher", rank=1),
    ]
    rows = tuple(_row(group, seeds) for group in _by_task(made))
    return Table(columns=tuple(columns), rows=rows, notes=tuple(_notes(made)))


def training_json(made: Sequence[Made]) -> str:
    """Return every training, finished or failed, and the mean and spread of each task, as one JSON object."""
    tasks = []
    for group in _by_task(made):
        metric, scores = _metric(group), [score for one in group if (score := _score(one)) is not None]
        tasks.append(
            {
                "task": group[0].training.task.name,
                "metric": metric,
                "seeds": len(scores),
                "mean": statistics.fmean(scores) if scores else None,
                "standard_deviation": statistics.stdev(scores) if len(scores) > 1 else None,
            }
        )
    value = {"schema": SCHEMA, "split": "train:validation", "trainings": [_facts(one) for one in made], "tasks": tasks}
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _facts(one: Made) -> dict[str, Any]:
    training = one.training
    notes = _notes_of(one)
    return {
        "name": training.name,
        "task": training.task.name,
        "seed": training.recipe.seed,
        "threads": training.recipe.threads,
        "folder": str(training.folder),
        "id": None if one.manifest is None else one.manifest.id,
        "reused": one.reused,
        "changes": list(one.changes),
        "resumed_at_step": notes.get("resumed_at_step"),
        "validation": notes.get("validation"),
        "baseline": notes.get("baseline"),
        "train_s": notes.get("train_s"),
        "train_examples_per_s": notes.get("train_examples_per_s"),
        "warnings": list(notes.get("warnings", ())),
        "error": None if one.error is None else {"problem": str(one.error), "remedy": one.error.remedy},
    }


def _by_task(made: Sequence[Made]) -> list[list[Made]]:
    groups: dict[str, list[Made]] = {}
    for one in made:
        groups.setdefault(one.training.task.name, []).append(one)
    return list(groups.values())


def _row(group: Sequence[Made], seeds: Sequence[int]) -> Row:
    by_seed = {one.training.recipe.seed: one for one in group}
    cells = [_text_cell(group[0].training.task.name), _text_cell(_metric(group))]
    cells += [_score_cell(by_seed[seed]) if seed in by_seed else absent("not trained") for seed in seeds]
    if len(seeds) > 1:
        cells.append(_mean_cell(group))
    cells += [_mean_note(group, "train_s", "{:,.0f}"), _mean_note(group, "train_examples_per_s", "{:,.0f}")]
    first = next((one.manifest.id for one in group if one.manifest is not None), group[0].training.name)
    return Row(record_id=first, cells=tuple(cells))


def _text_cell(text: str) -> TableCell:
    return TableCell(text=text, value=text)


def _score_cell(one: Made) -> TableCell:
    if one.error is not None:
        return absent(str(one.error), text="failed")
    score = _score(one)
    if score is None:
        return absent("not defined, since every answer is the same")
    return TableCell(text=_percent(score), value=score)


def _mean_cell(group: Sequence[Made]) -> TableCell:
    scores = [score for one in group if (score := _score(one)) is not None]
    if not scores:
        return absent("no score")
    below = f"±{statistics.stdev(scores) * _QUANTITY.display_factor:.1f}" if len(scores) > 1 else ""
    return TableCell(text=_percent(statistics.fmean(scores)), below=below, value=statistics.fmean(scores))


def _mean_note(group: Sequence[Made], key: str, form: str) -> TableCell:
    values = [float(value) for one in group if (value := _notes_of(one).get(key)) is not None]
    if not values:
        return absent("not known")
    mean = statistics.fmean(values)
    return TableCell(text=form.format(mean), value=mean)


def _notes(made: Sequence[Made]) -> Iterator[str]:
    yield "scores on validation carved from train; dev was not looked at"
    if len({one.training.recipe.seed for one in made}) > 1:
        yield "± is the sample standard deviation over the seeds"
    finished = [one for one in made if one.error is None]
    if finished:
        yield f"{counted(len(finished), 'checkpoint')}: {', '.join(str(one.training.folder) for one in finished)}"
    reused = [one.training.name for one in made if one.reused]
    if reused:
        yield f"reused, since nothing that they are made from has changed: {', '.join(reused)}"
    for one in made:
        if one.changes:
            yield f"{one.training.name} was trained again: {'; '.join(one.changes)}"
        if not one.reused and _notes_of(one).get("resumed_at_step"):
            yield f"{one.training.name} went on at step {_notes_of(one)['resumed_at_step']}"
    yield from _warnings(made)


def _warnings(made: Sequence[Made]) -> Iterator[str]:
    """Yield each warning once, with the names of those that it is about."""
    names: dict[str, list[str]] = {}
    for one in made:
        for warning in _notes_of(one).get("warnings", ()):
            names.setdefault(str(warning), []).append(one.training.name)
    for warning, about in names.items():
        yield f"warning, {', '.join(about)}: {warning}"


def _metric(group: Sequence[Made]) -> str:
    return group[0].training.task.metrics[0]


def _score(one: Made) -> float | None:
    score = (_notes_of(one).get("validation") or {}).get(one.training.task.metrics[0])
    return None if score is None else float(score)


def _notes_of(one: Made) -> dict[str, Any]:
    return {} if one.manifest is None else one.manifest.notes


def _percent(score: float) -> str:
    return value_text(_QUANTITY, Statistic(value=score, n=1))

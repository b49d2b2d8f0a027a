"""Which output of a model stands for which label of a task, by the names in its config."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchkit.core.errors import BenchkitError
from benchkit.tasks.table import Task

_SEPARATORS = re.compile(r"[\s_-]+")


class LabelOrder(NamedTuple):
    """How to read the columns of the logits.

    Attributes:
        order: For each label of the task, the model's output that stands for it.
        warning: What could not be checked; None when names were compared.
    """

    order: tuple[int, ...]
    warning: str | None


def label_order(config: dict[str, Any], task: Task, where: str) -> LabelOrder:
    """Match a model's `id2label` with the labels of a task.

    The same names in another order give a permutation. Names without meaning (LABEL_0, "0") or no
    names at all are taken to be in the task's order, with a warning.

    Args:
        config: The model's config.json; {} when there is none.
        task: Row of the task table.
        where: The model, for messages.

    Raises:
        BenchkitError: The names differ in number or meaning; names both orders.
    """
    own_order = tuple(range(task.outputs))
    names = label_names(config, where)
    if not names:
        said = f"{where} does not name its labels (no id2label in config.json)"
        return LabelOrder(own_order, None if task.is_regression else f"{said}: {_assumed(task)}")
    if len(names) != task.outputs:
        raise _mismatch(names, task, where)
    if task.is_regression:
        return LabelOrder(own_order, None)
    if all(name in (f"LABEL_{number}", str(number)) for number, name in enumerate(names)):
        return LabelOrder(own_order, f"{where} names its labels {', '.join(names)}: {_assumed(task)}")
    plain = [_plain(name) for name in names]
    wanted = [_plain(label) for label in task.labels]
    if sorted(plain) != sorted(wanted):
        raise _mismatch(names, task, where)
    return LabelOrder(tuple(plain.index(label) for label in wanted), None)


def label_names(config: dict[str, Any], where: str) -> tuple[str, ...]:
    """Return a model's label names in the order of its outputs; () when it names none.

    Args:
        config: The model's config.json; {} when there is none.
        where: The model, for messages.

    Raises:
        BenchkitError: The names are not numbered from 0 on.
    """
    named = config.get("id2label")
    if not named:
        return ()
    try:  # JSON knows text keys only.
        name_by_number = {int(number): str(name) for number, name in named.items()}
        return tuple(name_by_number[number] for number in range(len(name_by_number)))
    except (AttributeError, ValueError, KeyError) as error:
        raise BenchkitError(
            f"{where}: id2label {named!r} does not number its labels from 0 on",
            remedy='write it as {"0": NAME, "1": NAME, ...} into config.json',
        ) from error


def _plain(name: str) -> str:
    return _SEPARATORS.sub("_", name.strip().casefold())


def _assumed(task: Task) -> str:
    return f"assumed to be {', '.join(task.labels)}, in this order"


def _mismatch(names: Sequence[str], task: Task, where: str) -> BenchkitError:
    expected = ", ".join(task.labels) if task.labels else "one output, a score"
    return BenchkitError(
        f"the labels of {where} are not those of task '{task.name}': "
        f"the model has {', '.join(names)}; the task has {expected}",
        remedy="score it on the task that it was trained for, or correct id2label in config.json",
    )

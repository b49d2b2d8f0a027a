"""Carve a train split into what is trained on, what choices are made on, and what is unlabelled.

The dev split is never carved and never chosen on: it is only ever the test.
"""

import dataclasses
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import SplitRecipe
from benchkit.tasks.readers import Examples

# Scores of a regression are stratified by intervals of this width: GLUE's run from 0 to 5.
_SCORE_STEP = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carved:
    """The parts of a train split; no text occurs in more than one.

    Attributes:
        train: To fit weights on.
        validation: To choose on: epochs, scales, thresholds.
        unlabelled: Text without labels: calibration, alignment, label-free heads.
    """

    train: Examples
    validation: Examples
    unlabelled: Examples


class _Group(NamedTuple):
    """Examples of the same text, which stay together."""

    stratum: int
    rows: list[int]


def carve(examples: Examples, recipe: SplitRecipe) -> Carved:
    """Carve a split by the recipe's seed; each part keeps the label shares and the order of the file.

    Examples whose text is the same but for case and spaces go to the same part. A part may come out
    smaller than asked, by a few examples, where a group of them would overfill it.

    Raises:
        BenchkitError: The parts asked for leave nothing to train on, or one of them would be empty.
    """
    n = len(examples)
    validation = _size(recipe.validation, recipe.validation_max, n, "validation")
    unlabelled = _size(recipe.unlabelled, recipe.unlabelled_max, n, "unlabelled")
    if validation + unlabelled >= n:
        raise BenchkitError(
            f"{examples.source}: {validation:,} for validation and {unlabelled:,} unlabelled of {n:,} examples "
            "leave nothing to train on",
            remedy="lower validation or unlabelled in [split]",
        )
    groups = _groups(examples)
    random.Random(recipe.seed).shuffle(groups)
    chosen, rest = _drawn(groups, validation)
    hidden, rest = _drawn(rest, unlabelled)
    for part, name in ((chosen, "validation"), (hidden, "unlabelled"), (rest, "train")):
        if not part:
            raise BenchkitError(
                f"{examples.source}: no text is left for the {name} part of {n:,} examples",
                remedy="use more examples, or change validation and unlabelled in [split]",
            )
    return Carved(
        train=_part(examples, rest, "train"),
        validation=_part(examples, chosen, "validation"),
        unlabelled=dataclasses.replace(_part(examples, hidden, "unlabelled"), labels=None),
    )


def _size(asked: float, most: int, n: int, name: str) -> int:
    """Return the size of a part: a share of n below 1, else a whole number."""
    if asked >= 1 and asked != math.floor(asked):
        raise BenchkitError(
            f"{name} {asked:g} in [split] is neither a share below 1 nor a whole number",
            remedy=f"write {name} = 0.1 for a tenth, or {name} = {round(asked)} for that many examples",
        )
    return min(most, max(1, round(asked * n)) if asked < 1 else int(asked))


def _groups(examples: Examples) -> list[_Group]:
    rows_by_text: dict[tuple[str, ...], list[int]] = defaultdict(list)
    columns = [examples.first] if examples.second is None else [examples.first, examples.second]
    for row, texts in enumerate(zip(*columns, strict=True)):
        rows_by_text[tuple(" ".join(text.casefold().split()) for text in texts)].append(row)
    return [_Group(_stratum(examples, rows[0]), rows) for rows in rows_by_text.values()]


def _stratum(examples: Examples, row: int) -> int:
    if examples.labels is None:
        return 0
    label = examples.labels[row]
    return label if isinstance(label, int) else int(label / _SCORE_STEP)


def _drawn(groups: Sequence[_Group], size: int) -> tuple[list[_Group], list[_Group]]:
    """Take groups with `size` examples in all, from each stratum its share; return them and the others."""
    room = _shares(groups, size)
    taken, left = [], []
    for group in groups:
        if len(group.rows) <= room[group.stratum]:
            room[group.stratum] -= len(group.rows)
            taken.append(group)
        else:
            left.append(group)
    return taken, left


def _shares(groups: Sequence[_Group], size: int) -> dict[int, int]:
    """Divide `size` among the strata in proportion, by largest remainder."""
    rows_by_stratum: dict[int, int] = defaultdict(int)
    for group in groups:
        rows_by_stratum[group.stratum] += len(group.rows)
    n = sum(rows_by_stratum.values())
    exact = {stratum: size * rows / n for stratum, rows in sorted(rows_by_stratum.items())}
    shares = {stratum: math.floor(share) for stratum, share in exact.items()}
    by_remainder = sorted(exact, key=lambda stratum: shares[stratum] - exact[stratum])
    for stratum in by_remainder[: size - sum(shares.values())]:
        shares[stratum] += 1
    return shares


def _part(examples: Examples, groups: Sequence[_Group], name: str) -> Examples:
    rows = sorted(row for group in groups for row in group.rows)
    return dataclasses.replace(examples.take(rows), split=f"{examples.split}:{name}")

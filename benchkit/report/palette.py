"""Which colour, shape and dash a model and a precision are drawn in: the same in every chart of a page.

Colours are names of the page's own style sheet, which has a light and a dark value for each. They follow
Okabe and Ito's palette, told apart by colour-blind readers; shape and dash say the same once more.
"""

from collections.abc import Sequence

from benchkit.report.chart_facts import Look
from benchkit.report.entries import Entry

COLORS = 8
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
DASHES = ((), (5, 3), (1.5, 2.5), (8, 3, 2, 3), (2, 2), (10, 4))


def looks_of(entries: Sequence[Entry]) -> dict[str, Look]:
    """Give each artifact (by id) its look: a colour for the model, shape and dash for the precision.

    With more models than colours the colours come round again, with other shapes.
    """
    models = _in_order([entry.artifact.candidate or entry.artifact.name for entry in entries])
    precisions = _in_order([entry.artifact.precision for entry in entries])
    looks = {}
    for entry in entries:
        round_, color = divmod(models[entry.artifact.candidate or entry.artifact.name], COLORS)
        variant = (precisions[entry.artifact.precision] + 2 * round_) % len(SHAPES)
        looks[entry.artifact.id] = Look(color=f"var(--s{color + 1})", shape=SHAPES[variant], dash=DASHES[variant])
    return looks


def _in_order(names: Sequence[str]) -> dict[str, int]:
    # fp32 first, so that the plain circle and the solid line stand for the plain precision.
    return {name: number for number, name in enumerate(sorted(set(names), key=lambda name: (name != "fp32", name)))}

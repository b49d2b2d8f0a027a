"""Paired comparisons (records of kind "compare") in words: the verdict, and everything that it rests on."""

import dataclasses
from collections.abc import Sequence

from benchkit.core.quantities import Quantity
from benchkit.core.records import Measured, Record, Statistic
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.figures import with_unit
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean, counted
from benchkit.report.reasons import reasons_of
from benchkit.report.settings_in_words import SETTINGS, in_words

_RATIO = Quantity(
    name="ratio", unit="ratio", better="lower", headline="ratio", display_unit="", display_factor=1.0, title="ratio"
)
_NOT_DEFAULT = {"runtime", "device", "threads", "scenario", "load"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One comparison.

    Attributes:
        names: "B against A".
        verdict: The word, "void" when the machine or a worker spoiled it.
        sentence: The whole in one sentence.
        facts: What the verdict rests on, as name and text.
    """

    names: str
    verdict: str
    sentence: str
    facts: tuple[tuple[str, str], ...]

    def fact(self, name: str) -> str:
        """Return the text of a fact, or an em dash."""
        return dict(self.facts).get(name, "—")


def paired_of(records: Sequence[Record]) -> tuple[Paired, ...]:
    """Return every comparison among the records, in an order of their content."""
    compared = {record.record_id: record for record in records if record.kind == "compare"}
    return tuple(sorted(map(paired, compared.values()), key=lambda one: (one.names, one.facts)))


def paired(record: Record) -> Paired:
    """Put one comparison into words; what a damaged record lacks is said to be missing."""
    baseline = loose.text(loose.at(record.model_extra or {}, "baseline", "name")) or "a baseline that is not named"
    names = f"{clean(record.artifact.name, NAME_LENGTH)} against {baseline}"
    name, measurement = _ratio_of(record)
    details = measurement.details if measurement is not None else {}
    verdict = "void" if record.noise.verdict == "invalid" else loose.text(details.get("verdict"), 20) or "no verdict"
    ratio = _figure(measurement, "ratio")
    pairs = loose.number(details.get("judged_pairs"))
    what = " ".join(filter(None, [loose.title(name), loose.text(loose.details(record, name).get("statistic"), 12)]))
    what = what.removesuffix(" value") if name else "no quantity"
    facts = [
        ("verdict", verdict),
        ("why", _why(record)),
        ("compared", what),
        ("cell", _cell(record)),
        ("ratio B / A", with_unit(_RATIO, ratio) if ratio is not None else "not in the record"),
        ("control A / A", _figure_text(measurement, "control_ratio")),
        ("pairs", _pairs(details)),
        ("smallest effect found", _detectable(details)),
        ("drift of A, first to last", _figure_text(measurement, "drift_ratio")),
        ("ended by", loose.text(details.get("ended"), NOTE_LENGTH)),
        ("repeat", _repeat(measurement)),
        ("score", _score(record)),
        ("left out", loose.sentences(details.get("disturbed_triples_left_out"))),
        ("noise", record.noise.verdict if record.noise.verdict == "clean" else _noise(record)),
        ("warnings", clean("; ".join(record.warnings[1:]), 2 * NOTE_LENGTH)),
    ]
    figure = f", {with_unit(_RATIO, ratio)} times" if ratio is not None else ""
    number = f" in {counted(int(pairs), 'pair')}" if pairs is not None else ""
    return Paired(
        names=names,
        verdict=verdict,
        sentence=f"Paired on {what}, {names}: {verdict}{figure}{number}",
        facts=tuple((fact, text) for fact, text in facts if text),
    )


def paired_listing(found: Sequence[Paired]) -> Listing:
    """Return the comparisons as a table: one row each."""
    heads = (
        "compared",
        "verdict",
        "ratio B / A",
        "control A / A",
        "pairs",
        "smallest effect found",
        "what lies behind",
    )
    lead = (
        "B against A in pairs of fresh processes, run in turn with a control arm of A itself. A ratio of 1 is no "
        "difference; the verdict follows from its bounds, and a control away from 1 forbids one."
    )
    return Listing(title="Paired comparisons", lead=lead, heads=heads, rows=tuple(map(_row, found)))


def _row(one: Paired) -> tuple[str, ...]:
    rest = ("why", "drift of A, first to last", "repeat", "score", "left out", "noise", "warnings")
    behind = "; ".join(f"{name}: {one.fact(name)}" for name in rest if one.fact(name) not in ("—", "clean"))
    figures = ("ratio B / A", "control A / A", "pairs", "smallest effect found")
    return (
        f"{one.names}: {one.fact('compared')}, {one.fact('cell')}",
        one.verdict,
        *map(one.fact, figures),
        behind or "—",
    )


def _ratio_of(record: Record) -> tuple[str, Measured | None]:
    for name, measurement in sorted(record.measurements.items()):
        if name.endswith("_ratio") and isinstance(measurement, Measured):
            return name.removesuffix("_ratio"), measurement
    return "", None


def _figure(measurement: Measured | None, name: str) -> Statistic | None:
    figure = measurement.statistics.get(name) if measurement is not None else None
    return figure if figure is not None and figure.value is not None else None


def _figure_text(measurement: Measured | None, name: str) -> str:
    figure = _figure(measurement, name)
    return with_unit(_RATIO, figure) if figure is not None else ""


def _cell(record: Record) -> str:
    cell = record.cell
    tokens = f"{cell.sequence_length:,} tokens" if cell.sequence_length is not None else ""
    settings = in_words(cell, (name for name in SETTINGS if name in _NOT_DEFAULT))
    return ", ".join(filter(None, [f"batch {cell.batch_size:,}", tokens, *settings]))


def _pairs(details: dict[str, object]) -> str:
    judged, taken = loose.number(details.get("judged_pairs")), loose.number(details.get("taken_pairs"))
    if judged is None:
        return ""
    looks = ", ".join(f"{look:.0f}" for look in loose.numbers(details.get("looks"))[:8])
    more = f", {taken:.0f} taken" if taken is not None and taken != judged else ""
    return f"{judged:.0f} judged{more}" + (f" (looks at {looks})" if looks else "")


def _detectable(details: dict[str, object]) -> str:
    now = loose.share(details.get("detectable"), 2)
    margin = loose.share(details.get("margin"), 2)
    return f"{now} with 80 % power" + (f", margin {margin}" if margin else "") if now else ""


def _repeat(measurement: Measured | None) -> str:
    details = measurement.details if measurement is not None else {}
    verdict = loose.text(loose.at(details, "repeat", "verdict"), 20)
    figure = _figure_text(measurement, "repeat_ratio")
    return ", ".join(filter(None, [verdict, figure]))


def _score(record: Record) -> str:
    details = loose.details(record, "score_difference")
    measurement = record.measurements.get("score_difference")
    if not isinstance(measurement, Measured):
        return ""
    name, figure = next(iter(measurement.statistics.items()), ("", None))
    told = _points(figure) if figure is not None else "no figure"
    place = " on ".join(filter(None, [clean(name, 20), loose.text(details.get("task"), 40)]))
    return f"{loose.text(details.get('verdict'), 20) or 'no verdict'}: {place} {told}"


def _points(figure: Statistic) -> str:
    """Write a difference of scores with its signs: '-0.34 points (-1.00 to +0.31)'."""
    if figure.value is None:
        return "no figure"
    ends = [f"{end * 100:+.2f}" for end in (figure.low, figure.high) if end is not None]
    return f"{figure.value * 100:+.2f} points" + (f" ({ends[0]} to {ends[1]})" if len(ends) == 2 else "")


def _why(record: Record) -> str:
    """Return the reason behind the verdict: the first warning that a comparison leaves, without the verdict itself."""
    first = clean(record.warnings[0], NOTE_LENGTH) if record.warnings else ""
    return first.partition(": ")[2] or first


def _noise(record: Record) -> str:
    return f"{'void' if record.noise.verdict == 'invalid' else record.noise.verdict}: {reasons_of(record)}"

"""The cells that say what was run, and where: settings of the cell as the worker resolved them, and its noise."""

from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.entries import Entry
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean
from benchkit.report.settings_in_words import affinity_in_words, load_in_words, transfers_in_words

# What the absence of a setting means.
_WHY_NONE = {
    "sequence_length": "inputs have their own lengths",
    "lengths_from": "every input has the length shown",
    "rate_per_s": "no rate was given",
    "p99_at_most_s": "no bound was given",
}


def artifact_cell(_: Column, entry: Entry, on_front: bool) -> TableCell:
    """Name the artifact, with its star."""
    artifact = entry.artifact
    note = f"{clean(artifact.name, NOTE_LENGTH)}, id {clean(artifact.id, 64)}"
    star = "★ " if on_front else ""
    # The precision has a column of its own.
    label = entry.label.removesuffix(f"-{clean(artifact.precision, NAME_LENGTH)}")
    return TableCell(text=star + label, value=clean(artifact.name), note=note)


def precision_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Name the precision."""
    return _text(clean(entry.artifact.precision, NAME_LENGTH))


def host_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Name the host by its short id."""
    host = entry.record.host
    return _text(clean(host.id, 24), clean(f"{host.cpu_model}, {host.cores} cores, {host.os}", NOTE_LENGTH))


def setting_cell(column: Column, entry: Entry, _: bool) -> TableCell:
    """Give one field of the cell as it is."""
    if entry.profile is None:
        return absent("not profiled")
    value = getattr(entry.profile.cell, column.key)
    if value is None:
        return absent(_WHY_NONE.get(column.key, "not given"))
    if column.is_number:
        return TableCell(text=f"{value:,}", value=value)
    return _text(clean(value, NAME_LENGTH))


def load_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Say how calls arrive."""
    if entry.profile is None:
        return absent("not profiled")
    words = load_in_words(entry.profile.cell)
    return _text(words) if words else absent("a closed loop: each call begins when the one before has returned")


def load_share_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Give the rate as a share of the capacity."""
    share = entry.profile.cell.load if entry.profile is not None else None
    return (
        absent("no share of the capacity was asked for") if share is None else TableCell(text=f"{share}", value=share)
    )


def affinity_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Name the cores that the worker was bound to."""
    return absent("not profiled") if entry.profile is None else _text(affinity_in_words(entry.profile.cell))


def transfers_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Say whether the copies to and from a GPU are timed."""
    words = transfers_in_words(entry.profile.cell) if entry.profile is not None else ""
    return _text(words) if words else absent("there is nothing to copy: the cell ran on the CPU")


def noise_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Give the verdict on the noise, 'void' for an invalid row."""
    if entry.profile is None:
        return absent("not profiled")
    verdict = entry.profile.noise.verdict
    reasons = clean("; ".join(entry.profile.noise.reasons), NOTE_LENGTH)
    if verdict == "invalid":
        return TableCell(text="void", value="void", note=reasons or "no reason is recorded", tone="void")
    return TableCell(text=verdict, value=verdict, note=reasons, tone=verdict)


def _text(text: str, note: str = "") -> TableCell:
    return TableCell(text=text, value=text, note=note)

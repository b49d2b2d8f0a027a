"""Text out of a record made harmless to look at: one line, printable, of bounded length.

Every string of a record is untrusted. Here it loses what disturbs any reader (control characters,
line ends, text direction); what a format gives a meaning to (`<`, `|`, `=`) is left to its writer.
"""

import unicodedata

# Longest name that a table cell or a chart shows; the whole name stays in CSV, JSON and on hover.
NAME_LENGTH = 60
NOTE_LENGTH = 400

# Categories of Unicode that are not drawn or that change how the rest is drawn: control, format (bidirectional
# overrides, zero-width characters), surrogate, private use, unassigned.
_UNDRAWN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def clean(text: object, length: int | None = None) -> str:
    """Return one line of printable text.

    White space of every kind, U+2028 included, becomes one space; other undrawn characters become U+FFFD, so that
    a reader sees that something was there.

    Args:
        text: Anything; it is made a string.
        length: Longest result; a longer one ends in an ellipsis.
    """
    words = " ".join(str(text).split())
    # Most text is printable throughout, which is told at once; a report cleans it some hundred thousand times.
    drawn = words if words.isprintable() else _drawn(words)
    if length is not None and len(drawn) > length:
        return drawn[: length - 1].rstrip() + "…"
    return drawn


def _drawn(words: str) -> str:
    return "".join("\ufffd" if unicodedata.category(character) in _UNDRAWN else character for character in words)


def shortened(name: str, length: int) -> str:
    """Cut a name in its middle: its end, which tells settings apart, stays."""
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1].rstrip(' ,')}…{name[-tail:].lstrip(' ,')}"


def prefix(text: object, length: int) -> str:
    """Return the first characters of a digest or a date, without an ellipsis."""
    return clean(text)[:length]


def listed(words: list[str], most: int = 4) -> str:
    """Join words for a sentence: 'a, b and c', or 'a, b, c, d and 3 more'."""
    if len(words) > most:
        words = [*words[:most], f"{len(words) - most} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write '1 record' or '2 records'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

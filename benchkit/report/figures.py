"""One figure of a record as a person reads it: in the display unit, with the digits that its bounds support.

Which figure stands in which column is left to `columns`.
"""

import decimal
import math

from benchkit.core.quantities import Quantity, format_number, significant_digits
from benchkit.core.records import Statistic

# Outside these, digits before or after the point would fill a line; only a damaged or hostile record goes there.
_READABLE = (1e-9, 1e15)

_TO = "\u2013"  # En dash: a hyphen reads as a minus sign between numbers.


def value_text(quantity: Quantity, statistic: Statistic) -> str:
    """Write the value in the display unit, without the unit; an em dash when there is none."""
    if statistic.value is None:
        return "—"
    shown = statistic.value * quantity.display_factor
    return format_number(shown, _digits(quantity, statistic)) if _is_readable(shown) else f"{shown:.2e}"


def bounds_text(quantity: Quantity, statistic: Statistic) -> str:
    """Write the bounds to the same decimal place as the value: '12.1-12.6', '≤ 12.6', or '' without any.

    They are rounded outwards, so that a printed bound never claims more than the recorded one.
    """
    if statistic.value is None:
        return ""
    place = _decimals(statistic.value * quantity.display_factor, _digits(quantity, statistic))
    low = None if statistic.low is None else _outward(statistic.low * quantity.display_factor, place, up=False)
    high = None if statistic.high is None else _outward(statistic.high * quantity.display_factor, place, up=True)
    if low is not None and high is not None:
        return f"{low}{_TO}{high}"
    if high is not None:
        return f"≤ {high}"
    return "" if low is None else f"≥ {low}"


def with_unit(quantity: Quantity, statistic: Statistic) -> str:
    """Write value, bounds and unit for a sentence: '12.3 ms (12.1-12.6)'."""
    bounds = bounds_text(quantity, statistic)
    value = f"{value_text(quantity, statistic)} {quantity.display_unit}".rstrip()
    return f"{value} ({bounds})" if bounds else value


def _digits(quantity: Quantity, statistic: Statistic) -> int:
    # An exact quantity, such as a score on a whole split, is known to every digit; its bounds speak of other examples.
    if statistic.value is None or quantity.exact:
        return 3
    return significant_digits(statistic.value, statistic.low, statistic.high)


def _is_readable(shown: float) -> bool:
    return shown == 0 or _READABLE[0] <= abs(shown) < _READABLE[1]


def _decimals(shown: float, digits: int) -> int:
    """Return the decimal place of the last digit that `format_number` prints; negative left of the point."""
    if shown == 0 or not math.isfinite(shown):
        return digits
    decimals = digits - 1 - math.floor(math.log10(abs(shown)))
    rounded = round(shown, decimals)
    return digits - 1 - math.floor(math.log10(abs(rounded))) if rounded else decimals


def _outward(shown: float, decimals: int, *, up: bool) -> str:
    if not _is_readable(shown) or abs(decimals) > 12:
        return f"{shown:.2e}"
    # Nine digits past the place first: 0.0123 * 1e3 is 12.299999999999999, which must not floor to 12.2.
    exact = decimal.Decimal(repr(round(shown, decimals + 9)))
    rounding = decimal.ROUND_CEILING if up else decimal.ROUND_FLOOR
    rounded = exact.quantize(decimal.Decimal(1).scaleb(-decimals), rounding=rounding)
    return f"{rounded:,.{max(0, decimals)}f}"

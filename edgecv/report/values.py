"""Values as the text of a page."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import TypeGuard

import numpy as np

# From there on neither all digits nor those behind the point tell anything.
HUGE = 1e15
NOTHING = "–"  # noqa: RUF001

# Characters that XML 1.0 (section 2.2) has no place for; lone surrogates cannot be encoded either.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """The text with U+FFFD for every character that a page or a chart cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it counts as a number in a table: Python's and NumPy's, without booleans."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def to_text(value: object, spec: str = "") -> str:
    """A value as it is shown: spec formats numbers; None is an en dash."""
    if value is None:
        return NOTHING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not is_number(value):
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "beyond range"
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"
    if abs(number) >= HUGE:
        return f"{number:.6g}"
    if spec:
        return format(number, spec)
    return f"{number:.0f}" if number.is_integer() else f"{number:.6g}"

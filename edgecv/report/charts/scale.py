"""From values to places on an axis, and the round numbers that stand along it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeGuard

from edgecv.report.values import is_number, to_text

# Beyond it differences and ratios of doubles leave their range.
LIMIT = 1e200
# A narrower range than this share of its values has no room for labels that differ.
LEAST_RELATIVE_SPAN = 1e-9
MINUS = "\u2212"


def is_plottable(value: object, *, is_log: bool = False) -> TypeGuard[float]:
    """Whether a value has a place on an axis: a finite number of sane size, above zero on a log axis."""
    if not is_number(value):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return abs(number) <= LIMIT and (not is_log or number >= 1 / LIMIT)


def number_text(value: object, spec: str) -> str:
    """A value as `to_text` writes it, with a true minus."""
    words = to_text(value, spec)
    return MINUS + words[1:] if words.startswith("-") else words


@dataclass(frozen=True)
class Scale:
    """A straight or logarithmic map of low..high to start..end, in the drawing's units."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        if self.is_log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(value)
        else:
            low, high = self.low, self.high
        return self.start + (value - low) / (high - low) * (self.end - self.start)


@dataclass(frozen=True)
class Tick:
    """A value on an axis, and how it is written."""

    value: float
    label: str


@dataclass(frozen=True)
class Axis:
    """A range that covers its values, and its ticks, rising."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def scale(self, start: float, end: float) -> Scale:
        """The map to a stretch of the drawing."""
        return Scale(self.low, self.high, start, end, self.is_log)


def axis(
    values: Iterable[float],
    *,
    count: int = 5,
    at_least: Sequence[float] = (),
    is_log: bool = False,
    is_whole: bool = False,
    is_tight: bool = False,
) -> Axis:
    """An axis for plottable values.

    count: about how many ticks. at_least: values that the range covers too. is_whole: no ticks between
    whole numbers. is_tight: the range ends at the values, not at the round numbers around them.
    """
    every = [*values, *(value for value in at_least if is_plottable(value, is_log=is_log))]
    low, high = min(every, default=1.0 if is_log else 0.0), max(every, default=1.0)
    if is_log:
        return _log_axis(low, high, count)
    low, high = spread(low, high)
    step, exponent = _step(high - low, count, is_whole)
    if not is_tight:
        low = min(low, float(math.floor(Fraction(low) / step) * step))
        high = max(high, float(math.ceil(Fraction(high) / step) * step))
    ticks = _multiples(low, high, step)
    return Axis(low, high, tuple(Tick(value, _label(value, ticks, exponent)) for value in ticks))


def nice_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers from low to high: 1, 2 or 5 times a power of ten apart.

    Between 2 and count + 1 of them, for a count of at least 5 and low below high.
    """
    step, _ = _step(high - low, count, is_whole=False)
    return _multiples(low, high, step)


def spread(low: float, high: float) -> tuple[float, float]:
    """The range, made wider around its middle where it is too narrow to be divided."""
    size = max(abs(low), abs(high))
    if high - low > max(size * LEAST_RELATIVE_SPAN, 1 / LIMIT):
        return low, high
    pad = size * 0.05 if size > 1 / LIMIT else 0.5
    return low - pad, high + pad


def _step(span: float, count: int, is_whole: bool) -> tuple[Fraction, int]:
    """The distance between ticks, and the power of ten of its digit."""
    rough = span / count
    exponent = math.floor(math.log10(rough))
    if is_whole and exponent < 0:
        return Fraction(1), 0
    power = Fraction(10) ** exponent
    for digit in (1, 2, 5):
        # The division above is rounded: a range of 1 in 5 steps shall not miss 0.2 by a hair.
        if float(digit * power) >= rough * (1 - 1e-9):
            return digit * power, exponent
    return 10 * power, exponent + 1


def _multiples(low: float, high: float, step: Fraction) -> tuple[float, ...]:
    # Exact numbers, compared as floats: 3 * 0.1 is not 0.3, and the first tick may be `low` itself.
    first, last = math.floor(Fraction(low) / step), math.ceil(Fraction(high) / step)
    ticks = (float(i * step) for i in range(first, last + 1))
    return tuple(tick for tick in ticks if low <= tick <= high)


def _log_axis(low: float, high: float, count: int) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first < 1:
        first, last = first - 1, first + 1
    every = -(-(last - first) // max(count, 1))
    powers = [10.0**i for i in range(first, last + 1)]
    low, high = min(low, powers[0]), max(high, powers[-1])
    shown = powers[::every]
    if len(powers) <= 3:
        shown = [digit * power for power in powers for digit in (1, 2, 5)]
    ticks = tuple(Tick(value, _log_label(value)) for value in shown if low <= value <= high)
    return Axis(low, high, ticks, is_log=True)


def _log_label(value: float) -> str:
    if 1e-4 <= value < 1e6:
        return f"{value:g}"
    return f"{value:.0e}".replace("e+", "e")


def _label(value: float, ticks: Sequence[float], exponent: int) -> str:
    """As many digits as tell the ticks apart, the same for all of them, and the same power of ten."""
    size = max(abs(ticks[0]), abs(ticks[-1]))
    if value == 0:
        return "0"
    if size < 1e6 and exponent >= -5:
        return f"{value:.{max(0, -exponent)}f}".replace("-", MINUS)
    power = math.floor(math.log10(size))
    return f"{value / 10.0**power:.{power - exponent}f}e{power}".replace("-", MINUS)

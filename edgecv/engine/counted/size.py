"""Sizes that a run finds: sums of counts and numbers, of which the most and the least are known before."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

# Of Size: what the elements of a small tensor are.
Numbers = NDArray[Any]

# More copies of a count than any bound of another has.
_MANY = 1 << 20


class Unproven(Exception):
    """What cannot be told of sizes before the run, in words that go on after a colon."""


class Count(msgspec.Struct, frozen=True):
    """A whole number that the run finds, from `least` to `most`.

    of: of a min or max the two sizes; of what a step finds, number `index`, sizes that it is at most.
    """

    least: int
    most: int
    index: int = 0
    kind: Literal["found", "min", "max"] = "found"
    of: tuple[Size, ...] = ()

    def __str__(self) -> str:
        return f"n{self.index}" if self.kind == "found" else f"{self.kind}({', '.join(map(str, self.of))})"


class Size(msgspec.Struct, frozen=True):
    """constant + the sum of factor times count over `terms`, which are sorted: equal sizes are equal."""

    constant: int = 0
    terms: tuple[tuple[Count, int], ...] = ()

    def __str__(self) -> str:
        parts = [f"{count}" if factor == 1 else f"{factor} {count}" for count, factor in self.terms]
        return " + ".join([*parts, *([str(self.constant)] if self.constant or not parts else [])])

    @property
    def is_known(self) -> bool:
        """Whether it is a number before the run."""
        return not self.terms

    @property
    def least(self) -> int:
        """It is never less."""
        return self.constant + sum(f * (c.least if f > 0 else c.most) for c, f in self.terms)

    @property
    def most(self) -> int:
        """It is never more: the room that an axis of this size gets."""
        return self.constant + sum(f * (c.most if f > 0 else c.least) for c, f in self.terms)

    def __add__(self, other: Size) -> Size:
        factors = dict(self.terms)
        for count, factor in other.terms:
            factors[count] = factors.get(count, 0) + factor
        kept = sorted(((c, f) for c, f in factors.items() if f), key=lambda term: str(term[0]))
        return Size(self.constant + other.constant, tuple(kept))

    def __neg__(self) -> Size:
        return self * Size(-1)

    def __sub__(self, other: Size) -> Size:
        return self + -other

    def __mul__(self, other: Size) -> Size:
        if not other.is_known:
            self, other = other, self
        if not other.is_known:
            raise Unproven(f"the product of {self} and {other}")
        by = other.constant
        return Size(self.constant * by, tuple((c, f * by) for c, f in self.terms if by))

    def __floordiv__(self, other: Size) -> Size:
        """The quotient where there is no remainder, whatever the run finds."""
        if self.is_known and other.is_known and other.constant:
            # ONNX rounds towards 0.
            whole = abs(self.constant) // abs(other.constant)
            return Size(whole if (self.constant < 0) == (other.constant < 0) else -whole)
        if other.is_known and other.constant:
            parts = [f // other.constant for _, f in self.terms]
            quotient = Size(
                self.constant // other.constant,
                tuple((c, f) for (c, _), f in zip(self.terms, parts, strict=True)),
            )
        else:
            factor = dict(self.terms).get(other.terms[0][0], 0) // other.terms[0][1] if other.terms else 0
            quotient = Size(factor)
        if quotient * other != self or other == Size():
            raise Unproven(f"{self} divided by {other}")
        return quotient

    def is_at_most(self, other: Size) -> bool:
        """Whether it is no more than another, whatever the run finds."""
        if (other - self).least >= 0:
            return True
        mine, theirs = self._alone(), other._alone()
        if mine is not None and mine.kind != "max":
            return any(size.is_at_most(other) for size in mine.of)
        return theirs is not None and theirs.kind == "max" and any(self.is_at_most(s) for s in theirs.of)

    def vanishes_with(self, other: Size) -> bool:
        """Whether it is 0 whenever another is, as far as that can be told."""
        if other.constant or not other.terms or any(f < 0 or c.least < 0 for c, f in other.terms):
            return False
        # A sum of sizes is 0 where each of them is, and so are as many of each as there may be.
        base = Size(0, tuple((count, _MANY) for count, _ in other.terms))
        return not self.constant and all(Size(0, ((c, 1),)).is_at_most(base) for c, _ in self.terms)

    def _alone(self) -> Count | None:
        """The one count that it is."""
        return self.terms[0][0] if self.constant == 0 and [f for _, f in self.terms] == [1] else None


ONE = Size(1)


def lesser(a: Size, b: Size) -> Size:
    """The smaller one."""
    if a.is_at_most(b):
        return a
    if b.is_at_most(a):
        return b
    return _of("min", min(a.least, b.least), min(a.most, b.most), a, b)


def greater(a: Size, b: Size) -> Size:
    """The larger one."""
    if a.is_at_most(b):
        return b
    if b.is_at_most(a):
        return a
    return _of("max", max(a.least, b.least), max(a.most, b.most), a, b)


def _of(kind: Literal["min", "max"], least: int, most: int, a: Size, b: Size) -> Size:
    ordered = tuple(sorted((a, b), key=str))
    return Size(0, ((Count(least, most, kind=kind, of=ordered), 1),))


def product(sizes: Any) -> Size:
    """Of any number of sizes."""
    total = ONE
    for size in sizes:
        total = total * size
    return total


def bounds(sizes: Any) -> tuple[Size, ...]:
    """The product, as what a count is at most; () where it is of several counts."""
    try:
        return (product(sizes),)
    except Unproven:
        return ()


def numbers(array: Any) -> Numbers:
    """Whole numbers, or sizes, as an array of sizes."""
    source = np.asarray(array, object)
    made = np.empty(source.shape, object)
    for place in np.ndindex(source.shape):
        value = source[place]
        made[place] = value if isinstance(value, Size) else Size(int(value))
    return made

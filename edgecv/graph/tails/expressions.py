"""What one element of a tensor is, as a formula: polynomials over elements of dense tensors and over indices.

An `Expression` is a sum of products of atoms with coefficients. Indices are expressions too, so that the box
that a NonMaxSuppression selects reads At("boxes", (0, Selected(row, 2), 1)). Equal formulas compare equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import msgspec


class Unproven(Exception):
    """What the graph computes cannot be followed; the message says where and why."""


class NeedsPart(Exception):
    """An element of a Concat whose part the index does not tell: it must be read for each part."""

    def __init__(self, row: Expression, extents: tuple[Expression, ...]) -> None:
        super().__init__()
        self.row, self.extents = row, extents


class Var(msgspec.Struct, frozen=True):
    """A free index. size: how many values it has, or None."""

    name: str
    size: int | None = None


class At(msgspec.Struct, frozen=True):
    """An element of a tensor whose sizes are known before the run."""

    value: str
    index: tuple[Expression, ...]


class Selected(msgspec.Struct, frozen=True):
    """What a NonMaxSuppression selects as its `row`-th.

    node: its output. column: 0 batch, 1 class, 2 box. size: of that axis, or None.
    """

    node: str
    row: Expression
    column: int
    size: int | None


class Nonzero(msgspec.Struct, frozen=True):
    """The `row`-th index at which a mask is true, along one of its axes.

    extent: what `row` counts up to. size: of the axis, or None.
    """

    mask: str
    axis: int
    row: Expression
    extent: Expression
    size: int | None


class Ranked(msgspec.Struct, frozen=True):
    """The index of the `row`-th largest element along an axis. index: along all axes, `row` where it ranks.

    extent: the size of the axis that is ranked.
    """

    value: str
    axis: int
    index: tuple[Expression, ...]
    extent: Expression

    @property
    def row(self) -> Expression:
        return self.index[self.axis]


class Local(msgspec.Struct, frozen=True):
    """The index within one part of what was joined, of a `row` of the whole."""

    row: Expression
    part: int
    extents: tuple[Expression, ...]


class Quotient(msgspec.Struct, frozen=True):
    """What an index into flattened axes is in the leading ones. by: size of the last; size: of the others."""

    body: Expression
    by: int
    size: int


class Remainder(msgspec.Struct, frozen=True):
    """What an index into flattened axes is in the last one, of `size`."""

    body: Expression
    size: int


class Best(msgspec.Struct, frozen=True):
    """The largest of `body` over `CLASS`, which has `size` values; its index, where `is_index`."""

    body: Expression
    size: int
    is_index: bool = False


class Largest(msgspec.Struct, frozen=True):
    """The largest element of a whole tensor."""

    value: str


class Count(msgspec.Struct, frozen=True):
    """How many a NonMaxSuppression selects, or a mask lets through."""

    source: str


class Least(msgspec.Struct, frozen=True):
    """The smallest of some."""

    parts: frozenset[Expression]


class Clipped(msgspec.Struct, frozen=True):
    """A number brought between two bounds."""

    body: Expression
    low: float
    high: float


class Applied(msgspec.Struct, frozen=True):
    """A function of a number: an operator of ONNX of one operand."""

    op: str
    body: Expression


class Compare(msgspec.Struct, frozen=True):
    """Whether left > right, or >= or == by `kind`."""

    kind: str
    left: Expression
    right: Expression


class All(msgspec.Struct, frozen=True):
    """Whether all of some conditions hold."""

    parts: frozenset[Expression]


class Choice(msgspec.Struct, frozen=True):
    """`yes` where a condition holds, else `no`."""

    condition: Expression
    yes: Expression
    no: Expression


Atom: TypeAlias = (
    Var
    | At
    | Selected
    | Nonzero
    | Ranked
    | Local
    | Quotient
    | Remainder
    | Best
    | Largest
    | Count
    | Least
    | Clipped
    | Applied
    | Compare
    | All
    | Choice
)
Product: TypeAlias = frozenset[tuple[Atom, int]]

ONE: Product = frozenset()

# Coefficients come from float32 weights: what differs by less is the same number.
_TOLERANCE = 1e-5


class Expression:
    """A sum of products of atoms; never changed."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Product, float]) -> None:
        self.terms = {product: factor for product, factor in terms.items() if factor != 0}
        self._hash = hash(frozenset(self.terms.items()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.terms == other.terms

    def __repr__(self) -> str:
        return (
            " + ".join(
                "*".join([f"{factor:g}", *(repr(atom) for atom, power in product for _ in range(power))])
                for product, factor in self.terms.items()
            )
            or "0"
        )

    def __add__(self, other: Expression) -> Expression:
        terms = dict(self.terms)
        for product, factor in other.terms.items():
            terms[product] = terms.get(product, 0) + factor
        return Expression(terms)

    def __sub__(self, other: Expression) -> Expression:
        return self + other.times(-1)

    def __mul__(self, other: Expression) -> Expression:
        terms: dict[Product, float] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                powers = dict(a)
                for atom, power in b:
                    powers[atom] = powers.get(atom, 0) + power
                product = frozenset(powers.items())
                terms[product] = terms.get(product, 0) + x * y
        return Expression(terms)

    def times(self, factor: float) -> Expression:
        """Multiplied by a number."""
        return Expression({product: x * factor for product, x in self.terms.items()})

    @property
    def number(self) -> float | None:
        """The number that it is, or None."""
        if not self.terms:
            return 0.0
        return self.terms[ONE] if len(self.terms) == 1 and ONE in self.terms else None

    @property
    def whole(self) -> int | None:
        """The whole number that it is, or None."""
        number = self.number
        return int(number) if number is not None and math.isfinite(number) and number == int(number) else None

    @property
    def constant(self) -> float:
        """The number among its terms."""
        return self.terms.get(ONE, 0.0)

    @property
    def atom(self) -> Atom | None:
        """The atom that it is, or None."""
        if len(self.terms) != 1:
            return None
        ((product, factor),) = self.terms.items()
        if factor != 1 or len(product) != 1:
            return None
        ((atom, power),) = product
        return atom if power == 1 else None

    def atoms(self) -> Iterator[Atom]:
        """Those of its terms, not those within them."""
        seen = dict.fromkeys(atom for product in self.terms for atom, _ in product)
        yield from seen

    def replace(self, change: Callable[[Atom], Expression | None]) -> Expression:
        """With other expressions for some atoms; None leaves one as it is."""
        known = {atom: change(atom) for atom in self.atoms()}
        if all(new is None for new in known.values()):
            return self
        result = ZERO
        for product, factor in self.terms.items():
            term = number(factor)
            for one, power in product:
                new = known[one]
                for _ in range(power):
                    term = term * (of(one) if new is None else new)
            result = result + term
        return result

    def is_near(self, other: Expression) -> bool:
        """Whether both are the same up to what rounding of constants makes."""
        scale = max((abs(x) for x in (*self.terms.values(), *other.terms.values())), default=0.0)
        return all(abs(x) <= _TOLERANCE * scale for x in (self - other).terms.values())

    def without_dust(self, scale: float) -> Expression:
        """Without the terms that only rounding left. scale: of the numbers that it was made of."""
        return Expression({p: x for p, x in self.terms.items() if abs(x) > _TOLERANCE * scale})


def number(value: float) -> Expression:
    """A constant."""
    return Expression({ONE: value})


def of(atom: Atom) -> Expression:
    """An atom alone."""
    return Expression({frozenset(((atom, 1),)): 1})


ZERO = Expression({})
# Over what Best looks.
CLASS = "class"


def least(parts: frozenset[Expression]) -> Expression:
    """The smallest of some, numbers taken together."""
    flat: set[Expression] = set()
    for part in parts:
        inner = part.atom
        flat |= inner.parts if isinstance(inner, Least) else {part}
    numbers = [part.number for part in flat if part.number is not None]
    rest = {part for part in flat if part.number is None}
    if numbers:
        rest.add(number(min(numbers)))
    return next(iter(rest)) if len(rest) == 1 else of(Least(frozenset(rest)))


def split(value: Expression, stride: int) -> tuple[Expression, Expression]:
    """Quotient and remainder by a stride, for an index. Raises Unproven where they cannot be told apart."""
    if stride < 1:
        raise Unproven(f"an index cannot be told apart by {stride}")
    quotient: dict[Product, float] = {}
    rest: dict[Product, float] = {}
    for product, factor in value.terms.items():
        if product == ONE:
            whole = math.floor(factor / stride)
            quotient[product], rest[product] = whole, factor - whole * stride
        elif factor % stride == 0:
            quotient[product] = factor / stride
        else:
            rest[product] = factor
    remainder = Expression(rest)
    largest = remainder.constant
    for product, factor in remainder.terms.items():
        if product == ONE:
            continue
        size = _size(product)
        if size is None or factor < 0:
            raise Unproven(f"an index cannot be told apart by {stride}")
        largest += factor * (size - 1)
    if largest < stride:
        return Expression(quotient), remainder
    if value.atom is None:
        raise Unproven(f"an index cannot be told apart by {stride}")
    return of(Quotient(value, stride, int(largest) // stride + 1)), of(Remainder(value, stride))


def elements(formula: Expression) -> Iterator[At]:
    """Those that a number is made of, not those that say where they are."""
    for atom in formula.atoms():
        if isinstance(atom, At):
            yield atom
        elif isinstance(atom, Clipped | Applied):
            yield from elements(atom.body)


NATURAL = (Var, Selected, Nonzero, Ranked, Local, Quotient, Remainder, Count)
"""Atoms that are indices or counts, which are never below 0."""


def _size(product: Product) -> int | None:
    if len(product) != 1:
        return None
    ((atom, power),) = product
    if power != 1:
        return None
    if isinstance(atom, Best):
        return atom.size if atom.is_index else None
    return getattr(atom, "size", None)

"""From an output's row back to a dense one: which rows there are, in which order, which were left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import numpy as np

from edgecv import extras
from edgecv.graph.tails.expressions import (
    All,
    Applied,
    At,
    Atom,
    Best,
    Choice,
    Clipped,
    Compare,
    Count,
    Expression,
    Least,
    Local,
    Nonzero,
    Quotient,
    Ranked,
    Remainder,
    Selected,
    Unproven,
    Var,
    number,
    of,
)
from edgecv.graph.tails.reader import Reader

with extras.required("models"):
    import onnx_ir as ir

Link: TypeAlias = Nonzero | Ranked | Local | Selected


def within(formula: Expression) -> Iterator[Atom]:
    """All atoms of a formula, those of its indices included."""
    waiting = [formula]
    while waiting:
        for atom in waiting.pop().atoms():
            yield atom
            waiting += _inner(atom)


def _inner(atom: Atom) -> list[Expression]:
    if isinstance(atom, At | Ranked):
        return list(atom.index)
    if isinstance(atom, Selected | Nonzero | Local):
        return [atom.row]
    if isinstance(atom, Best | Clipped | Applied | Quotient | Remainder):
        return [atom.body]
    if isinstance(atom, Compare):
        return [atom.left, atom.right]
    if isinstance(atom, Choice):
        return [atom.condition, atom.yes, atom.no]
    return list(atom.parts) if isinstance(atom, All | Least) else []


class Chain(msgspec.Struct, frozen=True):
    """What leads from a dense row to a row of an output: links, nearest to the dense row first."""

    links: tuple[Link, ...]

    @property
    def sources(self) -> frozenset[str]:
        """Masks and NonMaxSuppressions that it goes through."""
        found = [link for link in self.links if isinstance(link, Nonzero | Selected)]
        return frozenset(link.mask if isinstance(link, Nonzero) else link.node for link in found)

    @property
    def selected(self) -> int:
        """Which link is the NonMaxSuppression."""
        found = [i for i, link in enumerate(self.links) if isinstance(link, Selected)]
        if len(found) != 1:
            raise Unproven(f"rows go through {len(found)} NonMaxSuppressions one after the other")
        return found[0]


def chain(index: Expression) -> Chain:
    """The links of an index. Raises Unproven where it is no plain choice of rows."""
    links: list[Link] = []
    flat = index.atom
    if isinstance(flat, Quotient):
        # Pairs of a row and a class are chosen.
        index = flat.body
    while True:
        atom = index.atom
        if isinstance(atom, Var):
            return Chain(tuple(links))
        if not isinstance(atom, Nonzero | Ranked | Local | Selected):
            raise Unproven("rows are chosen by other than a mask, a rank or NonMaxSuppression")
        links.append(atom)
        index = atom.row


class Padding:
    """Which rows are filling: `strip` takes them out of formulas and remembers how many are real."""

    def __init__(self) -> None:
        self.real: dict[Expression, Expression] = {}

    def strip(self, formula: Expression) -> Expression:
        """Of the real rows alone. Raises Unproven for any other choice."""
        return formula.replace(self._real)

    def _real(self, atom: Atom) -> Expression | None:
        if not isinstance(atom, Choice):
            return None
        condition = atom.condition.atom
        if (
            not isinstance(condition, Compare)
            or condition.kind != ">"
            or not isinstance(condition.right.atom, Var | Nonzero | Ranked | Local | Selected)
            or not _counts(condition.left)
        ):
            raise Unproven("values of rows depend on a condition")
        self.real[condition.right] = condition.left
        return self.strip(atom.yes)


def _counts(formula: Expression) -> bool:
    return bool(formula.terms) and all(
        isinstance(atom, Count | Least) and (not isinstance(atom, Least) or all(map(_counts, atom.parts)))
        for atom in formula.atoms()
    )


class Limits(msgspec.Struct, frozen=True):
    """What bounds the rows. candidates: before NonMaxSuppression; most: after it; None: nothing does.

    part_candidates, part_most: the same within each part of what is joined. threshold: scores lie over it,
    as float32; -inf: none.
    """

    candidates: int | None
    most: int | None
    part_candidates: int | None
    part_most: int | None
    threshold: float


def limits(
    reader: Reader,
    links: Chain,
    score: Expression,
    padding: Padding,
    rows: Expression,
    candidates: Expression,
) -> Limits:
    """The bounds along a chain, given that it keeps the order of scores wherever it cuts.

    score: of the row, by dense tensors as deep as they can be followed. rows: how many the output has.
    candidates: how many the NonMaxSuppression takes. Raises Unproven.
    """
    if not padding.real.keys() <= {link.row for link in links.links}:
        raise Unproven("some rows are filling by a count of other rows")
    middle = links.selected
    # By whether it is after the NonMaxSuppression, and within a part.
    bounds: dict[tuple[bool, bool], int] = {}
    threshold = -np.inf
    ordered = False
    for i, link in enumerate(links.links):
        if isinstance(link, Nonzero):
            threshold = max(threshold, _threshold(reader, link, score, padding))
        elif isinstance(link, Ranked):
            _check_rank(reader, link, score, padding)
            ordered = True
        elif isinstance(link, Selected):
            # Of one class the operator selects by falling score.
            ordered = reader.sizes(_scores_of(reader, link))[1] == number(1)
        else:
            ordered = False
        rest = links.links[i + 1 :]
        extents = [_extent(rest[0] if rest else None, rows, candidates)]
        if link.row in padding.real:
            # A padding by less than nothing cuts.
            extents.append(padding.real[link.row])
        found = [limit for limit in map(_limit, extents) if limit is not None]
        if found and not ordered:
            raise Unproven("rows are cut off in another order than that of scores")
        side = (i >= middle, any(isinstance(one, Local) for one in rest))
        for limit in found:
            bounds[side] = min(limit, bounds.get(side, limit))
    return Limits(
        candidates=bounds.get((False, False)),
        most=bounds.get((True, False)),
        part_candidates=bounds.get((False, True)),
        part_most=bounds.get((True, True)),
        threshold=float(threshold),
    )


def _scores_of(reader: Reader, link: Selected) -> ir.Value | None:
    node = reader.value(link.node).producer()
    assert node is not None
    return node.inputs[1]


def _extent(following: Link | None, rows: Expression, candidates: Expression) -> Expression:
    if following is None:
        return rows
    if isinstance(following, Selected):
        return candidates
    return following.extents[following.part] if isinstance(following, Local) else following.extent


def _limit(extent: Expression) -> int | None:
    """The number that bounds an extent; None where all rows are there."""
    if extent.number is not None:
        return extent.whole
    atom = extent.atom
    parts = atom.parts if isinstance(atom, Least) else frozenset((extent,))
    rest = [part for part in parts if part.number is None]
    if len(rest) != 1 or not _is_all(rest[0]):
        raise Unproven("how many rows are kept is not a bound on their number")
    return next((part.whole for part in parts if part.number is not None), None)


def _is_all(extent: Expression) -> bool:
    """Whether it is what was counted, or what was joined of such."""
    return all(
        factor == 1 and len(term) == 1 and all(isinstance(a, Count | Least) and n == 1 for a, n in term)
        for term, factor in extent.terms.items()
    )


def _check_rank(reader: Reader, link: Ranked, score: Expression, padding: Padding) -> None:
    at = list(link.index)
    at[link.axis] = of(link)
    by = padding.strip(reader.element(reader.value(link.value), at))
    if reader.deep(by) != score:
        raise Unproven("rows are ranked by other than their score")


def _threshold(reader: Reader, link: Nonzero, score: Expression, padding: Padding) -> float:
    """That of a mask over scores."""
    mask = reader.value(link.mask)
    at = [
        number(0) if size == number(1) else of(msgspec.structs.replace(link, axis=axis, size=size.whole))
        for axis, size in enumerate(reader.sizes(mask))
    ]
    condition = padding.strip(reader.element(mask, at))
    found = -np.inf
    for part in _parts(reader, condition):
        bound = part.right.number
        if bound is None or reader.deep(padding.strip(part.left)) != score or part.kind == "==":
            raise Unproven(f"rows are left out by other than their score ({link.mask!r})")
        strict = np.float32(bound)
        if part.kind == ">=":
            strict = np.nextafter(strict, np.float32(-np.inf))
        found = max(found, float(strict))
    return found


def _parts(reader: Reader, condition: Expression) -> Iterator[Compare]:
    atom = condition.atom
    if isinstance(atom, At):
        nearer = reader.step(atom)
        if nearer is None:
            raise Unproven(f"the mask {atom.value!r} is no comparison of scores")
        yield from _parts(reader, nearer)
    elif isinstance(atom, All):
        for one in atom.parts:
            yield from _parts(reader, one)
    elif isinstance(atom, Compare):
        yield atom
    else:
        raise Unproven("a mask is no comparison of scores")

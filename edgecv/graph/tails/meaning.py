"""What the columns of a tail's outputs mean: boxes, scores, classes, proven from the graph."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from edgecv.graph.tails.choosing import Suppression, suppression
from edgecv.graph.tails.expressions import (
    CLASS,
    Applied,
    At,
    Best,
    Clipped,
    Expression,
    Largest,
    Nonzero,
    Remainder,
    Selected,
    Unproven,
    Var,
    elements,
    number,
    of,
)
from edgecv.graph.tails.reader import Reader
from edgecv.graph.tails.rows import Limits, Padding, chain, limits, within

ANCHOR = "anchor"

# How far a score is followed to what it is the best of.
_MOST_STEPS = 40
# Operators whose results are never negative.
_NOT_NEGATIVE = ("Sigmoid", "HardSigmoid", "Softmax", "Relu")

Corners = tuple[Expression, Expression, Expression, Expression]
Format = Literal["xyxy", "cxcywh", "xywh"]


class Column(msgspec.Struct, frozen=True):
    """One column of an output: its name, which one, of how many, and what a row holds there."""

    output: str
    position: int
    formula: Expression


class Scores(msgspec.Struct, frozen=True):
    """A row's score for one class: a product of elements of dense tensors.

    formula: with ANCHOR and, where the class is not a number, CLASS as free indices. classes: how many CLASS
    has; label: the class of the row, by the graph; is_best: whether only a row's best class counts.
    """

    formula: Expression
    classes: int
    label: Expression
    is_best: bool


class Offset(msgspec.Struct, frozen=True):
    """What is added to both corners before boxes are compared, along x and y, in the output's coordinates."""

    x: Expression
    y: Expression


class Reading(msgspec.Struct, frozen=True):
    """What the rows of a tail are, of one part where several are joined.

    boxes: four columns of the output, in `box_format`. label: of the class column, None without one.
    extras: columns that are carried beside. anchors: how many dense rows; candidates: how many of them the
    NonMaxSuppression is given.
    """

    node: str
    sources: frozenset[str]
    boxes: tuple[Expression, ...]
    box_format: Format
    offset: Offset
    scores: Scores
    label: Expression | None
    extras: tuple[Expression, ...]
    roles: dict[tuple[str, int], str]
    suppression: Suppression
    limits: Limits
    anchors: int
    candidates: Expression
    classes_of_operator: int


def read(reader: Reader, columns: list[Column], rows: Expression) -> Reading:
    """What the columns mean. rows: how many. Raises Unproven where any of them cannot be proven."""
    padding = Padding()
    columns = [msgspec.structs.replace(column, formula=padding.strip(column.formula)) for column in columns]
    selected = _selected(columns)
    node = reader.value(selected.node).producer()
    assert node is not None
    told = suppression(reader, node)
    sizes = reader.sizes(told.scores)
    if sizes[0] != number(1):
        raise Unproven("the NonMaxSuppression is of several pictures at once")
    box = of(msgspec.structs.replace(selected, column=2, size=sizes[2].whole))
    one = number(0)
    class_index = (
        one if sizes[1] == number(1) else of(msgspec.structs.replace(selected, column=1, size=sizes[1].whole))
    )
    score = padding.strip(reader.element(told.scores, (one, class_index, box)))
    compared = tuple(padding.strip(reader.element(told.boxes, (one, box, number(k)))) for k in range(4))
    anchor = _anchor(reader, score, compared)
    deep_score = reader.deep(score)
    links = chain(anchor)
    scores = _scores(reader, score, anchor)
    roles, label, plain = _roles(reader, columns, deep_score, scores, selected)
    corners = _corners("cxcywh" if told.is_centered else "xyxy", _four([reader.deep(n) for n in compared]))
    _check_largest(reader, padding, told, box, corners)
    boxes, box_format, offset = _boxes(reader, plain, corners, roles)
    extras = tuple(c.formula for c in plain if (c.output, c.position) not in roles)
    _check_roles(roles, scores)
    for column in plain:
        roles.setdefault((column.output, column.position), "extra")
    return Reading(
        node=selected.node,
        sources=links.sources,
        boxes=tuple(_canonical(one, anchor) for one in boxes),
        box_format=box_format,
        offset=offset,
        scores=scores,
        label=label,
        extras=tuple(_canonical(one, anchor) for one in extras),
        roles=roles,
        suppression=told,
        limits=limits(reader, links, deep_score, padding, rows, sizes[2]),
        anchors=_anchors(reader, boxes, anchor),
        candidates=sizes[2],
        classes_of_operator=sizes[1].whole or 0,
    )


def _selected(columns: list[Column]) -> Selected:
    found = {
        (atom.node, atom.row): atom
        for column in columns
        for atom in within(column.formula)
        if isinstance(atom, Selected)
    }
    if len(found) != 1:
        raise Unproven(f"rows of the outputs come of {len(found)} NonMaxSuppressions")
    return next(iter(found.values()))


def _anchor(reader: Reader, score: Expression, boxes: tuple[Expression, ...]) -> Expression:
    """The index of the dense row: the same in whatever is read of it."""
    found = {
        index for formula in boxes for atom in elements(formula) for index in atom.index if _is_row(index)
    }
    if len(found) > 1:
        # A class that is an element of a dense tensor, or of a mask, is an index too.
        found = {
            index
            for index in found
            if isinstance(index.atom, Selected | Nonzero)
            and (getattr(index.atom, "column", 2) == 2 and getattr(index.atom, "axis", 0) == 0)
        } or found
    if len(found) != 1:
        raise Unproven(f"boxes that are compared are read of {len(found)} rows at once")
    return next(iter(found))


def _is_row(index: Expression) -> bool:
    return index.number is None and any(
        isinstance(atom, Selected) and atom.column == 2 for atom in within(index)
    )


def _canonical(formula: Expression, anchor: Expression) -> Expression:
    """With the dense row as the free index ANCHOR."""

    def change(atom: object) -> Expression | None:
        if isinstance(atom, At):
            index = tuple(of(Var(ANCHOR)) if one == anchor else one for one in atom.index)
            return of(msgspec.structs.replace(atom, index=index))
        if isinstance(atom, Best | Clipped | Applied):
            return of(msgspec.structs.replace(atom, body=_canonical(atom.body, anchor)))
        return None

    return formula.replace(change)


def _anchors(reader: Reader, boxes: tuple[Expression, ...], anchor: Expression) -> int:
    for formula in boxes:
        for atom in elements(formula):
            if anchor in atom.index:
                size = reader.sizes(reader.value(atom.value))[atom.index.index(anchor)].whole
                if size is not None:
                    return size
    raise Unproven("how many boxes the network makes is not known before the run")


# ---- Scores and classes


def _scores(reader: Reader, score: Expression, anchor: Expression) -> Scores:
    """The dense scores behind a row's score, and the class that it is of."""
    first = None
    for _ in range(_MOST_STEPS):
        best = [atom for atom in score.atoms() if isinstance(atom, Best)]
        if best:
            return _best(reader, score, best[0], anchor)
        direct = _direct(score, anchor)
        first = first or direct
        if direct is not None and direct.label.number is None:
            return direct
        nearer = score.replace(lambda one: reader.step(one) if isinstance(one, At) else None)
        if nearer == score:
            break
        score = nearer
    if first is None:
        raise Unproven("scores are not elements of a tensor whose size is known, nor the best of such")
    return first


def _best(reader: Reader, score: Expression, best: Best, anchor: Expression) -> Scores:
    """A row's best class, by scores that may have factors before or behind the choice."""
    factors = score.replace(lambda atom: number(1) if atom == best else None)
    formula = _canonical(score.replace(lambda atom: best.body if atom == best else None), anchor)
    _check_factors(formula)
    for atom in reader.deep(factors).atoms():
        producer = reader.value(atom.value).producer() if isinstance(atom, At) else None
        if producer is None or producer.op_type not in _NOT_NEGATIVE:
            raise Unproven("the best class is chosen before a factor that may be negative")
    label = of(msgspec.structs.replace(best, is_index=True))
    return Scores(formula, best.size, label, is_best=True)


def _check_factors(formula: Expression) -> None:
    powers = [power for product in formula.terms for _, power in product]
    if len(formula.terms) != 1 or next(iter(formula.terms.values())) != 1 or set(powers) != {1}:
        raise Unproven("scores are computed from rows, behind what can be cut")
    for atom in formula.atoms():
        if not isinstance(atom, At) or of(Var(ANCHOR)) not in atom.index:
            raise Unproven("scores are computed from rows, behind what can be cut")


def _direct(score: Expression, anchor: Expression) -> Scores | None:
    """A product of elements; the index that is neither the row nor a number is the class."""
    formula = _canonical(score, anchor)
    try:
        _check_factors(formula)
    except Unproven:
        return None
    classes = {
        Expression({p: x for p, x in index.terms.items() if p})
        for atom in formula.atoms()
        if isinstance(atom, At)
        for index in atom.index
        if index.number is None and index != of(Var(ANCHOR))
    }
    if not classes:
        return Scores(formula, 1, number(0), is_best=False)
    if len(classes) > 1:
        return None
    (label,) = classes
    chosen = label.atom
    size = chosen.size if isinstance(chosen, Selected | Nonzero | Remainder) else None
    if size is None:
        return None

    def change(atom: object) -> Expression | None:
        if not isinstance(atom, At):
            return None
        index = tuple(
            one.replace(lambda a: of(Var(CLASS, size)) if a == chosen else None) for one in atom.index
        )
        return of(msgspec.structs.replace(atom, index=index))

    return Scores(formula.replace(change), size, label, is_best=False)


def _roles(
    reader: Reader, columns: list[Column], score: Expression, scores: Scores, selected: Selected
) -> tuple[dict[tuple[str, int], str], Expression | None, list[Column]]:
    """Roles of the columns that are no boxes, what the class column adds to the class, and the rest."""
    roles: dict[tuple[str, int], str] = {}
    label, of_class = None, reader.deep(scores.label)
    constants, rest = [], []
    for column in columns:
        key, deep = (column.output, column.position), reader.deep(column.formula)
        chosen = column.formula.atom
        if deep == score:
            roles[key] = "score"
        elif isinstance(chosen, Selected) and chosen.column == 2:
            roles[key] = "index"
        elif deep.number is not None:
            constants.append((key, deep))
        elif of_class.number is None and (deep - of_class).number is not None:
            roles[key], label = "class", deep - of_class
        else:
            rest.append(column)
    # Rows of one class: the batch leads, where there are two columns that never change.
    if label is None and of_class.number is not None and constants:
        key, label = constants.pop()
        roles[key] = "class"
    for key, value in constants:
        if value != number(0):
            raise Unproven(f"column {key[1]} of {key[0]!r} is always {value.number:g}")
        roles[key] = "batch"
    return roles, label, rest


def _check_roles(roles: dict[tuple[str, int], str], scores: Scores) -> None:
    for role in ("score", "class"):
        count = list(roles.values()).count(role)
        if count > 1 or (count == 0 and (role == "score" or scores.classes > 1)):
            raise Unproven(f"{count} columns of the outputs are the {role} of their rows, and 1 was expected")


# ---- Boxes


def _four(formulas: list[Expression]) -> Corners:
    a, b, c, d = formulas
    return a, b, c, d


def _corners(box_format: Format, box: Corners) -> Corners:
    """x1, y1, x2, y2 of a box."""
    a, b, c, d = box
    if box_format == "xyxy":
        return box
    if box_format == "xywh":
        return a, b, a + c, b + d
    return a - c.times(0.5), b - d.times(0.5), a + c.times(0.5), b + d.times(0.5)


def _boxes(
    reader: Reader, columns: list[Column], compared: Corners, roles: dict[tuple[str, int], str]
) -> tuple[tuple[Expression, ...], Format, Offset]:
    """The first four columns side by side that are the boxes that were compared, but for scale and offset."""
    for i in range(len(columns) - 3):
        four = columns[i : i + 4]
        positions = [column.position for column in four]
        if len({c.output for c in four}) > 1 or positions != list(range(positions[0], positions[0] + 4)):
            continue
        deep = _four([reader.deep(column.formula) for column in four])
        formats: tuple[Format, ...] = ("xyxy", "cxcywh", "xywh")
        for box_format in formats:
            found = _match(_corners(box_format, deep), compared)
            if found is not None:
                for name, column in zip(box_format_names(box_format), four, strict=True):
                    roles[(column.output, column.position)] = name
                return tuple(column.formula for column in four), box_format, found
    if not columns:
        raise Unproven("the outputs have no boxes, whose coordinates' order they would tell")
    raise Unproven("the boxes of the outputs are not those that the NonMaxSuppression compares")


def box_format_names(box_format: str) -> list[str]:
    """Names of the four numbers of a box."""
    return {
        "xyxy": ["x1", "y1", "x2", "y2"],
        "yxyx": ["y1", "x1", "y2", "x2"],
        "cxcywh": ["cx", "cy", "w", "h"],
        "xywh": ["x1", "y1", "w", "h"],
    }[box_format]


def _match(own: Corners, compared: Corners) -> Offset | None:
    """What the compared boxes are shifted by, in the coordinates of the own, along x and y."""
    for order in ((0, 1, 2, 3), (1, 0, 3, 2)):
        other = [compared[k] for k in order]
        shifts = [_shift((own[axis], own[axis + 2]), (other[axis], other[axis + 2])) for axis in (0, 1)]
        x, y = shifts
        if x is not None and y is not None:
            return Offset(x, y)
    return None


def _shift(own: tuple[Expression, Expression], other: tuple[Expression, Expression]) -> Expression | None:
    """other / scale - own, where that is the same of both ends."""
    side, compared = own[1] - own[0], other[1] - other[0]
    shared = next((p for p in side.terms if p in compared.terms), None)
    if shared is None:
        return None
    scale = compared.terms[shared] / side.terms[shared]
    if scale <= 0 or not compared.times(1 / scale).is_near(side):
        return None
    sizes = [abs(x) for one in own for x in one.terms.values()]
    near, far = (b.times(1 / scale) - a for a, b in zip(own, other, strict=True))
    if not near.without_dust(max(sizes)).is_near(far.without_dust(max(sizes))):
        return None
    return near.without_dust(max(sizes))


def _check_largest(
    reader: Reader, padding: Padding, told: Suppression, box: Expression, compared: Corners
) -> None:
    """Where boxes are moved apart by a largest coordinate, it is that of all boxes compared."""
    found = {atom for one in compared for atom in one.atoms() if isinstance(atom, Largest)}
    for largest in found:
        value = reader.value(largest.value)
        sizes = reader.sizes(value)
        if sizes[-2:] != (reader.sizes(told.boxes)[1], number(4)):
            raise Unproven("boxes are moved apart by the largest of other numbers")
        before = (number(0),) * (len(sizes) - 2)
        for k, one in enumerate(compared):
            own = reader.deep(padding.strip(reader.element(value, (*before, box, number(k)))))
            moved = one - own
            steps = [x for product, x in moved.terms.items() if (largest, 1) in product]
            if len(moved.terms) > 2 or not steps or min(steps) < 1:
                raise Unproven("boxes are moved apart by the largest of other numbers")


def class_step(offsets: list[tuple[Expression, Expression]], label: Expression) -> Expression:
    """By how much one class more shifts boxes. offsets: of each part, with its class.

    label: the class by the graph where it is no number. Raises Unproven where it is no multiple of the class.
    """
    first, first_class = offsets[0]
    if len(offsets) == 1:
        if label.number is not None:
            if any(first.atoms()):
                raise Unproven("boxes are shifted by other than a multiple of their class")
            return number(0)
        atom = label.atom
        if atom is None:
            raise Unproven("boxes are shifted by other than a multiple of their class")
        step = Expression(
            {
                frozenset(pair for pair in product if pair[0] != atom): factor
                for product, factor in first.terms.items()
                if (atom, 1) in product
            }
        )
        rest = first - step * label
    else:
        second, second_class = offsets[1]
        apart = (second_class - first_class).number
        if not apart:
            raise Unproven("several parts are of one class")
        step = (second - first).times(1 / apart)
        for other, other_class in offsets:
            if not (other - first).is_near(step * (other_class - first_class)):
                raise Unproven("boxes are shifted by other than a multiple of their class")
        rest = first - step * first_class
    left = [atom for atom in (*rest.atoms(), *step.atoms()) if not isinstance(atom, Largest)]
    if left or not math.isfinite(step.constant):
        raise Unproven("boxes are shifted by other than a multiple of their class")
    return step

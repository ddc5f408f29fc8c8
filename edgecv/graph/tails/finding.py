"""From a graph with NonMaxSuppression to the record of its tail and the network without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from edgecv import extras
from edgecv.graph.ir import to_ir
from edgecv.graph.model import OnnxModel
from edgecv.graph.normal.constants import EQUAL, FOLD
from edgecv.graph.normal.opsets import UPGRADE
from edgecv.graph.rewrite import Report, run_stages
from edgecv.graph.tails.choosing import NO_THRESHOLD
from edgecv.graph.tails.cutting import Cut, Table
from edgecv.graph.tails.expressions import (
    CLASS,
    At,
    Clipped,
    Expression,
    Largest,
    Least,
    NeedsPart,
    Unproven,
    Var,
    number,
    of,
)
from edgecv.graph.tails.meaning import Column, Reading, Scores, class_step, read
from edgecv.graph.tails.reader import Reader
from edgecv.graph.tails.records import Found, Tail, as_written

with extras.required("models"):
    import onnx
    import onnx.inliner
    import onnx_ir as ir

Sizes = Mapping[str, tuple[int, ...]]
Coordinates = Literal["pixels", "fractions"] | None

ROW = "row"

# Parts that are joined: classes, mostly.
_MOST_PARTS = 1024
# What TensorFlow's exporters name the outputs of a detector.
_TENSORFLOW = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
# A shift below it moves fractions, one above it pixels, if it moves boxes past a picture at all.
_LARGEST_FRACTION = 4.0


def by_nms(model: OnnxModel, sizes: Sizes) -> Found:
    """The tail around NonMaxSuppression. Raises Unproven."""
    model = without_functions(model)
    graph = prepared(model, sizes)
    reader = Reader(graph.graph)
    outputs = list(graph.graph.outputs)
    kept = [output.name or "" for output in outputs if reader.is_dense(output)]
    tails = [output for output in outputs if not reader.is_dense(output)]
    if not tails:
        raise Unproven("no output depends on the NonMaxSuppression")
    if _has_stages(graph.graph, set()):
        raise Unproven("it looks at boxes that another NonMaxSuppression selects: a detector of two stages")
    readings = list(_readings(reader, tails))
    if not reader.assumed <= frozenset().union(*(reading.sources for reading in readings)):
        raise Unproven("a branch is taken by a count of other rows")
    joined = _joined(reader, readings)
    return _found(model, reader, readings, joined, kept, tails)


def without_functions(model: OnnxModel) -> OnnxModel:
    """The model with its own functions written out."""
    if not model.proto.functions:
        return model
    return OnnxModel(onnx.inliner.inline_local_functions(model.proto, convert_version=True), model.origin)


def prepared(model: OnnxModel, sizes: Sizes) -> ir.Model:
    """The graph with what is known before the run as constants, and equal nodes as one."""
    graph = to_ir(model, sizes)
    run_stages(graph, ((UPGRADE,), (FOLD, EQUAL)), Report(), model.origin)
    return graph


def _has_stages(graph: ir.Graph, selected: set[str | None]) -> bool:
    """Whether a NonMaxSuppression reads what is made of another's boxes.

    selected: names of what is, of the graph around a branch; this one's are added.
    """
    for node in graph:
        inner = [one.as_graph() for one in node.attributes.values() if one.type == ir.AttributeType.GRAPH]
        if any(_has_stages(branch, selected) for branch in inner):
            return True
        read = [*node.inputs, *(output for branch in inner for output in branch.outputs)]
        is_selected = any(value is not None and value.name in selected for value in read)
        if node.op_type == "NonMaxSuppression" and is_selected:
            return True
        if node.op_type == "NonMaxSuppression" or is_selected:
            selected.update(output.name for output in node.outputs)
    return False


# ---- Reading


def _readings(reader: Reader, tails: Sequence[ir.Value]) -> Iterator[Reading]:
    """One for each part of what is joined."""
    waiting: list[dict[Expression, int]] = [{}]
    count = 0
    while waiting:
        parts = waiting.pop()
        reader.choose(parts)
        try:
            columns, rows = _columns(reader, tails)
            yield read(reader, columns, rows)
        except NeedsPart as needed:
            whole = [i for i, extent in enumerate(needed.extents) if extent != number(0)]
            waiting += [{**parts, needed.row: part} for part in reversed(whole)]
        count += 1
        if count > _MOST_PARTS:
            raise Unproven(f"rows are joined of more than {_MOST_PARTS} parts") from None


def _columns(reader: Reader, tails: Sequence[ir.Value]) -> tuple[list[Column], Expression]:
    """Every column of every output, and how many rows there are."""
    columns: list[Column] = []
    rows: list[Expression] = []
    row = of(Var(ROW))
    for output in tails:
        sizes = reader.sizes(output)
        long = [axis for axis, n in enumerate(sizes) if n != number(1)]
        if not long:
            # How many there are: rows that are filling are left out anyhow.
            continue
        width = 1 if len(long) == 1 else sizes[long[1]].whole
        if len(long) > 2 or width is None or width > 4096:
            raise Unproven(f"output {output.name!r} is no list of rows")
        rows.append(sizes[long[0]])
        for column in range(width):
            index = [number(0)] * len(sizes)
            index[long[0]] = row
            if len(long) > 1:
                index[long[1]] = number(column)
            columns.append(Column(output.name or "", column, reader.element(output, index)))
    if not rows:
        raise Unproven("no output has a row for each detection")
    if len(set(rows)) > 1:
        raise Unproven("the outputs have different numbers of rows")
    return columns, rows[0]


# ---- Joining what is read of each part


class _Joined(msgspec.Struct, frozen=True):
    """One reading for all parts. first_class: that of the first column. levels: the parts, if they are boxes
    of their own with the same classes; a part is a class else."""

    reading: Reading
    first_class: int
    levels: tuple[Reading, ...] = ()


def _joined(reader: Reader, readings: Sequence[Reading]) -> _Joined:
    first = readings[0]
    labels = [0 if reading.label is None else reading.label.whole for reading in readings]
    shift = labels[0]
    if shift is None or None in labels:
        raise Unproven("classes are no whole numbers")
    if len(readings) == 1:
        return _Joined(first, shift)
    if len(set(labels)) == 1:
        return _of_levels(readings, shift)
    return _of_classes(reader, readings)


def _of_levels(readings: Sequence[Reading], label: int) -> _Joined:
    first = readings[0]
    for other in readings[1:]:
        differ = [name for name in ("box_format", "roles") if getattr(other, name) != getattr(first, name)]
        scores = [(one.scores.classes, one.scores.is_best) for one in (first, other)]
        bounds = [msgspec.structs.replace(one.limits, part_candidates=None) for one in (first, other)]
        if differ or scores[0] != scores[1] or bounds[0] != bounds[1] or other.extras or first.extras:
            raise Unproven("rows are joined of parts that differ in more than their boxes")
    total = sum(reading.anchors for reading in readings)
    whole = msgspec.structs.replace(first.limits, part_candidates=None)
    merged = msgspec.structs.replace(first, anchors=total, limits=whole)
    return _Joined(merged, label, tuple(readings))


def _of_classes(reader: Reader, readings: Sequence[Reading]) -> _Joined:
    first = readings[0]
    labeled = []
    for reading in readings:
        label = None if reading.label is None else reading.label.whole
        if label is None or reading.scores.is_best or reading.scores.classes != 1:
            raise Unproven("rows are joined of parts that are no classes")
        labeled.append((label, reading))
    labeled.sort(key=lambda one: one[0])
    labels = [label for label, _ in labeled]
    if labels != list(range(labels[0], labels[0] + len(labels))):
        raise Unproven(f"rows are joined of the classes {labels}, which do not follow one another")
    for _, other in labeled:
        same = ("boxes", "box_format", "extras", "roles", "limits", "anchors")
        differ = [name for name in same if getattr(other, name) != getattr(first, name)]
        told = [(r.suppression.iou, r.suppression.threshold, r.suppression.most) for r in (first, other)]
        if differ or told[0][:2] != told[1][:2] or told[0][2].whole != told[1][2].whole:
            raise Unproven(f"classes differ in {', '.join(differ) or 'their thresholds'}")
    scores = _columns_of([reading.scores.formula for _, reading in labeled], reader)
    merged = Scores(scores, len(labels), first.scores.label, is_best=False)
    return _Joined(msgspec.structs.replace(first, scores=merged), labels[0])


def _columns_of(formulas: list[Expression], reader: Reader) -> Expression:
    """Elements of one tensor, a column each, as one element of a class."""
    for _ in range(8):
        atoms = [formula.atom for formula in formulas]
        elements = [atom for atom in atoms if isinstance(atom, At)]
        if len(elements) < len(atoms):
            break
        if len({one.value for one in elements}) == 1:
            found = _along_one_axis(elements)
            if found is not None:
                return found
            break
        stepped = [reader.step(one) for one in elements]
        if None in stepped:
            break
        formulas = [one for one in stepped if one is not None]
    raise Unproven("scores of the classes do not lie side by side in one tensor")


def _along_one_axis(elements: list[At]) -> Expression | None:
    first = elements[0]
    for axis, start in enumerate(first.index):
        at = [element.index[axis].whole for element in elements]
        rest = {(*one.index[:axis], *one.index[axis + 1 :]) for one in elements}
        begin = start.whole
        if begin is not None and len(rest) == 1 and at == list(range(begin, begin + len(at))):
            index = list(first.index)
            index[axis] = of(Var(CLASS, len(at))) + number(begin)
            return of(At(first.value, tuple(index)))
    return None


# ---- The record


def _found(
    model: OnnxModel,
    reader: Reader,
    readings: Sequence[Reading],
    joined: _Joined,
    kept: Sequence[str],
    tails: Sequence[ir.Value],
) -> Found:
    reading = joined.reading
    cut = Cut(reader, model.proto, reading.anchors)
    threshold = max(reading.limits.threshold, reading.suppression.threshold)
    boxes, box_format, scores = _tables(cut, joined, threshold)
    is_tensorflow = any(name in (output.name or "") for output in tails for name in _TENSORFLOW)
    if is_tensorflow:
        box_format = {"xyxy": "yxyx", "yxyx": "xyxy"}.get(box_format, box_format)
        if box_format in ("cxcywh", "xywh"):
            raise Unproven("boxes are y first, and made of centers or sizes")
    is_agnostic, step, coordinates = _separation(model, reader, readings, joined)
    if coordinates is None and is_tensorflow:
        coordinates = "fractions"
    most, max_det = _bounds(reading, len(readings) > 1 and not joined.levels)
    limits = reading.limits
    candidates = limits.candidates if (limits.candidates or 0) < reading.anchors else None
    extra: Table | None = cut.combined(reading.extras) if reading.extras else None
    names = [cut.give_out(table, wanted) for table, wanted in ((boxes, "boxes"), (scores, "scores"))]
    tail = Tail(
        operator="NonMaxSuppression",
        boxes=names[0],
        scores=names[1],
        boxes_are_rows=boxes.rows,
        scores_are_rows=scores.rows,
        box_format=_known_format(box_format),
        coordinates=coordinates,
        classes=reading.scores.classes,
        first_class=joined.first_class,
        multi_label=not reading.scores.is_best and reading.scores.classes > 1,
        iou=as_written(reading.suppression.iou),
        confidence=None if threshold == NO_THRESHOLD else as_written(threshold),
        candidates=candidates,
        max_det=max_det,
        max_per_class=most,
        class_agnostic=is_agnostic,
        class_offset=step,
        extras=None if extra is None else cut.give_out(extra, "extras"),
        kept=tuple(kept),
        outputs=_told(reading, tails, is_tensorflow),
    )
    return Found(tail, cut.model(model.origin, kept))


def _tables(cut: Cut, joined: _Joined, threshold: float) -> tuple[Table, str, Table]:
    """Boxes, their format, and scores, of which those that the tail's ranks leave out are 0."""
    found = []
    for reading in joined.levels or (joined.reading,):
        cut.anchors = reading.anchors
        boxes, box_format = cut.boxes(reading.boxes, reading.box_format)
        scores = cut.scores(reading.scores.formula, reading.scores.classes)
        best = reading.limits.part_candidates
        pairs = reading.anchors * (reading.scores.classes if joined.levels else 1)
        if best is not None and best < pairs:
            if threshold < 0:
                raise Unproven("the best candidates of each part are taken, of scores that may be negative")
            if reading.scores.is_best:
                raise Unproven("the best candidates of each part are taken, by their best class")
            scores = cut.best_of_all(scores, best) if joined.levels else cut.best_of_each(scores, best)
        found.append((boxes, box_format, scores))
    cut.anchors = joined.reading.anchors
    if not joined.levels:
        return found[0]
    formats = {box_format for _, box_format, _ in found}
    if len(formats) > 1:
        raise Unproven(f"rows are joined of boxes of the formats {', '.join(sorted(formats))}")
    return cut.joined([one[0] for one in found]), formats.pop(), cut.joined([one[2] for one in found])


def _known_format(name: str) -> Literal["xyxy", "yxyx", "cxcywh", "xywh"]:
    formats: tuple[Literal["xyxy", "yxyx", "cxcywh", "xywh"], ...] = ("xyxy", "yxyx", "cxcywh", "xywh")
    return next(one for one in formats if one == name)


def _bounds(reading: Reading, by_parts: bool) -> tuple[int | None, int | None]:
    """The most of a class and the most of all; None: any number."""
    limit = reading.suppression.most
    inner = limit.atom
    parts = inner.parts if isinstance(inner, Least) else frozenset((limit,))
    if any(part.number is None and part != reading.candidates for part in parts):
        raise Unproven("how many boxes of a class the NonMaxSuppression selects depends on data")
    numbers = [part.whole for part in parts if part.number is not None]
    known = [n for n in numbers if n is not None]
    if known and min(known) <= 0:
        raise Unproven("the NonMaxSuppression selects nothing: its most boxes of a class are 0")
    most = min(known) if known and min(known) < reading.anchors else None
    max_det, part_most = reading.limits.most, reading.limits.part_most
    if part_most is not None:
        most = part_most if most is None else min(most, part_most)
    if most is not None and reading.classes_of_operator == 1 and not by_parts:
        return None, most if max_det is None else min(most, max_det)
    if most is not None and max_det is not None and most >= max_det:
        most = None
    return most, max_det


def _separation(
    model: OnnxModel, reader: Reader, readings: Sequence[Reading], joined: _Joined
) -> tuple[bool, float | None, Coordinates]:
    """Whether classes suppress one another, by how much they are moved apart, and the unit of boxes."""
    reading = joined.reading
    by_operator = reading.classes_of_operator > 1 or len({one.node for one in readings}) > 1
    steps = []
    for parts in [[one] for one in joined.levels] or [list(readings)]:
        label = reader.deep(parts[0].scores.label)
        for axis in ("x", "y"):
            offsets = [(getattr(one.offset, axis), one.label or number(0)) for one in parts]
            steps.append(class_step(offsets, label))
    if steps != steps[:2] * (len(steps) // 2):
        raise Unproven("rows are joined of parts whose classes are moved apart by different amounts")
    moving = [step for step in steps if step.terms]
    if by_operator:
        return False, None, _bounded(reader, reading)
    if reading.scores.classes == 1:
        return False, None, _bounded(reader, reading)
    if not moving:
        return True, None, _bounded(reader, reading)
    return _moved(model, reader, reading, moving)


def _moved(
    model: OnnxModel, reader: Reader, reading: Reading, moving: Sequence[Expression]
) -> tuple[bool, float | None, Coordinates]:
    bounded = _bounded(reader, reading)
    for step in moving:
        if any(isinstance(atom, Largest) for atom in step.atoms()):
            if step.constant < 0 or any(x < 0 for x in step.terms.values()):
                raise Unproven("classes are moved apart by less than the largest coordinate")
            return False, None, bounded
    apart = max(abs(step.constant) for step in moving)
    side = _side(model)
    if bounded == "fractions" or (bounded is None and apart <= _LARGEST_FRACTION):
        if bounded is None or apart < 1:
            raise Unproven(f"classes are moved apart by {apart:g}, in a unit that is not known")
        return False, apart, bounded
    if side is None or apart < side * 0.999:
        raise Unproven(f"classes are moved apart by {apart:g}, which is less than the picture's side")
    return False, apart, "pixels"


def _side(model: OnnxModel) -> int | None:
    """The longer side of the picture that the network takes; None: that is free."""
    for spec in model.facts.inputs:
        # Of pictures one by one there is no batch.
        sizes = [n for n in spec.shape[-3:] if isinstance(n, int)]
        if len(spec.shape) in (3, 4) and len(sizes) == 3:
            return max(sizes)
    return None


def _bounded(reader: Reader, reading: Reading) -> Coordinates:
    """What the bounds of clipped boxes tell of their unit."""
    bounds = {
        atom.high for one in reading.boxes for atom in reader.deep(one).atoms() if isinstance(atom, Clipped)
    }
    if not bounds:
        return None
    return "fractions" if bounds == {1.0} else "pixels" if min(bounds) > _LARGEST_FRACTION else None


def _told(reading: Reading, tails: Sequence[ir.Value], is_tensorflow: bool) -> tuple[str, ...]:
    """A line for each output of the tail: what its columns were."""
    turned = {"x1": "y1", "y1": "x1", "x2": "y2", "y2": "x2"} if is_tensorflow else {}
    lines = []
    for output in tails:
        roles = [role for (name, _), role in sorted(reading.roles.items()) if name == output.name]
        lines.append(f"{output.name}: {', '.join(turned.get(role, role) for role in roles) or 'count'}")
    return tuple(lines)

"""Which outputs of a network lie on the cells of which strides: evidence for brands, and for drafts."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from edgecv.errors import HeadError
from edgecv.heads.cells import cell_count, cells_wh
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import ModelFacts, TensorSpec

# Strides that detectors use; each set is those of one network, its outputs apart.
STRIDE_SETS = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (8, 16, 32, 64, 128),
    (4, 8, 16, 32),
    (16, 32),
    (16,),
    (8,),
    (32,),
)
# Columns of distributions in use: NanoDet and PicoDet, YOLOv8 and later, Generalized Focal Loss.
BINS = {32: 8, 64: 16, 68: 17}
LANDMARKS = 10

_SHOWN = 8

# Columns of a cell, and names of outputs, one of each stride.
Group: TypeAlias = tuple[int, tuple[str, ...]]


class Found(msgspec.Struct, frozen=True):
    """Where an output lies. stride: pixels; width: columns or channels of a cell; is_map: of three axes."""

    stride: int
    width: int
    is_map: bool


def place(spec: TensorSpec, facts: ModelFacts, strides: tuple[int, ...], per_cell: int = 1) -> Found | None:
    """The one place on these strides where an output can lie; or None.

    The batch is its first axis, but that of a table may be missing. per_cell: rows or sets of channels of a
    cell.
    """
    shape, wh = spec.shape if len(spec.shape) == 2 else spec.shape[1:], facts.image_wh
    sizes = [size for size in shape if isinstance(size, int)]
    if wh is None or len(sizes) != len(shape) or len(sizes) not in (2, 3):
        return None
    found = set()
    for stride in strides:
        columns, rows = cells_wh(wh, stride)
        if len(sizes) == 2:
            cells = columns * rows * per_cell
            widths = [b for a, b in (sizes, sizes[::-1]) if a == cells]
        else:
            channels = [
                c for c, *on in (sizes, [sizes[2], *sizes[:2]]) if on == [rows, columns] and c % per_cell == 0
            ]
            widths = [c // per_cell for c in channels]
        found |= {Found(stride, width, len(sizes) == 3) for width in widths}
    return found.pop() if len(found) == 1 else None


def groups(
    facts: ModelFacts, strides: tuple[int, ...], *, per_cell: int = 1, maps: bool | None = None
) -> list[Group] | None:
    """Widths, and names of the outputs of each, one for each stride, in the order of the model; else None.

    Every output has to lie on one of these strides, and as many of a width on each. maps: whether all have to
    be of three axes, or none.
    """
    names: dict[int, dict[int, list[str]]] = {}
    for spec in facts.outputs:
        found = place(spec, facts, strides, per_cell)
        if found is None or maps not in (None, found.is_map):
            return None
        names.setdefault(found.width, {}).setdefault(found.stride, []).append(spec.name)
    if any(set(of) != set(strides) or len(set(map(len, of.values()))) != 1 for of in names.values()):
        return None
    return [
        (width, of_each)
        for width, of in names.items()
        for of_each in zip(*(of[stride] for stride in strides), strict=True)
    ]


def by_width(
    facts: ModelFacts, strides: tuple[int, ...], *, per_cell: int = 1, maps: bool | None = None
) -> dict[int, tuple[str, ...]] | None:
    """`groups`, where each has a width of its own."""
    found = groups(facts, strides, per_cell=per_cell, maps=maps)
    widths = dict(found or ())
    return widths if found and len(widths) == len(found) else None


class Pair(msgspec.Struct, frozen=True):
    """Names of scores and boxes, one of each a stride, and how many classes there are."""

    scores: tuple[str, ...]
    boxes: tuple[str, ...]
    classes: int


def beside(widths: dict[int, tuple[str, ...]] | None, box: int) -> Pair | None:
    """Where a box has so many columns and one other width is there, which are the classes."""
    others = set(widths or ()) - {box}
    if widths is None or box not in widths or len(others) != 1:
        return None
    (classes,) = others
    return Pair(widths[classes], widths[box], classes)


def are_logits(facts: ModelFacts, scores: tuple[str, ...]) -> bool:
    """Whether no sigmoid makes the scores; a graph that does not tell is taken to have one."""
    return bool(facts.ends) and any(facts.ends.get(name) != "Sigmoid" for name in scores)


def are_sums(facts: ModelFacts, names: tuple[str, ...]) -> bool:
    """Whether outputs of one column are sums of a cell's scores, which only help to skip cells."""
    return bool(names) and all(facts.ends.get(name) in ("Clip", "ReduceSum") for name in names)


def roles(facts: ModelFacts, head: str) -> dict[str, Any]:
    """The likeliest parameters of `distances` for a network's outputs. Raises HeadError; head names it there.

    Widths tell roles: 4 columns, or 4 sides of 8, 16 or 17 bins, are boxes; 10 of five landmarks; 1 beside
    others is objectness; as many as there are prototypes of masks are their coefficients; the rest are
    classes. In one output the box is first, as YOLOX and YOLOv8 have it.
    """
    if facts.image_wh is None:
        raise HeadError(f"{head} head: the size of the picture is not known, and its cells count: give imgsz")
    maps, others = without_prototypes(facts)
    for strides in STRIDE_SETS:
        for per_cell in (1, 2):
            found = groups(others, strides, per_cell=per_cell)
            fields = _fields(facts, found, maps) if found else None
            if fields is not None:
                return {**fields, "strides": strides, "anchors_per_cell": per_cell}
    for strides in STRIDE_SETS:
        found = joined(facts, strides)
        fields = _fields(facts, found) if found else None
        if fields is not None:
            return {**fields, "strides": strides}
    shapes = "; ".join(map(str, facts.outputs[:_SHOWN]))
    raise HeadError(
        f"{head} head: outputs {shapes}: expected a row or a pixel for each cell of strides 8, 16, 32 or "
        f"alike of a picture of {facts.image_wh[0]}x{facts.image_wh[1]}, with boxes and scores at each"
    )


def without_prototypes(facts: ModelFacts) -> tuple[TensorSpec | None, ModelFacts]:
    """The prototypes of masks, which are the only map of stride 4; and the network without them."""
    found = [spec for spec in facts.outputs if len(spec.shape) == 4 and place(spec, facts, (4,)) is not None]
    if len(found) != 1 or not isinstance(found[0].shape[1], int):
        return None, facts
    others = tuple(spec for spec in facts.outputs if spec is not found[0])
    return found[0], msgspec.structs.replace(facts, outputs=others)


def joined(facts: ModelFacts, strides: tuple[int, ...]) -> list[Group] | None:
    """Widths and names of tables that have a row, or a column, for each cell of all strides; else None."""
    cells = 0 if facts.image_wh is None else cell_count(facts.image_wh, strides)
    found: list[Group] = []
    for spec in facts.outputs:
        width = [size for size in spec.shape[1:] if size != cells]
        if len(spec.shape) != 3 or len(width) != 1 or not isinstance(width[0], int):
            return None
        found.append((width[0], (spec.name,)))
    return found


def _fields(facts: ModelFacts, found: list[Group], maps: TensorSpec | None = None) -> dict[str, Any] | None:
    if len(found) == 1 and maps is None:
        return _of_one(found[0][1], found[0][0], facts)
    masks = maps.shape[1] if maps is not None else None
    boxes_of = [width for width in (4, *BINS) if width in dict(found)]
    # Coefficients are often as many as the columns of some distribution.
    box = next((width for width in boxes_of if width != masks), None)
    if box is None:
        return None
    if box in BINS and len(found) > 2:
        found = [(width, names) for width, names in found if width != 1 or not are_sums(facts, names)]
    boxes = next(names for width, names in found if width == box)
    left = [(width, names) for width, names in found if names != boxes]
    coefficients = _popped(left, masks) if isinstance(masks, int) else ()
    if maps is not None and not coefficients:
        return None
    points = _popped(left, LANDMARKS)
    # Of two of one column the one that says so, else the latter, is no score.
    left.sort(key=lambda one: any(word in one[1][0].lower() for word in ("obj", "cent", "ctr")))
    factor = _popped(left[::-1], 1, left)
    if len(left) != 1:
        return None
    ((_, scores),) = left
    return {
        "scores": scores,
        "boxes": boxes,
        "objectness": factor,
        "keypoints": points,
        "coefficients": coefficients,
        "prototypes": maps.name if maps is not None else None,
        "bins": BINS.get(box, 0),
        "logits": are_logits(facts, scores),
    }


def _popped(found: list[Group], width: int, source: list[Group] | None = None) -> tuple[str, ...]:
    """The names of the first of a width, taken out of the source where others are left; else none."""
    source = found if source is None else source
    one = next((one for one in found if one[0] == width), None)
    if one is None or len(source) < 2:
        return ()
    source.remove(one)
    return one[1]


def _of_one(names: tuple[str, ...], width: int, facts: ModelFacts) -> dict[str, Any] | None:
    about = parse_metadata(facts.metadata)
    if width == 64 + (len(about.names) if about else 80):
        return {"output": names, "bins": 16, "logits": are_logits(facts, names)}
    if width == 32 + 80:
        return {"output": names, "columns": ("classes", "box"), "bins": 8, "cell_offset": 0.0}
    if width < 5:
        return None
    columns = ("box", "objectness", "classes") if width > 5 else ("box", "objectness")
    return {"output": names, "columns": columns, "code": "center", "cell_offset": 0.0}

"""Networks with tails as exporters write them, of random numbers; each ends in what its exporter gives out.

The idioms are those of the exporters' graphs, written anew. A network's input "raw" holds what a detector's
last layers would: boxes in the first four columns, logits behind them; "images" only states a size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgecv.graph.model import OnnxModel
from tests.graph.little import Net

N = 60
CLASSES = 5
SIDE = 64
INT = TensorProto.INT64
_ZERO = helper.make_tensor("zero", INT, [1], [0])


def start(columns: int, *, opset: int = 17, rows: bool = False) -> tuple[Net, str]:
    """A graph and its raw predictions: (1, columns, N), or (1, N, columns)."""
    net = Net(opset)
    net.input(1, 3, SIDE, SIDE, name="images")
    raw = net.input(*((1, N, columns) if rows else (1, columns, N)), name="raw")
    return net, raw


def cut(net: Net, value: str, first: int, last: int, axis: int) -> str:
    """A slice."""
    return net("Slice", value, *(net.const([one], np.int64) for one in (first, last, axis)))


def ints(net: Net, *numbers: int) -> str:
    return net.const(list(numbers), np.int64)


def unsqueeze(net: Net, value: str, *axes: int) -> str:
    if net.opset < 13:
        return net("Unsqueeze", value, axes=list(axes))
    return net("Unsqueeze", value, ints(net, *axes))


def squeeze(net: Net, value: str, *axes: int) -> str:
    if net.opset < 13:
        return net("Squeeze", value, axes=list(axes))
    return net("Squeeze", value, ints(net, *axes))


def corners(net: Net, boxes: str, axis: int) -> str:
    """cxcywh to xyxy."""
    center, size = cut(net, boxes, 0, 2, axis), cut(net, boxes, 2, 4, axis)
    half = net("Div", size, net.const(2.0))
    return net("Concat", net("Sub", center, half), net("Add", center, half), axis=axis)


def nms(
    net: Net, boxes: str, scores: str, *, most: str | int, iou: float, score: float | None, **more: Any
) -> str:
    limit = most if isinstance(most, str) else ints(net, most)
    operands = [boxes, scores, limit, net.const([iou])]
    if score is not None:
        operands.append(net.const([score]))
    return net("NonMaxSuppression", *operands, **more)


def column(net: Net, indices: str, which: int) -> str:
    """(rows, 3) to (rows,)."""
    return net("Gather", indices, net.const(which, np.int64), axis=1)


def size_of(net: Net, value: str, axis: int) -> str:
    """A vector of one size."""
    return net("Gather", net("Shape", value), ints(net, axis), axis=0)


def least(net: Net, a: str, b: str) -> str:
    """The smaller of two vectors of one number, as PyTorch writes it."""
    both = net("Concat", a, b, axis=0)
    if net.opset >= 18:
        return net("ReduceMin", both, ints(net, 0), keepdims=1)
    return net("ReduceMin", both, axes=[0], keepdims=1)


# ---- Ultralytics, nms=True


def ultralytics(
    *,
    opset: int = 17,
    agnostic: bool = False,
    extra: int = 0,
    choose: str = "gathernd",
    max_det: int = 12,
    centers: bool = False,
    at_least: bool = False,
    masks: bool = False,
    step: float = SIDE,
    best: str = "max",
    padded: bool = True,
    scattered: bool = False,
    traced: bool = False,
    iou: float = 0.45,
) -> OnnxModel:
    """The best class of each row, a mask, class offsets, NonMaxSuppression of one column, padding.

    traced: with what PyTorch's tracing adds to expand, pad and assign, and a third part of no columns.
    """
    net, raw = start(4 + CLASSES + extra, opset=opset)
    boxes, logits = cut(net, raw, 0, 4, 1), cut(net, raw, 4, 4 + CLASSES, 1)
    parts = [boxes, net("Sigmoid", logits)]
    if extra:
        parts.append(cut(net, raw, 4 + CLASSES, 4 + CLASSES + extra, 1))
    pred = net("Transpose", net("Concat", *parts, axis=1), perm=[0, 2, 1])
    boxes, scores = cut(net, pred, 0, 4, 2), cut(net, pred, 4, 4 + CLASSES, 2)
    if traced:
        boxes, scores, nothing = net("Split", pred, ints(net, 4, CLASSES, 0), outputs=3, axis=2)
    if centers:
        boxes = corners(net, boxes, 2)
    if best == "max":
        if opset >= 18:
            score = net("ReduceMax", scores, ints(net, 2), keepdims=0)
        else:
            score = net("ReduceMax", scores, axes=[2], keepdims=0)
        label = net("ArgMax", scores, axis=2, keepdims=0)
    else:
        score, label = net("TopK", scores, ints(net, 1), outputs=2, axis=2)
        score, label = squeeze(net, score, 2), squeeze(net, label, 2)
    zero = net.const(0, np.int64)
    box, score, label = (net("Gather", one, zero, axis=0) for one in (boxes, score, label))
    if at_least:
        mask = net("Not", net("Less", score, net.const(0.25)))
    else:
        mask = net("Greater", score, net.const(0.25))
    places = net("Transpose", net("NonZero", mask), perm=[1, 0])

    def take(value: str) -> str:
        if choose == "compress":
            return net("Compress", value, mask, axis=0)
        if choose == "gather":
            return net("Gather", value, squeeze(net, net("NonZero", mask), 0), axis=0)
        return net("GatherND", value, places)

    carried = []
    if traced:
        carried = [take(net("Gather", nothing, zero, axis=0))]
    if extra:
        others = net("Gather", cut(net, pred, 4 + CLASSES, 4 + CLASSES + extra, 2), zero, axis=0)
        carried = [take(others)]
    box, score, label = take(box), take(score), take(label)
    compared = box
    if not agnostic:
        scaled = net("Mul", net("Div", box, net.const(float(step))), net.const(1 / CLASSES))
        number = net("Reshape", label, net("Concat", net("Shape", label), ints(net, 1), axis=0))
        wanted = net("Concat", net("Shape", label), ints(net, 4), axis=0)
        if traced:
            free = net("Equal", wanted, ints(net, -1, -1))
            wanted = net("Where", free, ints(net, 1, 1), wanted)
        wide = net("Expand", number, wanted)
        shift = net("Mul", net("Cast", wide, to=TensorProto.FLOAT), net.const(1 / CLASSES))
        compared = net("Add", scaled, shift)
    of_all = net("Reshape", size_of(net, box, 0), ints(net, -1))
    selected = nms(
        net,
        unsqueeze(net, compared, 0),
        unsqueeze(net, unsqueeze(net, score, 0), 0),
        most=of_all,
        iou=iou,
        score=None,
    )
    keep = cut(net, squeeze(net, cut(net, selected, 2, 3, 1), 1), 0, max_det, 0)
    rows = [net("Gather", box, keep, axis=0)]
    rows.append(unsqueeze(net, net("Gather", score, keep, axis=0), 1))
    labels = net("Cast", unsqueeze(net, net("Gather", label, keep, axis=0), 1), to=TensorProto.FLOAT)
    rows.append(labels)
    rows += [net("Gather", one, keep, axis=0) for one in carried]
    out = net("Concat", *rows, axis=1)
    if padded:
        left = net("Sub", ints(net, max_det), size_of(net, out, 0))
        pads = net("Concat", ints(net, 0, 0), left, ints(net, 0), axis=0)
        if traced:
            half = net("Concat", ints(net, 0, 0, 0), left, axis=0)
            pairs = net("Reshape", half, ints(net, -1, 2))
            back = (ints(net, -1), ints(net, -(2**63 - 1)), ints(net, 0), ints(net, -1))
            turned = net("Transpose", net("Slice", pairs, *back), perm=[1, 0])
            pads = net("Cast", net("Reshape", turned, ints(net, -1)), to=INT)
        out = net("Pad", out, pads)
        if traced:
            zeros = net("ConstantOfShape", ints(net, 1, max_det, 6 + extra))
            return net.model(net("ScatterND", zeros, ints(net, 0), out))
        out = unsqueeze(net, out, 0)
        if scattered:
            zeros = net("ConstantOfShape", ints(net, 1, max_det, 6 + extra))
            out = net("ScatterND", zeros, net.const([[0]], np.int64), out)
    outputs = [out]
    if masks:
        outputs.append(net("Relu", "images"))
    return net.model(*outputs)


# ---- YOLOv7, end2end for ONNX Runtime


def yolov7(
    *, apart: float = 4096, flat: bool = False, classes: int = CLASSES, most: int = 10, opset: int = 13
) -> OnnxModel:
    """Boxes by a matrix, objectness times class, NonMaxSuppression of one column; rows of 7."""
    net, raw = start(5 + classes, opset=opset, rows=True)
    boxes, objectness = cut(net, raw, 0, 4, 2), net("Sigmoid", cut(net, raw, 4, 5, 2))
    matrix = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    boxes = net("MatMul", boxes, net.const(matrix))
    if classes == 1:
        scores = objectness
    else:
        scores = net("Mul", net("Sigmoid", cut(net, raw, 5, 5 + classes, 2)), objectness)
    score = net("ReduceMax", scores, axes=[2], keepdims=1)
    label = net("ArgMax", scores, axis=2, keepdims=1)
    compared = boxes
    if apart:
        compared = net(
            "Add", boxes, net("Mul", net("Cast", label, to=TensorProto.FLOAT), net.const(float(apart)))
        )
    selected = nms(net, compared, net("Transpose", score, perm=[0, 2, 1]), most=most, iou=0.45, score=0.25)
    batch, at = column(net, selected, 0), column(net, selected, 2)

    def take(value: str, columns: int) -> str:
        if not flat:
            return net(
                "GatherND", value, net("Concat", unsqueeze(net, batch, 1), unsqueeze(net, at, 1), axis=1)
            )
        place = net("Add", net("Mul", batch, size_of(net, value, 1)), at)
        return net("Gather", net("Reshape", value, ints(net, -1, columns)), place, axis=0)

    numbers = net("Cast", unsqueeze(net, batch, 1), to=TensorProto.FLOAT)
    labels = net("Cast", take(label, 1), to=TensorProto.FLOAT)
    return net.model(net("Concat", numbers, take(boxes, 4), labels, take(score, 1), axis=1))


# ---- YOLOX and PINTO: every class a column of NonMaxSuppression


def yolox(*, most: int = 8, form: str = "rows", turned: bool = False, score: float = 0.3) -> OnnxModel:
    """NonMaxSuppression over (1, classes, N); rows of 7, or three outputs; turned: compared y first."""
    net, raw = start(5 + CLASSES, rows=True)
    boxes = corners(net, cut(net, raw, 0, 4, 2), 2)
    scores = net(
        "Mul", net("Sigmoid", cut(net, raw, 4, 5, 2)), net("Sigmoid", cut(net, raw, 5, 5 + CLASSES, 2))
    )
    scores = net("Transpose", scores, perm=[0, 2, 1])
    if turned:
        boxes = net("Gather", boxes, ints(net, 1, 0, 3, 2), axis=2)
    selected = nms(net, boxes, scores, most=most, iou=0.5, score=score)
    batch, label, at = (column(net, selected, which) for which in range(3))
    found = net("Gather", net("Gather", boxes, net.const(0, np.int64), axis=0), at, axis=0)
    if turned:
        order = [cut(net, found, k, k + 1, 1) for k in (1, 0, 3, 2)]
        found = net("Concat", *order, axis=1)
    best = unsqueeze(net, net("GatherND", scores, selected), 1)
    if form == "apart":
        return net.model(found, squeeze(net, best, 1), label, kinds={label: INT})
    parts = [net("Cast", unsqueeze(net, one, 1), to=TensorProto.FLOAT) for one in (batch, label)]
    if form == "pinto":
        return net.model(net("Concat", *parts, best, found, axis=1))
    return net.model(net("Concat", parts[0], found, parts[1], best, axis=1))


def flat_scores() -> OnnxModel:
    """Scores read by class * N + box out of one line, ranked over all classes."""
    net, raw = start(4 + CLASSES)
    boxes = net("Transpose", cut(net, raw, 0, 4, 1), perm=[0, 2, 1])
    scores = net("Sigmoid", cut(net, raw, 4, 4 + CLASSES, 1))
    selected = nms(net, boxes, scores, most=7, iou=0.5, score=0.2)
    label, at = column(net, selected, 1), column(net, selected, 2)
    place = net("Add", net("Mul", label, net.const(N, np.int64)), at)
    found = net("Gather", net("Reshape", scores, ints(net, -1)), place, axis=0)
    count = least(net, size_of(net, found, 0), ints(net, 9))
    best, order = net("TopK", found, count, outputs=2, axis=0)
    box = net("Gather", net("Gather", squeeze(net, boxes, 0), at, axis=0), order, axis=0)
    labels = net("Gather", label, order, axis=0)
    return net.model(box, best, labels, kinds={labels: INT})


def centered() -> OnnxModel:
    """Boxes compared by center and size, given out as they are."""
    net, raw = start(4 + CLASSES)
    boxes = net("Transpose", cut(net, raw, 0, 4, 1), perm=[0, 2, 1])
    scores = net("Sigmoid", cut(net, raw, 4, 4 + CLASSES, 1))
    selected = nms(net, boxes, scores, most=N, iou=0.4, score=0.3, center_point_box=1)
    label, at = column(net, selected, 1), column(net, selected, 2)
    box = net("Gather", squeeze(net, boxes, 0), at, axis=0)
    best = net("GatherND", scores, selected)
    return net.model(box, best, label, kinds={label: INT})


def yolov5(*, behind: bool = False, most: int = 11) -> OnnxModel:
    """Every class over a threshold is a candidate: a mask of rows and classes; boxes moved by class * 4096.

    behind: objectness and class are multiplied for the candidates alone.
    """
    net, raw = start(5 + CLASSES, rows=True)
    boxes = squeeze(net, corners(net, cut(net, raw, 0, 4, 2), 2), 0)
    objectness = squeeze(net, net("Sigmoid", cut(net, raw, 4, 5, 2)), 0)
    of_class = squeeze(net, net("Sigmoid", cut(net, raw, 5, 5 + CLASSES, 2)), 0)
    scores = net("Mul", of_class, objectness)
    places = net("Transpose", net("NonZero", net("Greater", scores, net.const(0.3))), perm=[1, 0])
    at, label = column(net, places, 0), column(net, places, 1)
    score = net("GatherND", scores, places)
    if behind:
        of_row = net("Gather", net("Reshape", objectness, ints(net, -1)), at, axis=0)
        score = net("Mul", net("GatherND", of_class, places), of_row)
    box = net("Gather", boxes, at, axis=0)
    shift = unsqueeze(net, net("Mul", net("Cast", label, to=TensorProto.FLOAT), net.const(4096.0)), 1)
    compared = unsqueeze(net, net("Add", box, shift), 0)
    wide = unsqueeze(net, unsqueeze(net, score, 0), 0)
    selected = nms(net, compared, wide, most=most, iou=0.5, score=0.1)
    keep = column(net, selected, 2)
    rows = [net("Gather", one, keep, axis=0) for one in (box, score, label)]
    rows[2] = net("Cast", rows[2], to=TensorProto.FLOAT)
    return net.model(net("Concat", rows[0], *(unsqueeze(net, one, 1) for one in rows[1:]), axis=1))


# ---- TensorFlow: NonMaxSuppression for each class, joined, ranked


def tensorflow(*, most: int = 6, total: int = 10, classes: int = CLASSES, background: int = 1) -> OnnxModel:
    """y1, x1, y2, x2 as parts of the picture, which are clipped; the class 0 is the background."""
    net, raw = start(4 + background + classes, rows=True)
    boxes = net("Clip", cut(net, raw, 0, 4, 2), net.const(0.0), net.const(1.0))
    scores = net("Sigmoid", cut(net, raw, 4, 4 + background + classes, 2))
    flat_boxes = squeeze(net, boxes, 0)
    rows: list[list[str]] = [[], [], []]
    for k in range(classes):
        of_class = net("Transpose", cut(net, scores, background + k, background + k + 1, 2), perm=[0, 2, 1])
        selected = nms(net, boxes, of_class, most=most, iou=0.5, score=0.2)
        at = column(net, selected, 2)
        rows[0].append(net("Gather", flat_boxes, at, axis=0))
        rows[1].append(net("Gather", net("Reshape", of_class, ints(net, -1)), at, axis=0))
        label = net("ConstantOfShape", size_of(net, at, 0))
        rows[2].append(net("Add", label, net.const(float(k + background))))
    box, score, label = (net("Concat", *one, axis=0) for one in rows)
    count = least(net, size_of(net, score, 0), ints(net, total))
    best, order = net("TopK", score, count, outputs=2, axis=0)
    box, label = net("Gather", box, order, axis=0), net("Gather", label, order, axis=0)
    left = net("Sub", ints(net, total), size_of(net, best, 0))
    more = net("Concat", ints(net, 0), left, axis=0)
    names = ["detection_boxes", "detection_scores", "detection_classes", "num_detections"]
    box = net("Pad", box, net("Concat", ints(net, 0, 0), left, ints(net, 0), axis=0))
    values = [box, net("Pad", best, more), net("Pad", label, more)]
    values = [unsqueeze(net, one, 0) for one in values]
    values.append(net("Cast", count, to=TensorProto.FLOAT))
    for name, value in zip(names, values, strict=True):
        for node in net.nodes:
            node.output[:] = [name if one == value else one for one in node.output]
            node.input[:] = [name if one == value else one for one in node.input]
    return net.model(*names)


# ---- torchvision: a mask and a rank for each class, joined, moved apart by the largest coordinate


def torchvision(
    *, most: int = 12, candidates: int = 15, classes: int = CLASSES, branch: bool = False
) -> OnnxModel:
    """As its SSD: softmax with a background, boxes clipped to the picture."""
    net, raw = start(5 + classes, rows=True)
    boxes = squeeze(net, corners(net, cut(net, raw, 0, 4, 2), 2), 0)
    boxes = net("Clip", boxes, net.const(0.0), net.const(float(SIDE)))
    favored = net.const([3.0] + [0.0] * classes)
    logits = net("Add", cut(net, raw, 4, 5 + classes, 2), favored)
    scores = squeeze(net, net("Softmax", logits, axis=-1), 0)
    rows: list[list[str]] = [[], [], []]
    for k in range(1, classes + 1):
        of_class = net("Gather", scores, net.const(k, np.int64), axis=1)
        mask = net("Greater", of_class, net.const(0.1))
        places = net("Transpose", net("NonZero", mask), perm=[1, 0])
        score, box = net("GatherND", of_class, places), net("GatherND", boxes, places)
        count = least(net, size_of(net, score, 0), ints(net, candidates))
        score, order = net("TopK", score, count, outputs=2, axis=0)
        rows[0].append(net("Gather", box, order, axis=0))
        rows[1].append(score)
        rows[2].append(net("Expand", net.const(k, np.int64), net("Shape", score)))
    box, score, label = (net("Concat", *one, axis=0) for one in rows)
    if branch:
        is_empty = net("Equal", net("Size", box), net.const(0, np.int64))
        before = len(net.nodes)
        kept = _batched_nms(net, box, score, label)
        inner = net.nodes[before:]
        del net.nodes[before:]
        made = {name: f"inner/{name}" for node in inner for name in node.output}
        for node in inner:
            node.input[:] = [made.get(name, name) for name in node.input]
            node.output[:] = [made[name] for name in node.output]
        kept = made[kept]
        none = helper.make_node("ConstantOfShape", [ints(net, 0)], ["none"], value=_ZERO)
        branches = [
            helper.make_graph(
                nodes, "branch", [], [helper.make_tensor_value_info(name, TensorProto.INT64, ["n"])]
            )
            for nodes, name in (([none], "none"), (inner, kept))
        ]
        kept = net("If", is_empty, then_branch=branches[0], else_branch=branches[1])
    else:
        kept = _batched_nms(net, box, score, label)
    keep = cut(net, kept, 0, most, 0)
    outputs = [net("Gather", one, keep, axis=0) for one in (box, score, label)]
    return net.model(*outputs, kinds={outputs[2]: INT})


def _batched_nms(net: Net, box: str, score: str, label: str) -> str:
    largest = net("ReduceMax", box, keepdims=0)
    step = net("Add", largest, net.const(1.0))
    shift = net("Mul", net("Cast", label, to=TensorProto.FLOAT), step)
    compared = net("Add", box, unsqueeze(net, shift, 1))
    wide = unsqueeze(net, unsqueeze(net, score, 0), 0)
    count = size_of(net, box, 0)
    selected = nms(net, unsqueeze(net, compared, 0), wide, most=count, iou=0.45, score=None)
    return squeeze(net, cut(net, selected, 2, 3, 1), 1)


def raw_of(model: OnnxModel, boxes: str, kind: str, seed: int) -> dict[str, np.ndarray]:
    """Inputs: clusters of boxes with several objects of each class, or none over any threshold."""
    rng = np.random.default_rng(seed)
    spec = next(one for one in model.facts.inputs if one.name == "raw")
    rows = spec.shape[1] == N
    columns = int(spec.shape[2] if rows else spec.shape[1])  # type: ignore[arg-type]
    raw = rng.normal(-1, 2, (N, columns)).astype(np.float32)
    if kind == "none":
        raw[:, 4:] = rng.uniform(-9, -8.5, (N, columns - 4))
    raw[:, :4] = BOXES[boxes](rng)
    return {"images": np.zeros((1, 3, SIDE, SIDE), np.float32), "raw": (raw if rows else raw.T)[None]}


def _centers(rng: np.random.Generator) -> np.ndarray:
    center = np.repeat(rng.uniform(12, SIDE - 12, (N // 5, 2)), 5, axis=0) + rng.normal(0, 1.5, (N, 2))
    return np.concatenate([center, rng.uniform(8, 20, (N, 2))], axis=1)


def _corners(rng: np.random.Generator) -> np.ndarray:
    box = _centers(rng)
    return np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1)


BOXES: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {
    "corners": _corners,
    "centers": _centers,
    "past the edges": lambda rng: _corners(rng) + rng.choice([-SIDE, 0, SIDE], (N, 1)),
    "fractions": lambda rng: _corners(rng)[:, [1, 0, 3, 2]] / SIDE,
    "offsets": lambda rng: rng.normal(0, 0.5, (N, 4)),
    "sides": lambda rng: rng.uniform(0.4, 1.8, (N, 4)),
}

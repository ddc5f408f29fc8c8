"""Tails of torchvision's detectors as PyTorch's exporter writes them: levels joined, and boxes that are
decoded behind the choice of pairs of a box and a class.

The idioms are those of the exporter's graphs of `RetinaNet` and `FCOS`, written anew, of random numbers.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgecv.graph.model import OnnxModel
from tests.graph.little import Net
from tests.graph.tail_structures import (
    CLASSES,
    INT,
    SIDE,
    N,
    cut,
    ints,
    least,
    size_of,
    squeeze,
    start,
    unsqueeze,
)

# Boxes of each level.
LEVELS = (40, 20)


def retinanet(
    *,
    most: int = 12,
    candidates: int = 25,
    classes: int = CLASSES,
    sides: bool = False,
    differ: bool = False,
    scale: float = 1.0,
) -> OnnxModel:
    """Of each level the best pairs over a threshold, boxes of their priors, clipped; then one NMS of all.

    sides: as FCOS, distances from a prior's center to the sides, and scores with a centerness; as
    RetinaNet, offsets and exponentials of sizes. differ: thresholds of the levels do. scale: of the boxes
    behind the NMS.
    """
    net, raw = start(5 + classes, rows=True)
    rows: list[list[str]] = [[], [], []]
    first = 0
    for level, count in enumerate(LEVELS):
        part = cut(net, raw, first, first + count, 1)
        threshold = 0.3 if differ and level else 0.2
        found = _of_level(net, part, count, classes, candidates, sides, threshold)
        for column, one in zip(rows, found, strict=True):
            column.append(one)
        first += count
    box, score, label = (net("Concat", *one, axis=0) for one in rows)
    kept = batched_nms(net, box, score, label)
    keep = cut(net, kept, 0, most, 0)
    box, score, label = (net("Gather", one, keep, axis=0) for one in (box, score, label))
    box = net("Mul", box, net.const(scale))
    return net.model(box, score, label, kinds={label: INT})


def _of_level(
    net: Net, raw: str, count: int, classes: int, candidates: int, sides: bool, threshold: float
) -> tuple[str, str, str]:
    """Boxes, scores and labels of one level. raw: (1, count, 5 + classes)."""
    raw = squeeze(net, raw, 0)
    scores = net("Sigmoid", cut(net, raw, 4, 4 + classes, 1))
    if sides:
        centerness = net("Sigmoid", cut(net, raw, 4 + classes, 5 + classes, 1))
        scores = net("Sqrt", net("Mul", scores, centerness))
    flat = net("Reshape", scores, ints(net, -1))
    places = net("Transpose", net("NonZero", net("Greater", flat, net.const(threshold))), perm=[1, 0])
    score, pair = net("GatherND", flat, places), squeeze(net, places, 1)
    best = least(net, ints(net, candidates), size_of(net, score, 0))
    score, order = net("TopK", score, best, outputs=2, axis=0)
    pair = net("Gather", pair, order, axis=0)
    at, label = _floor(net, pair, classes), net("Mod", pair, net.const(classes, np.int64))
    table = net("Gather", cut(net, raw, 0, 4, 1), at, axis=0)
    prior = net("Gather", net.const(_priors(count)), at, axis=0)
    low, high = cut(net, prior, 0, 2, 1), cut(net, prior, 2, 4, 1)
    size, own = net("Sub", high, low), net("Div", table, net.const(2.0))
    center = net("Add", low, net("Mul", net.const(0.5), size))
    if sides:
        corners = [
            net("Sub", center, net("Mul", size, cut(net, own, 0, 2, 1))),
            net("Add", center, net("Mul", size, cut(net, own, 2, 4, 1))),
        ]
    else:
        center = net("Add", center, net("Mul", size, cut(net, own, 0, 2, 1)))
        grown = net("Clip", cut(net, own, 2, 4, 1), "", net.const(float(np.log(1000 / 16))))
        half = net("Mul", net.const(0.5), net("Mul", size, net("Exp", grown)))
        corners = [net("Sub", center, half), net("Add", center, half)]
    box = net("Concat", *corners, axis=1)
    box = net("Min", net("Max", box, net.const(0.0)), net.const(float(SIDE)))
    return net("Reshape", box, net("Shape", table)), score, label


def _priors(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    center = rng.uniform(8, SIDE - 8, (count // 4, 2)).repeat(4, axis=0) + rng.normal(0, 1, (count, 2))
    half = rng.uniform(5, 9, (count, 2))
    return np.concatenate([center - half, center + half], axis=1).astype(np.float32)


def _floor(net: Net, value: str, by: int) -> str:
    """PyTorch's division that rounds down: a quotient less one where signs differ and a rest is left."""
    zero, divisor = net.const(0, np.int64), net.const(by, np.int64)
    quotient = net("Div", value, divisor)
    differ = net("Xor", net("Less", value, zero), net("Less", divisor, zero))
    has_rest = net("Not", net("Equal", net("Mod", value, divisor), zero))
    lower = net("Sub", quotient, net.const(1, np.int64))
    return net("Where", net("And", differ, has_rest), lower, quotient)


def batched_nms(net: Net, box: str, score: str, label: str, *, iou: float = 0.45) -> str:
    """A scripted branch for no boxes at all, whose axes are constants of its own."""
    count = net("ReduceProd", net("Shape", box), keepdims=0)
    is_empty = net("Cast", net("Equal", count, net.const(0, np.int64)), to=TensorProto.BOOL)
    node = helper.make_node

    def constant(name: str, value: object, kind: type = np.int64) -> object:
        return node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, kind)))

    some = [
        constant("b/0", [0]),
        constant("b/0s", 0),
        constant("b/1", [1]),
        constant("b/2", [2]),
        constant("b/one", 1, np.float32),
        constant("b/all", [2**63 - 1]),
        constant("b/iou", [iou], np.float32),
        node("ReduceMax", [box], ["b/largest"], keepdims=0),
        node("Cast", [label], ["b/label"], to=TensorProto.FLOAT),
        node("Add", ["b/largest", "b/one"], ["b/step"]),
        node("Mul", ["b/label", "b/step"], ["b/shifts"]),
        # An axis that is made of a constant as all are.
        node("Unsqueeze", ["b/0s", "b/0"], ["b/axis"]),
        node("Slice", ["b/shifts", "b/0", "b/all", "b/axis", "b/1"], ["b/shift"]),
        node("Unsqueeze", ["b/shift", "b/1"], ["b/column"]),
        node("Add", [box, "b/column"], ["b/apart"]),
        node("Unsqueeze", ["b/apart", "b/0"], ["b/boxes"]),
        node("Unsqueeze", [score, "b/0"], ["b/row"]),
        node("Unsqueeze", ["b/row", "b/0"], ["b/scores"]),
        node("NonMaxSuppression", ["b/boxes", "b/scores", "b/all", "b/iou"], ["b/selected"]),
        node("Gather", ["b/selected", "b/2"], ["b/index"], axis=1),
        node("Squeeze", ["b/index", "b/1"], ["b/kept"]),
    ]
    graphs = [
        helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, INT, ["n"])])
        for nodes, name in (([constant("b/none", [])], "b/none"), (some, "b/kept"))
    ]
    return net("If", is_empty, then_branch=graphs[0], else_branch=graphs[1])


def two_stages() -> OnnxModel:
    """An NMS over what is computed of another's boxes, as the second stage of Faster R-CNN."""
    net, raw = start(4 + CLASSES, rows=True)
    boxes = cut(net, squeeze(net, raw, 0), 0, 4, 1)
    scores = net("Sigmoid", squeeze(net, cut(net, raw, 4, 5, 2), 0, 2))
    labels = net.const(np.zeros(N), np.int64)
    kept = cut(net, batched_nms(net, boxes, scores, labels), 0, 20, 0)
    pooled = net("Gather", squeeze(net, raw, 0), kept, axis=0)
    logits = net("MatMul", pooled, net.const(np.random.default_rng(0).normal(0, 0.1, (4 + CLASSES, 1))))
    second = net("Sigmoid", squeeze(net, logits, 1))
    box = net("Gather", boxes, kept, axis=0)
    wide = [unsqueeze(net, box, 0), unsqueeze(net, second, 0, 1)]
    selected = net("NonMaxSuppression", *wide, ints(net, 9), net.const([0.5]))
    last = net("Gather", selected, net.const(2, np.int64), axis=1)
    return net.model(*(net("Gather", one, last, axis=0) for one in (box, second)))

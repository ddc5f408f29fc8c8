"""Tails that stay: whatever the graph does not prove has a reason. And the plugins of TensorRT."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import Found, find_tail
from tests.graph import tail_levels as levels
from tests.graph import tail_structures as tails
from tests.graph.evaluate import run_proto
from tests.graph.little import Net
from tests.graph.tail_structures import CLASSES, N, column, cut, ints, nms, squeeze, start, unsqueeze

Array = np.ndarray


class Plain:
    """A tail of every class, put together step by step, for one of them to be changed."""

    def __init__(self, *, batch: int = 1, size: int | str = N) -> None:
        self.net = net = Net(17)
        net.input(1, 3, 64, 64, name="images")
        raw = net.input(batch, size, 4 + CLASSES, name="raw")
        self.raw = raw
        self.boxes = cut(net, raw, 0, 4, 2)
        self.rows_first = net("Sigmoid", cut(net, raw, 4, 4 + CLASSES, 2))
        self.scores = net("Transpose", self.rows_first, perm=[0, 2, 1])

    def select(self, **changed: Any) -> Plain:
        net = self.net
        self.selected = nms(net, self.boxes, self.scores, **{"most": 9, "iou": 0.5, "score": 0.3, **changed})
        self.label, self.at = column(net, self.selected, 1), column(net, self.selected, 2)
        pair = [unsqueeze(net, one, 1) for one in (column(net, self.selected, 0), self.at)]
        self.box = net("GatherND", self.boxes, net("Concat", *pair, axis=1))
        self.score = net("GatherND", self.scores, self.selected)
        return self

    def model(self, box: str = "", score: str = "", label: str = "") -> OnnxModel:
        box, score, label = box or self.box, score or self.score, label or self.label
        return self.net.model(box, score, label, kinds={label: TensorProto.INT64})

    def taken(self, value: str, order: str) -> str:
        return self.net("Gather", value, order, axis=0)


def in_class_order() -> OnnxModel:
    plain = Plain()
    plain.select()
    rows = [cut(plain.net, one, 0, 7, 0) for one in (plain.box, plain.score, plain.label)]
    return plain.model(*rows)


def not_the_first() -> OnnxModel:
    plain = Plain().select()
    rows = [cut(plain.net, one, 2, 1000, 0) for one in (plain.box, plain.score, plain.label)]
    return plain.model(*rows)


def ranked_by_size() -> OnnxModel:
    plain = Plain().select()
    net = plain.net
    width = net("Sub", *(squeeze(net, cut(net, plain.box, k, k + 1, 1), 1) for k in (2, 0)))
    _, order = net("TopK", width, ints(net, 4), outputs=2, axis=0)
    return plain.model(*(plain.taken(one, order) for one in (plain.box, plain.score, plain.label)))


def left_out_by_size() -> OnnxModel:
    plain = Plain().select()
    net = plain.net
    width = net("Sub", *(squeeze(net, cut(net, plain.box, k, k + 1, 1), 1) for k in (2, 0)))
    wide = squeeze(net, net("NonZero", net("Greater", width, net.const(2.0))), 0)
    return plain.model(*(plain.taken(one, wide) for one in (plain.box, plain.score, plain.label)))


def of_other_boxes() -> OnnxModel:
    plain = Plain().select()
    other = squeeze(plain.net, cut(plain.net, plain.raw, 1, 5, 2), 0)
    return plain.model(box=plain.taken(other, plain.at))


def of_the_next_box() -> OnnxModel:
    plain = Plain().select()
    following = plain.net("Add", plain.at, plain.net.const(1, np.int64))
    return plain.model(box=plain.taken(squeeze(plain.net, plain.boxes, 0), following))


def other_class() -> OnnxModel:
    plain = Plain().select()
    best = squeeze(plain.net, plain.net("ArgMax", plain.rows_first, axis=2, keepdims=0), 0)
    return plain.model(label=plain.taken(best, plain.at))


def doubled_score() -> OnnxModel:
    plain = Plain().select()
    return plain.model(score=plain.net("Mul", plain.score, plain.net.const(2.0)))


def rooted_score() -> OnnxModel:
    plain = Plain().select()
    return plain.model(score=plain.net("Sqrt", plain.score))


def blanked_score() -> OnnxModel:
    plain = Plain().select()
    net = plain.net
    low = net("Less", plain.score, net.const(0.5))
    return plain.model(score=net("Where", low, net.const(0.0), plain.score))


def twice() -> OnnxModel:
    plain = Plain().select()
    net = plain.net
    wide = (unsqueeze(net, plain.box, 0), unsqueeze(net, unsqueeze(net, plain.score, 0), 0))
    keep = column(net, nms(net, *wide, most=5, iou=0.3, score=0.1), 2)
    return plain.model(*(plain.taken(one, keep) for one in (plain.box, plain.score, plain.label)))


def indices_alone() -> OnnxModel:
    plain = Plain().select()
    return plain.net.model(plain.selected, kinds={plain.selected: TensorProto.INT64})


def given_threshold() -> OnnxModel:
    plain = Plain()
    net = plain.net
    net.input(1, name="conf")
    operands = [plain.boxes, plain.scores, ints(net, 9), net.const([0.5]), "conf"]
    plain.selected = net("NonMaxSuppression", *operands)
    plain.label, plain.at = column(net, plain.selected, 1), column(net, plain.selected, 2)
    plain.box = plain.taken(squeeze(net, plain.boxes, 0), plain.at)
    return plain.model(score=net("GatherND", plain.scores, plain.selected))


def shifted_along_the_rows() -> OnnxModel:
    plain = Plain()
    net = plain.net
    plain.boxes = net("Add", plain.boxes, net("Mul", cut(net, plain.raw, 5, 6, 2), net.const(9.0)))
    whole = cut(net, plain.raw, 0, 4, 2)
    plain.select()
    return plain.model(box=plain.taken(squeeze(net, whole, 0), plain.at))


def masks_by_row() -> OnnxModel:
    plain = Plain().select()
    net = plain.net
    product = net("MatMul", plain.box, net("Reshape", "images", ints(net, 4, -1)))
    return net.model(plain.box, plain.score, plain.label, product, kinds={plain.label: TensorProto.INT64})


REFUSED: dict[str, tuple[Callable[[], OnnxModel], str]] = {
    "two stages": (levels.two_stages, "another NonMaxSuppression selects: a detector of two stages"),
    "levels that differ": (lambda: levels.retinanet(differ=True), "parts that differ in more than their"),
    "cut off in the order of classes": (in_class_order, "in another order than that of scores"),
    "not the first rows": (not_the_first, "takes other rows than the first"),
    "ranked by size": (ranked_by_size, "ranked by other than their score"),
    "left out by size": (left_out_by_size, "left out by other than their score"),
    "other boxes": (of_other_boxes, "are not those that the NonMaxSuppression compares"),
    "the next box": (of_the_next_box, "are not those that the NonMaxSuppression compares"),
    "another class": (other_class, "0 columns of the outputs are the class"),
    "twice the score": (doubled_score, "0 columns of the outputs are the score"),
    "the root of the score": (rooted_score, r"\(Sqrt\) stands behind the NonMaxSuppression"),
    "low scores are 0": (blanked_score, "0 columns of the outputs are the score|depend on a condition"),
    "NonMaxSuppression twice": (twice, "another NonMaxSuppression selects"),
    "indices alone": (indices_alone, "0 columns of the outputs are the score|have no boxes"),
    "a threshold that is given": (given_threshold, "its thresholds are not constant"),
    "moved by other than the class": (shifted_along_the_rows, "not those that|other than a multiple"),
    "masks by row": (masks_by_row, r"\(MatMul\) is not by a small constant matrix"),
    "nothing selected": (lambda: Plain().select(most=0).model(), "selects nothing"),
    "a batch": (lambda: Plain(batch=2).select().model(), "several pictures at once"),
    "a free size": (lambda: Plain(size="n").select().model(), "the size of input raw.* is free"),
    "a small offset": (lambda: tails.ultralytics(step=16), "apart by 16, which is less than"),
    "an offset of no unit": (lambda: tails.ultralytics(step=1), "apart by 1, in a unit that is not known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_proven_stays(case: str) -> None:
    make, reason = REFUSED[case]
    found = find_tail(make())
    assert isinstance(found, str)
    assert "\n" not in found
    assert re.search(reason, found), found


def test_the_same_steps_unchanged_are_cut() -> None:
    assert isinstance(find_tail(Plain().select().model()), Found)


def test_a_free_size_is_named() -> None:
    model = Plain(size="n").select().model()
    found = find_tail(model, {"raw": (1, N, 4 + CLASSES)})
    assert isinstance(found, Found)
    assert found.tail.classes == CLASSES


def test_networks_without_a_tail() -> None:
    net, raw = start(9)
    assert find_tail(net.model(net("Relu", raw))) is None


def test_the_line() -> None:
    found = find_tail(tails.ultralytics())
    assert isinstance(found, Found)
    assert str(found.tail) == (
        "the network's own NonMaxSuppression is replaced by edgecv's: IoU 0.45, confidence over 0.25, "
        "at most 12, class by class"
    )


# ---- Plugins

EFFICIENT = {"score_threshold": 0.25, "iou_threshold": 0.65, "max_output_boxes": 20, "background_class": -1}
BATCHED = {
    "shareLocation": 1,
    "backgroundLabelId": 0,
    "numClasses": CLASSES,
    "topK": 30,
    "keepTopK": 20,
    "scoreThreshold": 0.25,
    "iouThreshold": 0.5,
    "isNormalized": 0,
    "clipBoxes": 0,
}


def plugin(
    op: str = "EfficientNMS_TRT",
    fields: Mapping[str, Any] = EFFICIENT,
    *,
    domain: str = "TRT",
    wide: bool = False,
    cast: bool = False,
    scaled: bool = False,
) -> OnnxModel:
    """A network that ends in a plugin."""
    net, raw = start(4 + CLASSES, rows=True)
    boxes, scores = cut(net, raw, 0, 4, 2), net("Sigmoid", cut(net, raw, 4, 4 + CLASSES, 2))
    given = unsqueeze(net, boxes, 2) if wide else boxes
    count, box, score, label = net(op, given, scores, outputs=4, domain=domain, **fields)
    if cast:
        label = net("Cast", label, to=TensorProto.INT64)
    if scaled:
        box = net("Exp", box)
    kinds = {count: TensorProto.INT32, label: TensorProto.INT64 if cast else TensorProto.INT32}
    return net.model(count, box, score, label, kinds=kinds)


PLUGINS: dict[str, tuple[OnnxModel, dict[str, object]]] = {
    "efficient": (
        plugin(),
        {"iou": 0.65, "confidence": 0.25, "max_det": 20, "background": None, "multi_label": True},
    ),
    "efficient, domain left out": (plugin(domain=""), {"iou": 0.65}),
    "efficient, cast": (plugin(cast=True), {"max_det": 20}),
    "efficient, centers": (plugin(fields={**EFFICIENT, "box_coding": 1}), {"box_format": "cxcywh"}),
    "efficient, a list of one": (plugin(fields={**EFFICIENT, "box_coding": [1]}), {"box_format": "cxcywh"}),
    "efficient, agnostic": (plugin(fields={**EFFICIENT, "class_agnostic": 1}), {"class_agnostic": True}),
    "efficient, logits": (plugin(fields={**EFFICIENT, "score_activation": 1}), {"class_agnostic": False}),
    "batched": (
        plugin("BatchedNMS_TRT", BATCHED, wide=True, cast=True),
        {"iou": 0.5, "background": 0, "max_det": 20, "coordinates": None},
    ),
}


@pytest.mark.parametrize("case", PLUGINS)
def test_plugins_are_cut(case: str) -> None:
    model, expected = PLUGINS[case]
    found = find_tail(model)
    assert isinstance(found, Found), found
    tail = found.tail
    assert {name: getattr(tail, name) for name in expected} == expected
    assert tail.boxes_are_rows
    assert tail.scores_are_rows
    feeds = {"raw": tails.raw_of(model, "corners", "many", 1)["raw"]}
    names = [one.name for one in found.model.proto.graph.output]
    outputs = dict(zip(names, run_proto(found.model.proto, feeds), strict=True))
    assert {o.domain for o in found.model.proto.opset_import} == {""}
    raw = feeds["raw"]
    np.testing.assert_array_equal(outputs[tail.boxes], raw[..., :4])
    of_class = 1 / (1 + np.exp(-raw[..., 4:]))
    if case == "efficient, logits":
        of_class = 1 / (1 + np.exp(-of_class))
    if case == "batched":
        lowest = np.sort(of_class, axis=1)[:, -30]
        of_class = np.where(of_class < lowest[:, None], 0, of_class)
    np.testing.assert_allclose(outputs[tail.scores], of_class, rtol=1e-5, atol=1e-6)


REFUSED_PLUGINS = {
    "computed from": (lambda: plugin(scaled=True), "computed from what the EfficientNMS_TRT gives"),
    "a field is missing": (lambda: plugin(fields={"score_threshold": 0.1}), "a field is missing or wrong"),
    "a wrong field": (lambda: plugin(fields={**EFFICIENT, "max_output_boxes": 0}), "at most 0"),
    "own boxes": (
        lambda: plugin("BatchedNMS_TRT", {**BATCHED, "shareLocation": 0}),
        "boxes of their own for each class",
    ),
    "clipped": (
        lambda: plugin("BatchedNMS_TRT", {**BATCHED, "isNormalized": 1, "clipBoxes": 1}),
        "clips boxes",
    ),
}


@pytest.mark.parametrize("case", REFUSED_PLUGINS)
def test_plugins_that_stay(case: str) -> None:
    make, reason = REFUSED_PLUGINS[case]
    found = find_tail(make())
    assert isinstance(found, str)
    assert reason in found

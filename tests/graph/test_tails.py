"""Tails that are cut off: edgecv's NMS behind the cut network gives what the whole graph gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from edgecv import boxes
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import Found, Tail, find_tail
from tests.graph import tail_levels as levels
from tests.graph import tail_structures as tails
from tests.graph.evaluate import run_proto

Array = np.ndarray
Rows = dict[str, Array]


def rows_of(tail: Tail, model: OnnxModel, outputs: Sequence[Array]) -> Rows:
    """The file's own rows, real ones alone, by falling score: box float32 (n, 4) as written, score, class."""
    columns: dict[str, Array] = {}
    extras = []
    by_name = dict(zip([one.name for one in model.proto.graph.output], outputs, strict=True))
    for told in tail.outputs:
        name, _, roles = told.partition(": ")
        for k, role in enumerate(roles.split(", ")):
            if role == "count":
                continue
            value = by_name[name].reshape(-1, len(roles.split(", ")))[:, k]
            if role == "extra":
                extras.append(value)
            else:
                columns[role] = value
    count = len(columns["score"])
    names = next(four for four in (("x1", "y1", "x2", "y2"), ("cx", "cy", "w", "h")) if four[0] in columns)
    found = {
        "box": np.stack([columns[name] for name in names], axis=1),
        "score": columns["score"],
        "class": columns.get("class", np.zeros(count)),
        "extras": np.stack(extras, axis=1) if extras else np.zeros((count, 0)),
    }
    if "cx" in columns:
        found["box"] = boxes.cxcywh_to_xyxy(found["box"])
    real = np.flatnonzero(found["score"] > 0)
    return by_score({name: value[real] for name, value in found.items()})


def by_score(rows: Rows) -> Rows:
    order = np.argsort(-rows["score"], kind="stable")
    return {name: value[order] for name, value in rows.items()}


def as_rows(array: Array, are_rows: bool) -> Array:
    return np.ascontiguousarray(array[0] if are_rows else array[0].T)


def suppressed(tail: Tail, outputs: Mapping[str, Array], *, as_the_tail: bool = False) -> Rows:
    """What the record says, done by edgecv.boxes behind the cut network."""
    box = as_rows(outputs[tail.boxes], tail.boxes_are_rows)
    scores = as_rows(outputs[tail.scores], tail.scores_are_rows)
    assert box.shape == (tails.N, 4)
    assert scores.shape == (tails.N, tail.classes)
    xyxy = {
        "xyxy": lambda: box,
        "yxyx": lambda: np.ascontiguousarray(box[:, [1, 0, 3, 2]]),
        "cxcywh": lambda: boxes.cxcywh_to_xyxy(box),
        "xywh": lambda: boxes.xywh_to_xyxy(box),
    }[tail.box_format]()
    least = -3e38 if tail.confidence is None else tail.confidence
    if tail.background is not None:
        scores[:, tail.background] = -3e38
    row, label, score = boxes.select(
        scores, least, multi_label=tail.multi_label, max_candidates=tail.candidates or 30_000
    )
    compared, groups = xyxy[row], None if tail.class_agnostic else label
    if tail.class_offset is not None and as_the_tail:
        # As the tail tells classes apart: by where their boxes are.
        compared = compared + (label * np.float32(tail.class_offset))[:, None].astype(np.float32)
        groups = None
    keep = boxes.nms(compared, score, groups, iou=tail.iou)
    if tail.max_per_class is not None:
        keep = np.array(
            [k for i, k in enumerate(keep) if np.sum(label[keep[:i]] == label[k]) < tail.max_per_class], int
        )
    keep = keep[: tail.max_det]
    extras = np.zeros((tails.N, 0)) if tail.extras is None else outputs[tail.extras][0]
    return {
        "box": xyxy[row[keep]],
        "score": score[keep],
        "class": label[keep] + tail.first_class,
        "extras": extras[row[keep]],
    }


def found_in(model: OnnxModel) -> Found:
    found = find_tail(model)
    assert isinstance(found, Found), found
    return found


# Each: the network, the boxes that it is fed, how many of them overlap enough to matter is left to the data.
CUT: dict[str, tuple[Callable[[], OnnxModel], str, dict[str, object]]] = {
    "ultralytics": (
        tails.ultralytics,
        "corners",
        {"max_det": 12, "confidence": 0.25, "iou": 0.45, "class_offset": 64.0, "class_agnostic": False},
    ),
    "ultralytics, agnostic": (
        lambda: tails.ultralytics(agnostic=True),
        "corners",
        {"class_agnostic": True, "class_offset": None},
    ),
    "ultralytics, all kept": (lambda: tails.ultralytics(max_det=60), "corners", {"max_det": 60}),
    "ultralytics, compress": (lambda: tails.ultralytics(choose="compress"), "corners", {}),
    "ultralytics, gather": (lambda: tails.ultralytics(choose="gather"), "corners", {}),
    "ultralytics, centers": (lambda: tails.ultralytics(centers=True), "centers", {"box_format": "xyxy"}),
    "ultralytics, >=": (lambda: tails.ultralytics(at_least=True), "corners", {}),
    "ultralytics, topk": (lambda: tails.ultralytics(best="topk"), "corners", {}),
    "ultralytics, not padded": (lambda: tails.ultralytics(padded=False), "corners", {}),
    "ultralytics, pose": (lambda: tails.ultralytics(extra=6), "corners", {"extras": "v16"}),
    "ultralytics, masks": (lambda: tails.ultralytics(extra=3, masks=True), "corners", {"kept": ("v57",)}),
    "ultralytics, opset 11": (lambda: tails.ultralytics(opset=11), "corners", {}),
    "ultralytics, opset 18": (lambda: tails.ultralytics(opset=18), "corners", {}),
    "ultralytics, scattered": (lambda: tails.ultralytics(scattered=True), "corners", {}),
    "ultralytics, traced": (lambda: tails.ultralytics(traced=True), "corners", {"class_offset": 64.0}),
    "ultralytics, traced, agnostic": (
        lambda: tails.ultralytics(traced=True, agnostic=True),
        "corners",
        {"class_agnostic": True},
    ),
    "yolov5": (tails.yolov5, "centers", {"multi_label": True, "max_det": 11, "confidence": 0.3}),
    "yolov5, behind": (lambda: tails.yolov5(behind=True), "centers", {"multi_label": True}),
    "yolov7": (tails.yolov7, "centers", {"max_det": 10, "class_offset": 4096.0}),
    "yolov7, flat index": (lambda: tails.yolov7(flat=True), "centers", {}),
    "yolov7, agnostic": (lambda: tails.yolov7(apart=0), "centers", {"class_agnostic": True}),
    "yolov7, one class": (lambda: tails.yolov7(classes=1), "centers", {"classes": 1}),
    "yolox": (
        tails.yolox,
        "centers",
        {"max_per_class": 8, "max_det": None, "multi_label": True, "scores_are_rows": False},
    ),
    "yolox, apart": (lambda: tails.yolox(form="apart"), "centers", {}),
    "yolox, few": (lambda: tails.yolox(most=2), "centers", {"max_per_class": 2}),
    "pinto": (lambda: tails.yolox(form="pinto"), "centers", {"box_format": "xyxy"}),
    "pinto, y first": (lambda: tails.yolox(form="pinto", turned=True), "centers", {"box_format": "yxyx"}),
    "flat scores": (tails.flat_scores, "corners", {"max_per_class": 7, "max_det": 9}),
    "centered": (tails.centered, "centers", {"box_format": "cxcywh", "max_per_class": None}),
    "tensorflow": (
        tails.tensorflow,
        "fractions",
        {"box_format": "yxyx", "coordinates": "fractions", "first_class": 1, "max_per_class": 6},
    ),
    "tensorflow, few": (
        lambda: tails.tensorflow(total=4),
        "fractions",
        {"max_det": 4, "max_per_class": None},
    ),
    "torchvision": (tails.torchvision, "centers", {"first_class": 1, "max_det": 12, "coordinates": "pixels"}),
    "torchvision, all": (lambda: tails.torchvision(candidates=60), "centers", {"candidates": None}),
    "torchvision, branch": (lambda: tails.torchvision(branch=True), "centers", {"max_det": 12}),
    "torchvision, few": (lambda: tails.torchvision(candidates=3), "centers", {}),
    "retinanet": (
        levels.retinanet,
        "offsets",
        {"first_class": 0, "multi_label": True, "max_det": 12, "iou": 0.45, "coordinates": "pixels"},
    ),
    "retinanet, few": (lambda: levels.retinanet(candidates=4, most=40), "offsets", {"candidates": None}),
    "retinanet, all": (lambda: levels.retinanet(candidates=999), "offsets", {"confidence": 0.2}),
    "retinanet, scaled": (lambda: levels.retinanet(scale=2.0), "offsets", {"coordinates": "pixels"}),
    "retinanet, one class": (lambda: levels.retinanet(classes=1), "offsets", {"classes": 1}),
    "fcos": (lambda: levels.retinanet(sides=True), "sides", {"multi_label": True, "max_det": 12}),
}


@pytest.mark.parametrize("case", CUT)
def test_the_record(case: str) -> None:
    make, _, expected = CUT[case]
    tail = found_in(make()).tail
    assert {name: getattr(tail, name) for name in expected} == expected


def run_both(model: OnnxModel, found: Found, feeds: Mapping[str, Array]) -> tuple[list[Array], Rows]:
    """All outputs of the whole graph, and those of the cut network by name."""
    names = [one.name for one in found.model.proto.graph.output]
    own = {spec.name: feeds[spec.name] for spec in found.model.facts.inputs}
    return run_proto(model.proto, feeds), dict(zip(names, run_proto(found.model.proto, own), strict=True))


def check_rows(got: Rows, expected: Rows) -> None:
    assert len(got["score"]) == len(expected["score"])
    for name, value in by_score(got).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("case", "kind"), list(itertools.product(CUT, ("many", "none"))))
def test_rows_are_those_of_the_whole_graph(case: str, kind: str) -> None:
    make, fed, _ = CUT[case]
    model = make()
    found = found_in(model)
    assert "NonMaxSuppression" not in found.model.facts.operators
    most = 0
    for seed in range(3):
        whole, outputs = run_both(model, found, tails.raw_of(model, fed, kind, seed))
        expected = rows_of(found.tail, model, whole)
        most = max(most, len(expected["score"]))
        check_rows(suppressed(found.tail, outputs), expected)
        for name in found.tail.kept:
            position = [one.name for one in model.proto.graph.output].index(name)
            np.testing.assert_array_equal(outputs[name], whole[position])
    assert most == 0 if kind == "none" else most >= 2


def test_an_offset_is_what_moves_classes_apart() -> None:
    # Boxes far past the picture's edges meet those of other classes.
    model = tails.ultralytics(max_det=60)
    found = found_in(model)
    differ = False
    for seed in range(6):
        feeds = tails.raw_of(model, "past the edges", "many", seed)
        whole, outputs = run_both(model, found, feeds)
        expected = rows_of(found.tail, model, whole)
        check_rows(suppressed(found.tail, outputs, as_the_tail=True), expected)
        differ |= len(suppressed(found.tail, outputs)["score"]) != len(expected["score"])
    assert differ

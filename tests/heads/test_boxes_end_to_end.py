"""Networks shaped as Ultralytics exports them, from their bare files on `simd`: what they find is what plain
loops find in ONNX Runtime's outputs.

The weights are random and the layers few: what is real are the names, the shapes and the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import edgecv
from tests.networks import model_bytes

SIZE, STRIDES, CLASSES, MASKS = 64, (8, 16, 32), 3, 4
CONF, IOU = 0.5, 0.45
Array = NDArray[Any]

# Of a column the range that its sigmoid is stretched to: where in the picture, how large, how likely.
PLACE, EXTENT, CHANCE = (0.0, 64.0), (2.0, 40.0), (0.0, 1.0)
BOX, CORNERS = [PLACE, PLACE, EXTENT, EXTENT], [(0.0, 30.0), (0.0, 30.0), (34.0, 64.0), (34.0, 64.0)]
POINTS = [PLACE, PLACE, CHANCE] * 5
ANGLE, COEFFICIENTS = [(-3.0, 3.0)], [(-2.0, 2.0)] * MASKS
SCORES = [CHANCE] * CLASSES


class Export(NamedTuple):
    """task: of the metadata. columns: ranges of the columns. is_final: whether NMS is inside."""

    task: str
    columns: list[tuple[float, float]]
    is_final: bool = False


EXPORTS = {
    "detect": Export("detect", [*BOX, *SCORES]),
    "pose": Export("pose", [*BOX, *SCORES, *POINTS]),
    "segment": Export("segment", [*BOX, *SCORES, *COEFFICIENTS]),
    "obb": Export("obb", [*BOX, *SCORES, *ANGLE]),
    "detect-nms": Export("detect", [*CORNERS, CHANCE, (0.0, 2.99)], True),
    "pose-nms": Export("pose", [*CORNERS, CHANCE, (0.0, 2.99), *POINTS], True),
    "segment-nms": Export("segment", [*CORNERS, CHANCE, (0.0, 2.99), *COEFFICIENTS], True),
    "obb-nms": Export("obb", [*BOX, CHANCE, (0.0, 2.99), *ANGLE], True),
}


def write(path: Path, export: Export, *, dynamic: bool, seed: int = 0) -> Path:
    """A convolution a stride, squashed and stretched to the ranges of the columns."""
    rng = np.random.default_rng(seed)
    width = len(export.columns)
    low, high = np.array(export.columns, np.float32).T
    weights: dict[str, Array] = {
        "scale": (high - low).reshape(1, width, 1),
        "shift": low.reshape(1, width, 1),
        "shape": np.array([0, width, -1], np.int64),
    }
    nodes = []
    strides = (16,) if export.is_final else STRIDES
    for s in strides:
        weights[f"w{s}"] = (rng.standard_normal((width, 3, s, s)) / s).astype(np.float32)
        weights[f"b{s}"] = rng.standard_normal(width).astype(np.float32)
        nodes += [
            helper.make_node("Conv", ["images", f"w{s}", f"b{s}"], [f"c{s}"], strides=[s, s]),
            helper.make_node("Reshape", [f"c{s}", "shape"], [f"r{s}"]),
        ]
    nodes += [
        helper.make_node("Concat", [f"r{s}" for s in strides], ["rows"], axis=2),
        helper.make_node("Sigmoid", ["rows"], ["squashed"]),
        helper.make_node("Mul", ["squashed", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["table"]),
    ]
    nodes += (
        final(width, weights) if export.is_final else [helper.make_node("Identity", ["table"], ["output0"])]
    )
    cells = sum((SIZE // s) ** 2 for s in strides)
    side: Any = "size" if dynamic else SIZE
    count: Any = "cells" if dynamic else cells
    outputs: list[tuple[str, list[Any]]] = [
        ("output0", [1, count, width] if export.is_final else [1, width, count])
    ]
    if export.task == "segment":
        weights["wp"] = rng.standard_normal((MASKS, 3, 4, 4)).astype(np.float32)
        nodes.append(helper.make_node("Conv", ["images", "wp"], ["output1"], strides=[4, 4]))
        outputs.append(("output1", [1, MASKS, *(["h", "w"] if dynamic else [16, 16])]))
    path.write_bytes(
        model_bytes(
            nodes,
            inputs=[("images", [1, 3, side, side])],
            outputs=outputs,
            weights=weights,
            metadata=metadata(export),
        )
    )
    return path


def final(width: int, weights: dict[str, Array]) -> list[Any]:
    """The table by rows, with whole numbers of classes."""
    weights |= {
        "first": np.array([5], np.int64),
        "second": np.array([6], np.int64),
        "zero": np.array([0], np.int64),
        "all": np.array([width], np.int64),
        "axis": np.array([1], np.int64),
    }
    parts = [("zero", "first", "before"), ("first", "second", "number"), ("second", "all", "behind")]
    cut = [helper.make_node("Slice", ["table", low, high, "axis"], [name]) for low, high, name in parts]
    kept = ["before", "whole", "behind"] if width > 6 else ["before", "whole"]
    return [
        *(cut if width > 6 else cut[:2]),
        helper.make_node("Floor", ["number"], ["whole"]),
        helper.make_node("Concat", kept, ["columns"], axis=1),
        helper.make_node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]),
    ]


def metadata(export: Export) -> dict[str, str]:
    """As `Exporter` of the ultralytics package writes it."""
    names = {i: f"thing{i}" for i in range(CLASSES)}
    found = {
        "description": "Ultralytics YOLO11n model trained on things.yaml",
        "task": export.task,
        "stride": "32",
        "batch": "1",
        "imgsz": f"[{SIZE}, {SIZE}]",
        "names": str(names),
        "args": str({"batch": 1, "half": False, "dynamic": False, "nms": export.is_final}),
    }
    return {**found, "kpt_shape": "[5, 3]"} if export.task == "pose" else found


# --- the same in plain loops


class Object(NamedTuple):
    confidence: float
    class_id: int
    xyxy: tuple[float, float, float, float]
    rest: list[float]
    xywhr: tuple[float, ...]


def objects(export: Export, table: Array) -> list[Object]:
    found = []
    for row in table.tolist() if export.is_final else table.T.tolist():
        if export.is_final:
            class_id, confidence, rest = int(row[5]), row[4], row[6:]
        else:
            scores = row[4 : 4 + CLASSES]
            class_id, confidence = max(range(CLASSES), key=scores.__getitem__), max(scores)
            rest = row[4 + CLASSES :]
        if confidence <= CONF:
            continue
        a, b, c, d = row[:4]
        xywhr: tuple[float, ...] = ()
        if export.task == "obb":
            xywhr, box = (a, b, c, d, rest[0]), around(a, b, c, d, rest[0])
        elif export.is_final:
            box = (a, b, c, d)
        else:
            box = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
        found.append(Object(confidence, class_id, box, rest, xywhr))
    found.sort(key=lambda one: -one.confidence)
    if export.is_final or export.task == "obb":
        return found
    kept: list[Object] = []
    for one in found:
        rivals = [other for other in kept if other.class_id == one.class_id]
        if all(overlap(one.xyxy, other.xyxy) <= IOU for other in rivals):
            kept.append(one)
    return kept


def around(cx: float, cy: float, w: float, h: float, angle: float) -> tuple[float, float, float, float]:
    signs = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    xs = [cx + i * w / 2 * math.cos(angle) - j * h / 2 * math.sin(angle) for i, j in signs]
    ys = [cy + i * w / 2 * math.sin(angle) + j * h / 2 * math.cos(angle) for i, j in signs]
    return min(xs), min(ys), max(xs), max(ys)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def clipped(box: tuple[float, ...]) -> list[float]:
    return [min(max(side, 0.0), float(SIZE)) for side in box]


def mask(coefficients: list[float], prototypes: Array, x: int, y: int) -> float:
    """The sum of the prototypes at a pixel's center, bilinear between the centers of their cells."""
    step = SIZE / prototypes.shape[1]
    total = 0.0
    for coefficient, plane in zip(coefficients, prototypes.tolist(), strict=True):
        ends = []
        for at in (x, y):
            place = min(max((at + 0.5) / step - 0.5, 0.0), len(plane) - 1.0)
            low = int(place)
            ends.append((low, min(low + 1, len(plane) - 1), place - low))
        (x0, x1, fx), (y0, y1, fy) = ends
        upper = plane[y0][x0] * (1 - fx) + plane[y0][x1] * fx
        lower = plane[y1][x0] * (1 - fx) + plane[y1][x1] * fx
        total += coefficient * (upper * (1 - fy) + lower * fy)
    return total


def half(model: onnx.ModelProto) -> None:
    """All of it float16, the picture too, as `half=True` leaves it."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


def unsimplified(model: onnx.ModelProto) -> None:
    """Constants in nodes, and sizes worked out from shapes in the graph, as `simplify=False` leaves it."""
    graph = model.graph
    width = next(int(numpy_helper.to_array(one)[1]) for one in graph.initializer if one.name == "shape")
    nodes = [
        helper.make_node("Constant", [], [one.name], value=one)
        for one in graph.initializer
        if one.name != "shape"
    ]
    for name, number in (("n0", 0), ("n1", 1), ("wide", width), ("rest", -1)):
        value = numpy_helper.from_array(np.array([number], np.int64))
        nodes.append(helper.make_node("Constant", [], [name], value=value))
    nodes += [
        helper.make_node("Shape", ["images"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "n0", "n1"], ["batch"]),
        helper.make_node("Concat", ["batch", "wide", "rest"], ["shape"], axis=0),
        *graph.node,
    ]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(nodes)


def of_opset(version: int) -> Any:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


# How a file is exported: whether it takes any size, and what else is done to it.
FORMS: dict[str, tuple[bool, Any]] = {
    "static": (False, None),
    "dynamic": (True, None),
    "half": (False, half),
    "unsimplified": (False, unsimplified),
    "dynamic-unsimplified": (True, unsimplified),
    "opset-11": (False, of_opset(11)),
    "opset-22": (False, of_opset(22)),
}


def outputs_of(path: Path, blob: Array) -> dict[str, Array]:
    """ONNX Runtime's."""
    ort = pytest.importorskip("onnxruntime", reason="the reference runs on ONNX Runtime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return {name: array[0] for name, array in zip(names, session.run(names, {"images": blob}), strict=True)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EXPORTS)
def test_bare_exports_are_read(name: str, form: str, tmp_path: Path) -> None:
    export = EXPORTS[name]
    is_dynamic, change = FORMS[form]
    path = write(tmp_path / "net.onnx", export, dynamic=is_dynamic)
    if change is not None:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
    frame = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    # Oriented boxes overlap in another way than upright ones: none is suppressed.
    iou = 1.0 if export.task == "obb" else IOU
    with edgecv.load(path, backend="simd", threads=1, task="detect", conf=CONF, iou=iou) as detector:
        detector.preprocess(frame)
        blob = detector.eye.blob
        raw: Mapping[str, Array] = outputs_of(path, detector.eye.fed(blob))
        if form == "half":
            # ONNX Runtime computes it in float16, which moves a place over or under the threshold.
            ran = {key: np.array(array[0], np.float32) for key, array in detector.infer(blob).items()}
            for key, array in raw.items():
                np.testing.assert_allclose(ran[key], array, atol=2e-2 * float(np.abs(array).max()))
            raw = ran
        got = detector(frame)
        placement = detector.placement
    assert (placement.stored, placement.precision) == ("fp16" if form == "half" else "fp32", "fp32")
    expected = objects(export, raw["output0"])
    expected = [one for one in expected if clipped(one.xyxy)[0] < clipped(one.xyxy)[2]]
    expected = [one for one in expected if clipped(one.xyxy)[1] < clipped(one.xyxy)[3]]
    assert len(expected) > 3
    assert got.names == ("thing0", "thing1", "thing2")
    assert got.class_id.tolist() == [one.class_id for one in expected]
    np.testing.assert_allclose(got.confidence, [one.confidence for one in expected], atol=1e-5)
    np.testing.assert_allclose(got.xyxy, [clipped(one.xyxy) for one in expected], atol=1e-3)
    assert (got.keypoints is not None) == (export.task == "pose")
    assert (got.masks is not None) == (export.task == "segment")
    assert (got.xywhr is not None) == (export.task == "obb")
    if got.keypoints is not None:
        points = np.reshape([one.rest for one in expected], (len(expected), 5, 3))
        np.testing.assert_allclose(got.keypoints, points, atol=1e-3)
    if got.xywhr is not None:
        np.testing.assert_allclose(got.xywhr, [one.xywhr for one in expected], atol=1e-3)
    if got.masks is not None:
        check_masks(got, expected, raw["output1"])


def check_masks(got: edgecv.Detections, expected: list[Object], prototypes: Array) -> None:
    """Inside each box, at pixels whose sum is clear of 0."""
    assert got.masks is not None
    compared = 0
    for i, one in enumerate(expected[:4]):
        whole = got.masks.mask(i)
        x1, y1, x2, y2 = clipped(one.xyxy)
        for y in range(0, SIZE, 3):
            for x in range(0, SIZE, 3):
                inside = x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2
                total = mask(one.rest, prototypes, x, y) if inside else -1.0
                if abs(total) > 1e-3:
                    assert whole[y, x] == (total > 0)
                    compared += inside
    assert compared > 100

"""Decoded boxes, final rows and queries in their variants: what their outputs mean, in plain loops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.heads.literal import Case, Outputs, Row, cell_count, cells, corners, floats, sigmoid

# --- what outputs mean


def box_of(values: list[float], format: str) -> tuple[float, float, float, float]:
    a, b, c, d = values
    if format == "cxcywh":
        return corners(a, b, c, d)
    if format == "xywh":
        return a, b, a + c, b + d
    return (b, a, d, c) if format == "yxyx" else (a, b, c, d)


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x - max(logits)) for x in logits]
    return [p / sum(powers) for p in powers]


def points_of(values: list[float], size: int, wh: tuple[float, float]) -> list[tuple[float, float, float]]:
    points = [values[i : i + size] for i in range(0, len(values), size)]
    return [(p[0] * wh[0], p[1] * wh[1], p[2] if size == 3 else 1.0) for p in points]


def around(cx: float, cy: float, w: float, h: float, angle: float) -> tuple[float, float, float, float]:
    xs, ys = [], []
    for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        xs.append(cx + i * w / 2 * math.cos(angle) - j * h / 2 * math.sin(angle))
        ys.append(cy + i * w / 2 * math.sin(angle) + j * h / 2 * math.cos(angle))
    return min(xs), min(ys), max(xs), max(ys)


def table(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """`boxes`, of one output."""
    values = outputs[params["output"]]
    rows = values.tolist() if params.get("layout") != "columns" else values.T.tolist()
    size = params.get("keypoint_values", 3)
    found = []
    for row in rows:
        left = list(row)
        parts: dict[str, list[float]] = {}
        wide = {"box": 4, "objectness": 1, "angle": 1, "keypoints": params.get("keypoints", 0) * size}
        wide["masks"] = params.get("masks", 0)
        roles = params.get("columns", ("box", "classes"))
        wide["classes"] = len(row) - sum(wide[role] for role in roles if role != "classes")
        for role in roles:
            parts[role], left = left[: wide[role]], left[wide[role] :]
        factor = parts.get("objectness", [1.0])[0]
        scores = [factor * score for score in parts.get("classes", [1.0])]
        xyxy, xywhr = box_of(parts["box"], params.get("format", "cxcywh")), None
        if "angle" in parts:
            cx, cy, w, h = parts["box"]
            xywhr = (cx, cy, w, h, parts["angle"][0])
            xyxy = around(*xywhr)
        points = points_of(parts["keypoints"], size, (1, 1)) if "keypoints" in parts else None
        found.append(Row(scores, xyxy, points, xywhr))
    return found


def apart(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """`boxes`, each in its own output; a row whose classes have boxes of their own becomes one a class."""
    scores = outputs["scores"]
    if params.get("scores_layout", params.get("layout")) == "columns":
        scores = scores.T
    boxes = outputs["boxes"].T if params.get("layout") == "columns" else outputs["boxes"]
    w, h = blob_wh if params.get("unit") == "fractions" else (1, 1)
    found = []
    for i, logits in enumerate(scores.tolist()):
        chances = logits
        if params.get("logits"):
            chances = softmax(logits) if params["logits"] == "softmax" else [sigmoid(x) for x in logits]
        if params.get("background") == "first":
            chances = chances[1:]
        if params.get("background") == "last":
            chances = chances[:-1]
        if "objectness" in outputs:
            factor = float(outputs["objectness"].reshape(-1)[i])
            chances = [c * (sigmoid(factor) if params.get("logits") is True else factor) for c in chances]
        x1, y1, x2, y2 = box_of(boxes[i].reshape(-1)[:4].tolist(), params.get("format", "cxcywh"))
        points = None
        if "landmarks" in outputs:
            points = points_of(outputs["landmarks"][i].tolist(), params["keypoint_values"], (w, h))
        found.append(Row(chances, (x1 * w, y1 * h, x2 * w, y2 * h), points))
    return found


def ltrb(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    values = iter(zip(outputs["boxes"].tolist(), outputs["scores"].tolist(), strict=True))
    found = []
    for stride in params["strides"]:
        unit = stride if params.get("unit") == "strides" else 1
        for column, row in cells(blob_wh, stride):
            (left, top, right, bottom), classes = next(values)
            offset = params.get("cell_offset", 0.5)
            x, y = (column + offset) * stride, (row + offset) * stride
            found.append(Row(classes, (x - left * unit, y - top * unit, x + right * unit, y + bottom * unit)))
    return found


def final(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """`rows`."""
    whole = outputs[params["output"]] if "output" in params else outputs[params["boxes"]]
    names = params.get("columns", ("x1", "y1", "x2", "y2", "confidence", "class"))
    if "output" not in params:
        names = {"xyxy": ("x1", "y1", "x2", "y2"), "yxyx": ("y1", "x1", "y2", "x2")}[params["format"]]
    w, h = blob_wh if params.get("unit") == "fractions" else (1, 1)
    size = params.get("keypoint_values", 3)
    count = int(outputs["count"].reshape(-1)[0]) if "count" in outputs else len(whole)
    found = []
    for i, values in enumerate(whole.tolist()):
        wide = len(values) - len(names) + 1
        row: dict[str, Any] = {}
        for name in names:
            size_of = wide if name in ("keypoints", "masks") else 1
            row[name], values = (values[:size_of] if size_of > 1 else values[0]), values[size_of:]
        confidence = row["confidence"] if "confidence" in row else float(outputs["scores"].reshape(-1)[i])
        number = row.get("class", 0)
        if "labels" in outputs:
            number = float(outputs["labels"][i])
        number = int(number) - params.get("first_class", 0)
        if "x2" in row:
            xyxy = (row["x1"] * w, row["y1"] * h, row["x2"] * w, row["y2"] * h)
        elif "cx" in row:
            xyxy = corners(row["cx"], row["cy"], row["w"], row["h"])
        else:
            xyxy = (row["x1"], row["y1"], row["x1"] + row["w"], row["y1"] + row["h"])
        xywhr = None
        if "angle" in row:
            xywhr = (row["cx"], row["cy"], row["w"], row["h"], row["angle"])
            xyxy = around(*xywhr)
        points = points_of(row["keypoints"], size, (w, h)) if "keypoints" in row else None
        if "keypoints" in outputs:
            points = points_of(outputs["keypoints"][i].reshape(-1).tolist(), size, (w, h))
        valid = i < count and xyxy[2] > xyxy[0] and xyxy[3] > xyxy[1] and number >= 0
        valid = valid and row.get("batch", 0) == 0 and row.get("w", 1) > 0 and row.get("h", 1) > 0
        found.append(Row([*[-1.0] * max(number, 0), confidence if valid else -1.0], xyxy, points, xywhr))
    return found


def queries(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    if "output" in params:
        box, scores = outputs[params["output"]][:, :4], outputs[params["output"]][:, 4:]
    else:
        box, scores = outputs["boxes"], outputs["scores"]
    w, h = blob_wh
    found = []
    for values, logits in zip(box.tolist(), scores.tolist(), strict=True):
        chances = logits
        if params.get("activation", "sigmoid") == "sigmoid":
            chances = [sigmoid(x) for x in logits]
        if params.get("activation") == "softmax":
            chances = softmax(logits)[:-1]
        x1, y1, x2, y2 = box_of(values, params.get("format", "cxcywh"))
        found.append(Row(chances, (x1 * w, y1 * h, x2 * w, y2 * h)))
    return found


# --- outputs that look real


def _boxes(rng: np.random.Generator, n: int, format: str = "cxcywh", scale: float = 64.0) -> NDArray[Any]:
    low, size = rng.uniform(0, scale, (n, 2)), rng.uniform(scale / 64, scale, (n, 2))
    if format in ("cxcywh", "xywh"):
        return np.hstack([low, size])
    return np.hstack([low[:, ::-1], (low + size)[:, ::-1]] if format == "yxyx" else [low, low + size])


class Make(ABC):
    """Random outputs for a case of these parameters; n rows."""

    def __init__(self, params: Mapping[str, Any], n: int = 60) -> None:
        self.params, self.n = params, n

    @abstractmethod
    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        """See `literal.Make`."""


class Table(Make):
    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        p, n = self.params, self.n
        parts = {
            "box": _boxes(rng, n, p.get("format", "cxcywh")),
            "objectness": rng.uniform(size=(n, 1)),
            "classes": rng.uniform(size=(n, classes)),
            "keypoints": rng.uniform(-1, 64, (n, p.get("keypoints", 0) * p.get("keypoint_values", 3))),
            "angle": rng.uniform(-4, 4, (n, 1)),
            "masks": rng.normal(size=(n, p.get("masks", 0))),
        }
        whole = floats(np.hstack([parts[role] for role in p.get("columns", ("box", "classes"))]))
        outputs = {p["output"]: np.ascontiguousarray(whole.T) if p.get("layout") == "columns" else whole}
        if "prototypes" in p:
            outputs[p["prototypes"]] = floats(rng.normal(size=(p["masks"], 16, 16)))
        return outputs


class Apart(Make):
    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        p, n = self.params, self.n
        if "strides" in p:
            n = cell_count(blob_wh, *p["strides"])
        columns = classes + ("background" in p)
        scores = rng.normal(size=(n, columns)) if p.get("logits") else rng.uniform(size=(n, columns))
        scale = 1.0 if p.get("unit") == "fractions" else 64.0
        boxes = (
            rng.uniform(0, 4, (n, 4)) if "strides" in p else _boxes(rng, n, p.get("format", "cxcywh"), scale)
        )
        outputs = {
            "boxes": floats(boxes.T if p.get("layout") == "columns" else boxes),
            "scores": floats(scores.T if p.get("scores_layout", p.get("layout")) == "columns" else scores),
        }
        if "objectness" in p:
            factor = rng.normal(size=(n, 1)) if p.get("logits") else rng.uniform(size=(n, 1))
            outputs["objectness"] = floats(factor)
        if "landmarks" in p:
            width = p["keypoints"] * p["keypoint_values"]
            outputs["landmarks"] = floats(rng.uniform(0, scale, (n, width)))
        return outputs


class OneBox(Apart):
    """Boxes with an axis of one: (N, 1, 4)."""

    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        outputs = super().__call__(rng, blob_wh, classes)
        return {**outputs, "boxes": outputs["boxes"][:, None]}


class Final(Make):
    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        p, n = self.params, self.n
        first = p.get("first_class", 0)
        number = rng.integers(0, classes + first, (n, 1))
        scale = 1.0 if p.get("unit") == "fractions" else 64.0
        corner = rng.uniform(0, scale, (n, 2))
        size = rng.uniform(-scale / 10, scale / 2, (n, 2))
        parts: dict[str, NDArray[Any]] = dict(
            zip(("x1", "y1", "x2", "y2"), np.hstack([corner, corner + size]).T[..., None], strict=True)
        )
        parts |= {"cx": parts["x1"], "cy": parts["y1"], "w": size[:, :1], "h": size[:, 1:]}
        parts["class"], parts["confidence"] = number, rng.uniform(size=(n, 1))
        parts["batch"], parts["skip"] = rng.integers(0, 2, (n, 1)), rng.normal(size=(n, 1))
        parts["angle"] = rng.uniform(-4, 4, (n, 1))
        parts["keypoints"] = rng.uniform(0, scale, (n, 5 * p.get("keypoint_values", 3)))
        parts["masks"] = rng.normal(size=(n, 7))
        outputs: Outputs = {}
        if "output" in p:
            names = p.get("columns", ("x1", "y1", "x2", "y2", "confidence", "class"))
            outputs[p["output"]] = floats(np.hstack([parts[name] for name in names]))
        else:
            names = ("y1", "x1", "y2", "x2") if p["format"] == "yxyx" else ("x1", "y1", "x2", "y2")
            outputs["boxes"] = floats(np.hstack([parts[name] for name in names]))
        if "scores" in p:
            outputs["scores"] = floats(parts["confidence"][:, 0])
        if "labels" in p:
            outputs["labels"] = number[:, 0].astype(self.params.get("labels_type", np.float32))
        if "count" in p:
            outputs["count"] = np.array([n * 3 // 4], np.float32)
        if "keypoints" in p:
            outputs["keypoints"] = floats(parts["keypoints"].reshape(n, 5, -1))
        if "masks" in p:
            outputs["masks"] = floats(rng.uniform(size=(n, 1, 14, 14)))
        if "prototypes" in p:
            outputs["prototypes"] = floats(rng.normal(size=(7, 16, 16)))
        return outputs


class Set(Make):
    def __call__(self, rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        p, n = self.params, self.n
        boxes = _boxes(rng, n, p.get("format", "cxcywh"), 1.0)
        if "output" in p:
            return {p["output"]: floats(np.hstack([boxes, rng.uniform(size=(n, classes))]))}
        columns = classes + ("background" in p)
        return {"boxes": floats(boxes), "scores": floats(rng.normal(size=(n, columns)))}


def _case(id: str, type: str, literal: Any, make: type[Make], params: dict[str, Any], **more: Any) -> Case:
    return Case(id, type, literal, make(params), params, **more)


_APART = {"boxes": "boxes", "scores": "scores"}
_FACES = {"keypoints": 5, "classes": 1}
_YOLOV5_FACE = ("box", "objectness", "keypoints", "classes")
_PINTO = ("batch", "class", "confidence", "x1", "y1", "x2", "y2")
_ORIENTED = ("cx", "cy", "w", "h", "confidence", "class", "angle")
_E2E = ("x1", "y1", "x2", "y2", "confidence", "class")

TABLES: dict[str, dict[str, Any]] = {
    "rows": {"output": "o"},
    "columns": {"output": "o", "layout": "columns"},
    "objectness": {"output": "o", "columns": ("box", "objectness", "classes")},
    "xyxy": {"output": "o", "format": "xyxy"},
    "xywh": {"output": "o", "format": "xywh"},
    "yxyx": {"output": "o", "format": "yxyx"},
    "scores-first": {"output": "o", "columns": ("classes", "box")},
    "angle": {"output": "o", "layout": "columns", "columns": ("box", "classes", "angle")},
    "masks": {
        "output": "o",
        "layout": "columns",
        "columns": ("box", "classes", "masks"),
        "masks": 5,
        "prototypes": "p",
    },
    "pose": {"output": "o", "layout": "columns", "columns": ("box", "classes", "keypoints"), "keypoints": 17},
}
ONE_CLASS: dict[str, dict[str, Any]] = {
    "yolov5-face": {"output": "o", "columns": _YOLOV5_FACE, "keypoint_values": 2, **_FACES},
    "yolov7-face": {"output": "o", "columns": ("box", "objectness", "classes", "keypoints"), **_FACES},
}
TWO: dict[str, dict[str, Any]] = {
    "corners": {"format": "xyxy"},
    "fractions": {"format": "xyxy", "unit": "fractions"},
    "background-first": {"format": "xyxy", "unit": "fractions", "background": "first"},
    "background-last": {"background": "last"},
    "logits": {"logits": True},
    "softmax": {"logits": "softmax", "background": "last"},
    "objectness": {"objectness": "objectness"},
    "objectness-logits": {"objectness": "objectness", "logits": True},
    "scores-by-columns": {"format": "xyxy", "scores_layout": "columns"},
    "both-by-columns": {"layout": "columns"},
    "landmarks": {"landmarks": "landmarks", "keypoints": 4, "keypoint_values": 2, "unit": "fractions"},
}
DISTANCES: dict[str, dict[str, Any]] = {
    "strides": {"format": "ltrb", "unit": "strides", "strides": (8, 16)},
    "pixels": {"format": "ltrb", "strides": (8,), "cell_offset": 0.0},
}
ROWS: dict[str, dict[str, Any]] = {
    "e2e": {"output": "o"},
    "pinto": {"output": "o", "columns": _PINTO},
    "paddle": {
        "output": "o",
        "columns": ("class", "confidence", "x1", "y1", "x2", "y2"),
        "count": "count",
    },
    "angle": {"output": "o", "columns": _ORIENTED},
    "keypoints": {"output": "o", "columns": (*_E2E, "keypoints")},
    "masks": {"output": "o", "columns": (*_E2E, "masks"), "prototypes": "prototypes"},
    "skip": {"output": "o", "columns": ("skip", "x1", "y1", "w", "h", "confidence", "skip", "class")},
    "yxyx": {"output": "o", "columns": ("y1", "x1", "y2", "x2", "confidence", "class"), "unit": "fractions"},
    "mmdeploy": {"output": "o", "columns": _E2E[:5], "labels": "labels"},
    "torchvision": {
        "boxes": "boxes",
        "scores": "scores",
        "labels": "labels",
        "format": "xyxy",
        "first_class": 1,
    },
    "tensorflow": {
        "boxes": "boxes",
        "scores": "scores",
        "labels": "labels",
        "count": "count",
        "format": "yxyx",
        "unit": "fractions",
        "first_class": 1,
    },
    "roi-masks": {
        "boxes": "boxes",
        "scores": "scores",
        "labels": "labels",
        "masks": "masks",
        "keypoints": "keypoints",
        "keypoint_values": 2,
        "format": "xyxy",
    },
}
SETS: dict[str, dict[str, Any]] = {
    "rtdetr": {},
    "corners": {"format": "xyxy"},
    "detr": {"activation": "softmax", "background": "last"},
}
_QUERIES = 60

CASES = (
    *(
        _case(
            f"boxes-{id}",
            "boxes",
            table,
            Table,
            params,
            leading=("o", "p") if params.get("layout") == "columns" else ("p",),
        )
        for id, params in TABLES.items()
    ),
    *(_case(f"boxes-{id}", "boxes", table, Table, params, classes=(1,)) for id, params in ONE_CLASS.items()),
    *(
        _case(
            f"boxes-apart-{id}",
            "boxes",
            apart,
            Apart,
            {**_APART, **params},
            classes=(1, 3) if params.get("logits") == "softmax" else (1, 3, 80),
            is_free=True,
        )
        for id, params in TWO.items()
    ),
    _case(
        "boxes-yolov4",
        "boxes",
        apart,
        OneBox,
        {**_APART, "format": "xyxy", "unit": "fractions"},
        is_free=True,
    ),
    *(
        _case(f"boxes-ltrb-{id}", "boxes", ltrb, Apart, {**_APART, **params}, is_free=True)
        for id, params in DISTANCES.items()
    ),
    *(
        _case(
            f"rows-{id}",
            "rows",
            final,
            Final,
            params,
            needs_nms=False,
            numbers=("labels", "count"),
            leading=("prototypes",),
            is_free="output" not in params or "count" in params,
        )
        for id, params in ROWS.items()
    ),
    *(
        _case(
            f"queries-{id}",
            "queries",
            queries,
            Set,
            {**_APART, **params},
            needs_nms=False,
            top=None if "activation" in params else _QUERIES,
            classes=(1, 3) if "activation" in params else (1, 3, 80),
            is_free="activation" in params,
        )
        for id, params in SETS.items()
    ),
    _case(
        "queries-ultralytics",
        "queries",
        queries,
        Set,
        {"output": "o", "activation": "none"},
        needs_nms=False,
    ),
)

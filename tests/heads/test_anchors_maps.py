"""Drafts for RetinaNet and EfficientDet, and MXNet's RetinaFace: as their projects decode, in plain loops.

Nine priors a cell of the strides 8 to 128; of RetinaFace two of 8 to 32.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import heads
from edgecv.heads import anchors
from edgecv.heads.base import Query
from tests.heads.literal import Outputs, Row, candidates, corners, floats, sigmoid
from tests.heads.literal_anchors import FIRST, JOINED, LAST, Prior, Priors, ceil_cells, literal, shaped
from tests.heads.test_anchors_recognition import facts

WH = (128, 96)
STRIDES = (8, 16, 32, 64, 128)
CLASSES = 3
SWISH, RELU = ("Conv", "Sigmoid", "Mul"), ("Conv", "Relu", "Sigmoid", "Mul")


def efficientdet(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`Anchors.forward` of zylo117/Yet-Another-EfficientDet-Pytorch: its defaults."""
    return [
        [
            (x * stride + stride / 2, y * stride + stride / 2, 4 * stride * scale * w, 4 * stride * scale * h)
            for x, y in ceil_cells(blob_wh, stride)
            for scale in (2**0, 2 ** (1.0 / 3.0), 2 ** (2.0 / 3.0))
            for w, h in ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
        ]
        for stride in STRIDES
    ]


def torchvision(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`_default_anchorgen` of torchvision's retinanet.py, and its AnchorGenerator."""
    maps = []
    for x in (32, 64, 128, 256, 512):
        rows, columns = (math.ceil(side * 4 / x) for side in reversed(blob_wh))
        step_x, step_y = blob_wh[0] // columns, blob_wh[1] // rows
        shapes = []
        for ratio in (0.5, 1.0, 2.0):
            for size in (x, int(x * 2 ** (1.0 / 3)), int(x * 2 ** (2.0 / 3))):
                w, h = size / math.sqrt(ratio), size * math.sqrt(ratio)
                shapes.append((round(w / 2) - round(-w / 2), round(h / 2) - round(-h / 2)))
        maps.append(
            [(j * step_x, i * step_y, w, h) for i in range(rows) for j in range(columns) for w, h in shapes]
        )
    return maps


def retinanet_examples(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`generate_anchors` of NVIDIA/retinanet-examples, and the sizes and centers of its `delta2box`."""
    maps = []
    for stride in STRIDES:
        boxes = []
        for scale in (4 * 2 ** (i / 3) for i in range(3)):
            for ratio in (1.0, 2.0, 0.5):
                w = math.sqrt(stride * stride / ratio)
                low = (0.5 * (stride - w * scale), 0.5 * (stride - w * ratio * scale))
                high = (0.5 * (stride + w * scale), 0.5 * (stride + w * ratio * scale))
                size = (high[0] - low[0] + 1, high[1] - low[1] + 1)
                boxes.append((low[0] + 0.5 * size[0], low[1] + 0.5 * size[1], *size))
        maps.append(
            [
                (x * stride + cx, y * stride + cy, w, h)
                for x, y in ceil_cells(blob_wh, stride)
                for cx, cy, w, h in boxes
            ]
        )
    return maps


def drafted(stored: str, operators: tuple[str, ...], end: str, made: Priors) -> tuple[Any, Outputs]:
    """A network's draft, and outputs of it."""
    rng = np.random.default_rng(2)
    outputs: Outputs = {}
    parts = [(rng.normal(size=(len(one), 4)), 2 * rng.normal(size=(len(one), CLASSES))) for one in made(WH)]
    if end == "Sigmoid":
        parts = [(box, 1 / (1 + np.exp(-scores))) for box, scores in parts]
    if stored == JOINED:
        outputs = {"reg": floats(np.concatenate([box for box, _ in parts]))}
        outputs["cls"] = floats(np.concatenate([scores for _, scores in parts]))
    else:
        for stride, (box, scores) in zip(STRIDES, parts, strict=True):
            outputs[f"reg{stride}"] = floats(shaped(box, stored, WH, stride))
            outputs[f"cls{stride}"] = floats(shaped(scores, stored, WH, stride))
    shapes = {name: (1, *array.shape) for name, array in outputs.items()}
    ends = {name: end if name.startswith("cls") else "Conv" for name in outputs}
    return anchors.draft(facts(shapes, WH, operators, ends)), outputs


@pytest.mark.parametrize("end", ["Sigmoid", "Conv"])
@pytest.mark.parametrize(
    ("made", "stored", "operators"),
    [
        pytest.param(efficientdet, JOINED, SWISH, id="efficientdet"),
        pytest.param(efficientdet, FIRST, SWISH, id="efficientdet-maps"),
        pytest.param(efficientdet, LAST, SWISH, id="efficientdet-maps-last"),
        pytest.param(torchvision, JOINED, RELU, id="retinanet"),
        pytest.param(retinanet_examples, FIRST, RELU, id="retinanet-maps"),
    ],
)
def test_a_draft_reads_the_usual_network(
    made: Priors, stored: str, operators: tuple[str, ...], end: str
) -> None:
    params, outputs = drafted(stored, operators, end, made)
    card = {**msgspec.to_builtins(params), "axes": "yx" if made is efficientdet else "xy"}
    assert card["variances"] == (1.0, 1.0)
    assert params.logits == (end == "Conv")
    rows = literal(made, stored)(outputs, card, WH)
    expected = candidates(rows, 0.7, True, 30_000)
    found = anchors.decode(outputs, params, Query(WH, 0.7, multi_label=True))
    assert len(expected) > 100
    assert found.class_id.tolist() == [one.class_id for one in expected]
    np.testing.assert_allclose(found.confidence, [one.confidence for one in expected], rtol=1e-5)
    np.testing.assert_allclose(found.xyxy, [one.xyxy for one in expected], rtol=1e-4, atol=1e-2)


FACES = {
    f"face_rpn_{role}_stride{stride}_output": (1, channels, 128 // stride, 128 // stride)
    for stride in (32, 16, 8)
    for role, channels in (("cls_prob_reshape", 4), ("bbox_pred", 8), ("landmark_pred", 20))
}


def faces(outputs: Outputs) -> list[Row]:
    """`RetinaFace.detect`: anchors in pixels that count both ends, their boxes between edges."""
    rows = []
    for stride, scales in ((32, (32, 16)), (16, (8, 4)), (8, (2, 1))):
        chances, boxes, points = (
            outputs[f"face_rpn_{role}_stride{stride}_output"]
            for role in ("cls_prob_reshape", "bbox_pred", "landmark_pred")
        )
        for y in range(128 // stride):
            for x in range(128 // stride):
                for number, scale in enumerate(scales):
                    size = 16 * scale
                    # Of pixels 0 to 15 the middle is 7.5, half a pixel less than between edges.
                    cx, cy = x * stride + 7.5 + 0.5, y * stride + 7.5 + 0.5
                    dx, dy, dw, dh = boxes[4 * number : 4 * number + 4, y, x].tolist()
                    box = corners(cx + dx * size, cy + dy * size, math.exp(dw) * size, math.exp(dh) * size)
                    mine = points[10 * number : 10 * number + 10, y, x].tolist()
                    places = [(cx + mine[2 * k] * size, cy + mine[2 * k + 1] * size, 1.0) for k in range(5)]
                    rows.append(Row([float(chances[2 + number, y, x])], box, places))
    return rows


def test_retinaface_of_mxnet() -> None:
    (reading,) = heads.recognize(facts(FACES, (128, 128)))
    assert reading.brand == "retinaface_mxnet"
    rng = np.random.default_rng(5)
    outputs: Outputs = {name: floats(rng.normal(size=shape[1:])) for name, shape in FACES.items()}
    for name, array in outputs.items():
        if "cls" in name:
            array[2:] = [[[sigmoid(value) for value in row] for row in plane] for plane in array[2:].tolist()]
            array[:2] = 1 - array[2:]
    expected = candidates(faces(outputs), 0.6, False, 30_000)
    found = anchors.decode(outputs, reading.params, Query((128, 128), 0.6))  # type: ignore[arg-type]
    assert len(expected) > 50
    np.testing.assert_allclose(found.confidence, [one.confidence for one in expected], rtol=1e-6)
    np.testing.assert_allclose(found.xyxy, [one.xyxy for one in expected], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.keypoints, [one.keypoints for one in expected], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "outputs",
    [
        {name: shape for name, shape in FACES.items() if "stride8" not in name},
        {**FACES, "more": (1, 4)},
        {name: (1, 6, *shape[2:]) if "cls" in name else shape for name, shape in FACES.items()},
    ],
    ids=["a-stride-less", "one-more", "other-channels"],
)
def test_others_are_not_retinaface(outputs: dict[str, Any]) -> None:
    assert heads.recognize(facts(outputs, (128, 128))) == []


def test_class_major_is_of_channels_that_come_first() -> None:
    card = {"type": "anchors", "priors": [{"stride": 8, "sizes": [1]}], "class_major": True}
    with pytest.raises(Exception, match="`class_major` is of maps whose `layout` is channels-first"):
        heads.params_from({**card, "layout": "channels-last"})

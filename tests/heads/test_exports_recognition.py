"""Exports of PaddleDetection without NMS, and of YOLOv6: what tells them from others of the same shapes."""

from __future__ import annotations

import pytest

from edgecv import heads
from edgecv.heads import boxes
from edgecv.heads.base import HeadParams
from edgecv.types import ModelFacts
from tests.heads.test_boxes_recognition import fed
from tests.heads.test_head_recognition import facts

# Of 416 x 416: cells of the strides 8 to 64, and to 32.
PICODET, PP_YOLOE = 52**2 + 26**2 + 13**2 + 7**2, 52**2 + 26**2 + 13**2
OF_PADDLE = boxes.Params(boxes="a", scores="b", format="xyxy", scores_layout="columns")
YOLOV6 = boxes.Params(output="outputs", columns=("box", "objectness", "classes"))
# What remains of a decoder of distances, and of the exponential one of a YOLOX.
DISTANCES, EXPONENTIAL = ("Conv", "Sub", "Add", "Div"), ("Conv", "Exp")


def paddle(rows: int, image: str = "image", classes: int = 80) -> ModelFacts:
    return facts({"a": (1, rows, 4), "b": (1, classes, rows)}, (416, 416), image)


ONE: dict[str, tuple[ModelFacts, str, HeadParams]] = {
    "picodet": (paddle(PICODET), "picodet", OF_PADDLE),
    "picodet-of-four-classes": (paddle(PICODET, classes=4), "picodet", OF_PADDLE),
    "picodet-with-a-scale": (
        fed(paddle(PICODET), image=(1, 3, 416, 416), scale_factor=(1, 2)),
        "picodet",
        OF_PADDLE,
    ),
    "pp-yoloe": (paddle(PP_YOLOE), "paddledetection", OF_PADDLE),
    "pp-yoloe-with-a-scale": (
        fed(paddle(PP_YOLOE), image=(1, 3, 416, 416), scale_factor=(1, 2)),
        "paddledetection",
        OF_PADDLE,
    ),
    "yolov6": (facts({"outputs": (1, 8400, 85)}, operators=DISTANCES), "yolov6", YOLOV6),
    "yolov6-large": (facts({"outputs": (1, 34000, 6)}, (1280, 1280), operators=DISTANCES), "yolov6", YOLOV6),
    # Three rows a cell would make it a YOLOv5, which is read and fed alike.
    "open-rows": (facts({"outputs": (1, None, 85)}, None, operators=DISTANCES), "yolov5", YOLOV6),
}


@pytest.mark.parametrize(("model", "brand", "params"), ONE.values(), ids=ONE)
def test_one_brand(model: ModelFacts, brand: str, params: HeadParams) -> None:
    (reading,) = heads.recognize(model)
    assert (reading.brand, reading.params) == (brand, params)
    assert (reading.input is None) == (brand == "paddledetection")


@pytest.mark.parametrize(
    ("model", "brands"),
    [
        pytest.param(paddle(PICODET, "images"), set(), id="another-name"),
        pytest.param(paddle(PICODET + 1), set(), id="another-number-of-cells"),
        pytest.param(
            facts({"a": (1, PICODET, 4), "b": (1, PICODET, 80)}, (416, 416), "image"),
            set(),
            id="scores-by-rows",
        ),
        pytest.param(
            facts({"outputs": (1, 8400, 85)}, operators=EXPONENTIAL),
            {"yolox", "yolov6", "yolov8"},
            id="exponential",
        ),
        pytest.param(
            facts({"outputs": (1, 8400, 85)}, operators=("Conv",)),
            {"yolox", "yolov6", "yolov8"},
            id="undecoded",
        ),
        pytest.param(facts({"output": (1, 8400, 85)}, operators=DISTANCES), {"yolox"}, id="names-of-a-yolox"),
        pytest.param(facts({"outputs": (1, 84, 8400)}, operators=DISTANCES), {"yolov8"}, id="by-columns"),
    ],
)
def test_what_is_not_told(model: ModelFacts, brands: set[str]) -> None:
    assert {reading.brand for reading in heads.recognize(model)} == brands

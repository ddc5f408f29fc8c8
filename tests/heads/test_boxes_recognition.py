"""Brands of decoded boxes, final rows and queries: what speaks for each, and where doubt is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads import boxes, queries, rows
from edgecv.heads.base import HeadParams
from edgecv.types import ModelFacts, TensorSpec
from tests.heads.test_head_recognition import Shape, facts, ultralytics, yolov5_file


def typed(model: ModelFacts, **dtypes: str) -> ModelFacts:
    """The same model, whose outputs have these types."""
    outputs = tuple(
        TensorSpec(spec.name, np.dtype(dtypes.get(spec.name, "float32")), spec.shape)
        for spec in model.outputs
    )
    return replace(model, outputs=outputs)


def fed(model: ModelFacts, **inputs: Shape) -> ModelFacts:
    """The same model with these inputs."""
    specs = tuple(TensorSpec(name, np.dtype("float32"), shape) for name, shape in inputs.items())
    return replace(model, inputs=specs)


def pose(classes: int = 1, shape: str = "[17, 3]", **more: str) -> dict[str, str]:
    return ultralytics(classes, task="pose", kpt_shape=shape, **more)


NMS = {"args": "{'nms': True}"}
KEYPOINTS: Any = ("box", "classes", "keypoints")
MASKS: Any = ("box", "classes", "masks")
SEG = {"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}
PADDLE = {"image": (1, 3, 640, 640), "scale_factor": (1, 2)}
YOLO = {"columns": ("box", "objectness", "classes")}

ONE: dict[str, tuple[ModelFacts, str, HeadParams]] = {
    "pose": (
        facts({"output0": (1, 56, 8400)}, metadata=pose()),
        "yolov8-pose",
        boxes.Params(output="output0", columns=KEYPOINTS, layout="columns", classes=1, keypoints=17),
    ),
    "pose-of-two-values": (
        facts({"output0": (1, 15, 8400)}, metadata=pose(3, "[4, 2]")),
        "yolov8-pose",
        boxes.Params(
            output="output0",
            columns=KEYPOINTS,
            layout="columns",
            classes=3,
            keypoints=4,
            keypoint_values=2,
        ),
    ),
    "pose-of-two-strides": (
        facts({"output0": (1, 56, 2000)}, metadata=pose()),
        "yolov8-pose",
        boxes.Params(output="output0", columns=KEYPOINTS, layout="columns", classes=1, keypoints=17),
    ),
    "segment": (
        facts(SEG, metadata=ultralytics(80, task="segment")),
        "yolov8-seg",
        boxes.Params(output="output0", columns=MASKS, layout="columns", masks=32, prototypes="output1"),
    ),
    "segment-bare": (
        facts(SEG),
        "yolov8-seg",
        boxes.Params(output="output0", columns=MASKS, layout="columns", masks=32, prototypes="output1"),
    ),
    "segment-of-prototypes-first": (
        facts({"output1": (1, 32, 160, 160), "output0": (1, 116, 8400)}),
        "yolov8-seg",
        boxes.Params(output="output0", columns=MASKS, layout="columns", masks=32, prototypes="output1"),
    ),
    "obb-bare": (
        facts({"output0": (1, 20, 21504)}, (1024, 1024), operators=("Cos", "Sin", "Softmax")),
        "yolov8-obb",
        boxes.Params(output="output0", columns=("box", "classes", "angle"), layout="columns"),
    ),
    "obb": (
        facts({"output0": (1, 20, 21504)}, (1024, 1024), metadata=ultralytics(15, task="obb")),
        "yolov8-obb",
        boxes.Params(output="output0", columns=("box", "classes", "angle"), layout="columns"),
    ),
    "detect-of-two-strides": (
        facts({"output0": (1, 7, 2000)}, metadata=ultralytics(3)),
        "yolov8",
        boxes.Params(output="output0", layout="columns"),
    ),
    "detect-of-named-sizes": (
        facts({"output0": ("batch", "Concat_dim_1", "anchors")}, None, metadata=ultralytics(3)),
        "yolov8",
        boxes.Params(output="output0", layout="columns"),
    ),
    "detect-of-as-many-cells-as-columns": (
        facts({"output0": (1, 84, 84)}, (64, 64), metadata=ultralytics(80)),
        "yolov8",
        boxes.Params(output="output0", layout="columns"),
    ),
    "faces-by-metadata": (
        facts({"output0": (1, 20, 8400)}, metadata=pose(1, "[5, 3]")),
        "yolov8-pose",
        boxes.Params(output="output0", columns=KEYPOINTS, layout="columns", classes=1, keypoints=5),
    ),
    "sixteen-classes-by-metadata": (
        facts({"output0": (1, 20, 8400)}, metadata=ultralytics(16)),
        "yolov8",
        boxes.Params(output="output0", layout="columns"),
    ),
    "pose-nms": (
        facts({"output0": (1, 300, 57)}, metadata=pose(**NMS)),
        "yolo_e2e-pose",
        rows.Params(output="output0", columns=(*rows.Params(output="a").columns, "keypoints")),
    ),
    "segment-nms": (
        facts({**SEG, "output0": (1, 300, 38)}, metadata=ultralytics(80, task="segment", **NMS)),
        "yolo_e2e-seg",
        rows.Params(
            output="output0", columns=(*rows.Params(output="a").columns, "masks"), prototypes="output1"
        ),
    ),
    "obb-nms": (
        facts({"output0": (1, 300, 7)}, metadata=ultralytics(15, task="obb", **NMS)),
        "yolo_e2e-obb",
        rows.Params(output="output0", columns=("cx", "cy", "w", "h", "confidence", "class", "angle")),
    ),
    "detect-nms-of-open-rows": (
        facts({"output0": ("batch", "n", "m")}, None, metadata=ultralytics(80, **NMS)),
        "yolo_e2e",
        rows.Params(output="output0"),
    ),
    "yolov5-segment": (
        facts({"output0": (1, 25200, 117), "output1": (1, 32, 160, 160)}),
        "yolov5-seg",
        boxes.Params(
            output="output0",
            columns=("box", "objectness", "classes", "masks"),
            masks=32,
            prototypes="output1",
        ),
    ),
    "yolov5-eleven-classes": (
        facts({"output": (1, 25200, 16)}, metadata=yolov5_file(11)),
        "yolov5",
        boxes.Params(output="output", **YOLO),
    ),
    "yolov5-face": (
        facts({"output": (1, 25200, 16)}, metadata=yolov5_file(1)),
        "yolov5-face",
        boxes.Params(
            output="output",
            columns=("box", "objectness", "keypoints", "classes"),
            classes=1,
            keypoints=5,
            keypoint_values=2,
        ),
    ),
    "yolov7-pose": (
        facts({"output": (1, 25200, 57)}, metadata=yolov5_file(1)),
        "yolov7-pose",
        boxes.Params(
            output="output",
            columns=("box", "objectness", "classes", "keypoints"),
            classes=1,
            keypoints=17,
        ),
    ),
    "yolov4": (
        facts({"boxes": (1, 22743, 1, 4), "confs": (1, 22743, 80)}, (608, 608), "input"),
        "yolov4",
        boxes.Params(boxes="boxes", scores="confs", format="xyxy", unit="fractions"),
    ),
    "yolov7-end2end": (
        facts({"output": ("n", 7)}, operators=("NonMaxSuppression",)),
        "yolov7",
        rows.Params(output="output", columns=("batch", "x1", "y1", "x2", "y2", "class", "confidence")),
    ),
    "yolo-nas": (
        facts({"pred_bboxes": (1, 8400, 4), "pred_scores": (1, 8400, 80)}),
        "yolo-nas",
        boxes.Params(boxes="pred_bboxes", scores="pred_scores", format="xyxy"),
    ),
    "yolo-nas-flat": (
        facts({"graph2_flat_predictions": ("n", 7)}),
        "yolo-nas",
        rows.Params(
            output="graph2_flat_predictions",
            columns=("batch", "x1", "y1", "x2", "y2", "confidence", "class"),
        ),
    ),
    "yolo-nas-batch": (
        facts(
            {
                "graph2_num_predictions": (1, 1),
                "graph2_pred_boxes": (1, 300, 4),
                "graph2_pred_scores": (1, 300),
                "graph2_pred_classes": (1, 300),
            }
        ),
        "yolo-nas",
        rows.Params(
            boxes="graph2_pred_boxes",
            scores="graph2_pred_scores",
            labels="graph2_pred_classes",
            count="graph2_num_predictions",
        ),
    ),
    "paddle": (
        fed(typed(facts({"tmp_0": ("n", 6), "tmp_2": (1,)}), tmp_2="int32"), **PADDLE),
        "paddledetection",
        rows.Params(output="tmp_0", columns=("class", "confidence", "x1", "y1", "x2", "y2"), count="tmp_2"),
    ),
    "pp-yoloe-without-nms": (
        fed(facts({"tmp_16": (1, 8400, 4), "concat_14": (1, 80, 8400)}), **PADDLE),
        "paddledetection",
        boxes.Params(boxes="tmp_16", scores="concat_14", format="xyxy", scores_layout="columns"),
    ),
    "pinto": (
        facts({"batchno_classid_score_x1y1x2y2": ("n", 7)}, (320, 320), "input"),
        "pinto",
        rows.Params(
            output="batchno_classid_score_x1y1x2y2",
            columns=("batch", "class", "confidence", "x1", "y1", "x2", "y2"),
            keypoint_values=2,
        ),
    ),
    "pinto-score-apart": (
        facts({"score": ("n", 1), "batchno_classid_y1x1y2x2": ("n", 6)}),
        "pinto",
        rows.Params(
            output="batchno_classid_y1x1y2x2",
            columns=("batch", "class", "y1", "x1", "y2", "x2"),
            scores="score",
            keypoint_values=2,
        ),
    ),
    "pinto-landmarks": (
        facts({"batchno_classid_score_x1y1x2y2_landms": ("n", 17)}),
        "pinto",
        rows.Params(
            output="batchno_classid_score_x1y1x2y2_landms",
            columns=("batch", "class", "confidence", "x1", "y1", "x2", "y2", "keypoints"),
            keypoint_values=2,
        ),
    ),
    "torchvision": (
        typed(facts({"boxes": ("n", 4), "labels": ("n",), "scores": ("n",)}), labels="int64"),
        "torchvision",
        rows.Params(boxes="boxes", labels="labels", scores="scores", first_class=1),
    ),
    "tensorflow": (
        facts(
            {
                "detection_boxes:0": (1, 100, 4),
                "detection_classes:0": (1, 100),
                "detection_scores:0": (1, 100),
                "num_detections:0": (1,),
                "raw_detection_boxes:0": (1, 1917, 4),
            }
        ),
        "tensorflow",
        rows.Params(
            boxes="detection_boxes:0",
            labels="detection_classes:0",
            scores="detection_scores:0",
            count="num_detections:0",
            format="yxyx",
            unit="fractions",
            first_class=1,
        ),
    ),
    "efficient-nms": (
        facts(
            {
                "num_dets": (1, 1),
                "det_boxes": (1, 100, 4),
                "det_scores": (1, 100),
                "det_classes": (1, 100),
            }
        ),
        "efficient_nms",
        rows.Params(boxes="det_boxes", scores="det_scores", labels="det_classes", count="num_dets"),
    ),
    "mmdeploy": (
        facts({"dets": (1, "n", 5), "labels": (1, "n")}),
        "mmdeploy",
        rows.Params(output="dets", columns=("x1", "y1", "x2", "y2", "confidence"), labels="labels"),
    ),
    "rt-detr-of-ultralytics": (
        facts({"output0": (1, 300, 84)}, metadata=ultralytics(80)),
        "rtdetr",
        queries.Params(output="output0", activation="none"),
    ),
    "rt-detr-of-two-classes": (
        facts(
            {"output0": (1, 300, 6)},
            metadata=ultralytics(2, description="Ultralytics rtdetr-l model trained on x"),
        ),
        "rtdetr",
        queries.Params(output="output0", activation="none"),
    ),
    "yolov10-of-two-classes": (
        facts(
            {"output0": (1, 300, 6)},
            metadata=ultralytics(2, description="Ultralytics YOLOv10n model trained on x"),
        ),
        "yolo_e2e",
        rows.Params(output="output0"),
    ),
    "rt-detr-of-coco": (
        facts({"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)}, operators=("GridSample",)),
        "rtdetr",
        queries.Params(boxes="pred_boxes", scores="logits"),
    ),
    "deformable-of-five-classes": (
        facts({"logits": (1, 300, 5), "pred_boxes": (1, 300, 4)}, operators=("GridSample",)),
        "rtdetr",
        queries.Params(boxes="pred_boxes", scores="logits"),
    ),
    "conditional-detr-of-five-classes": (
        facts({"logits": (1, 300, 5), "pred_boxes": (1, 300, 4)}, operators=("Log",)),
        "rtdetr",
        queries.Params(boxes="pred_boxes", scores="logits"),
    ),
    "rt-detr-final": (
        fed(
            facts({"labels": (1, 300), "boxes": (1, 300, 4), "scores": (1, 300)}),
            images=(1, 3, 640, 640),
            orig_target_sizes=(1, 2),
        ),
        "rtdetr",
        rows.Params(boxes="boxes", labels="labels", scores="scores"),
    ),
    "detr": (
        facts({"pred_logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}),
        "detr",
        queries.Params(boxes="pred_boxes", scores="pred_logits", activation="softmax", background="last"),
    ),
    "rf-detr": (
        facts({"dets": (1, 300, 4), "labels": (1, 300, 91)}, (560, 560), "input"),
        "rfdetr",
        queries.Params(boxes="dets", scores="labels"),
    ),
}

DOUBT: dict[str, tuple[ModelFacts, set[str]]] = {
    "yolov5-face-bare": (facts({"output": (1, 25200, 16)}, image="input"), {"yolov5", "yolov5-face"}),
    "yolov7-face-bare": (facts({"output": (1, 25200, 21)}), {"yolov5", "yolov7-face"}),
    "yolov7-pose-bare": (facts({"output": (1, 25200, 57)}), {"yolov5", "yolov7-pose"}),
    "yolov8-pose-bare": (facts({"output0": (1, 56, 8400)}), {"yolov8", "yolov8-pose"}),
    "yolov8-face-bare": (facts({"output0": (1, 20, 8400)}), {"yolov8", "yolov8-face"}),
    "hands-bare": (facts({"output0": (1, 68, 8400)}), {"yolov8", "yolov8-pose"}),
    "rows-of-two-classes": (
        facts({"output0": (1, 300, 6)}, metadata=ultralytics(2)),
        {"yolo_e2e", "rtdetr"},
    ),
    "detr-or-a-sigmoid": (
        facts({"logits": (1, 100, 5), "pred_boxes": (1, 100, 4)}),
        {"detr", "rtdetr"},
    ),
}

NONE: dict[str, ModelFacts] = {
    "pose-without-its-shape": facts({"output0": (1, 56, 8400)}, metadata=ultralytics(1, task="pose")),
    "pose-of-another-shape": facts({"output0": (1, 56, 8400)}, metadata=pose(1, "[16, 3]")),
    "pose-nms-of-another-shape": facts({"output0": (1, 300, 56)}, metadata=pose(**NMS)),
    "segment-without-prototypes": facts(
        {"output0": (1, 116, 8400)}, metadata=ultralytics(80, task="segment")
    ),
    "segment-of-other-columns": facts(SEG, metadata=ultralytics(79, task="segment")),
    "obb-of-other-columns": facts({"output0": (1, 19, 8400)}, metadata=ultralytics(15, task="obb")),
    "classify-of-three-axes": facts({"output0": (1, 7, 8400)}, metadata=ultralytics(3, task="classify")),
    "two-prototypes": facts({**SEG, "output2": (1, 32, 160, 160)}),
    "yolov7-end2end-without-nms": facts({"output": ("n", 7)}),
    "paddle-without-its-inputs": facts({"tmp_0": ("n", 6), "tmp_2": (1,)}),
    "pinto-of-another-width": facts({"batchno_classid_score_x1y1x2y2": ("n", 6)}),
    "pinto-unknown-part": facts({"batchno_classid_score_x1y1x2y2_depth": ("n", 8)}),
    "torchvision-of-float-labels": facts({"boxes": ("n", 4), "labels": ("n",), "scores": ("n",)}),
    "boxes-labels-scores-with-a-batch": facts({"boxes": (1, 300, 4), "labels": (1, 300), "scores": (1, 300)}),
    "tensorflow-of-tensorrt": facts(
        {
            "detection_boxes": (1, 100, 4),
            "detection_classes": (1, 100),
            "detection_scores": (1, 100),
            "num_detections": (1,),
        },
        operators=("EfficientNMS_TRT",),
    ),
    "dets-of-six": facts({"dets": (1, "n", 6), "labels": (1, "n")}),
    "queries-of-two-lengths": facts({"logits": (1, 100, 92), "pred_boxes": (1, 99, 4)}),
}


@pytest.mark.parametrize(("model", "brand", "params"), ONE.values(), ids=ONE)
def test_one_reading(model: ModelFacts, brand: str, params: HeadParams) -> None:
    (reading,) = heads.recognize(model)
    assert (reading.brand, reading.params) == (brand, params)
    assert heads.get(reading.type).Params is type(params)


@pytest.mark.parametrize(("model", "brands"), DOUBT.values(), ids=DOUBT)
def test_doubt_names_every_brand(model: ModelFacts, brands: set[str]) -> None:
    assert {reading.brand for reading in heads.recognize(model)} == brands


@pytest.mark.parametrize("model", NONE.values(), ids=NONE)
def test_no_reading(model: ModelFacts) -> None:
    assert heads.recognize(model) == []


def test_brands_that_feed_a_network_differently_are_in_doubt() -> None:
    """A decoded YOLOX takes other pixels than a YOLOv5, even if their outputs mean the same."""
    readings = heads.recognize(facts({"output": (1, None, 85)}, operators=("Exp",)))
    assert {reading.brand for reading in readings} == {"yolox", "yolov5"}


DRAFTS: dict[str, tuple[Any, ModelFacts, HeadParams]] = {
    "table": (boxes, facts({"o": (1, 84, 8400)}), boxes.Params(output="o", layout="columns")),
    "table-by-rows": (boxes, facts({"o": (1, 8400, 85)}), boxes.Params(output="o", **YOLO)),
    "table-of-open-rows": (boxes, facts({"o": (1, None, 9)}), boxes.Params(output="o", **YOLO)),
    "table-with-prototypes": (
        boxes,
        facts({"o": (1, 40, 8400), "p": (1, 32, 160, 160)}),
        boxes.Params(output="o", layout="columns", columns=MASKS, masks=32, prototypes="p"),
    ),
    "pose": (
        boxes,
        facts({"o": (1, 56, 8400)}),
        boxes.Params(output="o", layout="columns", columns=KEYPOINTS, classes=1, keypoints=17),
    ),
    "faces": (
        boxes,
        facts({"o": (1, 25200, 16)}),
        boxes.Params(
            output="o",
            columns=("box", "objectness", "keypoints", "classes"),
            classes=1,
            keypoints=5,
            keypoint_values=2,
        ),
    ),
    "boxes-and-scores": (
        boxes,
        facts({"s": (1, 100, 3), "b": (1, 100, 4)}),
        boxes.Params(boxes="b", scores="s", format="xyxy"),
    ),
    "boxes-and-scores-by-columns": (
        boxes,
        facts({"b": (1, 100, 4), "s": (1, 3, 100)}),
        boxes.Params(boxes="b", scores="s", format="xyxy", scores_layout="columns"),
    ),
    "final": (rows, facts({"o": (1, 100, 6)}), rows.Params(output="o")),
    "final-of-seven": (
        rows,
        facts({"o": ("n", 7)}),
        rows.Params(output="o", columns=("batch", "x1", "y1", "x2", "y2", "class", "confidence")),
    ),
    "final-with-labels": (
        rows,
        facts({"o": ("n", 5), "my_labels": ("n",)}),
        rows.Params(output="o", columns=("x1", "y1", "x2", "y2", "confidence"), labels="my_labels"),
    ),
    "final-named": (
        rows,
        facts({"a/boxes": ("n", 4), "a/scores": ("n",), "a/classes:0": ("n",)}),
        rows.Params(boxes="a/boxes", scores="a/scores", labels="a/classes:0"),
    ),
    "final-without-names": (
        rows,
        typed(facts({"7": ("boxes_0", 4), "8": ("labels_0",), "9": ("labels_0",)}), **{"8": "int64"}),
        rows.Params(boxes="7", scores="9", labels="8", first_class=1),
    ),
    "queries": (
        queries,
        facts({"b": (1, 300, 4), "s": (1, 300, 5)}),
        queries.Params(boxes="b", scores="s"),
    ),
    "queries-of-detr": (
        queries,
        facts({"b": (1, 100, 4), "s": (1, 100, 92)}),
        queries.Params(boxes="b", scores="s", activation="softmax", background="last"),
    ),
    "queries-in-one": (
        queries,
        facts({"o": (1, 300, 9)}),
        queries.Params(output="o", activation="none"),
    ),
}


@pytest.mark.parametrize(("module", "model", "params"), DRAFTS.values(), ids=DRAFTS)
def test_drafts(module: Any, model: ModelFacts, params: HeadParams) -> None:
    assert module.draft(model) == params


@pytest.mark.parametrize("module", [boxes, rows, queries], ids=lambda module: module.TYPE)
@pytest.mark.parametrize("outputs", [{}, {"logits": (1, 1000)}, {"map": (1, 4, 20, 20)}], ids=str)
def test_what_cannot_be_read_is_not_drafted(module: Any, outputs: dict[str, Shape]) -> None:
    with pytest.raises(HeadError, match=f"{module.TYPE} head: no ") as raised:
        module.draft(facts(outputs))
    assert "\n" not in str(raised.value)

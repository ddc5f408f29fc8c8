"""recognize(): which head a model's shapes, names and metadata speak for, and where doubt is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edgecv import heads
from edgecv.heads import anchors, boxes
from edgecv.heads.base import HeadParams
from edgecv.heads.priors import ULTRAFACE
from edgecv.types import ModelFacts, TensorSpec

Shape = tuple[int | str | None, ...]


def facts(
    outputs: Mapping[str, Shape],
    image_wh: tuple[int, int] | None = (640, 640),
    image: str = "images",
    metadata: Mapping[str, str] | None = None,
    operators: tuple[str, ...] = (),
) -> ModelFacts:
    width, height = image_wh or ("width", "height")
    return ModelFacts(
        inputs=(TensorSpec(image, np.dtype(np.float32), (1, 3, height, width)),),
        outputs=tuple(TensorSpec(name, np.dtype(np.float32), shape) for name, shape in outputs.items()),
        metadata=metadata or {},
        image_wh=image_wh,
        operators=frozenset(operators),
    )


def ultralytics(classes: int, task: str = "detect", **more: str) -> dict[str, str]:
    names = {i: f"class{i}" for i in range(classes)}
    return {"names": str(names), "stride": "32", "task": task, "imgsz": "[640, 640]", **more}


def yolov5_file(classes: int) -> dict[str, str]:
    return {"names": str({i: f"class{i}" for i in range(classes)}), "stride": "32"}


def brand(type: str, **fields: Any) -> HeadParams:
    """The parameters that a card's fields of a brand stand for."""
    _, params = heads.params_from({"type": type, **fields})
    return params


YUNET = {
    f"{role}_{stride}": (1, (640 // stride) ** 2, columns)
    for role, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}
NANODET = {
    "792": (1, 2704, 80),
    "814": (1, 676, 80),
    "836": (1, 169, 80),
    "795": (1, 2704, 32),
    "817": (1, 676, 32),
    "839": (1, 169, 32),
}

ONE_HEAD: dict[str, tuple[ModelFacts, HeadParams]] = {
    "yolov5": (
        facts({"output0": (1, 25200, 85)}, metadata=yolov5_file(80)),
        brand("yolov5", output="output0"),
    ),
    "yolov5-6x": (facts({"output": (1, 102000, 85)}, (1280, 1280)), brand("yolov5", output="output")),
    "yolov5-one-class": (facts({"output": (1, 25200, 6)}), brand("yolov5", output="output")),
    "yolov5-open-rows": (
        facts({"output0": (1, "anchors", 85)}, None, metadata=yolov5_file(80)),
        brand("yolov5", output="output0"),
    ),
    "yolov5-raw-beside": (
        facts(
            {
                "output": (1, 25200, 85),
                "345": (1, 3, 80, 80, 85),
                "403": (1, 3, 40, 40, 85),
                "461": (1, 3, 20, 20, 85),
            }
        ),
        brand("yolov5", output="output"),
    ),
    "yolov8": (facts({"output0": (1, 84, 8400)}, metadata=ultralytics(80)), brand("yolov8")),
    "yolov8-bare": (facts({"output0": (1, 84, 8400)}), brand("yolov8")),
    "yolov8-p2": (facts({"output0": (1, 7, 34000)}, metadata=ultralytics(3)), brand("yolov8")),
    "yolov8-p6": (facts({"output0": (1, 84, 8500)}), brand("yolov8")),
    "yolov8-dynamic": (
        facts({"output0": ("batch", 84, "anchors")}, None, metadata=ultralytics(80)),
        brand("yolov8"),
    ),
    "yolov8-open-columns": (facts({"output0": (1, 84, None)}), brand("yolov8")),
    "yolov8-transposed": (
        facts({"dets": (1, 8400, 84)}, metadata=ultralytics(80)),
        brand("yolov8", output="dets", transposed=True),
    ),
    "yolov8-two-classes": (facts({"output0": (1, 6, 8400)}, metadata=ultralytics(2)), brand("yolov8")),
    "yolov8-52-classes": (facts({"output0": (1, 56, 8400)}, metadata=ultralytics(52)), brand("yolov8")),
    "yolov5-two-strides": (facts({"output": (1, 6000, 85)}), brand("yolov5", output="output")),
    "yolov5-two-strides-one-class": (facts({"output": (1, 6000, 6)}), brand("yolov5", output="output")),
    "yolov5-four-strides-one-class": (facts({"output": (1, 102000, 6)}), brand("yolov5", output="output")),
    "yolov5-any-rows-by-metadata": (
        facts({"output": (1, 1234, 85)}, metadata=yolov5_file(80)),
        brand("yolov5", output="output"),
    ),
    "yolov8-two-strides": (facts({"output0": (1, 7, 2000)}), brand("yolov8")),
    "yolov8-of-metadata-beside-its-maps": (
        facts({"output0": (1, 7, 8400), "p": (1, 67, 80, 80)}, metadata=ultralytics(3)),
        brand("yolov8"),
    ),
    "yolox-four-strides": (
        facts({"output": (1, 8500, 85)}, operators=("Exp",)),
        brand("yolox", output="output", decoded=True),
    ),
    "yolov6-by-its-graph": (
        facts({"outputs": (1, 8400, 85)}, operators=("Conv", "ConvTranspose")),
        boxes.Params(output="outputs", columns=("box", "objectness", "classes")),
    ),
    "e2e": (facts({"output0": (1, 300, 6)}), brand("yolo_e2e")),
    "yolov8-transposed-two-strides": (
        facts({"output0": (1, 2000, 6)}, metadata=ultralytics(2)),
        brand("yolov8", transposed=True),
    ),
    "e2e-yolov10": (facts({"output0": (1, 300, 6)}, metadata=ultralytics(80)), brand("yolo_e2e")),
    "e2e-yolo26": (
        facts({"output0": (1, 300, 6)}, metadata=ultralytics(2, end2end="True")),
        brand("yolo_e2e"),
    ),
    "e2e-nms-inside": (
        facts({"output0": (1, 300, 6)}, metadata=ultralytics(2, args="{'nms': True}")),
        brand("yolo_e2e"),
    ),
    "e2e-as-many-rows-as-cells": (
        facts({"output0": (1, 8400, 6)}, metadata=ultralytics(80, end2end="True")),
        brand("yolo_e2e"),
    ),
    "ultraface-320": (
        facts(
            {"scores": (1, 4420, 2), "boxes": (1, 4420, 4)},
            (320, 240),
            "input",
            operators=("Exp", "Conv"),
        ),
        boxes.Params(boxes="boxes", scores="scores", format="xyxy", unit="fractions", background="first"),
    ),
    "ultraface-320-priors": (
        facts({"scores": (1, 4420, 2), "boxes": (1, 4420, 4)}, (320, 240), "input", operators=("Conv",)),
        anchors.Params(priors=ULTRAFACE, background="first"),
    ),
    "ultraface-640": (
        facts({"scores": (1, 17640, 2), "boxes": (1, 17640, 4)}, (640, 480), "input", operators=("Exp",)),
        boxes.Params(boxes="boxes", scores="scores", format="xyxy", unit="fractions", background="first"),
    ),
}

SEVERAL_HEADS: dict[str, tuple[ModelFacts, set[str]]] = {
    "rows-picked-or-of-two-strides": (
        facts({"output0": (1, 300, 6)}, (160, 128), operators=("TopK",)),
        {"yolo_e2e", "yolov5"},
    ),
    "grid-rows-of-unknown-origin": (facts({"out": (1, 8400, 85)}), {"yolox", "yolov8"}),
    "yolov6-or-a-yolox": (facts({"outputs": (1, 8400, 85)}), {"yolox", "yolov6", "yolov8"}),
    "open-rows": (facts({"output": (1, None, 85)}), {"yolox", "yolov5"}),
    "open-rows-of-unknown-origin": (facts({"out": (1, None, 85)}), {"yolox", "yolov5", "yolov8"}),
    "six-columns-and-open-rows": (
        facts({"out": (1, None, 6)}, None),
        {"yolox", "yolov5", "yolov8", "yolo_e2e"},
    ),
    "rows-of-four-strides": (facts({"out": (1, 2125, 112)}, (320, 320)), {"nanodet", "yolov8", "yolox"}),
    "rows-of-finer-strides": (facts({"out": (1, 34000, 85)}), {"yolov8", "yolox"}),
}

NO_HEAD: dict[str, ModelFacts] = {
    "no-outputs": facts({}),
    "embedding": facts({"features": (1, 512)}, (224, 224)),
    "scalar-output": facts({"loss": ()}),
    "unknown-ranks": facts({str(i): () for i in range(6)}),
    "segmentation-net": facts({"out": (1, 21, 40, 40)}),
    "darknet-yolo-layer": facts({"out": (1, 425, 20, 20)}),
    "darknet-yolo-layers": facts({"yolo_82": (1, 255, 20, 20), "yolo_94": (1, 255, 40, 40)}),
    "darknet-region": facts({"region_30": (1, 425, 20, 20)}),
    "darknet-detection": facts({"detection_25": (1, 1470)}, (448, 448)),
    "wrong-cell-count": facts({"output": (1, 8401, 85)}),
    "rows-fixed-beside-a-dynamic-image": facts({"output0": (1, 84, 8400)}, None),
    "nothing-known": facts({"output0": (None, None, None)}, None),
    "yolov8-pose": facts({"output0": (1, 56, 8400)}, metadata=ultralytics(1, task="pose")),
    "yolov8-other-class-count": facts({"output0": (1, 84, 8400)}, metadata=ultralytics(79)),
    "yolov5-other-class-count": facts({"output0": (1, 25200, 117)}, metadata=yolov5_file(80)),
    "tables-of-two-branches": facts({"a": (1, 7, 8400), "b": (1, 7, 8400)}, metadata=ultralytics(3)),
    "rows-too-many-to-be-final": facts({"output0": (1, 5000, 6)}),
    "yolov5-raw-only": facts({"p3": (1, 3, 80, 80, 85), "p4": (1, 3, 40, 40, 85), "p5": (1, 3, 20, 20, 85)}),
    "e2e-of-another-task": facts(
        {"output0": (1, 300, 6)}, metadata=ultralytics(80, task="obb", end2end="True")
    ),
    "yolov7-end-to-end": facts({"output": (100, 7)}),
    "box-and-one-score-short": facts({"output0": (1, 4, 8400)}),
    "nanodet-three-strides-in-one": facts({"output": (1, 2100, 112)}, (320, 320), "data"),
    "nanodet-32-classes": facts(
        {name: (*shape[:2], 32) for name, shape in NANODET.items()}, (416, 416), "input.1"
    ),
    "nanodet-other-size": facts(NANODET, (320, 320), "input.1"),
    "nanodet-open-cells": facts({name: (1, "n", shape[2]) for name, shape in NANODET.items()}, (416, 416)),
    "fastestdet-other-classes": facts({"758": (1, 8, 22, 22)}, (352, 352), "input.1"),
    "fastestdet-dynamic": facts({"758": (1, 85, "h", "w")}, None, "input.1"),
    "yunet-without-landmarks": facts({n: s for n, s in YUNET.items() if not n.startswith("kps")}),
    "yunet-other-columns": facts({**YUNET, "kps_8": (1, 6400, 8)}),
    "yunet-other-cells": facts({**YUNET, "kps_8": (1, 6401, 10)}),
    "boxes-and-scores-of-another": facts({"boxes": (1, 8400, 4), "scores": (1, 8400, 80)}),
    "ultraface-other-priors": facts(
        {"boxes": (1, 4421, 4), "scores": (1, 4421, 2)}, (320, 240), operators=("Exp",)
    ),
    "ultraface-unknown-operators": facts({"boxes": (1, 4420, 4), "scores": (1, 4420, 2)}, (320, 240)),
    "ultraface-dynamic": facts({"boxes": (1, "n", 4), "scores": (1, "n", 2)}, None),
}


@pytest.mark.parametrize(("model", "params"), ONE_HEAD.values(), ids=ONE_HEAD)
def test_one_head(model: ModelFacts, params: HeadParams) -> None:
    (reading,) = heads.recognize(model)
    kind, found = reading.type, reading.params
    assert found == params
    assert heads.get(kind).Params is type(params)


@pytest.mark.parametrize(("model", "kinds"), SEVERAL_HEADS.values(), ids=SEVERAL_HEADS)
def test_doubt_lists_every_candidate(model: ModelFacts, kinds: set[str]) -> None:
    assert {reading.brand for reading in heads.recognize(model)} == kinds


@pytest.mark.parametrize("model", NO_HEAD.values(), ids=NO_HEAD)
def test_no_head(model: ModelFacts) -> None:
    assert heads.recognize(model) == []


BAD_METADATA: dict[str, Any] = {
    "empty": {"names": "", "stride": ""},
    "not-literals": {"names": "os.system('x')", "stride": "three", "task": "", "args": "{"},
    "deep": {"names": "[" * 10_000, "stride": "-" * 100_000 + "1"},
    "other-keys": {"author": "someone"},
}


@pytest.mark.parametrize("metadata", BAD_METADATA.values(), ids=BAD_METADATA)
@pytest.mark.parametrize(("model", "params"), ONE_HEAD.values(), ids=ONE_HEAD)
def test_unreadable_metadata_never_crashes(
    model: ModelFacts, params: HeadParams, metadata: dict[str, str]
) -> None:
    hostile = ModelFacts(model.inputs, model.outputs, metadata, model.image_wh, model.operators)
    assert isinstance(heads.recognize(hostile), list)

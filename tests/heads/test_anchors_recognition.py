"""Brands and drafts of heads that read maps of anchors or offsets from priors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edgecv import heads
from edgecv.errors import CardError, HeadError
from edgecv.heads import anchors, grid, priors, vector
from edgecv.heads.brands import faster_rcnn, retinaface
from edgecv.heads.priors import FAMILIES
from edgecv.types import ModelFacts, TensorSpec

Shape = tuple[int | str | None, ...]


def facts(
    outputs: Mapping[str, Shape],
    image_wh: tuple[int, int] | None = (640, 640),
    operators: tuple[str, ...] = ("Conv",),
    ends: Mapping[str, str] | None = None,
) -> ModelFacts:
    width, height = image_wh or ("width", "height")
    return ModelFacts(
        inputs=(TensorSpec("image", np.dtype(np.float32), (1, 3, height, width)),),
        outputs=tuple(TensorSpec(name, np.dtype(np.float32), shape) for name, shape in outputs.items()),
        image_wh=image_wh,
        operators=frozenset(operators),
        ends=ends or {},
    )


RETINAFACE = {"loc": (1, 16800, 4), "conf": (1, 16800, 2), "landms": (1, 16800, 10)}
TAO = {"output_bbox/BiasAdd:0": (1, 12, 34, 60), "output_cov/Sigmoid:0": (1, 3, 34, 60)}
SSDLITE = {"bbox_regression": (1, 3234, 4), "cls_logits": (1, 3234, 91)}
RETINANET = {"cls_logits": (1, 120087, 91), "bbox_regression": (1, 120087, 4)}
MASKS = {"loc_branch_concat": (1, 5972, 4), "cls_branch_concat": (1, 5972, 2)}

RECOGNIZED: dict[str, tuple[ModelFacts, str, dict[str, Any]]] = {
    "retinaface": (
        facts(RETINAFACE, operators=("Conv", "Softmax")),
        "retinaface",
        {"boxes": "loc", "scores": "conf", "keypoints": "landms", "logits": False, "background": "first"},
    ),
    "retinaface-logits": (facts(RETINAFACE), "retinaface", {"logits": "softmax"}),
    "retinaface-names-of-torch": (
        facts({"output0": (1, 16800, 4), "590": (1, 16800, 2), "589": (1, 16800, 10)}),
        "retinaface",
        {"boxes": "output0", "scores": "590", "keypoints": "589"},
    ),
    "aizoo": (facts(MASKS, (260, 260)), "aizoo", {"background": None, "logits": False}),
    "ssdlite": (
        facts(SSDLITE, (320, 320)),
        "torchvision_heads",
        {"logits": "softmax", "background": "first", "variances": (0.1, 0.2), "max_growth": 62.5},
    ),
    "ssd300": (
        facts({"bbox_regression": (1, 8732, 4), "cls_logits": (1, 8732, 91)}, (300, 300)),
        "torchvision_heads",
        {"logits": "softmax"},
    ),
    "retinanet": (
        facts(RETINANET, (800, 800)),
        "torchvision_heads",
        {"logits": True, "background": None, "variances": (1.0, 1.0)},
    ),
    "blazeface": (
        facts({"regressors": (1, 896, 16), "classificators": (1, 896, 1)}, (128, 128)),
        "blazeface",
        {"keypoints": "regressors", "logits": True, "code": "linear"},
    ),
    "blazeface-back": (facts({"a": (1, 896, 1), "b": (1, 896, 16)}, (256, 256)), "blazeface", {"boxes": "b"}),
    "palms": (
        facts({"b": (1, 2016, 18), "s": (1, 2016, 1)}, (192, 192), ends={"s": "Sigmoid"}),
        "blazeface",
        {"logits": False},
    ),
    "persons": (facts({"b": (1, 2254, 12), "s": (1, 2254, 1)}, (224, 224)), "blazeface", {}),
    "detectnet-tao": (
        facts(TAO, (960, 544)),
        "detectnet",
        {"code": "sides", "shared": False, "classes": 3, "scores": "output_cov/Sigmoid:0"},
    ),
}


@pytest.mark.parametrize(("model", "brand", "fields"), RECOGNIZED.values(), ids=RECOGNIZED)
def test_one_brand(model: ModelFacts, brand: str, fields: dict[str, Any]) -> None:
    (reading,) = heads.recognize(model)
    assert (reading.brand, reading.type) == (brand, anchors.TYPE)
    assert {name: getattr(reading.params, name) for name in fields} == fields
    assert isinstance(reading.params, anchors.Params)
    assert reading.input is not None


UNKNOWN: dict[str, ModelFacts] = {
    "retinaface-decoded": facts(RETINAFACE, operators=("Conv", "Exp")),
    "retinaface-unknown-operators": facts(RETINAFACE, operators=()),
    "retinaface-other-size": facts(RETINAFACE, (320, 320)),
    "retinaface-dynamic": facts({"loc": (1, "n", 4), "conf": (1, "n", 2), "landms": (1, "n", 10)}, None),
    "aizoo-other-names": facts({"loc": (1, 5972, 4), "cls": (1, 5972, 2)}, (260, 260)),
    "aizoo-other-size": facts(MASKS, (320, 320)),
    "retinanet-of-another": facts(
        {"regression": (1, 120087, 4), "classification": (1, 120087, 80)}, (800, 800)
    ),
    "torchvision-other-rows": facts(SSDLITE, (300, 300)),
    "blazeface-two-scores": facts({"b": (1, 896, 16), "s": (1, 896, 2)}, (128, 128)),
    "blazeface-other-size": facts({"b": (1, 896, 16), "s": (1, 896, 1)}, (160, 160)),
    "tao-shared-boxes": facts({**TAO, "output_bbox/BiasAdd:0": (1, 4, 34, 60)}, (960, 544)),
    "tao-other-cells": facts(TAO, (640, 640)),
}


@pytest.mark.parametrize("model", UNKNOWN.values(), ids=UNKNOWN)
def test_doubt_is_no_reading(model: ModelFacts) -> None:
    assert heads.recognize(model) == []


def test_how_a_brand_is_fed_goes_with_its_reading() -> None:
    (reading,) = heads.recognize(facts(RETINAFACE))
    assert reading.input == retinaface.INPUT
    module, params = heads.params_from({"type": "faster_rcnn", "features": "f", "anchors": [[0, 0, 9, 9]]})
    assert module.TYPE == "two_stages"
    assert faster_rcnn.reading(params).input == faster_rcnn.INPUT  # type: ignore[arg-type]


def test_layers_of_one_card_have_the_same_new_coords() -> None:
    layers = [{"output": name, "anchors": [[3, 4]], "new_coords": name == "b"} for name in "ab"]
    with pytest.raises(
        CardError, match=r"head \(yolo\): `new_coords` of some layers: expected the same in all"
    ):
        heads.params_from({"type": "yolo", "layers": layers, "classes": 3})


COUNTS = {
    "ultraface": ((320, 240), 4420),
    "retinaface": ((640, 640), 16800),
    "face_mask": ((260, 260), 5972),
    "ssdlite320": ((320, 320), 3234),
    "ssd300": ((300, 300), 8732),
    "blazeface": ((128, 128), 896),
    "blazeface-back": ((256, 256), 896),
    "blazepose": ((224, 224), 2254),
    "retinanet": ((800, 800), 120087),
    "efficientdet": ((512, 512), 49104),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_as_many_priors_as_its_networks_have_rows(family: str) -> None:
    size_wh, count = COUNTS[family]
    maps = FAMILIES[family](size_wh)
    assert priors.count(maps, size_wh) == count == len(priors.priors_of(maps, size_wh).cxcywh)


DRAFTS: dict[str, tuple[str, ModelFacts, dict[str, Any]]] = {
    "yolov5-cut": (
        "grid",
        facts({"p3": (1, 255, 80, 80), "p4": (1, 255, 40, 40), "p5": (1, 255, 20, 20)}),
        {"layout": "channels-first", "size": "square", "activated": False, "classes": None},
    ),
    "yolov5-cut-any-order": (
        "grid",
        facts(
            {"p5": (1, 255, 20, 20), "p3": (1, 255, 80, 80), "p4": (1, 255, 40, 40)},
            ends={"p3": "Sigmoid", "p4": "Sigmoid", "p5": "Sigmoid"},
        ),
        {"activated": True},
    ),
    "yolov5-raw": (
        "grid",
        facts({"p3": (1, 3, 80, 80, 85), "p4": (1, 3, 40, 40, 85), "p5": (1, 3, 20, 20, 85)}),
        {"layout": "channels-last"},
    ),
    "darknet": ("grid", facts({"yolo_82": (1, 255, 20, 20), "yolo_94": (1, 255, 40, 40)}), {"size": "exp"}),
    "channels-last": (
        "grid",
        facts({"a": (1, 13, 13, 255), "b": (1, 26, 26, 255)}, (416, 416)),
        {"layout": "channels-last"},
    ),
    "region": ("grid", facts({"out": (1, 425, 13, 13)}, (416, 416)), {"unit": "cells", "softmax": True}),
    "vector": ("vector", facts({"out": (1, 1470)}, (448, 448)), {"side": 7, "num": 2, "classes": 20}),
    "retinaface": ("anchors", facts(RETINAFACE), {"keypoints": "landms", "priors": priors.RETINAFACE}),
    "ssdlite": (
        "anchors",
        facts({"a": (1, 3234, 91), "b": (1, 3234, 4)}, (320, 320), ends={"a": "Gemm", "b": "Gemm"}),
        {"boxes": "b", "scores": "a", "logits": "softmax", "background": "first"},
    ),
    "efficientdet": (
        "anchors",
        facts(
            {"regression": (1, 49104, 4), "classification": (1, 49104, 90)},
            (512, 512),
            ends={"classification": "Sigmoid", "regression": "Conv"},
        ),
        {"background": None, "logits": False, "variances": (1.0, 1.0), "axes": "yx"},
    ),
    "retinanet": (
        "anchors",
        facts({"b": (1, 49104, 4), "s": (1, 49104, 80)}, (512, 512), ends={"s": "Conv", "b": "Conv"}),
        {"logits": True, "axes": "xy", "variances": (1.0, 1.0)},
    ),
    "blazeface": (
        "anchors",
        facts({"r": (1, 896, 16), "c": (1, 896, 1)}, (128, 128), ends={"r": "Conv", "c": "Conv"}),
        {"boxes": "r", "keypoints": "r", "logits": True, "code": "linear"},
    ),
    "unknown-number-of-priors": ("anchors", facts({"b": (1, 1000, 4), "s": (1, 1000, 21)}), {"boxes": "b"}),
}


@pytest.mark.parametrize(("type", "model", "fields"), DRAFTS.values(), ids=DRAFTS)
def test_drafts(type: str, model: ModelFacts, fields: dict[str, Any]) -> None:
    params = heads.get(type).draft(model)
    assert {name: getattr(params, name) for name in fields} == fields


def test_a_draft_lists_maps_from_the_smallest_stride_on() -> None:
    params = grid.draft(DRAFTS["yolov5-cut-any-order"][1])
    assert [(layer.output, layer.anchors[0]) for layer in params.layers] == [
        ("p3", (10, 13)),
        ("p4", (30, 61)),
        ("p5", (116, 90)),
    ]


NO_DRAFT: dict[str, tuple[str, ModelFacts, str]] = {
    "rows-are-no-maps": ("grid", facts({"output0": (1, 84, 8400)}), "expected maps alone"),
    "unknown-sizes": ("grid", facts({"p3": (1, 255, "h", "w")}, None), "expected maps alone"),
    "channels-of-no-anchors": ("grid", facts({"a": (1, 7, 80, 80)}), "expected maps alone"),
    "channels-that-differ": (
        "grid",
        facts({"a": (1, 255, 80, 80), "b": (1, 18, 40, 40)}),
        "as many anchors and columns of each stride",
    ),
    "a-prime-number": ("vector", facts({"out": (1, 997)}), r"expected one of \(batch, side\^2"),
    "maps-are-no-vector": ("vector", facts({"out": (1, 30, 7, 7)}), r"expected one of \(batch, side\^2"),
    "no-boxes": ("anchors", facts({"out": (1, 1000)}), r"expected one of \(batch, N, 4\)"),
    "no-scores": ("anchors", facts({"boxes": (1, 100, 4)}), "expected scores beside boxes"),
    "two-networks": ("two_stages", facts({"boxes": (1, 100, 4)}), "one network alone"),
}


@pytest.mark.parametrize(("type", "model", "message"), NO_DRAFT.values(), ids=NO_DRAFT)
def test_what_cannot_be_drafted_says_why(type: str, model: ModelFacts, message: str) -> None:
    with pytest.raises(HeadError, match=f"^{type} head: .*{message}"):
        heads.get(type).draft(model)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "grid-columns": (
        {"type": "grid", "layers": [{"output": "a", "anchors": [[1, 1]]}], "columns": ["box", "classes"]},
        "`columns` expected box, classes, objectness, each once",
    ),
    "grid-keypoints": (
        {"type": "grid", "layers": [{"output": "a", "anchors": [[1, 1]]}], "keypoints": 5},
        "`columns` expected box, classes, keypoints, objectness",
    ),
    "grid-background": (
        {"type": "grid", "layers": [{"output": "a", "anchors": [[1, 1]]}], "background": True},
        "`background` is a class of `softmax`",
    ),
    "anchors-names": (
        {"type": "anchors", "boxes": ["a", "b"], "priors": [{"stride": 8, "sizes": [1]}]},
        "`boxes` has 2 names for 1 maps of `priors`",
    ),
    "anchors-no-priors": ({"type": "anchors", "priors": []}, r"length >= 1 - at `head\.priors`"),
    "ssd-decoded-boxes-of-each-class": ({"type": "ssd", "shared": False}, "no `priors`: boxes of each class"),
    "anchors-keypoints-of-each-class": (
        {"type": "anchors", "shared": False, "keypoints": "k", "priors": [{"stride": 8, "sizes": [1]}]},
        "`shared` is false",
    ),
    "anchors-no-stride": (
        {"type": "anchors", "priors": [{"sizes": [1]}]},
        "expected `stride`, `cells_wh` or both",
    ),
    "anchors-variances": (
        {"type": "anchors", "variances": [1], "priors": [{"stride": 8, "sizes": [1]}]},
        "`variances` has 1 entries: expected 2 or 4",
    ),
}


@pytest.mark.parametrize(("card", "message"), WRONG.values(), ids=WRONG)
def test_wrong_cards_name_the_field(card: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        heads.params_from(card)


def test_a_vector_is_read_by_its_brand_and_by_its_type() -> None:
    fields = {"output": "v", "side": 7, "num": 2, "classes": 3}
    assert heads.params_from({"type": "detection", **fields}) == heads.params_from(
        {"type": "vector", **fields}
    )
    assert heads.params_from({"type": "vector", **fields})[0] is heads.get(vector.TYPE)

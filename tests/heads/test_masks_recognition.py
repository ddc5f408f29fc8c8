"""Brands whose networks tell masks over their boxes, or over the whole blob."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgecv import heads
from edgecv.heads import queries, rows
from edgecv.heads.base import HeadParams
from edgecv.types import ModelFacts
from tests.heads.test_boxes_recognition import typed
from tests.heads.test_head_recognition import Shape, facts

MASK_RCNN = {"boxes": ("n", 4), "labels": ("n",), "scores": ("n",)}
MMDEPLOY = {"dets": (1, "n", 5), "labels": (1, "n")}
RFDETR = {"dets": (1, 100, 4), "labels": (1, 100, 91)}
TORCHVISION = rows.Params(boxes="boxes", labels="labels", scores="scores", first_class=1, masks="masks")
OF_MMDEPLOY = rows.Params(
    output="dets", columns=("x1", "y1", "x2", "y2", "confidence"), labels="labels", masks="masks"
)


def with_masks(
    outputs: dict[str, Shape], shape: Shape, image_wh: tuple[int, int] | None = (640, 480)
) -> ModelFacts:
    return typed(facts({**outputs, "masks": shape}, image_wh), labels="int64")


ONE: dict[str, tuple[ModelFacts, str, HeadParams]] = {
    "torchvision-named-sizes": (
        with_masks(MASK_RCNN, ("n", 1, "h", "w")),
        "torchvision",
        replace(TORCHVISION, mask_space="blob"),
    ),
    "torchvision-of-the-image": (
        with_masks(MASK_RCNN, ("n", 1, 480, 640)),
        "torchvision",
        replace(TORCHVISION, mask_space="blob"),
    ),
    "torchvision-not-pasted": (with_masks(MASK_RCNN, ("n", 1, 28, 28)), "torchvision", TORCHVISION),
    "torchvision-not-pasted-of-any-image": (
        with_masks(MASK_RCNN, ("n", 1, 28, 28), None),
        "torchvision",
        TORCHVISION,
    ),
    "torchvision-keypoints": (
        typed(facts({**MASK_RCNN, "keypoints": ("n", 17, 3), "keypoints_scores": ("n", 17)}), labels="int64"),
        "torchvision",
        replace(TORCHVISION, masks=None, keypoints="keypoints"),
    ),
    "detr-masks": (
        facts({"logits": (1, 100, 92), "pred_boxes": (1, 100, 4), "pred_masks": (1, 100, 200, 200)}),
        "detr",
        queries.Params(
            boxes="pred_boxes", scores="logits", activation="softmax", background="last", masks="pred_masks"
        ),
    ),
    "mmdeploy-pasted": (
        with_masks(MMDEPLOY, (1, "n", 480, 640)),
        "mmdeploy",
        replace(OF_MMDEPLOY, mask_space="blob"),
    ),
    "mmdeploy-not-pasted": (with_masks(MMDEPLOY, (1, "n", 28, 28)), "mmdeploy", OF_MMDEPLOY),
    "rfdetr": (
        with_masks(RFDETR, (1, 100, 108, 108), (432, 432)),
        "rfdetr",
        queries.Params(boxes="dets", scores="labels", masks="masks"),
    ),
}


@pytest.mark.parametrize(("model", "brand", "params"), ONE.values(), ids=ONE)
def test_one_brand(model: ModelFacts, brand: str, params: HeadParams) -> None:
    (reading,) = heads.recognize(model)
    assert (reading.brand, reading.params) == (brand, params)


@pytest.mark.parametrize(
    "model",
    [
        with_masks(MASK_RCNN, ("n", 80, 28, 28)),
        with_masks(MASK_RCNN, ("n", 28, 28)),
        with_masks(MMDEPLOY, (1, "n", 1, 28, 28)),
        with_masks(RFDETR, (1, 100, 108)),
    ],
    ids=lambda model: str(model.outputs[-1].shape),
)
def test_masks_of_another_kind_are_no_brand(model: ModelFacts) -> None:
    assert heads.recognize(model) == []


@pytest.mark.parametrize(("model", "params"), [(model, params) for model, _, params in ONE.values()], ids=ONE)
def test_drafts_name_masks_and_keypoints(model: ModelFacts, params: HeadParams) -> None:
    """What a draft does not know is that a class is the background."""
    module: Any = rows if isinstance(params, rows.Params) else queries
    expected = replace(params, first_class=0) if module is rows else params
    assert module.draft(model) == expected

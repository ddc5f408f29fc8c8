"""What the tables of heads cannot hold of Faster R-CNN: a box for each class, and its card."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgecv import heads, rois
from edgecv.errors import CardError, HeadError
from edgecv.heads import two_stages
from edgecv.heads.base import Query
from edgecv.heads.brands import faster_rcnn
from edgecv.types import ModelFacts

F32 = np.float32
CARD: dict[str, Any] = {"type": "faster_rcnn", "features": "conv5", "anchors": rois.anchors().tolist()}


def outputs(classes: int, columns: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (12, 2))
    return {
        "rois": np.hstack([corner, corner + rng.uniform(5, 40, (12, 2))]).astype(F32),
        "cls_prob": rng.uniform(size=(12, classes)).astype(F32),
        "bbox_pred": rng.normal(0, 0.3, (12, columns)).astype(F32),
    }


def test_each_class_has_its_own_box() -> None:
    _, params = heads.params_from(CARD)
    assert isinstance(params, two_stages.Params)
    given = outputs(5, 20)
    found = two_stages.decode(given, params, Query((100, 90), 0.5, multi_label=True))
    place = 0
    for number, (x1, y1, x2, y2) in enumerate(given["rois"].tolist()):
        w, h = x2 - x1 + 1, y2 - y1 + 1
        for c in range(1, 5):
            if not given["cls_prob"][number, c] > 0.5:
                continue
            dx, dy, dw, dh = given["bbox_pred"][number, 4 * c : 4 * c + 4].tolist()
            cx, cy = x1 + w / 2 + dx * w, y1 + h / 2 + dy * h
            bw, bh = w * math.exp(dw), h * math.exp(dh)
            box = (cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2)
            expected = [min(max(v, 0), last) for v, last in zip(box, (99, 89, 99, 89), strict=True)]
            np.testing.assert_allclose(found.xyxy[place], expected, rtol=1e-5, atol=1e-4)
            assert found.class_id[place] == c - 1
            assert found.confidence[place] == given["cls_prob"][number, c]
            place += 1
    assert place == len(found) > 10


@pytest.mark.parametrize(
    ("columns", "agnostic", "expected"),
    [(16, False, "20"), (24, False, "20"), (20, True, "4 or 8"), (12, True, "4 or 8")],
)
def test_deltas_that_do_not_fit(columns: int, agnostic: bool, expected: str) -> None:
    _, params = heads.params_from({**CARD, "class_agnostic": agnostic})
    with pytest.raises(HeadError, match=rf"'bbox_pred' expected \(12, {expected}\), got \(12, {columns}\)"):
        two_stages.decode(outputs(5, columns), params, Query((100, 90), 0.5))  # type: ignore[arg-type]


def test_classes_that_do_not_fit() -> None:
    for classes, fits in ((4, True), (5, False)):
        _, params = heads.params_from({**CARD, "classes": classes})
        if fits:
            assert len(two_stages.decode(outputs(5, 20), params, Query((100, 90), 0.5)))  # type: ignore[arg-type]
            continue
        with pytest.raises(HeadError, match=r"'cls_prob' expected \(12, 6\), got \(12, 5\)"):
            two_stages.decode(outputs(5, 20), params, Query((100, 90), 0.5))  # type: ignore[arg-type]


def test_no_proposals_have_no_candidates() -> None:
    _, params = heads.params_from(CARD)
    given = {name: array[:0] for name, array in outputs(5, 20).items()}
    assert len(two_stages.decode(given, params, Query((100, 90), 0.5))) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchors": []}, "length >= 1"),
        ({"anchors": [[0, 0, 15]]}, "length 4"),
        ({"anchors": [[0, 0, 15, 15], [5, 0, 5, 9]]}, r"`anchors\[1\]`: expected left < right"),
        ({"stds": [0.1, 0, 0.2, 0.2]}, "> 0"),
        ({"nms_iou": 1.5}, "<= 1"),
        ({"pooled_wh": [7, 0]}, ">= 1"),
    ],
    ids=str,
)
def test_wrong_cards_name_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        heads.params_from({**CARD, **changes})


def test_no_bare_network_is_one() -> None:
    facts = ModelFacts(inputs=(), outputs=())
    assert faster_rcnn.recognize(facts) is None
    with pytest.raises(HeadError, match="one network alone"):
        two_stages.draft(facts)

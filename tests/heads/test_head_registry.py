"""The registry of heads, their parameters as a card holds them, and the grid that they share."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import heads
from edgecv.errors import CardError
from edgecv.heads.cells import cell_count, grid
from tests.heads.literal_decode import CASES, Case, cells


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_params_survive_a_card(case: Case) -> None:
    module, params = heads.params_from({"type": case.type, **case.params})
    text = json.dumps({"type": module.TYPE, **msgspec.to_builtins(params)})
    assert heads.params_from(json.loads(text)) == (module, params)
    assert hash(params) == hash(heads.params_from(json.loads(text))[1])


def test_every_head_is_listed_under_its_type() -> None:
    assert {kind: head.TYPE for kind, head in heads.HEADS.items()} == {kind: kind for kind in heads.HEADS}
    modules = [heads.params_from({"type": case.type, **case.params})[0] for case in CASES]
    assert set(heads.that_do("detect")) == {module.TYPE for module in modules}


WRONG_CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "no-type": ({}, r"head\.type: expected one of boxes, .*classify, got None"),
    "type-is-a-number": ({"type": 5}, r"head\.type: expected one of boxes, .*got 5"),
    "unknown-type": ({"type": "yolo99"}, r"head\.type: unknown head 'yolo99'; known: boxes, .*classify"),
    "unknown-field": (
        {"type": "yolox", "stridez": [8]},
        r"head \(yolox\): Object contains unknown field `stridez`; fields of yolox: output, strides",
    ),
    "wrong-element": ({"type": "yolox", "strides": [8, "16"]}, r"got `str` - at `head\.strides\[1\]`"),
    "zero-stride": ({"type": "yolox", "strides": [0]}, r">= 1 - at `head\.strides\[0\]`"),
    "no-strides": ({"type": "yolox", "strides": []}, r"length >= 1 - at `head\.strides`"),
    "boxes-neither": ({"type": "boxes"}, r"expected either `output`, or `boxes` and `scores`"),
    "boxes-both": ({"type": "boxes", "output": "a", "scores": "b"}, r"`scores` is beside `output`"),
    "boxes-no-box": (
        {"type": "boxes", "output": "a", "columns": ["classes"]},
        r"`columns` has no box: classes",
    ),
    "boxes-twice": ({"type": "boxes", "output": "a", "columns": ["box", "box"]}, r"`columns` has box twice"),
    "boxes-role": ({"type": "boxes", "output": "a", "columns": ["box", "color"]}, r"`head\.columns\[1\]`"),
    "boxes-keypoints": (
        {"type": "boxes", "output": "a", "columns": ["box", "classes", "keypoints"]},
        r"`keypoints` is missing",
    ),
    "boxes-masks": (
        {"type": "boxes", "output": "a", "columns": ["box", "classes", "masks"], "masks": 3},
        r"`masks`, the number of coefficients, and `prototypes`",
    ),
    "boxes-no-strides": ({"type": "boxes", "output": "a", "format": "ltrb"}, r"`strides` are those"),
    "boxes-strides": ({"type": "boxes", "output": "a", "unit": "strides"}, r"`unit` strides is of"),
    "boxes-angle": (
        {"type": "boxes", "output": "a", "columns": ["box", "classes", "angle"], "format": "xyxy"},
        r"an angle turns boxes of `format` cxcywh, and it is xyxy",
    ),
    "rows-neither": ({"type": "rows"}, r"expected either `output` or `boxes`"),
    "rows-both": ({"type": "rows", "output": "a", "boxes": "b"}, r"expected either `output` or `boxes`"),
    "rows-no-box": (
        {"type": "rows", "output": "a", "columns": ["x1", "y1", "cx", "confidence"]},
        r"`columns` has no box",
    ),
    "rows-twice": (
        {"type": "rows", "output": "a", "columns": ["x1", "y1", "x2", "y2", "x1", "confidence"]},
        r"`columns` has x1 twice",
    ),
    "rows-scores": ({"type": "rows", "output": "a", "scores": "b"}, r"has confidence, and the output b too"),
    "rows-no-scores": ({"type": "rows", "boxes": "a"}, r"confidences are missing"),
    "rows-format": ({"type": "rows", "output": "a", "format": "yxyx"}, r"`format` is that of `boxes`"),
    "rows-prototypes": ({"type": "rows", "output": "a", "prototypes": "b"}, r"go together"),
    "rows-angle": (
        {"type": "rows", "output": "a", "columns": ["x1", "y1", "x2", "y2", "confidence", "angle"]},
        r"an angle turns boxes of the columns cx, cy, w, h",
    ),
    "rows-wide": (
        {
            "type": "rows",
            "output": "a",
            "columns": ["x1", "y1", "x2", "y2", "confidence", "keypoints", "masks"],
            "prototypes": "b",
        },
        r"`columns` has keypoints and masks",
    ),
    "queries-neither": ({"type": "queries", "boxes": "a"}, r"expected either `output`, or `boxes` and"),
    "number-for-a-name": ({"type": "yolov8", "output": 0}, r"got `int` - at `head\.output`"),
    "text-for-a-flag": ({"type": "ssd", "background": "yes"}, r"got `str` - at `head\.background`"),
    "missing-field": ({"type": "fastestdet"}, r"missing required field `output`"),
    "yolov5-neither": ({"type": "yolov5"}, r"expected either `output` or `raw`"),
    "yolov5-both": (
        {"type": "yolov5", "output": "a", "raw": ["b"]},
        r"expected either `output` or `raw`",
    ),
    "yolov5-no-anchors": (
        {"type": "yolov5", "raw": ["a", "b", "c"]},
        r"`raw`, `strides` and `anchors` have 3, 3 and 0 entries",
    ),
    "nanodet-neither": ({"type": "nanodet"}, r"expected either `output`, or `cls` and `reg`"),
    "nanodet-both": ({"type": "nanodet", "output": "a", "reg": ["b"]}, r"expected either `output`, or"),
    "nanodet-uneven": (
        {"type": "nanodet", "cls": ["a", "b", "c"], "reg": ["d"]},
        r"`cls`, `reg` and `strides` have 3, 1 and 3 entries",
    ),
    "ssd-no-sizes": ({"type": "ssd", "priors": [{"stride": 8}]}, r"expected either `sizes` or `min_sizes`"),
    "ssd-both-sizes": (
        {"type": "ssd", "priors": [{"stride": 8, "sizes": [3], "min_sizes": [3]}]},
        r"expected either `sizes` or `min_sizes`",
    ),
    "ssd-max-sizes": (
        {"type": "ssd", "priors": [{"stride": 8, "min_sizes": [3, 4], "max_sizes": [5]}]},
        r"`max_sizes` has 1 entries for 2 of `min_sizes`",
    ),
    "ssd-variances": ({"type": "ssd", "variances": [0.1]}, r"`variances` has 1 entries: expected 2 or 4"),
    "ssd-code": ({"type": "ssd", "code": "edges"}, r"Invalid enum value 'edges' - at `head\.code`"),
    "ssd-zero-stride": ({"type": "ssd", "priors": [{"stride": 0, "sizes": [3]}]}, r"priors\[0\]\.stride`"),
    "yolo-no-layers": ({"type": "yolo", "layers": [], "classes": 3}, r"length >= 1 - at `head\.layers`"),
    "yolo-no-anchors": (
        {"type": "yolo", "layers": [{"output": "a", "anchors": []}], "classes": 3},
        r"length >= 1 - at `head\.layers\[0\]\.anchors`",
    ),
    "yolo-empty-anchor": (
        {"type": "yolo", "layers": [{"output": "a", "anchors": [[3, 0]]}], "classes": 3},
        r"> 0\.0 - at `head\.layers\[0\]\.anchors\[0\]\[1\]`",
    ),
    "region-no-box": (
        {"type": "region", "output": "a", "anchors": [[1, 1]], "classes": 3, "coords": 3},
        r">= 4 - at `head\.coords`",
    ),
    "detection-coords": (
        {"type": "detection", "output": "a", "side": 7, "num": 2, "classes": 3, "coords": 5},
        r"Invalid enum value 5 - at `head\.coords`",
    ),
    "yunet-uneven": ({"type": "yunet", "kps": ["a"]}, r"`kps` has 1 names for 3 strides"),
    "distances-neither": ({"type": "distances"}, r"expected either `output`, or `scores` and `boxes`"),
    "distances-both": (
        {"type": "distances", "output": ["a"], "boxes": ["b"]},
        r"expected either `output`, or `scores` and `boxes`",
    ),
    "distances-uneven": (
        {"type": "distances", "scores": ["a", "b", "c"], "boxes": ["d"]},
        r"`scores`, `boxes`: 3, 1 names: expected of each one, or one for each of 3 strides",
    ),
    "distances-no-scores": (
        {"type": "distances", "output": ["a"], "columns": ["box"]},
        r"`columns`: expected `classes` or `objectness`",
    ),
    "distances-no-box": (
        {"type": "distances", "output": ["a"], "columns": ["classes"]},
        r"`columns`: expected each role once, `box` among them",
    ),
    "distances-unknown-points": (
        {"type": "distances", "output": ["a"], "columns": ["box", "classes", "keypoints"]},
        r"`columns` and `keypoint_count`: expected keypoints in both or in neither",
    ),
    "distances-columns-apart": (
        {"type": "distances", "output": ["a"], "objectness": ["b"]},
        r"`objectness` is a column of `output`: name it in `columns`",
    ),
    "distances-two-strides": (
        {"type": "distances", "output": ["a"], "code": "center-sigmoid"},
        r"`strides` has 3 entries: code center-sigmoid has one",
    ),
    "distances-bins": (
        {"type": "distances", "output": ["a"], "code": "center", "bins": 8},
        r"`bins`: a distribution is of code ltrb, not of center",
    ),
    "distances-power": (
        {"type": "distances", "output": ["a"], "powers": [0, 1]},
        r"> 0\.0 - at `head\.powers\[0\]`",
    ),
    "heatmap-even-peak": (
        {"type": "heatmap", "heatmap": "a", "sizes": "b", "peak": 2},
        r"`peak` is 2: expected an odd number, with the cell in the middle",
    ),
}


@pytest.mark.parametrize(("card", "message"), WRONG_CARDS.values(), ids=WRONG_CARDS)
def test_wrong_cards_name_the_field(card: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        heads.params_from(card)


def test_get_names_the_known_heads() -> None:
    assert heads.get("distances") is heads.HEADS["distances"]
    with pytest.raises(CardError, match=r"unknown head 'x'; known: boxes, "):
        heads.get("x")


@pytest.mark.parametrize("blob_wh", [(64, 64), (96, 32), (40, 104), (1, 1)], ids=str)
def test_grid_lists_cells_stride_by_stride_and_row_by_row(blob_wh: tuple[int, int]) -> None:
    result = grid(blob_wh, (8, 16, 32))
    expected = [(*cell, stride) for stride in (8, 16, 32) for cell in cells(blob_wh, stride)]
    assert np.hstack([result.cell_xy, result.stride]).tolist() == [list(map(float, e)) for e in expected]
    assert len(result.stride) == cell_count(blob_wh, (8, 16, 32))
    assert grid(blob_wh, (8, 16, 32)) is result
    for array in (result.cell_xy, result.stride):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1

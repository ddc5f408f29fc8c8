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
    assert set(heads.that_do("detect")) == {case.type for case in CASES}


WRONG_CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "no-type": ({}, r"head\.type: expected one of yolox, .*classify, got None"),
    "type-is-a-number": ({"type": 5}, r"head\.type: expected one of yolox, .*got 5"),
    "unknown-type": ({"type": "yolo99"}, r"head\.type: unknown head 'yolo99'; known: yolox, .*classify"),
    "unknown-field": (
        {"type": "yolox", "stridez": [8]},
        r"head \(yolox\): Object contains unknown field `stridez`; fields of yolox: output, strides",
    ),
    "wrong-element": ({"type": "yolox", "strides": [8, "16"]}, r"got `str` - at `head\.strides\[1\]`"),
    "zero-stride": ({"type": "yolox", "strides": [0]}, r">= 1 - at `head\.strides\[0\]`"),
    "no-strides": ({"type": "yolox", "strides": []}, r"length >= 1 - at `head\.strides`"),
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
}


@pytest.mark.parametrize(("card", "message"), WRONG_CARDS.values(), ids=WRONG_CARDS)
def test_wrong_cards_name_the_field(card: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        heads.params_from(card)


def test_get_names_the_known_heads() -> None:
    assert heads.get("yolox") is heads.HEADS["yolox"]
    with pytest.raises(CardError, match=r"unknown head 'x'; known: yolox, "):
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

"""Decodings of tables at their edges: misfits, rows that are dropped, masks, and what no table of cases
reaches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads.base import Query
from edgecv.heads.masks import BlobMasks, PrototypeMasks, RoiMasks
from edgecv.types import Candidates

Outputs = dict[str, Any]


def read(card: dict[str, Any], outputs: Outputs, query: Query | None = None) -> Candidates:
    module, params = heads.params_from(card)
    found: Candidates = module.decode(outputs, params, query or Query((64, 64), 0.3))
    return found


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


APART = {"type": "boxes", "boxes": "b", "scores": "s"}
FINAL = {"type": "rows", "boxes": "b", "scores": "s"}
SETS = {"type": "queries", "boxes": "b", "scores": "s"}
POSE = {"type": "rows", "output": "o", "columns": ["x1", "y1", "x2", "y2", "confidence", "keypoints"]}

MISFITS: dict[str, tuple[dict[str, Any], Outputs, str]] = {
    "boxes-of-five": (APART, {"b": zeros(9, 5), "s": zeros(9, 3)}, r"'b' expected \(any, 4\), got \(9, 5\)"),
    "scores-of-fewer": (APART, {"b": zeros(9, 4), "s": zeros(8, 3)}, r"'s' expected \(9, at least 1\)"),
    "background-alone": (
        {**APART, "background": "first"},
        {"b": zeros(9, 4), "s": zeros(9, 1)},
        r"'s' expected \(9, at least 2\)",
    ),
    "boxes-of-some-classes": (
        APART,
        {"b": zeros(9, 2, 4), "s": zeros(9, 3)},
        r"'b' expected \(9, 3, 4\), a box for each of the scores, got \(9, 2, 4\)",
    ),
    "cells-of-another-size": (
        {**APART, "format": "ltrb", "strides": [8]},
        {"b": zeros(9, 4), "s": zeros(9, 3)},
        r"'b' expected 64 rows, one a cell of strides 8, got 9",
    ),
    "classes-that-are-stated": (
        {**APART, "classes": 2},
        {"b": zeros(9, 4), "s": zeros(9, 3)},
        r"'s' expected \(9, 2\)",
    ),
    "columns-of-another-number": (
        {"type": "boxes", "output": "o", "classes": 3},
        {"o": zeros(9, 8)},
        r"'o' expected \(any, 7\), got \(9, 8\)",
    ),
    "whole-scores": (APART, {"b": zeros(9, 4), "s": np.zeros((9, 3), int)}, r"'s' expected floating point"),
    "labels-of-fewer": (
        {**FINAL, "labels": "l"},
        {"b": zeros(9, 4), "s": zeros(9), "l": np.zeros(8, int)},
        r"'l' expected \(9\), got \(8,\)",
    ),
    "labels-of-two-columns": (
        {**FINAL, "labels": "l"},
        {"b": zeros(9, 4), "s": zeros(9), "l": zeros(9, 2)},
        r"'l' expected \(9, 1\), got \(9, 2\)",
    ),
    "labels-of-text": (
        {**FINAL, "labels": "l"},
        {"b": zeros(9, 4), "s": zeros(9), "l": np.full(9, "a")},
        r"'l' expected floating point",
    ),
    "no-count": ({**FINAL, "count": "n"}, {"b": zeros(9, 4), "s": zeros(9)}, r"no output 'n'"),
    "two-counts": (
        {**FINAL, "count": "n"},
        {"b": zeros(9, 4), "s": zeros(9), "n": zeros(2)},
        r"'n' expected \(1\), got \(2,\)",
    ),
    "keypoints-that-are-not-whole": (POSE, {"o": zeros(9, 10)}, r"columns of 3 for each keypoint, got 5"),
    "masks-of-two-planes": (
        {**FINAL, "masks": "m"},
        {"b": zeros(9, 4), "s": zeros(9), "m": zeros(9, 2, 7, 7)},
        r"'m' expected \(9, 1, at least 1, at least 1\)",
    ),
    "queries-of-two-lengths": (SETS, {"b": zeros(9, 4), "s": zeros(8, 3)}, r"'s' expected \(9, at least 1\)"),
    "masks-of-fewer-queries": (
        {**SETS, "masks": "m"},
        {"b": zeros(9, 4), "s": zeros(9, 3), "m": zeros(8, 7, 7)},
        r"'m' expected \(9, at least 1, at least 1\), got \(8, 7, 7\)",
    ),
    "queries-of-four-columns": (
        {"type": "queries", "output": "o"},
        {"o": zeros(9, 4)},
        r"'o' expected \(any, at least 5\)",
    ),
}


@pytest.mark.parametrize(("card", "outputs", "message"), MISFITS.values(), ids=MISFITS)
def test_misfits_say_what_was_expected(card: dict[str, Any], outputs: Outputs, message: str) -> None:
    with pytest.raises(HeadError, match=message) as raised:
        read(card, outputs)
    assert str(raised.value).startswith(f"{card['type']} head: ")


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        pytest.param(2, 2, id="some"),
        pytest.param(9, 3, id="more-than-there-are"),
        pytest.param(-1, 0, id="negative"),
        pytest.param(np.nan, 0, id="nan"),
        pytest.param(np.inf, 3, id="infinite"),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_rows_after_the_count_are_dropped(count: float, kept: int, shape: tuple[int, ...]) -> None:
    table = np.array([[1, 2, 3, 4]] * 3, np.float32)
    outputs = {"b": table, "s": np.full(3, 0.9, np.float32), "n": np.full(shape, count, np.float32)}
    assert len(read({**FINAL, "count": "n"}, outputs)) == kept


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, np.float16])
def test_labels_are_numbers_of_any_type(dtype: type) -> None:
    outputs = {
        "b": np.array([[1, 2, 3, 4]] * 3, np.float32),
        "s": np.full((3, 1), 0.9, np.float32),
        "l": np.array([0, 1, 2], dtype),
    }
    found = read({**FINAL, "labels": "l", "first_class": 1}, outputs)
    assert found.class_id.tolist() == [0, 1]
    assert found.class_id.dtype == np.int32


def test_rows_of_other_images_are_dropped() -> None:
    table = np.array([[0, 1, 2, 3, 4, 0.9], [1, 1, 2, 3, 4, 0.8], [np.nan, 1, 2, 3, 4, 0.7]], np.float32)
    card = {"type": "rows", "output": "o", "columns": ["batch", "x1", "y1", "x2", "y2", "confidence"]}
    assert read(card, {"o": table}).confidence.tolist() == [np.float32(0.9)]


def test_rows_without_labels_are_of_one_class() -> None:
    found = read(FINAL, {"b": np.array([[1, 2, 3, 4]], np.float32), "s": np.array([0.9], np.float32)})
    assert (found.class_id.tolist(), found.needs_nms) == ([0], False)
    again = read(
        {**FINAL, "needs_nms": True},
        {"b": np.array([[1, 2, 3, 4]], np.float32), "s": np.array([0.9], np.float32)},
    )
    assert again.needs_nms


def test_each_class_has_its_own_box() -> None:
    box = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    scores = np.array([[0.1, 0.9, 0.2], [0.8, 0.1, 0.7]], np.float32)
    card = {**APART, "format": "xyxy", "background": "first"}
    found = read(card, {"b": box, "s": scores}, Query((64, 64), 0.3))
    assert found.class_id.tolist() == [0, 1]
    assert found.xyxy.tolist() == [box[0, 1].tolist(), box[1, 2].tolist()]


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_columns_of_masks_are_coefficients(layout: str) -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(0.5, 1, (6, 4 + 2 + 3)).astype(np.float32)
    prototypes = rng.normal(size=(3, 8, 8)).astype(np.float32)
    card = {
        "type": "boxes",
        "output": "o",
        "layout": layout,
        "columns": ["box", "classes", "masks"],
        "masks": 3,
        "prototypes": "p",
    }
    found = read(card, {"o": table if layout == "rows" else table.T, "p": prototypes})
    assert isinstance(found.masks, PrototypeMasks)
    np.testing.assert_array_equal(found.masks.coefficients, table[:, 6:])
    np.testing.assert_array_equal(found.masks.prototypes, prototypes)
    assert found.masks.blob_wh == (64, 64)


def test_final_rows_keep_the_masks_of_those_that_stay() -> None:
    boxes = np.array([[1, 2, 3, 4], [3, 2, 1, 4], [1, 2, 5, 6]], np.float32)
    maps = np.random.default_rng(0).uniform(size=(3, 1, 7, 7)).astype(np.float32)
    scores = np.array([0.9, 0.9, 0.8], np.float32)
    found = read({**FINAL, "masks": "m"}, {"b": boxes, "s": scores, "m": maps})
    assert isinstance(found.masks, RoiMasks)
    np.testing.assert_array_equal(found.masks.masks, maps[[0, 2], 0])
    pasted = read({**FINAL, "masks": "m", "mask_space": "blob"}, {"b": boxes, "s": scores, "m": maps}).masks
    assert isinstance(pasted, BlobMasks)
    assert (pasted.index.tolist(), pasted.blob_wh, pasted.logits) == ([0, 2], (64, 64), False)
    np.testing.assert_array_equal(pasted.maps, maps[:, 0])
    table = np.array([[1, 2, 3, 4, 0.1, 0, 9, 9], [1, 2, 3, 4, 0.8, 2, 5, 7]], np.float32)
    card = {
        "type": "rows",
        "output": "o",
        "columns": [*["x1", "y1", "x2", "y2", "confidence", "class", "masks"]],
    }
    found = read({**card, "prototypes": "p"}, {"o": table, "p": maps[:2, 0]})
    assert isinstance(found.masks, PrototypeMasks)
    assert found.masks.coefficients.tolist() == [[5, 7]]


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2, -2.5, 7.0])
def test_an_oriented_box_lies_in_the_upright_one(angle: float) -> None:
    row = np.array([[32, 30, 20, 10, 0.9, angle]], np.float32)
    card = {"type": "boxes", "output": "o", "columns": ["box", "classes", "angle"]}
    found = read(card, {"o": row})
    assert found.xywhr is not None
    assert found.xywhr.tolist() == row[:, [0, 1, 2, 3, 5]].tolist()
    corners = np.array([[-10, -5], [10, -5], [10, 5], [-10, 5]]) @ np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    ) + [32, 30]
    expected = [*corners.min(axis=0), *corners.max(axis=0)]
    np.testing.assert_allclose(found.xyxy[0], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(-20, 10), (20, -10), (0, 10)], ids=str)
def test_an_oriented_box_without_an_area_is_empty(size: tuple[float, float]) -> None:
    row = np.array([[32, 30, *size, 0.9, 0.7]], np.float32)
    card = {"type": "boxes", "output": "o", "columns": ["box", "classes", "angle"]}
    x1, y1, x2, y2 = read(card, {"o": row}).xyxy[0]
    assert (x1, y1) == (x2, y2)
    names = ["cx", "cy", "w", "h", "confidence", "angle"]
    assert len(read({"type": "rows", "output": "o", "columns": names}, {"o": row})) == 0


def test_keypoints_of_logits_are_squashed() -> None:
    row = np.array([[32, 30, 20, 10, 0.9, 1, 2, 0.0, 3, 4, -200.0]], np.float32)
    card = {
        "type": "boxes",
        "output": "o",
        "columns": ["box", "classes", "keypoints"],
        "keypoints": 2,
        "keypoint_logits": True,
    }
    keypoints = read(card, {"o": row}).keypoints
    assert keypoints is not None
    assert keypoints.tolist() == [[[1, 2, 0.5], [3, 4, 0]]]


def test_a_query_may_be_of_several_classes() -> None:
    """The best pairs of query and class count, as many as there are queries, whatever is asked for."""
    outputs = {
        "b": np.array([[0.5, 0.5, 0.2, 0.2], [0.4, 0.4, 0.2, 0.2]], np.float32),
        "s": np.array([[3, 2, 1], [-5, -6, -7]], np.float32),
    }
    found = read(SETS, outputs)
    assert found.class_id.tolist() == [0, 1]
    assert found.xyxy[0].tolist() == found.xyxy[1].tolist()
    assert len(read({**SETS, "top": 3}, outputs)) == 3
    assert len(read({**SETS, "top": 1}, outputs)) == 1
    assert len(read({**SETS, "top": 5}, outputs, Query((64, 64), 0.3, max_candidates=2))) == 2


def test_queries_may_have_keypoints() -> None:
    outputs = {
        "b": np.array([[0.5, 0.5, 0.2, 0.2]], np.float32),
        "s": np.array([[3]], np.float32),
        "k": np.array([[[0.5, 0.25], [1, 0]]], np.float32),
    }
    found = read({**SETS, "keypoints": "k"}, outputs, Query((64, 32), 0.3))
    assert found.keypoints is not None
    assert found.keypoints.tolist() == [[[32, 8, 1], [64, 0, 1]]]


def test_queries_may_have_masks() -> None:
    """Of the pairs of query and class that stay, the second query's box being empty."""
    outputs = {
        "b": np.array([[0.5, 0.5, 0.2, 0.2], [0.4, 0.4, 0, 0.2], [0.4, 0.4, 0.2, 0.2]], np.float32),
        "s": np.array([[3, 2], [4, -9], [-9, 1]], np.float32),
        "m": np.zeros((3, 16, 16), np.float32),
    }
    masks = read({**SETS, "masks": "m"}, outputs).masks
    assert isinstance(masks, BlobMasks)
    assert (masks.index.tolist(), masks.blob_wh, masks.logits) == ([0, 0], (64, 64), True)


@pytest.mark.parametrize("confidence", [0.0, 1e-6, 0.5, 0.999, 1.0])
def test_logits_pass_where_their_sigmoid_does(confidence: float) -> None:
    logits = np.linspace(-20, 20, 4001, dtype=np.float32)[:, None]
    card = {**APART, "logits": True}
    found = read(card, {"b": zeros(4001, 4), "s": logits}, Query((64, 64), confidence))
    chances = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    expected = int((chances.astype(np.float32) > np.float32(confidence)).sum())
    assert abs(len(found) - expected) <= 1
    assert (found.confidence > np.float32(confidence)).all()


def test_a_limit_of_candidates_keeps_the_best() -> None:
    scores = np.array([[0.3], [0.9], [0.5], [0.7]], np.float32)
    outputs = {"boxes": np.tile(np.float32([0, 0, 9, 9]), (4, 1)), "scores": scores}
    for most, kept in ((None, [0.3, 0.9, 0.5, 0.7]), (2, [0.9, 0.7]), (9, [0.3, 0.9, 0.5, 0.7])):
        module, params = heads.params_from(
            {"type": "boxes", "boxes": "boxes", "scores": "scores", "format": "xyxy", "max_candidates": most}
        )
        found = module.decode(outputs, params, Query((16, 16), 0.1))
        np.testing.assert_allclose(found.confidence, kept)

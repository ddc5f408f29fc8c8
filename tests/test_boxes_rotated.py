"""Oriented boxes: overlap and suppression, against brute force."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecv import boxes
from edgecv.types import FloatArray
from tests import boxes_reference
from tests import rotated_reference as reference
from tests.allocation import allocated_bytes

F32, I32 = np.float32, np.int32
METHODS = tuple(reference.OVERLAPS)
methods = st.sampled_from(METHODS)

angle = st.sampled_from([0.0, math.pi / 2, math.pi / 4, -math.pi, 100.0]) | st.floats(-4, 4, width=32)
side = st.integers(1, 12).map(float) | st.floats(0.5, 20, width=32)
place = st.integers(-8, 8).map(float) | st.floats(-10, 10, width=32)
box = st.tuples(place, place, side, side, angle)
hostile = st.sampled_from(boxes_reference.HOSTILE) | st.sampled_from([1e-30, 1e30])


def rows(items: Sequence[Sequence[float]]) -> FloatArray:
    return np.array(items, F32).reshape(-1, 5)


def overlap(a: Sequence[float], b: Sequence[float], method: str) -> float:
    result = boxes.iou_rotated(rows([a]), rows([b]), method=method)  # type: ignore[arg-type]
    return float(result[0, 0])


@given(st.lists(box, max_size=6), st.lists(box, max_size=6), methods)
def test_overlap_equals_brute_force(
    a: list[tuple[float, ...]], b: list[tuple[float, ...]], method: str
) -> None:
    left, right = rows(a), rows(b)
    got = boxes.iou_rotated(left, right, method=method)  # type: ignore[arg-type]
    assert got.dtype == F32
    expected = [[reference.OVERLAPS[method](p, q) for q in right.tolist()] for p in left.tolist()]
    # The Hellinger distance is a square root: near 0 it magnifies the reference's own rounding.
    atol = 1e-6 if method == "iou" else 1e-5
    np.testing.assert_allclose(got, np.array(expected).reshape(got.shape), rtol=0, atol=atol)


@given(box, box, methods)
def test_overlap_is_symmetric_and_bounded(a: tuple[float, ...], b: tuple[float, ...], method: str) -> None:
    one, other = overlap(a, b, method), overlap(b, a, method)
    assert 0 <= one <= 1
    assert one == pytest.approx(other, abs=1e-6)
    assert overlap(a, a, method) == pytest.approx(1, abs=1e-6)


@given(box, box, methods, st.floats(-3, 3, width=32), st.sampled_from([0.5, 2.0, 16.0]))
def test_overlap_does_not_change_with_the_view(
    a: tuple[float, ...], b: tuple[float, ...], method: str, turn: float, scale: float
) -> None:
    """Turned and scaled together; a side for the other with a quarter turn; half a turn of one."""
    plain = overlap(a, b, method)

    def moved(of: tuple[float, ...]) -> list[float]:
        x, y, width, height, direction = of
        cosine, sine = math.cos(turn), math.sin(turn)
        return [
            scale * (x * cosine - y * sine),
            scale * (x * sine + y * cosine),
            scale * width,
            scale * height,
            direction + turn,
        ]

    assert overlap(moved(a), moved(b), method) == pytest.approx(plain, abs=1e-4)
    x, y, width, height, direction = a
    assert overlap((x, y, height, width, direction + math.pi / 2), b, method) == pytest.approx(
        plain, abs=1e-4
    )
    assert overlap((x, y, width, height, direction + math.pi), b, method) == pytest.approx(plain, abs=1e-4)


@given(st.lists(st.tuples(place, place, side, side, st.just(0.0)), min_size=1, max_size=8))
def test_without_angles_it_is_the_iou_of_boxes(items: list[tuple[float, ...]]) -> None:
    xywhr = rows(items)
    xyxy = boxes.cxcywh_to_xyxy(np.ascontiguousarray(xywhr[:, :4]))
    np.testing.assert_allclose(boxes.iou_rotated(xywhr, xywhr), boxes.iou(xyxy, xyxy), atol=1e-5)


# Of a square and itself turned by 45 degrees, the intersection is a regular octagon: 8 (sqrt(2) - 1) of 4.
OCTAGON = 8 * (math.sqrt(2) - 1)
CASES = {
    "turned by 45 degrees": ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), OCTAGON / (8 - OCTAGON)),
    "a cross": ((0, 0, 4, 1, 0), (0, 0, 4, 1, math.pi / 2), 1 / 7),
    "one inside the other": ((0, 0, 4, 4, 0.3), (0.5, 0.5, 1, 1, 1.2), 1 / 16),
    "apart": ((0, 0, 4, 1, 0), (0, 3, 4, 1, 0), 0),
    "an edge in common": ((0, 0, 2, 2, 0), (2, 0, 2, 2, 0), 0),
}


@pytest.mark.parametrize(("a", "b", "expected"), CASES.values(), ids=CASES.keys())
def test_iou_of(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert overlap(a, b, "iou") == pytest.approx(expected, abs=1e-6)


def test_probiou_of_two_discs() -> None:
    """Squares of side 2 whose centers lie d apart: variances of 1/3, so that the Bhattacharyya distance is
    d² / 8 * 3, by arXiv:2106.06072, and nothing for their equal shapes."""
    for apart in (0.0, 0.5, 3.0):
        expected = 1 - math.sqrt(1 - math.exp(-3 * apart**2 / 8))
        assert overlap((1, 1, 2, 2, 0.4), (1 + apart, 1, 2, 2, 2.0), "probiou") == pytest.approx(
            expected, abs=1e-6
        )


@given(st.lists(st.tuples(*[hostile | place] * 5), max_size=8), methods)
def test_what_is_no_box_overlaps_with_nothing(items: list[tuple[float, ...]], method: str) -> None:
    xywhr = rows(items)
    got = boxes.iou_rotated(xywhr, xywhr, method=method)  # type: ignore[arg-type]
    assert ((got >= 0) & (got <= 1)).all(), "never NaN"
    usable = np.array([reference.is_box(row) for row in xywhr.tolist()], bool)
    assert not got[~usable].any()
    assert not got[:, ~usable].any()
    kept = boxes.nms_rotated(xywhr, np.ones(len(xywhr), F32), method=method)  # type: ignore[arg-type]
    assert usable[kept].all()
    if usable.any():
        assert kept[0] == np.flatnonzero(usable)[0]


confidences = st.sampled_from([0.3, 0.5, 0.5, 0.9, float("nan"), float("inf")])


@given(st.data(), st.lists(box, max_size=12), methods, st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
def test_nms_equals_brute_force(
    data: st.DataObject, items: list[tuple[float, ...]], method: str, threshold: float
) -> None:
    xywhr = rows(items)
    n = len(xywhr)
    confidence = data.draw(hnp.arrays(F32, n, elements=confidences.map(lambda v: float(F32(v)))))
    class_id = data.draw(st.none() | hnp.arrays(I32, n, elements=st.integers(0, 2)))
    most = data.draw(st.none() | st.integers(1, 5))
    pairs = boxes.iou_rotated(xywhr, xywhr, method=method)  # type: ignore[arg-type]
    # Its own overlaps are compared with brute force above; here, none may lie on the threshold.
    assume((np.abs(pairs - threshold) > 1e-5).all() or threshold in (0.0, 1.0))
    got = boxes.nms_rotated(
        xywhr,
        confidence,
        class_id,
        iou=threshold,
        max_det=most,
        method=method,  # type: ignore[arg-type]
    )
    assert got.dtype == np.int64
    usable = np.isfinite(confidence).tolist()
    assert got.tolist() == reference.nms(pairs, usable, confidence, class_id, threshold, most)


def test_classes_never_suppress_one_another() -> None:
    xywhr = rows([(0, 0, 4, 2, 0.5)] * 4)
    confidence = np.array([0.5, 0.9, 0.8, 0.7], F32)
    class_id = np.array([0, 1, 0, 1], I32)
    for method in METHODS:
        found = boxes.nms_rotated(xywhr, confidence, class_id, method=method)  # type: ignore[arg-type]
        assert found.tolist() == [1, 2]
        found = boxes.nms_rotated(xywhr, confidence, method=method)  # type: ignore[arg-type]
        assert found.tolist() == [1]


def test_views_are_read_in_place() -> None:
    rng = np.random.default_rng(2)
    xywhr = np.column_stack([rng.random((40, 2)) * 20, rng.random((40, 2)) * 6 + 1, rng.random(40)]).astype(
        F32
    )
    confidence = rng.random(40).astype(F32)
    tall = np.zeros((9, 80), F32)
    tall[2:7, ::2] = xywhr.T
    tall.flags.writeable = False
    expected = boxes.nms_rotated(xywhr, confidence)
    assert 5 < len(expected) < 40
    np.testing.assert_array_equal(boxes.nms_rotated(tall[2:7, ::2].T, confidence), expected)
    backward = boxes.nms_rotated(xywhr[::-1], confidence[::-1])
    np.testing.assert_array_equal(39 - backward, expected)


def test_the_longest_and_the_thinnest_boxes() -> None:
    """Sides of 1e8 to 1: the overlaps stay what they are, to five digits."""
    a, b = (0.0, 0.0, 1e8, 1.0, 0.7), (0.0, 0.0, 1e8, 1.0, 0.7 + math.pi / 2)
    assert overlap(a, a, "iou") == pytest.approx(1, abs=1e-5)
    assert overlap(a, a, "probiou") == pytest.approx(1, abs=1e-5)
    assert overlap(a, b, "iou") == pytest.approx(1 / (2e8 - 1), rel=1e-3)
    assert overlap((3e38, 3e38, 3e38, 3e38, 1), (3e38, 3e38, 3e38, 3e38, 1), "iou") == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.alone
def test_warm_calls_allocate_only_their_results() -> None:
    rng = np.random.default_rng(9)
    xyxy, confidence, class_id = boxes_reference.clusters(rng, 60, 10)
    xywhr = np.column_stack([boxes.xyxy_to_cxcywh(xyxy), rng.random(len(xyxy))]).astype(F32)

    def frame() -> None:
        boxes.nms_rotated(xywhr, confidence, class_id, method="probiou")
        boxes.iou_rotated(xywhr, xywhr[:20])

    frame()
    before = allocated_bytes()
    for _ in range(50):
        frame()
    assert allocated_bytes() - before < 50_000

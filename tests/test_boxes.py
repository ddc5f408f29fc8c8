"""Candidate selection, IoU, suppression and conversions, against brute force."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecv import _boxes, boxes
from edgecv.types import FloatArray
from tests import boxes_reference as reference
from tests.allocation import allocated_bytes

F32, I32 = np.float32, np.int32

number = st.sampled_from(reference.HOSTILE) | st.floats(-2, 2, width=32)
coordinate = number | st.integers(-3, 8).map(float) | st.sampled_from([1e30, -1e30, 1e-30, 1e19])
confidences = st.sampled_from([0.0, -0.0, 0.3, 0.5, 0.5, 0.9]) | number


def floats(shape: Any, elements: st.SearchStrategy[float] = number) -> st.SearchStrategy[FloatArray]:
    return hnp.arrays(F32, shape, elements=elements)


def found(result: tuple[Any, Any, Any]) -> reference.Found:
    row, class_id, confidence = result
    assert (row.dtype, class_id.dtype, confidence.dtype) == (I32, I32, F32)
    return list(zip(row.tolist(), class_id.tolist(), confidence.tolist(), strict=True))


def layouts(scores: FloatArray) -> dict[str, FloatArray]:
    """The same scores as views that lie differently in memory."""
    n, classes = scores.shape
    wide = np.full((n, classes + 5), 7, F32)
    wide[:, 5:] = scores
    tall = np.full((classes + 4, n), 7, F32)
    tall[4:] = scores.T
    between = np.full((2 * classes, n), 7, F32)
    between[::2] = scores.T
    return {
        "rows": scores.copy(),
        "rows of a wider array": wide[:, 5:],
        "columns of a taller array": tall[4:].T,
        "every other column": between[::2].T,
        "rows backward": scores[::-1].copy()[::-1],
        "columns backward": scores.T[::-1].copy()[::-1].T,
    }


# ---- select


@given(st.data(), st.integers(0, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_select_equals_brute_force(
    data: st.DataObject, n: int, classes: int, with_objectness: bool, multi_label: bool
) -> None:
    scores = data.draw(floats((n, classes)))
    objectness = data.draw(floats(n)) if with_objectness else None
    one = st.sampled_from([0.0, 0.25, 0.5, -0.5])
    threshold = data.draw(one | floats(classes, one))
    most = data.draw(st.integers(1, 12) | st.just(30_000))
    expected = reference.select(scores, threshold, objectness, multi_label, most)
    for name, view in layouts(scores).items():
        result = boxes.select(
            view, threshold, objectness=objectness, multi_label=multi_label, max_candidates=most
        )
        assert found(result) == expected, name


def test_select_of_a_large_output_keeps_the_most_confident() -> None:
    """Far more candidates than wanted, and some classes whose threshold is above the least one kept."""
    rng = np.random.default_rng(1)
    scores = (rng.integers(0, 50, (3000, 20)) / 50).astype(F32)
    threshold = np.where(np.arange(20) % 3 == 0, 0.99, 0.1).astype(F32)
    threshold[1] = 0.97
    confidence = np.where(scores > threshold, scores, F32(-1)).ravel()
    for most in (700, 20_000):
        order = np.lexsort((np.arange(confidence.size), -confidence))[:most]
        rows, classes = np.divmod(np.sort(order), 20)
        for view in layouts(scores).values():
            row, class_id, got = boxes.select(view, threshold, multi_label=True, max_candidates=most)
            np.testing.assert_array_equal(row, rows)
            np.testing.assert_array_equal(class_id, classes)
            np.testing.assert_array_equal(got, scores[rows, classes])


def test_select_reads_strided_and_read_only_objectness() -> None:
    pred = np.random.default_rng(2).random((70, 85)).astype(F32)
    expected = reference.select(pred[:, 5:], 0.5, pred[:, 4])
    pred.flags.writeable = False
    assert found(boxes.select(pred[:, 5:], 0.5, objectness=pred[:, 4])) == expected
    backward = np.ascontiguousarray(pred[::-1, 4])[::-1]
    assert found(boxes.select(pred[:, 5:], 0.5, objectness=backward)) == expected


def test_select_of_one_class() -> None:
    pred = np.random.default_rng(3).random((33, 6)).astype(F32)
    expected = reference.select(pred[:, 4:5], 0.5)
    assert found(boxes.select(pred[:, 4:5], 0.5)) == expected
    assert found(boxes.select(pred[:, 4:5].copy(), 0.5)) == expected


@pytest.mark.parametrize("shape", [(0, 80), (5, 0), (0, 0)], ids=str)
def test_select_of_nothing(shape: tuple[int, int]) -> None:
    assert found(boxes.select(np.zeros(shape, F32), 0.5)) == []


# ---- nms


def random_ids(data: st.DataObject, n: int) -> Any:
    ids = hnp.arrays(I32, n, elements=st.sampled_from([0, 1, 1, 2, -5, 2**31 - 1, -(2**31)]))
    return data.draw(st.none() | ids)


@given(st.data(), st.integers(0, 40))
def test_nms_equals_brute_force(data: st.DataObject, n: int) -> None:
    xyxy = data.draw(floats((n, 4), coordinate))
    confidence = data.draw(floats(n, confidences))
    settings: dict[str, Any] = {
        "iou": data.draw(st.sampled_from([0.0, 0.1, 0.45, 0.5, 1.0])),
        "max_det": data.draw(st.none() | st.integers(1, 5)),
        "method": data.draw(st.sampled_from(["greedy", "diou"])),
        "image_id": random_ids(data, n),
    }
    class_id = random_ids(data, n)
    kept = boxes.nms(xyxy, confidence, class_id, **settings)
    assert kept.dtype == np.int64
    assert kept.tolist() == reference.nms(xyxy, confidence, class_id, **settings)


@pytest.mark.parametrize("method", ["greedy", "diou"])
@pytest.mark.parametrize("iou", [0.3, 0.45, 0.7])
def test_nms_of_clusters(method: Any, iou: float) -> None:
    xyxy, confidence, class_id = reference.clusters(np.random.default_rng(4), 25, 10, classes=4)
    for classes in (class_id, None):
        kept = boxes.nms(xyxy, confidence, classes, iou=iou, method=method)
        assert kept.tolist() == reference.nms(xyxy, confidence, classes, iou, method=method)
        assert 10 < len(kept) < 200


def test_nms_breaks_ties_by_index() -> None:
    xyxy = np.array([[0, 0, 2, 2]] * 3 + [[5, 5, 7, 7]] * 2, F32)
    assert boxes.nms(xyxy, np.full(5, 0.5, F32)).tolist() == [0, 3]
    assert boxes.nms(xyxy, np.array([0.0, -0.0, -0.0, -0.0, 0.0], F32)).tolist() == [0, 3]


def test_nms_suppresses_only_strictly_over_the_threshold() -> None:
    xyxy = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], F32)  # IoU is exactly a half
    confidence = np.array([0.9, 0.8], F32)
    assert boxes.nms(xyxy, confidence, iou=0.5).tolist() == [0, 1]
    assert boxes.nms(xyxy, confidence, iou=np.nextafter(F32(0.5), F32(0))).tolist() == [0]


def test_diou_keeps_boxes_with_distant_centers() -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], F32)  # IoU 0.5, DIoU 0.5 - 6.25 / 200
    confidence = np.array([0.9, 0.8], F32)
    assert boxes.nms(xyxy, confidence, iou=0.48).tolist() == [0]
    assert boxes.nms(xyxy, confidence, iou=0.48, method="diou").tolist() == [0, 1]


def test_huge_boxes_neither_suppress_nor_are_suppressed() -> None:
    huge = [-1e30, -1e30, 1e30, 1e30]
    xyxy = np.array([huge, huge, [0, 0, 9, 9], [0, 0, 9, 9]], F32)
    confidence = np.array([0.9, 0.8, 0.7, 0.6], F32)
    assert boxes.nms(xyxy, confidence).tolist() == [0, 1, 2]
    assert boxes.nms(xyxy, confidence, method="diou").tolist() == [0, 1, 2]


def test_batched_nms_equals_one_call_an_image() -> None:
    rng = np.random.default_rng(5)
    xyxy, confidence, class_id = reference.clusters(rng, 20, 10, classes=5)
    image_id = rng.integers(-1, 3, len(xyxy)).astype(I32)
    expected: list[int] = []
    for image in range(-1, 3):
        members = np.flatnonzero(image_id == image)
        kept = boxes.nms(xyxy[members], confidence[members], class_id[members], max_det=7)
        expected += members[kept].tolist()
    assert boxes.nms(xyxy, confidence, class_id, image_id=image_id, max_det=7).tolist() == expected


def test_nms_reads_views_in_place() -> None:
    xyxy, confidence, class_id = reference.clusters(np.random.default_rng(6), 10, 8, classes=3)
    expected = reference.nms(xyxy, confidence, class_id)
    pred = np.asfortranarray(np.concatenate([xyxy, confidence[:, None]], axis=1))
    pred.flags.writeable = False
    ids = np.repeat(class_id, 2)[::2]
    assert boxes.nms(pred[:, :4], pred[:, 4], ids).tolist() == expected
    flipped = boxes.nms(pred[::-1, :4], pred[::-1, 4], ids[::-1])
    assert (len(xyxy) - 1 - flipped).tolist() == expected  # no ties in these


def test_nms_of_many_candidates_keeps_what_is_apart() -> None:
    n = 30_000
    corner = np.stack(np.meshgrid(np.arange(200), np.arange(150)), -1).reshape(-1, 2) * 10
    xyxy = np.concatenate([corner, corner + 9], axis=1).astype(F32)
    class_id = (np.arange(n) % 80).astype(I32)
    confidence = np.random.default_rng(7).permutation(n).astype(F32)
    kept = boxes.nms(xyxy, confidence, class_id)
    np.testing.assert_array_equal(kept, np.argsort(-confidence))
    np.testing.assert_array_equal(boxes.nms(xyxy, confidence, max_det=300), kept[:300])


# ---- soft nms


def check_soft_nms(got: Any, expected: list[tuple[int, float]]) -> None:
    index, decayed = got
    assert (index.dtype, decayed.dtype) == (np.int64, F32)
    assert index.tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(decayed, [c for _, c in expected], rtol=2e-6)


@given(st.data(), st.integers(0, 25))
def test_linear_soft_nms_equals_brute_force(data: st.DataObject, n: int) -> None:
    xyxy = data.draw(floats((n, 4), coordinate))
    confidence = data.draw(floats(n, confidences))
    settings: dict[str, Any] = {
        "method": "linear",
        "iou": data.draw(st.sampled_from([0.0, 0.3, 1.0])),
        "threshold": data.draw(st.sampled_from([0.0, 0.001, 0.4])),
        "max_det": data.draw(st.none() | st.integers(1, 5)),
    }
    class_id = random_ids(data, n)
    index, decayed = boxes.soft_nms(xyxy, confidence, class_id, **settings)
    expected = reference.soft_nms(xyxy, confidence, class_id, **settings)
    assert list(zip(index.tolist(), decayed.tolist(), strict=True)) == expected


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sigma", [0.5, 0.1, 3.0])
def test_gaussian_soft_nms_equals_brute_force(seed: int, sigma: float) -> None:
    xyxy, confidence, class_id = reference.clusters(np.random.default_rng(seed), 6, 9, classes=3)
    for ids in (class_id, None):
        expected = reference.soft_nms(xyxy, confidence, ids, sigma=sigma)
        check_soft_nms(boxes.soft_nms(xyxy, confidence, ids, sigma=sigma), expected)
        few = boxes.soft_nms(xyxy, confidence, ids, sigma=sigma, max_det=5)
        check_soft_nms(few, expected[:5])


@given(st.data(), st.integers(0, 25))
def test_gaussian_soft_nms_of_anything_falls_and_repeats_nothing(data: st.DataObject, n: int) -> None:
    xyxy = data.draw(floats((n, 4), coordinate))
    confidence = data.draw(floats(n, confidences))
    index, decayed = boxes.soft_nms(xyxy, confidence, sigma=0.01, threshold=0.2)
    assert len(set(index.tolist())) == len(index)
    assert reference.is_box(xyxy)[index].all()
    assert (decayed > 0.2).all()
    assert (decayed <= confidence[index]).all()
    assert (np.diff(decayed) <= 0).all()
    if len(index):
        usable = reference.is_box(xyxy) & np.isfinite(confidence)
        assert decayed[0] == confidence[usable].max()


def test_soft_nms_leaves_apart_boxes_as_they_are() -> None:
    xyxy = np.array([[0, 0, 2, 2], [10, 0, 12, 2], [0, 10, 2, 12]], F32)
    confidence = np.array([0.1, 0.3, 0.2], F32)
    index, decayed = boxes.soft_nms(xyxy, confidence)
    assert index.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(decayed, confidence[[1, 2, 0]])


def test_soft_nms_breaks_ties_by_index() -> None:
    """Of two equal boxes the first one keeps its confidence, at the start and after another decayed."""
    xyxy = np.array([[0, 0, 2, 2], [5, 5, 7, 7], [5, 5, 7, 7], [20, 0, 22, 2]] * 2, F32)
    xyxy[4:] += 100
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.9, 0.5, 0.5, 0.9], F32)
    index, decayed = boxes.soft_nms(xyxy, confidence, method="linear", threshold=0.1)
    assert index.tolist() == [0, 4, 7, 1, 3, 5]
    np.testing.assert_array_equal(decayed, confidence[index])


# ---- iou and conversions


@given(st.data(), st.integers(0, 20), st.integers(0, 20))
def test_iou_equals_brute_force(data: st.DataObject, n: int, m: int) -> None:
    a, b = data.draw(floats((n, 4), coordinate)), data.draw(floats((m, 4), coordinate))
    got = boxes.iou(a, b)
    assert got.dtype == F32
    np.testing.assert_array_equal(got, reference.iou(a, b))
    np.testing.assert_array_equal(got, boxes.iou(b, a).T)
    assert ((got >= 0) & (got <= 1)).all()


CONVERSIONS: list[tuple[Callable[..., FloatArray], list[float], list[float]]] = [
    (boxes.cxcywh_to_xyxy, [10, 20, 4, 6], [8, 17, 12, 23]),
    (boxes.xywh_to_xyxy, [10, 20, 4, 6], [10, 20, 14, 26]),
    (boxes.xyxy_to_xywh, [10, 20, 14, 26], [10, 20, 4, 6]),
    (boxes.xyxy_to_cxcywh, [8, 17, 12, 23], [10, 20, 4, 6]),
]


@pytest.mark.parametrize(
    ("convert", "given", "expected"), CONVERSIONS, ids=[case[0].__name__ for case in CONVERSIONS]
)
def test_conversions(convert: Callable[..., FloatArray], given: Any, expected: Any) -> None:
    boxes_in = np.array([given, [0, 0, 0, 0], given], F32)
    expected = np.array([expected, convert(boxes_in)[1], expected], F32)
    tall = np.zeros((9, 3), F32)
    tall[2:6] = boxes_in.T
    tall.flags.writeable = False
    for view in (boxes_in, tall[2:6].T):
        got = convert(view)
        np.testing.assert_array_equal(got, expected)
        assert got.flags.c_contiguous
        assert got.dtype == F32
    np.testing.assert_array_equal(convert(boxes_in, np.array([2, 1, 1], I32)), expected[[2, 1, 1]])
    assert convert(boxes_in[:0]).shape == (0, 4)
    assert convert(boxes_in, np.zeros(0, I32)).shape == (0, 4)


@given(floats((7, 4), st.integers(-(2**12), 2**12).map(float)))
def test_conversions_invert_each_other(xyxy: FloatArray) -> None:
    np.testing.assert_array_equal(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(xyxy)), xyxy)
    np.testing.assert_array_equal(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(xyxy)), xyxy)


# ---- threads and memory


def test_threads_do_not_share_a_workspace() -> None:
    """Several threads at once, each with calls of its own, as alone."""
    rng = np.random.default_rng(8)
    work = [(rng.random((400, 30)).astype(F32), *reference.clusters(rng, 20, 10)) for _ in range(3)]

    def run(scores: FloatArray, xyxy: Any, confidence: Any, class_id: Any) -> list[Any]:
        kept = boxes.nms(xyxy, confidence, class_id)
        soft = boxes.soft_nms(xyxy, confidence, class_id)
        return [*boxes.select(scores, 0.9, multi_label=True), kept, *soft, boxes.iou(xyxy, xyxy[:9])]

    alone = [run(*arrays) for arrays in work]
    wrong: list[int] = []
    start = threading.Barrier(len(work))

    def repeat(i: int) -> None:
        start.wait()
        for _ in range(60):
            if not all(map(np.array_equal, run(*work[i]), alone[i])):
                wrong.append(i)

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.alone
def test_warm_calls_allocate_only_their_results() -> None:
    rng = np.random.default_rng(9)
    scores = rng.random((2000, 20)).astype(F32)
    xyxy, confidence, class_id = reference.clusters(rng, 60, 10)

    def frame() -> None:
        boxes.select(scores, 0.9, multi_label=True, max_candidates=1500)
        boxes.nms(xyxy, confidence, class_id)
        boxes.soft_nms(xyxy, confidence, class_id)
        boxes.iou(xyxy, xyxy[:50])

    frame()
    before = allocated_bytes()
    for _ in range(50):
        frame()
    assert allocated_bytes() - before < 50_000  # less than one workspace; results are freed


@pytest.mark.alone
def test_the_workspace_of_a_thread_is_freed_with_it() -> None:
    scores = np.random.default_rng(10).random((20_000, 20)).astype(F32)

    def run() -> None:
        boxes.select(scores, 0.5, multi_label=True)

    def in_thread() -> None:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    in_thread()
    before = allocated_bytes()
    for _ in range(20):
        in_thread()
    # One workspace of these is 720 KB. A thread that was joined may still be on its way out, and hold it.
    assert allocated_bytes() - before < 3 * 720_000


def test_largest_reads_every_number() -> None:
    for n in (1, 3, 64, 67, 300):
        values = np.zeros(n, F32)
        for at in {0, n // 2, n - 1}:
            values[at] = 2
            assert _boxes.largest(values) == 2
            values[at] = 0

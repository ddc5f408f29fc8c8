"""Geometry and the values that travel."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import MissingExtraError
from edgecv.image import BlobSpec, plan_transform
from edgecv.masks import Masks
from edgecv.types import (
    Classification,
    Detections,
    FrameTransform,
    Memory,
    Placement,
    Seen,
    TensorSpec,
    Timing,
    corners,
)

sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
specs = st.builds(
    BlobSpec,
    size_wh=st.tuples(st.integers(1, 1300), st.integers(1, 1300)),
    resize=st.sampled_from(["letterbox", "stretch", "crop"]),
    anchor=st.sampled_from(["center", "top-left"]),
    rounding=st.sampled_from(["nearest", "floor"]),
)


@given(sizes, specs)
def test_the_way_back_is_exact(frame_wh: tuple[int, int], spec: BlobSpec) -> None:
    transform = plan_transform(frame_wh, spec)
    width, height = frame_wh
    corners = np.array([[0, 0, width, height], [width / 3, height / 7, width / 2, height]], np.float32)
    back = transform.boxes_to_frame(transform.boxes_to_blob(corners))
    # Blob coordinates are float32: half an ulp of the largest, seen through the scale, and one of ours.
    largest = max(abs(o) + r for o, r in zip(transform.offset_xy, transform.resized_wh, strict=True))
    ulp = np.finfo(np.float32).eps
    np.testing.assert_allclose(back, corners, rtol=2 * ulp, atol=largest * ulp / min(transform.scale_xy))


@given(sizes, specs)
def test_edges_of_the_frame_are_edges_of_the_resized_frame(frame_wh: tuple[int, int], spec: BlobSpec) -> None:
    """Pixel-edge coordinates: 0 maps to the offset, the size to the offset plus the resized size."""
    transform = plan_transform(frame_wh, spec)
    whole = np.array([[0, 0, *frame_wh]], np.float32)
    x, y = transform.offset_xy
    width, height = transform.resized_wh
    np.testing.assert_allclose(transform.boxes_to_blob(whole)[0], [x, y, x + width, y + height], rtol=1e-6)


CASES = {
    "one pixel": ((1, 1), BlobSpec((64, 32)), (32, 32), (16, 0)),
    "odd size, rounded": ((641, 427), BlobSpec((416, 416)), (416, 277), (0, 69)),
    "odd size, floored": ((640, 427), BlobSpec((416, 416), rounding="floor"), (416, 277), (0, 69)),
    "half, rounded up": ((4, 1), BlobSpec((2, 8)), (2, 1), (0, 3)),
    "half, floored": ((4, 6), BlobSpec((2, 8), rounding="floor"), (2, 3), (0, 2)),
    "a line": ((1000, 1), BlobSpec((64, 64)), (64, 1), (0, 31)),
    "crop": ((100, 50), BlobSpec((40, 40), resize="crop"), (80, 40), (-20, 0)),
    "crop, top-left": ((100, 50), BlobSpec((40, 40), resize="crop", anchor="top-left"), (80, 40), (0, 0)),
    "stretch": ((100, 50), BlobSpec((40, 40), resize="stretch"), (40, 40), (0, 0)),
}


@pytest.mark.parametrize(("frame_wh", "spec", "resized_wh", "offset_xy"), CASES.values(), ids=CASES.keys())
def test_geometry(
    frame_wh: tuple[int, int], spec: BlobSpec, resized_wh: tuple[int, int], offset_xy: tuple[int, int]
) -> None:
    transform = plan_transform(frame_wh, spec)
    assert transform == FrameTransform(frame_wh, spec.size_wh, resized_wh, offset_xy)


def test_scale_is_resized_over_original_per_axis() -> None:
    transform = plan_transform((641, 427), BlobSpec((416, 416)))
    assert transform.scale_xy == (416 / 641, 277 / 427)


def detections() -> Detections:
    return Detections(
        np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32),
        np.array([0.9, 0.5], np.float32),
        np.array([1, 7], np.int32),
        names=("nut", "bolt"),
        keypoints=np.arange(30, dtype=np.float32).reshape(2, 5, 3),
        masks=Masks(
            (np.ones((1, 2), bool), np.eye(2, dtype=bool)), np.array([[0, 0], [1, 1]], np.int32), (4, 3)
        ),
        tracker_id=np.array([5, 3], np.int32),
        xywhr=np.array([[1, 1, 2, 2, 0], [2, 2, 2, 1, 0.5]], np.float32),
    )


def test_detections() -> None:
    found = detections()
    assert len(found) == 2
    assert [found.class_name(class_id) for _, _, class_id in found] == ["bolt", "7"]
    second = found[np.array([False, True])]
    assert second.confidence.tolist() == [0.5]
    assert second.keypoints is not None
    assert second.keypoints.shape == (1, 5, 3)


def test_to_supervision() -> None:
    try:
        import supervision
    except ImportError:
        with pytest.raises(MissingExtraError, match="pip install supervision"):
            detections().to_supervision()
        return
    converted = detections().to_supervision()
    assert isinstance(converted, supervision.Detections)
    np.testing.assert_array_equal(converted.xyxy, detections().xyxy)
    assert converted.data["class_name"].tolist() == ["bolt", "7"]
    check_columns(converted)


def check_columns(converted: Any) -> None:
    """What supervision gets beside boxes."""
    found = detections()
    assert found.masks is not None
    assert found.xywhr is not None
    np.testing.assert_array_equal(converted.mask, [found.masks.mask(0), found.masks.mask(1)])
    np.testing.assert_array_equal(converted.data["keypoints"], found.keypoints)
    np.testing.assert_array_equal(converted.data["xyxyxyxy"], corners(found.xywhr))
    assert converted.tracker_id.tolist() == [5, 3]


def test_to_supervision_hands_over_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the package, which need not be here."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    check_columns(detections().to_supervision())


def test_corners_of_oriented_boxes() -> None:
    found = corners(np.array([[10, 20, 4, 2, 0], [10, 20, 4, 2, np.pi / 2], [np.nan] * 5], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [[8, 19], [12, 19], [12, 21], [8, 21]])
    np.testing.assert_allclose(found[1], [[11, 18], [11, 22], [9, 22], [9, 18]], atol=1e-5)
    assert np.isnan(found[2]).all()


def test_as_dict_has_every_column() -> None:
    _, second = detections().as_dict()["detections"]
    assert second["keypoints"] == [[15 + 3 * i, 16 + 3 * i, 17 + 3 * i] for i in range(5)]
    assert second["mask"] == [[[1, 1], [2, 1], [2, 2], [1, 2]], [[2, 2], [3, 2], [3, 3], [2, 3]]]
    assert second["xywhr"] == [2, 2, 2, 1, 0.5]
    assert second["tracker_id"] == 3
    plain = msgspec.structs.replace(detections(), keypoints=None, masks=None, xywhr=None, tracker_id=None)
    assert list(plain.as_dict()["detections"][0]) == ["xyxy", "confidence", "class_id", "class_name"]


def test_texts() -> None:
    placement = Placement("b", "1", "cpu", "fp32", "fp32", 2, "engine", (("a", "why not"),))
    assert str(placement) == "b 1 (engine) on cpu, fp32, 2 threads; fell back from a: why not"
    assert placement.as_dict()["fallbacks"] == [{"backend": "a", "reason": "why not"}]
    assert str(TensorSpec("x", np.dtype(np.float32), (1, "n", None))) == "x: float32 (1, n, ?)"


def test_classification_names_its_classes() -> None:
    found = Classification(
        np.array([1, 7], np.int32), np.array([0.75, 0.25], np.float32), names=("nut", "bolt")
    )
    assert len(found) == 2
    assert list(found) == [(0.75, 1), (0.25, 7)]
    assert [found.class_name(class_id) for _, class_id in found] == ["bolt", "7"]
    assert found.class_name(-1) == "-1"


def test_timing_is_a_list_of_stages() -> None:
    timing = Timing((("preprocess", 1.0), ("trunk", 2.5), ("proposals", 0.5)))
    assert timing.total_ms == 4
    assert timing["trunk"] == timing.trunk_ms == 2.5
    assert list(timing.as_dict()) == ["preprocess", "trunk", "proposals"]
    assert str(timing) == "preprocess 1.00 ms, trunk 2.50 ms, proposals 0.50 ms"
    with pytest.raises(KeyError, match="expected one of the stages preprocess, trunk, proposals"):
        timing["inference"]
    for name in ("inference_ms", "trunk", "trunk_s", "_ms"):
        with pytest.raises(AttributeError, match=name):
            getattr(timing, name)


def test_a_placement_says_what_is_stored_where_that_is_not_what_is_computed() -> None:
    placement = Placement("b", "1", "cpu", "int8", "fp32", 1, "engine")
    assert str(placement) == "b 1 (engine) on cpu, fp32 (stored int8), 1 thread"
    assert (placement.as_dict()["stored"], placement.as_dict()["precision"]) == ("int8", "fp32")


def test_picking_detections() -> None:
    found = detections()
    assert found[1].confidence.tolist() == found[-1].confidence.tolist() == [0.5]
    assert len(found[:1]) == 1
    assert found[[1, 0]].class_id.tolist() == [7, 1]
    for keep in (1, slice(1, None), [1], np.array([1]), np.array([False, True])):
        assert found[keep] == found[-1]
        assert found[keep].as_dict()["detections"] == found.as_dict()["detections"][1:]
    assert found[[]].xyxy.shape == (0, 4)
    with pytest.raises(IndexError):
        found[2]


def test_results_are_equal_where_the_same_was_found() -> None:
    found = detections()
    seen = Seen(Timing((("inference", 1.0),)), Placement("b", "1", "cpu", "fp32", "fp32", 1, "e"), 2.0)
    timed = msgspec.structs.replace(found, seen=seen)
    assert timed == found
    assert (timed.timing, timed.placement, timed.age_ms) == (seen.timing, seen.placement, 2.0)
    assert (found.timing, found.placement, found.age_ms) == (None, None, None)
    assert found != found[:1]
    assert found.keypoints is not None
    assert found.masks is not None
    assert found.xywhr is not None
    assert found != msgspec.structs.replace(found, keypoints=None)
    assert found != msgspec.structs.replace(found, keypoints=found.keypoints + 1)
    assert found != msgspec.structs.replace(found, masks=None)
    assert found != msgspec.structs.replace(found, masks=found.masks[::-1])
    assert found != msgspec.structs.replace(found, xywhr=found.xywhr[::-1])
    assert found == msgspec.structs.replace(found, masks=found.masks[:])
    assert found != msgspec.structs.replace(found, class_id=found.class_id + 1)
    assert found != msgspec.structs.replace(found, names=("nut",))
    assert found != Classification(found.class_id, found.confidence, names=found.names)
    with pytest.raises(TypeError):
        hash(found)


def test_memory_of_several_sessions() -> None:
    assert Memory.sum([Memory(1, 2), Memory(10, 20)]) == Memory(11, 22)
    assert Memory.sum([Memory(1, None), Memory(10, 20)]) == Memory(11, None)

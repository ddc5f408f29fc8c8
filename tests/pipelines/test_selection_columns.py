"""Which oriented candidates stay, and what becomes of all columns in the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import boxes
from edgecv.heads.masks import RoiMasks
from edgecv.image import BlobSpec, plan_transform
from edgecv.pipelines import selection
from edgecv.pipelines.detector import DetectorSettings
from edgecv.types import Candidates, corners

F32, I32 = np.float32, np.int32
SETTINGS = DetectorSettings(conf=0.25, iou=0.5, max_det=100)


def candidates(n: int, **columns: Any) -> Candidates:
    values: dict[str, Any] = {
        "xyxy": np.tile(np.array([[0, 0, 10, 10]], F32), (n, 1)),
        "confidence": np.linspace(0.9, 0.5, n).astype(F32),
        "class_id": np.zeros(n, I32),
        **columns,
    }
    return Candidates(**values)


def test_oriented_boxes_suppress_by_their_own_overlap() -> None:
    """Two crossed ones stay, though the boxes around them are the same; the third is the first again."""
    xywhr = np.array([[5, 5, 12, 1, 0.8], [5, 5, 12, 1, -0.8], [5, 5, 12, 1.1, 0.8]], F32)
    assert selection.suppress(candidates(3, xywhr=xywhr), SETTINGS).tolist() == [0, 1]
    assert selection.suppress(candidates(3), SETTINGS).tolist() == [0]
    apart = candidates(3, xywhr=xywhr, class_id=np.array([0, 0, 1], I32))
    assert selection.suppress(apart, SETTINGS).tolist() == [0, 1, 2]
    agnostic = DetectorSettings(conf=0.25, iou=0.5, max_det=100, agnostic=True)
    assert selection.suppress(apart, agnostic).tolist() == [0, 1]


def test_oriented_boxes_overlap_by_probiou() -> None:
    """A pair between the two measures, so that they disagree."""
    xywhr = np.array([[0, 0, 4, 1, 0], [0, 0, 4, 1, np.pi / 4]], F32)
    by_area = float(boxes.iou_rotated(xywhr, xywhr)[0, 1])
    by_gauss = float(boxes.iou_rotated(xywhr, xywhr, method="probiou")[0, 1])
    between = (by_area + by_gauss) / 2
    assert abs(by_area - by_gauss) > 0.1
    kept = selection.suppress(candidates(2, xywhr=xywhr), DetectorSettings(conf=0.1, iou=between, max_det=9))
    assert len(kept) == (1 if by_gauss > between else 2)


def test_what_needs_no_nms_keeps_its_boxes_whatever_they_overlap() -> None:
    xywhr = np.tile(np.array([[5, 5, 4, 2, 0.3]], F32), (3, 1))
    found = candidates(3, xywhr=xywhr, needs_nms=False, confidence=np.array([0.5, 0.9, 0.5], F32))
    assert selection.suppress(found, SETTINGS).tolist() == [1, 0, 2]


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "crop"])
def test_every_column_goes_to_the_frame(resize: Any) -> None:
    """Each by the transform; and what lies in the padding alone goes, with all its columns."""
    transform = plan_transform((200, 100), BlobSpec((50, 50), resize=resize))
    inside = np.array([[10, 15, 30, 35]], F32)
    outside = np.array([[-900, -900, -890, -890]], F32)
    xywhr = np.array([[0, 0, 1, 1, 0], [20, 25, 20, 10, 0]], F32)
    points = np.array([[[0, 0, 0]], [[20, 25, 0.75]]], F32)
    found = selection.to_detections(
        candidates(
            2,
            xyxy=np.concatenate([outside, inside]),
            xywhr=xywhr,
            keypoints=points,
            masks=RoiMasks(np.ones((2, 8, 8), F32)),
        ),
        transform,
        ("a",),
    )
    assert len(found) == 1
    assert found.confidence.tolist() == [0.5]
    assert found.keypoints is not None
    assert found.xywhr is not None
    assert found.masks is not None
    ((x, y),) = transform.points_to_frame(np.array([[20, 25]], F32)).tolist()
    np.testing.assert_allclose(found.keypoints, [[[x, y, 0.75]]])
    center, width, height, _ = found.xywhr[0, :2], *found.xywhr[0, 2:]
    np.testing.assert_allclose(center, [x, y])
    scale_x, scale_y = transform.scale_xy
    np.testing.assert_allclose([width, height], [20 / scale_x, 10 / scale_y], rtol=1e-5)
    x0, y0, x1, y1 = found.xyxy[0]
    assert found.masks.mask(0)[int(y0) + 5 : int(y1) - 5, int(x0) + 5 : int(x1) - 5].all()
    assert found.masks.areas[0] <= (x1 - x0) * (y1 - y0)


def test_a_mask_keeps_to_its_box_where_the_frame_cuts_that() -> None:
    """The left half of the mask lies outside of the frame; it is cut away, not squeezed in."""
    transform = plan_transform((64, 64), BlobSpec((64, 64)))
    mask = np.zeros((1, 8, 8), F32)
    mask[:, :, 4:] = 1
    xyxy = np.array([[-16, 0, 16, 32]], F32)
    found = selection.to_detections(candidates(1, xyxy=xyxy, masks=RoiMasks(mask)), transform, ())
    assert found.xyxy.tolist() == [[0, 0, 16, 32]]
    assert found.masks is not None
    assert found.masks.mask(0)[4:28, 0:12].all()


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_an_oriented_box_that_is_not_stretched_is_mapped_exactly(angle: float) -> None:
    transform = plan_transform((200, 100), BlobSpec((50, 50)))
    xywhr = np.array([[20, 25, 20, 10, angle]], F32)
    mapped = transform.points_to_frame(corners(xywhr))
    np.testing.assert_allclose(corners(transform.xywhr_to_frame(xywhr)), mapped, atol=1e-3)

"""Masks that heads make: each pixel of the frame, one by one, by the definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import HeadError
from edgecv.heads.masks import BlobMasks, PrototypeMasks, RoiMasks
from edgecv.image import BlobSpec, plan_transform
from edgecv.types import FloatArray, FrameTransform

F32 = np.float32
BLOB_WH = (32, 24)
# What lies this close to the threshold may fall on either side by rounding.
CLOSE = 1e-4

TRANSFORMS = {
    "letterbox": plan_transform((50, 20), BlobSpec(BLOB_WH)),
    "upright": plan_transform((13, 41), BlobSpec(BLOB_WH)),
    "stretch": plan_transform((50, 20), BlobSpec(BLOB_WH, resize="stretch")),
    "crop": plan_transform((50, 20), BlobSpec(BLOB_WH, resize="crop")),
    "as it is": plan_transform(BLOB_WH, BlobSpec(BLOB_WH)),
}
transforms = st.sampled_from(list(TRANSFORMS.values()))


def boxes_in(transform: FrameTransform, rng: np.random.Generator, n: int) -> FloatArray:
    """Boxes of all sizes, some of them reaching out of the frame or lying outside."""
    places = rng.uniform(-0.4, 1.4, (n, 2, 2)) * transform.frame_wh
    places.sort(axis=1)
    return places.reshape(n, 4).astype(F32)


def between(grid: np.ndarray, x: float, y: float, outside: float | None) -> float:
    """A value between the centers of cells; x and y in cells from the left top edge of the first one.

    outside: the value of cells beyond the border; None: that of the nearest cell.
    """
    height, width = grid.shape

    def cell(row: int, column: int) -> float:
        if outside is not None and not (0 <= row < height and 0 <= column < width):
            return outside
        return float(grid[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])

    u, v = x - 0.5, y - 0.5
    column, row = math.floor(u), math.floor(v)
    right, below = u - column, v - row
    return (
        cell(row, column) * (1 - right) * (1 - below)
        + cell(row, column + 1) * right * (1 - below)
        + cell(row + 1, column) * (1 - right) * below
        + cell(row + 1, column + 1) * right * below
    )


def check(found: Any, xyxy: FloatArray, transform: FrameTransform, value: Any, threshold: float) -> None:
    """value: (i, x, y) of the center of a frame pixel -> what is compared with the threshold."""
    width, height = transform.frame_wh
    assert found.frame_wh == transform.frame_wh
    assert len(found) == len(xyxy)
    assert found.corner_xy.dtype == np.int32
    for i, (x0, y0, x1, y1) in enumerate(xyxy.tolist()):
        mask = found.mask(i)
        crop_height, crop_width = found.crops[i].shape
        assert crop_width <= math.ceil(max(x1 - x0, 0)), "no more memory than the box"
        assert crop_height <= math.ceil(max(y1 - y0, 0))
        for row in range(height):
            for column in range(width):
                x, y = column + 0.5, row + 0.5
                if not (x0 <= x < x1 and y0 <= y < y1):
                    assert not mask[row, column]
                    continue
                exact = value(i, x, y)
                if abs(exact - threshold) > CLOSE:
                    assert mask[row, column] == (exact > threshold), (i, row, column, exact)


@given(transforms, st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 1 << 32))
def test_prototypes_equal_the_definition(
    transform: FrameTransform, height: int, width: int, m: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(m, height, width)).astype(F32)
    coefficients = rng.normal(size=(3, m)).astype(F32)
    xyxy = boxes_in(transform, rng, 3)
    logits = np.einsum("nm,mhw->nhw", coefficients.astype(np.float64), prototypes)

    def value(i: int, x: float, y: float) -> float:
        ((bx, by),) = transform.points_to_blob(np.array([[x, y]], np.float64)).tolist()
        return between(logits[i], bx * width / BLOB_WH[0], by * height / BLOB_WH[1], None)

    check(
        PrototypeMasks(coefficients, prototypes, BLOB_WH).to_frame(xyxy, transform),
        xyxy,
        transform,
        value,
        0.0,
    )


@given(transforms, st.integers(1, 30), st.integers(1, 40), st.booleans(), st.integers(0, 1 << 32))
def test_masks_over_the_blob_equal_the_definition(
    transform: FrameTransform, height: int, width: int, logits: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    maps = (rng.normal(size=(4, height, width)) if logits else rng.random((4, height, width))).astype(F32)
    index = rng.integers(0, 4, 3)
    xyxy = boxes_in(transform, rng, 3)

    def value(i: int, x: float, y: float) -> float:
        ((bx, by),) = transform.points_to_blob(np.array([[x, y]], np.float64)).tolist()
        return between(maps[index[i]], bx * width / BLOB_WH[0], by * height / BLOB_WH[1], None)

    found = BlobMasks(maps, index, BLOB_WH, logits).to_frame(xyxy, transform)
    check(found, xyxy, transform, value, 0.0 if logits else 0.5)


@pytest.mark.parametrize(("value", "logits", "pixels"), [(0.5, False, 0), (0.6, False, 64), (0.0, True, 0)])
def test_a_value_at_the_threshold_does_not_count_over_the_blob(
    value: float, logits: bool, pixels: int
) -> None:
    """As torchvision's and RF-DETR's own comparisons have it."""
    source = BlobMasks(np.full((1, 24, 32), value, F32), np.zeros(1, int), BLOB_WH, logits)
    found = source.to_frame(np.array([[4, 4, 12, 12]], F32), TRANSFORMS["as it is"])
    assert found.areas.tolist() == [pixels]


@given(transforms, st.integers(1, 7), st.integers(1, 7), st.integers(0, 1 << 32))
def test_roi_masks_equal_the_definition(
    transform: FrameTransform, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((3, height, width)).astype(F32)
    xyxy = boxes_in(transform, rng, 3)

    def value(i: int, x: float, y: float) -> float:
        x0, y0, x1, y1 = xyxy[i].tolist()
        return between(masks[i], (x - x0) / (x1 - x0) * width, (y - y0) / (y1 - y0) * height, 0.0)

    check(RoiMasks(masks).to_frame(xyxy, transform), xyxy, transform, value, 0.5)


def test_a_box_that_reaches_out_of_the_frame_keeps_its_mask_in_place() -> None:
    """The right half of a mask is the object; of a box that begins left of the frame, that half shows."""
    transform = TRANSFORMS["as it is"]
    mask = np.zeros((1, 4, 4), F32)
    mask[:, :, 2:] = 1
    found = RoiMasks(mask).to_frame(np.array([[-8, 0, 8, 8]], F32), transform)
    assert found.mask(0)[1:7, :7].all(), "but for the corners, where it falls along both axes"
    assert (
        not RoiMasks(mask[..., ::-1].copy()).to_frame(np.array([[-8, 0, 8, 8]], F32), transform).areas.any()
    )


def test_a_probability_of_half_counts() -> None:
    transform = TRANSFORMS["as it is"]
    box = np.array([[4, 4, 12, 12]], F32)
    half = RoiMasks(np.full((1, 8, 8), 0.5, F32)).to_frame(box, transform)
    assert half.areas.tolist() == [64], "the pixels' centers are the cells'"


@pytest.mark.parametrize("kind", ["prototypes", "rois", "blob"])
def test_odd_boxes(kind: str) -> None:
    transform = TRANSFORMS["as it is"]
    inf, nan = float("inf"), float("nan")
    odd = [[5, 5, 5, 9], [9, 9, 5, 5], [40, 30, 50, 40], [nan] * 4, [0, 0, inf, 9], [-inf, -inf, inf, inf]]
    xyxy = np.array([*odd, [-3e38, -3e38, 3e38, 3e38]], F32)
    n = len(xyxy)
    source: Any = RoiMasks(np.ones((n, 3, 3), F32))
    if kind == "prototypes":
        source = PrototypeMasks(np.ones((n, 2), F32), np.ones((2, 3, 3), F32), BLOB_WH)
    if kind == "blob":
        source = BlobMasks(np.ones((1, 3, 3), F32), np.zeros(n, int), BLOB_WH)
    found = source.to_frame(xyxy, transform)
    assert found.whole().shape == (n, BLOB_WH[1], BLOB_WH[0])
    assert not found.areas[:4].any()
    assert not len(source[np.zeros(0, np.intp)].to_frame(xyxy[:0], transform))


@given(st.integers(0, 1 << 32))
def test_picked_candidates_have_their_own_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    transform = TRANSFORMS["letterbox"]
    xyxy = boxes_in(transform, rng, 4)
    keep = rng.integers(0, 4, 3)
    prototypes = PrototypeMasks(
        rng.normal(size=(4, 2)).astype(F32), rng.normal(size=(2, 5, 5)).astype(F32), BLOB_WH
    )
    maps = rng.random((4, 5, 5)).astype(F32)
    for source in (prototypes, RoiMasks(maps), BlobMasks(maps, np.array([3, 1, 0, 2]), BLOB_WH)):
        assert source[keep].to_frame(xyxy[keep], transform) == source.to_frame(xyxy, transform)[keep]


def test_a_large_crop_is_made_in_blocks_as_a_small_one() -> None:
    """More pixels than are interpolated at once."""
    transform = plan_transform((700, 500), BlobSpec(BLOB_WH))
    rng = np.random.default_rng(3)
    source = PrototypeMasks(
        rng.normal(size=(1, 3)).astype(F32), rng.normal(size=(3, 6, 8)).astype(F32), BLOB_WH
    )
    whole = source.to_frame(np.array([[0, 0, 700, 500]], F32), transform).mask(0)
    for box in ((0, 0, 700, 20), (640, 250, 700, 480)):
        part = source.to_frame(np.array([box], F32), transform)
        x0, y0, x1, y1 = box
        np.testing.assert_array_equal(part.crops[0], whole[y0:y1, x0:x1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_odd_values_are_quiet(value: float) -> None:
    transform = TRANSFORMS["letterbox"]
    box = np.array([[3, 3, 20, 15]], F32)
    prototypes = np.array([[[value, 1], [-1, value]], [[value, value], [1, -value]]], F32)
    found = PrototypeMasks(np.array([[value, 2]], F32), prototypes, BLOB_WH).to_frame(box, transform)
    assert len(found) == 1
    assert len(RoiMasks(prototypes[:1]).to_frame(box, transform)) == 1
    assert len(BlobMasks(prototypes, np.zeros(1, int), BLOB_WH).to_frame(box, transform)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: PrototypeMasks(np.zeros((2, 3), F32), np.zeros((4, 5, 5), F32), BLOB_WH),
            "expected a coefficient for each of 4 prototypes, got 3",
            id="coefficients",
        ),
        pytest.param(
            lambda: PrototypeMasks(np.zeros((2, 3), F32), np.zeros((1, 3, 5, 5), F32), BLOB_WH),
            r"prototypes \(m, h, w\), got \(2, 3\) and \(1, 3, 5, 5\)",
            id="batch",
        ),
        pytest.param(lambda: RoiMasks(np.zeros((2, 1, 5, 5), F32)), r"expected \(n, h, w\)", id="rois"),
        pytest.param(
            lambda: BlobMasks(np.zeros((2, 0, 5), F32), np.zeros(2, int), BLOB_WH),
            r"expected \(n, h, w\), of each object its own, got \(2, 0, 5\)",
            id="blob",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(make: Any, message: str) -> None:
    with pytest.raises(HeadError, match=message):
        make()

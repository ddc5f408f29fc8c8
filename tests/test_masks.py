"""Masks as crops: their pixels, boundaries and run lengths, against plain loops over whole frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecv.errors import InputError
from edgecv.masks import Masks, ring_area

FRAME_WH = (14, 11)


@st.composite
def one_mask(draw: st.DrawFn) -> Masks:
    """One object anywhere in a small frame, of any size from none to all of it."""
    width, height = FRAME_WH
    w, h = draw(st.integers(0, width)), draw(st.integers(0, height))
    x, y = draw(st.integers(0, width - w)), draw(st.integers(0, height - h))
    density = draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
    crop = np.random.default_rng(draw(st.integers(0, 1 << 32))).random((h, w)) < density
    return Masks((crop,), np.array([[x, y]], np.int32), FRAME_WH)


def of(*rows: str, corner: tuple[int, int] = (0, 0)) -> Masks:
    """One object from a picture of it."""
    crop = np.array([[c == "#" for c in row] for row in rows], np.bool_).reshape(len(rows), -1)
    return Masks((crop,), np.array([corner], np.int32), FRAME_WH)


def filled(rings: list[np.ndarray], rule: str) -> np.ndarray:
    """Which pixels of the frame the rings enclose: crossings left of each pixel's center, one by one."""
    width, height = FRAME_WH
    pixels = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            crossings = winding = 0
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                    if x0 == x1 and x0 <= column and min(y0, y1) <= row < max(y0, y1):
                        crossings += 1
                        winding += 1 if y1 > y0 else -1
            pixels[row, column] = crossings % 2 == 1 if rule == "even-odd" else winding != 0
    return pixels


@given(one_mask())
def test_polygons_enclose_exactly_the_pixels(masks: Masks) -> None:
    rings = masks.polygons(0)
    for rule in ("even-odd", "nonzero"):
        np.testing.assert_array_equal(filled(rings, rule), masks.mask(0), err_msg=rule)
    assert sum(ring_area(ring) for ring in rings) == masks.areas[0]
    for ring in rings:
        assert ring.dtype == np.float32
        assert len(ring) >= 4
        step = np.abs(np.roll(ring, -1, axis=0) - ring) > 0
        assert (step.sum(axis=1) == 1).all(), "edges lie along one axis"
        assert (step[1:] != step[:-1]).all(), "and take turns"
    firsts = [min((y, x) for x, y in ring.tolist()) for ring in rings]
    assert firsts == sorted(firsts)


@given(one_mask())
def test_each_outer_ring_is_one_part_joined_by_edges(masks: Masks) -> None:
    parts, mask = 0, masks.mask(0)
    todo = set(zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True))
    while todo:
        parts += 1
        stack = [todo.pop()]
        while stack:
            y, x = stack.pop()
            for beside in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if beside in todo:
                    todo.remove(beside)
                    stack.append(beside)
    assert sum(ring_area(ring) > 0 for ring in masks.polygons(0)) == parts


SHAPES = {
    "a pixel": (of("#", corner=(3, 2)), [[[3, 2], [4, 2], [4, 3], [3, 3]]]),
    "a hole": (
        of("###", "# #", "###"),
        [[[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]],
    ),
    "two that touch": (
        of("# ", " #"),
        [[[0, 0], [1, 0], [1, 1], [0, 1]], [[1, 1], [2, 1], [2, 2], [1, 2]]],
    ),
    "nothing": (of("  ", "  "), []),
    "no crop": (of("", ""), []),
}


@pytest.mark.parametrize(("masks", "rings"), SHAPES.values(), ids=SHAPES.keys())
def test_polygons_of(masks: Masks, rings: list[list[list[int]]]) -> None:
    assert [ring.tolist() for ring in masks.polygons(0)] == rings
    assert [ring.tolist() for ring in masks.outline(0)] == rings


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)


OUTLINES = {
    "a disc": (disc(60), 1.0),
    "a large disc": (disc(900), 1.0),
    "a comb": (np.tile([True, False], (40, 400)), None),
    "noise": (np.random.default_rng(0).random((200, 300)) < 0.5, None),
    "dots": (np.arange(90)[:, None] % 3 + np.arange(90) % 3 == 0, None),
}


@pytest.mark.parametrize(("crop", "tolerance"), OUTLINES.values(), ids=OUTLINES.keys())
def test_outlines_are_small(crop: np.ndarray, tolerance: float | None) -> None:
    height, width = crop.shape
    masks = Masks((crop,), np.zeros((1, 2), np.int32), (width, height))
    outline, rings = masks.outline(0), masks.polygons(0)
    assert 0 < sum(map(len, outline)) <= 500
    every = {tuple(corner) for ring in rings for corner in ring.tolist()}
    assert all(tuple(corner) in every for ring in outline for corner in ring.tolist())
    if tolerance is not None:
        assert len(outline[0]) < len(rings[0]) / 2
        start, end = outline[0], np.roll(outline[0], -1, axis=0)
        along = end - start
        for corner in rings[0]:
            share = np.clip(((corner - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
            assert np.hypot(*(corner - start - share[:, None] * along).T).min() <= tolerance + 1e-6


@given(one_mask())
def test_run_lengths_are_the_frame_column_after_column(masks: Masks) -> None:
    runs = masks.rle(0)
    pixels = np.concatenate([np.full(n, i % 2 == 1) for i, n in enumerate(runs)])
    np.testing.assert_array_equal(pixels.reshape(FRAME_WH).T, masks.mask(0))
    assert all(runs[1:]), "only the first may be 0"


def test_run_lengths_are_those_of_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    masks = of(" ## ", "####", "  # ", corner=(10, 8))
    width, height = FRAME_WH
    packed = coco.frPyObjects({"size": [height, width], "counts": masks.rle(0)}, height, width)
    assert packed == coco.encode(np.asfortranarray(masks.mask(0).astype(np.uint8)))


@given(one_mask(), one_mask())
def test_overlap_counts_pixels(a: Masks, b: Masks) -> None:
    both, either = a.overlap(0, b, 0)
    assert both == (a.mask(0) & b.mask(0)).sum()
    assert either == (a.mask(0) | b.mask(0)).sum()


def test_overlap_of_other_frames() -> None:
    other = Masks((np.ones((1, 1), bool),), np.zeros((1, 2), np.int32), (5, 5))
    with pytest.raises(InputError, match=r"expected those of frames of \(14, 11\), got \(5, 5\)"):
        of("#").overlap(0, other, 0)


several = st.lists(one_mask(), max_size=4)


@given(several, hnp.arrays(np.bool_, 4))
def test_picking(masks: list[Masks], keep: np.ndarray) -> None:
    corners = np.concatenate([m.corner_xy for m in masks]) if masks else np.zeros((0, 2), np.int32)
    all_of = Masks(tuple(m.crops[0] for m in masks), corners, FRAME_WH)
    keep = keep[: len(masks)]
    whole = all_of.whole()
    assert whole.shape == (len(masks), FRAME_WH[1], FRAME_WH[0])
    for picked in (keep, np.flatnonzero(keep), np.flatnonzero(keep).tolist()):
        np.testing.assert_array_equal(all_of[picked].whole(), whole[keep])
    np.testing.assert_array_equal(all_of[::-1].whole(), whole[::-1])
    assert all_of[::-1][::-1] == all_of
    assert (all_of[keep] == all_of) == keep.all()

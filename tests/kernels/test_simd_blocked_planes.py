"""Step `planes` on every ISA: every pair of layouts, in order and shuffled, around the lane counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_blocked import F32
from tests.kernels.simd_program import Array, Program, each_isa, from_blocked, ref, to_blocked

LAYOUTS = ["planar", "channel-last", "blocked"]
SIDES = [(1, 1), (1, 7), (7, 1), (9, 31)]


def stored(x: Array, layout: str, lanes: int) -> Array:
    """float32 (C, H, W) in a layout."""
    if layout == "blocked":
        return to_blocked(x, lanes)
    return np.ascontiguousarray(x if layout == "planar" else x.transpose(1, 2, 0))


def loaded(y: Array, layout: str, channels: int) -> Array:
    if layout == "blocked":
        return from_blocked(y, channels)
    return y if layout == "planar" else y.transpose(2, 0, 1)


def geometry(layout: str, channels: int, hw: tuple[int, int], lanes: int) -> tuple[int, int, Array]:
    """Distances of rows and of pixels in floats, and where each channel starts, in bytes."""
    h, w = hw
    c = np.arange(channels, dtype=np.int64)
    if layout == "planar":
        return w, 1, 4 * c * h * w
    if layout == "channel-last":
        return w * channels, channels, 4 * c
    return w * lanes, lanes, 4 * (c // lanes * h * w * lanes + c % lanes)


def run_planes(isa: str, x: Array, layouts: tuple[str, str], order: Array, chunk: int) -> Array:
    """Channels of x (C, H, W) in this order, -1 for zeros."""
    program = Program(isa)
    lanes, hw = program.lanes, (x.shape[1], x.shape[2])
    n = len(order)
    source = program.input(stored(x, layouts[0], lanes))
    shape = {"planar": (n, *hw), "channel-last": (*hw, n), "blocked": (-(-n // lanes), *hw, lanes)}[
        layouts[1]
    ]
    target = program.output(shape)
    x_row, x_pixel, x_starts = geometry(layouts[0], x.shape[0], hw, lanes)
    y_row, y_pixel, y_starts = geometry(layouts[1], n, hw, lanes)
    places = np.zeros((n, 2), np.int64)
    places[:, 0] = np.where(order < 0, 0, source + x_starts[np.maximum(order, 0)])
    places[:, 1] = target + y_starts
    program.step(
        "planes",
        places=places,
        n_places=n,
        h=hw[0],
        w=hw[1],
        x_row=x_row,
        x_pixel=x_pixel,
        y_row=y_row,
        y_pixel=y_pixel,
        chunk_places=chunk,
    )
    return loaded(program.run()[0], layouts[1], n)


@each_isa
@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("order", ["same", "zeros", "shuffled", "strided", "reversed"])
def test_planes(isa: str, source: str, target: str, order: str) -> None:
    lanes = _simd.lanes(isa)
    rng = np.random.default_rng(0)
    for channels in (1, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 5):
        takes = np.arange(channels)
        if order == "zeros":
            takes = np.concatenate([takes, np.full(-channels % lanes + lanes, -1)])
            takes[rng.random(takes.size) < 0.1] = -1
        elif order == "shuffled":
            rng.shuffle(takes)
        elif order == "strided":
            takes = np.concatenate([takes[::2], takes[1::2]])
        elif order == "reversed":
            takes = takes[::-1]
        for hw in SIDES:
            x = rng.standard_normal((channels, *hw)).astype(F32)
            want = np.where((takes < 0)[:, None, None], 0, x[takes]).astype(F32)
            for chunk in (len(takes), 3):
                np.testing.assert_array_equal(run_planes(isa, x, (source, target), takes, chunk), want)


@each_isa
@pytest.mark.parametrize(
    ("source", "target"), [("planar", "blocked"), ("blocked", "planar"), ("planar", "planar")]
)
def test_a_part_of_the_rows(isa: str, source: str, target: str) -> None:
    """A window of h x w pixels inside larger planes, on both sides; what is around it stays as it was."""
    program = Program(isa)
    lanes = program.lanes
    x = np.random.default_rng(1).standard_normal((lanes, 9, 40)).astype(F32)
    shape = (1, 9, 40, lanes) if target == "blocked" else (lanes, 9, 40)
    first = program.input(stored(x, source, lanes))
    y = program.output(shape)
    x_row, x_pixel, x_starts = geometry(source, lanes, (9, 40), lanes)
    y_row, y_pixel, y_starts = geometry(target, lanes, (9, 40), lanes)
    corner_x, corner_y = 2 * x_row + 3 * x_pixel, 1 * y_row + 5 * y_pixel
    places = np.stack([first + x_starts + 4 * corner_x, y + y_starts + 4 * corner_y], 1).astype(np.int64)
    distances = {"x_row": x_row, "x_pixel": x_pixel, "y_row": y_row, "y_pixel": y_pixel}
    program.step("planes", places=places, n_places=lanes, h=6, w=33, chunk_places=lanes, **distances)
    got = loaded(program.run()[0], target, lanes)
    np.testing.assert_array_equal(got[:, 1:7, 5:38], x[:, 2:8, 3:36])
    around = np.ones((9, 40), bool)
    around[1:7, 5:38] = False
    assert np.isnan(got[:, around]).all()


@each_isa
def test_negative_distances(isa: str) -> None:
    x = np.arange(2 * 3 * 5, dtype=F32).reshape(2, 3, 5)
    program = Program(isa)
    source, target = program.input(x), program.output(x.shape)
    places = np.array([[source + 4 * (15 * c + 14), target + 60 * c] for c in range(2)], np.int64)
    distances = {"x_row": -5, "x_pixel": -1, "y_row": 5, "y_pixel": 1}
    program.step("planes", places=places, n_places=2, h=3, w=5, chunk_places=1, **distances)
    np.testing.assert_array_equal(program.run()[0], x[:, ::-1, ::-1])


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"h": 4}, "source"),
        ({"w": 6}, "source"),
        ({"x_row": -5}, "source"),
        ({"y_row": 6}, "target"),
        ({"y_pixel": 2**62}, "distances"),
        ({"x_row": -(2**63)}, "distances"),
        ({"h": 2**62, "w": 2**62}, "sides"),
        ({"h": -1}, "sides"),
        ({"n_places": 2}, "outside"),
        ({"n_places": -1}, "planes"),
        ({"n_places": 2**62}, "planes"),
        ({"chunk_places": 0}, "chunks"),
        ({"places": ref(4)}, "places"),
    ],
    ids=str,
)
def test_unsound_planes(isa: str, change: dict[str, int], problem: str) -> None:
    program = Program(isa)
    source, target = program.input(np.zeros((3, 5), F32)), program.output((3, 5))
    fields: dict[str, Any] = {"places": np.array([[source, target]], np.int64), "n_places": 1, "h": 3, "w": 5}
    fields |= {"x_row": 5, "x_pixel": 1, "y_row": 5, "y_pixel": 1, "chunk_places": 1}
    program.step("planes", **fields)
    program.plan()
    program.steps.clear()
    program.labels.clear()
    program.step("planes", **(fields | change))
    with pytest.raises(ModelFileError, match=problem):
        program.plan()


@each_isa
def test_planes_write_to_no_input(isa: str) -> None:
    program = Program(isa)
    x = program.input(np.zeros((3, 5), F32))
    places = np.array([[0, x]], np.int64)
    program.step("planes", places=places, n_places=1, h=3, w=5, y_row=5, y_pixel=1, chunk_places=1)
    with pytest.raises(ModelFileError, match="target"):
        program.plan()

"""Views against NumPy: the same operations on an array, and on where its elements lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.engine.views import Joined, Planes, Strided

Array = NDArray[Any]
LANES = 4


def elements(view: Planes | Strided) -> Array:
    """The number of each element in memory of float32."""
    if isinstance(view, Strided):
        index = np.full(view.shape, view.ref // 4, np.int64)
        for axis, (n, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
            index += (np.arange(n) * stride).reshape((-1,) + (1,) * (len(view.shape) - axis - 1))
        return index
    pixels = (np.arange(view.h)[:, None] * view.row + np.arange(view.w) * view.pixel).reshape(-1)
    lead = view.refs // 4
    whole = lead[..., None] + pixels
    order = [*range(view.at), lead.ndim, *range(view.at, lead.ndim)]
    moved = whole.transpose(order)
    return moved.reshape(view.shape)


def blocked(batch: int, channels: int, h: int, w: int) -> Planes:
    """Planes in blocks of LANES, image after image."""
    blocks = -(-channels // LANES)
    channel = np.arange(channels, dtype=np.int64)
    one = channel // LANES * h * w * LANES * 4 + channel % LANES * 4
    refs = one + np.arange(batch, dtype=np.int64)[:, None] * blocks * h * w * LANES * 4
    return Planes(refs, (h, w), 2, h, w, w * LANES, LANES, LANES)


sizes = st.tuples(st.integers(1, 2), st.sampled_from([1, 2, 4, 6, 8]), st.integers(1, 4), st.integers(1, 4))


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Names and seeds of a few operations; what they do is found out on the way."""
    kinds = st.sampled_from(["transpose", "reshape", "slice", "take", "split"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 1 << 30)), min_size=1, max_size=5))


def factorings(size: int, seed: int) -> tuple[int, ...]:
    """Some shape of so many elements."""
    rng = np.random.default_rng(seed)
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        n = int(rng.choice([d for d in range(1, size + 1) if size % d == 0]))
        shape.append(n)
        size //= n
    return (*shape, size)


def step(view: Any, truth: Array, kind: str, seed: int) -> tuple[Any, Array]:
    """One operation on both; None for a view that cannot tell the result."""
    rng = np.random.default_rng(seed)
    axis = int(rng.integers(truth.ndim))
    if kind == "transpose":
        order = [int(i) for i in rng.permutation(truth.ndim)]
        return view.transpose(order), truth.transpose(order)
    if kind == "reshape":
        shape = factorings(truth.size, seed)
        return view.reshape(shape), truth.reshape(shape)
    if kind == "take" and isinstance(view, Planes):
        take = rng.integers(0, truth.shape[axis], 3)
        return view.index(axis, take), np.take(truth, take, axis)
    begin = int(rng.integers(truth.shape[axis]))
    end = int(rng.integers(begin, truth.shape[axis])) + 1
    if kind == "split":
        begin, end = 0, max(truth.shape[axis] // 2, 1)
    chosen = (slice(None),) * axis + (slice(begin, end),)
    return view.index(axis, slice(begin, end)), truth[chosen]


@given(sizes, operations())
def test_planes_follow_numpy(size: tuple[int, int, int, int], todo: list[tuple[str, int]]) -> None:
    view: Planes | None = blocked(*size)
    assert view is not None
    truth = elements(view)
    for kind, seed in todo:
        moved, changed = step(view, truth, kind, seed)
        if moved is None:
            continue
        view, truth = moved, changed
        assert view.shape == truth.shape
        assert np.array_equal(elements(view), truth)


@given(sizes, operations())
def test_strides_follow_numpy(size: tuple[int, int, int, int], todo: list[tuple[str, int]]) -> None:
    view: Strided | None = Strided.contiguous(0, np.float32, size)
    assert view is not None
    truth = elements(view)
    for kind, seed in todo:
        moved, changed = step(view, truth, kind, seed)
        if moved is None:
            continue
        view, truth = moved, changed
        assert view.shape == truth.shape
        assert np.array_equal(elements(view), truth)


@given(sizes, st.integers(0, 1 << 30))
def test_a_reshape_of_strides_is_refused_only_where_numpy_copies(
    size: tuple[int, int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = [int(i) for i in rng.permutation(4)]
    view = Strided.contiguous(0, np.float32, size).transpose(order)
    array = np.zeros(size, np.float32).transpose(order)
    shape = factorings(array.size, seed)
    shares = np.shares_memory(array.reshape(shape), array)
    assert (view.reshape(shape) is not None) == shares


def test_a_channel_shuffle_moves_nothing() -> None:
    view = blocked(1, 8, 3, 5)
    shuffled = view.reshape((1, 2, 4, 3, 5))
    assert shuffled is not None
    turned = shuffled.transpose((0, 2, 1, 3, 4))
    assert turned is not None
    back = turned.reshape((1, 8, 3, 5))
    assert back is not None
    assert back.image() is not None
    assert back.refs[0].tolist() == view.refs[0][[0, 4, 1, 5, 2, 6, 3, 7]].tolist()


def test_heads_keep_their_planes_until_they_are_written() -> None:
    view = blocked(1, 6, 2, 2).reshape((1, 6, 4))
    assert view is not None
    turned = view.transpose((0, 2, 1))
    assert turned is not None
    assert turned.shape == (1, 4, 6)
    assert (turned.at, turned.spatial) == (1, (4,))


def test_pixels_are_not_torn_apart() -> None:
    view = blocked(1, 4, 3, 5)
    assert view.transpose((0, 2, 1, 3)) is None
    assert view.index(3, np.array([0, 2])) is None
    assert view.index(3, slice(None, None, -1)) is None
    assert view.reshape((1, 12, 5)) is None


@pytest.mark.parametrize(
    "take", [slice(0, 2), slice(1, 4), slice(0, 4, 2), slice(3, None), slice(None)], ids=str
)
@pytest.mark.parametrize("axis", [2, 3])
def test_a_window_of_pixels(axis: int, take: slice) -> None:
    view = blocked(2, 6, 4, 5)
    window = view.index(axis, take)
    assert window is not None
    index = (slice(None),) * axis + (take,)
    assert np.array_equal(elements(window), elements(view)[index])
    is_whole = (window.w == view.w or window.h == 1) and (take.step or 1) == 1
    assert window.is_dense == is_whole
    flat = window.reshape((2, 6, window.h * window.w))
    assert flat is not None
    assert np.array_equal(elements(flat), elements(view)[index].reshape(2, 6, -1))
    # A part of all pixels is a window only where there is one row of them.
    assert (flat.index(2, slice(1, None)) is None) == (window.h > 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_concatenated_planes(axis: int) -> None:
    first, second = blocked(2, 4, 2, 3), blocked(2, 4, 2, 3)
    joined = Planes.concatenate([first, second], axis)
    assert joined is not None
    truth = np.concatenate([elements(first), elements(second)], axis)
    assert np.array_equal(elements(joined), truth)


def test_planes_of_other_sizes_are_joined_in_pieces() -> None:
    first, second = blocked(1, 4, 2, 3), blocked(1, 4, 4, 6)
    assert Planes.concatenate([first, second], 1) is None
    parts = tuple(p.reshape((1, 4, p.h * p.w)) for p in (first, second))
    joined = Joined(tuple(p for p in parts if p is not None), 2)
    assert joined.shape == (1, 4, 30)


@given(sizes)
def test_strides_as_planes(size: tuple[int, int, int, int]) -> None:
    assume(math.prod(size) > 0)
    view = Strided.contiguous(64, np.float32, size).transpose((0, 3, 1, 2))
    planes = view.planes()
    assert planes is not None
    assert np.array_equal(elements(planes), elements(view))

"""Pooling against onnx.reference, from blocks and from plain memory, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.engine.lower.pooling import Window
from tests.engine.one_node import check, random, steps

TWO_AXES: dict[str, dict[str, Any]] = {
    "2x2": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "3x3 padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "5x5 in place": {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]},
    "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "ceil, padded": {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 0, 1, 0], "ceil_mode": 1},
    "dilated": {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 2, 1]},
    "pads of one side": {"kernel_shape": [3, 3], "pads": [2, 0, 0, 1]},
    "SAME_UPPER": {"kernel_shape": [4, 4], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "SAME_LOWER": {"kernel_shape": [3, 4], "strides": [1, 1], "auto_pad": "SAME_LOWER"},
}


@pytest.mark.parametrize("blocked", [True, False], ids=["blocks", "plain"])
@pytest.mark.parametrize("attributes", TWO_AXES.values(), ids=TWO_AXES)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_two_axes(op: str, attributes: dict[str, Any], blocked: bool) -> None:
    check(op, {"x": random(2, 19, 9, 8)}, blocked=blocked, tolerance=4e-6, **attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 2], "dilations": [2, 1]},
    ],
    ids=["padded", "ceil", "dilated"],
)
def test_averages_that_count_the_padding(attributes: dict[str, Any]) -> None:
    check("AveragePool", {"x": random(1, 5, 8, 7)}, count_include_pad=1, **attributes)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_one_and_three_axes(op: str) -> None:
    check(op, {"x": random(2, 6, 11)}, kernel_shape=[4], strides=[3], pads=[1, 2])
    three = {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 1, 0, 0, 1, 1]}
    check(op, {"x": random(1, 3, 5, 6, 7)}, **three)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_eight_bits(dtype: Any) -> None:
    check("MaxPool", {"x": random(1, 3, 6, 6, dtype=dtype)}, kernel_shape=[3, 3], strides=[2, 1])


INDEXED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "2x2": ((2, 3, 6, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "overlapping": ((1, 5, 7, 6), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "dilated": ((1, 2, 9, 9), {"kernel_shape": [2, 3], "dilations": [3, 2]}),
    "by columns": ((2, 2, 5, 4), {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": 1}),
    "one axis": ((2, 3, 9), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
}


@pytest.mark.parametrize(("shape", "attributes"), INDEXED.values(), ids=INDEXED)
def test_where_the_largest_are(shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    x = random(*shape)
    # Plain loops: the reference of onnx knows neither dilations nor several planes here.
    axes = len(shape) - 2
    wide = x.reshape(*shape[:2], *((1,) if axes == 1 else ()), *shape[2:])
    kernel, strides, dilations = (
        (1,) * (2 - axes) + tuple(attributes.get(name, (1,) * axes))
        for name in ("kernel_shape", "strides", "dilations")
    )
    pads = attributes.get("pads", [0] * (2 * axes))
    begin, end = (0,) * (2 - axes) + tuple(pads[:axes]), (0,) * (2 - axes) + tuple(pads[axes:])
    n, c, h, w = wide.shape
    out = [
        (size + b + e - (k - 1) * d - 1) // s + 1
        for size, b, e, k, d, s in zip((h, w), begin, end, kernel, dilations, strides, strict=True)
    ]
    values = np.empty((n, c, *out), np.float32)
    indices = np.empty((n, c, *out), np.int64)
    for place in np.ndindex(n, c, *out):
        best = (-np.inf, 0)
        for tap in np.ndindex(*kernel):
            i, j = (place[2 + a] * strides[a] - begin[a] + tap[a] * dilations[a] for a in range(2))
            if 0 <= i < h and 0 <= j < w and wide[place[0], place[1], i, j] > best[0]:
                flat = j * h + i if attributes.get("storage_order") else i * w + j
                best = (wide[place[0], place[1], i, j], (place[0] * c + place[1]) * h * w + flat)
        values[place], indices[place] = best
    places = (values.reshape(*shape[:2], *out[2 - axes :]), indices.reshape(*shape[:2], *out[2 - axes :]))
    check("MaxPool", {"x": x}, outputs=2, expected=places, **attributes)


def test_unpooling() -> None:
    x = random(1, 2, 3, 3)
    indices = np.array([[[0, 3, 5], [14, 16, 11], [24, 26, 28]], [[36, 38, 41], [48, 51, 52], [60, 62, 71]]])
    feeds = {"x": x, "indices": indices.reshape(1, 2, 3, 3)}
    check("MaxUnpool", feeds, kernel_shape=[2, 2], strides=[2, 2])


def test_a_pool_of_blocks_moves_nothing() -> None:
    programs = check("MaxPool", {"x": random(1, 32, 8, 8)}, blocked=True, kernel_shape=[3, 3])
    for isa, compiled in programs.items():
        assert steps(compiled)[-2:] == ["pool", "planes"], isa
        assert steps(compiled).count("planes") <= 2


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_windows_hold_what_lies_inside(n: int, dilation: int) -> None:
    window = Window(size=3, stride=2, dilation=dilation, begin=4, end=3, made=5)
    for i, (first, end, count) in enumerate(window.table(n).tolist()):
        taps = [i * 2 - 4 + k * dilation for k in range(3)]
        assert list(range(first, end, dilation)) == [t for t in taps if 0 <= t < n]
        assert count == sum(0 <= t < n for t in taps)

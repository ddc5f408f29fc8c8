"""Operators that move, pick and fold, for random networks; each adds itself to a sketch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.engine.random_graphs import Refused, Sketch, Value, axis_of, divisors, operator, window_of

# ---- Re-indexing


def _factored(s: Sketch, size: int, axes: int) -> list[int]:
    shape = []
    for _ in range(axes - 1):
        n = s.one_of(divisors(size))
        shape.append(n)
        size //= n
    return [*shape, size]


@operator
def reshape(s: Sketch) -> None:
    x = s.value()
    s.add("Reshape", [x, s.integers(*_factored(s, x.array.size, s.number(1, 5)))], exact=True)


@operator
def regroup_axes(s: Sketch) -> None:
    """One axis split into two, or two joined: what exporters write."""
    x = s.value(lambda v: len(v.shape) >= 2)
    axis = s.number(0, len(x.shape) - 1)
    if s.flag() and axis + 1 < len(x.shape):
        shape = [*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :]]
    else:
        first = s.one_of(divisors(x.shape[axis]))
        shape = [*x.shape[:axis], first, x.shape[axis] // first, *x.shape[axis + 1 :]]
    s.add("Reshape", [x, s.integers(*shape)], exact=True)


@operator
def to_image(s: Sketch) -> None:
    """Any tensor as a picture again."""
    x = s.value(lambda v: len(v.shape) != 4)
    s.add("Reshape", [x, s.integers(1, *_factored(s, x.array.size, 3))], exact=True)


@operator
def transpose(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) >= 2)
    s.add("Transpose", [x], exact=True, perm=s.draw(st.permutations(range(len(x.shape)))))


@operator
def rows_of_pixels(s: Sketch) -> None:
    """(n, c, h, w) as (n, h w, c), as heads end."""
    x = s.image()
    n, c, h, w = x.shape
    if s.flag():
        y = s.add("Transpose", [x], exact=True, perm=[0, 2, 3, 1])[0]
        s.add("Reshape", [y, s.integers(n, h * w, c)], exact=True)
    else:
        y = s.add("Reshape", [x, s.integers(n, c, h * w)], exact=True)[0]
        s.add("Transpose", [y], exact=True, perm=[0, 2, 1])


@operator
def shuffle(s: Sketch) -> None:
    x = s.image()
    n, c, h, w = x.shape
    groups = s.one_of(divisors(c))
    y = s.add("Reshape", [x, s.integers(n, groups, c // groups, h, w)], exact=True)[0]
    y = s.add("Transpose", [y], exact=True, perm=[0, 2, 1, 3, 4])[0]
    s.add("Reshape", [y, s.integers(n, c, h, w)], exact=True)


@operator
def unsqueeze(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) <= 4)
    s.add("Unsqueeze", [x, s.integers(s.number(0, len(x.shape)))], exact=True)


@operator
def squeeze(s: Sketch) -> None:
    x = s.value(lambda v: 1 in v.shape)
    axis = s.one_of([i for i, n in enumerate(x.shape) if n == 1])
    s.add("Squeeze", [x, s.integers(axis)], exact=True)


@operator
def slice_(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    axis = axis_of(s, x)
    n = x.shape[axis]
    start = s.number(0, n - 1)
    end = s.number(start + 1, n)
    step = s.one_of((1, 1, 1, 2, 3))
    if s.flag() and s.flag():
        start, end, step = end - 1, (start - 1 if start else -n - 1), -step
    bounds = [s.integers(start), s.integers(end), s.integers(axis), s.integers(step)]
    s.add("Slice", [x, *bounds], exact=True)


@operator
def split(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0 and max(v.shape) > 1)
    axis = s.one_of([1, *[i for i, n in enumerate(x.shape) if n > 1]])
    if axis >= len(x.shape) or x.shape[axis] < 2:
        raise Refused
    first = s.number(1, x.shape[axis] - 1)
    s.add("Split", [x, s.integers(first, x.shape[axis] - first)], 2, exact=True, axis=axis)


@operator
def concat(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    axis = axis_of(s, x)

    def fits(v: Value) -> bool:
        return (
            len(v.shape) == len(x.shape)
            and v.shape[:axis] == x.shape[:axis]
            and v.shape[axis + 1 :] == x.shape[axis + 1 :]
        )

    parts = [x, *(s.value(fits) for _ in range(s.number(1, 3)))]
    s.add("Concat", s.draw(st.permutations(parts)), exact=True, axis=axis)


@operator
def gather(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    axis = axis_of(s, x)
    n = x.shape[axis]
    shape = s.one_of(((), (1,), (3,), (5,), (2, 2)))
    count = math.prod(shape)
    indices = [s.number(-n, n - 1) for _ in range(count)]
    if shape == (5,):
        indices = s.draw(st.permutations(range(n)))
        shape = (n,)
    s.add("Gather", [x, s.weight(np.reshape(indices, shape), np.int64)], exact=True, axis=axis)


@operator
def blocks_of_pixels(s: Sketch) -> None:
    x = s.image()
    _, c, h, w = x.shape
    if s.flag():
        sizes = [b for b in (1, 2, 3) if c % (b * b) == 0]
        s.add("DepthToSpace", [x], exact=True, blocksize=s.one_of(sizes), mode=s.one_of(("DCR", "CRD")))
    else:
        sizes = [b for b in (1, 2, 3) if h % b == w % b == 0]
        s.add("SpaceToDepth", [x], exact=True, blocksize=s.one_of(sizes))


@operator
def pad(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    mode = s.one_of(("constant", "edge", "reflect", "wrap"))
    pads: list[int] = [0] * (2 * len(x.shape))
    for _ in range(s.number(1, 3)):
        axis = s.number(0, len(x.shape) - 1)
        n = x.shape[axis]
        most = n - 1 if mode == "reflect" else min(n, 3)
        for place in (axis, axis + len(x.shape)):
            pads[place] = s.number(0, min(most, 3))
    if mode == "constant" and s.flag():
        pads[-1] = -(x.shape[-1] // 3)
    operands: list[Value | str] = [x, s.integers(*pads)]
    if mode == "constant" and s.flag():
        operands.append(s.weight(np.float32(-1.5)))
    s.add("Pad", operands, exact=True, mode=mode)


@operator
def repeat(s: Sketch) -> None:
    x = s.value(lambda v: 0 < len(v.shape) <= 4)
    if s.flag():
        repeats = [s.one_of((1, 1, 2)) for _ in x.shape]
        s.add("Tile", [x, s.integers(*repeats)], exact=True)
    else:
        shape = [s.one_of((1, 3)) if n == 1 else n for n in x.shape]
        s.add("Expand", [x, s.integers(*s.one_of(([], [2])), *shape)], exact=True)


# ---- Windows and axes


@operator
def pool(s: Sketch) -> None:
    x = s.of_rank(4, 4, 3)
    options: dict[str, Any] = {**window_of(s, x.shape[2:])}
    kind = s.one_of(("MaxPool", "AveragePool"))
    # The reference takes no pads that differ, and no window may see nothing but padding.
    options["pads"] = [min(*options["pads"], min(options["kernel_shape"]) - 1)] * len(options["pads"])
    if kind == "AveragePool":
        options["count_include_pad"] = s.number(0, 1)
        options.pop("dilations")
        if any(k > n for k, n in zip(options["kernel_shape"], x.shape[2:], strict=True)):
            raise Refused
    else:
        # Of averages that round up the reference counts too much.
        options["ceil_mode"] = s.number(0, 1)
    s.add(kind, [x], exact=kind == "MaxPool", **options)


@operator
def global_pool(s: Sketch) -> None:
    kind = s.one_of(("GlobalAveragePool", "GlobalMaxPool"))
    # The reference knows the largest of pictures only.
    s.add(kind, [s.image() if kind == "GlobalMaxPool" else s.of_rank(3, 4)])


RESIZES: tuple[dict[str, Any], ...] = (
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
)


@operator
def resize(s: Sketch) -> None:
    x = s.of_rank(4, 4, 3)
    attributes = s.one_of(RESIZES)
    scales = [1.0] * 2 + [s.one_of((2.0, 1.0, 3.0, 0.5)) for _ in x.shape[2:]]
    if any(int(n * f) < 1 for n, f in zip(x.shape, scales, strict=True)):
        raise Refused
    s.add("Resize", [x, "", s.weight(scales)], **attributes)


@operator
def reduce(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    axes = s.draw(st.lists(st.integers(0, len(x.shape) - 1), min_size=1, max_size=3, unique=True))
    if s.flag() and len(x.shape) == 4:
        axes = [2, 3]
    kinds = ("Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp")
    s.add(f"Reduce{s.one_of(kinds)}", [x, s.integers(*axes)], keepdims=s.number(0, 1))


@operator
def softmax(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    s.add(s.one_of(("Softmax", "Softmax", "LogSoftmax")), [x], axis=axis_of(s, x))


@operator
def largest(s: Sketch) -> None:
    """Operators that tell places."""
    x = s.value(lambda v: v.is_exact and len(v.shape) > 0)
    axis = axis_of(s, x)
    if s.flag():
        s.add(s.one_of(("ArgMax", "ArgMin")), [x], exact=True, axis=axis, keepdims=s.number(0, 1))
    else:
        # Equal values have no order of their own.
        noise = s.weight(np.arange(x.array.size, dtype=np.float32).reshape(x.shape) / 1024)
        y = s.add("Add", [x, noise], exact=True)[0]
        s.add("TopK", [y, s.integers(s.number(1, y.shape[axis]))], 2, exact=True, axis=axis)


@operator
def cumulative(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    s.add("CumSum", [x, s.weight(axis_of(s, x), np.int64)], exclusive=s.number(0, 1), reverse=s.number(0, 1))


@operator
def joined_heads(s: Sketch) -> None:
    """Rows of pixels of several maps after one another, as detectors end."""
    x = s.image()
    maps = [x, *(s.value(lambda v: len(v.shape) == 4 and v.shape[:2] == x.shape[:2]) for _ in range(2))]
    each = s.one_of(divisors(x.shape[1]))
    rows = []
    for y in maps:
        n, c, h, w = y.shape
        if s.flag():
            y = s.add("Transpose", [y], exact=True, perm=[0, 2, 3, 1])[0]
            y = s.add("Reshape", [y, s.integers(n, h * w * (c // each), each)], exact=True)[0]
        else:
            y = s.add("Reshape", [y, s.integers(n, c // each, each, h * w)], exact=True)[0]
            y = s.add("Transpose", [y], exact=True, perm=[0, 3, 1, 2])[0]
            y = s.add("Reshape", [y, s.integers(n, h * w * (c // each), each)], exact=True)[0]
        rows.append(s.add(s.one_of(("Sigmoid", "Softmax")), [y])[0] if s.flag() and s.flag() else y)
    y = s.add("Concat", rows, exact=True, axis=1)[0]
    if s.flag():
        s.add(s.one_of(("Softmax", "Sigmoid", "Relu")), [y])


@operator
def decoded(s: Sketch) -> None:
    """Parts of one axis, each with arithmetic of its own, together again."""
    x = s.value(lambda v: len(v.shape) > 0)
    axes = [axis for axis, n in enumerate(x.shape) if n > 1]
    axis = s.one_of(axes)
    first = s.number(1, x.shape[axis] - 1)
    a, b = s.add("Split", [x, s.integers(first, x.shape[axis] - first)], 2, exact=True, axis=axis)
    parts = []
    for part in (a, b):
        kind = s.one_of(("", "Mul", "Sigmoid", "Softmax", "Add"))
        if kind in ("Mul", "Add"):
            part = s.add(kind, [part, s.weight(s.normal(part.shape[-1:]))])[0]
        elif kind:
            part = s.add(kind, [part])[0]
        parts.append(part)
    s.add("Concat", parts[::-1] if s.flag() else parts, exact=True, axis=axis)


@operator
def joined_slices(s: Sketch) -> None:
    """Every other row or column, stacked as channels: what a Focus does."""
    x = s.image()
    h, w = x.shape[2:]
    if h % 2 or w % 2:
        raise Refused
    parts = []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        bounds = [s.integers(row, column), s.integers(h, w), s.integers(2, 3), s.integers(2, 2)]
        parts.append(s.add("Slice", [x, *bounds], exact=True)[0])
    s.add("Concat", parts, exact=True, axis=1)

"""Convolutions with few outputs, on ISAs whose vectors are too wide for them: taps in pairs.

A vector then holds half as many channels, each for two neighboring floats of the input; see `paired` in
`ext/simd/ops.h`. Fewer lanes stay empty, and what is loaded of the input serves more products.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from edgecv.engine.lower.base import Array, Lowering
from edgecv.engine.lower.tiles import Grid, Packed, Tile
from edgecv.engine.refs import Ints, floats_between
from edgecv.engine.views import Planes

# The two taps of a pair, as channels and columns that it spans: of blocks, and of planes.
CHANNELS = (2, 1)
COLUMNS = (1, 2)

# Halves of output blocks: tiles of more load little for each product.
_MAX_HALVES = 3
# With fewer, adding the two sums of each pair at the end costs more than is saved.
_MIN_TAPS = 16
# Of so few outputs a tile is mostly its beginning and its end.
_MIN_PIXELS = 8


def taps_step(
    lowering: Lowering, image: Planes, weights: Array, group: int, grid: Grid
) -> tuple[int, int] | None:
    """CHANNELS or COLUMNS where taps should go in pairs, else None.

    weights: (outputs, inputs of a group, taps y, taps x).
    """
    is_few = -(-weights.shape[0] // (lowering.lanes // 2)) <= _MAX_HALVES
    is_worth = math.prod(weights.shape[1:]) >= _MIN_TAPS and grid.out_h * grid.out_w >= _MIN_PIXELS
    if not lowering.program.facts.pairs or group > 1 or not is_few or not is_worth:
        return None
    if image.lanes:
        return CHANNELS if _order(image) is not None else None
    is_row = image.pixel == 1 and grid.xs == tuple(range(grid.xs[0], grid.xs[0] + len(grid.xs)))
    return COLUMNS if is_row and len(grid.xs) % 2 == 0 else None


def in_order(image: Planes, weights: Array) -> tuple[Planes, Array]:
    """The image and the weights with channels so that those of a pair of taps follow each other."""
    order = _order(image)
    if order is None:
        raise AssertionError("channels that go in pairs")
    return replace(image, refs=image.refs[:, order]), weights[:, order]


def _order(image: Planes) -> Ints | None:
    """The order of channels in memory, if in it each second one lies right behind the one before."""
    order = np.argsort(image.refs[0], kind="stable")
    refs = image.refs[:, order]
    if refs.shape[1] % 2 or not (floats_between(refs[:, ::2], refs[:, 1::2]) == 1).all():
        return None
    return order


def pack_pairs(
    lowering: Lowering, weights: Array, bias: Array | None, step: tuple[int, int], name: str
) -> Packed:
    """Pack weights (outputs, inputs, taps y, taps x) and a bias (outputs,) for taps in pairs of this step."""
    half = lowering.lanes // 2
    outputs, inputs, ny, nx = weights.shape
    channels, columns = step
    # (outputs, channels, those of a pair, rows, columns, those of a pair)
    split = weights.reshape(outputs, inputs // channels, channels, ny, nx // columns, columns)
    vectors = -(-outputs // half)
    lanes = np.zeros((vectors * half, 2, inputs * ny * nx // 2), np.float32)
    lanes[:outputs] = split.transpose(0, 2, 5, 1, 3, 4).reshape(outputs, 2, -1)
    biases = np.zeros((vectors * half, 2), np.float32)
    if bias is not None:
        biases[:outputs, 0] = bias
    packed = np.ascontiguousarray(lanes.transpose(2, 0, 1)).reshape(-1)
    return Packed(
        (Tile(0, vectors, np.arange(0, inputs, channels, dtype=np.int64)),),
        ny * nx // columns,
        lowering.program.packed(packed, f"{name} (packed)"),
        (0,),
        lowering.program.constant(biases.reshape(-1), f"{name} (bias)"),
        np.arange(outputs, dtype=np.int64),
        weights.size,
        is_paired=True,
        columns=columns,
    )

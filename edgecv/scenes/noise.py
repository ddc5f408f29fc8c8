"""Noise that repeats without a seam, for surfaces and finishes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2

Array = NDArray[np.float32]
TILE = 512


def tiled_noise(
    rng: np.random.Generator, size: int, cells: Sequence[int], weights: Sequence[float], stretch: int = 1
) -> Array:
    """Smooth noise, float32 (size, size), mean 0 and standard deviation about 1, that wraps around.

    cells: random values along x in each octave, at most `size`; along y that many times `stretch`, for
    fibers along x.
    """
    total = np.zeros((size, size), np.float32)
    for count, weight in zip(cells, weights, strict=True):
        columns, rows = min(count, size), min(count * stretch, size)
        octave = _octave(size, columns, rows, int(rng.integers(2)))
        dx, dy = (int(n) for n in rng.integers(0, size, 2))
        if rng.random() < 0.5:
            octave = octave[:, ::-1]
        if rng.random() < 0.5:
            octave = octave[::-1]
        _add_rolled(total, octave, np.float32(weight), dy, dx)
    total *= np.float32(1 / np.sqrt(np.square(weights).sum()))
    return total


def _add_rolled(total: Array, octave: Array, weight: np.float32, dy: int, dx: int) -> None:
    size = len(total)
    for rows, from_rows in ((slice(0, dy), slice(size - dy, size)), (slice(dy, size), slice(0, size - dy))):
        for columns, from_columns in (
            (slice(0, dx), slice(size - dx, size)),
            (slice(dx, size), slice(0, size - dx)),
        ):
            total[rows, columns] += weight * octave[from_rows, from_columns]


@lru_cache(maxsize=40)
def _octave(size: int, columns: int, rows: int, variant: int) -> Array:
    """Constant smooth noise of standard deviation 1: scenes differ in how they flip and shift it."""
    cv2 = require_cv2()
    rng = np.random.Generator(np.random.PCG64([size, columns, rows, variant]))
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    # Three more cells on each side make the cubic interpolation see across the seam.
    grid = np.pad(grid, 3, mode="wrap")
    x, y = columns / size, rows / size
    matrix = np.array([[x, 0, 2.5 + 0.5 * x], [0, y, 2.5 + 0.5 * y]])
    grid = cv2.warpAffine(grid, matrix, (size, size), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    grid -= grid.mean()
    return np.asarray(grid / max(float(grid.std()), 1e-6), np.float32)


@lru_cache(maxsize=1)
def finish_noise() -> tuple[Array, Array, Array]:
    """Constant tiles (TILE * TILE,) for metal: fine grain, clouds, and scratches (0 to 1)."""
    cv2 = require_cv2()
    rng = np.random.Generator(np.random.PCG64(20240229))
    grain = tiled_noise(rng, TILE, (512, 256, 128), (0.6, 0.8, 0.6))
    cloud = tiled_noise(rng, TILE, (6, 14, 30, 70, 150), (1.0, 0.8, 0.6, 0.4, 0.3))
    scratches = np.zeros((TILE, TILE), np.float32)
    for _ in range(260):
        start = rng.uniform(0, TILE, 2)
        angle, length = rng.uniform(0, np.pi), rng.exponential(60) + 8
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        for shift in ((0, 0), (TILE, 0), (0, TILE)):
            ends = [tuple(int(v) for v in (point - shift) * 16) for point in (start, end)]
            cv2.line(scratches, ends[0], ends[1], rng.uniform(0.3, 1.0), 1, cv2.LINE_AA, 4)
    return grain.ravel(), cloud.ravel(), scratches.ravel()


def sample(tile: Array, x: Array, y: Array) -> Array:
    """Values of a (TILE * TILE,) tile at texel coordinates, which wrap; (n,)."""
    column = np.floor(x).astype(np.int32) & (TILE - 1)
    row = np.floor(y).astype(np.int32) & (TILE - 1)
    return np.take(tile, row * TILE + column)

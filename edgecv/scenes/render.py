"""From bodies to pixels: coverage and color of each body, and the shadow that it throws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2
from edgecv.scenes.light import Light
from edgecv.scenes.placed import Placed
from edgecv.scenes.shading import Hits, Shading
from edgecv.scenes.solids import FAR, first_hit
from edgecv.scenes.world import Camera, FloatArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Patch:
    """A rectangle of values with its left top pixel at (x, y), which may lie outside the picture."""

    x: int
    y: int
    values: Array

    def crop(self, size_wh: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """(rows, columns) in the picture and in the patch of what they share; None for nothing."""
        height, width = self.values.shape[:2]
        left, top = max(self.x, 0), max(self.y, 0)
        right, bottom = min(self.x + width, size_wh[0]), min(self.y + height, size_wh[1])
        if left >= right or top >= bottom:
            return None
        inner = (slice(top - self.y, bottom - self.y), slice(left - self.x, right - self.x))
        return (slice(top, bottom), slice(left, right)), inner


@dataclass(frozen=True, eq=False)
class Layer:
    """A rendered body: color, premultiplied linear BGR (h, w, 3), and coverage 0 to 1 (h, w)."""

    color: Patch
    coverage: Patch


def pixel_box(points: FloatArray, margin: int = 1) -> tuple[int, int, int, int]:
    """Whole-pixel rectangle (x1, y1, x2, y2) around pixel points (n, 2)."""
    low = np.floor(points.min(axis=0)).astype(int) - margin
    high = np.ceil(points.max(axis=0)).astype(int) + margin
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


class _Rays:
    """Pixel positions to rays in a body's frame, started next to the body to keep float32 exact."""

    def __init__(self, camera: Camera, placed: Placed, corner: tuple[int, int]) -> None:
        to_body = placed.to_body
        pixel_to_body = to_body @ camera.rotation.T @ camera.rays
        offset = np.array([[1, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1.0]])
        self.direction = pixel_to_body @ offset
        center = camera.rotation @ placed.pose.translation_mm + camera.translation_mm
        eye = to_body @ (camera.position_mm - placed.pose.translation_mm)
        self.start = self.direction * center[2]
        self.start[:, 2] += eye

    def at(self, x: Array, y: Array) -> tuple[Array, Array]:
        """x, y: (n,) pixels from the rectangle's corner. Returns origins and directions (3, n)."""
        pixels = np.stack([x, y, np.ones_like(x)])
        return self.start.astype(np.float32) @ pixels, self.direction.astype(np.float32) @ pixels


def render(placed: Placed, camera: Camera, light: Light) -> Layer:
    """The body's picture: one ray a pixel inside, four at edges."""
    x1, y1, x2, y2 = pixel_box(camera.project(placed.outline()))
    width, height = x2 - x1, y2 - y1
    rays = _Rays(camera, placed, (x1, y1))
    shading = Shading(placed, light)
    columns = np.tile(np.arange(width, dtype=np.float32), height)
    rows = np.repeat(np.arange(height, dtype=np.float32), width)
    color = np.zeros((height * width, 3), np.float32)
    coverage = np.zeros(height * width, np.float32)
    if max(width, height) < 36:
        fine = np.ones(height * width, bool)
    else:
        origin, direction = rays.at(columns + 0.5, rows + 0.5)
        index, hits = _hits(placed, origin, direction)
        fine = _edges(index, hits.normals, (height, width))
        plain = ~fine[index]
        inner = index[plain]
        coverage[inner] = 1
        color[inner] = shading.radiance(hits.select(plain))
    pixels = np.flatnonzero(fine)
    grid = (-0.25, 0.25)
    if len(pixels):
        xs = np.concatenate([columns[pixels] + np.float32(0.5 + dx) for dx in grid for _ in grid])
        ys = np.concatenate([rows[pixels] + np.float32(0.5 + dy) for _ in grid for dy in grid])
        origin, direction = rays.at(xs, ys)
        index, hits = _hits(placed, origin, direction)
        samples = np.zeros((4 * len(pixels), 3), np.float32)
        samples[index] = shading.radiance(hits)
        color[pixels] = samples.reshape(4, -1, 3).mean(axis=0)
        quarters = np.zeros(4 * len(pixels), np.float32)
        quarters[index] = 0.25
        coverage[pixels] = quarters.reshape(4, -1).sum(axis=0)
    return Layer(
        Patch(x1, y1, color.reshape(height, width, 3)), Patch(x1, y1, coverage.reshape(height, width))
    )


def _hits(placed: Placed, origin: Array, direction: Array) -> tuple[NDArray[np.intp], Hits]:
    """Indices (k,) of the rays that hit, and what they hit."""
    solids = placed.body.solids
    t, which = first_hit(solids, origin, direction)
    index = np.flatnonzero(t < FAR / 2)
    points = origin[:, index] + direction[:, index] * t[index]
    which = which[index]
    normals = np.empty_like(points)
    for number, solid in enumerate(solids):
        own = which == number
        if own.any():
            normals[:, own] = solid.normals(points[:, own], placed.body.bevel)
    return index, Hits(points, normals, direction[:, index], which)


def _edges(index: NDArray[np.intp], normals: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (h * w,) at silhouettes and where the surface turns quickly."""
    flat = np.zeros((3, shape[0] * shape[1]), np.float32)
    flat[:, index] = normals
    field = flat.reshape(3, *shape)
    edge = np.zeros(shape, bool)
    sideways, downwards = np.abs(field[:, :, 1:] - field[:, :, :-1]), np.abs(field[:, 1:] - field[:, :-1])
    across = sideways[0] + sideways[1] + sideways[2] > 0.45
    down = downwards[0] + downwards[1] + downwards[2] > 0.45
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge.ravel()


def shadows(
    placed: Placed, camera: Camera, light: Light, size_wh: tuple[int, int], plane_mm: float = 0.0
) -> tuple[Patch, Patch] | None:
    """Shares of the key and of the fill light that reach the plane z = plane_mm around the body, 0 to 1.

    None where the picture has nothing of it. Rays are cast on a coarse grid and interpolated.
    """
    lamps = np.concatenate([light.key, light.fill])
    cv2 = require_cv2()
    outline = placed.outline()
    high = np.maximum(outline[:, 2:] - plane_mm, 0)
    thrown = np.concatenate([outline - high / lamp[2] * lamp for lamp in lamps])
    thrown[:, 2] = plane_mm
    x1, y1, x2, y2 = pixel_box(np.nan_to_num(camera.project(thrown), nan=-1e4), 3)
    x1, y1, x2, y2 = max(x1, -4), max(y1, -4), min(x2, size_wh[0] + 4), min(y2, size_wh[1] + 4)
    if x1 >= x2 or y1 >= y2:
        return None
    step = float(np.clip(max(x2 - x1, y2 - y1) / 40, 1, 8))
    columns, rows = int(np.ceil((x2 - x1) / step)) + 1, int(np.ceil((y2 - y1) / step)) + 1
    xs, ys = np.meshgrid(x1 + np.arange(columns) * step, y1 + np.arange(rows) * step)
    back = camera.pixels_to_plane(plane_mm)
    ground = back @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
    world = np.stack([ground[0] / ground[2], ground[1] / ground[2], np.full(xs.size, plane_mm)])
    to_body = placed.to_body
    origin = (to_body @ (world - placed.pose.translation_mm[:, None])).astype(np.float32)
    towards = np.repeat((to_body @ lamps.T).astype(np.float32), xs.size, axis=1)
    blocked = first_hit(placed.body.solids, np.tile(origin, len(lamps)), towards, 0.0)[0] < FAR / 2
    passed = 1 - blocked.reshape(len(lamps), rows, columns).astype(np.float32)
    split = len(light.key)
    groups = cv2.merge([passed[:split].mean(axis=0), passed[split:].mean(axis=0)])
    open_share = cv2.GaussianBlur(groups, (3, 3), 0.7)
    matrix = np.array([[1 / step, 0, 0.5 / step], [0, 1 / step, 0.5 / step]])
    smooth = cv2.warpAffine(
        open_share, matrix, (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    key, fill = cv2.split(smooth)
    return Patch(x1, y1, key), Patch(x1, y1, fill)

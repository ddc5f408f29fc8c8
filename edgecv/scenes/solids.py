"""Solids given by inequalities, and where rays enter them: no meshes, every answer is exact.

A `Solid` is a convex intersection of simple regions minus convex cuts. Points and directions are float32
(3, n), millimeters, in the solid's own frame, whose z axis is the axis of everything round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
FAR = np.float32(1e9)


class Region(Protocol):
    """A convex set. Its boundary is where `distance` is 0."""

    def crossing(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Ray parameters (n,) between which rays are inside; first > second for a ray that misses."""
        ...

    def distance(self, points: Array) -> Array:
        """Signed (n,), mm, negative inside; the true distance close to the boundary."""
        ...

    def gradient(self, points: Array) -> Array:
        """Outward unit normals (3, n) of the nearest boundary."""
        ...


def _reciprocal(values: Array) -> Array:
    return np.asarray(1 / np.where(np.abs(values) < 1e-9, np.float32(1e-9), values), np.float32)


def _length(vectors: Array) -> Array:
    """Of each of (3, n)."""
    result: Array = np.sqrt(np.einsum("in,in->n", vectors, vectors))
    return result


def _unit(vectors: Array) -> Array:
    """(3, n) scaled to length 1, in place."""
    vectors /= np.maximum(_length(vectors), np.float32(1e-6))
    return vectors


def _along(normal: Sequence[float], vectors: Array) -> Array:
    """Scalar product; a zero component costs nothing."""
    total = np.zeros(vectors.shape[1], np.float32)
    for weight, row in zip(normal, vectors, strict=True):
        if weight:
            total += np.float32(weight) * row
    return total


@dataclass(frozen=True)
class Slab:
    """-half <= normal . p - center <= half; normal: unit vector."""

    normal: tuple[float, float, float]
    half: float
    center: float = 0.0

    def crossing(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        rate = _reciprocal(_along(self.normal, direction))
        middle = (np.float32(self.center) - _along(self.normal, origin)) * rate
        reach = np.float32(self.half) * np.abs(rate)
        return middle - reach, middle + reach

    def distance(self, points: Array) -> Array:
        result: Array = np.abs(_along(self.normal, points) - np.float32(self.center)) - np.float32(self.half)
        return result

    def gradient(self, points: Array) -> Array:
        side = np.sign(_along(self.normal, points) - np.float32(self.center))
        return np.outer(np.array(self.normal, np.float32), side)


@dataclass(frozen=True)
class Round:
    """sqrt((x / stretch)^2 + (y stretch)^2) <= radius + slope z: a cylinder, or one half of a cone.

    The distance is exact for stretch 1, and first-order otherwise.
    """

    radius: float
    slope: float = 0.0
    stretch: float = 1.0

    def _radial(self, vectors: Array) -> tuple[Array, Array]:
        if self.stretch == 1:
            return vectors[0], vectors[1]
        return vectors[0] * np.float32(1 / self.stretch), vectors[1] * np.float32(self.stretch)

    def crossing(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        ox, oy = self._radial(origin)
        dx, dy = self._radial(direction)
        slope = np.float32(self.slope)
        width = np.float32(self.radius) + slope * origin[2]
        growth = slope * direction[2]
        a = dx * dx + dy * dy - growth * growth
        b = ox * dx + oy * dy - width * growth
        c = ox * ox + oy * oy - width * width
        root = b * b - a * c
        crosses = root > 0
        np.sqrt(np.maximum(root, 0, out=root), out=root)
        rate = _reciprocal(a)
        middle = -b * rate
        # A ray that misses gets an interval of negative length; one inside that never crosses has no end.
        never = np.where(c < 0, FAR, -FAR)
        reach = np.where(crosses | (a < 0), root * np.abs(rate), never)
        first, last = middle - reach, middle + reach
        if self.slope == 0:
            return first, last
        # A line that crosses both halves of the double cone is inside ours towards one end only.
        both = a < 0
        opens = growth > 0
        enter = np.where(both, np.where(opens, last, -FAR), first)
        leave = np.where(both, np.where(opens, FAR, first), last)
        misses = ~both & (~crosses | (width + growth * middle < 0))
        return np.where(misses, FAR, enter), np.where(misses, -FAR, leave)

    def distance(self, points: Array) -> Array:
        x, y = self._radial(points)
        width = np.float32(self.radius) + np.float32(self.slope) * points[2]
        result: Array = (np.sqrt(x * x + y * y) - width) * np.float32(1 / np.hypot(1, self.slope))
        return result

    def gradient(self, points: Array) -> Array:
        x, y = self._radial(points)
        scale = np.float32(1 / np.hypot(1, self.slope)) / np.maximum(np.sqrt(x * x + y * y), 1e-6)
        tilt = np.full_like(x, -self.slope / np.hypot(1, self.slope))
        return np.stack([x * scale, y * scale, tilt])


@dataclass(frozen=True)
class Ball:
    """|p - center| <= radius."""

    center: tuple[float, float, float]
    radius: float

    def crossing(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        start = origin - np.array(self.center, np.float32)[:, None]
        a = np.einsum("in,in->n", direction, direction)
        b = np.einsum("in,in->n", start, direction)
        c = np.einsum("in,in->n", start, start) - np.float32(self.radius**2)
        root = b * b - a * c
        reach = np.sqrt(np.maximum(root, 0))
        hits = root > 0
        return np.where(hits, (-b - reach) / a, FAR), np.where(hits, (-b + reach) / a, -FAR)

    def distance(self, points: Array) -> Array:
        return _length(points - np.array(self.center, np.float32)[:, None]) - np.float32(self.radius)

    def gradient(self, points: Array) -> Array:
        return _unit(points - np.array(self.center, np.float32)[:, None])


@dataclass(frozen=True)
class Solid:
    """The intersection of `regions`, minus each of the `cuts` (an intersection of regions itself)."""

    regions: tuple[Region, ...]
    cuts: tuple[tuple[Region, ...], ...] = ()

    def hit(self, origin: Array, direction: Array, near: float = -1e9) -> Array:
        """The smallest ray parameter above `near` at which each ray is inside, (n,); FAR for none."""
        first, last = _crossing(self.regions, origin, direction)
        np.maximum(first, np.float32(near), out=first)
        result = np.full_like(first, FAR)
        alive = np.flatnonzero(first < last)
        if not len(alive):
            return result
        t, last = first[alive], last[alive]
        if self.cuts:
            origin, direction = origin[:, alive], direction[:, alive]
            gaps = [_crossing(cut, origin, direction) for cut in self.cuts]
            # Leaving one cut may end inside another, each of which a ray leaves once.
            for _ in range(len(gaps)):
                before = t
                for enter, leave in gaps:
                    t = np.where((enter <= t) & (t < leave), leave, t)
                if np.array_equal(before, t):
                    break
        result[alive] = np.where(t < last, t, FAR)
        return result

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """Which points (n,) are inside: the definition that `hit` has to agree with."""
        inside = np.ones(points.shape[1], bool)
        for region in self.regions:
            inside &= region.distance(points) <= 0
        for cut in self.cuts:
            inside &= np.max([region.distance(points) for region in cut], axis=0) >= 0
        return inside

    def normals(self, points: Array, bevel: float) -> Array:
        """Outward unit normals (3, n) of surface points, turning smoothly over edges of width `bevel`, mm."""
        total = np.zeros_like(points)
        scale = np.float32(1 / bevel)
        for region in self.regions:
            _lean(total, region.distance(points) * scale, region, points, 1.0)
        for cut in self.cuts:
            distances = [region.distance(points) for region in cut]
            deepest = np.max(distances, axis=0)
            for region, distance in zip(cut, distances, strict=True):
                level = np.where(distance >= deepest, -distance * scale, np.float32(-2))
                _lean(total, level, region, points, -1.0)
        return _unit(total)


def _crossing(regions: Sequence[Region], origin: Array, direction: Array) -> tuple[Array, Array]:
    first, last = regions[0].crossing(origin, direction)
    for region in regions[1:]:
        enter, leave = region.crossing(origin, direction)
        first, last = np.maximum(first, enter), np.minimum(last, leave)
    return first, last


def _lean(total: Array, level: Array, region: Region, points: Array, sign: float) -> None:
    """Adds a region's normals, weighted by how close they are: level is -1 one bevel inside."""
    near = np.flatnonzero(level > -1)
    if len(near):
        weight = np.minimum(1 + level[near], 1) ** 2 * np.float32(sign)
        total[:, near] += weight * region.gradient(points[:, near])


def first_hit(
    solids: Sequence[Solid], origin: Array, direction: Array, near: float = -1e9
) -> tuple[Array, NDArray[np.int8]]:
    """The nearest hit on a union: ray parameter (n,), FAR for none, and which solid it is on, int8 (n,)."""
    best = solids[0].hit(origin, direction, near)
    which = np.zeros(len(best), np.int8)
    for index, solid in enumerate(solids[1:], 1):
        t = solid.hit(origin, direction, near)
        closer = t < best
        best = np.where(closer, t, best)
        which[closer] = index
    return best, which

"""The light of a scene: what a mirror would see in every direction, and the lamp that casts shadows.

Directions are mapped to a square by Lambert's equal-area projection around straight up, so that means over
the picture are means over solid angle. Radiance is scaled so that open, level ground receives 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2
from edgecv.scenes.world import FloatArray

Array = NDArray[np.float32]
SIDE = 96
_LEVELS = 12


@dataclass(frozen=True, eq=False)
class Light:
    """environment: float32 (SIDE, SIDE, 3), BGR radiance. key: unit vectors (k, 3) towards points of the
    main lamp. fill: unit vectors (m, 3) spread over the sky. key_share: how much of the level ground's
    light is the main lamp's."""

    environment: Array
    key: FloatArray
    fill: FloatArray
    key_share: float
    _blurred: dict[int, Array] = field(default_factory=dict, init=False, repr=False)

    def blurred(self, roughness: float) -> Array:
        """The environment as a surface of that roughness (0 to 1) reflects it, (SIDE * SIDE, 3).

        Roughness comes in steps, each of which is computed once.
        """
        step = round(_LEVELS * roughness**0.5)
        if step not in self._blurred:
            cv2 = require_cv2()
            sigma = max(SIDE * 0.24 * (step / _LEVELS) ** 2, 0.6)
            image, small = self.environment, int(np.clip(sigma / 3, 1, 8))
            if small > 1:
                image = cv2.resize(image, (SIDE // small, SIDE // small), interpolation=cv2.INTER_AREA)
            image = cv2.GaussianBlur(image, (0, 0), sigma / small, borderType=cv2.BORDER_REPLICATE)
            if small > 1:
                image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            self._blurred[step] = np.asarray(image, np.float32).reshape(-1, 3)
        return self._blurred[step]


@lru_cache(maxsize=1)
def _directions() -> tuple[Array, NDArray[np.bool_]]:
    """Unit vectors (3, SIDE, SIDE) of the map's texels, and which lie on the sphere."""
    axis = ((np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1).astype(np.float32)
    u, v = np.meshgrid(axis, axis)
    square = u * u + v * v
    inside = square < 1
    square = np.minimum(square, 1)
    spread = 2 * np.sqrt(1 - square)
    return np.stack([u * spread, v * spread, 1 - 2 * square]).astype(np.float32), inside


def lookup(environment: Array, directions: Array) -> Array:
    """environment: (SIDE * SIDE, 3). directions: unit, float32 (3, n). Returns BGR radiance (n, 3)."""
    x, y, z = directions
    scale = np.float32(SIDE / 2) / np.sqrt(np.maximum(2 * (1 + z), 1e-5))
    column = np.clip(x * scale + np.float32(SIDE / 2), 0, SIDE - 1).astype(np.int32)
    row = np.clip(y * scale + np.float32(SIDE / 2), 0, SIDE - 1).astype(np.int32)
    seen: Array = np.take(environment, row * SIDE + column, axis=0)
    return seen


def make_lamp(rng: np.random.Generator) -> FloatArray:
    """A unit vector (3,) towards the main lamp."""
    elevation, heading = np.deg2rad(rng.uniform(35, 80)), rng.uniform(0, 2 * np.pi)
    level = np.cos(elevation)
    return np.array([np.cos(heading) * level, np.sin(heading) * level, np.sin(elevation)])


def make_light(rng: np.random.Generator, key_at: FloatArray, ground: Array) -> Light:
    """A room with a main lamp at `key_at`, up to two other soft boxes, a ceiling and walls.

    ground: mean BGR albedo (3,) of what lies below.
    """
    directions, inside = _directions()
    z = directions[2]
    ceiling = rng.uniform(0.35, 1.0) * _tint(rng, 0.06)
    wall = rng.uniform(0.1, 0.6) * _tint(rng, 0.1)
    rise = np.clip(z * rng.uniform(1.2, 2.5), 0, 1)[..., None]
    sky = wall + (ceiling - wall) * rise
    for _ in range(3):
        lean = _unit(rng.normal(size=3))
        wave = np.sin(_dot(lean * rng.uniform(1.5, 5), directions) + np.float32(rng.uniform(0, 6)))
        sky = sky * (1 + np.float32(rng.uniform(0.1, 0.45)) * wave)[..., None]
    wide, high = np.deg2rad(rng.uniform(6, 20)), np.deg2rad(rng.uniform(6, 20))
    roll = rng.uniform(0, np.pi)
    key = _box(directions, key_at, wide, high, roll)[..., None] * _tint(rng, 0.08)
    for _ in range(rng.integers(0, 3)):
        at = _unit(np.array([*rng.normal(size=2), rng.uniform(0.3, 2.0)]))
        size = np.deg2rad(rng.uniform(4, 22, 2))
        sky = sky + _box(directions, at, size[0], size[1], rng.uniform(0, np.pi))[..., None] * (
            rng.uniform(1, 5) * _tint(rng, 0.08)
        )
    above = (inside & (z > 0))[..., None]
    weight = np.maximum(z, 0)[..., None] * inside[..., None]
    share = float(rng.uniform(0.3, 0.75))
    full = 1 / weight.sum()
    sky = sky * above
    sky_level = float((sky * weight).sum(axis=(0, 1)).mean() * full)
    key_level = float((key * above * weight).sum(axis=(0, 1)).mean() * full)
    radiance = sky * ((1 - share) / sky_level) + key * above * (share / max(key_level, 1e-4))
    floor = np.asarray(ground, np.float32) * np.float32(rng.uniform(0.5, 0.9))
    fade = np.clip(1 + z * 0.5, 0.5, 1)[..., None]
    radiance = np.where(z[..., None] < 0, floor * fade, radiance).astype(np.float32)
    spread = rng.uniform(-0.8, 0.8, (4, 2)) * (wide, high)
    spread[0] = 0
    side, up = _frame(key_at, roll)
    lamps = np.array([_unit(key_at + side * a + up * b) for a, b in spread])
    turn = rng.uniform(0, 2 * np.pi)
    fill = np.array([
        (np.cos(turn + a) * np.cos(e), np.sin(turn + a) * np.cos(e), np.sin(e))
        for a, e in zip(np.arange(5) * 0.4 * np.pi, np.deg2rad([28, 52, 35, 60, 40]), strict=True)
    ])  # fmt: skip
    return Light(radiance, lamps, fill, share)


def _box(directions: Array, at: FloatArray, wide: float, high: float, roll: float) -> Array:
    """A soft-edged rectangular lamp of half-angles `wide` and `high`, peak 1."""
    side, up = _frame(at, roll)
    ahead = _dot(at, directions)
    safe = np.maximum(ahead, np.float32(0.05))
    across, along = np.abs(_dot(side, directions)) / safe, np.abs(_dot(up, directions)) / safe
    sharp = 28
    glow = np.clip((float(np.tan(wide)) - across) * sharp + 0.5, 0, 1)
    glow *= np.clip((float(np.tan(high)) - along) * sharp + 0.5, 0, 1)
    glow *= ahead > 0.05
    return np.asarray(glow, np.float32)


def _dot(vector: FloatArray, directions: Array) -> Array:
    result: Array = np.tensordot(vector.astype(np.float32), directions, 1)
    return result


def _frame(at: FloatArray, roll: float) -> tuple[FloatArray, FloatArray]:
    helper = np.array([0.0, 0, 1]) if abs(at[2]) < 0.95 else np.array([1.0, 0, 0])
    side = _unit(np.cross(helper, at))
    up = np.cross(at, side)
    return side * np.cos(roll) + up * np.sin(roll), up * np.cos(roll) - side * np.sin(roll)


def _unit(vector: FloatArray) -> FloatArray:
    result: FloatArray = vector / np.linalg.norm(vector)
    return result


def _tint(rng: np.random.Generator, amount: float) -> Array:
    warm = rng.uniform(-amount, amount)
    return np.array([1 - warm, 1 + rng.uniform(-0.2, 0.2) * amount, 1 + warm], np.float32)

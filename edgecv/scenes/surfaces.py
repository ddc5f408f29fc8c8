"""What parts lie on: trays, benches and belts, as seamless tiles of albedo anchored in the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2
from edgecv.scenes.noise import tiled_noise
from edgecv.scenes.world import FloatArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Surface:
    """tile: albedo, float32 (S, S, 3) BGR, repeating. texels_per_mm: its scale. angle: of the tile's x
    axis in the world, radians. gloss: share of the environment that it mirrors, 0 to 1. roughness: of
    that mirror."""

    name: str
    tile: Array
    texels_per_mm: float
    angle: float
    gloss: float
    roughness: float

    def warp(self, plane_to_pixels: FloatArray, size_wh: tuple[int, int], travel_mm: float = 0.0) -> Array:
        """The albedo of every pixel, float32 (H, W, 3); the tile is moved by travel_mm along world x."""
        cv2 = require_cv2()
        c, s = np.cos(self.angle) * self.texels_per_mm, np.sin(self.angle) * self.texels_per_mm
        middle = self.tile.shape[0] / 2
        world_to_tile = np.array([[c, s, middle], [-s, c, middle], [0, 0, 1.0]])
        moved = np.array([[1, 0, -travel_mm], [0, 1, 0], [0, 0, 1.0]])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        matrix = world_to_tile @ moved @ np.linalg.inv(plane_to_pixels) @ half
        return np.asarray(
            cv2.warpPerspective(
                self.tile, matrix, size_wh, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_WRAP,
            ),
            np.float32,
        )  # fmt: skip


def tile_side(size_wh: tuple[int, int]) -> int:
    """Texels on a side of the tile that shows a picture of that size without loss."""
    return int(np.clip(round(max(size_wh) * 1.2 / 128), 2, 8)) * 128


def make_surface(
    rng: np.random.Generator, size: int, texels_per_mm: float, lamp: FloatArray, *, belt: bool = False
) -> Surface:
    """A random surface. size: side of the tile, texels, a multiple of 128. lamp: towards the main lamp.

    belt: only what belts are made of, aligned with their travel along x.
    """
    names = BELTS if belt else tuple(KINDS)
    name = names[int(rng.integers(len(names)))]
    draft, gloss, roughness = KINDS[name](rng, size, _relief(lamp))
    angle = 0.0 if belt else float(rng.uniform(0, 2 * np.pi))
    tile = np.clip(draft, np.float32(0.004), np.float32(0.9)).astype(np.float32, copy=False)
    return Surface(name, tile, texels_per_mm, angle, gloss, roughness)


Relief = Callable[[Array, float], Array]
Draft = tuple[Array, float, float]


def _relief(lamp: FloatArray) -> Relief:
    """Shading of a height map of a given strength by the main lamp: factors around 1."""
    x, y = float(lamp[0] / lamp[2]), float(lamp[1] / lamp[2])

    def relief(height: Array, strength: float) -> Array:
        slope = x * (np.roll(height, -1, 1) - height) + y * (np.roll(height, -1, 0) - height)
        return np.clip(1 - np.float32(strength) * slope, 0.3, 2.0)

    return relief


def _colored(value: Array, bgr: tuple[float, float, float]) -> Array:
    return np.asarray(require_cv2().merge([value * np.float32(share) for share in bgr]), np.float32)


def _pick(rng: np.random.Generator, options: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    chosen = np.array(options[int(rng.integers(len(options)))]) * rng.uniform(0.75, 1.3)
    b, g, r = chosen * (1 + rng.uniform(-0.06, 0.06, 3))
    return float(b), float(g), float(r)


def _axes(size: int) -> tuple[Array, Array]:
    line = np.arange(size, dtype=np.float32)
    return line[None, :], line[:, None]


def _wear(rng: np.random.Generator, size: int, amount: float, stretch: int = 1) -> Array:
    """Blotches: factors around 1."""
    return 1 + np.float32(amount) * tiled_noise(rng, size, (3, 7, 16, 40), (1, 0.7, 0.5, 0.35), stretch)


def _scratched(
    rng: np.random.Generator, size: int, count: int, length: float, lean: float | None = None
) -> Array:
    """Thin lines, 0 to 1, some along a direction."""
    cv2 = require_cv2()
    lines = np.zeros((size, size), np.float32)
    for _ in range(count):
        start = rng.uniform(0, size, 2)
        angle = rng.uniform(0, np.pi) if lean is None else lean + rng.normal(0, 0.06)
        end = start + rng.exponential(length) * np.array([np.cos(angle), np.sin(angle)])
        a, b = (tuple(int(v) for v in point * 16) for point in (start, end))
        cv2.line(lines, a, b, float(rng.uniform(0.15, 0.9)), 1, cv2.LINE_AA, 4)
    return lines


def _spots(rng: np.random.Generator, size: int) -> Array:
    """Stains and specks: factors up to 1."""
    cv2 = require_cv2()
    small = size // 4
    dark = np.zeros((small, small), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        at, radius = rng.uniform(0, small, 2), rng.uniform(0.02, 0.09) * small
        axes = tuple(int(v) for v in radius * rng.uniform(0.5, 1.3, 2))
        cv2.ellipse(
            dark, tuple(int(v) for v in at), axes, rng.uniform(0, 180), 0, 360, rng.uniform(0.1, 0.45), -1
        )
    if not dark.any():
        return np.ones((size, size), np.float32)
    dark = cv2.GaussianBlur(dark, (0, 0), small * 0.012)
    dark *= 1.2 + 0.5 * tiled_noise(rng, small, (24, 60), (1, 0.6))
    kept: Array = 1 - cv2.resize(np.clip(dark, 0, 0.6), (size, size), interpolation=cv2.INTER_LINEAR)
    return kept


def _fabric(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    x, y = _axes(size)
    period = size / int(size / rng.uniform(4.0, 9.0))
    warp, weft = np.sin(x * np.float32(2 * np.pi / period)), np.sin(y * np.float32(2 * np.pi / period))
    height = np.where(
        np.sin(x * np.float32(np.pi / period)) * np.sin(y * np.float32(np.pi / period)) > 0, warp, weft
    )
    height = height + 0.35 * tiled_noise(rng, size, (size // 2, size // 4), (1, 1))
    color = _pick(
        rng,
        [(0.05, 0.05, 0.05), (0.09, 0.22, 0.08), (0.28, 0.16, 0.06), (0.5, 0.52, 0.52), (0.25, 0.3, 0.34)],
    )
    value = relief(height, 0.14) * _wear(rng, size, 0.08)
    value *= 1 + 0.12 * height
    return _colored(value * _spots(rng, size), color), 0.01, 0.4


def _pvc(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    color = _pick(
        rng,
        [(0.05, 0.16, 0.03), (0.35, 0.13, 0.03), (0.6, 0.62, 0.62), (0.02, 0.02, 0.02), (0.25, 0.26, 0.26)],
    )
    value = _wear(rng, size, 0.06) * (1 + 0.03 * tiled_noise(rng, size, (4, 9), (1, 1), 16))
    value *= relief(tiled_noise(rng, size, (size // 3,), (1,)), 0.05)
    tile = _colored(value * _spots(rng, size), color)
    marks = _scratched(rng, size, int(rng.integers(0, 60)), size / 4, 0.0)
    tile += _colored(marks, (0.15, 0.15, 0.15)) * tile.mean()
    if rng.random() < 0.4:
        row, width = int(rng.integers(size)), int(rng.integers(size // 80 + 2, size // 20))
        stripe = np.roll(np.arange(size) < width, row)
        paint = np.array(_pick(rng, [(0.6, 0.62, 0.62), (0.05, 0.5, 0.65), (0.03, 0.03, 0.03)]), np.float32)
        cover = (
            np.clip(0.9 - 0.3 * tiled_noise(rng, size, (30, 80), (1, 1)), 0, 1)[..., None]
            * stripe[:, None, None]
        )
        tile = tile * (1 - cover) + paint * cover
    return tile, float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.15, 0.4))


def _ribbed(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    x, y = _axes(size)
    count = int(size / rng.uniform(7, 26))
    wave = np.sin(x * np.float32(2 * np.pi * count / size)) + 0 * y
    height = np.clip(wave * rng.uniform(1.5, 4), -1, 1) * rng.uniform(0.8, 2.0)
    if rng.random() < 0.4:
        height = np.minimum(height, np.roll(height.T, size // 7, 0))
    color = _pick(rng, [(0.025, 0.025, 0.025), (0.05, 0.05, 0.05), (0.05, 0.12, 0.04), (0.12, 0.1, 0.09)])
    value = relief(height + 0.12 * tiled_noise(rng, size, (size // 3,), (1,)), 0.5)
    value *= (1 + 0.2 * height) * _wear(rng, size, 0.14) * _spots(rng, size)
    return _colored(value, color), 0.02, 0.35


def _powder(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    color = _pick(
        rng,
        [
            (0.42, 0.14, 0.04),
            (0.4, 0.41, 0.41),
            (0.62, 0.63, 0.62),
            (0.03, 0.03, 0.03),
            (0.2, 0.34, 0.1),
            (0.04, 0.25, 0.6),
            (0.06, 0.06, 0.4),
        ],
    )
    peel = tiled_noise(rng, size, (size // 2, size // 4), (0.6, 1))
    value = relief(peel, rng.uniform(0.03, 0.1)) * _wear(rng, size, 0.03) * _spots(rng, size)
    tile = _colored(value, color)
    tile += _colored(_scratched(rng, size, int(rng.integers(0, 30)), size / 12), (0.12, 0.12, 0.12))
    return tile, float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.1, 0.35))


def _galvanized(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    cv2 = require_cv2()
    count = int(rng.integers(150, 700))
    seeds = np.ones((size, size), np.uint8)
    seeds[rng.integers(0, size, count), rng.integers(0, size, count)] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    levels = rng.uniform(0.75, 1.2, int(labels.max()) + 1).astype(np.float32)
    value = cv2.GaussianBlur(levels[labels], (0, 0), 0.8) * (
        1 + 0.05 * tiled_noise(rng, size, (size // 3, 40), (1, 1))
    )
    value = value * _wear(rng, size, 0.05) * _spots(rng, size)
    return _colored(value * np.float32(rng.uniform(0.22, 0.38)), (1.0, 0.99, 0.96)), 0.12, 0.35


def _sheet(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    brush = tiled_noise(rng, size, (3, 8), (1, 1), 128 if size >= 512 else 40)
    value = (
        np.float32(rng.uniform(0.18, 0.36)) * (1 + 0.1 * brush) * _wear(rng, size, 0.06) * _spots(rng, size)
    )
    tile = _colored(value, (1.0, 0.995, 0.98))
    marks = _scratched(rng, size, int(rng.integers(30, 140)), size / 9) - np.float32(0.1)
    tile += _colored(marks, (0.12, 0.12, 0.12))
    return tile, float(rng.uniform(0.12, 0.28)), float(rng.uniform(0.2, 0.35))


def _plastic(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    color = _pick(
        rng,
        [
            (0.5, 0.2, 0.03),
            (0.05, 0.05, 0.5),
            (0.05, 0.45, 0.55),
            (0.6, 0.6, 0.6),
            (0.04, 0.04, 0.04),
            (0.12, 0.35, 0.08),
            (0.33, 0.34, 0.34),
        ],
    )
    tile = _colored(_wear(rng, size, 0.025) * _spots(rng, size), color)
    tile += _colored(_scratched(rng, size, int(rng.integers(0, 60)), size / 14), (0.07, 0.07, 0.07))
    return tile, float(rng.uniform(0.03, 0.07)), float(rng.uniform(0.04, 0.25))


def _wood(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    fiber = tiled_noise(rng, size, (4, 10, 30), (1, 0.8, 0.5), 14)
    broad = tiled_noise(rng, size, (2, 3), (1, 0.6), 5)
    _, y = _axes(size)
    rings = np.sin(y * np.float32(2 * np.pi * rng.integers(5, 14) / size) + 2.2 * broad)
    value = 1 + 0.1 * fiber + 0.13 * rings + 0.07 * broad
    color = _pick(rng, [(0.16, 0.32, 0.5), (0.09, 0.2, 0.36), (0.3, 0.45, 0.58), (0.05, 0.1, 0.18)])
    tone = np.clip(value * _spots(rng, size), 0.2, 2)[..., None] ** np.array([1.4, 1.15, 1.0], np.float32)
    return tone * np.array(color, np.float32), 0.015, 0.35


def _cardboard(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    fiber = tiled_noise(rng, size, (40, 100, size // 2), (1, 1, 0.8), 2)
    x, _ = _axes(size)
    flutes = np.sin(x * np.float32(2 * np.pi * int(size / rng.uniform(12, 24)) / size))
    value = (1 + 0.05 * fiber + 0.018 * flutes) * _wear(rng, size, 0.04) * _spots(rng, size)
    return _colored(value, _pick(rng, [(0.16, 0.3, 0.43), (0.22, 0.36, 0.5), (0.5, 0.56, 0.6)])), 0.0, 0.4


def _studs(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    x, y = _axes(size)
    count = int(size / rng.uniform(11, 26))
    step = np.float32(2 * np.pi * count / size)
    bumps = (
        np.cos(x * step) * np.cos(y * step)
        if rng.random() < 0.5
        else np.cos((x + y) * step) + np.cos((x - y) * step)
    )
    height = np.clip(2.5 * bumps, -0.2, 1) * 1.2
    color = _pick(rng, [(0.03, 0.03, 0.03), (0.06, 0.06, 0.06), (0.1, 0.2, 0.06), (0.22, 0.1, 0.04)])
    value = relief(height, 0.4) * (1 + 0.15 * height) * _wear(rng, size, 0.1)
    value *= 1 + 0.06 * tiled_noise(rng, size, (size // 2, size // 4), (1, 1))
    return _colored(value * _spots(rng, size), color), 0.02, 0.35


def _paper(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    x, y = _axes(size)
    step = size // int(2 ** rng.integers(4, 6))
    value = np.float32(rng.uniform(0.65, 0.85)) * (
        1 + 0.012 * tiled_noise(rng, size, (60, size // 3), (1, 1))
    )
    tile = _colored(value * _wear(rng, size, 0.015) * _spots(rng, size), (0.97, 1.0, 1.0))
    ink = np.array(
        _pick(rng, [(0.6, 0.4, 0.2), (0.3, 0.5, 0.3), (0.3, 0.3, 0.3), (0.25, 0.35, 0.65)]), np.float32
    )
    if rng.random() < 0.25:
        cell = ((x // step).astype(int) + (y // step).astype(int)) % 2
        return tile * np.where(cell, 1, 0.06)[..., None].astype(np.float32), 0.01, 0.4
    fine = (x % step < 1.5) | (y % step < 1.5)
    bold = (x % (4 * step) < 2.2) | (y % (4 * step) < 2.2)
    cover = (0.35 * fine + 0.4 * bold)[..., None].astype(np.float32)
    return tile * (1 - cover) + ink * cover, 0.01, 0.4


def _concrete(rng: np.random.Generator, size: int, relief: Relief) -> Draft:
    grit = tiled_noise(rng, size, (30, 90, size // 2), (0.8, 1, 1))
    value = (1 + 0.1 * grit) * relief(grit, 0.06) * _wear(rng, size, 0.09) * _spots(rng, size)
    color = _pick(rng, [(0.25, 0.27, 0.28), (0.4, 0.42, 0.43), (0.08, 0.085, 0.09), (0.1, 0.16, 0.1)])
    return _colored(value, color), 0.0, 0.4


KINDS: dict[str, Callable[[np.random.Generator, int, Relief], Draft]] = {
    "fabric": _fabric,
    "pvc": _pvc,
    "ribbed": _ribbed,
    "powder": _powder,
    "galvanized": _galvanized,
    "sheet": _sheet,
    "plastic": _plastic,
    "wood": _wood,
    "cardboard": _cardboard,
    "studs": _studs,
    "paper": _paper,
    "concrete": _concrete,
}
BELTS = ("fabric", "pvc", "ribbed", "pvc")

"""Flat and thin foreign objects: labels, wires, rubber bands, swarf and dust, and the rims of trays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2
from edgecv.scenes.light import Light
from edgecv.scenes.render import Layer, Patch, pixel_box
from edgecv.scenes.world import Camera, FloatArray, Size

Array = NDArray[np.float32]
_FINE = 3


@dataclass(frozen=True)
class Rim:
    """The straight edge of a tray: points with x cos + y sin > offset are on its rim or beyond, mm."""

    cos: float
    sin: float
    offset: float

    def outside(self, circles: FloatArray) -> float:
        """How far circles (n, 3) reach over the edge, mm; negative inside."""
        return float(
            (circles[:, 0] * self.cos + circles[:, 1] * self.sin + circles[:, 2]).max() - self.offset
        )


def make_rim(rng: np.random.Generator, camera: Camera, size_wh: Size) -> Rim | None:
    """The rim of a tray near one side of the picture, in some of the scenes."""
    share, heading = rng.uniform(0.05, 0.25), rng.uniform(0, 2 * np.pi)
    if rng.random() > 0.16:
        return None
    back = camera.pixels_to_plane()
    corners = back @ np.array([[x * size_wh[0], y * size_wh[1], 1.0] for x in (0, 1) for y in (0, 1)]).T
    along = (corners[0] * np.cos(heading) + corners[1] * np.sin(heading)) / corners[2]
    return Rim(float(np.cos(heading)), float(np.sin(heading)), float(along.max() - share * np.ptp(along)))


def draw_rim(ground: Array, rim: Rim, camera: Camera, pixels_per_mm: float, rng: np.random.Generator) -> None:
    """Changes the albedo (H, W, 3) at a tray's rim: a darker corner, a bright lip, the bench beyond."""
    height, width = ground.shape[:2]
    x = (np.arange(width) + 0.5)[None, :]
    y = (np.arange(height) + 0.5)[:, None]
    back = camera.pixels_to_plane()
    depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
    lean = np.array([rim.cos, rim.sin]) @ back[:2]
    distance = ((lean[0] * x + lean[1] * y + lean[2]) / depth - rim.offset).astype(np.float32)
    distance *= np.float32(pixels_per_mm)
    wall, lip = float(rng.uniform(3, 14)), float(rng.uniform(2, 9))
    tone = np.ones_like(distance)
    tone -= np.float32(0.35) * np.exp(np.minimum(distance, 0) / np.float32(rng.uniform(4, 16)))
    knots = [-1, 0, 1, wall, wall + 1.5, wall + lip, wall + lip + 1.5]
    levels = [
        1,
        1,
        rng.uniform(0.4, 0.8),
        rng.uniform(0.5, 0.9),
        rng.uniform(1.3, 1.9),
        rng.uniform(1.2, 1.6),
        0,
    ]
    tone *= np.interp(distance, knots, levels).astype(np.float32)
    bench = np.array(rng.uniform(0.02, 0.35) * (1 + rng.uniform(-0.12, 0.12, 3)), np.float32)
    beyond = np.clip((distance - np.float32(wall + lip)) / np.float32(1.5), 0, 1)
    shade = np.float32(1) - np.float32(0.6) * np.exp(
        -np.maximum(distance - np.float32(wall + lip), 0) / np.float32(12)
    )
    cv2 = require_cv2()
    ground *= cv2.merge([tone, tone, tone])
    ground += cv2.merge([beyond * shade * np.float32(part) for part in bench])


def draw_flat(
    ground: Array, camera: Camera, pixels_per_mm: float, amount: float, rng: np.random.Generator
) -> None:
    """Puts labels and dust on the albedo (H, W, 3)."""
    height, width = ground.shape[:2]
    for _ in range(min(int(rng.poisson(0.25 * amount)), 6)):
        pixel = (rng.uniform(0, width), rng.uniform(0, height))
        _label(ground, camera, pixel, rng.uniform(30, 110) / pixels_per_mm, rng)
    count = int(rng.integers(0, 60) * amount * (rng.random() < 0.5))
    rows, columns = rng.integers(0, height - 1, count), rng.integers(0, width - 1, count)
    bright = rng.uniform(0.4, 1.5, count).astype(np.float32)[:, None]
    strength = rng.uniform(0.1, 0.7, count).astype(np.float32)[:, None]
    for dy, dx, share in ((0, 0, 1.0), (0, 1, 0.6), (1, 0, 0.5), (1, 1, 0.3)):
        cover = strength * np.float32(share)
        spot = ground[rows + dy, columns + dx]
        ground[rows + dy, columns + dx] = spot * (1 - cover) + cover * np.float32(0.35) * bright


def _label(
    ground: Array, camera: Camera, pixel: tuple[float, float], size_mm: float, rng: np.random.Generator
) -> None:
    """A sheet of paper with print or writing."""
    cv2 = require_cv2()
    wide, high = 144, int(144 * rng.uniform(0.45, 1.0))
    paper = rng.choice([0.75, 0.6, 0.5]) * np.array([rng.choice([1.0, 0.35, 0.9]), 0.97, 1.0])
    sheet = np.full((high, wide, 3), paper, np.float32)
    ink = tuple(float(v) for v in rng.choice([0.02, 0.05, 0.3], 3))
    if rng.random() < 0.4:
        edges = np.cumsum(rng.integers(1, 5, 60)) + 14
        for left, right in zip(edges[::2], edges[1::2], strict=False):
            if right < wide - 14:
                cv2.rectangle(
                    sheet, (int(left), high // 5), (int(right) - 1, int(high * 0.6)), (0.02,) * 3, -1
                )
    for line in range(int(rng.integers(1, 5))):
        y = int(high * (0.7 + 0.09 * line)) if rng.random() < 0.5 else int(rng.uniform(0.2, 0.9) * high)
        steps = np.arange(12, int(rng.uniform(0.4, 0.95) * wide), 3)
        ups = np.cumsum(rng.normal(0, 2.5, len(steps)))
        path = np.column_stack([steps + rng.normal(0, 1.5, len(steps)), y + ups - ups.mean()])
        cv2.polylines(
            sheet, [(path * 8).astype(np.int32)], False, ink, int(rng.integers(1, 3)), cv2.LINE_AA, 3
        )
    back = camera.pixels_to_plane() @ np.array([*pixel, 1.0])
    angle = rng.uniform(0, 2 * np.pi)
    scale = size_mm / wide
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    center = back[:2] / back[2] - np.array([[c, -s], [s, c]]) @ (wide / 2, high / 2)
    to_world = np.array([[c, -s, center[0]], [s, c, center[1]], [0, 0, 1.0]])
    matrix = camera.plane_to_pixels() @ to_world
    corners = matrix @ np.array([[x, y, 1.0] for x in (0, wide) for y in (0, high)]).T
    x1, y1, x2, y2 = pixel_box((corners[:2] / corners[2]).T)
    shared = Patch(x1, y1, np.zeros((y2 - y1, x2 - x1), np.float32)).crop((ground.shape[1], ground.shape[0]))
    if shared is None or corners[2].min() <= 0:
        return
    shift = np.array([[1, 0, -x1 - 0.5], [0, 1, -y1 - 0.5], [0, 0, 1.0]])
    full = np.dstack([sheet, np.ones((high, wide), np.float32)])
    seen = cv2.warpPerspective(full, shift @ matrix, (x2 - x1, y2 - y1), flags=cv2.INTER_AREA)
    rows, inner = shared
    cover = seen[inner][..., 3:]
    ground[rows] = ground[rows] * (1 - cover) + seen[inner][..., :3]


@dataclass(frozen=True, eq=False)
class Strand:
    """A thin thing along a line: points float64 (n, 3), world mm. radius_mm. shades: brightness of each
    segment (n - 1,). color: BGR (3,)."""

    points: FloatArray
    radius_mm: float
    shades: FloatArray
    color: FloatArray


def make_strands(
    rng: np.random.Generator, camera: Camera, size_wh: Size, pixels_per_mm: float, amount: float
) -> list[Strand]:
    """Wires, rubber bands and swarf somewhere in the picture."""
    strands = []
    back = camera.pixels_to_plane()
    for _ in range(min(int(rng.poisson(0.5 * amount)), 8)):
        pixel = np.array([rng.uniform(0, size_wh[0]), rng.uniform(0, size_wh[1]), 1.0])
        ground = back @ pixel
        at = ground[:2] / ground[2]
        lot = rng.random()
        maker = _swarf if lot < 0.45 else _wire if lot < 0.85 else _band
        strands.append(maker(rng, at, pixels_per_mm))
    return strands


def _swarf(rng: np.random.Generator, at: FloatArray, pixels_per_mm: float) -> Strand:
    """A curled chip of metal."""
    turns, coil = rng.uniform(0.6, 5), rng.uniform(2.5, 8) / pixels_per_mm
    phase = np.linspace(0, 2 * np.pi * turns, int(14 * turns) + 6)
    advance = phase * coil * rng.uniform(0.15, 0.5)
    heading = rng.uniform(0, 2 * np.pi) + 0.04 * rng.normal() * phase
    grow = coil * np.linspace(1, rng.uniform(0.5, 1.3), len(phase))
    side = grow * np.cos(phase)
    x = at[0] + advance * np.cos(heading) - side * np.sin(heading)
    y = at[1] + advance * np.sin(heading) + side * np.cos(heading)
    points = np.column_stack([x, y, coil * 1.1 + grow * np.sin(phase)])
    shades = np.clip(
        0.35 + 0.9 * np.abs(np.sin(phase[:-1] + rng.uniform(0, 3))) ** 3 + rng.normal(0, 0.1, len(phase) - 1),
        0.1,
        2,
    )
    tints = [(0.55, 0.57, 0.58), (0.28, 0.5, 0.62), (0.5, 0.4, 0.34), (0.2, 0.3, 0.42)]
    return Strand(
        points, rng.uniform(0.5, 1.3) / pixels_per_mm, shades, np.array(tints[int(rng.integers(4))])
    )


def _wire(rng: np.random.Generator, at: FloatArray, pixels_per_mm: float) -> Strand:
    """A piece of insulated or bare wire, thread or cable tie."""
    count = 40
    length = np.exp(rng.uniform(np.log(25), np.log(260))) / pixels_per_mm
    bend = rng.normal(0, 1.6) + np.cumsum(rng.normal(0, 0.5, count))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bend) / count
    steps = np.column_stack([np.cos(heading), np.sin(heading)]) * (length / count)
    radius = rng.uniform(0.5, 2.2) / pixels_per_mm
    lift = radius + radius * 3 * np.abs(np.sin(np.linspace(0, rng.uniform(1, 6), count)))
    points = np.column_stack([at + np.cumsum(steps, axis=0), lift])
    colors = [
        (0.03, 0.03, 0.4),
        (0.4, 0.12, 0.03),
        (0.02, 0.02, 0.02),
        (0.1, 0.3, 0.06),
        (0.6, 0.6, 0.6),
        (0.05, 0.45, 0.55),
        (0.2, 0.35, 0.6),
    ]
    color = np.array(colors[int(rng.integers(len(colors)))])
    return Strand(points, radius, np.ones(count - 1), color)


def _band(rng: np.random.Generator, at: FloatArray, pixels_per_mm: float) -> Strand:
    """A rubber band: a large, limp loop."""
    phase = np.linspace(0, 2 * np.pi, 61)
    size = rng.uniform(22, 60) / pixels_per_mm
    wobble = 1 + sum(rng.normal(0, 0.3 / k) * np.sin(k * phase + rng.uniform(0, 6)) for k in (2, 3, 4))
    radius = size * np.clip(wobble, 0.35, 1.8)
    squash = rng.uniform(0.3, 0.7)
    turn = rng.uniform(0, np.pi)
    a, b = radius * np.cos(phase), radius * np.sin(phase) * squash
    points = np.column_stack([
        at[0] + a * np.cos(turn) - b * np.sin(turn), at[1] + a * np.sin(turn) + b * np.cos(turn),
        np.full(61, 1.0 / pixels_per_mm),
    ])  # fmt: skip
    colors = [(0.2, 0.38, 0.55), (0.04, 0.05, 0.45), (0.4, 0.14, 0.04), (0.08, 0.3, 0.08)]
    color = np.array(colors[int(rng.integers(len(colors)))])
    return Strand(points, rng.uniform(0.7, 1.5) / pixels_per_mm, np.ones(60), color)


def draw_strand(strand: Strand, camera: Camera, light: Light, pixels_per_mm: float) -> tuple[Layer, Patch]:
    """The strand's picture, and the share of key light that passes it to the ground."""
    cv2 = require_cv2()
    pixels = camera.project(strand.points)
    thick = 2 * strand.radius_mm * pixels_per_mm
    x1, y1, x2, y2 = pixel_box(pixels, int(thick) + 3)
    wide, high = x2 - x1, y2 - y1
    fine = np.zeros((high * _FINE, wide * _FINE), np.float32)
    tone = np.zeros_like(fine)
    lamp = camera.rotation @ light.key[0]
    towards = lamp[:2] / max(float(np.hypot(*lamp[:2])), 1e-6)
    path = ((pixels - (x1, y1)) * _FINE - 0.5) * 16
    ends = path.astype(np.int32)
    full = max(round(thick * _FINE), 1)
    for (
        start,
        end,
    ) in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        cv2.line(fine, start, end, 1.0, full, cv2.LINE_AA, 4)
    # A round profile in three steps, brighter towards the lamp.
    for width, offset, level in ((1.0, 0.0, 0.45), (0.7, 0.15, 0.85), (0.3, 0.3, 1.35)):
        moved = (path + towards * (offset * full / 2 * 16)).astype(np.int32)
        for start, end, shade in zip(
            moved[:-1].tolist(), moved[1:].tolist(), strand.shades.tolist(), strict=False
        ):
            cv2.line(tone, start, end, level * shade, max(round(full * width), 1), cv2.LINE_AA, 4)
    cover = np.asarray(cv2.resize(fine, (wide, high), interpolation=cv2.INTER_AREA), np.float32)
    value = cv2.resize(tone * fine, (wide, high), interpolation=cv2.INTER_AREA)
    color = np.asarray(cv2.merge([value * np.float32(part) for part in strand.color]), np.float32)
    ground = strand.points.copy()
    ground[:, :2] -= ground[:, 2:] * (light.key[0][:2] / light.key[0][2])
    ground[:, 2] = 0
    dx, dy = (camera.project(ground) - pixels).mean(axis=0)
    thrown = cv2.GaussianBlur(cover, (0, 0), 0.8 + 0.15 * float(np.hypot(dx, dy)))
    return Layer(Patch(x1, y1, color), Patch(x1, y1, cover)), Patch(
        x1 + round(dx), y1 + round(dy), 1 - np.float32(0.85) * np.asarray(thrown, np.float32)
    )

"""Layers, shadows and ground put together: the picture before the sensor, and the truth about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.media._cv2 import require_cv2
from edgecv.scenes.layout import Item
from edgecv.scenes.light import Light, lookup
from edgecv.scenes.litter import Strand, draw_strand
from edgecv.scenes.render import Layer, Patch, render, shadows
from edgecv.scenes.surfaces import Surface
from edgecv.scenes.world import Box, Camera, Part, Size

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Drawn:
    """An item with its picture, and the shares of key and fill light that pass it to the ground.

    item: None for a thin thing on top of everything.
    """

    item: Item | None
    layer: Layer
    key: Patch | None
    fill: Patch | None
    distance: float

    @property
    def is_part(self) -> bool:
        """Whether it is annotated."""
        return self.item is not None and self.item.class_id is not None


def draw(items: Sequence[Item], camera: Camera, light: Light, size_wh: Size) -> list[Drawn]:
    """Every item on its own, in the order in which they cover each other: the lowest and farthest first."""
    drawn = []
    for item in items:
        placed = item.placed
        center = camera.rotation @ placed.pose.translation_mm + camera.translation_mm
        key, fill = shadows(placed, camera, light, size_wh) or (None, None)
        layer = render(placed, camera, light)
        drawn.append(Drawn(item, layer, key, fill, float(np.linalg.norm(center))))
    return sorted(drawn, key=lambda d: (d.item is not None and d.item.base_mm > 0, -d.distance))


def draw_strands(
    strands: Sequence[Strand], camera: Camera, light: Light, pixels_per_mm: float
) -> list[Drawn]:
    """Thin things, which lie on top of the others."""
    pictures = [draw_strand(strand, camera, light, pixels_per_mm) for strand in strands]
    return [Drawn(None, layer, key, None, 0.0) for layer, key in pictures]


def owners(drawn: Sequence[Drawn], size_wh: Size) -> NDArray[np.int16]:
    """Which of the drawn each pixel shows, int16 (H, W); -1 for the ground."""
    owner = np.full((size_wh[1], size_wh[0]), -1, np.int16)
    for index, one in enumerate(drawn):
        shared = one.layer.coverage.crop(size_wh)
        if shared is not None:
            owner[shared[0]][one.layer.coverage.values[shared[1]] >= 0.5] = index
    return owner


def visible_share(drawn: Sequence[Drawn], owner: NDArray[np.int16]) -> list[float]:
    """Visible over amodal area of each."""
    counts = np.bincount((owner + 1).ravel(), minlength=len(drawn) + 1)[1:]
    areas = [int((one.layer.coverage.values >= 0.5).sum()) for one in drawn]
    return [count / area if area else 0.0 for count, area in zip(counts.tolist(), areas, strict=True)]


def radiance(drawn: Sequence[Drawn], ground: Array, surface: Surface, camera: Camera, light: Light) -> Array:
    """The linear picture, float32 (H, W, 3) BGR. ground: the surface's albedo at each pixel."""
    size_wh = (ground.shape[1], ground.shape[0])
    key = np.full(ground.shape[:2], light.key_share, np.float32)
    fill = np.full(ground.shape[:2], 1 - light.key_share, np.float32)
    for one in drawn:
        for patch, target in ((one.key, key), (one.fill, fill)):
            shared = patch.crop(size_wh) if patch is not None else None
            if patch is not None and shared is not None:
                target[shared[0]] *= patch.values[shared[1]]
    picture = ground * _thrice(key + fill)
    if surface.gloss > 0:
        picture += _sheen(surface, camera, light, size_wh) * _thrice(fill / np.float32(1 - light.key_share))
    for one in drawn:
        if one.item is not None and one.item.base_mm > 0:
            _darken(picture, one.item, camera, light, size_wh)
        shared = one.layer.color.crop(size_wh)
        if shared is not None:
            rows, inner = shared
            picture[rows] *= _thrice(1 - one.layer.coverage.values[inner])
            picture[rows] += one.layer.color.values[inner]
    return picture


def _thrice(plane: Array) -> Array:
    """(h, w) to (h, w, 3): a product with it is far faster than one that broadcasts three values."""
    return np.asarray(require_cv2().merge([plane, plane, plane]), np.float32)


def part_truth(one: Drawn, mask: Mask, visible: float) -> Part:
    """The annotation of a drawn part whose visible pixels are `mask`."""
    covered = one.layer.coverage
    whole = tight_box(covered.values >= 0.5)
    amodal = (whole[0] + covered.x, whole[1] + covered.y, whole[2] + covered.x, whole[3] + covered.y)
    item = one.item
    assert item is not None
    assert item.class_id is not None
    return Part(
        item.class_id, item.face, item.defect, tight_box(mask), amodal, mask, visible, item.placed.pose,
        item.placed.body.diameter,
    )  # fmt: skip


def tight_box(mask: Mask) -> Box:
    """Pixel edges (x1, y1, x2, y2) around the set pixels of a mask with at least one."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _darken(picture: Array, item: Item, camera: Camera, light: Light, size_wh: Size) -> None:
    """The shadow of something that lies on other parts."""
    placed, base = item.placed, item.base_mm
    strengths = (0.55 * light.key_share, 0.8 * (1 - light.key_share))
    for patch, strength in zip(shadows(placed, camera, light, size_wh, base) or (), strengths, strict=False):
        shared = patch.crop(size_wh)
        if shared is not None:
            picture[shared[0]] *= (1 - np.float32(strength) * (1 - patch.values[shared[1]]))[..., None]


def _sheen(surface: Surface, camera: Camera, light: Light, size_wh: Size) -> Array:
    """What the ground mirrors, float32 (H, W, 3): looked up on a coarse grid."""
    cv2 = require_cv2()
    columns, rows = np.meshgrid(
        (np.arange(32) + 0.5) * size_wh[0] / 32, (np.arange(32) + 0.5) * size_wh[1] / 32
    )
    rays = camera.rotation.T @ camera.rays @ np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
    rays /= np.linalg.norm(rays, axis=0)
    rays[2] = np.abs(rays[2])
    seen = lookup(light.blurred(surface.roughness), rays.astype(np.float32)).reshape(32, 32, 3)
    smooth = cv2.resize(seen * np.float32(surface.gloss), size_wh, interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, np.float32)

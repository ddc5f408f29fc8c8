"""One belt under a fixed camera: what lies on it is decided once, and each frame is rendered on its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.scenes import finish, layout
from edgecv.scenes.compose import Drawn, draw, owners, part_truth, radiance, visible_share
from edgecv.scenes.layout import Item
from edgecv.scenes.light import make_lamp, make_light
from edgecv.scenes.render import pixel_box
from edgecv.scenes.sensor import expose, make_sensor
from edgecv.scenes.surfaces import make_surface, tile_side
from edgecv.scenes.world import BeltSpec, FloatArray, Pose, Scene, check_seed, is_whole, stream

PIXELS_PER_MM = 4.0


def make_belt(seed: int, frames: int, spec: BeltSpec = BeltSpec()) -> Iterator[Scene]:  # noqa: B008 - frozen
    """A fixed camera over one moving belt, frame by frame; the belt travels along world x.

    The same parts pass on the same texture under constant light; only the sensor's noise is new in each
    frame. Frame i does not depend on the frames before it, nor on `frames`. Parts that enter or leave are
    listed from their first pixel on, with `visible` to tell.

    Raises InputError for a seed that is not a whole number from 0 to 2^63 - 1 and for frames below 0,
    MissingExtraError without OpenCV.
    """
    check_seed(seed)
    if not is_whole(frames) or frames < 0:
        raise InputError(f"frames: expected a whole number from 0 up, got {frames!r}")
    belt = Belt(seed, spec)
    return (belt.frame(index) for index in range(frames))


class Belt:
    """A belt with parts at random places along it.

    The belt is laid out in cells of fixed length, each from its own random stream, so that it is as long
    as it has to be.
    """

    def __init__(self, seed: int, spec: BeltSpec) -> None:
        self._seed = seed
        self._spec = spec
        self._size_wh = size_wh = spec.size_wh
        rng = stream(seed, layout.LAYOUT)
        camera = layout.make_camera(rng, size_wh, 12.0, PIXELS_PER_MM)
        # The belt runs across the picture, nearly along its longer side.
        self.camera = layout.aligned(
            camera, float(rng.uniform(-0.12, 0.12)) + (np.pi if rng.random() < 0.5 else 0)
        )
        corners = np.array([
            layout.to_plane(self.camera, (x * size_wh[0], y * size_wh[1])) for x in (0, 1) for y in (0, 1)
        ])  # fmt: skip
        self._view = corners.min(axis=0), corners.max(axis=0)
        self._metal = str(rng.choice(list(finish.METALS), p=finish.METAL_ODDS))
        self._cell_mm = 60.0
        self._drafts: dict[int, list[Item]] = {}
        lights = stream(seed, layout.LIGHT)
        lamp = make_lamp(lights)
        side = tile_side(size_wh)
        self._surface = make_surface(
            stream(seed, layout.SURFACE), side, PIXELS_PER_MM * side / (1.25 * max(size_wh)), lamp, belt=True
        )
        self._ground_mean = self._surface.tile.mean(axis=(0, 1))
        self._light = make_light(lights, lamp, self._ground_mean)
        self._sensor = make_sensor(stream(seed, layout.SENSOR), self._radiance(0.0)[0], 24.0, ideal=False)

    def frame(self, index: int) -> Scene:
        """The scene of that frame."""
        travel = index * self._spec.step_mm
        picture, drawn = self._radiance(travel)
        owner = owners(drawn, self._size_wh)
        image = expose(picture, self._sensor, stream(self._seed, layout.SENSOR, index + 1))
        shares = visible_share(drawn, owner)
        parts = tuple(
            part_truth(one, owner == number, share)
            for number, (one, share) in enumerate(zip(drawn, shares, strict=True))
            if one.is_part and share > 0
        )
        return Scene(image, parts, self.camera, self._seed)

    def _radiance(self, travel: float) -> tuple[NDArray[np.float32], list[Drawn]]:
        """The linear picture after that much travel, mm, and what is in it."""
        items = [self._moved(item, travel) for item in self._around(travel)]
        drawn = draw([item for item in items if self._is_seen(item)], self.camera, self._light, self._size_wh)
        ground = self._surface.warp(self.camera.plane_to_pixels(), self._size_wh, travel)
        return radiance(drawn, ground, self._surface, self.camera, self._light), drawn

    def _around(self, travel: float) -> list[Item]:
        """The items of all cells that can be in view, at their places on the belt."""
        margin = 60.0
        first = int(np.floor((self._view[0][0] - travel - margin) / self._cell_mm))
        last = int(np.ceil((self._view[1][0] - travel + margin) / self._cell_mm))
        self._drafts = {cell: self._drafts.get(cell) or self._filled(cell) for cell in range(first, last + 1)}
        return [item for items in self._drafts.values() for item in items]

    def _filled(self, cell: int) -> list[Item]:
        """What lies in one cell; everything stays inside, so that cells need not know each other."""
        # Cells upstream have negative numbers, which no stream takes.
        rng = stream(self._seed, layout.COVER, abs(cell), int(cell < 0))
        low, high = self._view[0][1] + 6, self._view[1][1] - 6
        items: list[Item] = []
        for slot in range(int(rng.integers(2, 7))):
            number = 8 * (2 * abs(cell) + int(cell < 0)) + slot
            diameter = float(np.exp(rng.uniform(np.log(3.5), np.log(9))))
            draft = layout.draft_part(self._seed, number, diameter, self._spec.defect_rate)
            for _ in range(12):
                at = np.array([(cell + rng.random()) * self._cell_mm, rng.uniform(low, high)])
                pose, circles = layout.put_down(draft.body, draft.rotation, at, 0.0)
                left, right = (circles[:, 0] - circles[:, 2]).min(), (circles[:, 0] + circles[:, 2]).max()
                inside = left > cell * self._cell_mm and right < (cell + 1) * self._cell_mm
                if inside and all(layout.gap(circles, other.circles) > 0.5 for other in items):
                    placed = layout.coated(self._seed, number, draft, pose, self._metal, 1 / PIXELS_PER_MM)
                    items.append(Item(placed, draft.class_id, draft.face, draft.defect, 0.0, circles))
                    break
        return items

    def _moved(self, item: Item, travel: float) -> Item:
        shift: FloatArray = np.array([travel, 0.0, 0.0])
        pose = Pose(item.placed.pose.rotation, item.placed.pose.translation_mm + shift)
        return replace(item, placed=replace(item.placed, pose=pose), circles=item.circles + shift)

    def _is_seen(self, item: Item) -> bool:
        """Whether the item, or the shadow that it throws, may be in the picture."""
        x1, y1, x2, y2 = pixel_box(self.camera.project(item.placed.outline()))
        reach = 2 * max(x2 - x1, y2 - y1)
        width, height = self._size_wh
        return x2 + reach > 0 and y2 + reach > 0 and x1 - reach < width and y1 - reach < height

"""One picture and its truth: laid out, lit, drawn and photographed."""

from __future__ import annotations

import numpy as np

from edgecv.scenes import layout
from edgecv.scenes.compose import Drawn, draw, draw_strands, owners, part_truth, radiance, visible_share
from edgecv.scenes.light import make_lamp, make_light
from edgecv.scenes.litter import draw_flat, draw_rim, make_rim, make_strands
from edgecv.scenes.sensor import expose, make_sensor
from edgecv.scenes.surfaces import make_surface, tile_side
from edgecv.scenes.world import MIN_VISIBLE, Scene, SceneSpec, check_seed, stream


def make_scene(seed: int, spec: SceneSpec = SceneSpec()) -> Scene:  # noqa: B008 - frozen
    """One picture and its truth, decided by seed and spec alone.

    Every part in the picture is annotated, and at least 40 % of its amodal area is visible. Raises
    InputError for a seed that is not a whole number from 0 to 2^63 - 1, MissingExtraError without OpenCV.
    """
    check_seed(seed)
    rng = stream(seed, layout.LAYOUT)
    pixels_per_mm = float(rng.uniform(3, 8))
    camera = layout.make_camera(rng, spec.size_wh, spec.max_tilt_deg, pixels_per_mm)
    litter = stream(seed, layout.COVER)
    rim = make_rim(litter, camera, spec.size_wh) if spec.clutter else None
    items = layout.place_parts(seed, spec, camera, pixels_per_mm, rng, rim)
    items += layout.place_clutter(seed, spec, camera, pixels_per_mm, items, rim)
    amount = spec.clutter * spec.size_wh[0] * spec.size_wh[1] / 320**2
    strands = make_strands(litter, camera, spec.size_wh, pixels_per_mm, amount)

    lights = stream(seed, layout.LIGHT)
    lamp = make_lamp(lights)
    side = tile_side(spec.size_wh)
    surface = make_surface(
        stream(seed, layout.SURFACE), side, pixels_per_mm * side / (1.25 * max(spec.size_wh)), lamp
    )
    ground = surface.warp(camera.plane_to_pixels(), spec.size_wh)
    draw_flat(ground, camera, pixels_per_mm, amount, litter)
    if rim is not None:
        draw_rim(ground, rim, camera, pixels_per_mm, litter)
    light = make_light(lights, lamp, ground.mean(axis=(0, 1)))
    layers = draw(items, camera, light, spec.size_wh)
    drawn = _settled([*layers, *draw_strands(strands, camera, light, pixels_per_mm)], spec)
    owner = owners(drawn, spec.size_wh)
    shares = visible_share(drawn, owner)
    picture = radiance(drawn, ground, surface, camera, light)
    sensor_rng = stream(seed, layout.SENSOR)
    parts = tuple(
        part_truth(one, owner == index, share)
        for index, (one, share) in enumerate(zip(drawn, shares, strict=True))
        if one.is_part
    )
    smallest = min((max(p.xyxy[2] - p.xyxy[0], p.xyxy[3] - p.xyxy[1]) for p in parts), default=64.0)
    sensor = make_sensor(sensor_rng, picture, smallest, ideal=not spec.sensor)
    return Scene(expose(picture, sensor, sensor_rng), parts, camera, seed)


def _settled(drawn: list[Drawn], spec: SceneSpec) -> list[Drawn]:
    """Without the parts that would be seen too little, or came out of the range of sizes."""
    low, high = spec.part_px
    kept = list(drawn)
    while True:
        shares = visible_share(kept, owners(kept, spec.size_wh))
        faults = [
            index
            for index, one in enumerate(kept)
            if one.is_part and not (low <= _longest(one) <= high and shares[index] >= MIN_VISIBLE)
        ]
        if not faults:
            return kept
        worst = min(faults, key=shares.__getitem__)
        del kept[next(iter(_resting_on(worst, kept)), worst)]


def _resting_on(index: int, drawn: list[Drawn]) -> list[int]:
    """What lies on that item and would hang in the air without it."""
    below = drawn[index].item
    assert below is not None
    return [
        number
        for number, one in enumerate(drawn)
        if number != index
        and one.item is not None
        and one.item.base_mm > below.base_mm
        and layout.gap(one.item.circles, below.circles) < 0
    ]


def _longest(one: Drawn) -> float:
    mask = one.layer.coverage.values >= 0.5
    return float(max(np.ptp(np.flatnonzero(mask.any(axis=k))) + 1 if mask.any() else 0 for k in (0, 1)))

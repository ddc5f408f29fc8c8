"""Where the camera stands and what lies where, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecv.scenes import bodies, finish
from edgecv.scenes.bodies import Body
from edgecv.scenes.litter import Rim
from edgecv.scenes.placed import Placed
from edgecv.scenes.world import DEFECTS, Camera, Defect, Face, FloatArray, Pose, SceneSpec, Size, stream

# Streams of a seed.
LAYOUT, SURFACE, LIGHT, SENSOR, DEFECT, PART, CLUTTER, COVER, COAT = range(9)


@dataclass(frozen=True, eq=False)
class Item:
    """A thing in the scene. class_id: None for clutter. base_mm: height of what it lies on. circles:
    (n, 3) world x, y, radius that cover its footprint."""

    placed: Placed
    class_id: int | None
    face: Face | None
    defect: Defect | None
    base_mm: float
    circles: FloatArray


def make_camera(rng: np.random.Generator, size_wh: Size, max_tilt_deg: float, pixels_per_mm: float) -> Camera:
    """A camera that looks at the world's origin, often straight down."""
    tilt = np.deg2rad(rng.uniform(0, min(5, max_tilt_deg)))
    steep = rng.uniform(0, max_tilt_deg)
    if rng.random() < 0.6:
        tilt = np.deg2rad(steep)
    heading, roll = rng.uniform(0, 2 * np.pi, 2)
    focal = max(size_wh) * rng.uniform(1.3, 2.8)
    distance = focal / pixels_per_mm
    ahead = np.array([np.sin(tilt) * np.cos(heading), np.sin(tilt) * np.sin(heading), -np.cos(tilt)])
    right = np.cross(ahead, [-np.sin(heading), np.cos(heading), 0.0])
    right /= np.linalg.norm(right)
    rotation = bodies.turned("z", roll) @ np.stack([right, np.cross(ahead, right), ahead])
    matrix = np.array([[focal, 0, size_wh[0] / 2], [0, focal, size_wh[1] / 2], [0, 0, 1.0]])
    return Camera(matrix, rotation, rotation @ (ahead * distance))


def to_plane(camera: Camera, pixel: tuple[float, float]) -> FloatArray:
    """World (x, y) on z = 0 that a pixel sees, float64 (2,)."""
    ground = camera.pixels_to_plane() @ np.array([*pixel, 1.0])
    result: FloatArray = ground[:2] / ground[2]
    return result


def part_count(rng: np.random.Generator, least: int, most: int) -> int:
    """How many parts a scene shall have: mostly from 3 up, at times none or one or two."""
    lot, many, few = rng.random(), rng.integers(3, max(most, 3) + 1), rng.integers(1, 3)
    count = 0 if lot < 0.05 else few if lot < 0.15 else many
    return int(np.clip(count, least, most))


def target_sizes(rng: np.random.Generator, count: int, spec: SceneSpec) -> FloatArray:
    """Longest sides (count,), pixels: alike in most scenes, mixed in others, and no more than fit."""
    low, high = spec.part_px[0] * 1.03 + 0.7, spec.part_px[1] * 0.97 - 0.7
    if low > high:
        low = high = sum(spec.part_px) / 2
    room = 0.55 * spec.size_wh[0] * spec.size_wh[1]
    largest = float(np.clip(np.sqrt(room / max(count, 1)) * 1.6, low, high))
    center = np.exp(rng.uniform(np.log(low), np.log(largest)))
    spread = 0.25 if rng.random() < 0.6 else 0.7
    sizes = center * np.exp(rng.normal(0, spread, count))
    # What falls outside the range is drawn anew inside it, so that no size is favored.
    again = np.exp(rng.uniform(np.log(low), np.log(largest), count))
    result: FloatArray = np.where((sizes < low) | (sizes > largest), again, sizes)
    return result


@dataclass(frozen=True, eq=False)
class Draft:
    """A part before it is placed."""

    body: Body
    class_id: int
    face: Face | None
    defect: Defect | None
    rotation: FloatArray
    metal: str | None


def draft_part(seed: int, number: int, diameter_mm: float, defect_rate: float = 0.0) -> Draft:
    """The part of that number; its proportions do not depend on its diameter or its defect."""
    rng = stream(seed, PART, number)
    diameter_mm = float(diameter_mm)
    class_id = int(rng.choice(3, p=(0.42, 0.3, 0.28)))
    face: Face | None = None
    if class_id == 0:
        face = "up" if rng.random() < 0.5 else "down"
        body = bodies.nut(rng, diameter_mm, face)
    elif class_id == 1:
        body = bodies.bolt(rng, diameter_mm)
    else:
        body = bodies.washer(rng, diameter_mm)
    rotation = bodies.resting(body, rng, face_down=face == "down")
    metal = str(rng.choice(list(finish.METALS), p=finish.METAL_ODDS)) if rng.random() < 0.35 else None
    defect: Defect | None = None
    faults = stream(seed, DEFECT, number)
    if class_id == 0 and faults.random() < defect_rate:
        defect = DEFECTS[int(faults.integers(3))]
        body = bodies.with_defect(body, defect, face, faults)
    return Draft(body, class_id, face, defect, rotation, metal)


def coated(seed: int, number: int, draft: Draft, pose: Pose, metal: str, pixel_mm: float) -> Placed:
    """The draft in its pose with its finish; metal: for those that have no preference."""
    coat = finish.metal(stream(seed, COAT, number), draft.metal or metal, pixel_mm, draft.face)
    return Placed(draft.body, pose, coat)


def put_down(body: Body, rotation: FloatArray, at: FloatArray, base_mm: float) -> tuple[Pose, FloatArray]:
    """The pose of a body that rests at world (x, y) on z = base_mm, and its footprint circles."""
    outline = body.outline @ rotation.T
    pose = Pose(rotation, np.array([at[0], at[1], base_mm - outline[:, 2].min()]))
    axis = rotation[:, 2]
    reach = np.hypot(outline[:, 0], outline[:, 1]).max()
    if body.kind in ("bolt", "rod") and abs(axis[2]) < 0.5:
        half = np.ptp(body.outline[:, 2]) / 2
        wide = np.abs(body.outline[:, :2]).max()
        steps = np.linspace(-1, 1, 7) * max(half - 0.5 * wide, 0)
        return pose, np.array([[at[0] + axis[0] * s, at[1] + axis[1] * s, wide] for s in steps])
    return pose, np.array([[at[0], at[1], reach]])


def gap(first: FloatArray, second: FloatArray) -> float:
    """Smallest distance between two sets of circles (n, 3), mm; negative where they overlap."""
    between = np.hypot(*(first[:, None, :2] - second[None, :, :2]).transpose(2, 0, 1))
    return float((between - first[:, None, 2] - second[None, :, 2]).min())


def place_parts(
    seed: int,
    spec: SceneSpec,
    camera: Camera,
    pixels_per_mm: float,
    rng: np.random.Generator,
    rim: Rim | None,
) -> list[Item]:
    """Parts on the plane, next to each other or one on another; fewer than wanted where they do not fit."""
    items: list[Item] = []
    count = part_count(rng, *spec.parts)
    metal = str(rng.choice(list(finish.METALS), p=finish.METAL_ODDS))
    width, height = spec.size_wh
    for number, size_px in enumerate(target_sizes(rng, count, spec)):
        own = stream(seed, LAYOUT, number)
        stacks = own.random() < 0.1
        shape = draft_part(seed, number, 1.0)
        for _ in range(40):
            over = 0.25 * size_px if own.random() < 0.4 else -0.4 * size_px
            over = (
                min(over, width / 2 - 2, height / 2 - 2)
                if over > 0
                else max(over, 6 - min(width, height) / 2)
            )
            pixel = (own.uniform(-over, width + over), own.uniform(-over, height + over))
            at = to_plane(camera, pixel)
            core = np.array([[*at, 0.25 * size_px / pixels_per_mm]])
            if not stacks and any(gap(core, other.circles) < 0 for other in items):
                continue
            item = _fitted(seed, number, shape, size_px, camera, at, pixels_per_mm, metal, spec)
            if item is None or (rim is not None and rim.outside(item.circles) > 0):
                continue
            near = [other for other in items if gap(item.circles, other.circles) < 0.02 / pixels_per_mm]
            if near and stacks and len(near) == 1 and near[0].base_mm == 0:
                item = _leaning(item, near[0], own)
                near = []
            if not near:
                items.append(item)
                break
    return items


def _fitted(
    seed: int,
    number: int,
    shape: Draft,
    size_px: float,
    camera: Camera,
    at: FloatArray,
    pixels_per_mm: float,
    metal: str,
    spec: SceneSpec,
) -> Item | None:
    """The part at a place with a diameter that gives it that size; None where the camera cannot see.

    shape: the part at diameter 1.
    """
    diameter = size_px / pixels_per_mm / 2
    outline = shape.body.outline @ shape.rotation.T
    outline[:, 2] -= outline[:, 2].min()
    for _ in range(2):
        side = float(np.ptp(camera.project(outline * diameter + (*at, 0.0)), axis=0).max())
        if not side > 0:
            return None
        diameter *= size_px / side
    draft = draft_part(seed, number, diameter, spec.defect_rate)
    pose, circles = put_down(draft.body, draft.rotation, at, 0.0)
    placed = coated(seed, number, draft, pose, metal, 1 / pixels_per_mm)
    return Item(placed, draft.class_id, draft.face, draft.defect, 0.0, circles)


def _leaning(item: Item, below: Item, rng: np.random.Generator) -> Item:
    """The part on top of another one, tilted a little."""
    body, pose = item.placed.body, item.placed.pose
    top = float(below.placed.outline()[:, 2].max())
    lean = bodies.turned("z", rng.uniform(0, 2 * np.pi))
    rotation = lean @ bodies.turned("x", rng.uniform(0.02, 0.22)) @ lean.T @ pose.rotation
    new_pose, circles = put_down(body, rotation, pose.translation_mm[:2], top)
    return Item(
        Placed(body, new_pose, item.placed.finish), item.class_id, item.face, item.defect, top, circles
    )


def place_clutter(
    seed: int,
    spec: SceneSpec,
    camera: Camera,
    pixels_per_mm: float,
    items: list[Item],
    rim: Rim | None,
) -> list[Item]:
    """Solid foreign objects, none of which is a nut, a bolt or a washer."""
    rng = stream(seed, CLUTTER)
    found: list[Item] = []
    mean = 1.3 * spec.clutter * spec.size_wh[0] * spec.size_wh[1] / 320**2
    for _ in range(int(min(rng.poisson(mean), 30))):
        d = float(np.exp(rng.uniform(np.log(12), np.log(70)))) / pixels_per_mm * 0.5
        kind = rng.choice(["coin", "ball", "block", "rod"], p=(0.25, 0.2, 0.3, 0.25))
        if kind == "block":
            body = bodies.block(rng, d * 0.7)
        elif kind == "rod":
            body = bodies.rod(rng, d)
        else:
            body = bodies.coin(d) if kind == "coin" else bodies.ball(d)
        pixel = (rng.uniform(0, spec.size_wh[0]), rng.uniform(0, spec.size_wh[1]))
        if kind in ("coin", "ball", "rod"):
            metal = str(rng.choice(["brass", "stainless", "steel", "zinc", "raw"]))
            coat = finish.metal(rng, metal, 1 / pixels_per_mm, None)
        if kind == "block" or (kind == "rod" and rng.random() < 0.3):
            coat = finish.dull(rng, _paint(rng), float(rng.uniform(0.2, 1.2)), 1 / pixels_per_mm)
        pose, circles = put_down(body, bodies.resting(body, rng), to_plane(camera, pixel), 0.0)
        item = Item(Placed(body, pose, coat), None, None, None, 0.0, circles)
        if rim is not None and rim.outside(circles) > 0:
            continue
        if all(gap(circles, other.circles) > 0 for other in (*items, *found)):
            found.append(item)
    return found


def _paint(rng: np.random.Generator) -> tuple[float, float, float]:
    colors = [
        (0.03, 0.03, 0.03),
        (0.05, 0.05, 0.5),
        (0.4, 0.15, 0.03),
        (0.05, 0.4, 0.6),
        (0.6, 0.6, 0.6),
        (0.1, 0.3, 0.08),
        (0.15, 0.3, 0.45),
    ]
    b, g, r = np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.7, 1.2)
    return float(b), float(g), float(r)


def aligned(camera: Camera, angle: float) -> Camera:
    """The camera rolled so that world x runs at that angle in the picture, radians."""
    x = camera.rotation[:2, 0]
    roll = bodies.turned("z", angle - float(np.arctan2(x[1], x[0])))
    return Camera(camera.matrix, roll @ camera.rotation, roll @ camera.translation_mm)

"""The things that lie on a tray: their solids in proportion to a nominal diameter, and how they rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgecv.scenes.solids import Ball, Region, Round, Slab, Solid
from edgecv.scenes.world import Defect, Face, FloatArray

Kind = Literal["nut", "bolt", "washer", "coin", "ball", "block", "rod"]
X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
HEXAGON = tuple((float(np.cos(a)), float(np.sin(a)), 0.0) for a in np.deg2rad([0, 60, 120]))
TAN_30 = float(np.tan(np.deg2rad(30)))


@dataclass(frozen=True, eq=False)
class Body:
    """A thing in its own frame, millimeters; the frame's origin is its center.

    solids: their union. outline: (n, 3) points whose hull holds the thing. height: of its upper face when
    it rests as meant. bore, pitch, thread: radius of the hole, thread pitch, and the z range with an
    outer thread. diameter: nominal.
    """

    kind: Kind
    solids: tuple[Solid, ...]
    outline: FloatArray
    diameter: float
    height: float
    bevel: float
    bore: float = 0.0
    pitch: float = 0.0
    thread: tuple[float, float] = (0.0, 0.0)
    deform: FloatArray | None = None
    crack: FloatArray | None = None
    chip: Ball | None = None


def nut(rng: np.random.Generator, d: float, face: Face) -> Body:
    """A hexagon nut: a 30 degree chamfer above, a washer face or a slight chamfer below."""
    s = d * rng.uniform(1.55, 1.75)
    h = d * rng.uniform(0.72, 0.9)
    corner = s / np.sqrt(3)
    flat = s / 2
    chamfer_start = flat * rng.uniform(0.9, 0.96)
    half = h / 2
    regions: list[Region] = [Slab(n, flat) for n in HEXAGON]
    regions += [Slab(Z, half), Round(chamfer_start + half / TAN_30, -1 / TAN_30)]
    # Below: a cone so steep that it only breaks the corners.
    below = corner * rng.uniform(0.955, 0.985)
    regions.append(Round(below + half / TAN_30, 1 / TAN_30))
    bore = d * rng.uniform(0.44, 0.47)
    rim_up, rim_down = d * rng.uniform(0.53, 0.56), d * rng.uniform(0.5, 0.52)
    cuts: tuple[tuple[Region, ...], ...] = (
        (Round(bore),),
        (Round(rim_up - half * 1.2, 1.2),),
        (Round(rim_down - half * 1.2, -1.2),),
    )
    angles = np.deg2rad(np.arange(30, 390, 60))
    ring = np.column_stack([np.cos(angles) * corner, np.sin(angles) * corner])
    outline = np.vstack([np.column_stack([ring, np.full(6, z)]) for z in (-half, half)])
    solid = Solid(tuple(regions), cuts)
    return Body("nut", (solid,), outline, d, h, 0.028 * d, bore, d * rng.uniform(0.13, 0.17))


def with_defect(body: Body, defect: Defect, face: Face | None, rng: np.random.Generator) -> Body:
    """The nut with a bite out of an edge, a crack through its ring, or squashed."""
    reach = float(np.linalg.norm(body.outline[0, :2]))
    if defect == "chipped":
        angle = np.deg2rad(30 + 60 * rng.integers(6) + rng.uniform(-10, 10))
        radius = reach * rng.uniform(0.24, 0.38)
        out = reach * rng.uniform(0.84, 0.96)
        # The bite is taken from the side that is seen.
        rise = body.outline[-1, 2] * rng.uniform(0.4, 1.0) * (1 if face == "up" else -1)
        center = (out * np.cos(angle), out * np.sin(angle), rise)
        ball = Ball((float(center[0]), float(center[1]), float(center[2])), float(radius))
        solid = replace(body.solids[0], cuts=(*body.solids[0].cuts, (ball,)))
        return replace(body, solids=(solid,), chip=ball)
    if defect == "cracked":
        steps = 14
        angle = rng.uniform(0, 2 * np.pi)
        walk = angle + np.cumsum(rng.normal(0, 0.075, steps)) + np.linspace(0, rng.normal(0, 0.2), steps)
        return replace(body, crack=walk)
    squash = rng.uniform(0.8, 0.88)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    deform = np.eye(3)
    deform[:2, :2] = turn @ np.diag([squash, 1 + 0.4 * (1 - squash)]) @ turn.T
    return replace(body, deform=deform, outline=body.outline @ deform.T)


def washer(rng: np.random.Generator, d: float) -> Body:
    """A flat washer with rounded edges."""
    outer = d * rng.choice([0.95, 1.05, 1.3, 1.5], p=[0.25, 0.4, 0.25, 0.1]) * rng.uniform(0.95, 1.05)
    bore = d * rng.uniform(0.53, 0.58)
    h = d * rng.uniform(0.12, 0.24)
    solid = Solid((Round(outer), Slab(Z, h / 2)), ((Round(bore),),))
    return Body("washer", (solid,), _rings([(outer, -h / 2), (outer, h / 2)]), d, h, 0.035 * d, bore)


def bolt(rng: np.random.Generator, d: float) -> Body:
    """A hexagon-head bolt: chamfered head, plain shank, rolled thread and a beveled tip."""
    s = d * rng.uniform(1.55, 1.75)
    k = d * rng.uniform(0.58, 0.75)
    length = d * rng.uniform(1.4, 5.0)
    bottom = -(k + length) / 2
    seat = bottom + k
    flat, corner = s / 2, s / np.sqrt(3)
    start = flat * rng.uniform(0.9, 0.96)
    head_regions: list[Region] = [Slab(n, flat) for n in HEXAGON]
    head_regions += [
        Slab(Z, k / 2, bottom + k / 2),
        Round(start - bottom / TAN_30, 1 / TAN_30),
    ]
    solids = [Solid(tuple(head_regions))]
    tip = -bottom
    shank = Solid((Round(d / 2), Slab(Z, length / 2, seat + length / 2), Round(0.38 * d + tip, -1.0)))
    solids.append(shank)
    rings = [(d / 2, tip), (d / 2, seat)]
    if rng.random() < 0.2:
        radius = flat * rng.uniform(1.25, 1.4)
        thick = 0.14 * d
        rings += [(radius, seat), (radius, seat - thick)]
        solids.append(Solid((Round(radius), Slab(Z, thick / 2, seat - thick / 2))))
    plain = seat + length * (0.0 if rng.random() < 0.5 else rng.uniform(0.2, 0.5)) + 0.06 * d
    angles = np.deg2rad(np.arange(30, 390, 60))
    hexagon = np.column_stack([np.cos(angles), np.sin(angles)]) * corner
    outline = np.vstack([_rings(rings)] + [np.column_stack([hexagon, np.full(6, z)]) for z in (bottom, seat)])
    return Body(
        "bolt", tuple(solids), outline, d, 2 * flat, 0.03 * d,
        pitch=d * rng.uniform(0.13, 0.18), thread=(plain, tip - 0.05 * d),
    )  # fmt: skip


def coin(d: float) -> Body:
    """A disc without a hole."""
    solid = Solid((Round(d), Slab(Z, 0.07 * d)))
    return Body("coin", (solid,), _rings([(d, -0.07 * d), (d, 0.07 * d)]), d, 0.14 * d, 0.05 * d)


def ball(d: float) -> Body:
    """A bearing ball."""
    r = d / 2
    corners = np.array([[x, y, z] for x in (-r, r) for y in (-r, r) for z in (-r, r)])
    return Body("ball", (Solid((Ball((0.0, 0.0, 0.0), r),)),), corners, d, d, 0.02 * d)


def block(rng: np.random.Generator, d: float) -> Body:
    """A cuboid: a cube, an offcut, a bit of rubber."""
    a, b, c = d * rng.uniform(0.4, 1.1, 3) * np.array([1, 1, 0.6])
    corners = np.array([[x, y, z] for x in (-a, a) for y in (-b, b) for z in (-c, c)])
    solid = Solid((Slab(X, a), Slab(Y, b), Slab(Z, c)))
    return Body("block", (solid,), corners, d, 2 * c, 0.06 * d)


def rod(rng: np.random.Generator, d: float) -> Body:
    """A plain dowel pin with beveled ends."""
    r = d * rng.uniform(0.14, 0.3)
    half = d * rng.uniform(0.7, 1.8)
    solid = Solid((Round(r), Slab(Z, half), Round(r * 0.75 + half, -1.0), Round(r * 0.75 + half, 1.0)))
    return Body("rod", (solid,), _rings([(r, -half), (r, half)]), d, 2 * r, 0.04 * d)


def resting(body: Body, rng: np.random.Generator, *, face_down: bool = False) -> FloatArray:
    """A rotation (3, 3) in which the body lies on a plane, at a random heading."""
    base = np.eye(3)
    if body.kind in ("bolt", "rod"):
        base = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        if body.kind == "bolt" and rng.random() < 0.06:
            base = np.eye(3)
        else:
            # A lying bolt touches the plane with a flat of its head and with the end of its thread.
            low_head, low_tip = body.height / 2, body.diameter / 2 if body.kind == "bolt" else body.height / 2
            length = float(np.ptp(body.outline[:, 2]))
            base = turned("y", float(np.arctan2(low_head - low_tip, length))) @ base
    elif face_down:
        base = np.diag([1.0, -1.0, -1.0])
    elif body.kind == "ball":
        base = turned("x", rng.uniform(0, np.pi))
    return turned("z", rng.uniform(0, 2 * np.pi)) @ base


def turned(axis: Literal["x", "y", "z"], angle: float) -> FloatArray:
    """Rotation (3, 3) about a world axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _rings(circles: list[tuple[float, float]]) -> FloatArray:
    """Points around circles of (radius, z); slightly outside, so that their hull holds the disc."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.column_stack([np.cos(angles), np.sin(angles)]) / np.cos(np.pi / 24)
    return np.vstack([np.column_stack([rim * r, np.full(24, z)]) for r, z in circles])

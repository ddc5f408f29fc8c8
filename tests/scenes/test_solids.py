"""Where rays meet solids, against the inequalities that define the solids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.scenes import bodies
from edgecv.scenes.bodies import Body
from edgecv.scenes.solids import FAR, Ball, Round, Slab, Solid, first_hit
from edgecv.scenes.world import DEFECTS, stream

Z = (0.0, 0.0, 1.0)
SEEDS = st.integers(0, 1 << 32)

MAKERS: dict[str, Callable[[np.random.Generator], Body]] = {
    "nut up": lambda rng: bodies.nut(rng, 8.0, "up"),
    "nut down": lambda rng: bodies.nut(rng, 8.0, "down"),
    "chipped": lambda rng: bodies.with_defect(bodies.nut(rng, 8.0, "up"), "chipped", "up", rng),
    "deformed": lambda rng: bodies.with_defect(bodies.nut(rng, 8.0, "up"), "deformed", "up", rng),
    "bolt": lambda rng: bodies.bolt(rng, 6.0),
    "washer": lambda rng: bodies.washer(rng, 8.0),
    "coin": lambda rng: bodies.coin(9.0),
    "ball": lambda rng: bodies.ball(9.0),
    "block": lambda rng: bodies.block(rng, 9.0),
    "rod": lambda rng: bodies.rod(rng, 9.0),
}


def rays(rng: np.random.Generator, reach: float, count: int) -> tuple[NDArray, NDArray]:
    """Rays from a sphere of radius 2 reach towards points near the middle; float32 (3, count) each."""
    start = rng.normal(size=(3, count))
    start *= 2 * reach / np.linalg.norm(start, axis=0)
    aim = rng.uniform(-0.7, 0.7, (3, count)) * reach
    direction = (aim - start) * rng.uniform(0.2, 3, count)
    return start.astype(np.float32), direction.astype(np.float32)


def depth_inside(solids: tuple[Solid, ...], points: NDArray) -> NDArray:
    """How far inside the union a point is, at least; negative outside. In the definition's own terms."""
    depths = []
    for solid in solids:
        walls = [-region.distance(points) for region in solid.regions]
        walls += [np.max([region.distance(points) for region in cut], axis=0) for cut in solid.cuts]
        depths.append(np.min(walls, axis=0))
    return np.max(depths, axis=0)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=6)
@given(seed=SEEDS)
def test_the_hit_is_the_first_point_inside(name: str, seed: int) -> None:
    rng = stream(seed)
    body = MAKERS[name](rng)
    reach = float(np.linalg.norm(body.outline, axis=1).max())
    origin, direction = rays(rng, reach, 60)
    t, _ = first_hit(body.solids, origin, direction)
    hits = t < FAR / 2
    # The hit is on the surface.
    surface = origin[:, hits] + direction[:, hits] * t[hits]
    assert np.abs(depth_inside(body.solids, surface)).max(initial=0) < 1e-3 * reach
    # No sample before it is inside: brute force over the whole ray.
    length = 4 * reach / np.linalg.norm(direction, axis=0)
    for share in np.linspace(0, 1, 250, dtype=np.float32):
        at = share * length
        before = at < np.where(hits, t, np.inf) - 1e-3 * length
        points = origin + direction * at
        assert depth_inside(body.solids, points)[before].max(initial=-1) < 2e-3 * reach
    # Just behind the hit the ray is inside, unless it grazes.
    behind = surface + direction[:, hits] * (2e-3 * length[hits])
    assert hits.sum() == 0 or (depth_inside(body.solids, behind) > -2e-3 * reach).mean() > 0.9


@settings(max_examples=20)
@given(seed=SEEDS)
def test_contains_is_the_sign_of_the_depth(seed: int) -> None:
    rng = stream(seed)
    body = bodies.nut(rng, 8.0, "up")
    points = rng.uniform(-8, 8, (3, 300)).astype(np.float32)
    depth = depth_inside(body.solids, points)
    clear = np.abs(depth) > 1e-5
    np.testing.assert_array_equal(body.solids[0].contains(points)[clear], depth[clear] > 0)


@pytest.mark.parametrize("name", MAKERS)
def test_a_body_lies_inside_its_outline_box(name: str) -> None:
    rng = stream(5)
    for _ in range(20):
        body = MAKERS[name](rng)
        low, high = body.outline.min(axis=0), body.outline.max(axis=0)
        if body.deform is not None:
            continue
        points = rng.uniform(1.6 * low, 1.6 * high, (20000, 3)).T.astype(np.float32)
        inside = np.any([solid.contains(points) for solid in body.solids], axis=0)
        assert inside.sum() > 50
        found = points[:, inside]
        assert (found.min(axis=1) > low - 1e-3).all()
        assert (found.max(axis=1) < high + 1e-3).all()


CLOSED_FORM = {
    # solid, origin, direction, ray parameter
    "slab": (Solid((Slab(Z, 1.0),)), (0, 0, 5), (0, 0, -1), 4.0),
    "slab off center": (Solid((Slab(Z, 1.0, 2.0),)), (0, 0, 5), (0, 0, -1), 2.0),
    "slab from below": (Solid((Slab(Z, 1.0),)), (0, 0, -5), (0, 0, 2), 2.0),
    "cylinder": (Solid((Round(2.0),)), (5, 0, 0), (-1, 0, 0), 3.0),
    "cylinder missed": (Solid((Round(2.0),)), (5, 2.1, 0), (-1, 0, 0), None),
    "ellipse": (Solid((Round(2.0, 0.0, 1.25),)), (5, 0, 0), (-1, 0, 0), 2.5),
    "ball": (Solid((Ball((1.0, 0.0, 0.0), 1.0),)), (5, 0, 0), (-2, 0, 0), 1.5),
    "cone from the side": (Solid((Round(2.0, -1.0),)), (5, 0, 1), (-1, 0, 0), 4.0),
    "cone along the axis": (Solid((Round(2.0, -1.0),)), (0, 0, 9), (0, 0, -1), 7.0),
    "other half of the cone": (Solid((Round(2.0, -1.0),)), (5, 0, 4), (-1, 0, 0), None),
    "through the hole": (Solid((Slab(Z, 1.0), Round(3.0)), ((Round(1.0),),)), (0, 0, 5), (0, 0, -1), None),
    "onto the ring": (Solid((Slab(Z, 1.0), Round(3.0)), ((Round(1.0),),)), (2, 0, 5), (0, 0, -1), 4.0),
    "onto the far wall of the hole": (
        Solid((Slab(Z, 1.0), Round(3.0)), ((Round(1.0),),)), (-1, 0, 2), (1, 0, -1), 2.0,
    ),
    "a slot has ends": (
        Solid((Slab(Z, 1.0),), ((Slab((1.0, 0.0, 0.0), 1.0), Slab((0.0, 1.0, 0.0), 1.0)),)),
        (0, 3, 5), (0, 0, -1), 4.0,
    ),
    "a slot is open": (
        Solid((Slab(Z, 1.0),), ((Slab((1.0, 0.0, 0.0), 1.0), Slab((0.0, 1.0, 0.0), 1.0)),)),
        (0, 0.5, 5), (0, 0, -1), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_hits_that_are_known(name: str) -> None:
    solid, origin, direction, expected = CLOSED_FORM[name]
    start, towards = (np.array(v, np.float32)[:, None] for v in (origin, direction))
    found = float(solid.hit(start, towards)[0])
    assert found == (pytest.approx(expected, abs=1e-4) if expected is not None else float(FAR))


def test_what_is_behind_the_start_is_not_hit() -> None:
    solid = Solid((Ball((0.0, 0.0, 0.0), 1.0),))
    start, away = np.array([[0.0], [0], [3]], np.float32), np.array([[0.0], [0], [1]], np.float32)
    assert solid.hit(start, away)[0] == -4
    assert solid.hit(start, away, near=0.0)[0] == FAR
    assert solid.hit(np.zeros((3, 1), np.float32), away, near=0.0)[0] == 0


@pytest.mark.parametrize("name", ["nut up", "bolt", "washer", "ball"])
@settings(max_examples=15)
@given(seed=SEEDS)
def test_normals_are_unit_and_face_the_ray(name: str, seed: int) -> None:
    rng = stream(seed)
    body = MAKERS[name](rng)
    origin, direction = rays(rng, float(np.linalg.norm(body.outline, axis=1).max()), 60)
    t, which = first_hit(body.solids, origin, direction)
    hits = t < FAR / 2
    points = origin[:, hits] + direction[:, hits] * t[hits]
    for number, solid in enumerate(body.solids):
        own = which[hits] == number
        normals = solid.normals(points[:, own], 1e-3)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-4)
        towards = direction[:, hits][:, own] / np.linalg.norm(direction[:, hits][:, own], axis=0)
        assert ((normals * towards).sum(axis=0) < 0.15).all()


def test_edges_are_rounded_over_the_bevel() -> None:
    solid = Solid((Slab((1.0, 0.0, 0.0), 1.0), Slab(Z, 1.0)))
    corner = np.array([[1.0], [0.0], [1.0]], np.float32)
    np.testing.assert_allclose(solid.normals(corner, 0.1)[:, 0], [0.5**0.5, 0, 0.5**0.5], atol=1e-5)
    face = np.array([[0.5], [0.0], [1.0]], np.float32)
    np.testing.assert_allclose(solid.normals(face, 0.1)[:, 0], Z, atol=1e-6)


@pytest.mark.parametrize("defect", DEFECTS)
def test_defects_change_the_nut_as_they_say(defect: str) -> None:
    rng = stream(3)
    sound = bodies.nut(rng, 8.0, "up")
    faulty = bodies.with_defect(sound, defect, "up", stream(4))  # type: ignore[arg-type]
    points = stream(5).uniform(-8, 8, (3, 200000)).astype(np.float32)
    before, after = sound.solids[0].contains(points), faulty.solids[0].contains(points)
    if defect == "chipped":
        lost = before & ~after
        assert not (after & ~before).any()
        assert 0.002 < lost.sum() / before.sum() < 0.15
        assert (points[2, lost] > 0).mean() > 0.5
    else:
        np.testing.assert_array_equal(before, after)
    assert (faulty.crack is not None) == (defect == "cracked")
    assert (faulty.deform is not None) == (defect == "deformed")
    if faulty.deform is not None:
        np.testing.assert_allclose(faulty.deform, faulty.deform.T)
        assert 0.79 < np.linalg.eigvalsh(faulty.deform).min() < 0.9


@pytest.mark.parametrize("kind", ["bolt", "rod", "nut up", "washer"])
def test_bodies_rest_on_the_plane_without_sinking_in(kind: str) -> None:
    rng = stream(8)
    for _ in range(20):
        body = MAKERS[kind](rng)
        rotation = bodies.resting(body, rng)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        height = (body.outline @ rotation.T)[:, 2]
        # A thing that lies flat touches the plane at two places at least.
        assert (height < height.min() + 0.06 * np.ptp(body.outline)).sum() >= 2

"""A body's looks follow from its finish and its light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecv.scenes import bodies, finish
from edgecv.scenes.light import SIDE, Light, make_lamp, make_light
from edgecv.scenes.placed import Placed
from edgecv.scenes.render import Patch, render
from edgecv.scenes.shading import Hits, Shading
from edgecv.scenes.world import Camera, FloatArray, Pose, stream

DOWN = np.diag([1.0, -1.0, -1.0])
ALBEDO = (0.2, 0.3, 0.4)


def light(seed: int = 3) -> Light:
    rng = stream(seed)
    return make_light(rng, make_lamp(rng), np.full(3, 0.3))


def even_light(level: float) -> Light:
    """The same radiance from everywhere."""
    up = np.array([[0.0, 0, 1]])
    return Light(np.full((SIDE, SIDE, 3), level, np.float32), up, up, 0.5)


def plain(gloss: float = 0.0) -> finish.Finish:
    """A finish without noise: nothing but its albedo and its gloss."""
    dull = finish.dull(stream(1), ALBEDO, gloss, 0.1)
    return replace(dull, grooves=0.0, grain=0.0, stains=0.0, scratches=0.0)


def placed(body: bodies.Body, coat: finish.Finish, rotation: FloatArray | None = None) -> Placed:
    turn = np.eye(3) if rotation is None else rotation
    return Placed(body, Pose(turn, np.array([0.0, 0.0, 30.0])), coat)


def hits_on(points: FloatArray, normals: FloatArray) -> Hits:
    """Looked at along their normals."""
    n = np.asarray(normals, np.float32).T
    return Hits(np.asarray(points, np.float32).T, n, -n, np.zeros(n.shape[1], np.int8))


def test_under_even_light_a_dull_thing_has_its_albedo() -> None:
    top = hits_on(np.array([[0.5, 0.2, 3.0], [2.0, 1.0, 3.0]]), np.array([[0.0, 0, 1]] * 2))
    shading = Shading(placed(bodies.ball(8.0), plain()), even_light(2.0))
    np.testing.assert_allclose(shading.radiance(top), np.full((2, 3), 2.0) * ALBEDO, rtol=1e-4)


def test_gloss_adds_what_is_mirrored() -> None:
    top = hits_on(np.array([[0.5, 0.2, 3.0]]), np.array([[0.0, 0, 1]]))
    dull, shiny = (
        Shading(placed(bodies.ball(8.0), plain(gloss)), even_light(1.0)).radiance(top) for gloss in (0, 1.0)
    )
    np.testing.assert_allclose(shiny - dull, 0.04, atol=1e-4)


def test_a_bore_is_darker_than_the_face_around_it() -> None:
    body = bodies.washer(stream(2), 8.0)
    middle = body.bore * 1.02
    shading = Shading(placed(body, plain()), even_light(1.0))
    rim, wall = shading.radiance(
        hits_on(np.array([[middle, 0, 0.0], [middle, 0, -0.4]]), np.array([[0.0, 0, 1], [-1.0, 0, 0]]))
    )
    assert (wall < 0.95 * rim).all()


def test_hits_do_not_depend_on_each_other() -> None:
    rng = stream(5)
    normals = rng.normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    hits = hits_on(normals * 4, normals)
    coat = finish.metal(rng, "steel", 0.1, None)
    shading = Shading(
        placed(bodies.with_defect(bodies.nut(rng, 8.0, "up"), "cracked", "up", rng), coat), light()
    )
    keep = rng.random(200) < 0.4
    np.testing.assert_allclose(
        shading.radiance(hits.select(keep)), shading.radiance(hits)[keep], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("turn", [np.eye(3), DOWN], ids=["up", "down"])
def test_a_cracked_nut_is_darker_along_its_crack(turn: FloatArray) -> None:
    sound = bodies.nut(stream(4), 8.0, "up")
    cracked = bodies.with_defect(sound, "cracked", "up", stream(9))
    camera = Camera(np.array([[900.0, 0, 160], [0, 900, 160], [0, 0, 1]]), DOWN, np.array([0.0, 0, 120.0]))
    whole, broken = (
        render(placed(body, plain(), turn), camera, even_light(1.0)) for body in (sound, cracked)
    )
    np.testing.assert_array_equal(whole.coverage.values, broken.coverage.values)
    lost = whole.color.values.sum(axis=2) - broken.color.values.sum(axis=2)
    assert lost.min() > -1e-5
    assert 0.005 < (lost > 0.2).mean() < 0.2


def test_patches_know_what_they_share_with_the_picture() -> None:
    patch = Patch(-2, 3, np.zeros((5, 6), np.float32))
    assert patch.crop((10, 5)) == ((slice(3, 5), slice(0, 4)), (slice(0, 2), slice(2, 6)))
    assert patch.crop((10, 3)) is None

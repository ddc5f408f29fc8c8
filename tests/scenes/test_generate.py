"""Many pictures from one record: the seeds follow, and every picture is degraded as it says."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.scenes import BeltSpec, SceneSettings, SceneSpec, degrade, generate, make_belt, make_scene

SMALL = SceneSpec(size_wh=(160, 120), part_px=(16, 60))
SMALL_BELT = BeltSpec(size_wh=(160, 120))


def test_scenes_have_the_next_seeds() -> None:
    found = list(generate(SceneSettings(spec=SMALL, count=3, seed=7)))
    assert [scene.seed for scene in found] == [7, 8, 9]
    for scene in found:
        np.testing.assert_array_equal(scene.image, make_scene(scene.seed, SMALL).image)


def test_a_belt_is_one_belt() -> None:
    found = list(generate(SceneSettings(spec=SMALL_BELT, count=3, seed=7)))
    assert [scene.seed for scene in found] == [7, 7, 7]
    for scene, frame in zip(found, make_belt(7, 3, SMALL_BELT), strict=True):
        np.testing.assert_array_equal(scene.image, frame.image)


@pytest.mark.parametrize("spec", [SMALL, SMALL_BELT], ids=["scenes", "belt"])
def test_every_picture_is_degraded_with_noise_of_its_own(spec: SceneSpec | BeltSpec) -> None:
    plain = list(generate(SceneSettings(spec=spec, count=2, seed=3)))
    found = list(generate(SceneSettings(spec=spec, count=2, seed=3, light=0.5, blur=1.0, noise=6.0)))
    for index, (scene, before) in enumerate(zip(found, plain, strict=True)):
        expected = degrade(before.image, gain=0.5, blur=1.0, noise=6.0, seed=3 + index)
        np.testing.assert_array_equal(scene.image, expected)
        assert [part.xyxy for part in scene.parts] == [part.xyxy for part in before.parts]


def test_pictures_come_one_at_a_time() -> None:
    assert len(list(islice(generate(SceneSettings(spec=SMALL, count=10_000)), 1))) == 1


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({"count": 0}, "count: expected 1 to 10000 pictures of 320x320, got 0"),
    "too many": ({"count": 10_001}, "count: expected 1 to 10000"),
    "half": ({"count": 1.5}, "count: .*1.5"),
    "too many pixels": (
        {"count": 1025, "spec": SceneSpec(size_wh=(4096, 4096))},
        "count: expected 1 to 1024 pictures of 4096x4096",
    ),
    "seed": ({"seed": -1}, "seed: "),
    "last seed": ({"seed": (1 << 63) - 100}, "seed: expected a whole number from 0 to"),
    "broken seed": ({"seed": 1.5}, "seed: "),
    "light": ({"light": -1}, "light: expected a number from 0 to 16, got -1"),
    "blur": ({"blur": float("nan")}, "blur: "),
    "noise": ({"noise": 256}, "noise: "),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_settings_are_named(name: str) -> None:
    given, message = ERRORS[name]
    with pytest.raises(InputError, match=message):
        SceneSettings(**given)

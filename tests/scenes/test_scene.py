"""Generated scenes: the same every time, and true to what they say about themselves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv.errors import InputError, MissingExtraError
from edgecv.scenes import CLASSES, Scene, SceneSpec, make_scene
from edgecv.scenes import scene as making
from edgecv.scenes.compose import Drawn
from edgecv.scenes.world import MIN_VISIBLE

SPEC = SceneSpec(parts=(3, 12), defect_rate=0.3)
SEEDS = range(40, 52)


@pytest.fixture(scope="module")
def pictures() -> list[Scene]:
    return [make_scene(seed, SPEC) for seed in SEEDS]


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, list[Drawn]]]:
    """Scenes with the layers that they were put together from."""
    found = []
    whole = making.radiance

    def spy(layers: list[Drawn], *rest: Any) -> Any:
        found.append(layers)
        return whole(layers, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "radiance", spy)
        made = [make_scene(seed, SPEC) for seed in range(60, 66)]
    return list(zip(made, found, strict=True))


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_scene(pictures: list[Scene]) -> None:
    again = make_scene(SEEDS[0], SPEC)
    first = pictures[0]
    assert digest(again) == digest(first)
    assert len(again.parts) == len(first.parts) > 0
    for a, b in zip(again.parts, first.parts, strict=True):
        assert (a.class_id, a.face, a.defect, a.xyxy, a.visible) == (
            b.class_id,
            b.face,
            b.defect,
            b.xyxy,
            b.visible,
        )
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_array_equal(a.pose.rotation, b.pose.rotation)


def test_a_fresh_process_gives_the_same_bytes(pictures: list[Scene]) -> None:
    code = (
        "import hashlib; from edgecv.scenes import *;"
        f"s = make_scene({SEEDS[1]}, SceneSpec(parts=(3, 12), defect_rate=0.3));"
        "print(hashlib.sha256(s.image.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(pictures[1])


def test_seeds_differ(pictures: list[Scene]) -> None:
    assert len({digest(scene) for scene in pictures}) == len(pictures)


def test_a_scene_is_what_it_says(pictures: list[Scene]) -> None:
    for seed, scene in zip(SEEDS, pictures, strict=True):
        assert scene.seed == seed
        assert scene.image.shape == (320, 320, 3)
        assert scene.image.dtype == np.uint8
        assert scene.image.flags.c_contiguous
        assert scene.image.std() > 2
        total = np.zeros((320, 320), int)
        for part in scene.parts:
            assert part.name == CLASSES[part.class_id]
            assert (part.face is not None) == (part.name == "nut")
            assert part.defect is None or part.name == "nut"
            assert part.mask.dtype == bool
            assert part.xyxy == box_of(part.mask)
            assert MIN_VISIBLE <= part.visible <= 1
            ax1, ay1, ax2, ay2 = part.amodal_xyxy
            x1, y1, x2, y2 = part.xyxy
            assert ax1 <= x1 < x2 <= ax2
            assert ay1 <= y1 < y2 <= ay2
            assert 16 <= max(ax2 - ax1, ay2 - ay1) <= 160
            assert part.diameter_mm > 0
            np.testing.assert_allclose(part.pose.rotation @ part.pose.rotation.T, np.eye(3), atol=1e-9)
            total += part.mask
        assert total.max() <= 1


def test_all_kinds_occur(pictures: list[Scene]) -> None:
    parts = [part for scene in pictures for part in scene.parts]
    assert {part.name for part in parts} == set(CLASSES)
    assert {part.face for part in parts} == {None, "up", "down"}
    assert any(part.defect for part in parts)
    assert any(part.visible < 0.95 for part in parts)


def test_centers_project_into_the_boxes(pictures: list[Scene]) -> None:
    checked = 0
    for scene in pictures:
        for part in scene.parts:
            x, y = scene.camera.project(part.pose.translation_mm[None])[0]
            x1, y1, x2, y2 = part.amodal_xyxy
            assert x1 < x < x2
            assert y1 < y < y2
            checked += 1
    assert checked > 20


def test_visible_is_the_share_that_nothing_covers(drawn: list[tuple[Scene, list[Drawn]]]) -> None:
    checked = 0
    for scene, layers in drawn:
        parts = iter(scene.parts)
        for index, one in enumerate(layers):
            if not one.is_part:
                continue
            part = next(parts)
            # One pixel at a time would do the same: set down the part, then all that lies over it.
            canvas = np.zeros((960, 960), bool)
            for later in layers[index:]:
                patch = later.layer.coverage
                height, width = patch.values.shape
                y, x = patch.y + 320, patch.x + 320
                inside = patch.values >= 0.5
                canvas[y : y + height, x : x + width][inside] = later is one
            amodal = int((one.layer.coverage.values >= 0.5).sum())
            seen = canvas[320:640, 320:640]
            np.testing.assert_array_equal(seen, part.mask)
            assert part.visible == pytest.approx(seen.sum() / amodal)
            checked += part.visible < 1
    assert checked > 3


@pytest.mark.parametrize("name", CLASSES)
def test_masks_agree_with_the_solids(name: str, drawn: list[tuple[Scene, list[Drawn]]]) -> None:
    """Brute force: march along the ray of each pixel, and ask the inequalities at each step."""
    scene, one = next(
        (scene, one)
        for scene, layers in drawn
        for one in layers
        if one.is_part
        and one.item is not None
        and one.item.class_id == CLASSES.index(name)
        and 22 < max(one.layer.coverage.values.shape) < 60
    )
    assert one.item is not None
    body, pose, camera = one.item.placed.body, one.item.placed.pose, scene.camera
    patch = one.layer.coverage
    height, width = patch.values.shape
    x, y = np.meshgrid(patch.x + np.arange(width) + 0.5, patch.y + np.arange(height) + 0.5)
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    rays = camera.rotation.T @ np.linalg.inv(camera.matrix) @ pixels
    eye = -camera.rotation.T @ camera.translation_mm
    middle = float((camera.rotation @ pose.translation_mm + camera.translation_mm)[2])
    reach = float(np.linalg.norm(one.item.placed.body.outline, axis=1).max())
    to_body = np.linalg.inv(one.item.placed.to_world)
    hit = np.zeros(x.size, bool)
    for depth in np.linspace(middle - 1.2 * reach, middle + 1.2 * reach, 160):
        points = to_body @ (eye[:, None] + rays * depth - pose.translation_mm[:, None])
        for solid in body.solids:
            hit |= solid.contains(points.astype(np.float32))
    mask = patch.values >= 0.5
    wrong = (hit.reshape(height, width) != mask).sum()
    assert mask.sum() > 50
    # Along the silhouette a pixel's center and half of its area may disagree.
    edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).sum()
    assert wrong <= 0.15 * edge


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        (SceneSpec(parts=(0, 0)), 0),
        (SceneSpec(parts=(2, 2)), 2),
        (SceneSpec(parts=(6, 6), part_px=(30, 50)), 6),
        (SceneSpec(size_wh=(200, 120), parts=(3, 3), part_px=(20, 60)), 3),
        (SceneSpec(max_tilt_deg=0, clutter=0, sensor=False), 12),
        (SceneSpec(max_tilt_deg=45, clutter=6), 12),
        (SceneSpec(size_wh=(32, 32), part_px=(16, 24)), 12),
    ],
    ids=["none", "two", "sizes", "wide", "from above", "tilted and cluttered", "tiny"],
)
def test_the_spec_is_obeyed(spec: SceneSpec, most: int) -> None:
    for seed in range(3):
        scene = make_scene(seed, spec)
        assert scene.image.shape == (spec.size_wh[1], spec.size_wh[0], 3)
        assert len(scene.parts) <= most
        for part in scene.parts:
            x1, y1, x2, y2 = part.amodal_xyxy
            assert spec.part_px[0] <= max(x2 - x1, y2 - y1) <= spec.part_px[1]
        if spec.max_tilt_deg == 0:
            np.testing.assert_allclose(scene.camera.rotation[2], [0, 0, -1], atol=1e-12)


def test_the_wanted_number_is_placed_where_there_is_room() -> None:
    spec = SceneSpec(parts=(4, 4), part_px=(20, 40), clutter=0)
    assert [len(make_scene(seed, spec).parts) for seed in range(4)].count(4) >= 3


def test_defects_change_only_the_nuts() -> None:
    spec = SceneSpec(parts=(4, 6), part_px=(50, 110), clutter=0, sensor=False)
    seen = set()
    for seed in (1, 2, 5, 6, 9):
        sound, faulty = make_scene(seed, spec), make_scene(seed, replace(spec, defect_rate=1.0))
        assert all(part.defect for part in faulty.parts if part.name == "nut")
        assert not any(part.defect for part in sound.parts)
        changed = np.abs(sound.image.astype(int) - faulty.image).max(axis=2) > 6
        near = np.zeros_like(changed)
        for part in (*sound.parts, *faulty.parts):
            if part.name == "nut":
                x1, y1, x2, y2 = part.amodal_xyxy
                reach = 1.2 * max(x2 - x1, y2 - y1)  # a shadow falls beside its nut
                rows = slice(max(int(y1 - reach), 0), int(max(y2 + reach, 0)))
                near[rows, max(int(x1 - reach), 0) : int(max(x2 + reach, 0))] = True
        assert not (changed & ~near).any()
        for part in faulty.parts:
            if part.defect:
                assert changed[part.mask].any()
                seen.add(part.defect)
    assert len(seen) >= 2


def test_clutter_and_sensor_have_their_own_randomness() -> None:
    """What lies where does not depend on how it is photographed, nor on foreign objects beside it."""
    poses = [
        [tuple(part.pose.translation_mm) for part in make_scene(17, spec).parts]
        for spec in (SceneSpec(clutter=0), SceneSpec(clutter=0, sensor=False))
    ]
    assert poses[0] == poses[1] != []


ERRORS: dict[str, tuple[Any, str]] = {
    "no size": (lambda: SceneSpec(size_wh=(320,)), "size_wh: expected two numbers"),  # type: ignore[arg-type]
    "negative size": (lambda: SceneSpec(size_wh=(-1, 320)), "size_wh: .* from 32 to 4096"),
    "broken size": (lambda: SceneSpec(size_wh=(320.5, 320)), "size_wh: "),  # type: ignore[arg-type]
    "huge size": (lambda: SceneSpec(size_wh=(320, 5000)), "size_wh: "),
    "parts upside down": (lambda: SceneSpec(parts=(5, 2)), "parts: expected whole numbers"),
    "negative parts": (lambda: SceneSpec(parts=(-1, 2)), "parts: "),
    "parts of text": (lambda: SceneSpec(parts=("a", "b")), "parts: expected two numbers"),  # type: ignore[arg-type]
    "empty size range": (lambda: SceneSpec(part_px=(40, 40)), "part_px: "),
    "parts beyond the picture": (lambda: SceneSpec(size_wh=(100, 100)), "part_px: .*<= 100"),
    "parts too small": (lambda: SceneSpec(part_px=(2, 40)), "part_px: expected 8 <="),
    "part size nan": (lambda: SceneSpec(part_px=(float("nan"), 40)), "part_px: "),
    "tilt": (lambda: SceneSpec(max_tilt_deg=80), "max_tilt_deg: expected a number from 0 to 45, got 80"),
    "defects": (lambda: SceneSpec(defect_rate=1.5), "defect_rate: "),
    "clutter": (lambda: SceneSpec(clutter=-1), "clutter: "),
    "negative seed": (lambda: make_scene(-1), "seed: expected a whole number from 0"),
    "broken seed": (lambda: make_scene(1.5), "seed: "),  # type: ignore[arg-type]
    "true seed": (lambda: make_scene(True), "seed: "),
    "points": (lambda: make_scene(1).camera.project(np.zeros(3)), r"points_mm: expected shape \(n, 3\)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_arguments_are_named(name: str) -> None:
    call, message = ERRORS[name]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_without_opencv_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgecv\[opencv\]'$"):
        make_scene(1)

"""A belt moves, and nothing else does."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.scenes import BeltSpec, Part, make_belt
from edgecv.scenes.belt import Belt


def moved(part: Part) -> tuple[float, ...]:
    """What tells a part of a belt from the others, whatever the travel."""
    return (part.class_id, part.diameter_mm, *part.pose.translation_mm[1:], *part.pose.rotation.ravel())


def test_a_belt_moves_by_its_step() -> None:
    frames = list(make_belt(1, 3, BeltSpec(step_mm=7.5)))
    for before, after in pairwise(frames):
        np.testing.assert_array_equal(before.camera.rotation, after.camera.rotation)
        pairs = [(a, b) for a in before.parts for b in after.parts if moved(a) == moved(b)]
        assert len(pairs) >= 4
        for a, b in pairs:
            np.testing.assert_allclose(b.pose.translation_mm - a.pose.translation_mm, [7.5, 0, 0], atol=1e-9)
            if min(a.visible, b.visible) == 1:
                shift = np.subtract(b.xyxy, a.xyxy)
                centers = after.camera.project(np.stack([a.pose.translation_mm, b.pose.translation_mm]))
                np.testing.assert_allclose((shift[:2] + shift[2:]) / 2, centers[1] - centers[0], atol=2)


def test_the_texture_of_a_belt_moves_with_it() -> None:
    belt = Belt(1, BeltSpec((480, 360), 2.7))
    first, second = belt.frame(0), belt.frame(1)
    to_pixels = belt.camera.plane_to_pixels()
    travel = np.array([[1, 0, 2.7], [0, 1, 0], [0, 0, 1.0]])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    matrix = np.linalg.inv(half) @ to_pixels @ travel @ np.linalg.inv(to_pixels) @ half
    predicted = cv2.warpPerspective(first.image, matrix, (480, 360))
    ground = (
        cv2.warpPerspective(np.ones((360, 480), np.uint8), matrix, (480, 360), flags=cv2.INTER_NEAREST) > 0
    )
    for scene in (first, second):
        for part in scene.parts:
            x1, y1, x2, y2 = (int(v) for v in part.xyxy)
            ground[max(y1 - 25, 0) : y2 + 25, max(x1 - 25, 0) : x2 + 25] = False
    assert ground.sum() > 2000

    def likeness(image: np.ndarray) -> float:
        a, b = (i.mean(axis=2)[ground] for i in (image, second.image))
        return float(np.corrcoef(a, b)[0, 1])

    assert likeness(predicted) > 0.8
    assert likeness(predicted) > likeness(first.image) + 0.1


def test_a_frame_does_not_depend_on_those_before() -> None:
    alone = Belt(4, BeltSpec((320, 240))).frame(3)
    last = list(make_belt(4, 4, BeltSpec((320, 240))))[-1]
    assert alone.image.tobytes() == last.image.tobytes()
    assert [part.xyxy for part in alone.parts] == [part.xyxy for part in last.parts]


def test_only_noise_changes_where_a_belt_stands_still() -> None:
    first, second = make_belt(2, 2, BeltSpec((320, 240), 0.0))
    difference = first.image.astype(int) - second.image
    assert difference.any()
    assert np.abs(difference).mean() < 8
    assert abs(difference.mean()) < 0.3


def test_parts_of_a_belt_enter_and_leave() -> None:
    seen = [
        {moved(part): part.visible for part in scene.parts}
        for scene in make_belt(1, 4, BeltSpec((320, 240), 25.0))
    ]
    assert set(seen[0]) - set(seen[-1])
    assert set(seen[-1]) - set(seen[0])
    assert all(share > 0 for frame in seen for share in frame.values())


def test_no_frames_is_an_empty_belt() -> None:
    assert list(make_belt(1, 0)) == []


ERRORS: dict[str, tuple[Any, str]] = {
    "seed": (lambda: make_belt(-1, 3), "seed: "),
    "negative frames": (lambda: make_belt(1, -3), "frames: "),
    "size": (lambda: BeltSpec((0, 0)), "size_wh: "),
    "step": (lambda: BeltSpec(step_mm=-1), "step_mm: "),
    "defects": (lambda: BeltSpec(defect_rate=float("nan")), "defect_rate: "),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_arguments_are_named(name: str) -> None:
    call, message = ERRORS[name]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)

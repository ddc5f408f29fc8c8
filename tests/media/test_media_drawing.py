from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.masks import Masks
from edgecv.media import class_color, draw, draw_classes
from edgecv.media.drawing import _ascii, _text_color
from edgecv.types import Classification, Detections

GRAY = 100


def canvas(width: int = 320, height: int = 240) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def detections(*boxes: tuple[float, float, float, float], **columns: Any) -> Detections:
    n = len(boxes)
    values: dict[str, Any] = {
        "confidence": np.linspace(0.9, 0.5, n).astype(np.float32),
        "class_id": np.arange(n, dtype=np.int32),
        "names": ("person", "bicycle", "car"),
        **columns,
    }
    return Detections(xyxy=np.array(boxes, np.float32).reshape(n, 4), **values)


def masks(*objects: np.ndarray, corner_xy: Any = (0, 0), frame_wh: tuple[int, int] = (320, 240)) -> Masks:
    """Crops that begin at one place."""
    corners = np.tile(np.array(corner_xy, np.int32), (len(objects), 1))
    return Masks(tuple(np.asarray(crop, bool) for crop in objects), corners, frame_wh)


def changed(drawn: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """bool (H, W): pixels that differ from the canvas."""
    before = canvas(drawn.shape[1], drawn.shape[0]) if before is None else before
    return np.asarray((drawn != before).any(axis=2))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what is set; the last ones exclusive."""
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def label_bounds(box: tuple[float, float, float, float], **columns: Any) -> tuple[int, int, int, int]:
    found = detections(box, **columns)
    return bounds(changed(draw(canvas(), found), draw(canvas(), found, labels=False)))


@pytest.mark.parametrize("thickness", [1, 2, 5])
def test_a_box_is_its_edges_and_a_dark_line_around(thickness: int) -> None:
    drawn = draw(canvas(), detections((50, 60, 150, 160)), labels=False, thickness=thickness)
    half = thickness // 2
    expected = canvas()
    expected[60 - half - 1 : 160 + half + 1, 50 - half - 1 : 150 + half + 1] = GRAY // 2
    expected[60 - half : 160 + half, 50 - half : 150 + half] = class_color(0)
    inner = thickness - half
    expected[60 + inner : 160 - inner, 50 + inner : 150 - inner] = GRAY
    np.testing.assert_array_equal(drawn, expected)


def test_coordinates_are_pixel_edges() -> None:
    """A box from 10 to 20 covers pixels 10 to 19; a fraction covers the pixel that it is part of."""
    for box in ((10, 10, 20, 20), (10.2, 10.9, 19.1, 19.999)):
        drawn = draw(canvas(), detections(box), labels=False, thickness=1)
        colored = (drawn == np.array(class_color(0), np.uint8)).all(axis=2)
        assert bounds(colored) == (10, 10, 20, 20)


def test_frame_is_not_changed_unless_asked() -> None:
    frame = canvas()
    frame.flags.writeable = False
    drawn = draw(frame, detections((50, 60, 150, 160)))
    assert (frame == GRAY).all()
    assert drawn is not frame
    writable = canvas()
    assert draw(writable, detections((50, 60, 150, 160)), copy=False) is writable
    np.testing.assert_array_equal(writable, drawn)


def test_strided_frames_are_copied() -> None:
    wide = canvas(640, 480)
    drawn = draw(wide[::-2, ::2, ::-1], detections((50, 60, 150, 160)))
    np.testing.assert_array_equal(drawn, draw(canvas(), detections((50, 60, 150, 160))))


def test_nothing_found_changes_nothing() -> None:
    assert not changed(draw(canvas(), detections())).any()


@given(
    box=st.tuples(*[st.floats(-50, 370, width=32)] * 4),
    thickness=st.integers(1, 9),
)
def test_only_the_edges_of_the_box_change(box: tuple[float, float, float, float], thickness: int) -> None:
    drawn = changed(draw(canvas(), detections(box), labels=False, thickness=thickness))
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        assert not drawn.any()
        return
    y, x = np.mgrid[0:240, 0:320] + 0.5
    reach = thickness // 2 + 2
    outside = (x < x0 - reach) | (x > x1 + reach) | (y < y0 - reach) | (y > y1 + reach)
    far = thickness + 1
    inside = (x > x0 + far) & (x < x1 - far) & (y > y0 + far) & (y < y1 - far)
    assert not drawn[outside | inside].any()
    if x1 > 0 and y1 > 0 and x0 < 320 and y0 < 240 and not (x0 < -9 and y0 < -9 and x1 > 329 and y1 > 249):
        assert drawn.any()


ODD = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.0, 1.0, 4.9, 5.0, 1e9, -1e9]


@given(
    box=st.tuples(*[st.sampled_from(ODD)] * 4),
    point=st.tuples(*[st.sampled_from(ODD)] * 3),
    oriented=st.none() | st.tuples(*[st.sampled_from(ODD)] * 5),
    points=st.sampled_from([1, 17]),
    size_wh=st.sampled_from([(1, 1), (5, 1), (1, 5), (5, 5), (40, 20), (320, 240)]),
    confidence=st.sampled_from([0.5, float("nan")]),
)
def test_odd_boxes_and_points_never_crash(
    box: tuple[float, float, float, float],
    point: tuple[float, float, float],
    oriented: tuple[float, ...] | None,
    points: int,
    size_wh: tuple[int, int],
    confidence: float,
) -> None:
    found = detections(
        box,
        (1, 1, 3, 3),
        confidence=np.array([confidence, 0.4], np.float32),
        keypoints=np.array([[point] * points, [(2, 3, 0.9)] * points], np.float32),
        tracker_id=np.array([3, 4], np.int32),
        class_id=np.array([-1, 10**6], np.int32),
        masks=masks(np.ones(size_wh[::-1]), np.ones((0, 1)), frame_wh=size_wh),
        xywhr=None if oriented is None else np.array([oriented, (2, 2, 4, 2, 1)], np.float32),
    )
    drawn = draw(canvas(*size_wh), found)
    assert drawn.shape == (size_wh[1], size_wh[0], 3)


@pytest.mark.parametrize("size_wh", [(0, 5), (5, 0)])
def test_an_empty_frame_stays_empty(size_wh: tuple[int, int]) -> None:
    assert draw(canvas(*size_wh), detections((1, 1, 3, 3))).size == 0


@pytest.mark.parametrize(
    ("box", "place"),
    [
        pytest.param((100, 100, 200, 200), "above", id="middle"),
        pytest.param((100, 0, 200, 200), "inside", id="top edge"),
        pytest.param((290, 100, 320, 200), "above", id="right edge"),
        pytest.param((-40, -40, 360, 280), "inside", id="larger than the picture"),
        pytest.param((100, 230, 200, 240), "above", id="bottom edge"),
    ],
)
def test_labels_keep_inside_the_picture(box: tuple[float, float, float, float], place: str) -> None:
    x0, y0, x1, y1 = label_bounds(box)
    assert 0 <= x0 < x1 <= 320
    assert 0 <= y0 < y1 <= 240
    assert x1 - x0 >= 45
    assert 12 <= y1 - y0 <= 20
    assert y1 <= box[1] + 1 if place == "above" else y0 >= max(box[1] - 1, 0)
    # Where the label lies on the line of the box, both have one color.
    assert abs(x0 - max(0, min(box[0] - 1, 320 - (x1 - x0)))) <= 3


def test_labels_of_one_place_do_not_hide_one_another() -> None:
    box = (100.0, 60.0, 180.0, 160.0)
    labels = [label_bounds(box, class_id=np.array([i], np.int32)) for i in range(3)]
    found = detections(box, box, box)
    both = changed(draw(canvas(), found), draw(canvas(), found, labels=False))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in labels]
    # A third label lies on the edge of the box, where its color and the canvas may agree.
    assert both.sum() > 0.9 * sum(areas)


def test_the_most_confident_object_lies_on_top() -> None:
    boxes = ((50, 50, 100, 100), (50, 50, 100, 100))
    drawn = draw(canvas(), detections(*boxes), labels=False)
    np.testing.assert_array_equal(drawn[49, 60], class_color(0))


@pytest.mark.parametrize("size_wh", [(160, 120), (320, 240), (1280, 720), (1920, 1080), (3840, 2160)])
def test_lines_and_text_grow_with_the_picture(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    box = (0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height)
    found = detections(box)
    plain = draw(canvas(*size_wh), found, labels=False)
    line = int((plain[: height // 2, width // 2] == np.array(class_color(0), np.uint8)).all(axis=1).sum())
    _, y0, _, y1 = bounds(changed(draw(canvas(*size_wh), found), plain))
    side = (width * height) ** 0.5
    assert line == pytest.approx(1.2 + side / 480, abs=0.6)
    assert max(12, 0.016 * side) <= y1 - y0 <= max(20, 0.032 * side)


@pytest.mark.parametrize("class_id", range(80))
def test_label_text_is_readable(class_id: int) -> None:
    """WCAG 2 asks for a contrast of 4.5 for text."""

    def luminance(color: tuple[int, int, int]) -> float:
        linear = [(v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4) for v in color]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    background = class_color(class_id)
    levels = sorted([luminance(background), luminance(_text_color(background))])
    assert (levels[1] + 0.05) / (levels[0] + 0.05) >= 4.5


def test_labels_can_be_left_out_and_carry_the_tracker() -> None:
    box = (100.0, 100.0, 200.0, 200.0)
    x0, _, x1, _ = label_bounds(box)
    tracked = label_bounds(box, tracker_id=np.array([1234567], np.int32))
    assert tracked[2] - tracked[0] > x1 - x0 + 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("person 0.87", "person 0.87"),
        ("café Ångström", "cafe Angstrom"),
        ("日本", "??"),
        ("a\nb\tc\0", "a?b?c?"),
        ("ﬁle ½", "file 1?2"),
    ],
)
def test_text_becomes_ascii(text: str, expected: str) -> None:
    assert _ascii(text) == expected


def test_a_label_that_is_too_long_is_cut() -> None:
    x0, _, x1, _ = label_bounds((100, 100, 200, 200), names=("very " * 40,))
    assert 300 <= x1 - x0 <= 320
    assert x0 >= 0


def test_keypoints() -> None:
    sure = [[60, 70], [80.5, 90.5], [np.nan, 5], [-500, 5], [319, 239]]
    points = np.array([[[*xy, 0.5] for xy in sure] + [[150, 150, 0.49], [150, 150, np.nan]]], np.float32)
    drawn = draw(canvas(), detections((50, 60, 51, 61), keypoints=points), labels=False)
    for x, y in ((60, 70), (80, 90), (319, 239)):
        np.testing.assert_array_equal(drawn[y, x], class_color(0))
    assert not changed(drawn)[100:200].any()


def test_limbs_of_persons() -> None:
    """COCO's wrists hang on the elbows, and these on the shoulders; what is unsure takes its limb along."""
    points = np.zeros((1, 17, 3), np.float32)
    shoulder, elbow, wrist = 5, 7, 9
    points[0, [shoulder, elbow, wrist]] = [[100, 50, 0.9], [200, 50, 0.9], [200, 150, 0.9]]
    drawn = draw(canvas(), detections((0, 0, 1, 1), keypoints=points), labels=False)
    for x, y in ((150, 50), (200, 100)):
        np.testing.assert_array_equal(drawn[y, x], class_color(0))
    points[0, wrist, 2] = 0.2
    drawn = draw(canvas(), detections((0, 0, 1, 1), keypoints=points), labels=False)
    np.testing.assert_array_equal(drawn[50, 150], class_color(0))
    assert not changed(drawn)[90:].any()
    drawn = draw(canvas(), detections((0, 0, 1, 1), keypoints=points[:, 5:10]), labels=False)
    assert not changed(drawn)[30:70, 110:190].any(), "five points of a face are dots"


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_oriented_boxes_are_their_edges(angle: float) -> None:
    xywhr = np.array([[160, 120, 120, 40, angle]], np.float32)
    drawn = draw(canvas(), detections((90, 50, 230, 190), xywhr=xywhr), labels=False, thickness=3)
    y, x = np.mgrid[0:240, 0:320] + 0.5
    along = np.abs((x - 160) * np.cos(angle) + (y - 120) * np.sin(angle))
    across = np.abs((y - 120) * np.cos(angle) - (x - 160) * np.sin(angle))
    distance = np.maximum(along - 60, across - 20)
    np.testing.assert_array_equal(
        drawn[np.abs(distance) < 0.5], np.broadcast_to(class_color(0), ((np.abs(distance) < 0.5).sum(), 3))
    )
    assert not changed(drawn)[np.abs(distance) > 5].any(), "and nothing of the box around it"


def test_masks_are_blended_inside_only() -> None:
    crop = np.ones((20, 30), bool)
    crop[5:10, 8:20] = False
    where = np.zeros((240, 320), bool)
    where[100:120, 200:230] = crop
    found = detections((0, 0, 0, 0), masks=masks(crop, corner_xy=(200, 100)))
    drawn = draw(canvas(), found, labels=False)
    expected = np.rint(GRAY * 0.55 + np.array(class_color(0)) * 0.45)
    np.testing.assert_array_equal(drawn[where], np.broadcast_to(expected, (where.sum(), 3)))
    changed_outside = changed(drawn) & ~where
    assert not changed_outside[5:].any()


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        pytest.param(canvas()[:, :, 0], {}, "frame: expected uint8", id="gray"),
        pytest.param(canvas().astype(np.float32), {}, "frame: expected uint8", id="float"),
        pytest.param(canvas()[:, ::2], {"copy": False}, "expected a writable, C-contiguous", id="strided"),
        pytest.param(
            canvas(), {"thickness": 0}, "thickness: expected at least 1 pixel, got 0", id="thickness"
        ),
        pytest.param(canvas(64, 48), {}, r"masks: expected those of a frame of \(64, 48\)", id="masks"),
    ],
)
def test_wrong_arguments(frame: np.ndarray, options: dict[str, Any], message: str) -> None:
    found = detections((1, 1, 9, 9), masks=masks(np.ones((240, 320))))
    with pytest.raises(InputError, match=message):
        draw(frame, found, **options)


def test_every_class_of_coco_has_its_own_color() -> None:
    assert len({class_color(i) for i in range(80)}) == 80
    assert class_color(3) == class_color(3)
    assert all(0 <= value <= 255 for i in (-1, -100, 10**9) for value in class_color(i))


# Severity 1.0 of Machado, Oliveira and Fernandes 2009, over linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]
    ],
}  # fmt: skip


def oklab(linear: np.ndarray) -> np.ndarray:
    cones = linear @ np.array(
        [[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376],
         [0.0514459929, 0.1073969566, 0.6299787005]]
    )  # fmt: skip
    return np.asarray(
        np.cbrt(cones)
        @ [[0.2104542553, 1.9779984951, 0.0259040371], [0.793617785, -2.428592205, 0.7827717662],
           [-0.0040720468, 0.4505937099, -0.808675766]]
    )  # fmt: skip


@pytest.mark.parametrize("vision", VISIONS)
def test_colors_differ_for_every_kind_of_vision(vision: str) -> None:
    rgb = np.array([class_color(i)[::-1] for i in range(16)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1))
    distances = {
        (a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(range(16), 2)
    }
    # 0.02 is about the smallest difference that is noticed side by side.
    assert min(d for (a, b), d in distances.items() if b < 8) >= 0.11
    assert min(distances.values()) >= 0.06


def classes(*names: str) -> Classification:
    n = len(names)
    confidence = np.linspace(0.9, 0.5, n).astype(np.float32)
    return Classification(np.arange(n, dtype=np.int32), confidence, names=names)


def test_classes_lie_one_below_the_other_best_first() -> None:
    one = bounds(changed(draw_classes(canvas(), classes("cat"))))
    assert one[:2] == (0, 0)
    two = bounds(changed(draw_classes(canvas(), classes("cat", "a longer name"))))
    assert two[:2] == (0, 0)
    assert two[2] > one[2]
    assert two[3] == 2 * one[3]
    drawn = draw_classes(canvas(), classes("cat", "dog"))
    assert drawn[0, 0].tolist() == list(class_color(0))
    assert drawn[one[3], 0].tolist() == list(class_color(1))


@pytest.mark.parametrize("size_wh", [(1, 1), (320, 3), (5, 240), (60, 30), (0, 0)], ids=str)
def test_classes_that_have_no_room_are_left_out(size_wh: tuple[int, int]) -> None:
    before = canvas(*size_wh)
    drawn = draw_classes(before, classes(*["a name that is long"] * 30))
    assert drawn.shape == before.shape
    assert (drawn != before).any() == (size_wh == (60, 30))


def test_no_classes_change_nothing_and_the_frame_stays_ours() -> None:
    before = canvas()
    assert (draw_classes(before, classes()) == before).all()
    draw_classes(before, classes("cat"))
    assert (before == GRAY).all()
    assert draw_classes(before, classes("cat"), copy=False) is before
    assert (before != GRAY).any()
    with pytest.raises(InputError, match="uint8"):
        draw_classes(before.astype(np.float32), classes("cat"))

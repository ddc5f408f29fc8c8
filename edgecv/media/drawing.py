"""Results drawn into a picture."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

import numpy as np

from edgecv.errors import InputError
from edgecv.frame import Frame
from edgecv.masks import Masks
from edgecv.media._cv2 import require_cv2
from edgecv.media.items import Picture
from edgecv.types import Classification, Detections, corners

Color = tuple[int, int, int]
"""Blue, green, red; 0 to 255."""

_PALETTE_RGB = (
    0xFF8C00, 0x1D9AFE, 0x1EFFB6, 0xD0E600, 0xFA1425, 0xE0A4CF, 0x8842DE, 0x008D64,
    0xCC66CC, 0x99CC80, 0x33CCFF, 0xAD2FB6, 0xE95476, 0xA7FF86, 0x67812F, 0x996699,
)  # fmt: skip
_MASK_OPACITY = 0.45
_LONGEST_NAME = 120
# Keypoints of less confidence are left out.
_LEAST_CONFIDENCE = 0.5
# Which of the 17 keypoints of COCO's persons are joined: the data set's own skeleton, counted from 0.
_SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
_SKELETON_POINTS = 17
# Fractions of a pixel that OpenCV draws by, as bits; coordinates under a million pixels fit with them.
_SHIFT = 4
_FARTHEST = 1e6
_DARK: Color = (0, 0, 0)
_LIGHT: Color = (255, 255, 255)


def class_color(class_id: int) -> Color:
    """The color of a class, the same in every picture; distinct for ids 0 to 79.

    The first 16 are far apart also for viewers with protanopia, deuteranopia or tritanopia (chosen
    by their distances in OKLab, Ottosson 2020, as each of them sees it after Machado et al. 2009);
    further ids are lighter and darker variants of them.
    """
    shade, base = divmod(class_id, len(_PALETTE_RGB))
    # Shifted, so that a variant is not 16 ids from its own base: COCO's person and dog would be.
    rgb = _PALETTE_RGB[(base + 4 * shade) % len(_PALETTE_RGB)]
    blue, green, red = rgb & 0xFF, rgb >> 8 & 0xFF, rgb >> 16
    toward, amount = ((0, 0.0), (255, 0.35), (0, 0.3), (255, 0.6), (0, 0.5))[shade % 5]
    return (
        round(blue + (toward - blue) * amount),
        round(green + (toward - green) * amount),
        round(red + (toward - red) * amount),
    )


def draw(
    frame: Picture | Frame,
    detections: Detections,
    *,
    thickness: int | None = None,
    labels: bool = True,
    copy: bool = True,
) -> Picture:
    """Draws boxes, labels ("person 0.87", with "#7" for a tracker id), keypoints and masks.

    Oriented boxes are drawn in place of the boxes around them. Keypoints of confidence under 0.5 are left
    out; 17 of them are taken for COCO's persons and joined as limbs, others are dots.

    Line width and text grow with the picture. The most confident object lies on top; labels keep
    inside the picture and off one another where there is room. Text other than ASCII becomes its
    nearest ASCII, or "?". What is not finite is left out; what lies outside the picture is cut.

    frame: uint8 (H, W, 3), BGR, or an `edgecv.Frame`, which is converted. thickness: of lines, pixels; None
    derives it from the picture's size.
    copy: False draws into `frame`, which must be writable and C-contiguous, and returns it.
    """
    if thickness is not None and thickness < 1:
        raise InputError(f"thickness: expected at least 1 pixel, got {thickness}")
    frame = _canvas(frame, copy)
    if not frame.size or not len(detections):
        return frame
    side = math.sqrt(frame.shape[0] * frame.shape[1])
    width = thickness if thickness is not None else max(1, round(1.2 + side / 480))
    worst_first = np.argsort(detections.confidence, kind="stable")
    if detections.masks is not None:
        _check_masks(frame, detections.masks)
        for i in worst_first:
            _blend(frame, detections.masks, i, class_color(int(detections.class_id[i])))
    boxes = {int(i): box for i in worst_first if (box := _pixel_box(detections.xyxy[i], frame)) is not None}
    for i, box in boxes.items():
        color = class_color(int(detections.class_id[i]))
        if detections.xywhr is None:
            _draw_box(frame, box, color, width)
        else:
            _draw_oriented(frame, detections.xywhr[i : i + 1], color, _line_width(box, width))
    if detections.keypoints is not None:
        for i in worst_first:
            _draw_keypoints(frame, detections.keypoints[i], class_color(int(detections.class_id[i])), width)
    if labels:
        placed: list[_Chip] = []
        for i, box in reversed(boxes.items()):
            color = class_color(int(detections.class_id[i]))
            chip = _place_label(frame, _outer(box, width), _label(detections, i), color, side, placed)
            if chip is not None:
                placed.append(chip)
        for chip in reversed(placed):
            _draw_chip(frame, chip)
    return frame


def draw_classes(frame: Picture | Frame, found: Classification, *, copy: bool = True) -> Picture:
    """Draws the classes of a frame ("tabby cat 0.87") into its left top corner, best first.

    What has no room below the others is left out. frame, copy, and what becomes of other text than
    ASCII: as for `draw`.
    """
    frame = _canvas(frame, copy)
    side = math.sqrt(frame.shape[0] * frame.shape[1])
    top = 0
    for confidence, class_id in found if frame.size else ():
        text = _fit(frame, _ascii(f"{found.class_name(class_id)[:_LONGEST_NAME]} {confidence:.2f}"), side)
        if text is None or top + text.height > frame.shape[0]:
            break
        box = _Box(0, top, text.width, top + text.height)
        _draw_chip(frame, _Chip(box, class_color(class_id), text))
        top = box.y1
    return frame


def _canvas(frame: Picture | Frame, copy: bool) -> Picture:
    """What to draw into. Raises InputError where that cannot be."""
    if isinstance(frame, Frame):
        if not copy:
            raise InputError("frame: expected uint8 (H, W, 3) BGR to draw into, got YUV; or use copy=True")
        return frame.bgr()
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(f"frame: expected uint8 (H, W, 3) BGR, got {frame.dtype} {frame.shape}")
    if copy:
        return np.array(frame, order="C")
    if not (frame.flags.c_contiguous and frame.flags.writeable):
        raise InputError("frame: expected a writable, C-contiguous array to draw into; or use copy=True")
    return frame


@dataclass(frozen=True)
class _Box:
    """Pixels x0 to x1 - 1 and y0 to y1 - 1; may reach out of the picture."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class _Text:
    """A text as it is to be drawn: its size with the padding around it, pixels, and its font's."""

    content: str
    width: int
    height: int
    padding: int
    scale: float
    stroke: int


@dataclass(frozen=True)
class _Chip:
    """A label: its rectangle inside the picture, its color, and its text."""

    box: _Box
    color: Color
    text: _Text


def _pixel_box(xyxy: np.ndarray, frame: Picture) -> _Box | None:
    """The pixels that a box covers at least in part; None for what cannot be seen."""
    if not np.isfinite(xyxy).all():
        return None
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = (float(value) for value in xyxy)
    if x1 < x0 or y1 < y0 or x1 < 0 or y1 < 0 or x0 > width or y0 > height:
        return None
    # Far outside, one edge is like another: integers stay small.
    left, top = math.floor(max(x0, -width)), math.floor(max(y0, -height))
    right, bottom = math.ceil(min(x1, 2 * width)), math.ceil(min(y1, 2 * height))
    return _Box(left, top, max(right, left + 1), max(bottom, top + 1))


def _fill(frame: Picture, x0: int, y0: int, x1: int, y1: int, color: Color | None) -> None:
    """Fills a rectangle, cut to the picture, with a color, or darkens it."""
    area = frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    area[...] = area // 2 if color is None else color


def _draw_box(frame: Picture, box: _Box, color: Color, width: int) -> None:
    """Draws the four edges; around them, a line of one darkened pixel sets them off."""
    outer = _outer(box, width)
    width = _line_width(box, width)
    _edges(frame, _Box(outer.x0 - 1, outer.y0 - 1, outer.x1 + 1, outer.y1 + 1), 1, None)
    _edges(frame, outer, width, color)


def _line_width(box: _Box, width: int) -> int:
    """A small box gets a thinner line, so that its content stays visible."""
    return min(width, max(1, min(box.x1 - box.x0, box.y1 - box.y0) // 6))


def _outer(box: _Box, width: int) -> _Box:
    """A box with the half of its line that lies outside."""
    half = _line_width(box, width) // 2
    return _Box(box.x0 - half, box.y0 - half, box.x1 + half, box.y1 + half)


def _edges(frame: Picture, box: _Box, width: int, color: Color | None) -> None:
    _fill(frame, box.x0, box.y0, box.x1, box.y0 + width, color)
    _fill(frame, box.x0, box.y1 - width, box.x1, box.y1, color)
    _fill(frame, box.x0, box.y0 + width, box.x0 + width, box.y1 - width, color)
    _fill(frame, box.x1 - width, box.y0 + width, box.x1, box.y1 - width, color)


def _check_masks(frame: Picture, masks: Masks) -> None:
    height, width = frame.shape[:2]
    if masks.frame_wh != (width, height):
        raise InputError(
            f"masks: expected those of a frame of {(width, height)} pixels, got {masks.frame_wh}"
        )


def _blend(frame: Picture, masks: Masks, i: int, color: Color) -> None:
    crop, (x, y) = masks.crops[i], masks.corner_xy[i]
    area = frame[y : y + crop.shape[0], x : x + crop.shape[1]]
    mixed = area[crop] * (1 - _MASK_OPACITY) + np.array(color) * _MASK_OPACITY
    area[crop] = np.rint(mixed).astype(np.uint8)


def _draw_oriented(frame: Picture, xywhr: np.ndarray, color: Color, width: int) -> None:
    """Draws the four edges of one oriented box, (1, 5); around them, a thin dark line sets them off."""
    places = corners(xywhr)[0]
    if not _is_near(places).all():
        return
    cv2 = require_cv2()
    # OpenCV counts from the center of the first pixel.
    points = np.rint((places - 0.5) * (1 << _SHIFT)).astype(np.int32)
    for line, line_color in ((width + 2, _DARK), (width, color)):
        cv2.polylines(frame, [points], True, line_color, line, cv2.LINE_AA, _SHIFT)


def _is_near(points: np.ndarray) -> np.ndarray:
    """Of points (..., 2) which have coordinates that OpenCV can draw by."""
    return np.asarray((np.abs(points) < _FARTHEST).all(axis=-1))


def _draw_keypoints(frame: Picture, points: np.ndarray, color: Color, width: int) -> None:
    """points: (k, 3), pixels and confidence."""
    cv2 = require_cv2()
    height, frame_width = frame.shape[:2]
    radius = width + 1
    is_shown = (points[:, 2] >= _LEAST_CONFIDENCE) & _is_near(points[:, :2])
    centers = np.floor(np.where(is_shown[:, None], points[:, :2], 0)).astype(int).tolist()
    limbs = _SKELETON if len(points) == _SKELETON_POINTS else ()
    for a, b in limbs:
        if is_shown[a] and is_shown[b]:
            cv2.line(frame, centers[a], centers[b], color, width, cv2.LINE_AA)
    for (x, y), shown in zip(centers, is_shown, strict=True):
        if shown and -radius < x < frame_width + radius and -radius < y < height + radius:
            cv2.circle(frame, (x, y), radius + 1, _text_color(color), -1, cv2.LINE_AA)
            cv2.circle(frame, (x, y), radius, color, -1, cv2.LINE_AA)


def _label(detections: Detections, i: int) -> str:
    name = detections.class_name(int(detections.class_id[i]))
    number = f"#{int(detections.tracker_id[i])} " if detections.tracker_id is not None else ""
    return _ascii(f"{number}{name[:_LONGEST_NAME]} {float(detections.confidence[i]):.2f}")


def _ascii(text: str) -> str:
    """OpenCV's fonts are sure to have ASCII only."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def _place_label(
    frame: Picture, box: _Box, content: str, color: Color, side: float, placed: list[_Chip]
) -> _Chip | None:
    """The label above the box, inside its top, or below it: the first place that is free, else the one
    with least overlap. None where the picture is too small for text."""
    text = _fit(frame, content, side)
    if text is None:
        return None
    frame_height, frame_width = frame.shape[:2]
    left = min(max(box.x0, 0), frame_width - text.width)
    best: tuple[int, _Box] | None = None
    for top in (box.y0 - text.height, box.y0, box.y1, box.y1 - text.height):
        top = min(max(top, 0), frame_height - text.height)
        rectangle = _Box(left, top, left + text.width, top + text.height)
        overlap = sum(_overlap(rectangle, other.box) for other in placed)
        if best is None or overlap < best[0]:
            best = overlap, rectangle
    assert best is not None
    return _Chip(best[1], color, text)


def _fit(frame: Picture, content: str, side: float) -> _Text | None:
    """The text at the size of the picture, cut to its width; None where the picture is too small for it.

    side: of a square of the picture's area, pixels.
    """
    cv2 = require_cv2()
    font = cv2.FONT_HERSHEY_SIMPLEX
    frame_height, frame_width = frame.shape[:2]
    cap_height = min(max(8.0, 4.6 + 0.0105 * side), 48.0)
    stroke = max(1, round(cap_height / 9))
    scale = cap_height / cv2.getTextSize("H", font, 1.0, 1)[0][1]
    padding = max(2, round(cap_height * 0.4))
    while True:
        width, height = cv2.getTextSize(content, font, scale, stroke)[0]
        width += 2 * padding
        if width <= frame_width or not content:
            break
        content = content[:-1].rstrip()
    height += 2 * padding
    if not content or height > frame_height:
        return None
    return _Text(content, width, height, padding, scale, stroke)


def _overlap(a: _Box, b: _Box) -> int:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0


def _draw_chip(frame: Picture, chip: _Chip) -> None:
    cv2 = require_cv2()
    box, text = chip.box, chip.text
    _fill(frame, box.x0, box.y0, box.x1, box.y1, chip.color)
    # The text is drawn into a copy of the chip, so that no descender leaves it.
    area = np.ascontiguousarray(frame[box.y0 : box.y1, box.x0 : box.x1])
    origin = (text.padding, box.y1 - box.y0 - text.padding)
    font, color = cv2.FONT_HERSHEY_SIMPLEX, _text_color(chip.color)
    cv2.putText(area, text.content, origin, font, text.scale, color, text.stroke, cv2.LINE_AA)
    frame[box.y0 : box.y1, box.x0 : box.x1] = area


def _text_color(background: Color) -> Color:
    """Dark or light, whichever has more contrast (relative luminance after WCAG 2)."""
    luminance = _luminance(background)
    on_dark = (luminance + 0.05) / (_luminance(_DARK) + 0.05)
    on_light = (_luminance(_LIGHT) + 0.05) / (luminance + 0.05)
    return _DARK if on_dark >= on_light else _LIGHT


def _luminance(color: Color) -> float:
    blue, green, red = (
        value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

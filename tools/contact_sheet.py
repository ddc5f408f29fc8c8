"""Writes docs/images/scenes.jpg: what the generated scenes look like, and what is known about them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecv.scenes import Part, Scene, SceneSpec, make_scene

TARGET = Path(__file__).parent.parent / "docs" / "images" / "scenes.jpg"
MOST_BYTES = 500_000
TILE = 320
COLUMNS, ROWS = 6, 4
FIRST_SEED = 100
COLORS = ((60, 200, 255), (255, 160, 60), (120, 255, 120))
Image = NDArray[np.uint8]


def main() -> int:
    """Makes the sheet; prints where it is and how large."""
    spec = SceneSpec(parts=(4, 12))
    scenes = [make_scene(FIRST_SEED + index, spec) for index in range(COLUMNS * ROWS)]
    tiles = [scene.image for scene in scenes]
    tiles[COLUMNS - 1] = with_boxes(scenes[COLUMNS - 1])
    tiles[2 * COLUMNS - 1] = with_boxes(scenes[2 * COLUMNS - 1])
    tiles[3 * COLUMNS - 1] = with_masks(scenes[3 * COLUMNS - 1])
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    rows.append(np.hstack(close_ups()))
    sheet = np.vstack(rows)
    quality = 90
    while True:
        _, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= MOST_BYTES or quality <= 40:
            break
        quality -= 4
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(data.tobytes())
    print(f"{TARGET}: {sheet.shape[1]}x{sheet.shape[0]}, quality {quality}, {len(data)} bytes")
    return 0


def close_ups() -> list[Image]:
    """A nut face up, one face down, the three defects and a bolt, enlarged; one light, one tray."""
    spec = SceneSpec(parts=(1, 3), part_px=(110, 160), max_tilt_deg=20, clutter=0)
    faulty = replace(spec, defect_rate=1.0)
    wanted = [
        ("face up", spec, lambda part: part.face == "up"),
        ("face down", spec, lambda part: part.face == "down"),
        ("chipped", faulty, lambda part: part.defect == "chipped"),
        ("cracked", faulty, lambda part: part.defect == "cracked"),
        ("deformed", faulty, lambda part: part.defect == "deformed"),
        ("bolt", spec, lambda part: part.name == "bolt"),
    ]
    images = []
    seed = 40
    for label, which, fits in wanted:
        while True:
            seed += 1
            scene = make_scene(seed, which)
            # A blown-out picture shows no detail.
            found = [p for p in scene.parts if fits(p) and p.visible > 0.99 and 50 < shade(scene, p) < 190]
            if found:
                images.append(enlarged(scene, found[0], label))
                break
    return images


def shade(scene: Scene, part: Part) -> float:
    """Mean gray level of a part."""
    return float(scene.image[part.mask].mean())


def enlarged(scene: Scene, part: Part, label: str) -> Image:
    """A part filling a tile, with a caption."""
    x1, y1, x2, y2 = part.xyxy
    half = 0.6 * max(x2 - x1, y2 - y1)
    center = ((x1 + x2) / 2, (y1 + y2) / 2)
    scale = TILE / (2 * half)
    matrix = np.array([[scale, 0, TILE / 2 - scale * center[0]], [0, scale, TILE / 2 - scale * center[1]]])
    tile = cv2.warpAffine(
        scene.image, matrix, (TILE, TILE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(tile, label, (8, TILE - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.7, color, width, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)


def with_boxes(scene: Scene) -> Image:
    """The picture with the box and the class of each part."""
    image = scene.image.copy()
    for part in scene.parts:
        x1, y1, x2, y2 = (int(v) for v in part.xyxy)
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), COLORS[part.class_id], 1)
        label = part.name if part.face is None else f"{part.name} {part.face}"
        place = (x1, y1 - 4 if y1 > 12 else y2 + 12)
        cv2.putText(image, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, COLORS[part.class_id], 1, cv2.LINE_AA)
    return image


def with_masks(scene: Scene) -> Image:
    """The picture with the visible pixels of each part tinted by class."""
    image = (scene.image * 0.45).astype(np.uint8)
    for part in scene.parts:
        tint = np.array(COLORS[part.class_id]) * 0.55
        image[part.mask] = (0.45 * scene.image[part.mask] + tint).astype(np.uint8)
    return image


if __name__ == "__main__":
    sys.exit(main())

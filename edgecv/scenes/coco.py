"""Scenes written as a COCO data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, OutputError
from edgecv.media._cv2 import require_cv2
from edgecv.media.atomic import cannot_write, write_whole
from edgecv.scenes.world import CLASSES, MIN_VISIBLE, Part, Scene


def mask_to_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask (H, W): column by column, zeros first."""
    flat = np.concatenate([[0], mask.ravel(order="F").astype(np.int8), [1 - int(mask[-1, -1])]])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes]))
    return {"size": [int(n) for n in mask.shape], "counts": counts.tolist()}


def write_coco(
    folder: Path,
    scenes: Iterable[Scene],
    *,
    name: str = "instances.json",
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Writes 000000.png, 000001.png, ... and the annotations; returns the path of the annotations.

    folder: made when it is absent. scenes: taken one at a time, so that only one is in memory. name: of
    the annotation file, which appears last, and only when every scene was written; one of an earlier run
    is removed first. progress: called with the number of scenes written so far, after each.

    A category's id is the class id + 1. Boxes are xywh of the visible pixels, `area` their number,
    `segmentation` uncompressed run lengths. `attributes` holds face, defect, visible, amodal_bbox,
    diameter_mm and pose (rotation, translation_mm). Parts of which less than 40 % is visible, which only
    belts have, are marked `iscrowd`, so that an evaluation neither asks for them nor minds them.

    Raises InputError for a name that is not a plain file name, OutputError when writing fails.
    """
    folder = Path(folder)
    if Path(name).name != name or not name.endswith(".json"):
        raise InputError(f"name: expected a file name ending in .json, got {name!r}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, scene in enumerate(scenes):
        file_name = f"{index:06d}.png"
        _write_png(folder / file_name, scene.image)
        height, width = scene.image.shape[:2]
        images.append(
            {"id": index + 1, "file_name": file_name, "width": width, "height": height, "seed": scene.seed}
        )
        for part in scene.parts:
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **_annotation(part)})
        if progress is not None:
            progress(index + 1)
    document = {
        "info": {"description": "generated scenes of nuts, bolts and washers", "version": "1"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": index + 1, "name": label, "supercategory": "part"} for index, label in enumerate(CLASSES)
        ],
    }
    write_whole(folder / name, json.dumps(document, separators=(",", ":")).encode())
    return folder / name


def _annotation(part: Part) -> dict[str, Any]:
    x1, y1, x2, y2 = part.xyxy
    ax1, ay1, ax2, ay2 = part.amodal_xyxy
    return {
        "category_id": part.class_id + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(part.mask.sum()),
        "iscrowd": int(part.visible < MIN_VISIBLE),
        "segmentation": mask_to_rle(part.mask),
        "attributes": {
            "face": part.face,
            "defect": part.defect,
            "visible": round(part.visible, 6),
            "amodal_bbox": [ax1, ay1, ax2 - ax1, ay2 - ay1],
            "diameter_mm": part.diameter_mm,
            "pose": {
                "rotation": part.pose.rotation.tolist(),
                "translation_mm": part.pose.translation_mm.tolist(),
            },
        },
    }


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    encoded, data = require_cv2().imencode(".png", image)
    if not encoded:
        raise OutputError(f"{path}: cannot be written: OpenCV cannot encode PNG here; install another OpenCV")
    write_whole(path, data.tobytes())

"""Scenes written as a COCO data set, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, OutputError
from edgecv.media import Frame, open_sink
from edgecv.media.atomic import Output, cannot_write, write_whole
from edgecv.scenes.world import CLASSES, MIN_VISIBLE, Part, Scene

ANNOTATIONS = "instances.json"
DESCRIPTION = "generated scenes of nuts, bolts and washers"
_MAX_JSON_BYTES = 1 << 30


def mask_to_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask (H, W): column by column, zeros first."""
    flat = np.concatenate([[0], mask.ravel(order="F").astype(np.int8), [1 - int(mask[-1, -1])]])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes]))
    return {"size": [int(n) for n in mask.shape], "counts": counts.tolist()}


class CocoReport(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that was written.

    annotations: path of the file that `edgecv eval` opens. parts: of each class, those marked `iscrowd`
    included; hidden: how many these are.
    """

    schema: int = 1
    annotations: str
    images: int
    parts: dict[str, int]
    hidden: int

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class CocoFolder(Output):
    """A COCO data set of scenes: 000000.png, 000001.png, ... and instances.json.

    A category's id is the class id + 1. Boxes are xywh of the visible pixels, `area` their number,
    `segmentation` uncompressed run lengths. `attributes` holds face, defect, visible, amodal_bbox,
    diameter_mm and pose (rotation, translation_mm). Parts of which less than 40 % is visible, which only
    belts have, are marked `iscrowd`, so that an evaluation neither asks for them nor minds them.

    folder: made where it is absent. It may hold an earlier data set of this kind, which is replaced, and
    nothing else. Until the data set is closed, what is written lies in a hidden folder inside; see `Output`
    for how it ends. After Ctrl-C the data set is complete with the scenes that were written by then; where
    none was, there is none.

    Raises OutputError where it holds anything else or cannot be written, MissingExtraError without OpenCV.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._earlier = _replaceable(self.folder)
        self._pending = self.folder / f".edgecv-{secrets.token_hex(6)}"
        self._sink = open_sink(f"{self._pending}/", kind="images")
        self._scenes: list[tuple[str, list[str]]] = []
        self._parts: Counter[str] = Counter()
        self._hidden = 0

    def write(self, scene: Scene) -> None:
        """The next picture and its truth. Raises OutputError."""
        index = len(self._scenes)
        name = _name(index)
        self._sink.write(Frame(scene.image, name, index, time.monotonic_ns()), scene.image)
        height, width = scene.image.shape[:2]
        image = {"id": index + 1, "file_name": name, "width": width, "height": height, "seed": scene.seed}
        first = self._parts.total() + 1
        annotations = [
            _compact({"id": first + number, "image_id": index + 1, **_annotation(part)})
            for number, part in enumerate(scene.parts)
        ]
        # An interruption finds a scene in the list with all its parts, or not at all.
        self._scenes.append((_compact(image), annotations))
        self._parts.update(part.name for part in scene.parts)
        self._hidden += sum(_is_hidden(part) for part in scene.parts)

    @property
    def report(self) -> CocoReport:
        """What has been written so far."""
        return CocoReport(
            annotations=str(self.folder / ANNOTATIONS),
            images=len(self._scenes),
            parts={name: self._parts[name] for name in CLASSES},
            hidden=self._hidden,
        )

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._pending.iterdir():
                path.unlink()
        # The sink takes away the folders that it made, as far as they are empty.
        self._sink.abort()

    def _finish(self) -> None:
        try:
            if self._scenes and self._pending.is_dir():
                self._put_in_place()
        except OutputError:
            self.abort()
            raise
        except OSError as error:
            self.abort()
            raise cannot_write(self.folder, error) from error
        self.abort()

    def _put_in_place(self) -> None:
        """Annotations go first and come last: at no time do they speak of pictures that are not there."""
        write_whole(self._pending / ANNOTATIONS, self._document().encode())
        names = [_name(index) for index in range(len(self._scenes))]
        (self.folder / ANNOTATIONS).unlink(missing_ok=True)
        for name in names:
            if (self._pending / name).exists():
                (self._pending / name).replace(self.folder / name)
        for name in self._earlier.difference(names):
            (self.folder / name).unlink(missing_ok=True)
        (self._pending / ANNOTATIONS).replace(self.folder / ANNOTATIONS)

    def _document(self) -> str:
        categories = [
            {"id": index + 1, "name": label, "supercategory": "part"} for index, label in enumerate(CLASSES)
        ]
        images = ",".join(image for image, _ in self._scenes)
        annotations = ",".join(one for _, annotations in self._scenes for one in annotations)
        return (
            f'{{"info":{_compact({"description": DESCRIPTION, "version": "1"})},"images":[{images}],'
            f'"annotations":[{annotations}],"categories":{_compact(categories)}}}'
        )


def write_coco(
    folder: str | Path, scenes: Iterable[Scene], *, progress: Callable[[int], None] | None = None
) -> CocoReport:
    """Writes scenes as a `CocoFolder`, all of them or none. Returns what was written.

    scenes: taken one at a time, so that only one is in memory. progress: called with the number of scenes
    written so far, after each.

    Raises InputError where there is no scene, and as `CocoFolder` does. Whatever ends it early, Ctrl-C
    included, leaves an earlier data set as it was.
    """
    target = CocoFolder(folder)
    try:
        for done, scene in enumerate(scenes, 1):
            target.write(scene)
            if progress is not None:
                progress(done)
        if not target.report.images:
            raise InputError("scenes: expected at least one, got none")
    except BaseException:
        target.abort()
        raise
    target.close()
    return target.report


class _Info(msgspec.Struct):
    description: str = ""


class _Image(msgspec.Struct):
    file_name: str


class _Written(msgspec.Struct):
    info: _Info
    images: list[_Image]


def _replaceable(folder: Path) -> set[str]:
    """Names of an earlier data set in the folder. Raises OutputError where there is anything else."""
    try:
        held = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error) from error
    other = held - _written_before(folder / ANNOTATIONS)
    if other:
        raise OutputError(
            f"{folder}: expected an empty or new folder, or generated scenes to replace; it holds "
            f"{min(other)}: choose another folder"
        )
    return held - {ANNOTATIONS}


def _written_before(annotations: Path) -> set[str]:
    """The files of the data set that this module wrote there; none where it did not."""
    try:
        if annotations.stat().st_size > _MAX_JSON_BYTES:
            return set()
        found = msgspec.json.decode(annotations.read_bytes(), type=_Written)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    if found.info.description != DESCRIPTION:
        return set()
    return {annotations.name, *(image.file_name for image in found.images)}


def _name(index: int) -> str:
    return f"{index:06d}.png"


def _is_hidden(part: Part) -> bool:
    return part.visible < MIN_VISIBLE


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _annotation(part: Part) -> dict[str, Any]:
    x1, y1, x2, y2 = part.xyxy
    ax1, ay1, ax2, ay2 = part.amodal_xyxy
    return {
        "category_id": part.class_id + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(part.mask.sum()),
        "iscrowd": int(_is_hidden(part)),
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

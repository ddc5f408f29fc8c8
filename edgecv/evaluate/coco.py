"""COCO datasets: one JSON file of instances, and a folder of images.

Format: https://cocodataset.org/#format-data, "Object Detection". Segmentations and keypoints are read only
once a model has some to compare with them: `shapes` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import (
    MAX_COORDINATE,
    MAX_ID,
    MAX_SIDE,
    Annotations,
    Category,
    Dataset,
    ImageEntry,
    inside,
    read_bounded,
)

MAX_JSON_BYTES = 1 << 30

_Id = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
_Coordinate = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
_Length = Annotated[float, msgspec.Meta(ge=0, le=MAX_COORDINATE)]


class _Image(msgspec.Struct, frozen=True, gc=False):
    id: _Id
    file_name: str
    width: _Side | None = None
    height: _Side | None = None


class _Annotation(msgspec.Struct, frozen=True, gc=False):
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Coordinate, _Coordinate, _Length, _Length]
    area: Annotated[float, msgspec.Meta(ge=0)] | None = None
    iscrowd: bool | Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    segmentation: msgspec.Raw = msgspec.Raw()
    keypoints: msgspec.Raw = msgspec.Raw()


class _Category(msgspec.Struct, frozen=True, gc=False):
    id: _Id
    name: str


class _File(msgspec.Struct, frozen=True):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def open_coco(path: Path, root: Path) -> Dataset:
    """Read an instances file and find its images.

    root: the dataset's folder; no image is looked for outside it. Raises DatasetError that names the
    file and the entry.
    """
    content = _decode(path)
    _check_ids(path, "images", (image.id for image in content.images))
    _check_ids(path, "categories", (category.id for category in content.categories))
    if not content.images:
        raise DatasetError(f"{path}: expected at least one image, got none")
    if not content.categories:
        raise DatasetError(f"{path}: expected at least one category, got none")
    folder = _image_folder(path, root, content.images)
    images = [
        ImageEntry(
            image.id, inside(folder, image.file_name, f"{path}: images[{i}]"), image.width, image.height
        )
        for i, image in enumerate(content.images)
    ]
    return Dataset(
        source=path,
        format="coco",
        images=tuple(sorted(images, key=lambda image: image.id)),
        categories=tuple(
            Category(category.id, category.name)
            for category in sorted(content.categories, key=lambda category: category.id)
        ),
        annotations=_annotations(path, content),
        units="pixels",
    )


def _decode(path: Path) -> _File:
    try:
        return msgspec.json.decode(read_bounded(path, MAX_JSON_BYTES), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: expected COCO instances as JSON: {error}") from error


def _check_ids(path: Path, what: str, ids: Iterable[int]) -> None:
    seen: set[int] = set()
    for i, number in enumerate(ids):
        if number in seen:
            raise DatasetError(f"{path}: {what}[{i}]: id {number} comes twice")
        seen.add(number)


def _annotations(path: Path, content: _File) -> Annotations:
    entries = content.annotations
    images = {image.id for image in content.images}
    categories = {category.id for category in content.categories}
    for i, entry in enumerate(entries):
        if entry.image_id not in images:
            raise DatasetError(f"{path}: annotations[{i}]: there is no image {entry.image_id}")
        if entry.category_id not in categories:
            raise DatasetError(f"{path}: annotations[{i}]: there is no category {entry.category_id}")
    xywh = np.array([entry.bbox for entry in entries], np.float64).reshape(-1, 4)
    # The area decides between small, medium and large; COCO takes the outline's.
    area = [entry.bbox[2] * entry.bbox[3] if entry.area is None else entry.area for entry in entries]
    return Annotations(
        image_id=np.array([entry.image_id for entry in entries], np.int64),
        category_id=np.array([entry.category_id for entry in entries], np.int64),
        xywh=xywh,
        area=np.array(area, np.float64),
        is_crowd=np.array([entry.iscrowd for entry in entries], np.bool_),
        segmentation=tuple(entry.segmentation for entry in entries),
        keypoints=tuple(entry.keypoints for entry in entries),
    )


def _image_folder(path: Path, root: Path, images: list[_Image]) -> Path:
    """The first of the usual folders that holds any of the images."""
    split = path.stem.removeprefix("instances_")
    usual = (root / "images", root / "images" / split, root / split, path.parent / "images", root)
    folders = [folder for folder in dict.fromkeys(usual) if folder.is_dir()]
    for folder in folders:
        for i, image in enumerate(images):
            if inside(folder, image.file_name, f"{path}: images[{i}]").is_file():
                return folder
    raise DatasetError(
        f"{path}: none of its {len(images)} images is there; looked in "
        f"{', '.join(map(str, folders))}: put them into {root / 'images'}"
    )

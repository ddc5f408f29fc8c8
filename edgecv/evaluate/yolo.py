"""YOLO datasets: a folder of images and, beside it, one of text files with a line for each object.

A line is `class cx cy width height`, the box as fractions of the image. An image without a text file
has no objects.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import Annotations, Category, Dataset, ImageEntry, read_bounded
from edgecv.evaluate.names import read_names
from edgecv.media import IMAGE_SUFFIXES

NAMES_FILES = ("classes.txt", "data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
MAX_LABEL_BYTES = 16 << 20
MAX_IMAGES = 1_000_000
# Labels are rounded when they are written, so that a box may end a little outside.
TOLERANCE = 0.01


def open_yolo(source: Path, images: Path, labels: Path, names: Path | None) -> Dataset:
    """Read the text files of a folder of images.

    source: what was opened; images, labels: the two folders, of the same layout; names: file of the
    class names; None looks for one. Raises DatasetError that names the file and the line.
    """
    classes = read_names(names or _find_names(images, labels))
    pictures = _pictures(images)
    rows: list[tuple[float, ...]] = []
    labeled = 0
    for number, picture in enumerate(pictures, 1):
        label = (labels / picture.relative_to(images)).with_suffix(".txt")
        if label.is_file():
            labeled += 1
            rows.extend((number, *row) for row in _objects(label, len(classes)))
    if not labeled and any(_label_files(labels)):
        raise DatasetError(f"{labels}: none of its text files is named as an image in {images} is")
    table = np.array(rows, np.float64).reshape(-1, 6)
    xywh = table[:, 2:].copy()
    xywh[:, :2] -= xywh[:, 2:] / 2
    return Dataset(
        source=source,
        format="yolo",
        images=tuple(ImageEntry(number, picture) for number, picture in enumerate(pictures, 1)),
        categories=tuple(Category(number, name) for number, name in enumerate(classes)),
        annotations=Annotations(
            image_id=table[:, 0].astype(np.int64),
            category_id=table[:, 1].astype(np.int64),
            xywh=xywh,
            area=None,
            is_crowd=np.zeros(len(table), np.bool_),
        ),
        units="fractions",
    )


def _pictures(images: Path) -> list[Path]:
    found: list[Path] = []
    for folder, subfolders, files in os.walk(images):
        subfolders.sort()
        found.extend(Path(folder, name) for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES)
        if len(found) > MAX_IMAGES:
            raise DatasetError(f"{images}: expected at most {MAX_IMAGES} images, got more")
    if not found:
        raise DatasetError(f"{images}: expected at least one image, got none")
    by_label: dict[Path, Path] = {}
    for picture in found:
        other = by_label.setdefault(picture.with_suffix(""), picture)
        if other != picture:
            raise DatasetError(f"{picture}: shares its text file with {other}; rename one of them")
    return sorted(found)


def _label_files(labels: Path) -> list[Path]:
    return [path for path in labels.rglob("*.txt") if path.name != "classes.txt"]


def _objects(label: Path, classes: int) -> list[tuple[int, float, float, float, float]]:
    try:
        text = read_bounded(label, MAX_LABEL_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{label}: expected text: {error}") from error
    objects = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{label}:{number}"
        if len(fields) != 5:
            raise DatasetError(
                f"{where}: expected `class cx cy width height`, got {len(fields)} values; "
                "outlines and keypoints have to be converted to boxes"
            )
        if not re.fullmatch(r"[0-9]{1,6}", fields[0]) or int(fields[0]) >= classes:
            raise DatasetError(f"{where}: expected a class from 0 to {classes - 1}, got {fields[0]!r}")
        objects.append((int(fields[0]), *_box(fields[1:], where)))
    return objects


def _box(fields: list[str], where: str) -> tuple[float, float, float, float]:
    try:
        cx, cy, width, height = map(float, fields)
    except ValueError as error:
        raise DatasetError(f"{where}: expected four numbers, got {' '.join(fields)!r}") from error
    inside = all(-TOLERANCE <= value <= 1 + TOLERANCE for value in (cx, cy, width, height))
    if not inside or min(width, height) < 0:
        raise DatasetError(
            f"{where}: expected fractions of the image, 0 to 1, got {' '.join(fields)!r}; "
            "divide pixels by the image's width and height"
        )
    return cx, cy, width, height


def _find_names(images: Path, labels: Path) -> Path:
    """The file of class names, beside the labels or in a folder above them.

    Layouts differ in how deep the images lie: root/images/val, root/val/images, root/images.
    """
    images, labels = images.absolute(), labels.absolute()
    folders = dict.fromkeys((labels, labels.parent, images.parent, images.parent.parent))
    for folder in folders:
        for name in NAMES_FILES:
            if (folder / name).is_file():
                return folder / name
    raise DatasetError(
        f"{images.parent}: no class names; looked for {', '.join(NAMES_FILES)} in "
        f"{', '.join(map(str, folders))}: write classes.txt, one name a line"
    )

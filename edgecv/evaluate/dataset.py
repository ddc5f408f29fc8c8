"""A detection dataset as values, whatever files it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.errors import DatasetError

# Ids travel through float64 columns, which hold no larger whole number exactly.
MAX_ID = 1 << 53
MAX_SIDE = 1 << 20
MAX_COORDINATE = 1e9


@dataclass(frozen=True)
class ImageEntry:
    """One picture. width, height: pixels as the dataset states them, None where it does not."""

    id: int
    path: Path
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Category:
    """One class of the dataset; its id is the dataset's own."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class Annotations:
    """The objects, as columns of equal length n.

    image_id, category_id: int64 (n,). xywh: float64 (n, 4), left, top, width, height, in pixels or in
    fractions of the image, see `Dataset.units`. area: float64 (n,), pixels, of the object's outline;
    None where the dataset has boxes only. is_crowd: bool (n,), a box around many objects at once.
    segmentation, keypoints: of each object its entry as JSON, not yet read, empty where it has none;
    None where the format has none. `shapes` reads them.
    """

    image_id: NDArray[np.int64]
    category_id: NDArray[np.int64]
    xywh: NDArray[np.float64]
    area: NDArray[np.float64] | None
    is_crowd: NDArray[np.bool_]
    segmentation: tuple[msgspec.Raw, ...] | None = None
    keypoints: tuple[msgspec.Raw, ...] | None = None

    def __len__(self) -> int:
        return len(self.image_id)

    def take(self, index: NDArray[Any]) -> Annotations:
        """Some of them, by an index array or a boolean mask, without the entries that are not yet read."""
        return Annotations(
            image_id=self.image_id[index],
            category_id=self.category_id[index],
            xywh=self.xywh[index],
            area=None if self.area is None else self.area[index],
            is_crowd=self.is_crowd[index],
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, what is on them, and the classes.

    source: the file or folder that was opened. format: how it is written. images: rising by id.
    categories: rising by id. units: of the boxes.
    """

    source: Path
    format: Literal["coco", "yolo"]
    images: tuple[ImageEntry, ...]
    categories: tuple[Category, ...]
    annotations: Annotations
    units: Literal["pixels", "fractions"]

    def __len__(self) -> int:
        return len(self.images)


def inside(folder: Path, name: str, where: str) -> Path:
    """The file that a dataset names, which has to lie below `folder`.

    where: the entry that names it, for the DatasetError.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise DatasetError(f"{where}: expected the name of a file below {folder}, got {name!r}")
    return folder / path


def read_bounded(path: Path, limit: int) -> bytes:
    """A file's content. Raises DatasetError when it is larger than `limit` bytes or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read: {reason}") from error
    if len(data) > limit:
        raise DatasetError(f"{path}: expected a file of at most {limit} bytes, got more")
    return data

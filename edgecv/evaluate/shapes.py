"""Outlines and keypoints that a COCO data set has of its objects, as hotcoco takes them.

Formats: https://cocodataset.org/#format-data, "Object Detection" (`segmentation`) and "Keypoint Detection"
(`keypoints`); run lengths as in maskApi.h of https://github.com/cocodataset/cocoapi.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import MAX_COORDINATE, MAX_SIDE, Dataset

_Coordinate = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
_Polygon = Annotated[list[_Coordinate], msgspec.Meta(min_length=6)]


class _RunLengths(msgspec.Struct, frozen=True):
    """size: height and width. counts: pixels off and on in turn, column after column, or those as text."""

    size: tuple[_Side, _Side]
    counts: list[Annotated[int, msgspec.Meta(ge=0, le=MAX_SIDE * MAX_SIDE)]] | str


_Segmentation = list[_Polygon] | _RunLengths


def has_any(texts: Sequence[msgspec.Raw] | None) -> bool:
    """Whether any object of a data set has such an entry; an empty list is none."""
    return any(bytes(text) not in (b"", b"[]", b"null") for text in texts or ())


def read_outlines(dataset: Dataset) -> list[dict[str, Any] | list[list[float]] | None]:
    """Of each object its `segmentation`, checked; None where it has none. Raises DatasetError."""
    sizes_wh = {image.id: (image.width, image.height) for image in dataset.images}
    outlines: list[dict[str, Any] | list[list[float]] | None] = []
    every = dataset.annotations
    for i, (text, image_id) in enumerate(zip(every.segmentation or (), every.image_id.tolist(), strict=True)):
        where = f"{dataset.source}: annotations[{i}].segmentation"
        read = _decoded(text, _Segmentation, where)
        if isinstance(read, _RunLengths):
            check_run_lengths(read.size, read.counts, sizes_wh[image_id], where)
            outlines.append({"size": list(read.size), "counts": read.counts})
            continue
        for polygon in read or ():
            if len(polygon) % 2:
                raise DatasetError(f"{where}: expected x and y in turn, got {len(polygon)} numbers")
        outlines.append(read or None)
    return outlines


def read_keypoints(dataset: Dataset) -> NDArray[np.float64]:
    """Of each object its keypoints, (n, k, 3), x, y in pixels and 0 where a point is not labeled, 1 where it
    is hidden, 2 where it shows; all 0 where an object has none. Raises DatasetError.
    """
    every = dataset.annotations
    rows: dict[int, list[float]] = {}
    first = None
    for i, text in enumerate(every.keypoints or ()):
        where = f"{dataset.source}: annotations[{i}].keypoints"
        row = _decoded(text, list[_Coordinate], where)
        if not row:
            continue
        first = len(row) if first is None else first
        if len(row) % 3 or len(row) != first:
            raise DatasetError(
                f"{where}: expected x, y and visibility of as many points for every object, {first} numbers; "
                f"got {len(row)}"
            )
        rows[i] = row
    points = np.zeros((len(every), (first or 0) // 3, 3))
    for i, row in rows.items():
        points[i] = np.reshape(row, (-1, 3))
    return points


def check_run_lengths(
    size: Sequence[int], counts: list[int] | str, size_wh: tuple[int | None, int | None], where: str
) -> None:
    """Raises DatasetError unless run lengths are those of a picture of this size; None: not stated."""
    height, width = size
    if (size_wh[0] or width, size_wh[1] or height) != (width, height):
        raise DatasetError(
            f"{where}: expected the image's size, {size_wh[1], size_wh[0]}, got {height, width}"
        )
    pixels = sum(counts if isinstance(counts, list) else _counts(counts, where))
    if pixels != width * height:
        raise DatasetError(f"{where}: expected run lengths of {width * height} pixels, got {pixels}")


def _counts(text: str, where: str) -> list[int]:
    """Run lengths from text: five bits a character, the lowest first; from the third on, what one is more
    than the second one before it.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 50:
            break
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
            if counts[-1] < 0:
                break
    else:
        if not shift:
            return counts
    raise DatasetError(f"{where}: expected run lengths as text, got {text[:20]!r}")


def _decoded(text: msgspec.Raw, kind: Any, where: str) -> Any:
    if not bytes(text):
        return None
    try:
        return msgspec.json.decode(text, type=kind | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{where}: {error}") from error

"""What the inputs of a network can be: the layouts of a picture, and facts of where the frame lies in it.

A layout names its axes in order: n, the pictures; c, the channels; h and w, height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np

from edgecv.types import FrameTransform, TensorSpec

Size: TypeAlias = int | str | None

LAYOUTS = ("nchw", "nhwc", "chw", "hwc")
# Of a picture: gray, color, and color with depth.
_CHANNELS = (1, 3, 4)
# Without a batch axis only color is told from a batch of something else.
_ALONE = (3,)

# Numbers that a network can be given beside the picture, sizes and places in pixels.
FACTS: Mapping[str, Callable[[FrameTransform], float]] = {
    "frame_width": lambda place: place.frame_wh[0],
    "frame_height": lambda place: place.frame_wh[1],
    "resized_width": lambda place: place.resized_wh[0],
    "resized_height": lambda place: place.resized_wh[1],
    "blob_width": lambda place: place.blob_wh[0],
    "blob_height": lambda place: place.blob_wh[1],
    "left": lambda place: place.offset_xy[0],
    "top": lambda place: place.offset_xy[1],
    "scale_x": lambda place: place.scale_xy[0],
    "scale_y": lambda place: place.scale_xy[1],
}
# Those that need not be whole numbers.
FRACTIONS = ("scale_x", "scale_y")


def shape_of(layout: str, batch: int, channels: int, size_wh: tuple[int, int]) -> tuple[int, ...]:
    """Shape of a blob; a layout without a batch axis leaves the batch out."""
    sizes = {"n": batch, "c": channels, "h": size_wh[1], "w": size_wh[0]}
    return tuple(sizes[axis] for axis in layout)


def axis_sizes(layout: str, shape: tuple[Size, ...]) -> dict[str, Size]:
    """The sizes of a shape of this layout, by the axes."""
    return dict(zip(layout, shape, strict=True))


def size_wh(layout: str, shape: tuple[Size, ...]) -> tuple[Size, Size]:
    """Width and height out of a shape of this layout."""
    return shape[layout.index("w")], shape[layout.index("h")]


def fixed_wh(layout: str, shape: tuple[Size, ...]) -> tuple[int, int] | None:
    """Width and height out of a shape of this layout, pixels; None where either is open."""
    width, height = size_wh(layout, shape)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def layout_of(shape: tuple[Size, ...]) -> str | None:
    """How a picture lies in an input of this shape; None where no picture does.

    1, 3 or 4 channels tell which axis is theirs; where both or neither could be, it is the first. Without a
    batch axis they are 3.
    """
    if len(shape) == 4:
        return "nhwc" if shape[3] in _CHANNELS and shape[1] not in _CHANNELS else "nchw"
    if len(shape) == 3:
        return "chw" if shape[0] in _ALONE else "hwc" if shape[2] in _ALONE else None
    return None


def image_of(inputs: Iterable[TensorSpec]) -> tuple[TensorSpec, str] | None:
    """The input that takes a picture, by its shape, and its layout: the first with a batch axis, else the
    first without."""
    found = [(spec, layout) for spec in inputs if (layout := layout_of(spec.shape)) is not None]
    return next((one for one in found if "n" in one[1]), found[0] if found else None)


def image_wh(inputs: Iterable[TensorSpec]) -> tuple[int, int] | None:
    """Width and height of the input that takes a picture, pixels; None where they are open."""
    found = image_of(inputs)
    return None if found is None else fixed_wh(found[1], found[0].shape)


def values_of(facts: Iterable[str | float], place: FrameTransform) -> list[float]:
    """The numbers that facts are of a frame that lies there; a number is itself."""
    return [FACTS[fact](place) if isinstance(fact, str) else fact for fact in facts]


def facts_shape(count: int, spec: TensorSpec, batch: int, stated: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Shape of an input that takes so many numbers for each of a batch of pictures.

    stated: shape of one picture's, where a card says it; else the network's own counts. Its first axis is the
    pictures' where there are more, as in (N, 2), or where it alone is open; (2,) is for all of them. Raises
    ValueError where the numbers do not fit.
    """
    shape = spec.shape
    if stated:
        sizes: tuple[Size, ...] = (batch, *stated) if len(shape) == len(stated) + 1 else stated
    elif len(shape) > 1 or (shape and count == 1 and not isinstance(shape[0], int)):
        sizes = (batch if not isinstance(shape[0], int) else shape[0], *shape[1:])
    else:
        sizes = shape
    known = int(np.prod([n for n in sizes if isinstance(n, int)], dtype=np.int64))
    rows = batch if sizes[:1] == (batch,) and (len(sizes) > 1 or count == 1) else 1
    missing = [n for n in sizes if not isinstance(n, int)]
    if len(missing) == 1 and known and not rows * count % known:
        sizes = tuple(n if isinstance(n, int) else rows * count // known for n in sizes)
        known = rows * count
    fixed = tuple(n for n in sizes if isinstance(n, int))
    fits = len(fixed) == len(shape) and all(
        not isinstance(want, int) or want == got for want, got in zip(shape, fixed, strict=False)
    )
    if not fits or known != rows * count:
        raise ValueError(f"input {spec} does not take {count} numbers for each of {batch} pictures")
    return fixed

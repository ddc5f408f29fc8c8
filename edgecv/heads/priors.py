"""Priors, which are also called anchors or default boxes: boxes around the cells of feature maps.

`PriorMap` states those of one map. `FAMILIES` has those of networks that all share them; their sources are
named beside each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.heads.base import HeadParams, PositiveInt
from edgecv.types import FloatArray

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
Sizes = tuple[PositiveFloat, ...]
# Not tuple[float, float]: msgspec 0.22 crashes on a constrained number in a union with a tuple of fixed size.
Pair = Annotated[tuple[PositiveFloat, ...], msgspec.Meta(min_length=2, max_length=2)]
Clip = Literal["edges", "center-size", "size"]


class PriorMap(HeadParams, frozen=True, omit_defaults=True, cache_hash=True):
    """The priors of one feature map, around the center of every cell; either `sizes` or `min_sizes`.

    stride: from cell to cell, pixels of the blob; one number, or x and y; None: as `cells_wh` divides the
    blob. cells_wh: columns and rows; None: as many as the blob has strides, a part of one counted whole.
    offset: of a cell's center from its left top corner, in strides.
    sizes: sides of squares, pixels, in the order of the outputs' rows; each once for each of `scales`, by
    which it is multiplied, and that once for each of `ratios`: width over height, at the same area, or what
    width and height are multiplied by. ratios_first: all sizes of the first ratio come first. whole: half
    widths and heights are rounded to whole pixels.
    min_sizes: sides of squares; each is followed by a square of side sqrt(min * max) where there are
    max_sizes, and by boxes of the same area for each of aspect_ratios, width over height, and with `flip`
    for its inverse; a ratio of 1 is the square itself.
    clip: "edges": what lies outside the blob is cut off; "center-size": neither center nor size is over the
    blob's size; "size": no size is.
    """

    stride: PositiveFloat | Pair | None = None
    sizes: Sizes = ()
    scales: Annotated[Sizes, msgspec.Meta(min_length=1)] = (1.0,)
    ratios: Annotated[tuple[PositiveFloat | Pair, ...], msgspec.Meta(min_length=1)] = (1.0,)
    ratios_first: bool = False
    whole: bool = False
    cells_wh: tuple[PositiveInt, PositiveInt] | None = None
    offset: float = 0.5
    min_sizes: Sizes = ()
    max_sizes: Sizes = ()
    aspect_ratios: Sizes = ()
    flip: bool = True
    clip: Clip | None = None

    def __post_init__(self) -> None:
        if bool(self.sizes) == bool(self.min_sizes):
            raise ValueError("expected either `sizes` or `min_sizes`")
        if len(self.max_sizes) not in (0, len(self.min_sizes)):
            raise ValueError(
                f"`max_sizes` has {len(self.max_sizes)} entries for {len(self.min_sizes)} of `min_sizes`"
            )
        if self.stride is None and self.cells_wh is None:
            raise ValueError("expected `stride`, `cells_wh` or both")

    def stride_xy(self, blob_wh: tuple[int, int]) -> tuple[float, float]:
        """From cell to cell, pixels."""
        if self.stride is None:
            assert self.cells_wh is not None
            x, y = (n / cells for n, cells in zip(blob_wh, self.cells_wh, strict=True))
        else:
            x, y = self.stride if isinstance(self.stride, tuple) else (self.stride, self.stride)
        return x, y

    def cells(self, blob_wh: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows."""
        if self.cells_wh is not None:
            return self.cells_wh
        x, y = self.stride_xy(blob_wh)
        return math.ceil(blob_wh[0] / x), math.ceil(blob_wh[1] / y)

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each prior of a cell, in their order."""
        sides = [size * scale for size in self.sizes for scale in self.scales]
        growths = [_growth(ratio) for ratio in self.ratios]
        if self.ratios_first:
            shapes = [(side * w, side * h) for w, h in growths for side in sides]
        else:
            shapes = [(side * w, side * h) for side in sides for w, h in growths]
        if self.whole:
            shapes = [(2.0 * round(w / 2), 2.0 * round(h / 2)) for w, h in shapes]
        for number, size in enumerate(self.min_sizes):
            shapes.append((size, size))
            if self.max_sizes:
                shapes.append((math.sqrt(size * self.max_sizes[number]),) * 2)
            shapes += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in self._ratios()]
        return tuple(shapes)

    def count(self, blob_wh: tuple[int, int]) -> int:
        """How many priors there are for a blob of that size."""
        columns, rows = self.cells(blob_wh)
        return columns * rows * len(self.shapes)

    def boxes(self, blob_wh: tuple[int, int]) -> NDArray[np.float64]:
        """float64 (n, 4) cxcywh, blob pixels; cell by cell, shape by shape."""
        columns, rows = self.cells(blob_wh)
        y, x = np.indices((rows, columns), np.float64).reshape(2, -1, 1)
        center = (np.stack([x, y], axis=-1) + self.offset) * self.stride_xy(blob_wh)
        parts = np.broadcast_arrays(center, np.array(self.shapes))
        boxes: NDArray[np.float64] = np.concatenate(parts, axis=-1).reshape(-1, 4)
        most = np.array(blob_wh * 2)
        if self.clip == "edges":
            return _cut(boxes, most[:2])
        if self.clip == "center-size":
            boxes = np.minimum(boxes, most)
        if self.clip == "size":
            boxes[:, 2:] = np.minimum(boxes[:, 2:], most[2:])
        return boxes

    def _ratios(self) -> list[float]:
        """Each ratio once, its inverse after it, and none of 1."""
        ratios = [1.0]
        for ratio in self.aspect_ratios:
            if all(abs(ratio - known) >= 1e-6 for known in ratios):
                ratios += [ratio, 1 / ratio] if self.flip else [ratio]
        return [ratio for ratio in ratios if abs(ratio - 1) >= 1e-6]


def _growth(ratio: float | Pair) -> tuple[float, float]:
    if not isinstance(ratio, tuple):
        return math.sqrt(ratio), 1 / math.sqrt(ratio)
    width, height = ratio
    return width, height


Maps = tuple[PriorMap, ...]


class Priors(msgspec.Struct, frozen=True):
    """The priors of all maps. cxcywh: float32 (n, 4), blob pixels, read-only; map by map.

    counts: how many each map has. per_cell: how many each has around a cell.
    """

    cxcywh: FloatArray
    counts: tuple[int, ...]
    per_cell: tuple[int, ...]


@lru_cache(maxsize=16)
def priors_of(maps: Maps, blob_wh: tuple[int, int]) -> Priors:
    """The priors for a blob of that size."""
    parts = [one.boxes(blob_wh) for one in maps]
    cxcywh = np.concatenate(parts).astype(np.float32)
    cxcywh.flags.writeable = False
    return Priors(cxcywh, tuple(map(len, parts)), tuple(len(one.shapes) for one in maps))


def count(maps: Maps, blob_wh: tuple[int, int]) -> int:
    """How many priors there are for a blob of that size."""
    return sum(one.count(blob_wh) for one in maps)


def _cut(priors: NDArray[np.float64], most: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centers and sizes of what lies inside the blob."""
    half = priors[:, 2:] / 2
    low, high = (np.clip(corner, 0, most) for corner in (priors[:, :2] - half, priors[:, :2] + half))
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _squares(sizes: Mapping[int, Sequence[float]], clip: Clip | None = None) -> Maps:
    """Squares around the cells of each stride."""
    return tuple(PriorMap(stride=stride, sizes=tuple(sides), clip=clip) for stride, sides in sizes.items())


# Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, whichever the size of the input.
ULTRAFACE = _squares(
    {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)},
    clip="center-size",
)
# `cfg_mnet` and `cfg_re50` of biubug6/Pytorch_Retinaface; Deng et al., RetinaFace, arXiv:1905.00641.
RETINAFACE = _squares({8: (16, 32), 16: (64, 128), 32: (256, 512)})

# RetinaFace of deepinsight/insightface, on MXNet: all strides have the center of a square of 16 pixels at the
# cell's corner (`generate_anchors_fpn2`, `nonlinear_pred`). It counts pixels with both ends; these are edges.
RETINAFACE_MXNET = tuple(
    PriorMap(stride=stride, sizes=sizes, offset=8 / stride)
    for stride, sizes in ((32, (512, 256)), (16, (128, 64)), (8, (32, 16)))
)

# Of AIZOOTech/FaceMaskDetection at 260 x 260: cells of a side, and two sides as parts of the picture's.
_FACE_MASK = ((33, 0.04, 0.056), (17, 0.08, 0.11), (9, 0.16, 0.22), (5, 0.32, 0.45), (3, 0.64, 0.72))


def face_mask(blob_wh: tuple[int, int]) -> Maps:
    """AIZOO's face masks: two squares, and of the smaller one's area a ratio of 0.62 and of 0.42."""
    side = blob_wh[0]
    return tuple(
        PriorMap(
            cells_wh=(cells, cells),
            min_sizes=(small * side,),
            max_sizes=(large**2 / small * side,),
            aspect_ratios=(0.62, 0.42),
            flip=False,
        )
        for cells, small, large in _FACE_MASK
    )


def retinanet(blob_wh: tuple[int, int]) -> Maps:
    """torchvision's: sizes grow by the third root of 2, cut to whole pixels; no offset of the centers.

    A stride is the whole number of times that a map fits in the blob (`AnchorGenerator.forward`); corners are
    rounded (`generate_anchors`). Lin et al., Focal Loss, arXiv:1708.02002, section 4.
    """
    maps = []
    for stride in (8, 16, 32, 64, 128):
        cells_wh = (math.ceil(blob_wh[0] / stride), math.ceil(blob_wh[1] / stride))
        strides = tuple(float(n // cells) for n, cells in zip(blob_wh, cells_wh, strict=True))
        side = 4 * stride
        maps.append(
            PriorMap(
                stride=strides[0] if strides[0] == strides[1] else strides,
                cells_wh=cells_wh,
                sizes=(side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))),
                ratios=(2.0, 1.0, 0.5),
                ratios_first=True,
                whole=True,
                offset=0.0,
            )
        )
    return tuple(maps)


def retinanet_maps(blob_wh: tuple[int, int]) -> Maps:
    """NVIDIA's, of networks that leave a map of each stride: three scales an octave, ratios 1, 1/2 and 2.

    `generate_anchors` and `delta2box` of NVIDIA/retinanet-examples, which counts pixels with both ends:
    between edges, as here, a prior is a pixel larger, and its center half a pixel further.
    """
    maps = []
    for stride in (8, 16, 32, 64, 128):
        sides = [4 * stride * 2 ** (octave / 3) for octave in range(3)]
        shapes = [
            (side / math.sqrt(high) + 1, side * math.sqrt(high) + 1) for side in sides for high in (1, 2, 0.5)
        ]
        offset = 0.5 + 0.5 / stride
        maps.append(PriorMap(stride=stride, sizes=(1.0,), ratios=tuple(shapes), offset=offset))
    return tuple(maps)


def efficientdet(blob_wh: tuple[int, int]) -> Maps:
    """Squares of four strides, and boxes of 1.4 by 0.7 of them, in three scales an octave.

    `anchors.py` of google/automl and of zylo117/Yet-Another-EfficientDet-Pytorch; Tan et al., EfficientDet,
    arXiv:1911.09070.
    """
    scales = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
    return tuple(
        PriorMap(stride=stride, sizes=(4.0 * stride,), scales=scales, ratios=ratios)
        for stride in (8, 16, 32, 64, 128)
    )


def _default_boxes(side: int, cells: Sequence[int], scales: Sequence[float], ratios: Sequence[Sizes]) -> Maps:
    """`DefaultBoxGenerator` of torchvision: scales of the maps, and of the one after the last."""
    return tuple(
        PriorMap(
            cells_wh=(n, n),
            min_sizes=(scales[k] * side,),
            max_sizes=(scales[k + 1] * side,),
            aspect_ratios=ratios[k],
            clip="size",
        )
        for k, n in enumerate(cells)
    )


def ssdlite320(blob_wh: tuple[int, int]) -> Maps:
    """torchvision's SSDlite320 of MobileNetV3: six maps, whose scales go from 0.2 to 0.95, then to 1."""
    scales = [0.2 + 0.75 * k / 5 for k in range(6)] + [1.0]
    return _default_boxes(blob_wh[0], (20, 10, 5, 3, 2, 1), scales, [(2.0, 3.0)] * 6)


def ssd300(blob_wh: tuple[int, int]) -> Maps:
    """torchvision's SSD300 of VGG16, as Liu et al. 2016 (SSD, arXiv:1512.02325, section 3.1) have it."""
    scales = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
    ratios: list[Sizes] = [(2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,)]
    side = blob_wh[0]
    maps = _default_boxes(side, (38, 19, 10, 5, 3, 1), scales, ratios)
    strides = (step * side / 300 for step in (8, 16, 32, 64, 100, 300))
    return tuple(
        msgspec.structs.replace(one, stride=stride) for one, stride in zip(maps, strides, strict=True)
    )


def blazeface(strides: Sequence[int]) -> Callable[[tuple[int, int]], Maps]:
    """MediaPipe's `SsdAnchorsCalculator` with fixed anchors: two a cell for each time a stride is named.

    Its offsets are pixels: a prior of one pixel leaves them as they are. Bazarevsky et al., BlazeFace,
    arXiv:1907.05047.
    """
    counts = {stride: strides.count(stride) for stride in strides}
    maps = tuple(PriorMap(stride=stride, sizes=(1.0,) * (2 * n)) for stride, n in counts.items())
    return lambda blob_wh: maps


FAMILIES: Mapping[str, Callable[[tuple[int, int]], Maps]] = {
    "ultraface": lambda blob_wh: ULTRAFACE,
    "retinaface": lambda blob_wh: RETINAFACE,
    "face_mask": face_mask,
    "ssdlite320": ssdlite320,
    "ssd300": ssd300,
    "blazeface": blazeface((8, 16, 16, 16)),
    "blazeface-back": blazeface((16, 32, 32, 32)),
    "blazepose": blazeface((8, 16, 32, 32, 32)),
    "retinanet": retinanet,
    "efficientdet": efficientdet,
}

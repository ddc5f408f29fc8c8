"""Converters of layers to ONNX, one module a family; `CONVERTERS` has them by Caffe's type."""

from __future__ import annotations

from edgecv.importers.caffe.layers import (
    activation,
    arithmetic,
    convolution,
    detection,
    normalization,
    pooling,
    regions,
    resize,
    shape,
)
from edgecv.importers.caffe.step import Converter

_FAMILIES = (
    *(activation, arithmetic, convolution, normalization, pooling, resize, shape),
    *(detection, regions),
)

CONVERTERS: dict[str, Converter] = {
    kind: converter for family in _FAMILIES for kind, converter in family.CONVERTERS.items()
}

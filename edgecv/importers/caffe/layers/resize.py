"""Interp and the several layers that forks call Upsample."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv.importers.caffe.layers.pooling import unpool
from edgecv.importers.caffe.step import Converter, Mask, Result, Step

_BILINEAR = 1


def interp(step: Step) -> str:
    """Bilinear, with the corners' centers on one another (DeepLab's fork).

    Its size is given, or that of the second bottom, or (size - 1) / shrink + 1 and then
    size + (size - 1) * (zoom - 1). Negative pads cut cells off before.
    """
    step.expect_bottoms(1, 2)
    p = step.message.interp_param
    if len(step.shape) != 4:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    if p.interp_type != "bilinear":
        raise step.error(f"interp_type {p.interp_type!r}: expected bilinear")
    if p.pad_beg > 0 or p.pad_end > 0:
        raise step.error(f"pads {p.pad_beg} and {p.pad_end}: expected 0, or less to cut off")
    value, sizes = step.input, [size + p.pad_beg + p.pad_end for size in step.shape[2:]]
    if min(sizes) < 1:
        raise step.error(f"pads {p.pad_beg} and {p.pad_end} leave nothing of {step.shape}")
    if p.pad_beg or p.pad_end:
        ends = [size - p.pad_beg for size in sizes]
        operands = {"starts": [-p.pad_beg] * 2, "ends": ends, "axes": [2, 3]}
        names = [step.integers(*numbers, role=role) for role, numbers in operands.items()]
        value = step.add("Slice", [value, *names], part="cut")
    target = [step.size(size, "size") for size in _interp_size(step, p, sizes)]
    return _resize(step, value, target, mode="linear", coordinate_transformation_mode="align_corners")


def upsample(step: Step) -> Result:
    """By a pooling's mask (SegNet); else each cell as a square (YOLO), or bilinear where it says so."""
    step.expect_bottoms(1, 2)
    p = step.message.upsample_param
    if len(step.shape) != 4:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    height, width = step.shape[2:]
    if len(step.bottoms) == 2:
        if not isinstance(step.bottoms[1], Mask):
            raise step.error("its second bottom is not the mask of a max pooling")
        if p.HasField("upsample_h") and p.HasField("upsample_w"):
            return unpool(step, p.upsample_h, p.upsample_w)
        # SegNet's fork takes 2 where nothing is said.
        factors = [p.scale_h, p.scale_w] if p.HasField("scale_h") else [_whole(step, p.scale, 2)] * 2
        return unpool(step, height * factors[0] - p.pad_out_h, width * factors[1] - p.pad_out_w)
    if p.mode == _BILINEAR:
        raise step.error("mode BILINEAR: expected NEAREST")
    target = [p.upsample_h or p.height, p.upsample_w or p.width]
    if not all(target):
        factors = [_whole(step, p.scale, 1)] * 2
        if p.HasField("scale_h"):
            factors = [p.scale_h, p.scale_w]
        elif p.HasField("stride"):
            factors = [p.stride, p.stride]
        target = [height * step.size(factors[0], "scale"), width * step.size(factors[1], "scale")]
    target = [step.size(size, "size") for size in target]
    return _resize(
        step,
        step.input,
        target,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _interp_size(step: Step, p: Any, sizes: list[int]) -> list[int]:
    if len(step.bottoms) == 2:
        return list(step.tensor(1).shape[2:])
    if p.height and p.width:
        return [p.height, p.width]
    shrink, zoom = (step.size(getattr(p, name), name) for name in ("shrink_factor", "zoom_factor"))
    shrunk = [(size - 1) // shrink + 1 for size in sizes]
    return [size + (size - 1) * (zoom - 1) for size in shrunk]


def _resize(step: Step, value: str, sizes: list[int], **attributes: str) -> str:
    shape = step.graph.shape(value)
    none = step.constant(np.zeros(0, np.float32), "none")
    target = step.integers(*shape[:2], *sizes, role="size")
    return step.add("Resize", [value, none, none, target], **attributes)


def _whole(step: Step, scale: float, default: int) -> int:
    """A factor, which some forks keep as a float. default: where the file says nothing."""
    if not step.message.upsample_param.HasField("scale"):
        return default
    if not scale.is_integer():
        raise step.error(f"scale {scale}: expected a whole number")
    return int(scale)


CONVERTERS: dict[str, Converter] = {"Interp": interp, "Upsample": upsample}

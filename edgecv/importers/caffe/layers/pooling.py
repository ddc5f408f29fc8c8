"""Pooling as Caffe sizes it, its mask, and the Upsample that takes the mask."""

from __future__ import annotations

from typing import Any

from edgecv.importers.caffe.step import Converter, Mask, Result, Step

_MAX, _AVE, _STOCHASTIC = range(3)
_FLOOR = 1


def pooling(step: Step) -> Result:
    """MAX and AVE over windows, or over the whole map.

    Caffe rounds the number of windows up, drops one that would start in the padding after the map, and
    averages over the part of a window inside the padded map.
    """
    step.expect_bottoms(1)
    p = step.message.pooling_param
    if len(step.shape) != 4:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    if p.pool == _STOCHASTIC:
        raise step.error("pool STOCHASTIC is random: no other framework has it; use MAX or AVE")
    if len(step.layer.tops) > 1 and p.pool != _MAX:
        raise step.error("a second top is the mask of MAX pooling, and this is AVE")
    if p.global_pooling:
        return _global(step, p)
    kernel, pad, stride = (_pair(step, p, what) for what in ("kernel", "pad", "stride"))
    for size, least in zip(pad, kernel, strict=True):
        if size >= least:
            raise step.error(f"pad {pad} of a kernel {kernel}: expected less than the kernel")
    floor = p.round_mode == _FLOOR or not p.ceil_mode
    # Cells of the last windows that lie behind the map.
    ends = [
        max(0, _reach(step, *sizes, any(pad), floor))
        for sizes in zip(step.shape[2:], kernel, pad, stride, strict=True)
    ]
    if p.pool == _AVE:
        return _average(step, kernel, pad, stride, ends)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *ends]}
    if len(step.layer.tops) < 2:
        return step.add("MaxPool", [step.input], **attributes)
    values, indices = step.add_tops("MaxPool", [step.input], **attributes)
    height, width = step.shape[2:]
    return values, Mask(type(step.tensor())(step.graph, indices), (height, width), attributes)


def unpool(step: Step, height: int, width: int) -> str:
    """Each value goes back to where its max pooling found it; the rest is 0."""
    mask = step.bottoms[1]
    assert isinstance(mask, Mask)
    if step.shape != mask.indices.shape:
        raise step.error(f"bottom {step.shape} and mask {mask.indices.shape} differ in shape")
    if (height, width) != mask.size:
        raise step.error(
            f"makes {height}x{width} of a mask over {mask.size[0]}x{mask.size[1]}: "
            "expected the size that was pooled"
        )
    shape = (*step.shape[:2], height, width)
    operands = [step.input, mask.indices.name, step.integers(*shape, role="shape")]
    return step.graph.set_shape(step.add("MaxUnpool", operands, **mask.pooling), shape)


def _global(step: Step, p: Any) -> str:
    if len(step.layer.tops) > 1:
        raise step.error("a mask of global pooling cannot be read")
    if any(_pair(step, p, "pad")) or _pair(step, p, "stride") != [1, 1]:
        raise step.error("global_pooling with a pad or a stride: expected pad 0 and stride 1")
    return step.add("GlobalAveragePool" if p.pool == _AVE else "GlobalMaxPool", [step.input])


def _reach(step: Step, size: int, kernel: int, pad: int, stride: int, padded: bool, floor: bool) -> int:
    """How far the last window reaches behind the map, less than 0 where it ends inside."""
    span = size + 2 * pad - kernel
    windows = (span // stride if floor else -(-span // stride)) + 1
    if padded and (windows - 1) * stride >= size + pad:
        windows -= 1
    if windows < 1:
        raise step.error(f"a kernel of {kernel} on {size} cells leaves nothing: the picture is too small")
    if (windows - 1) * stride >= size + pad:
        raise step.error(
            f"kernel {kernel} and stride {stride} put the last window outside {size} cells, where Caffe "
            "pools nothing: use round_mode FLOOR, or a picture of another size"
        )
    return (windows - 1) * stride + kernel - size - pad


def _average(step: Step, kernel: list[int], pad: list[int], stride: list[int], ends: list[int]) -> str:
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    value = step.input
    if not any(pad):
        # What lies behind the map counts for nothing.
        attributes |= {"pads": [0, 0, *ends], "count_include_pad": 0}
    elif all(end <= size for end, size in zip(ends, pad, strict=True)):
        attributes |= {"pads": pad * 2, "count_include_pad": 1}
    else:
        # The padding counts, and what lies behind it does not.
        borders = step.integers(0, 0, *pad, 0, 0, *pad, role="pads")
        value = step.add("Pad", [value, borders], part="padded")
        ends = [max(0, end - size) for end, size in zip(ends, pad, strict=True)]
        attributes |= {"pads": [0, 0, *ends], "count_include_pad": 0}
    return step.add("AveragePool", [value], **attributes)


def _pair(step: Step, p: Any, what: str) -> list[int]:
    """Height and width of a field that holds one number for both, or of its _h and _w."""
    both = "kernel_size" if what == "kernel" else what
    single = [getattr(p, f"{what}_{axis}") for axis in "hw" if p.HasField(f"{what}_{axis}")]
    if len(single) == 1 or (single and p.HasField(both)):
        raise step.error(f"{what}: expected {what}_h and {what}_w, or {both} alone")
    least = 0 if what == "pad" else 1
    return [step.size(value, what, least=least) for value in single or [getattr(p, both)] * 2]


CONVERTERS: dict[str, Converter] = {"Pooling": pooling}

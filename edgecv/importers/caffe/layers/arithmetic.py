"""Layers that join values, or reduce them: Eltwise, Axpy, Reduction, ArgMax."""

from __future__ import annotations

import numpy as np

from edgecv.importers.caffe.step import Converter, Result, Step, count

_PROD, _SUM, _MAX = range(3)
# Operation of a Reduction -> the operator that does it.
_REDUCTIONS = {1: "ReduceSum", 2: "ReduceL1", 3: "ReduceSumSquare", 4: "ReduceMean"}


def eltwise(step: Step) -> Result:
    """The product, the sum with coefficients, or the largest of values of one shape."""
    p = step.message.eltwise_param
    values = [tensor.name for tensor in step.tensors()]
    if len(values) < 2:
        raise step.error("takes 1 bottom: expected 2 or more")
    for tensor in step.tensors():
        if tensor.shape != step.shape:
            raise step.error(f"bottoms of shapes {step.shape} and {tensor.shape}: expected one shape")
    if p.operation == _MAX:
        return step.add("Max", values)
    if p.operation == _SUM and p.coeff:
        if len(p.coeff) != len(values):
            raise step.error(f"{len(p.coeff)} coefficients for {len(values)} bottoms: expected one of each")
        values = [
            value
            if factor == 1
            else step.add("Mul", [value, step.scalar(factor, f"coeff{n}")], part=f"term{n}")
            for n, (value, factor) in enumerate(zip(values, p.coeff, strict=True))
        ]
    op = "Mul" if p.operation == _PROD else "Add"
    result = values[0]
    for number, value in enumerate(values[1:], 2):
        part = "" if number == len(values) else f"first{number}"
        result = step.add(op, [result, value], part=part)
    return result


def axpy(step: Step) -> str:
    """The first bottom, one number a channel, times the second, and the third."""
    step.expect_bottoms(3)
    factor, x, y = step.tensors()
    per_channel = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    if count(factor.shape) != count(per_channel) or x.shape != y.shape:
        raise step.error(f"bottoms of shapes {factor.shape}, {x.shape} and {y.shape} do not fit")
    scaled = step.add("Mul", [x.name, step.reshape(factor.name, per_channel, part="factor")], part="scaled")
    return step.add("Add", [scaled, y.name])


def reduction(step: Step) -> str:
    """Sum, sum of magnitudes or of squares, or mean, over all axes from one on, times a coefficient."""
    p = step.message.reduction_param
    axes = list(range(step.axis(p.axis), len(step.shape)))
    op = _REDUCTIONS[p.operation]
    reduced = step.add(op, [step.input], part="" if p.coeff == 1 else "reduced", axes=axes, keepdims=0)
    return reduced if p.coeff == 1 else step.add("Mul", [reduced, step.scalar(p.coeff, "coeff")])


def arg_max(step: Step) -> str:
    """Positions of the largest values, as numbers, or the values, or both.

    With an axis: along it, positions or values. Without: of everything in one image, positions and
    below them values. Of equal values the last one comes first.
    """
    p = step.message.argmax_param
    value, rank = step.input, len(step.shape)
    has_axis = p.HasField("axis")
    axis = step.axis(p.axis) if has_axis else 1
    shape: tuple[int, ...] = step.shape
    if not has_axis:
        shape = (step.shape[0], count(step.shape[1:]))
        value = step.reshape(value, shape, part="flat")
    top = step.size(p.top_k, "top_k")
    if top > shape[axis]:
        raise step.error(f"top_k {top} of {shape[axis]} values")
    # TopK puts the first of equal values first.
    operands = {"starts": -1, "ends": np.iinfo(np.int64).min, "axes": axis, "steps": -1}
    names = [step.integers(number, role=role) for role, number in operands.items()]
    turned = step.add("Slice", [value, *names], part="turned")
    names = [step.graph.unused(f"{turned}.{part}") for part in ("values", "places")]
    most = step.integers(top, role="top_k")
    values, places = step.graph.add_many("TopK", [turned, most], names=names, axis=axis)
    if p.out_max_val and has_axis:
        return step.add("Identity", [values])
    places = step.add("Cast", [places], part="counted", to=1)
    last = step.scalar(shape[axis] - 1, "last")
    if has_axis:
        return step.add("Sub", [last, places])
    places = step.add("Sub", [last, places], part="positions")
    rows = 1
    if p.out_max_val:
        places, rows = step.add("Concat", [places, values], part="both", axis=1), 2
    return step.reshape(places, (shape[0], rows, top, *(1,) * (rank - 3)))


CONVERTERS: dict[str, Converter] = {
    "Eltwise": eltwise,
    "Axpy": axpy,
    "Reduction": reduction,
    "ArgMax": arg_max,
}

"""Operators of older opsets in their newest form: what each means is the same afterwards.

Only what differs in inputs, attributes or meaning is here; `normalize` has the one form that each operator
takes in the end. Sources: the operators' versions in ONNX's Changelog.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.errors import ModelFileError
from edgecv.graph.rewrite import (
    NEWEST_OPSET,
    Pass,
    Rewrite,
    attribute,
    attributes,
    constant,
    given,
    infer,
    rank,
    shape,
)

_MICROSOFT = "com.microsoft"

_Rule = Callable[[Rewrite, ir.Node], None]


def upgrade(rewrite: Rewrite) -> None:
    """Operators of older opsets, and of com.microsoft, are written in the newest form of ONNX's."""
    imports = rewrite.graph.opset_imports
    opset = imports.get("", imports.pop("ai.onnx", NEWEST_OPSET))
    nodes = list(rewrite.graph.all_nodes())
    is_mixed = any(node.domain == _MICROSOFT for node in nodes)
    if opset < NEWEST_OPSET or is_mixed:
        for node in nodes:
            if node.domain == _MICROSOFT:
                # Of few networks.
                from edgecv.graph.normal import microsoft

                microsoft.expand(rewrite, node)
                continue
            changed_in, rule = _RULES.get(node.op_type, (0, None))
            if rule is not None and not node.domain and opset < changed_in:
                rule(rewrite, node)
            # Inference of the file has stopped where such an operator stood.
            if is_mixed and node.graph is not None and any(_is_unknown(y) for y in node.outputs):
                infer(node)
        if all(node.domain != _MICROSOFT for node in rewrite.graph.all_nodes()):
            imports.pop(_MICROSOFT, None)
    imports[""] = NEWEST_OPSET


def _is_unknown(value: ir.Value) -> bool:
    return value.type is None or shape(value) is None


def _float_type(node: ir.Node) -> Any:
    value = node.inputs[0]
    assert value is not None
    return np.float32 if value.dtype is None else value.dtype.numpy()


def _operand(rewrite: Rewrite, node: ir.Node, index: int, name: str) -> None:
    """An attribute of whole numbers becomes an input."""
    numbers = attribute(node, name)
    if numbers is not None:
        rewrite.set_input(node, index, rewrite.operand(numbers, f"{node.name}/{name}"))
        node.attributes.pop(name)


def _bounds_to_inputs(rewrite: Rewrite, node: ir.Node) -> None:
    for index, name in ((1, "min"), (2, "max")):
        bound = attribute(node, name)
        if bound is not None:
            value = rewrite.constant(np.array(bound, _float_type(node)), f"{node.name}/{name}")
            rewrite.set_input(node, index, value)
            node.attributes.pop(name)


def _axes_to_input(rewrite: Rewrite, node: ir.Node) -> None:
    _operand(rewrite, node, 1, "axes")


def _split_to_input(rewrite: Rewrite, node: ir.Node) -> None:
    _operand(rewrite, node, 1, "split")
    if len(node.inputs) < 2 or node.inputs[1] is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def _slice(rewrite: Rewrite, node: ir.Node) -> None:
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        _operand(rewrite, node, index, name)


def _pad(rewrite: Rewrite, node: ir.Node) -> None:
    _operand(rewrite, node, 1, "pads")
    value = attribute(node, "value")
    if value is not None:
        fill = rewrite.constant(np.array(value, _float_type(node)), f"{node.name}/value")
        rewrite.set_input(node, 2, fill)
        node.attributes.pop("value")


def _top_k(rewrite: Rewrite, node: ir.Node) -> None:
    count = attribute(node, "k")
    if count is not None:
        rewrite.set_input(node, 1, rewrite.operand([count], f"{node.name}/k"))
        node.attributes.pop("k")


def _dropout(rewrite: Rewrite, node: ir.Node) -> None:
    ratio = attribute(node, "ratio", 0.5)
    rewrite.set_input(node, 1, rewrite.constant(np.array(ratio, np.float32), f"{node.name}/ratio"))
    node.attributes.pop("ratio", None)


def _batch_normalization(rewrite: Rewrite, node: ir.Node) -> None:
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise ModelFileError(
            f"{node.name}: BatchNormalization in training (it gives out its statistics): "
            "expected a network exported for inference"
        )
    node.resize_outputs(1)
    node.attributes.pop("momentum", None)
    if attribute(node, "spatial", 1):
        node.attributes.pop("spatial", None)
        return
    # Statistics for each element in place of each channel: its definition, written out.
    x, scale, bias, mean, variance = node.inputs
    epsilon = rewrite.constant(np.array(attribute(node, "epsilon", 1e-5), np.float32), f"{node.name}/epsilon")
    deviation = rewrite.value(node, "Sqrt", [rewrite.value(node, "Add", [variance, epsilon])])
    centered = rewrite.value(node, "Sub", [x, mean])
    scaled = rewrite.value(node, "Mul", [rewrite.value(node, "Div", [centered, deviation]), scale])
    rewrite.replace(node.outputs[0], rewrite.value(node, "Add", [scaled, bias]))


def _upsample(rewrite: Rewrite, node: ir.Node) -> None:
    scales = given(node, 1)
    if scales is None:
        numbers = np.array(attribute(node, "scales"), np.float32)
        scales = rewrite.constant(numbers, f"{node.name}/scales")
    _replace_by_resize(rewrite, node, scales)


def _resize(rewrite: Rewrite, node: ir.Node) -> None:
    # In opset 10 its inputs are x and scales, as Upsample's.
    if len(node.inputs) == 2 and "coordinate_transformation_mode" not in node.attributes:
        scales = node.inputs[1]
        assert scales is not None
        _replace_by_resize(rewrite, node, scales)


def _replace_by_resize(rewrite: Rewrite, node: ir.Node, scales: ir.Value) -> None:
    resized = rewrite.value(
        node,
        "Resize",
        [node.inputs[0], None, scales],
        {
            "mode": {"bilinear": "linear"}.get(
                attribute(node, "mode", "nearest"), attribute(node, "mode", "nearest")
            ),
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        like=node.outputs[0],
    )
    rewrite.replace(node.outputs[0], resized)


def _softmax(rewrite: Rewrite, node: ir.Node) -> None:
    """Before opset 13 the axes from `axis` on are one, and the result is over all of them."""
    axis = attribute(node, "axis", 1)
    x = node.inputs[0]
    axes = rank(x)
    if axes is not None and axis in (axes - 1, -1):
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
        return
    if axes is not None:
        axis %= axes
    flat = rewrite.value(node, "Flatten", [x], {"axis": axis})
    result = rewrite.value(node, node.op_type, [flat], {"axis": 1})
    sizes = shape(x)
    target = (
        rewrite.value(node, "Shape", [x]) if sizes is None else rewrite.operand(sizes, f"{node.name}/shape")
    )
    attributes_of_reshape = {"allowzero": 1} if sizes is not None and 0 in sizes else {}
    shaped = rewrite.value(node, "Reshape", [result, target], attributes_of_reshape, like=node.outputs[0])
    rewrite.replace(node.outputs[0], shaped)


def _roi_align(rewrite: Rewrite, node: ir.Node) -> None:
    mode = "coordinate_transformation_mode"
    node.attributes[mode] = ir.AttrString(mode, "output_half_pixel")


def _grid_sample(rewrite: Rewrite, node: ir.Node) -> None:
    mode = attribute(node, "mode", "bilinear")
    newest = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    node.attributes["mode"] = ir.AttrString("mode", newest)


def _group_normalization(rewrite: Rewrite, node: ir.Node) -> None:
    """Before opset 21 a scale and a bias are those of a group, from then on of a channel."""
    x, groups = node.inputs[0], int(attribute(node, "num_groups"))
    if x is None or x.shape is None or not isinstance(x.shape[1], int):
        raise ModelFileError(f"{node.name}: GroupNormalization of an unknown number of channels")
    each = x.shape[1] // groups
    for index in (1, 2):
        value = node.inputs[index]
        array = constant(value)
        if array is not None:
            new = rewrite.constant(np.repeat(array, each), f"{node.name}/{index}")
        else:
            column = rewrite.operand([groups, 1], f"{node.name}/column")
            whole = rewrite.operand([groups, each], f"{node.name}/whole")
            line = rewrite.operand([groups * each], f"{node.name}/line")
            wide = rewrite.value(node, "Expand", [rewrite.value(node, "Reshape", [value, column]), whole])
            new = rewrite.value(node, "Reshape", [wide, line])
        rewrite.set_input(node, index, new)


def _scatter(rewrite: Rewrite, node: ir.Node) -> None:
    new = rewrite.value(node, "ScatterElements", node.inputs, attributes(node), like=node.outputs[0])
    rewrite.replace(node.outputs[0], new)


def _scan(rewrite: Rewrite, node: ir.Node) -> None:
    """In opset 8 a Scan goes over each entry of a batch by itself, and may be told how far."""
    lengths, *values = node.inputs
    sizes = shape(values[-1]) if values else None
    if lengths is not None or sizes is None:
        raise ModelFileError(
            f"{node.name}: Scan of opset 8 with lengths of its own, or over an unknown batch: "
            "convert the model to opset 9 with onnx.version_converter"
        )
    scans = attribute(node, "num_scan_inputs")
    body = node.attributes["body"].as_graph()
    zero = rewrite.operand([0], f"{node.name}/axis")
    entries: list[list[ir.Value]] = []
    for b in range(sizes[0]):
        at = rewrite.constant(np.array(b, np.int64), f"{node.name}/entry")
        parts = [rewrite.value(node, "Gather", [value, at], {"axis": 0}) for value in values]
        own = {
            "body": ir.AttrGraph("body", body.clone(allow_outer_scope_values=True)),
            "num_scan_inputs": scans,
            "scan_input_directions": attribute(node, "directions", [0] * scans),
        }
        one = rewrite.node(node, "Scan", parts, own, outputs=len(node.outputs))
        for made, output in zip(one.outputs, node.outputs, strict=True):
            made.type = output.type
        entries.append([rewrite.value(node, "Unsqueeze", [made, zero]) for made in one.outputs])
    for output, lines in zip(list(node.outputs), zip(*entries, strict=True), strict=True):
        rewrite.replace(output, rewrite.value(node, "Concat", lines, {"axis": 0}, like=output))


# Operator -> the opset from which the newest form holds, and what brings an older one there.
_RULES: dict[str, tuple[int, _Rule]] = {
    "BatchNormalization": (14, _batch_normalization),
    "Clip": (11, _bounds_to_inputs),
    "Dropout": (12, _dropout),
    "GridSample": (20, _grid_sample),
    "GroupNormalization": (21, _group_normalization),
    "Hardmax": (13, _softmax),
    "LogSoftmax": (13, _softmax),
    "Pad": (11, _pad),
    "ReduceL1": (18, _axes_to_input),
    "ReduceL2": (18, _axes_to_input),
    "ReduceLogSum": (18, _axes_to_input),
    "ReduceLogSumExp": (18, _axes_to_input),
    "ReduceMax": (18, _axes_to_input),
    "ReduceMean": (18, _axes_to_input),
    "ReduceMin": (18, _axes_to_input),
    "ReduceProd": (18, _axes_to_input),
    "ReduceSum": (13, _axes_to_input),
    "ReduceSumSquare": (18, _axes_to_input),
    "Resize": (11, _resize),
    "RoiAlign": (16, _roi_align),
    "Scan": (9, _scan),
    "Scatter": (11, _scatter),
    "Slice": (10, _slice),
    "Softmax": (13, _softmax),
    "Split": (18, _split_to_input),
    "Squeeze": (13, _axes_to_input),
    "TopK": (10, _top_k),
    "Unsqueeze": (13, _axes_to_input),
    "Upsample": (10, _upsample),
}

UPGRADE = Pass("upgrade", upgrade)

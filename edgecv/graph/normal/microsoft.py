"""Operators of the domain com.microsoft, which ONNX Runtime's tools write into files, as ONNX's own.

Source of their meaning: ONNX Runtime's ContribOperators.md. Each is written in the newest opset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.graph.normal.integers import from_whole, is_plain, to_whole
from edgecv.graph.rewrite import Rewrite, attribute, attributes, given, rank

DOMAIN = "com.microsoft"

_Rule = Callable[[Rewrite, ir.Node], "ir.Value | None"]


def expand(rewrite: Rewrite, node: ir.Node) -> None:
    """Write an operator of the domain as ONNX's; it stays, with a note why, where it cannot be."""
    rule = RULES.get(node.op_type)
    if rule is None:
        return
    result = rule(rewrite, node)
    if result is not None:
        rewrite.replace(node.outputs[0], result, what=f"{node.op_type} of {DOMAIN} written out")


def _kind(value: ir.Value | None) -> Any:
    return np.float32 if value is None or value.dtype is None else value.dtype.numpy()


def _number(rewrite: Rewrite, node: ir.Node, number: float, like: ir.Value | None) -> ir.Value:
    return rewrite.constant(np.array(number, _kind(like)), f"{node.name}/number")


# ---- Products and what follows them


def _fused_conv(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    own = {k: v for k, v in attributes(node).items() if not k.startswith("activation")}
    y = rewrite.value(node, "Conv", list(node.inputs[:3]), own)
    if given(node, 3) is not None:
        y = rewrite.value(node, "Add", [y, node.inputs[3]])
    numbers = attribute(node, "activation_params", [])
    return _activated(rewrite, node, y, numbers)


def _fused_gemm(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    own = {k: v for k, v in attributes(node).items() if not k.startswith("activation")}
    y = rewrite.value(node, "Gemm", list(node.inputs), own)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    numbers = [attribute(node, name) for name in names if name in node.attributes]
    return _activated(rewrite, node, y, numbers)


def _activated(rewrite: Rewrite, node: ir.Node, y: ir.Value, numbers: list[float]) -> ir.Value | None:
    """What follows a fused product; its parameters stand in the order of ONNX's attributes."""
    name = attribute(node, "activation", "")
    if name == "Clip":
        bounds = [_number(rewrite, node, number, y) for number in numbers]
        return rewrite.value(node, "Clip", [y, *bounds])
    parameters = {
        "": (),
        "Relu": (),
        "Tanh": (),
        "Sigmoid": (),
        "HardSwish": (),
        "LeakyRelu": ("alpha",),
        "HardSigmoid": ("alpha", "beta"),
    }.get(name)
    if parameters is None:
        rewrite.miss(node, f"activation {name!r}")
        return None
    values = {key: float(number) for key, number in zip(parameters, numbers, strict=False)}
    return rewrite.value(node, name, [y], values) if name else y


def _fused_matmul(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    operands = []
    for value, letter in zip(node.inputs, "AB", strict=True):
        count = rank(value)
        if count is None:
            rewrite.miss(node, "operands of unknown shape")
            return None
        order = list(range(count))
        if attribute(node, f"transBatch{letter}", 0) and count > 2:
            order = [*order[1:-1], 0, order[-1]]
        if attribute(node, f"trans{letter}", 0) and count > 1:
            order[-2:] = order[:-3:-1]
        is_turned = order != sorted(order)
        operands.append(rewrite.value(node, "Transpose", [value], {"perm": order}) if is_turned else value)
    y = rewrite.value(node, "MatMul", operands)
    alpha = attribute(node, "alpha", 1.0)
    return y if alpha == 1 else rewrite.value(node, "Mul", [y, _number(rewrite, node, alpha, y)])


# ---- Activations


def _gelu(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    return rewrite.value(node, "Gelu", [node.inputs[0]])


def _bias_gelu(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    return rewrite.value(node, "Gelu", [rewrite.value(node, "Add", list(node.inputs))])


def _fast_gelu(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    x, bias = node.inputs[0], given(node, 1)
    x = x if bias is None else rewrite.value(node, "Add", [x, bias])
    return rewrite.value(node, "Gelu", [x], {"approximate": "tanh"})


def _quick_gelu(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    x, alpha = node.inputs[0], attribute(node, "alpha", 1.702)
    scaled = x if alpha == 1 else rewrite.value(node, "Mul", [x, _number(rewrite, node, alpha, x)])
    return rewrite.value(node, "Mul", [x, rewrite.value(node, "Sigmoid", [scaled])])


# ---- Normalizations


def _skip_normalization(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    """LayerNormalization, or RMSNormalization, of x + skip + bias, a sum that is given out too."""
    is_simple = node.op_type == "SkipSimplifiedLayerNormalization"
    x, skip, gamma = node.inputs[:3]
    beta = None if is_simple else given(node, 3)
    bias = given(node, 3 if is_simple else 4)
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:3]):
        rewrite.miss(node, "statistics are given out")
        return None
    total = rewrite.value(node, "Add", [x, skip])
    total = total if bias is None else rewrite.value(node, "Add", [total, bias])
    operands = [total, gamma] if beta is None else [total, gamma, beta]
    numbers = {"axis": -1, "epsilon": attribute(node, "epsilon", 1e-12)}
    op = "RMSNormalization" if is_simple else "LayerNormalization"
    result = rewrite.value(node, op, operands, numbers)
    if len(node.outputs) > 3:
        rewrite.replace(node.outputs[3], total)
    return result


# ---- Quantized numbers


def _quantized(
    scales: int, *, op: str = "", operands: int = 1, names: tuple[str, ...] = ()
) -> Callable[[Rewrite, ir.Node], ir.Value | None]:
    """A rule for operands of (x, scale, zero point) each, then the result's scale and zero point.

    scales: how many inputs stand before the operands (none, or the result's two). names: of attributes that
    the operator of ONNX has as well.
    """

    def rule(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
        inputs = [*node.inputs, *(None,) * 3]
        count = operands or (len(node.inputs) - scales) // 3
        triples = [inputs[scales + 3 * i : scales + 3 * i + 3] for i in range(count)]
        y_scale, y_zero = inputs[:2] if scales else inputs[3 * count : 3 * count + 2]
        first = triples[0][0]
        kind = first.dtype if first is not None and y_zero is None else y_zero.dtype if y_zero else None
        if kind is None or not is_plain(rewrite, node, [y_scale, *(scale for _, scale, _ in triples)]):
            return None
        if attribute(node, "channels_last", 0):
            rewrite.miss(node, "channels in the last axis")
            return None
        values = [from_whole(rewrite, node, x, scale, zero) for x, scale, zero in triples]
        own = {name: found for name, found in attributes(node).items() if name in names}
        made = rewrite.value(node, op, values, own)
        return to_whole(rewrite, node, made, y_scale, y_zero, kind)

    return rule


def _quantized_softmax(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    count = rank(node.inputs[0])
    axis = attribute(node, "axis", -1)
    if attribute(node, "opset", 13) < 13 and count is not None and axis % count != count - 1:
        rewrite.miss(node, "several axes that are one")
        return None
    return _quantized(0, op="Softmax", names=("axis",))(rewrite, node)


def _quantized_gemm(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    """QGemm; without a scale of the result it is one of float32."""
    a, a_scale, a_zero, b, b_scale, b_zero = node.inputs[:6]
    c, y_scale, y_zero = given(node, 6), given(node, 7), given(node, 8)
    if not is_plain(rewrite, node, [s for s in (a_scale, b_scale, y_scale) if s is not None]):
        return None
    columns = 0 if attribute(node, "transB", 0) else 1
    operands = [
        from_whole(rewrite, node, a, a_scale, a_zero),
        from_whole(rewrite, node, b, b_scale, b_zero, columns),
    ]
    alpha = attribute(node, "alpha", 1.0)
    if c is not None:
        step = rewrite.value(node, "Mul", [a_scale, b_scale])
        step = rewrite.value(node, "Mul", [step, _number(rewrite, node, alpha, step)])
        numbers = rewrite.value(node, "Cast", [c], {"to": int(ir.DataType.FLOAT)})
        operands.append(rewrite.value(node, "Mul", [numbers, step]))
    made = rewrite.value(node, "Gemm", operands, attributes(node))
    if y_scale is None:
        return made
    kind = a.dtype if y_zero is None and a is not None else y_zero.dtype if y_zero is not None else None
    return None if kind is None else to_whole(rewrite, node, made, y_scale, y_zero, kind)


def _matmul_to_float(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    a, b, a_scale, b_scale = node.inputs[:4]
    return _real_matmul(
        rewrite, node, (a, a_scale, given(node, 4)), (b, b_scale, given(node, 5)), given(node, 6)
    )


def _dynamic_matmul(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    a, b, b_scale = node.inputs[:3]
    made = rewrite.node(node, "DynamicQuantizeLinear", [a], outputs=3)
    left = (made.outputs[0], made.outputs[1], made.outputs[2])
    return _real_matmul(rewrite, node, left, (b, b_scale, given(node, 3)), given(node, 4))


_Quantized = tuple["ir.Value | None", "ir.Value | None", "ir.Value | None"]


def _real_matmul(
    rewrite: Rewrite, node: ir.Node, a: _Quantized, b: _Quantized, bias: ir.Value | None
) -> ir.Value | None:
    """The product of what quantized numbers stand for: vectors are of columns of the right operand."""
    if not is_plain(rewrite, node, (a[1], b[1])):
        return None
    y = rewrite.value(node, "MatMul", [from_whole(rewrite, node, *a, -2), from_whole(rewrite, node, *b, -1)])
    return y if bias is None else rewrite.value(node, "Add", [y, bias])


def _same(rewrite: Rewrite, node: ir.Node) -> ir.Value | None:
    """The operator of ONNX of the same name."""
    return rewrite.value(node, node.op_type, list(node.inputs), attributes(node))


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")

RULES: dict[str, _Rule] = {
    "BiasGelu": _bias_gelu,
    "DequantizeLinear": _same,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "MatMulIntegerToFloat": _matmul_to_float,
    "QGemm": _quantized_gemm,
    "QLinearAdd": _quantized(0, op="Add", operands=2),
    "QLinearAveragePool": _quantized(0, op="AveragePool", names=_POOL),
    "QLinearConcat": _quantized(2, op="Concat", operands=0, names=("axis",)),
    "QLinearGlobalAveragePool": _quantized(0, op="GlobalAveragePool"),
    "QLinearLeakyRelu": _quantized(0, op="LeakyRelu", names=("alpha",)),
    "QLinearMul": _quantized(0, op="Mul", operands=2),
    "QLinearSigmoid": _quantized(0, op="Sigmoid"),
    "QLinearSoftmax": _quantized_softmax,
    "QuantizeLinear": _same,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_normalization,
    "SkipSimplifiedLayerNormalization": _skip_normalization,
}

"""What the engine claims to run: operators, with the element types and forms of each. One place.

Compilation checks it, the documentation prints it, and the tests of the ONNX project are held against it.
Opsets from `OLDEST_OPSET` to the newest of the installed onnx: passes write older forms of an operator in its
newest one, which is the one that is meant here. Networks of float16 and bfloat16 are computed in float32
(`engine.fuse.widen`): of the narrow types only the Casts at the border are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv.engine.planned import SIZES_ONLY
from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.data_sizes import ELEMENTWISE
from edgecv.graph.model import OnnxModel

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from edgecv.engine.lower.base import Node

FLOAT32 = ("float32",)
FLOATS = ("float32", "float64", "float16")
NUMBERS = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BOOL = ("bool",)
ANY = (*NUMBERS, *BOOL)
QUANTIZED = ("uint8", "int8", "uint16", "int16")
# Numbers of ONNX's element types.
_FLOAT, _UINT8, _STRING = 1, 2, 8
# kMostSamples of ext/simd/sampling.h.
MOST_SAMPLES = 4096
# Where passes leave their reasons (`graph.rewrite.MISSED`, whose module takes a second to import).
_MISSED = "missed"
# Operands of no more elements are told in errors.
_SHOWN = 8


class Limit(msgspec.Struct, frozen=True):
    """What a claim leaves out. about: what it wants, in words; allows: whether a node keeps to it."""

    about: str
    allows: Callable[[Node], bool]


class Claim(msgspec.Struct, frozen=True):
    """dtypes: of the elements that the operator works on, which are those of input `operand`."""

    dtypes: tuple[str, ...]
    operand: int = 0
    limits: tuple[Limit, ...] = ()


def _rank(least: int, most: int) -> Limit:
    axes = f"{least - 2} to {most - 2}" if least < most else f"{least - 2}"
    return Limit(f"{axes} axes of pixels", lambda node: least <= len(node.input(0).shape) <= most)


def _casts(node: Node) -> bool:
    return _is_known_type(node, node.attribute("to"))


def _names_type(node: Node) -> bool:
    return node.attribute("dtype") is None or _is_known_type(node, node.attribute("dtype"))


def _is_known_type(node: Node, number: int) -> bool:
    from edgecv.engine.lower.quantize import dtype_of

    return number != _STRING and dtype_of(node, number).name in ANY


def _quantizes(node: Node) -> bool:
    from edgecv.engine.lower.quantize import dtype_of

    zero = node.optional(2)
    number = node.attribute("output_dtype", 0) or _UINT8
    made = zero.dtype if zero is not None else dtype_of(node, number)
    return made.name in QUANTIZED


def _has_float_scale(node: Node) -> bool:
    made = node.attribute("output_dtype", 0) if node.op == "DequantizeLinear" else 0
    numbers = (made, node.attribute("precision", 0))
    return node.input(1).dtype.name == "float32" and all(number in (0, _FLOAT) for number in numbers)


def _in_blocks(node: Node) -> bool:
    block, shape = node.attribute("block_size", 0), node.input(0).shape
    return not block or shape[node.attribute("axis", 1)] % block == 0


def _is_not_training(node: Node) -> bool:
    flag = node.optional(2)
    return flag is None or (flag.constant is not None and not flag.constant.any())


def _knows_grouped_weights(node: Node) -> bool:
    """Those of a transposed convolution in groups, or of dilations that strides do not divide."""
    is_known = node.input(1).constant is not None
    dilations = node.attribute("dilations") or (1,)
    return is_known or (node.attribute("group", 1) == 1 and all(d == 1 for d in dilations))


def _finds_in_pictures(node: Node) -> bool:
    has_indices = len(node.outputs) > 1 and node.outputs[1] != ""
    x = node.input(0)
    return not has_indices or (len(x.shape) in (3, 4) and x.dtype.name == "float32")


def _has_tiled_rank(node: Node) -> bool:
    repeats = node.input(1).constant
    return repeats is not None and len(node.input(0).shape) + int((repeats != 1).sum()) <= 8


def _has_pixels(node: Node) -> bool:
    return 0 not in node.input(0).shape[2:]


def _takes_few_samples(node: Node) -> bool:
    return int(node.attribute("sampling_ratio", 0)) <= MOST_SAMPLES


def _has_fitting_offsets(node: Node) -> bool:
    """Whether the shapes of a deformable convolution go together, which shape inference does not look at."""
    from edgecv.engine.lower.convolution import kernel_of

    x, weights, offsets, mask = node.input(0), node.input(1), node.input(2), node.optional(4)
    kernel, group = kernel_of(node, weights.shape), node.attribute("offset_group", 1)
    made = kernel.made(x.shape[2], x.shape[3])
    taps = group * math.prod(kernel.size)
    wanted = (x.shape[0], taps, *made)
    return (
        x.shape[1] % group == 0
        and x.shape[1] == weights.shape[1] * node.attribute("group", 1)
        and offsets.shape == (x.shape[0], 2 * taps, *made)
        and (mask is None or mask.shape == wanted)
    )


def _typed(index: int, dtype: str) -> Limit:
    return Limit(f"input {index} of {dtype}", lambda node: node.input(index).dtype.name == dtype)


def _one_of(name: str, *values: str) -> Limit:
    """An attribute that is one of these, the first where it is left out."""
    return Limit(f"{name} {' or '.join(values)}", lambda node: node.attribute(name, values[0]) in values)


_GROUPED = Limit("weights known, where they are in groups or dilated", _knows_grouped_weights)
_SCALES = Limit("scales and results of float32", _has_float_scale)
_BLOCKS = Limit("whole blocks", _in_blocks)
_PIXELS = Limit("maps with pixels", _has_pixels)


def _all(operators: str, dtypes: tuple[str, ...], *limits: Limit, operand: int = 0) -> dict[str, Claim]:
    return {operator: Claim(dtypes, operand, limits) for operator in operators.split()}


def _names(operators: str) -> list[str]:
    return operators.split()


# Operators that are lowered. Operands that say shapes, axes and counts are known before the run: where they
# are inputs of the graph, their values belong to the plan.
CLAIMS: dict[str, Claim] = {
    # Re-indexing
    **_all("Reshape Identity Transpose Split Slice Concat Expand Pad", ANY),
    **_all("Gather GatherElements GatherND ScatterElements ScatterND Trilu", ANY),
    **_all("Tile", ANY, Limit("at most 8 axes and repeats", _has_tiled_rank)),
    **_all("Where", ANY, operand=1),
    **_all("OneHot", ANY, operand=2),
    **_all("EyeLike", ANY, Limit(f"of {', '.join(ANY)}", _names_type)),
    **_all("ConstantOfShape", ("int64",)),
    # Element by element
    **_all("Add Sub Mul Div Max Min Mod Pow Neg Abs Sign PRelu Clip", NUMBERS),
    **_all("Sqrt Exp Log Reciprocal Erf Floor Ceil Round Sin Cos Tan Asin Acos Atan Sinh Cosh", FLOATS),
    **_all("Asinh Acosh Atanh IsNaN IsInf", FLOATS),
    **_all("Relu LeakyRelu Sigmoid HardSigmoid HardSwish Tanh Mish Elu Selu Softplus Softsign Gelu", FLOATS),
    **_all("ThresholdedRelu", FLOATS),
    **_all("Not And Or Xor", BOOL),
    **_all("Equal", ANY),
    **_all("Less LessOrEqual Greater GreaterOrEqual", NUMBERS),
    **_all("Cast", ANY, Limit(f"to {', '.join(ANY)}", _casts)),
    **_all("Dropout", FLOATS, Limit("no training", _is_not_training)),
    **_all("edgecv::Activation edgecv::Affine", FLOAT32),
    **_all("edgecv::Add edgecv::Sub edgecv::Mul edgecv::Div edgecv::Max edgecv::Min", FLOAT32),
    # Convolutions and products
    **_all("Conv edgecv::Conv", FLOAT32, _rank(3, 4)),
    **_all("ConvTranspose edgecv::ConvTranspose", FLOAT32, _rank(3, 4), _GROUPED),
    **_all("Gemm MatMul Einsum edgecv::Gemm edgecv::MatMul", FLOAT32),
    # Windows
    **_all(
        "MaxPool",
        ("float32", "uint8", "int8"),
        _rank(3, 5),
        Limit("indices of one or two axes of float32", _finds_in_pictures),
    ),
    **_all("AveragePool", FLOAT32, _rank(3, 5)),
    **_all("MaxUnpool GlobalLpPool Resize", FLOAT32),
    # Places that data tell
    **_all(
        "RoiAlign",
        FLOAT32,
        _PIXELS,
        _typed(2, "int64"),
        _one_of("mode", "avg", "max"),
        _one_of("coordinate_transformation_mode", "half_pixel", "output_half_pixel"),
        Limit(f"sampling_ratio of at most {MOST_SAMPLES}", _takes_few_samples),
    ),
    **_all("MaxRoiPool", FLOAT32, _PIXELS),
    **_all(
        "GridSample",
        FLOAT32,
        _rank(3, 5),
        _PIXELS,
        _typed(1, "float32"),
        _one_of("mode", "linear", "nearest", "cubic"),
        _one_of("padding_mode", "zeros", "border", "reflection"),
    ),
    **_all(
        "DeformConv",
        FLOAT32,
        _rank(4, 4),
        _PIXELS,
        Limit("offsets and a mask of the sizes that ONNX says", _has_fitting_offsets),
    ),
    # Along axes
    **_all("ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceSumSquare", NUMBERS),
    **_all("ReduceLogSum ReduceLogSumExp ArgMax ArgMin TopK", NUMBERS),
    **_all("ReduceMax ReduceMin", ANY),
    **_all("Softmax LogSoftmax Hardmax", FLOAT32),
    **_all("CumSum", ("float32", "float64", "int32", "int64", "uint32", "uint64")),
    # Normalization, quantization, detection
    **_all("LRN edgecv::NonMaxSuppression", FLOAT32),
    **_all("edgecv::NonZero", BOOL),
    **_all("edgecv::Counted", ANY),
    **_all("QuantizeLinear", FLOAT32, Limit(f"to {', '.join(QUANTIZED)}", _quantizes), _SCALES, _BLOCKS),
    **_all("DequantizeLinear", (*QUANTIZED, "int32"), _SCALES, _BLOCKS),
}

# Operators that passes write as others of the table, or compute before the run.
REWRITTEN: dict[str, str] = {
    **dict.fromkeys(("Constant", "Shape", "Size", "Range"), "a constant"),
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), "Reshape"),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), "Reshape, Transpose"),
    **dict.fromkeys(("Sum", "Mean"), "Add, Mul"),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), "ReduceMean, ReduceMax"),
    **dict.fromkeys(("InstanceNormalization", "LpNormalization"), "reductions and arithmetic"),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "RMSNormalization", "MeanVarianceNormalization"),
        "reductions and arithmetic",
    ),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), "their definition"),
    **dict.fromkeys(("Celu", "Shrink", "Swish", "SwiGLU", "RotaryEmbedding"), "their definition"),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), "their definition"),
    "BatchNormalization": "edgecv::Affine, or Mul and Add",
    "CenterCropPad": "Slice, Pad",
    "CastLike": "Cast",
    "DynamicQuantizeLinear": "reductions and arithmetic",
    "LpPool": "Abs, Pow, AveragePool",
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), "their definition in float32"),
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), "exact sums in float32"),
    "NonMaxSuppression": "edgecv::NonMaxSuppression",
    "NonZero": "edgecv::NonZero",
    "Compress": "edgecv::NonZero, Gather",
    "Scatter": "ScatterElements",
    "Upsample": "Resize",
    **dict.fromkeys(
        (
            *(f"com.microsoft::{name}" for name in ("FusedConv", "FusedGemm", "FusedMatMul")),
            *(f"com.microsoft::{name}" for name in ("Gelu", "BiasGelu", "FastGelu", "QuickGelu")),
            *("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"),
        ),
        "the operators that they join",
    ),
    **dict.fromkeys(
        (
            *(f"com.microsoft::QLinear{op}" for op in ("Add", "Mul", "Sigmoid", "LeakyRelu", "Softmax")),
            *(f"com.microsoft::QLinear{op}" for op in ("Concat", "AveragePool", "GlobalAveragePool")),
            *(f"com.microsoft::{op}" for op in ("QGemm", "QuantizeLinear", "DequantizeLinear")),
            *(f"com.microsoft::{op}" for op in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul")),
        ),
        "their definition in float32",
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "their steps, where their number is known before the run"),
    **dict.fromkeys(("Loop", "Scan"), "their iterations, where their number is known before the run"),
    "If": "the branch that is taken, where the condition is known before the run",
}

# Operators that take operands of which data decide the length, and along which axes.
BY_ELEMENT, BY_IMAGE = "any, of operands of one count", "the first alone"
_ANY, _OTHERS, _MADE = "any", "those that it does not go along", "any; a count may say where it ends"
COUNTED: dict[str, str] = {
    **dict.fromkeys(
        _names("NonZero Compress NonMaxSuppression Transpose Gather GatherElements GatherND"), _ANY
    ),
    **dict.fromkeys(_names("Concat OneHot Shape Size TopK CumSum Softmax LogSoftmax Hardmax"), _ANY),
    **dict.fromkeys(_names("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2"), _ANY),
    **dict.fromkeys(_names("ReduceSumSquare ReduceLogSum ReduceLogSumExp ArgMax ArgMin"), _ANY),
    **dict.fromkeys(_names("Slice Pad Expand Tile ConstantOfShape Range"), _MADE),
    **dict.fromkeys(_names("Reshape Squeeze Unsqueeze Flatten"), "those before which no other size changes"),
    **dict.fromkeys(_names("ScatterElements ScatterND"), _ANY),
    **dict.fromkeys(_names("Split MatMul Gemm"), _OTHERS),
    **dict.fromkeys(_names("RoiAlign MaxRoiPool"), "the first of regions"),
    **dict.fromkeys(_names("Conv ConvTranspose MaxPool AveragePool BatchNormalization"), BY_IMAGE),
    **dict.fromkeys(ELEMENTWISE, BY_ELEMENT),
}


def check_operators(nodes: Iterable[onnx_ir.Node]) -> None:
    """Raise UnsupportedOperatorError for the first operator that is none of the table, or that a pass which
    should have written it as others has left, with the reason."""
    for node in nodes:
        name = name_of(node)
        if name in CLAIMS:
            continue
        if name not in REWRITTEN:
            raise _unknown(node.name or "", name)
        if _MISSED in node.meta:
            raise UnsupportedOperatorError(
                f"node {node.name!r} ({name}): {node.meta[_MISSED]}", "form not claimed"
            )


def name_of(node: onnx_ir.Node | onnx.NodeProto) -> str:
    """What an operator is called here: "Conv", or "edgecv::Conv"."""
    return f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def refused(node: onnx_ir.Node, operand: str, why: str = "") -> UnsupportedOperatorError:
    """The error that names a node which does not take an operand whose length data decide, or not this way.

    why: what a plan would have to know.
    """
    return UnsupportedOperatorError(
        f"node {node.name!r} ({node.op_type}): the length of its input {operand!r} depends on data: "
        + (f"a plan cannot tell {why}" if why else "expected a known one"),
        "data-dependent shape",
    )


def check(node: Node, item: onnx_ir.Node) -> None:
    """Raise UnsupportedOperatorError, which names node, operator and attribute, for what is not claimed."""
    name = name_of(item)
    claim = CLAIMS.get(name)
    given = _given(node)
    if claim is None:
        raise node.unsupported(f"{given}: not a form that becomes {REWRITTEN[name]}", "form not claimed")
    operand = node.optional(claim.operand)
    if operand is not None and operand.dtype.name not in claim.dtypes:
        raise node.unsupported(
            f"input {claim.operand} of {operand.dtype}: expected {' or '.join(claim.dtypes)}", "element type"
        )
    for limit in claim.limits:
        if not limit.allows(node):
            raise node.unsupported(f"expected {limit.about}, got {given}", "form not claimed")


def check_model(model: OnnxModel) -> None:
    """The same for a whole model before its shapes are known: operators that no pass can take away.

    Raises UnsupportedOperatorError for the first that works on what the run brings.
    """
    graph = model.proto.graph
    local = {(function.domain, function.name) for function in model.proto.functions}
    known = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        is_random = node.op_type.startswith("Random")
        is_known = node.op_type in SIZES_ONLY or (_reads(node) <= known and not is_random)
        if is_known:
            known.update(node.output)
        elif (node.domain, node.op_type) not in local and not _is_claimed(node):
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            raise _unknown(node.name or (node.output[0] if node.output else name), name)


def _is_claimed(node: onnx.NodeProto) -> bool:
    name = name_of(node)
    return "edgecv::" not in name and (name in CLAIMS or name in REWRITTEN)


def _reads(node: onnx.NodeProto) -> set[str]:
    """All values of the graph that a node reads; those of its branches may be among them."""
    read = {name for name in node.input if name}
    for attribute in node.attribute:
        for inner in attribute.g.node:
            read |= _reads(inner) if attribute.HasField("g") else set()
    return read


def _given(node: Node) -> str:
    """Shapes, small operands and attributes of a node."""
    parts = []
    for i, operand in enumerate(node.inputs):
        if operand is not None:
            known = operand.constant if operand.size <= _SHOWN else None
            parts.append(f"input {i} {operand.shape if known is None else known.tolist()}")
    return ", ".join([*parts, *(f"{name} {value}" for name, value in node.attributes.items())])


def _unknown(node: str, operator: str) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"node {node!r} ({operator}): an operator that it does not have", "operator not claimed"
    )


def table() -> Iterable[tuple[str, str, str]]:
    """Rows for the documentation: operators, element types, what is left out or done with them."""
    for names, claim in _grouped(CLAIMS):
        yield names, ", ".join(claim.dtypes), "; ".join(limit.about for limit in claim.limits)
    for names, becomes in _grouped(REWRITTEN):
        yield names, "", becomes


def counted_table() -> Iterable[tuple[str, str]]:
    """Rows for the documentation: operators that take counted operands, and along which axes."""
    yield from _grouped(COUNTED)


def _grouped(entries: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    groups: dict[Any, list[str]] = {}
    for name, entry in entries.items():
        groups.setdefault(entry, []).append(name)
    return [(", ".join(names), entry) for entry, names in groups.items()]

"""One form of each operator: what the passes and the engine after them have to know.

All of the newest opset. Operands that are constant stay constant inputs; every axis counts from the front.
Where sizes are not known, or an operand is known only at run time, a node may keep another form, and the
report says why.

Constants
    Constant, Shape, Size, and what is made of constants: initializers.
    Identity: gone, but between an input (or a constant, or another output) and an output.
    If of a constant: the branch. Loop, Scan, LSTM, GRU and RNN of a known number of steps: these.
Elements moved
    Reshape, Flatten, Squeeze, Unsqueeze: Reshape to a constant shape without 0 and -1 (`allowzero` 1 only
    where a size is 0), no two in a row.
    Transpose: `perm`; no two in a row; one that moves only axes of size 1 is a Reshape.
    DepthToSpace, SpaceToDepth: Reshape, Transpose, Reshape.
    Slice: x, starts, ends, axes, steps; axes ascending; starts and ends within the axis, and the end of a
    walk backwards to the front -size - 1. Of a Concat: of the one part that it takes from.
    Pad: x, pads of all axes, value; `mode`; negative pads are a Slice before it.
    Expand: the shape is the output's. Tile: only where an axis longer than 1 repeats, else Expand.
    Split: x, sizes; `axis`.
    Concat, Gather, GatherElements, ScatterElements, TopK: `axis`; constant indices of Gather are not
    negative.
Windows
    Conv, ConvTranspose: `kernel_shape`, `strides`, `dilations`, `group`, `pads`, ConvTranspose's
    `output_padding`; neither `auto_pad` nor `output_shape`; two axes of pixels where it was one.
    MaxPool, AveragePool: the same; MaxPool's `storage_order`, AveragePool's `count_include_pad`;
    `ceil_mode` 0, but for an AveragePool that counts padding.
    LpPool: Abs, Pow, AveragePool, Mul, Pow (but with ceil_mode).
    GlobalAveragePool, GlobalMaxPool, GlobalLpPool, a pool of the whole picture: a reduction over the
    pixels.
    MaxUnpool: `kernel_shape`, `strides`, `pads`.
    Resize, Upsample: Resize with every attribute; x, roi (only for tf_crop_and_resize), scales or sizes, of
    all axes; `windows.resize_scales` tells the scales, whatever the policy of aspect ratio. Of 8 bits:
    between Casts.
Reductions
    Reduce...: x, axes (all named, ascending); `keepdims` 1, and a Reshape after it where axes go.
    ArgMax, ArgMin: `axis`, `select_last_index`; `keepdims` 1, and a Reshape after it where the axis goes.
    Softmax, LogSoftmax, Hardmax: along one `axis`, as of opset 13.
Arithmetic
    Sum, Mean, Max, Min: Add, Max, Min of two. Add, Mul, Max, Min: a constant is the second operand.
    Sub, Div by a constant of float32: Add, Mul (but Div before Floor, Cast and such). Pow by 2, 1/2, 1, -1:
    Mul, Sqrt, nothing, Reciprocal.
    Gemm: no attributes: alpha and beta are 1, transA and transB 0. Without C where that is 0.
    MatMul: of stacks of matrices; with one matrix it is a Gemm between Reshapes.
    InstanceNormalization, LpNormalization, LayerNormalization, GroupNormalization and all else that ONNX
    defines by other operators, unless `definitions.KEEP` names it: written out.
    QuantizeLinear, DequantizeLinear: Div, Round, Add, Clip, Cast; Cast, Add, Mul. QLinearConv,
    QLinearMatMul: these around Conv, MatMul. ConvInteger, MatMulInteger: Conv, MatMul between Casts.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgecv.graph.normal import arithmetic, integers, reindex, windows
from edgecv.graph.rewrite import Pass, Rewrite, infer, shape

_Rule = Callable[[Rewrite, ir.Node], None]

RULES: dict[str, _Rule] = {
    "Reshape": reindex.reshape,
    "Flatten": reindex.reshape,
    "Squeeze": reindex.reshape,
    "Unsqueeze": reindex.reshape,
    "Transpose": reindex.transpose,
    "Slice": reindex.slice_,
    "Pad": reindex.pad,
    "Expand": reindex.expand,
    "Tile": reindex.expand,
    "Split": reindex.split,
    "Concat": reindex.concat,
    "Gather": reindex.gather,
    "GatherElements": reindex.gather,
    "ScatterElements": reindex.front_axis,
    "TopK": reindex.front_axis,
    "Softmax": reindex.front_axis,
    "LogSoftmax": reindex.front_axis,
    "Hardmax": reindex.front_axis,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv,
    "MaxPool": windows.pool,
    "AveragePool": windows.pool,
    "LpPool": windows.pool,
    "MaxUnpool": windows.unpool,
    "GlobalAveragePool": windows.global_pool,
    "GlobalMaxPool": windows.global_pool,
    "GlobalLpPool": windows.global_pool,
    "ArgMax": windows.arg_reduce,
    "ArgMin": windows.arg_reduce,
    "Resize": integers.resize,
    "Sum": arithmetic.variadic,
    "Mean": arithmetic.variadic,
    "Max": arithmetic.variadic,
    "Min": arithmetic.variadic,
    "Add": arithmetic.constant_right,
    "Mul": arithmetic.constant_right,
    "Sub": arithmetic.difference,
    "Div": arithmetic.difference,
    "Pow": arithmetic.power,
    "Gemm": arithmetic.gemm,
    "MatMul": arithmetic.matmul,
    "InstanceNormalization": arithmetic.instance_normalization,
    "LpNormalization": arithmetic.lp_normalization,
    "QuantizeLinear": integers.quantize,
    "DequantizeLinear": integers.quantize,
    "QLinearConv": integers.qlinear_conv,
    "QLinearMatMul": integers.qlinear_matmul,
    "ConvInteger": integers.conv_integer,
    "MatMulInteger": integers.matmul_integer,
    **{
        f"Reduce{kind}": windows.reduce
        for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
    },
}


def normalize(rewrite: Rewrite) -> None:
    """Every operator takes its one form: attributes explicit, operands constant, axes from the front."""
    for node in rewrite.nodes():
        rule = RULES.get(node.op_type)
        if node.domain or rule is None:
            continue
        if any(shape(output) is None for output in node.outputs):
            infer(node)
        rule(rewrite, node)


NORMALIZE = Pass("normalize", normalize)

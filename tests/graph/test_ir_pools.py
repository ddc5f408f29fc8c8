"""Pools that round up, of opsets whose shape inference counts windows that the operator does not have."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgecv.errors import ModelFileError
from edgecv.graph.ir import to_ir
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import shape

# Pixels, window, stride, padding of either end.
SIZES = [(n, k, s, p) for n in (1, 2, 3, 5, 8) for k in (1, 2, 3) for s in (1, 2, 3, 4) for p in range(k)]


def pool(op: str, opset: int, rows: tuple[int, ...], **attributes: int) -> OnnxModel:
    """A pool of (1, 1, n, 7) by `rows` and by two columns; its input is given out too, its result read on."""
    n, k, s, p = rows
    more = "".join(f", {name} = {value}" for name, value in attributes.items())
    text = (
        f"(float[1, 1, {n}, 7] x) => (float[a, b, c, d] y, float[e, f, g, h] m) {{ m = Relu(x)"
        f" t = {op}<ceil_mode = 1, kernel_shape = [{k}, 2], strides = [{s}, 2],"
        f" pads = [{p}, 0, {p}, 0]{more}>(m) y = Neg(t) }}"
    )
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> pool {text}')
    return OnnxModel(proto, "pool")


@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_sizes_are_those_of_the_operator(op: str, opset: int) -> None:
    for rows in SIZES:
        n, k, _, p = rows
        if n + 2 * p < k:
            continue
        model = pool(op, opset, rows)
        x = np.ones((1, 1, n, 7), np.float32)
        expected, _ = ReferenceEvaluator(model.proto).run(None, {"x": x})
        assert shape(to_ir(model).graph.outputs[0]) == np.shape(expected), rows


def test_pools_one_after_the_other() -> None:
    """The second has the size that the first really has."""
    text = (
        "(float[1, 1, 7, 7] x) => (float[a, b, c, d] y)"
        " { t = MaxPool<ceil_mode = 1, kernel_shape = [1, 1], strides = [4, 4]>(x)"
        " u = MaxPool<ceil_mode = 1, kernel_shape = [1, 1], strides = [2, 2], pads = [0, 0, 0, 0]>(t)"
        " y = Neg(u) }"
    )
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 12]> pools {text}')
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": np.ones((1, 1, 7, 7), np.float32)})
    assert np.shape(expected) == (1, 1, 1, 1)
    assert shape(to_ir(OnnxModel(proto, "pools")).graph.outputs[0]) == (1, 1, 1, 1)


def test_one_axis_that_must_not_round_and_one_that_must_beside_counted_padding() -> None:
    with pytest.raises(ModelFileError, match=r"opset 22 with onnx\.version_converter"):
        to_ir(pool("AveragePool", 11, (3, 2, 2, 1), count_include_pad=1))
    model = pool("AveragePool", 22, (3, 2, 2, 1), count_include_pad=1)
    expected, _ = ReferenceEvaluator(model.proto).run(None, {"x": np.ones((1, 1, 3, 7), np.float32)})
    assert shape(to_ir(model).graph.outputs[0]) == np.shape(expected)

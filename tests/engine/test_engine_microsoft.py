"""Operators of com.microsoft, and of ONNX on quantized numbers, on the engine, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from tests.engine.against_runtime import Array, check, model_of

RNG = np.random.default_rng(5)
INT32 = TensorProto.INT32


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*shape: int, dtype: Any = np.uint8) -> Array:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


def scale(number: float) -> Array:
    return np.array(number, np.float32)


def scales(count: int) -> Array:
    return (np.abs(real(count)) / 50 + 0.002).astype(np.float32)


def one(
    op: str,
    operands: list[Array | None],
    fed: tuple[int, ...] = (0,),
    *,
    domain: str = "com.microsoft",
    made: Any = None,
    opset: int = 17,
    **attributes: Any,
) -> tuple[OnnxModel, dict[str, Array]]:
    """A model of one operator. fed: which operands are inputs of the graph. made: dtype of the result."""
    names = ["" if value is None else f"x{i}" for i, value in enumerate(operands)]
    given = {name: value for name, value in zip(names, operands, strict=True) if value is not None}
    feeds = {f"x{i}": given[f"x{i}"] for i in fed}
    weights = {name: value for name, value in given.items() if name not in feeds}
    node = helper.make_node(op, names, ["y"], "node", domain=domain, **attributes)
    kinds = {} if made is None else {"y": helper.np_dtype_to_tensor_dtype(np.dtype(made))}
    return model_of([node], feeds, ["y"], weights, opset, kinds), feeds


X, W, B = real(2, 4, 6, 6), real(8, 4, 3, 3), real(8)
Z, PADS = real(2, 8, 6, 6), [1, 1, 1, 1]
ROWS = [real(2, 3, 8), real(2, 3, 8)]


@pytest.mark.parametrize(
    ("op", "operands", "fed", "attributes"),
    [
        ("FusedConv", [X, W, B], (0,), {"activation": "Relu", "pads": PADS}),
        (
            "FusedConv",
            [X, W, B, Z],
            (0, 3),
            {"activation": "LeakyRelu", "activation_params": [0.2], "pads": PADS},
        ),
        (
            "FusedConv",
            [X, W, None, Z],
            (0, 3),
            {"activation": "HardSigmoid", "activation_params": [0.3, 0.4], "pads": PADS},
        ),
        (
            "FusedConv",
            [X, W],
            (0,),
            {"activation": "Clip", "activation_params": [-0.5, 1.5], "strides": [2, 1]},
        ),
        *(("FusedConv", [X, W], (0,), {"activation": name}) for name in ("Tanh", "Sigmoid", "HardSwish")),
        (
            "FusedGemm",
            [real(3, 5), real(7, 5), real(7)],
            (0,),
            {"transB": 1, "alpha": 0.5, "activation": "LeakyRelu", "activation_alpha": 0.1},
        ),
        ("FusedMatMul", [real(2, 3, 4, 5), real(2, 3, 6, 5)], (0, 1), {"transB": 1, "alpha": 0.3}),
        ("FusedMatMul", [real(2, 3, 5, 4), real(2, 3, 5, 6)], (0, 1), {"transA": 1}),
        ("FusedMatMul", [real(2, 3, 4, 5), real(5, 6)], (0,), {"alpha": 2.0}),
        ("FusedMatMul", [real(4, 2, 3, 5), real(2, 3, 5, 6)], (0, 1), {"transBatchA": 1}),
        (
            "FusedMatMul",
            [real(5, 2, 3, 4), real(5, 2, 3, 6)],
            (0, 1),
            {"transBatchA": 1, "transBatchB": 1, "transA": 1},
        ),
        ("Gelu", [ROWS[0]], (0,), {}),
        ("QuickGelu", [ROWS[0]], (0,), {}),
        ("QuickGelu", [ROWS[0]], (0,), {"alpha": 1.0}),
        ("BiasGelu", [ROWS[0], real(8)], (0,), {}),
        ("FastGelu", [ROWS[0]], (0,), {}),
        ("FastGelu", [ROWS[0], real(8)], (0,), {}),
        ("SkipLayerNormalization", [*ROWS, real(8), real(8), real(8)], (0, 1), {}),
        ("SkipLayerNormalization", [*ROWS, real(8)], (0, 1), {"epsilon": 1e-5}),
        ("SkipSimplifiedLayerNormalization", [*ROWS, real(8)], (0, 1), {"epsilon": 1e-5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_that_join_others(
    op: str, operands: list[Array | None], fed: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    check(*one(op, operands, fed, **attributes))


def test_a_sum_that_is_given_out_too() -> None:
    names = ["x", "skip", "gamma"]
    values = dict(zip(names, [*ROWS, real(8)], strict=True))
    node = helper.make_node(
        "SkipLayerNormalization", names, ["y", "", "", "sum"], "node", domain="com.microsoft"
    )
    tail = helper.make_node("Relu", ["sum"], ["z"], "tail")
    feeds = {name: values[name] for name in names[:2]}
    check(model_of([node, tail], feeds, ["y", "sum", "z"], {"gamma": values["gamma"]}), feeds)


def test_what_follows_has_the_form_of_its_opset() -> None:
    # Its rank and type are known only once the operator before it has been written out.
    conv = helper.make_node("FusedConv", ["x", "w"], ["a"], "conv", domain="com.microsoft", activation="Relu")
    soft = helper.make_node("Softmax", ["a"], ["b"], "soft", axis=-3)
    clip = helper.make_node("Clip", ["b"], ["y"], "clip", min=0.01, max=0.5)
    check(model_of([conv, soft, clip], {"x": X}, ["y"], {"w": W}, opset=10), {"x": X})


STEP = [scale(0.05), np.array(120, np.uint8)]
OUT = [scale(0.3), np.array(128, np.uint8)]
BYTES = [np.array(0, np.int8)]
SOFT = [scale(1 / 256), np.array(0, np.uint8)]
PICTURE = whole(2, 3, 5, 5)


@pytest.mark.parametrize(
    ("op", "operands", "options"),
    [
        (
            "QLinearConv",
            [
                whole(2, 4, 6, 6),
                *STEP,
                whole(8, 4, 3, 3, dtype=np.int8),
                scales(8),
                np.zeros(8, np.int8),
                *OUT,
                whole(8, dtype=np.int16).astype(np.int32),
            ],
            {"domain": "", "pads": PADS, "strides": [2, 2]},
        ),
        (
            "QLinearConv",
            [whole(1, 4, 6, 6), *STEP, whole(4, 1, 3, 3), scale(0.02), np.array(99, np.uint8), *OUT],
            {"domain": "", "group": 4},
        ),
        (
            "QLinearMatMul",
            [whole(2, 4, 9), *STEP, whole(9, 7, dtype=np.int8), scales(7), np.zeros(7, np.int8), *OUT],
            {"domain": ""},
        ),
        ("QLinearAdd", [whole(2, 3, 4), *STEP, whole(2, 3, 4), scale(0.03), np.array(7, np.uint8), *OUT], {}),
        ("QLinearMul", [whole(2, 3, 4), *STEP, whole(4), scale(0.03), np.array(7, np.uint8), *OUT], {}),
        ("QLinearSigmoid", [whole(2, 30), *STEP, *SOFT], {}),
        ("QLinearLeakyRelu", [whole(2, 30), *STEP, *OUT], {"alpha": 0.1}),
        ("QLinearGlobalAveragePool", [PICTURE, *STEP, *STEP], {}),
        ("QLinearAveragePool", [PICTURE, *STEP, *STEP], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        (
            "QLinearConcat",
            [*OUT, whole(2, 3), *STEP, whole(2, 4), scale(0.02), np.array(9, np.uint8)],
            {"fed": (2, 5), "axis": 1},
        ),
        (
            "QGemm",
            [
                whole(4, 9),
                *STEP,
                whole(7, 9, dtype=np.int8),
                scale(0.02),
                *BYTES,
                whole(7, dtype=np.int16).astype(np.int32),
                *OUT,
            ],
            {"transB": 1},
        ),
        (
            "Resize",
            [PICTURE, None, np.array([1, 1, 2, 2], np.float32)],
            {"domain": "", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        ),
        ("Resize", [PICTURE, None, np.array([1, 1, 1.5, 2], np.float32)], {"domain": "", "mode": "linear"}),
        ("QuantizeLinear", [real(4, 9), scale(0.02), np.array(300, np.uint16)], {"made": np.uint16}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_quantized_results_are_a_step_apart_at_most(
    op: str, operands: list[Array | None], options: dict[str, Any]
) -> None:
    check(*one(op, operands, **{"made": np.uint8, **options}), steps=1)


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        (
            "QGemm",
            [
                whole(4, 9),
                *STEP,
                whole(9, 7, dtype=np.int8),
                scales(7),
                np.zeros(7, np.int8),
                whole(7, dtype=np.int16).astype(np.int32),
            ],
            {"alpha": 1.0},
        ),
        (
            "MatMulIntegerToFloat",
            [
                whole(4, 9),
                whole(9, 7, dtype=np.int8),
                STEP[0],
                scales(7),
                STEP[1],
                np.zeros(7, np.int8),
                real(7),
            ],
            {},
        ),
        ("DynamicQuantizeMatMul", [real(4, 9), whole(9, 7, dtype=np.int8), STEP[0], *BYTES, real(7)], {}),
        ("DequantizeLinear", [whole(4, 9), scales(9), whole(9)], {"axis": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_of_float32(op: str, operands: list[Array | None], attributes: dict[str, Any]) -> None:
    check(*one(op, operands, **attributes))


def test_softmax_of_quantized_numbers() -> None:
    model, feeds = one("QLinearSoftmax", [whole(3, 7), *STEP, *SOFT], made=np.uint8, axis=-1)
    node = model.proto.graph.node[0]
    node.attribute.append(helper.make_attribute("opset", 13))
    check(model, feeds, steps=1)


@pytest.mark.parametrize(
    ("op", "operands", "fed", "attributes"),
    [
        ("ConvInteger", [whole(1, 4, 6, 6), whole(8, 4, 3, 3, dtype=np.int8), STEP[1]], (0,), {"pads": PADS}),
        (
            "ConvInteger",
            [whole(1, 4, 6, 6), whole(8, 2, 3, 3), *STEP[1:], np.array(7, np.uint8)],
            (0,),
            {"group": 2},
        ),
        (
            "ConvInteger",
            [np.full((1, 512, 3, 3), 255, np.uint8), np.full((4, 512, 3, 3), -128, np.int8)],
            (0,),
            {},
        ),
        ("ConvInteger", [whole(1, 512, 3, 3), whole(4, 512, 3, 3, dtype=np.int8)], (0, 1), {}),
        ("MatMulInteger", [whole(4, 9), whole(9, 7, dtype=np.int8), STEP[1]], (0,), {}),
        ("MatMulInteger", [whole(4, 9), whole(9, 7), np.array(30, np.uint8), whole(7)], (0, 1), {}),
        ("MatMulInteger", [whole(2, 4, 5000), np.full((5000, 7), 127, np.int8)], (0,), {}),
        ("MatMulInteger", [np.full((4, 5000), 255, np.uint8), np.full((5000, 7), 255, np.uint8)], (0, 1), {}),
    ],
    ids=["padded", "groups", "long sums", "weights of the run", "matrix", "zero points", "long rows", "any"],
)
def test_sums_of_whole_numbers_are_exact(
    op: str, operands: list[Array | None], fed: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    check(*one(op, operands, fed, domain="", made=np.int32, **attributes))


def test_sums_in_groups_that_may_not_be_exact_are_refused() -> None:
    weights = np.full((2, 512, 3, 3), 127, np.int8)
    model, feeds = one("ConvInteger", [whole(1, 1024, 3, 3), weights], domain="", made=np.int32, group=2)
    with pytest.raises(UnsupportedOperatorError, match=r"node 'node' \(ConvInteger\): its sums may exceed"):
        check(model, feeds, expected=[])


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "message"),
    [
        ("FusedConv", [X, W], {"activation": "Gizmo"}, "activation 'Gizmo'"),
        (
            "QLinearGlobalAveragePool",
            [PICTURE, *STEP, *STEP],
            {"channels_last": 1},
            "channels in the last axis",
        ),
        ("Attention", [ROWS[0], real(8, 24)], {"num_heads": 2}, "an operator that it does not have"),
    ],
    ids=["activation", "layout", "operator"],
)
def test_refusals_say_why(
    op: str, operands: list[Array | None], attributes: dict[str, Any], message: str
) -> None:
    model, feeds = one(op, operands, **attributes)
    with pytest.raises(UnsupportedOperatorError, match=rf"node 'node' \(com.microsoft::{op}\): {message}"):
        check(model, feeds, expected=[])

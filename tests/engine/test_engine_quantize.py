"""Casts, quantization and normalizations of the run, against onnx.reference, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.engine.one_node import check, random

TYPES = ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "uint16", "bool"]


@pytest.mark.parametrize("to", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_casts(source: str, to: str) -> None:
    x = np.array([0, 1, 2.5, 3.75, 100, 7], np.float64).astype(source).reshape(2, 3)
    check("Cast", {"x": x}, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantization(axis: int | None, dtype: Any) -> None:
    count = () if axis is None else ((3, 8)[axis],)
    scale = (
        np.full(count, 0.05, np.float32)
        + np.arange(int(np.prod(count)), dtype=np.float32).reshape(count) / 64
    )
    zero = np.full(count, 3, dtype)
    attributes = {} if axis is None else {"axis": axis}
    check("QuantizeLinear", {"x": 4 * random(3, 8)}, {"scale": scale, "zero": zero}, **attributes)
    x = random(3, 8, dtype=dtype)
    check("DequantizeLinear", {"x": x}, {"scale": scale, "zero": zero}, **attributes)


@pytest.mark.parametrize("axis", [0, 1])
def test_quantization_by_blocks(axis: int) -> None:
    shape = (2, 8) if axis == 0 else (4, 4)
    scale = np.abs(random(*shape)) + np.float32(0.01)
    zero = random(*shape, dtype=np.int8)
    operands = {"scale": scale, "zero": zero}
    check("QuantizeLinear", {"x": 9 * random(4, 8)}, operands, axis=axis, block_size=2)
    check("DequantizeLinear", {"x": random(4, 8, dtype=np.int8)}, operands, axis=axis, block_size=2)


def test_quantization_by_the_range() -> None:
    check("DynamicQuantizeLinear", {"x": random(5, 7)}, outputs=3)


@pytest.mark.parametrize("blocked", [True, False], ids=["blocks", "plain"])
def test_parameters_of_the_run(blocked: bool) -> None:
    parameters = {name: random(19, seed=i) for i, name in enumerate(("scale", "bias", "mean"))}
    feeds = {"x": random(2, 19, 4, 5), **parameters, "var": np.abs(random(19, seed=9))}
    check("BatchNormalization", feeds, blocked=blocked, tolerance=1e-5, epsilon=1e-3)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_neighboring_channels(size: int) -> None:
    x = 5 * random(2, 7, 4, 5)
    below, above = (size - 1) // 2, size // 2
    squares = np.stack([(x[:, max(c - below, 0) : c + above + 1] ** 2).sum(1) for c in range(7)], 1)
    expected = x / (1.5 + np.float32(0.1 / size) * squares) ** np.float32(0.6)
    check("LRN", {"x": x}, expected=[expected], size=size, alpha=0.1, beta=0.6, bias=1.5)


@pytest.mark.parametrize(
    ("op", "shape", "vectors", "attributes"),
    [
        ("InstanceNormalization", (2, 5, 6, 7), (5,), {}),
        ("GroupNormalization", (2, 6, 4, 5), (6,), {"num_groups": 3}),
        ("LayerNormalization", (2, 3, 10), (10,), {"axis": -1}),
        ("LayerNormalization", (2, 3, 4, 5), (4, 5), {"axis": 2}),
    ],
    ids=["instance", "group", "layer", "layer over two axes"],
)
def test_statistics_of_the_run(
    op: str, shape: tuple[int, ...], vectors: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    operands = {"scale": random(*vectors, seed=1), "bias": random(*vectors, seed=2)}
    check(op, {"x": random(*shape)}, operands, tolerance=1e-5, **attributes)


@pytest.mark.parametrize("p", [1, 2])
def test_norms(p: int) -> None:
    x = random(3, 5, 4)
    x[1] = 0
    norm = (np.abs(x) ** p).sum(1, keepdims=True) ** np.float32(1 / p)
    check("LpNormalization", {"x": x}, expected=[x / np.where(norm == 0, 1, norm)], axis=1, p=p)

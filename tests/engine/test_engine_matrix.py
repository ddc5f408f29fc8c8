"""Products of matrices against onnx.reference, with operands known and not, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgecv.engine.compile import compile_model
from edgecv.graph.model import OnnxModel
from tests.engine.one_node import ISAS, OPSET, check, random, run, steps

SIZES = [(1, 1, 1), (1, 17, 5), (3, 4, 16), (7, 33, 20), (29, 8, 65), (2, 300, 3)]


@pytest.mark.parametrize("known", [True, False], ids=["known", "of the run"])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
def test_two_matrices(m: int, k: int, n: int, known: bool) -> None:
    a, b = random(m, k), random(k, n, seed=1)
    check("MatMul", {"a": a} if known else {"a": a, "b": b}, {"b": b} if known else None)


GEMMS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "row": ((9,), {}),
    "row of a matrix": ((1, 9), {}),
    "column": ((5, 1), {}),
    "matrix": ((5, 9), {}),
    "one value": ((), {}),
    "alpha": ((9,), {"alpha": 0.5}),
    "beta": ((9,), {"beta": -2.0}),
    "both": ((5, 9), {"alpha": 1.5, "beta": 0.25}),
    "without C": ((9,), {"beta": 0.0}),
}


@pytest.mark.parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)], ids=str)
@pytest.mark.parametrize(("shape", "attributes"), GEMMS.values(), ids=GEMMS)
def test_gemm(shape: tuple[int, ...], attributes: dict[str, Any], turned: tuple[int, int]) -> None:
    a, b, c = random(5, 12), random(12, 9, seed=1), random(*shape, seed=2)
    a, b = (x.T.copy() if turn else x for x, turn in zip((a, b), turned, strict=True))
    attributes = attributes | {"transA": turned[0], "transB": turned[1]}
    check("Gemm", {"a": a}, {"b": b, "c": c}, **attributes)
    check("Gemm", {"a": a, "b": b, "c": c}, **attributes)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (1, 4, 5)),
        ((1, 3, 4), (6, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
    ],
    ids=str,
)
def test_stacks(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = random(*left), random(*right, seed=1)
    check("MatMul", {"a": a, "b": b})
    check("MatMul", {"a": a}, {"b": b})


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij->ji", [(3, 4)]),
        ("ij->i", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("ii->i", [(4, 4)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("i,i", [(5,), (5,)]),
        ("ij,jk", [(3, 4), (4, 5)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bchw,bkc->bkhw", [(2, 5, 3, 4), (2, 6, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("bij,bkj->bk", [(2, 3, 4), (2, 5, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    feeds = {f"x{i}": random(*shape, seed=i) for i, shape in enumerate(shapes)}
    check("Einsum", feeds, equation=equation)


def test_rows_that_are_known() -> None:
    a, b = random(6, 5), random(5, 7, seed=1)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        "left",
        [helper.make_tensor_value_info("b", 1, b.shape)],
        [helper.make_tensor_value_info("y", 1, (6, 7))],
        [numpy_helper.from_array(a, "a")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model = OnnxModel.from_bytes(proto.SerializeToString(), origin="left")
    for isa in ISAS:
        (y,) = run(compile_model(model, {"b": b.shape}, isa=isa), {"b": b})
        np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-5)


def test_one_matrix_is_one_step() -> None:
    for compiled in check("MatMul", {"a": random(9, 8)}, {"b": random(8, 32)}).values():
        assert steps(compiled) == ["conv", "copy"]

"""Which sizes data decide, and what of a network comes before its choices."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from edgecv.graph import data_sizes
from edgecv.graph.model import OnnxModel


def network(body: str, outputs: str = "float[n] y", inputs: str = "float[1,4,6] x") -> OnnxModel:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs})
        <int64[1] one = {{1}}, int64[1] five = {{5}}, float[1] half = {{0.5}}> {{ {body} }}"""
    return OnnxModel(parser.parse_model(text), "g")


MASK = "m = Greater(x, half) "


@pytest.mark.parametrize(
    ("body", "node"),
    [
        pytest.param("y = Relu(x)", None, id="none"),
        pytest.param(f"{MASK} y = NonZero(m)", "NonZero", id="of data"),
        pytest.param(f"{MASK} z = NonZero(m) c = Cast<to=1>(z) y = Transpose(c)", "NonZero", id="and on"),
        pytest.param("s = Shape(x) c = ConstantOfShape(s) y = NonZero(c)", None, id="of sizes alone"),
        pytest.param("s = Shape(x) t = Slice(s, one, five) y = Reshape(x, t)", None, id="shapes say shapes"),
        pytest.param(
            "k = ArgMax(x) f = Reshape(k, one) y = Expand(half, f)", "Expand", id="an index is a size"
        ),
        pytest.param(
            "s = ReduceSum(x) i = Cast<to=7>(s) z = Squeeze(i) y = Range(z, z, z)",
            "Range",
            id="a sum is a size",
        ),
        pytest.param("y, i = TopK(x, one)", None, id="how many is known"),
        pytest.param(f"{MASK} y = Compress(x, m)", "Compress", id="compressed"),
        pytest.param("y = Unique(x)", "Unique", id="unique"),
        pytest.param(
            f"{MASK} z = NonZero(m) s = Shape(z) n = Gather(s, one) y = Expand(half, n)",
            "NonZero",
            id="a count says a size",
        ),
        pytest.param(
            f"{MASK} z = NonZero(m) t = Transpose(z) u = Cast<to=1>(x) y = ScatterND(x, t, u)",
            "NonZero",
            id="inside alone",
        ),
    ],
)
def test_sizes_of_data(body: str, node: str | None) -> None:
    assert data_sizes.size_of_data(network(body)) == node


LOOP = """
    last, y = Loop(count, on, x) <body = b (int64 i, bool c, float[1,4,6] a)
        => (bool d, float[1,4,6] e, float[1,4,6] s) {{ d = Identity({goes_on}) e = Relu(a) s = Relu(e) }}>"""


@pytest.mark.parametrize(
    ("count", "condition", "goes_on", "node"),
    [
        ("count = Cast<to=7>(five)", "on = Cast<to=9>(one)", "c", None),
        ("k = ReduceMax<keepdims=0>(x) count = Cast<to=7>(k)", "on = Cast<to=9>(one)", "c", "Loop"),
        ("count = Cast<to=7>(five)", "k = ReduceMax<keepdims=0>(x) on = Cast<to=9>(k)", "c", "Loop"),
    ],
    ids=["known", "as often as data say", "whether at all"],
)
def test_loops(count: str, condition: str, goes_on: str, node: str | None) -> None:
    body = LOOP.format(goes_on=goes_on)
    assert data_sizes.size_of_data(network(f"{count} {condition} {body}")) == node


@pytest.mark.parametrize(
    ("other", "node"), [("float[2] {3, 4}", None), ("float[3] {3, 4, 5}", "If")], ids=["alike", "unlike"]
)
def test_branches_that_data_choose(other: str, node: str | None) -> None:
    model = network(
        f"""k = ReduceMax<keepdims=0>(x) on = Cast<to=9>(k)
        y = If(on) <then_branch = t () => (float[2] p) {{ p = Constant<value = float[2] {{1, 2}}>() }},
            else_branch = e () => ({other.split(" {")[0]} q) {{ q = Constant<value = {other}>() }}>"""
    )
    assert data_sizes.size_of_data(model) == node


@pytest.mark.parametrize(
    ("body", "node"),
    [
        ("y = Relu(x)", None),
        ("y = RandomNormalLike(x)", "RandomNormalLike"),
        ("y = Dropout(x, half)", None),
        ("t = Constant<value = bool {1}>() y = Dropout(x, half, t)", "Dropout"),
        ("t = Constant<value = bool {0}>() y = Dropout(x, half, t)", None),
    ],
)
def test_random_nodes(body: str, node: str | None) -> None:
    assert data_sizes.random_node(network(body)) == node


def test_what_is_watched_without_a_choice() -> None:
    model = network("y = Relu(x)")
    seen = data_sizes.watched(model)
    assert seen.wide is model
    assert (seen.names, seen.choice) == (("y",), "")


def test_what_is_watched_before_choices() -> None:
    model = network(
        "a = Relu(x) b = Exp(a) y, i = TopK(b, one) z = Neg(a) w = Add(y, half)",
        "float[1,4,6] z, float[1,4,1] w, int64[1,4,1] i",
    )
    seen = data_sizes.watched(model)
    assert (seen.names, seen.choice) == (("z", "b"), "TopK")
    assert [spec.name for spec in seen.wide.facts.outputs] == ["z", "w", "i", "b"]
    assert [spec.name for spec in seen.cut.facts.outputs] == ["z", "b"]
    assert {node.op_type for node in seen.cut.proto.graph.node} == {"Relu", "Exp", "Neg"}
    x = np.random.default_rng(0).standard_normal((1, 4, 6)).astype(np.float32)
    from onnx.reference import ReferenceEvaluator

    z, b = ReferenceEvaluator(seen.cut.proto).run(None, {"x": x})
    np.testing.assert_array_equal(b, np.exp(-z))

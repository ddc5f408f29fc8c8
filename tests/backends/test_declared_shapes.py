"""What a file declares of shapes is a hint: each kind of it, wrong, missing or free, on every backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecv.backends import BACKENDS, CompileOptions, Session, compile_model
from edgecv.errors import BackendError, InputError, ModelFileError
from edgecv.importers import read_model

SHAPE = (1, 3, 4, 4)
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
POSITIVE = np.maximum(X, 0)
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
RELU = helper.make_node("Relu", ["x"], ["y"])

Sizes = list[Any] | None


@pytest.fixture(params=list(BACKENDS))
def name(request: pytest.FixtureRequest) -> str:
    reason = BACKENDS[request.param].unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


@dataclass(frozen=True)
class Case:
    """A network, what it is to give for `feed`, and what a session says of its first output: once it is open,
    and after a run."""

    nodes: list[onnx.NodeProto]
    outputs: dict[str, Sizes]
    expected: dict[str, np.ndarray]
    before: str = ""
    after: str = ""
    inputs: dict[str, Sizes] = field(default_factory=lambda: {"x": list(SHAPE)})
    feed: dict[str, np.ndarray] = field(default_factory=lambda: {"x": X})
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    between: dict[str, Sizes] = field(default_factory=dict)
    domain: str = ""
    refuses: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        def infos(stated: dict[str, Sizes]) -> list[onnx.ValueInfoProto]:
            kind = {"n": TensorProto.INT64}
            return [
                helper.make_tensor_value_info(name, kind.get(name, TensorProto.FLOAT), sizes)
                for name, sizes in stated.items()
            ]

        weights = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(
            self.nodes,
            "g",
            infos(self.inputs),
            infos(self.outputs),
            weights,
            value_info=infos(self.between),
        )
        opsets = [
            helper.make_opsetid("", 13),
            *([helper.make_opsetid(self.domain, 1)] if self.domain else []),
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def identity(source: str, to: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [source], [to])


def branches() -> onnx.NodeProto:
    """An If whose branches declare wrong shapes of what they give and hold."""

    def info(name: str, sizes: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

    then = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "then", [], [info("t", [9, 9])])
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Relu", ["m"], ["e"])]
    other = helper.make_graph(nodes, "else", [], [info("e", [9, 9])], value_info=[info("m", [7])])
    return helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)


NO_SHAPE = {"opencv": "has no shape, which OpenCV does not read"}
SAME = "y: float32 (1, 3, 4, 4)"
ANY = "y: float32 of any shape"
CHAIN = [
    helper.make_node("Neg", ["x"], ["a"]),
    helper.make_node("Neg", ["a"], ["b"]),
    helper.make_node("Relu", ["b"], ["y"]),
]
GELU = helper.make_node("BiasGelu", ["x", "w"], ["y"], domain="com.microsoft")

DECLARED = {
    "no output shape": Case([RELU], {"y": None}, {"y": POSITIVE}, SAME, SAME),
    "stale output": Case([RELU], {"y": [1, 3, 16, 16]}, {"y": POSITIVE}, SAME, SAME),
    "an output of another rank": Case([RELU], {"y": [1, 48]}, {"y": POSITIVE}, SAME, SAME),
    "an output that is no scalar": Case([RELU], {"y": []}, {"y": POSITIVE}, SAME, SAME),
    "a symbol for a known size": Case([RELU], {"y": ["n", 3, 4, "w"]}, {"y": POSITIVE}, SAME, SAME),
    "dynamic input, stale output": Case(
        [RELU],
        {"y": [1, 3, 16, 16]},
        {"y": POSITIVE},
        "y: float32 (1, 3, h, w)",
        "y: float32 (1, 3, 4, 4)",
        inputs={"x": [1, 3, "h", "w"]},
    ),
    "dynamic both": Case(
        [RELU],
        {"y": [1, 3, "rows", "columns"]},
        {"y": POSITIVE},
        "y: float32 (1, 3, rows, columns)",
        "y: float32 (1, 3, rows, columns)",
        inputs={"x": [1, 3, "h", "w"]},
    ),
    "stale between": Case(
        CHAIN, {"y": list(SHAPE)}, {"y": POSITIVE}, SAME, SAME, between={"a": [1, 3, 5, 5]}
    ),
    "another rank between": Case(CHAIN, {"y": [1, 2]}, {"y": POSITIVE}, SAME, SAME, between={"a": [1, 3]}),
    "stale in branches": Case(
        [branches()], {"y": list(SHAPE)}, {"y": POSITIVE}, SAME, SAME, weights={"c": np.array(True)}
    ),
    "no input shape": Case(
        [RELU], {"y": None}, {"y": POSITIVE}, ANY, SAME, inputs={"x": None}, refuses=NO_SHAPE
    ),
    "no input shape, an output of two axes": Case(
        [RELU], {"y": ["a", "b"]}, {"y": POSITIVE}, ANY, SAME, inputs={"x": None}, refuses=NO_SHAPE
    ),
    "a scalar": Case(
        [RELU],
        {"y": []},
        {"y": np.float32(3)},
        "y: float32 ()",
        "y: float32 ()",
        inputs={"x": []},
        feed={"x": np.full((), 3, np.float32)},
    ),
    "one of two without a shape": Case(
        [helper.make_node("Add", ["x", "b"], ["y"])],
        {"y": None},
        {"y": X + WEIGHT[0, 1]},
        ANY,
        SAME,
        inputs={"x": list(SHAPE), "b": None},
        feed={"x": X, "b": np.full((4,), WEIGHT[0, 1])},
        refuses=NO_SHAPE,
    ),
    "-1": Case(
        [RELU],
        {"y": [-1, 3, 4, 4]},
        {"y": POSITIVE},
        "y: float32 (?, 3, 4, 4)",
        "y: float32 (1, 3, 4, 4)",
        inputs={"x": [-1, 3, 4, 4]},
    ),
    "-1 in three places": Case(
        CHAIN,
        {"y": [-1, 3, -1, -1]},
        {"y": POSITIVE},
        "y: float32 (?, 3, ?, ?)",
        SAME,
        inputs={"x": [-1, 3, -1, -1]},
        between={"a": [-1, -1, -1, -1]},
    ),
    "-1 of the output alone": Case([RELU], {"y": [-1, -1, -1, 4]}, {"y": POSITIVE}, SAME, SAME),
    "-1 beside weights among the inputs": Case(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        {"y": [-1, 3, 4, 4]},
        {"y": X * WEIGHT[1, 0]},
        "y: float32 (?, 3, 4, 4)",
        SAME,
        inputs={"x": [-1, 3, 4, 4], "w": [-1]},
        weights={"w": np.full((4,), WEIGHT[1, 0])},
    ),
    "a -1 that a Reshape reads": Case(
        [helper.make_node("Reshape", ["x", "to"], ["y"])],
        {"y": [-1, 16]},
        {"y": X.reshape(3, 16)},
        "y: float32 (3, 16)",
        "y: float32 (3, 16)",
        weights={"to": np.array([-1, 16], np.int64)},
    ),
    "as many as data decide, declared": Case(
        [helper.make_node("NonZero", ["x"], ["n"])],
        {"n": [4, 48]},
        {"n": np.array(np.nonzero(X))},
        "n: int64 (4, ?)",
        "n: int64 (4, ?)",
        # It has no kernel for it.
        refuses={"opencv": "gave no output|data decide"},
    ),
}


def opened(data: bytes, name: str) -> Session[Any]:
    return compile_model(read_model(data), name, CompileOptions(threads=1))


def check(session: Session[Any], case: Case) -> None:
    found = session.run(case.feed, replan=True)
    assert list(found) == list(case.expected)
    for key, array in case.expected.items():
        assert found[key].shape == np.shape(array)
        np.testing.assert_allclose(found[key], array, rtol=1e-6)
        assert not any(np.shares_memory(found[key], given) for given in case.feed.values())


@pytest.mark.parametrize("case", DECLARED.values(), ids=DECLARED.keys())
def test_what_is_declared_is_a_hint(name: str, case: Case) -> None:
    if name in case.refuses:
        with pytest.raises(BackendError, match=case.refuses[name]):
            opened(case.data(), name).run(case.feed, replan=True)
        return
    with opened(case.data(), name) as session:
        assert str(session.outputs[0]) == case.before
        check(session, case)
        assert str(session.outputs[0]) == case.after
        if "?" in case.after:
            with pytest.raises(InputError, match="depends on the data"):
                session.empty_outputs()
            return
        out = session.empty_outputs()
        for array in out.values():
            array.fill(77)
        assert session.run(case.feed, out=out)[session.outputs[0].name] is out[session.outputs[0].name]
        for key, array in case.expected.items():
            np.testing.assert_allclose(out[key], array, rtol=1e-6)


PASSED = {
    "the input": Case([RELU], {"x": list(SHAPE), "y": list(SHAPE)}, {"x": X, "y": POSITIVE}),
    "nothing else": Case([RELU], {"x": list(SHAPE)}, {"x": X}),
    "by Identity": Case([RELU, identity("x", "z")], {"z": None, "y": None}, {"z": X, "y": POSITIVE}),
    "by two of them": Case(
        [identity("x", "t"), identity("t", "z"), RELU], {"z": [1], "y": None}, {"z": X, "y": POSITIVE}
    ),
    "by Dropout": Case(
        [helper.make_node("Dropout", ["x"], ["z"]), RELU], {"z": None, "y": None}, {"z": X, "y": POSITIVE}
    ),
    "three times": Case(
        [identity("x", "z"), identity("x", "v"), RELU],
        {"z": None, "x": None, "v": None, "y": None},
        {"z": X, "x": X, "v": X, "y": POSITIVE},
    ),
    "of an open size": Case(
        [RELU], {"x": [1], "y": None}, {"x": X, "y": POSITIVE}, inputs={"x": ["n", 3, "h", "w"]}
    ),
    "a weight": Case([RELU], {"w": [5], "y": None}, {"w": WEIGHT, "y": POSITIVE}, weights={"w": WEIGHT}),
    "a weight by Identity": Case(
        [identity("w", "z"), RELU],
        {"y": None, "z": None},
        {"y": POSITIVE, "z": WEIGHT},
        weights={"w": WEIGHT},
    ),
    "a weight that is among the inputs": Case(
        [RELU],
        {"w": [2, 3], "y": None},
        {"w": WEIGHT, "y": POSITIVE},
        inputs={"x": list(SHAPE), "w": [2, 3]},
        weights={"w": WEIGHT},
    ),
    "a result twice": Case(
        [RELU, identity("y", "z"), identity("y", "v")],
        {"v": None, "y": None, "z": None},
        {"v": POSITIVE, "y": POSITIVE, "z": POSITIVE},
    ),
}


@pytest.mark.parametrize("case", PASSED.values(), ids=PASSED.keys())
def test_outputs_that_no_node_makes(name: str, case: Case) -> None:
    with opened(case.data(), name) as session:
        check(session, case)
        shapes = {key: np.shape(array) for key, array in case.expected.items()}
        assert {key: array.shape for key, array in session.empty_outputs().items()} == shapes
        out = session.empty_outputs()
        for number in (1, 2):
            session.run({key: array + number for key, array in case.feed.items()}, out=out)
            if "x" in out:
                np.testing.assert_array_equal(out["x"], X + number)
        session.run(case.feed, out=out)
        for key, array in case.expected.items():
            np.testing.assert_array_equal(out[key], array)


def test_an_output_that_is_listed_twice(name: str) -> None:
    model = onnx.load_from_string(Case([RELU], {"y": None, "x": None}, {}).data())
    model.graph.output.insert(0, model.graph.output[0])
    with opened(model.SerializeToString(), name) as session:
        assert [spec.name for spec in session.outputs] == ["y", "x"]
        np.testing.assert_array_equal(session.run({"x": X})["y"], POSITIVE)


def test_a_size_that_is_declared_0(name: str) -> None:
    data = Case([RELU], {"y": [0, 3, 4, 4]}, {}, inputs={"x": [0, 3, 4, 4]}).data()
    with pytest.raises((InputError, BackendError), match=r"declared 0 takes no values|has no values"):
        opened(data, name).run({"x": X}, replan=True)


def test_several_prepared_shapes(name: str) -> None:
    """What holds for all of them is told."""
    flat = helper.make_node("Flatten", ["x"], ["y"])
    data = Case([flat], {"y": [None, None]}, {}, inputs={"x": [None, 3, None, None]}).data()
    with opened(data, name) as session:
        for shape, told in (((1, 3, 4, 4), "(1, 48)"), ((1, 3, 2, 2), "(1, ?)"), ((2, 3, 2, 2), "(?, ?)")):
            session.prepare({"x": shape})
            assert str(session.outputs[0]) == f"y: float32 {told}"


def test_a_declared_shape_that_nothing_proves(name: str) -> None:
    """Of an operator of a vendor's: what is declared counts where a run has shown the same."""
    for declared, told in (([1, 3, 4, 4], "(1, 3, 4, 4)"), ([1, 3, 5, 4], None)):
        case = Case(
            [GELU], {"y": declared}, {}, weights={"w": np.zeros(4, np.float32)}, domain="com.microsoft"
        )
        try:
            session = opened(case.data(), name)
        except BackendError:
            pytest.skip(f"{name} has no BiasGelu")
        with session:
            shape = session.run({"x": X})["y"].shape
            assert shape == SHAPE
            told = told or ("(1, 3, 4, 4)" if name == "simd" else "(1, 3, ?, 4)")
            assert str(session.outputs[0]) == f"y: float32 {told}"


def test_wrong_inputs_of_any_shape() -> None:
    data = Case([RELU], {"y": None}, {}, inputs={"x": None}).data()
    with opened(data, "simd") as session:
        with pytest.raises(InputError, match=r"input x: float32 of any shape: got shape \(0, 3\)"):
            session.run({"x": np.zeros((0, 3), np.float32)}, replan=True)
        for shape in ((), (3,), (2, 2, 2, 2, 2)):
            assert session.run({"x": np.ones(shape, np.float32)}, replan=True)["y"].shape == shape
    assert not session.inputs[0].is_static


def test_a_model_that_is_damaged_is_still_refused() -> None:
    model = onnx.load_from_string(Case([RELU], {"y": None}, {}).data())
    model.graph.output[0].type.tensor_type.elem_type = 99
    with pytest.raises(ModelFileError, match="no known element type"):
        read_model(model.SerializeToString())

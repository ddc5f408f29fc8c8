"""Loop and Scan on the engine, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from tests.engine.against_runtime import Array, check, graph_of, model_of, operators

FLOAT, WHOLE, TRUTH = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 0.5
HEAD = {"i": WHOLE, "go": TRUTH}
Built = tuple[OnnxModel, dict[str, Array]]


def node(op: str, inputs: str, outputs: str, **attributes: object) -> NodeProto:
    """An operator; "_" stands for an operand that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), outputs.split()[0], **attributes)


def counted(most: int = 4) -> Built:
    """v = v w + i of an outer w; each v is given out."""
    body = graph_of(
        [
            node("Identity", "go", "goes"),
            node("Cast", "i", "number", to=FLOAT),
            node("Mul", "v w", "product"),
            node("Add", "product number", "next"),
            node("Neg", "next", "row"),
        ],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT, "row": FLOAT},
    )
    loop = node("Loop", "most yes x", "y rows", body=body)
    weights = {"most": np.array(most), "yes": np.array(True), "w": np.full((3,), 0.5, np.float32)}
    return model_of([loop], {"x": X}, ["y", "rows"], weights), {"x": X}


def endless() -> Built:
    """Neither a count nor a condition, but a limit that the counter meets."""
    body = graph_of(
        [
            node("Add", "n two", "more"),
            node("Less", "more limit", "goes"),
            node("Sin", "v", "next"),
        ],
        {**HEAD, "n": WHOLE, "v": FLOAT},
        {"goes": TRUTH, "more": WHOLE, "next": FLOAT},
        {"two": np.array(2)},
    )
    loop = node("Loop", "_ _ start x", "n y", body=body)
    weights = {"start": np.array(1), "limit": np.array(8)}
    return model_of([loop], {"x": X}, ["n", "y"], weights, kinds={"n": WHOLE}), {"x": X}


def growing() -> Built:
    """What is carried has another size each time."""
    body = graph_of(
        [node("Identity", "go", "goes"), node("Concat", "v x", "next", axis=0)],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT},
    )
    loop = node("Loop", "most _ x", "y", body=body)
    return model_of([loop], {"x": X}, ["y"], {"most": np.array(3)}), {"x": X}


def nested() -> Built:
    """A loop in a loop, which reads the values of both and of the graph."""
    inner = graph_of(
        [
            node("Identity", "go_in", "goes_in"),
            node("Add", "i j", "both"),
            node("Cast", "both", "number", to=FLOAT),
            node("Mul", "x number", "scaled"),
            node("Add", "u scaled", "next_in"),
        ],
        {"j": WHOLE, "go_in": TRUTH, "u": FLOAT},
        {"goes_in": TRUTH, "next_in": FLOAT},
    )
    body = graph_of(
        [
            node("Constant", "", "three", value_int=3),
            node("Identity", "go", "goes"),
            node("Loop", "three _ v", "next", body=inner),
            node("Identity", "next", "row"),
        ],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT, "row": FLOAT},
    )
    loop = node("Loop", "most _ x", "y rows", body=body)
    return model_of([loop], {"x": X}, ["y", "rows"], {"most": np.array(2)}), {"x": X}


def branching() -> Built:
    """An If in the body whose condition the iteration decides; one output is what came in."""
    then, other = (graph_of([node(op, "v", "chosen")], {}, {"chosen": FLOAT}) for op in ("Exp", "Neg"))
    body = graph_of(
        [
            node("Identity", "go", "goes"),
            node("Equal", "i one", "is_one"),
            node("If", "is_one", "next", then_branch=then, else_branch=other),
        ],
        {**HEAD, "v": FLOAT, "kept": FLOAT},
        {"goes": TRUTH, "next": FLOAT, "kept": FLOAT},
        {"one": np.array(1)},
    )
    loop = node("Loop", "most _ x x", "y same", body=body)
    return model_of([loop], {"x": X}, ["y", "same"], {"most": np.array(3)}), {"x": X}


def never() -> Built:
    """No iteration: what is carried stays, what is stacked is empty."""
    body = graph_of(
        [node("Identity", "go", "goes"), node("Exp", "v", "next"), node("Slice", "w zero one", "row")],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT, "row": FLOAT},
        {"w": np.ones(3, np.float32), "zero": np.array([0]), "one": np.array([1])},
    )
    body.output[2].type.tensor_type.shape.dim.add().dim_value = 1
    loop = node("Loop", "most no x", "y rows", body=body)
    weights = {"most": np.array(3), "no": np.array(False)}
    return model_of([loop], {"x": X}, ["y", "rows"], weights), {"x": X}


def count_of_the_run() -> Built:
    """The count is an input: the plan is for its value."""
    model, _ = counted()
    graph = model.proto.graph
    del graph.initializer[[t.name for t in graph.initializer].index("most")]
    graph.input.append(helper.make_tensor_value_info("most", WHOLE, []))
    return OnnxModel.from_bytes(model.proto.SerializeToString(), origin="small"), {
        "x": X,
        "most": np.array(3),
    }


def scanned(**attributes: list[int]) -> Built:
    """Sums so far of rows or columns, with a second sequence, in any direction."""
    axis = attributes.get("scan_input_axes", [0, 0])[0]
    z = np.linspace(-1, 1, 2 * X.shape[axis], dtype=np.float32).reshape(X.shape[axis], 2)
    body = graph_of(
        [
            node("Add", "s part", "sum"),
            node("Mul", "sum w", "row"),
            node("ReduceSum", "other", "second", keepdims=0),
        ],
        {"s": FLOAT, "part": FLOAT, "other": FLOAT},
        {"sum": FLOAT, "row": FLOAT, "second": FLOAT},
    )
    scan = node("Scan", "start x z", "last rows seconds", body=body, num_scan_inputs=2, **attributes)
    start = np.ones(X.shape[1 - axis % 2], np.float32)
    weights = {"start": start, "w": np.array(0.5, np.float32), "z": z}
    return model_of([scan], {"x": X}, ["last", "rows", "seconds"], weights), {"x": X}


CASES: dict[str, Callable[[], Built]] = {
    "counted": counted,
    "once": lambda: counted(1),
    "a counter": endless,
    "growing": growing,
    "nested": nested,
    "branching": branching,
    "never": never,
    "count of the run": count_of_the_run,
    "scan": scanned,
    "scan backwards": lambda: scanned(scan_input_directions=[1, 0], scan_output_directions=[0, 1]),
    "scan of columns": lambda: scanned(scan_input_axes=[1, 0], scan_output_axes=[1, 0]),
    "scan of last axes": lambda: scanned(scan_input_axes=[-1, -2], scan_output_axes=[-1, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_repeated(name: str) -> None:
    model, feeds = CASES[name]()
    assert operators(check(model, feeds)).isdisjoint(("Loop", "Scan", "If"))


def test_what_does_not_change_is_computed_once() -> None:
    body = graph_of(
        [node("Identity", "go", "goes"), node("Exp", "x", "fixed"), node("Add", "v fixed", "next")],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT},
    )
    loop = node("Loop", "most _ x", "y", body=body)
    compiled = check(model_of([loop], {"x": X}, ["y"], {"most": np.array(5)}), {"x": X})
    assert len([step for step in compiled.steps if "fixed" in step.label]) == 1


def refused(condition: NodeProto, most: str, weights: dict[str, Array]) -> Built:
    body = graph_of(
        [node("ReduceMax", "v", "first", keepdims=0), condition, node("Exp", "v", "next")],
        {**HEAD, "v": FLOAT},
        {"goes": TRUTH, "next": FLOAT},
    )
    loop = node("Loop", f"{most} _ x", "y", body=body)
    return model_of([loop], {"x": X}, ["y"], weights), {"x": X}


@pytest.mark.parametrize(
    ("built", "message"),
    [
        (
            refused(node("Identity", "go", "goes"), "most", {"most": np.array(10**9)}),
            r"node 'y' \(Loop\).*too many",
        ),
        (refused(node("Identity", "go", "goes"), "_", {}), r"node 'y' \(Loop\): it has no end within"),
        (
            refused(
                node("Greater", "first zero", "goes"),
                "most",
                {"most": np.array(3), "zero": np.array(0, np.float32)},
            ),
            "depends on data",
        ),
    ],
    ids=["too many", "no end", "of data"],
)
def test_refusals_say_why(built: Built, message: str) -> None:
    model, feeds = built
    with pytest.raises(UnsupportedOperatorError, match=message):
        check(model, feeds, expected=[])

"""Tails with one thing changed: each stays, or what is cut still gives the rows of the whole graph."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgecv.errors import EdgeCVError
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import Found, find_tail
from tests.graph import tail_structures as tails
from tests.graph.evaluate import run_proto
from tests.graph.test_tails import CUT, as_rows, check_rows, rows_of, run_both, suppressed

# Operators of the same operands.
OTHERS = {
    "Sub": "Add",
    "Add": "Sub",
    "Mul": "Add",
    "Div": "Mul",
    "Greater": "Less",
    "Less": "Greater",
    "ReduceMax": "ReduceMin",
    "ReduceMin": "ReduceMax",
    "ArgMax": "ArgMin",
    "Not": "Identity",
    "Sigmoid": "Relu",
}
# Enough that some mutants of each kind are cut.
MUTANTS = 24


def another_operator(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice([node for node in graph.node if node.op_type in OTHERS])
    node.op_type = OTHERS[node.op_type]


def another_constant(graph: onnx.GraphProto, rng: random.Random) -> None:
    tensor = rng.choice([one for one in graph.initializer if np.prod(one.dims)])
    array = numpy_helper.to_array(tensor).copy()
    flat, at = array.reshape(-1), rng.randrange(array.size)
    flat[at] = flat[at] + rng.choice([1, -1]) if array.dtype.kind == "i" else flat[at] * rng.choice([0.5, 2])
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def another_operand(graph: onnx.GraphProto, rng: random.Random) -> None:
    at = rng.randrange(1, len(graph.node))
    node = graph.node[at]
    earlier = [output for one in list(graph.node)[:at] for output in one.output]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(earlier)


def another_order(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice([node for node in graph.node if len(node.input) > 1])
    a, b = rng.sample(range(len(node.input)), 2)
    node.input[a], node.input[b] = node.input[b], node.input[a]


CHANGES: tuple[Callable[[onnx.GraphProto, random.Random], None], ...] = (
    another_operator,
    another_constant,
    another_operand,
    another_order,
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_mutants_stay_or_give_the_same_rows(
    change: Callable[[onnx.GraphProto, random.Random], None],
) -> None:
    rng = random.Random(change.__name__)
    cases = ("ultralytics", "ultralytics, traced", "yolov5, behind", "yolov7, flat index", "pinto, y first",
             "flat scores", "tensorflow, few", "torchvision, few", "retinanet, few", "fcos")  # fmt: skip
    outcomes = [outcome_of(rng.choice(cases), change, rng) for _ in range(MUTANTS)]
    assert "stays" in outcomes or "is no network" in outcomes
    assert len(set(outcomes)) > 1


def outcome_of(
    case: str, change: Callable[[onnx.GraphProto, random.Random], None], rng: random.Random
) -> str:
    make, fed, _ = CUT[case]
    proto = onnx.ModelProto()
    proto.CopyFrom(make().proto)
    change(proto.graph, rng)
    model = OnnxModel(proto, "mutant")
    feeds = tails.raw_of(model, fed, "many", 3)
    try:
        whole = run_proto(proto, feeds)
        found = find_tail(model)
    except EdgeCVError:
        return "is no network"
    except Exception as error:
        # Of ONNX Runtime, whose errors have no base of their own.
        if "onnxruntime" not in type(error).__module__:
            raise
        return "is no network"
    if not isinstance(found, Found):
        return "stays"
    _, outputs = run_both(model, found, feeds)
    box = as_rows(outputs[found.tail.boxes], found.tail.boxes_are_rows)
    if found.tail.box_format in ("xyxy", "yxyx") and not np.all(box[:, 2:] > box[:, :2]):
        return "has boxes without area"
    check_rows(suppressed(found.tail, outputs, as_the_tail=True), rows_of(found.tail, model, whole))
    return "gives the same"

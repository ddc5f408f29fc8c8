"""GraphBuilder: an ONNX graph put together node by node, every shape known at once.

Shapes come from ONNX's own inference, run on each node as it is added, so that an importer can check what
its file says against them and name the layer at which they part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, TypeProto, helper, numpy_helper

from edgecv.errors import ModelFileError
from edgecv.graph.model import OnnxModel

# The highest version that is written. What a node needs less than is stated by `model`: an operator means
# the same in every version from its own on.
OPSET = 11
# The first version of the format whose weights need not be inputs.
IR_VERSION = 4

Shape = tuple[int, ...]


class GraphBuilder:
    """Adds nodes to a graph whose sizes are all fixed.

    origin: the file, for messages. Names of values are unique; a name that is taken gets a number.
    """

    def __init__(self, name: str, origin: str) -> None:
        self._name = name
        self._origin = origin
        self._types: dict[str, TypeProto] = {}
        self._inputs: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._opset = 7

    def input(self, name: str, shape: Shape) -> str:
        """A float32 input of the network."""
        self._types[name] = helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
        self._inputs.append(name)
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Weights, or an operand such as a shape. value: float32, int64, or another type of ONNX."""
        name = self.unused(name)
        array = np.ascontiguousarray(value)
        self._weights[name] = numpy_helper.from_array(array, name)
        self._types[name] = helper.make_tensor_type_proto(self._weights[name].data_type, array.shape)
        return name

    def add(self, op: str, inputs: Sequence[str], *, name: str, **attributes: Any) -> str:
        """A node with one output, named `name` or after it; returns the output's name.

        inputs: names of values; an empty one leaves an optional operand out. Raises ModelFileError that
        names the node when the operator cannot take them.
        """
        return self.add_many(op, inputs, names=(name,), **attributes)[0]

    def add_many(
        self, op: str, inputs: Sequence[str], *, names: Sequence[str], **attributes: Any
    ) -> tuple[str, ...]:
        """A node with several outputs; see `add`."""
        outputs = tuple(self.unused(name) for name in names)
        node = helper.make_node(op, list(inputs), list(outputs), name=outputs[0], **attributes)
        schema = onnx.defs.get_schema(op, OPSET, "")
        self._opset = max(self._opset, schema.since_version)
        try:
            types = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {value: self._types[value] for value in inputs if value},
                {value: self._weights[value] for value in inputs if self._is_operand(value)},
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
            raise ModelFileError(
                f"{self._origin}: layer {names[0]!r}: {op} of {self._described(inputs)} is not possible: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        for output in outputs:
            self._types[output] = types[output]
            if any(size <= 0 for size in self.shape(output)):
                raise ModelFileError(
                    f"{self._origin}: layer {names[0]!r}: {op} of {self._described(inputs)} leaves nothing: "
                    f"its output is {self.shape(output)}; the picture is too small for this network"
                )
        self._nodes.append(node)
        return outputs

    def shape(self, value: str) -> Shape:
        """Sizes of a value."""
        dims = self._types[value].tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def unused(self, name: str) -> str:
        """The name, or the name with the first number that makes it unique."""
        wanted, number = name, 1
        while wanted in self._types:
            wanted, number = f"{name}.{number}", number + 1
        return wanted

    def model(self, outputs: Mapping[str, str], metadata: Mapping[str, str] | None = None) -> OnnxModel:
        """The network, nodes that lead to no output left out.

        outputs: name of the output -> value. The opset is the lowest that holds its operators.
        """
        nodes = list(self._nodes)
        for name, value in outputs.items():
            if name != value:
                nodes.append(helper.make_node("Identity", [value], [name], name=name))
                self._types[name] = self._types[value]
        needed = set(outputs)
        kept: list[onnx.NodeProto] = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            kept[::-1],
            self._name,
            [helper.make_value_info(name, self._types[name]) for name in self._inputs],
            [helper.make_value_info(name, self._types[name]) for name in outputs],
            initializer=[tensor for name, tensor in self._weights.items() if name in needed],
        )
        proto = helper.make_model(
            graph,
            producer_name="edgecv",
            opset_imports=[helper.make_opsetid("", self._opset)],
            ir_version=max(IR_VERSION, helper.find_min_ir_version_for([helper.make_opsetid("", self._opset)])),
        )
        if metadata:
            helper.set_model_props(proto, dict(metadata))
        return OnnxModel(proto, self._origin)

    def _is_operand(self, value: str) -> bool:
        """Whether shape inference may want to read it: whole numbers and small floats, never weights."""
        tensor = self._weights.get(value)
        return tensor is not None and int(np.prod(tensor.dims, dtype=np.int64)) <= 64

    def _described(self, values: Sequence[str]) -> str:
        return ", ".join(f"{value} {self.shape(value)}" for value in values if value) or "nothing"

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
from onnx import TensorProto, TypeProto, helper

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

    origin: the file, for messages. layer: what an error is put down to; "": the node that it is in.
    Names of values are unique; a name that is taken gets a number.
    """

    def __init__(self, name: str, origin: str) -> None:
        self._name = name
        self._origin = origin
        self._types: dict[str, TypeProto] = {}
        self._inputs: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, NDArray[Any]] = {}
        self._opset = 7
        self.layer = ""

    def input(self, name: str, shape: Shape) -> str:
        """A float32 input of the network."""
        self._types[name] = helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
        self._inputs.append(name)
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Weights, or an operand such as a shape; not copied before `model`.

        value: float32, int64, or another type of ONNX.
        """
        name = self.unused(name)
        self._weights[name] = value
        self._types[name] = helper.make_tensor_type_proto(
            helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
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
                {value: _tensor(value, self._weights[value]) for value in inputs if self._is_operand(value)},
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
            raise ModelFileError(
                f"{self._origin}: {self._place(names)}: {op} of {self._described(inputs)} is not possible: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        for output in outputs:
            self._types[output] = types[output]
            if any(size <= 0 for size in self.shape(output)):
                raise ModelFileError(
                    f"{self._origin}: {self._place(names)}: {op} of {self._described(inputs)} leaves "
                    f"nothing: its output is {self.shape(output)}; the picture is too small for this network"
                )
        self._nodes.append(node)
        return outputs

    def set_shape(self, value: str, shape: Shape) -> str:
        """Say what a value's sizes are, where ONNX does not infer them; returns its name."""
        kind = self._types[value].tensor_type.elem_type
        self._types[value] = helper.make_tensor_type_proto(kind, shape)
        return value

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
        """The network, nodes and inputs that lead to no output left out.

        outputs: name of the output -> value, which takes the name. The opset is the lowest that holds its
        operators.
        """
        nodes = list(self._nodes)
        produced = {output for node in nodes for output in node.output}
        renamed: dict[str, str] = {}
        for name, value in outputs.items():
            if name == value:
                continue
            if value in produced - renamed.keys() - outputs.keys() and name not in self._types:
                renamed[value] = name
            else:
                nodes.append(helper.make_node("Identity", [value], [name], name=name))
            self._types[name] = self._types[value]
        needed = {*outputs, *renamed}
        kept: list[onnx.NodeProto] = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            kept[::-1],
            self._name,
            [helper.make_value_info(name, self._types[name]) for name in self._inputs if name in needed],
            [helper.make_value_info(name, self._types[name]) for name in outputs],
        )
        opsets = [helper.make_opsetid("", self._opset)]
        proto = helper.make_model(
            graph,
            producer_name="edgecv",
            opset_imports=opsets,
            ir_version=max(IR_VERSION, helper.find_min_ir_version_for(opsets)),
        )
        for node in proto.graph.node if renamed else ():
            node.input[:] = [renamed.get(value, value) for value in node.input]
            node.output[:] = [renamed.get(value, value) for value in node.output]
        # Added last: whatever holds a message copies all of it.
        for name, array in self._weights.items():
            if name in needed:
                _fill(proto.graph.initializer.add(), name, array)
        if metadata:
            helper.set_model_props(proto, dict(metadata))
        return OnnxModel(proto, self._origin)

    def _is_operand(self, value: str) -> bool:
        """Whether shape inference may want to read it: whole numbers and small floats, never weights."""
        array = self._weights.get(value)
        return array is not None and array.size <= 64

    def _place(self, names: Sequence[str]) -> str:
        return f"layer {self.layer or names[0]!r}"

    def _described(self, values: Sequence[str]) -> str:
        return ", ".join(f"{value} {self.shape(value)}" for value in values if value) or "nothing"


def _fill(tensor: TensorProto, name: str, value: NDArray[Any]) -> None:
    # What numpy_helper.from_array makes, without a message that would only be copied.
    tensor.name = name
    tensor.dims.extend(value.shape)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
    tensor.raw_data = _raw(value.astype(value.dtype.newbyteorder("<"), copy=False))


def _raw(value: NDArray[Any]) -> bytes:
    """The array's bytes: those that it is a view of, where it is of all of them, and else a copy."""
    owner: Any = value
    while isinstance(owner, np.ndarray):
        owner = owner.base
    is_whole = isinstance(owner, bytes) and len(owner) == value.nbytes and value.flags.c_contiguous
    return owner if is_whole else value.tobytes()


def _tensor(name: str, value: NDArray[Any]) -> TensorProto:
    tensor = TensorProto()
    _fill(tensor, name, value)
    return tensor

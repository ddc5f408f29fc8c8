"""OnnxModel: a checked ONNX network in memory, the one form that importers make and backends take."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from msgspec.structs import replace
from onnx.external_data_helper import uses_external_data

from edgecv.errors import EdgeCVError, ModelFileError
from edgecv.graph import external, inference
from edgecv.inputs import image_wh
from edgecv.types import ModelFacts, TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

# Protobuf's own limit on one message.
MAX_MODEL_BYTES = (2 << 30) - 1

# Operators whose results are their operand's values.
_MOVES = frozenset(
    ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Slice", "Gather", "Pad")
)

_FLOAT_PRECISIONS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}

# Of weights: those of 4 bits count as the next wider one.
_INTEGERS = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("INT8", "UINT8", "INT4", "UINT4")
    if hasattr(onnx.TensorProto, name)
)
_QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


class OnnxModel:
    """An ONNX network: whole (weights inside), parsed once, never changed.

    facts: inputs, outputs and metadata. origin: where it came from, for messages. is_self_contained: whether
    the bytes that it was parsed from say all of it; otherwise weights came from other files beside.
    """

    def __init__(self, proto: ModelProto, origin: str, *, is_self_contained: bool = True) -> None:
        self.proto = proto
        self.origin = origin
        self.is_self_contained = is_self_contained
        self.facts = _facts(proto)

    @classmethod
    def from_bytes(cls, data: bytes, *, origin: str, folders: Sequence[Path] = ()) -> OnnxModel:
        """Parse and check.

        folders: where external weights may lie, looked at in order; none refuses them. Raises ModelFileError.
        """
        proto = onnx.ModelProto()
        try:
            proto.ParseFromString(data)
        except DecodeError as error:
            raise ModelFileError(
                f"{origin}: not an ONNX model, or a damaged one ({len(data)} bytes): "
                "get the file again and compare its size and checksum"
            ) from error
        _check(proto, origin)
        tensors = [tensor for tensor in _tensors(proto.graph) if uses_external_data(tensor)]
        if tensors:
            external.load(tensors, origin, folders)
        _free_negative_sizes(proto)
        _keep_real_inputs(proto)
        _name_outputs_once(proto)
        for graph in inference.graphs_in(proto.graph):
            _put_in_order(graph)
        return cls(proto, origin, is_self_contained=not tensors)

    @cached_property
    def data(self) -> bytes:
        """The serialized network, weights inside."""
        try:
            data: bytes = self.proto.SerializeToString()
        except (ValueError, EncodeError) as error:
            raise ModelFileError(f"{self.origin}: over the 2 GB that one ONNX message can hold") from error
        return data

    def with_facts(self, facts: ModelFacts) -> OnnxModel:
        """The same network, of which more is known than its file says."""
        known = OnnxModel(self.proto, self.origin, is_self_contained=self.is_self_contained)
        known.facts = facts
        return known

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return next((o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")), 0)

    @cached_property
    def precision(self) -> str:
        """What most weights are stored in: "int8", "fp32", "fp16" or "bf16".

        Floats that a QuantizeLinear of the graph takes are int8.
        """
        sizes = {"int8": 0, "fp32": 0, "fp16": 0, "bf16": 0}
        quantized = {n.input[0] for n in _nodes(self.proto.graph) if n.op_type == "QuantizeLinear"}
        for tensor in _tensors(self.proto.graph):
            is_integer = tensor.data_type in _INTEGERS or tensor.name in quantized
            name = "int8" if is_integer else _FLOAT_PRECISIONS.get(tensor.data_type)
            # Biases, scales and sizes are vectors.
            if name and len(tensor.dims) >= 2:
                sizes[name] += int(np.prod(tensor.dims, dtype=np.int64))
        if any(sizes.values()):
            return max(sizes, key=lambda name: sizes[name])
        return self._precision_of_operators()

    def _precision_of_operators(self) -> str:
        """Of a graph without weights, or with vectors alone."""
        if self.has_integer_operators:
            return "int8"
        found = [_FLOAT_PRECISIONS.get(t.data_type) for t in _tensors(self.proto.graph)]
        return next((name for name in found if name), "fp32")

    @cached_property
    def has_integer_operators(self) -> bool:
        """Whether some of it is quantized, subgraphs and vendors' operators included."""
        return any(
            n.op_type in _QUANTIZED
            or n.op_type.startswith("QLinear")
            or "Quantize" in n.op_type
            or "NBits" in n.op_type
            for n in _nodes(self.proto.graph)
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of all initializers."""
        return sum(
            int(np.prod(t.dims, dtype=np.int64)) * onnx.helper.tensor_dtype_to_np_dtype(t.data_type).itemsize
            for t in self.proto.graph.initializer
            if t.data_type != onnx.TensorProto.STRING
        )

    def output_shapes(
        self, input_shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[int | None, ...] | None]:
        """Shapes of the outputs for given input shapes, whatever the file declares of them.

        None marks a size that cannot be told beforehand, and an output whose number of axes cannot. Raises
        InputError where the graph cannot take these inputs.
        """
        if self._static_shapes == dict(input_shapes):
            known = self._known
            if isinstance(known, EdgeCVError):
                raise known
        else:
            known = inference.output_shapes(self.proto, self.origin, input_shapes)
        return {
            name: None if sizes is None else tuple(n if isinstance(n, int) else None for n in sizes)
            for name, sizes in known.items()
        }

    @property
    def _static_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Of the inputs; None where one has no fixed shape."""
        shapes = {s.name: tuple(n for n in s.shape if isinstance(n, int)) for s in self.facts.inputs}
        return shapes if all(spec.is_static for spec in self.facts.inputs) else None

    @cached_property
    def _known(self) -> dict[str, inference.Sizes | None] | EdgeCVError:
        """What inference proves of the outputs for all inputs, or why it does not."""
        try:
            return inference.output_shapes(self.proto, self.origin, self._static_shapes or {})
        except EdgeCVError as error:
            return error

    @cached_property
    def data_of_proven(self) -> bytes:
        """As `data`, without the shapes of outputs and inner values where the file declares some of outputs
        that are not proven: libraries of others believe them."""
        proven = {spec.name: spec for spec in self.proven_outputs}
        # Of what the file says: `with_facts` may know better, and the libraries read the file.
        if all(_agree(spec, proven[spec.name]) for spec in map(_spec, self.proto.graph.output)):
            return self.data
        bare = onnx.ModelProto()
        bare.CopyFrom(self.proto)
        inference.forget(bare.graph)
        return OnnxModel(bare, self.origin).data

    @cached_property
    def proven_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs with sizes that hold for all inputs; a size is None where only the file declares it.

        Names of free sizes are the file's, where it has some.
        """
        # Where it proves nothing, whoever runs the network says what is wrong with it.
        known = {} if isinstance(self._known, EdgeCVError) else self._known
        return tuple(_proven(spec, known.get(spec.name)) for spec in self.facts.outputs)


def with_output_shapes(model: OnnxModel) -> OnnxModel:
    """The network with outputs as `proven_outputs` has them, a size that is not known without a name."""
    told = onnx.ModelProto()
    told.CopyFrom(model.proto)
    for value, spec in zip(told.graph.output, model.proven_outputs, strict=True):
        kind = onnx.helper.make_tensor_type_proto(value.type.tensor_type.elem_type, spec.shape)
        value.type.CopyFrom(kind)
    return OnnxModel(told, model.origin)


def _agree(declared: TensorSpec, proven: TensorSpec) -> bool:
    """Whether every size that is declared is proven too."""
    if not declared.is_ranked or not proven.is_ranked or len(declared.shape) != len(proven.shape):
        return not declared.is_ranked
    sizes = zip(declared.shape, proven.shape, strict=True)
    return all(not isinstance(size, int) or size == known for size, known in sizes)


def _proven(spec: TensorSpec, known: inference.Sizes | None) -> TensorSpec:
    """An output as it is declared, with what is known of its sizes."""
    if known is None:
        return spec.of_any_shape()
    names = spec.shape if len(spec.shape) == len(known) else (None,) * len(known)
    sizes = tuple(
        size if isinstance(size, int) else name if isinstance(name, str) else _own_name(size)
        for size, name in zip(known, names, strict=True)
    )
    return replace(spec, shape=sizes, is_ranked=True)


def _own_name(size: str | None) -> str | None:
    """The name of a free size, but for one that inference has made up."""
    return None if size is None or size.startswith("unk__") else size


def _free_negative_sizes(proto: ModelProto) -> None:
    """Write sizes below 0, as old exporters state free ones, as such; ONNX Runtime reads them so."""
    for graph in inference.graphs_in(proto.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
                if dim.dim_value < 0:
                    dim.ClearField("dim_value")


def _name_outputs_once(proto: ModelProto) -> None:
    """Drop an output that is listed again: results go by their names."""
    listed = {value.name: value for value in reversed(proto.graph.output)}
    if len(listed) < len(proto.graph.output):
        kept = [listed[name] for name in dict.fromkeys(value.name for value in proto.graph.output)]
        del proto.graph.output[:]
        proto.graph.output.extend(kept)


def _keep_real_inputs(proto: ModelProto) -> None:
    """Take the weights out of the graph's inputs, where old exporters list them.

    There a run could replace them, which keeps backends from folding them.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    real = [value for value in proto.graph.input if value.name not in weights]
    if len(real) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(real)
        # Before version 4 of the format every initializer had to be an input.
        proto.ir_version = max(proto.ir_version, 4)


def _put_in_order(graph: GraphProto) -> None:
    """Let every node stand behind those that it reads of: ONNX asks for it, and some converters forget it.

    Nodes that read of one another in a ring stay as they are, for shape inference to refuse.
    """
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    reads = [{maker[name] for name in _read(node) if name in maker} for node in graph.node]
    if all(source < i for i, sources in enumerate(reads) for source in sources):
        return
    readers: list[list[int]] = [[] for _ in reads]
    for i, sources in enumerate(reads):
        for source in sources:
            readers[source].append(i)
    missing = [len(sources) for sources in reads]
    ready = [i for i, count in enumerate(missing) if not count]
    order: list[int] = []
    while ready:
        first = heapq.heappop(ready)
        order.append(first)
        for reader in readers[first]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) == len(reads):
        nodes = [graph.node[i] for i in order]
        moved = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(moved)


def _read(node: NodeProto) -> Iterable[str]:
    """Names that a node and the graphs in it read."""
    yield from node.input
    for attribute in node.attribute:
        for part in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from (value.name for value in part.output)
            for inner in part.node:
                yield from _read(inner)


def _facts(proto: ModelProto) -> ModelFacts:
    inputs = tuple(_spec(value) for value in proto.graph.input)
    return ModelFacts(
        inputs=inputs,
        outputs=tuple(_spec(value) for value in proto.graph.output),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        image_wh=image_wh(inputs),
        operators=frozenset(node.op_type for node in proto.graph.node),
        ends=_ends(proto.graph),
    )


def _ends(graph: GraphProto) -> dict[str, str]:
    producers = {name: node for node in graph.node for name in node.output}
    ends = {}
    for value in graph.output:
        node = producers.get(value.name)
        # A damaged graph may go round in a circle.
        for _ in range(len(graph.node)):
            if node is None or node.op_type not in _MOVES or not node.input:
                break
            node = producers.get(node.input[0])
        if node is not None:
            ends[value.name] = node.op_type
    return ends


def _spec(value: ValueInfoProto) -> TensorSpec:
    sizes = inference.sizes_of(value)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    return TensorSpec(value.name, dtype, sizes or (), is_ranked=sizes is not None)


def _check(proto: ModelProto, origin: str) -> None:
    graph = proto.graph
    if not graph.node or not graph.output:
        raise ModelFileError(f"{origin}: not an ONNX model: it has no graph with nodes and outputs")
    weights = {tensor.name for tensor in graph.initializer}
    if all(value.name in weights for value in graph.input):
        raise ModelFileError(f"{origin}: the ONNX graph has no input")
    for value in (*graph.input, *graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ModelFileError(
                f"{origin}: {value.name!r} is a {kind or 'value without a type'}: expected a tensor"
            )
        if value.type.tensor_type.elem_type not in onnx.helper.get_all_tensor_dtypes():
            raise ModelFileError(f"{origin}: {value.name!r} has no known element type")


def _tensors(graph: GraphProto) -> Iterable[TensorProto]:
    """Those of a graph and of its subgraphs."""
    for part in inference.graphs_in(graph):
        yield from part.initializer
        for node in part.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t


def _nodes(graph: GraphProto) -> Iterable[NodeProto]:
    for part in inference.graphs_in(graph):
        yield from part.node

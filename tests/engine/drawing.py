"""A hand to draw networks with: nodes with random weights, as exporters write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecv.graph.model import OnnxModel

Array = NDArray[Any]


class Drawing:
    """Builds one graph. Methods add nodes and return the name of their result; `channels` are counted along.

    opset: of the file. Weights are scaled so that activations keep their size.
    """

    def __init__(self, name: str, shape: Sequence[int], opset: int = 13, seed: int = 0) -> None:
        self.name, self.opset = name, opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[str] = []
        self.shape = tuple(shape)
        self.channels: dict[str, int] = {"x": shape[1]}

    def add(self, op: str, inputs: Sequence[str], channels: int | None = None, **attributes: Any) -> str:
        """Any node with one result."""
        return self.add_many(op, inputs, [channels], **attributes)[0]

    def add_many(
        self, op: str, inputs: Sequence[str], channels: Sequence[int | None], **attributes: Any
    ) -> list[str]:
        """Any node with several results."""
        names = [f"{op.lower()}_{len(self.nodes)}_{i}" for i in range(len(channels))]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", **attributes)
        )
        for name, count in zip(names, channels, strict=True):
            self.channels[name] = self.channels.get(inputs[0], 0) if count is None else count
        return names

    def weight(self, value: Any) -> str:
        """A constant."""
        array = np.asarray(value)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """An operand such as a shape."""
        return self.weight(np.array(values, np.int64))

    def conv(
        self,
        x: str,
        outputs: int,
        size: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        group: int = 1,
        dilation: int = 1,
        pad: int | Sequence[int] | None = None,
        bias: bool = True,
        act: str = "",
        bn: bool = False,
    ) -> str:
        """Convolution, batch normalization, activation: "" for none, one that `act` spells out, or an op."""
        height, width = (size, size) if isinstance(size, int) else size
        inputs = self.channels[x]
        scale = np.sqrt(2.0 / (inputs // group * height * width))
        weights = self.rng.standard_normal((outputs, inputs // group, height, width)) * scale
        operands = [x, self.weight(weights.astype(np.float32))]
        if bias and not bn:
            operands.append(self.weight((self.rng.standard_normal(outputs) * 0.1).astype(np.float32)))
        if pad is None:
            pads = [height // 2 * dilation, width // 2 * dilation] * 2
        else:
            pads = [pad] * 4 if isinstance(pad, int) else list(pad)
        y = self.add(
            "Conv",
            operands,
            outputs,
            kernel_shape=[height, width],
            strides=[stride, stride],
            pads=pads,
            group=group,
            dilations=[dilation, dilation],
        )
        if bn:
            y = self.normalize(y)
        return self.act(y, act)

    def transposed(self, x: str, outputs: int, size: int, stride: int, pad: int, act: str = "") -> str:
        """Transposed convolution."""
        weights = self.rng.standard_normal((self.channels[x], outputs, size, size)) / np.sqrt(
            self.channels[x] * size
        )
        operands = [x, self.weight(weights.astype(np.float32)), self.weight(np.zeros(outputs, np.float32))]
        y = self.add(
            "ConvTranspose",
            operands,
            outputs,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        return self.act(y, act)

    def normalize(self, x: str) -> str:
        """Batch normalization."""
        n = self.channels[x]
        values = [
            1 + 0.1 * self.rng.standard_normal(n),
            0.1 * self.rng.standard_normal(n),
            0.1 * self.rng.standard_normal(n),
            0.8 + 0.4 * self.rng.random(n),
        ]
        return self.add("BatchNormalization", [x, *(self.weight(v.astype(np.float32)) for v in values)])

    def act(self, x: str, name: str) -> str:
        """An activation as exporters of its time write it."""
        if not name:
            return x
        if name == "silu":
            return self.add("Mul", [x, self.add("Sigmoid", [x])])
        if name == "mish":
            return self.add("Mul", [x, self.add("Tanh", [self.add("Softplus", [x])])])
        if name == "hswish":
            shifted = self.add("Add", [x, self.weight(np.float32(3))])
            clipped = self.add("Clip", [shifted, self.weight(np.float32(0)), self.weight(np.float32(6))])
            return self.add("Div", [self.add("Mul", [x, clipped]), self.weight(np.float32(6))])
        if name == "relu6":
            return self.add("Clip", [x, self.weight(np.float32(0)), self.weight(np.float32(6))])
        if name == "leaky":
            return self.add("LeakyRelu", [x], alpha=0.1)
        return self.add(name, [x])

    def pool(self, x: str, size: int, stride: int, pad: int = 0, op: str = "MaxPool", ceil: int = 0) -> str:
        """Pooling."""
        return self.add(
            op, [x], kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4, ceil_mode=ceil
        )

    def concat(self, *parts: str, axis: int = 1) -> str:
        """Parts after one another."""
        return self.add("Concat", parts, sum(self.channels[p] for p in parts), axis=axis)

    def split(self, x: str, parts: int) -> list[str]:
        """Channels in equal parts."""
        each = self.channels[x] // parts
        return self.add_many("Split", [x, self.integers(*[each] * parts)], [each] * parts, axis=1)

    def upsample(self, x: str, factor: int = 2, mode: str = "nearest") -> str:
        """Resize by a whole factor."""
        scales = self.weight(np.array([1, 1, factor, factor], np.float32))
        kwargs: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if mode == "linear":
            kwargs = {"coordinate_transformation_mode": "half_pixel"}
        return self.add("Resize", [x, "", scales], mode=mode, **kwargs)

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape to a constant shape."""
        return self.add("Reshape", [x, self.integers(*shape)])

    def transpose(self, x: str, *order: int) -> str:
        """Transpose."""
        return self.add("Transpose", [x], perm=list(order))

    def shuffle(self, x: str, groups: int, h: int, w: int) -> str:
        """A channel shuffle, as exporters write it."""
        n = self.channels[x]
        y = self.reshape(x, 1, groups, n // groups, h, w)
        y = self.transpose(y, 0, 2, 1, 3, 4)
        y = self.reshape(y, 1, n, h, w)
        self.channels[y] = n
        return y

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """A fully connected layer on (1, inputs)."""
        weights = self.rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)
        bias = 0.1 * self.rng.standard_normal(outputs)
        operands = [x, self.weight(weights.astype(np.float32)), self.weight(bias.astype(np.float32))]
        return self.add("Gemm", operands, outputs, transB=1)

    def squeeze_excite(self, x: str, reduction: int = 4, gate: str = "HardSigmoid") -> str:
        """Channels weighed by what the whole picture shows."""
        n = self.channels[x]
        y = self.add("GlobalAveragePool", [x])
        y = self.conv(y, max(n // reduction, 4), 1, act="Relu")
        y = self.conv(y, n, 1, act=gate)
        return self.add("Mul", [x, y])

    def output(self, *names: str) -> None:
        """Give results out."""
        self.outputs += names

    def model(self) -> OnnxModel:
        """The finished network."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            self.weights,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
        for value, found in zip(proto.graph.output, inferred.graph.output, strict=True):
            value.CopyFrom(found)
        return OnnxModel(proto, self.name)

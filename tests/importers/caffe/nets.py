"""Caffe networks put together layer by layer, with random weights: as files, and as what the files say.

`Net` keeps its own account of the sizes of blobs, so that weights fit; nothing of the importer is used
but the message types of its weights files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray

from edgecv.importers.caffe import schema

Array = NDArray[np.float32]
Params = Mapping[str, Any]
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class LayerSpec:
    """A layer as a network's author writes it. params: of its own message. field: the message's name."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    field: str
    params: Params
    blobs: tuple[Array, ...]
    more: str = ""


class Net:
    """A network that grows. shapes: of every blob so far."""

    def __init__(self, name: str = "net", seed: int = 0) -> None:
        self.name = name
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.layers: list[LayerSpec] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        # Inputs that are no pictures.
        self.given: dict[str, Array] = {}
        self.random = np.random.default_rng(seed)

    def input(self, *shape: int, name: str = "data") -> str:
        self.inputs[name] = self.shapes[name] = shape
        return name

    def add(
        self,
        kind: str,
        bottoms: str | Sequence[str],
        params: Params | None = None,
        *,
        blobs: Sequence[Array] = (),
        tops: str | Sequence[str] | None = None,
        name: str | None = None,
        field: str | None = None,
        shape: tuple[int, ...] | None = None,
        more: str = "",
    ) -> str:
        """Any layer; returns its first top. shape: of that top; None: of the first bottom."""
        below = (bottoms,) if isinstance(bottoms, str) else tuple(bottoms)
        name = name or f"{kind.lower()}{len(self.layers)}"
        above = (name,) if tops is None else (tops,) if isinstance(tops, str) else tuple(tops)
        spec = LayerSpec(
            name,
            kind,
            below,
            above,
            field or FIELDS.get(kind, f"{kind.lower()}_param"),
            params or {},
            tuple(np.asarray(blob, np.float32) for blob in blobs),
            more,
        )
        self.layers.append(spec)
        for top in above:
            self.shapes[top] = shape or self.shapes.get(below[0] if below else "", ())
        return above[0] if above else name

    def weights(self, *shape: int, fan_in: int | None = None) -> Array:
        """Random, scaled so that values neither grow nor fade."""
        fan = fan_in or math.prod(shape[1:]) or 1
        return self.random.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan))

    def vector(self, n: int, low: float = -0.1, high: float = 0.1) -> Array:
        return self.random.uniform(low, high, n).astype(np.float32)

    def conv(
        self,
        bottom: str,
        outputs: int,
        kernel: Pair,
        *,
        stride: Pair = 1,
        pad: Pair = 0,
        dilation: int = 1,
        group: int = 1,
        bias: bool = True,
        kind: str = "Convolution",
        **how: Any,
    ) -> str:
        n, channels, *size = self.shapes[bottom]
        params: dict[str, Any] = {"num_output": outputs}
        params |= _pair_field("kernel", "kernel_size", kernel) | _pair_field("stride", "stride", stride, 1)
        params |= _pair_field("pad", "pad", pad, 0)
        if dilation != 1:
            params["dilation"] = dilation
        if group != 1:
            params["group"] = group
        if not bias:
            params["bias_term"] = False
        k, s, p = _pair(kernel), _pair(stride), _pair(pad)
        reach = [dilation * (one - 1) + 1 for one in k]
        if kind == "Deconvolution":
            out = [(size[i] - 1) * s[i] + reach[i] - 2 * p[i] for i in (0, 1)]
            blobs = [self.weights(channels, outputs // group, *k, fan_in=channels * 4 // group)]
        else:
            out = [(size[i] + 2 * p[i] - reach[i]) // s[i] + 1 for i in (0, 1)]
            blobs = [self.weights(outputs, channels // group, *k)]
        if bias:
            blobs.append(self.vector(outputs))
        return self.add(kind, bottom, params, blobs=blobs, shape=(n, outputs, *out), **how)

    def pool(
        self,
        bottom: str,
        kind: str = "MAX",
        kernel: Pair = 2,
        stride: Pair = 2,
        pad: Pair = 0,
        floor: bool = False,
        **how: Any,
    ) -> str:
        params: dict[str, Any] = {"pool": kind}
        params |= _pair_field("kernel", "kernel_size", kernel) | _pair_field("stride", "stride", stride, 1)
        params |= _pair_field("pad", "pad", pad, 0)
        if floor:
            params["round_mode"] = "FLOOR"
        n, channels, *size = self.shapes[bottom]
        out = [
            pooled_size(size[i], _pair(kernel)[i], _pair(stride)[i], _pair(pad)[i], pad != 0, floor)
            for i in (0, 1)
        ]
        return self.add("Pooling", bottom, params, shape=(n, channels, *out), **how)

    def global_pool(self, bottom: str, kind: str = "AVE", **how: Any) -> str:
        n, channels, *_ = self.shapes[bottom]
        params = {"pool": kind, "global_pooling": True}
        return self.add("Pooling", bottom, params, shape=(n, channels, 1, 1), **how)

    def relu(self, bottom: str, **params: float) -> str:
        """In place."""
        return self.add("ReLU", bottom, params, tops=bottom)

    def fc(self, bottom: str, outputs: int, *, bias: bool = True, **how: Any) -> str:
        n, *rest = self.shapes[bottom]
        inputs = math.prod(rest)
        blobs = [self.weights(outputs, inputs)] + ([self.vector(outputs)] if bias else [])
        params: dict[str, Any] = {"num_output": outputs} | ({} if bias else {"bias_term": False})
        return self.add("InnerProduct", bottom, params, blobs=blobs, shape=(n, outputs), **how)

    def concat(self, *bottoms: str, **how: Any) -> str:
        n, _, *size = self.shapes[bottoms[0]]
        channels = sum(self.shapes[bottom][1] for bottom in bottoms)
        return self.add("Concat", bottoms, shape=(n, channels, *size), **how)

    def batch_norm(self, bottom: str, *, variance: float = 1.0, **params: Any) -> str:
        """BatchNorm and Scale, in place, its statistics kept as sums of 3.5 batches."""
        channels = self.shapes[bottom][1]
        factor = np.float32(3.5)
        statistics = [
            self.vector(channels) * factor,
            self.vector(channels, 0.5, 1.5) * variance * factor,
            np.array([factor]),
        ]
        self.add("BatchNorm", bottom, params, blobs=statistics, tops=bottom)
        affine = [self.vector(channels, 0.5, 1.5), self.vector(channels)]
        return self.add("Scale", bottom, {"bias_term": True}, blobs=affine, tops=bottom)

    def prototxt(self) -> str:
        """The network as text, its inputs as Input layers."""
        lines = [f'name: "{self.name}"']
        for name, shape in self.inputs.items():
            dims = " ".join(f"dim: {size}" for size in shape)
            lines.append(
                f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}'
            )
        for layer in self.layers:
            names = "".join(f' bottom: "{name}"' for name in layer.bottoms)
            names += "".join(f' top: "{name}"' for name in layer.tops)
            body = f" {layer.field} {{ {_text(layer.params)} }}" if layer.params else ""
            lines.append(f'layer {{ name: "{layer.name}" type: "{layer.type}"{names}{body}{layer.more} }}')
        return "\n".join(lines) + "\n"

    def caffemodel(self) -> bytes:
        """The weights, as today's Caffe writes them."""
        message = schema.weights_types(True)[0]()
        for layer in self.layers:
            entry = message.layer.add(name=layer.name.encode(), type=layer.type.encode())
            for blob in layer.blobs:
                entry.blobs.add(data=blob.tobytes()).shape.dim.extend(blob.shape)
        data: bytes = message.SerializeToString()
        return data

    def write(self, folder: Path, stem: str = "net") -> tuple[Path, Path]:
        """Text file and weights file."""
        paths = folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel"
        paths[0].write_text(self.prototxt())
        paths[1].write_bytes(self.caffemodel())
        return paths

    def made_by(self, blob: str) -> tuple[str, int]:
        """Name of the layer that writes a blob last, and which of its tops it is."""
        layer = next(each for each in reversed(self.layers) if blob in each.tops)
        return layer.name, layer.tops.index(blob)

    def random_inputs(self, seed: int = 1) -> dict[str, Array]:
        random = np.random.default_rng(seed)
        values = {
            name: random.standard_normal(shape).astype(np.float32) for name, shape in self.inputs.items()
        }
        return {**values, **self.given}


# Layers whose parameters are not in `<type in lower case>_param`.
FIELDS = {
    "ArgMax": "argmax_param",
    "BatchNorm": "batch_norm_param",
    "BN": "bn_param",
    "ConvolutionDepthwise": "convolution_param",
    "DepthwiseConvolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "DetectionOutput": "detection_output_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "MVN": "mvn_param",
    "Normalize": "norm_param",
    "NormalizeBBox": "norm_param",
    "Pooling": "pooling_param",
    "PriorBox": "prior_box_param",
    "Proposal": "proposal_param",
    "ROIPooling": "roi_pooling_param",
    "ShuffleChannel": "shuffle_channel_param",
}


def of_files(prototxt: Path, caffemodel: Path) -> Net:
    """A network of today's format, with one Input layer or none, and floats in runs of bytes."""
    text = text_format.Parse(prototxt.read_text(), schema.network_type()())
    stored = schema.weights_types(True)[0].FromString(caffemodel.read_bytes())
    blobs = {
        layer.name.decode(): [
            np.frombuffer(blob.data, "<f4").reshape(tuple(blob.shape.dim)) for blob in layer.blobs
        ]
        for layer in stored.layer
    }
    net = Net(text.name)
    for name, shape in zip(text.input, text.input_shape, strict=False):
        net.input(*shape.dim, name=name)
    if text.input_dim:
        net.input(*text.input_dim, name=text.input[0])
    for layer in text.layer:
        if layer.type == "Input":
            net.input(*layer.input_param.shape[0].dim, name=layer.top[0])
            continue
        field = FIELDS.get(layer.type, f"{layer.type.lower()}_param")
        params = {}
        for each, value in getattr(layer, field).ListFields() if hasattr(layer, field) else ():
            one = value if isinstance(value, (bool, int, float, str)) else list(value)
            params[each.name] = each.enum_type.values_by_number[one].name if each.enum_type else one
        net.add(
            layer.type, layer.bottom, params, blobs=blobs.get(layer.name, ()), tops=layer.top, name=layer.name
        )
    return net


def pooled_size(size: int, kernel: int, stride: int, pad: int, padded: bool, floor: bool = False) -> int:
    """How many windows Caffe's pooling has along an axis."""
    steps = (size + 2 * pad - kernel) / stride
    windows = (math.floor(steps) if floor else math.ceil(steps)) + 1
    if padded and (windows - 1) * stride >= size + pad:
        windows -= 1
    return windows


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _pair_field(name: str, both: str, value: Pair, default: int | None = None) -> dict[str, int]:
    if isinstance(value, tuple):
        return {f"{name}_h": value[0], f"{name}_w": value[1]}
    return {} if value == default else {both: value}


def _text(params: Params) -> str:
    parts = []
    for key, value in params.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, Mapping):
                parts.append(f"{key} {{ {_text(one)} }}")
            elif isinstance(one, bool):
                parts.append(f"{key}: {str(one).lower()}")
            elif isinstance(one, str) and not one.isupper():
                parts.append(f'{key}: "{one}"')
            else:
                parts.append(f"{key}: {one}")
    return " ".join(parts)

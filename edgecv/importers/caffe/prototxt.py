"""A network's text file: its inputs and layers as they run in the TEST phase, of whichever format.

Today's format (`layer`) and the V1 format (`layers` with enumerated types) become the same `Layer`; what
only feeds or trains a network is left out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from edgecv.errors import ModelFileError
from edgecv.formats import MAX_PROTOTXT_BYTES
from edgecv.importers.caffe.schema import network_type

# The largest networks in use are described in a few hundred KB.
MAX_LAYERS = 10_000
# Bottoms and tops of all layers together.
MAX_LINKS = 50_000
# Caffe's own limits: the numbers of a blob are counted in an int.
MAX_COUNT = (1 << 31) - 1
MAX_AXES = 32

Shape = tuple[int, ...]

_TEST = 1

# Types of the V1 format whose names are not those of today but for the underscores.
_V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "RELU6": "ReLU6",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
_TRAINING_TYPES = {
    *("Accuracy", "SegAccuracy", "HDF5Output", "Yolov3", "YoloSeg"),
    *("DetectionEvaluate", "SegmentationEvaluate", "EvalDetection"),
}
_TRAINING_PYTHON = {"ClusterGroundtruth", "ScoreDetections", "mAP", "MeanAP"}
_DATA_TYPES = {
    *("Data", "ImageData", "HDF5Data", "WindowData", "AnnotatedData", "VideoData"),
    *("DenseImageData", "ImageSegData", "DetectNetTransformation"),
}


@dataclass(frozen=True)
class Layer:
    """One layer. message: its parameters, by Caffe's names, such as `message.convolution_param`."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Any

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.type})"


@dataclass(frozen=True)
class Network:
    """What a text file says. origin: its path.

    inputs: name -> shape, as the file gives it. layers: in their order. transforms: how data layers of
    any phase feed the network. remarks: what was left out; assumptions: what the file does not say.
    """

    origin: str
    name: str
    inputs: dict[str, Shape]
    layers: tuple[Layer, ...]
    transforms: tuple[Any, ...]
    remarks: tuple[str, ...]
    assumptions: tuple[str, ...]


def read(path: Path) -> Network:
    """Parse a file. Raises ModelFileError that names the line, or the layer."""
    message = network_type()()
    try:
        if path.stat().st_size > MAX_PROTOTXT_BYTES:
            raise ModelFileError(
                f"{path}: over {MAX_PROTOTXT_BYTES >> 20} MB: not the text of a Caffe network"
            )
        # Comments come in many encodings.
        text = path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        with warnings.catch_warnings():
            # Protobuf leaves escapes to Python, which warns of those that it does not know.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", SyntaxWarning)
            text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise ModelFileError(f"{path}: line {error.GetLine() or 1}: {_reason(str(error))}") from error
    return _Reader(str(path), message).network()


def type_of_v1(label: str) -> str:
    """The name of today for a type of the V1 format, such as "InnerProduct" for "INNER_PRODUCT"."""
    return _V1_TYPES.get(label) or label.title().replace("_", "")


def check_shape(shape: Sequence[int], what: str) -> Shape:
    """The shape, every size of it at least 1. Raises ModelFileError for another, or a count over Caffe's."""
    count = 1
    for size in shape:
        count *= size
        if size < 1 or count > MAX_COUNT or len(shape) > MAX_AXES:
            raise ModelFileError(
                f"{what}: shape {tuple(shape)[:8]}: expected {MAX_AXES} sizes at most, of 1 or more, and "
                f"{MAX_COUNT} values at most"
            )
    return tuple(shape)


def _reason(error: str) -> str:
    """What a parser's message says, in this project's words."""
    error = re.sub(r"^\d+:\d+ : ", "", error)
    field = re.search(r'Message type "caffe\.(\w+)" has no field named "(.*?)"', error)
    if field and field[1] == "V0LayerParameter":
        return (
            "layers of Caffe's first format (V0): upgrade the file with Caffe's own upgrade_net_proto_text, "
            "the weights fit it as they are"
        )
    if field:
        return (
            f"unknown field {field[2]!r} in {field[1]}: a typing error, or of a fork of Caffe; remove it if "
            "the network runs without"
        )
    value = re.search(r'Enum type "caffe\.(\w+)\.Value" has no value named (\w+)', error)
    if value:
        return f"unknown {value[1]} {value[2]!r}"
    again = re.search(r'should not have multiple "(\w+)" fields', error)
    if again:
        return f"field {again[1]!r} is given twice"
    problem = " ".join(error.rpartition("': ")[2].split())[:200].rstrip(".")
    return f"{problem}: expected the text file of a Caffe network"


class _Reader:
    def __init__(self, origin: str, message: Any) -> None:
        self._origin = origin
        self._message = message
        self._inputs: dict[str, Shape] = {}
        self._layers: list[Layer] = []
        # Tops of layers that are left out: labels and the like.
        self._dropped: set[str] = set()
        self._remarks: list[str] = []
        self._assumptions: list[str] = []

    def network(self) -> Network:
        message = self._message
        if message.layer and message.layers:
            raise ModelFileError(f"{self._origin}: has both `layer` and `layers`: expected one format")
        every = message.layer or message.layers
        if len(every) > MAX_LAYERS:
            raise ModelFileError(f"{self._origin}: {len(every)} layers: expected at most {MAX_LAYERS}")
        links = sum(len(part.bottom) + len(part.top) for part in every)
        if links > MAX_LINKS:
            raise ModelFileError(f"{self._origin}: {links} bottoms and tops: expected at most {MAX_LINKS}")
        if not every:
            raise ModelFileError(f"{self._origin}: no layers: expected the text file of a Caffe network")
        self._take_declared_inputs()
        for part in _in_test_phase(every, message.state):
            self._take(self._layer(part, len(self._layers)))
        if not self._inputs:
            raise ModelFileError(
                f"{self._origin}: no input: expected an Input layer or `input` with its shape, as the "
                "network's deploy.prototxt has it"
            )
        transforms = [part.transform_param for part in every if part.HasField("transform_param")]
        return Network(
            self._origin,
            message.name,
            self._inputs,
            tuple(self._layers),
            tuple(transforms),
            tuple(self._remarks),
            tuple(self._assumptions),
        )

    def _take_declared_inputs(self) -> None:
        names, shapes, dims = (getattr(self._message, f) for f in ("input", "input_shape", "input_dim"))
        given: list[list[int]] = [list(shape.dim) for shape in shapes]
        if dims:
            given = [list(dims[i : i + 4]) for i in range(0, len(dims), 4)]
        if len(given) != len(names) or (dims and len(dims) != 4 * len(names)):
            raise ModelFileError(
                f"{self._origin}: {len(names)} `input` with {len(shapes)} `input_shape` and {len(dims)} "
                "`input_dim`: expected one shape, or four sizes, for each"
            )
        for name, shape in zip(names, given, strict=True):
            self._add_input(name, shape, f"input {name!r}")

    def _add_input(self, name: str, shape: Sequence[int], what: str) -> None:
        _check_printable(name, f"{self._origin}: {what}")
        if name in self._inputs:
            raise ModelFileError(f"{self._origin}: {what}: {name!r} is an input already")
        if not shape:
            raise ModelFileError(f"{self._origin}: {what}: no shape for {name!r}: give it one, batch first")
        self._inputs[name] = check_shape(shape, f"{self._origin}: {what}")

    def _layer(self, part: Any, number: int) -> Layer:
        kind = part.type
        if isinstance(kind, int):
            label = part.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[kind].name
            kind = type_of_v1(label)
        name = part.name or f"{kind or 'layer'}{number}"
        if not kind or kind == "None":
            raise ModelFileError(f"{self._origin}: layer {name!r}: no `type`")
        for text in (name, kind, *part.bottom, *part.top):
            _check_printable(text, f"{self._origin}: layer {name!r}")
        return Layer(name, kind, tuple(part.bottom), tuple(part.top), part)

    def _take(self, layer: Layer) -> None:
        if layer.type in ("Input", "DummyData", "MemoryData"):
            self._take_input(layer)
        elif layer.type in _DATA_TYPES:
            self._take_data(layer)
        elif _is_training(layer) or (layer.bottoms and self._dropped.issuperset(layer.bottoms)):
            self._dropped.update(layer.tops)
            self._remarks.append(f"{layer} left out: it belongs to training")
        else:
            self._layers.append(layer)

    def _take_input(self, layer: Layer) -> None:
        for top, shape in zip(layer.tops, self._shapes(layer), strict=False):
            self._add_input(top, shape, str(layer))

    def _shapes(self, layer: Layer) -> list[list[int]]:
        """Of every top, empty where none is given."""
        if layer.type == "MemoryData":
            data = layer.message.memory_data_param
            self._dropped.update(layer.tops[1:])
            return [[1, data.channels, data.height, data.width]]
        if layer.type == "DummyData":
            dummy = layer.message.dummy_data_param
            columns = (dummy.num, dummy.channels, dummy.height, dummy.width)
            shapes = [list(s.dim) for s in dummy.shape] or [list(s) for s in zip(*columns, strict=False)]
        else:
            shapes = [list(shape.dim) for shape in layer.message.input_param.shape]
        if len(shapes) not in (0, 1, len(layer.tops)):
            raise ModelFileError(
                f"{self._origin}: {layer}: {len(shapes)} shapes for {len(layer.tops)} tops: expected one of "
                "all, or one of each"
            )
        return shapes if len(shapes) == len(layer.tops) else (shapes or [[]]) * len(layer.tops)

    def _take_data(self, layer: Layer) -> None:
        """A data layer is an input where it says of which size, and the rest of its tops are labels."""
        self._dropped.update(layer.tops[1:])
        size = _data_size(layer.message)
        if not layer.tops or not all(size):
            self._dropped.update(layer.tops)
            self._remarks.append(f"{layer} left out: it belongs to training")
            return
        gray = layer.message.transform_param.force_gray or not layer.message.image_data_param.is_color
        self._add_input(layer.tops[0], (1, 1 if gray else 3, *size), str(layer))
        self._assumptions.append(
            f"{layer}: taken as an input of {size[1]}x{size[0]} pixels, {'gray' if gray else 'in color'}"
        )


def _check_printable(text: str, what: str) -> None:
    """Names stand in messages, each of one line."""
    if not text.isprintable():
        raise ModelFileError(f"{what}: name {text[:100]!r}: expected letters and signs in one line")


def _data_size(message: Any) -> tuple[int, int]:
    """Height and width of what a data layer gives, 0 where it does not say."""
    transform, images = message.transform_param, message.image_data_param
    side = transform.crop_size or message.data_param.crop_size or images.crop_size
    candidates = [(transform.crop_h, transform.crop_w), (side, side), (images.new_height, images.new_width)]
    candidates += [(resize.height, resize.width) for resize in transform.resize_param]
    return next((size for size in candidates if all(size)), (0, 0))


def _is_training(layer: Layer) -> bool:
    if layer.type == "Python":
        return layer.message.python_param.layer in _TRAINING_PYTHON
    return layer.type in _TRAINING_TYPES or layer.type.endswith("Loss")


def _in_test_phase(parts: Iterable[Any], state: Any) -> list[Any]:
    """The layers whose `include` and `exclude` rules admit them, as Caffe's `Net::FilterNet` does it."""
    parts = list(parts)
    stages = set(state.stage)
    if any("deploy" in rule.stage for part in parts for rule in (*part.include, *part.exclude)):
        # Networks of DIGITS mark with it what runs after training.
        stages.add("deploy")

    def meets(rule: Any) -> bool:
        return (
            (not rule.HasField("phase") or rule.phase == _TEST)
            and (not rule.HasField("min_level") or state.level >= rule.min_level)
            and (not rule.HasField("max_level") or state.level <= rule.max_level)
            and stages.issuperset(rule.stage)
            and stages.isdisjoint(rule.not_stage)
        )

    return [
        part
        for part in parts
        if (any(map(meets, part.include)) if part.include else not any(map(meets, part.exclude)))
    ]

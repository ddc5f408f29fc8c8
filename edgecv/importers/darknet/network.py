"""A cfg's sections to a plan of the network, and the plan with its weights to an ONNX graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgecv.errors import ModelFileError
from edgecv.frame import MAX_SIDE as MAX_PICTURE_SIDE
from edgecv.graph.builder import GraphBuilder
from edgecv.graph.model import OnnxModel
from edgecv.importers.darknet import detecting, joining, pooling, reshaping, weighted
from edgecv.importers.darknet.cfg import Section
from edgecv.importers.darknet.keys import is_for_training
from edgecv.importers.darknet.layers import MAX_NUMBERS, PICTURE, Blob, Emitter, Layer, Planner, Site, Size
from edgecv.importers.darknet.weights import Weights
from edgecv.types import FloatArray

# What a picture's channels are, by their number.
COLORS: Mapping[int, Literal["gray", "rgb", "rgbd"]] = {1: "gray", 3: "rgb", 4: "rgbd"}
# The name of the picture: Darknet has none, and this is what OpenCV calls it.
INPUT = "data"

_PLANNERS: dict[str, Planner] = {
    **weighted.LAYERS,
    **pooling.LAYERS,
    **joining.LAYERS,
    **reshaping.LAYERS,
    **detecting.LAYERS,
}
# Items of a kind that one remark lists.
_LISTED = 12
_RECURRENT = ("rnn", "gru", "lstm", "crnn", "conv_lstm", "history")


@dataclass(frozen=True)
class Plan:
    """A network before its weights.

    outputs: the layers whose values the graph puts out; of a detection layer, the value that it reads.
    remarks: one line each.
    """

    net: Section
    picture: Size
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
    remarks: tuple[str, ...]


def plan(sections: Sequence[Section]) -> Plan:
    """Sizes and weights of every layer, by arithmetic alone. Raises ModelFileError that names the line."""
    net = sections[0]
    if not net.has("width") and net.has("inputs"):
        raise net.error("a network without a picture as its input is not supported", "inputs")
    picture = Size(
        net.integer("channels", None, 1, 4),
        net.integer("height", None, 1, MAX_PICTURE_SIDE),
        net.integer("width", None, 1, MAX_PICTURE_SIDE),
    )
    if picture.c not in COLORS:
        raise net.error("expected 1 (gray), 3 (RGB) or 4 (RGB and depth)", "channels")
    if picture.numbers > MAX_NUMBERS:
        raise net.error(f"a picture of {picture} has {picture.numbers} numbers, over {MAX_NUMBERS}")
    net.integer("inputs", picture.numbers, picture.numbers, picture.numbers)
    # Read when the card is made.
    net.flag("letter_box")
    layers: list[Layer] = []
    remarks: list[str] = []
    for index, section in enumerate(sections[1:]):
        if section.kind in _RECURRENT:
            raise section.error("recurrent layers keep a state from frame to frame: not supported")
        if section.kind not in _PLANNERS:
            raise section.error(f"unknown or unsupported layer; supported: {', '.join(_PLANNERS)}")
        layers.append(_PLANNERS[section.kind](Site(section, index, picture, layers, remarks)))
    outputs = _outputs(layers)
    remarks += _remarks(sections, layers, outputs)
    return Plan(net, picture, tuple(layers), outputs, tuple(remarks))


def _remarks(sections: Sequence[Section], layers: Sequence[Layer], outputs: Sequence[int]) -> list[str]:
    """What of the cfg does not come into the graph."""
    remarks = []
    unknown = [
        f"{section.label} `{key}` in line {line}"
        for section in sections
        for key, line in section.unread()
        if not is_for_training(section.kind, key)
    ]
    if unknown:
        remarks.append(f"unknown options, ignored: {_listed(unknown)}")
    used = used_layers(layers, outputs)
    idle = [
        layer.section.label
        for index, layer in enumerate(layers)
        if index not in used and not layer.is_training
    ]
    if idle:
        remarks.append(f"dropped, for no output of the network comes of them: {_listed(idle)}")
    training = Counter(layer.section.kind for layer in layers if layer.is_training)
    if training:
        named = ", ".join(f"{count} [{kind}]" for kind, count in training.items())
        remarks.append(f"dropped, for they act only in training: {named}")
    return remarks


def _listed(items: Sequence[str]) -> str:
    """The items for a message, of many the first."""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more


def _outputs(layers: Sequence[Layer]) -> tuple[int, ...]:
    heads = tuple(index for index, layer in enumerate(layers) if layer.head is not None)
    if heads:
        return heads
    last = next((index for index in range(len(layers) - 1, -1, -1) if not layers[index].unreadable), PICTURE)
    while last != PICTURE and layers[last].is_training:
        last = layers[last].reads[0]
    if last == PICTURE:
        raise layers[-1].section.error("the network computes nothing: no layer acts at inference")
    return (last,)


def assign(
    planned: Plan, weights: Weights, origin: str
) -> tuple[list[list[FloatArray]], list[str], list[str]]:
    """The arrays of each layer, views of the file's numbers; remarks; and what makes the results doubtful.

    origin: the weights file, for messages. Raises ModelFileError that names the layer at which the file
    ends, before anything is allocated.
    """
    found = len(weights.numbers)
    blobs = [layer.blobs for layer in planned.layers]
    remarks: list[str] = []
    doubts: list[str] = []
    # pjreddie's Darknet stores no bias for [batchnorm], AlexeyAB's does: the file's length tells.
    short = [
        each[1:] if layer.section.kind == "batchnorm" else each
        for layer, each in zip(planned.layers, blobs, strict=True)
    ]
    if short != blobs and _count(short) == found:
        blobs = short
        remarks.append("[batchnorm] has no bias in this weights file: 0")
    _check_length(planned, blobs, found, origin)
    arrays: list[list[FloatArray]] = []
    offset = 0
    for layer, each in zip(planned.layers, blobs, strict=True):
        arrays.append([])
        strange = 0
        for blob in each:
            part = weights.numbers[offset : offset + blob.numbers]
            arrays[-1].append(part.reshape(blob.shape))
            offset += blob.numbers
            strange += blob.numbers - int(np.count_nonzero(np.isfinite(part)))
        if strange:
            doubts.append(f"{layer.section.label}: {strange} of its weights are infinite or not a number")
    left = 4 * (found - offset) + weights.tail
    if left:
        doubts.append(
            f"{origin}: these weights belong to this cfg, though {left} bytes follow the last one that it "
            f"takes: it has {offset} numbers, the file {found}"
        )
    return arrays, remarks, doubts


def _count(blobs: Sequence[Sequence[Blob]]) -> int:
    return sum(blob.numbers for each in blobs for blob in each)


def _check_length(planned: Plan, blobs: Sequence[Sequence[Blob]], found: int, origin: str) -> None:
    offset = 0
    total = _count(blobs)
    for layer, each in zip(planned.layers, blobs, strict=True):
        needed = sum(blob.numbers for blob in each)
        if offset + needed > found:
            left = found - offset
            how = "it is cut short, or belongs to another cfg"
            if offset and not left:
                how = "it is a partial file, made to start a training from, or belongs to another cfg"
            raise ModelFileError(
                f"{origin}: ends in {layer.section.label} (cfg line {layer.section.line}): expected {needed} "
                f"numbers, found {left}; {total} in all, found {found}: {how}"
            )
        offset += needed


def emit(
    planned: Plan, arrays: Sequence[Sequence[FloatArray]], *, transposed: bool, name: str, origin: str
) -> OnnxModel:
    """The network as ONNX, batch 1, opset 11 at most.

    transposed: whether fully connected weights are stored input by output. name: of the graph.
    """
    graph = GraphBuilder(name, origin)
    values = {PICTURE: graph.input(INPUT, (1, *planned.picture))}
    needed = used_layers(planned.layers, planned.outputs)
    for index, (layer, blobs) in enumerate(zip(planned.layers, arrays, strict=True)):
        if index in needed:
            graph.layer = layer.section.name
            emitter = Emitter(graph, layer.section.name, transposed)
            values[index] = layer.emit(emitter, [values[source] for source in layer.reads], blobs)
    return graph.model({planned.layers[index].section.name: values[index] for index in planned.outputs})


def used_layers(layers: Sequence[Layer], outputs: Sequence[int]) -> set[int]:
    """The layers that lead to the outputs, these included."""
    used: set[int] = set()
    waiting = list(outputs)
    while waiting:
        index = waiting.pop()
        if index != PICTURE and index not in used:
            used.add(index)
            waiting += layers[index].reads
    return used

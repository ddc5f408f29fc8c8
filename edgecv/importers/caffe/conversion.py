"""A network and its weights to ONNX: layer after layer, in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv.errors import ModelFileError
from edgecv.graph.builder import GraphBuilder
from edgecv.graph.model import OnnxModel
from edgecv.heads import two_stages
from edgecv.importers.base import NETWORK
from edgecv.importers.caffe.caffemodel import Weights
from edgecv.importers.caffe.layers import CONVERTERS
from edgecv.importers.caffe.layers.regions import end_of_regions
from edgecv.importers.caffe.prototxt import Layer, Network, check_shape
from edgecv.importers.caffe.step import End, Names, Pooled, Step, Tensor, Value

# Layers that leave the values as they are.
_MOVES = ("Dropout", "Flatten", "Reshape", "Split")
# Of py-faster-rcnn's test configuration, where no layer says how detections are joined.
PY_FASTER_RCNN_NMS = 0.3


@dataclass(frozen=True)
class Converted:
    """networks: by stage. end: the layer that reads their outputs, where the file has one.

    probabilities: outputs that come out of a Softmax.
    """

    networks: dict[str, OnnxModel]
    end: End | None
    probabilities: frozenset[str]
    remarks: tuple[str, ...]
    assumptions: tuple[str, ...]


def convert(network: Network, weights: Weights) -> Converted:
    """Raises ModelFileError that names the file and the layer."""
    return _Conversion(network, weights).run()


class _Conversion:
    def __init__(self, network: Network, weights: Weights) -> None:
        self._network = network
        self._weights = weights
        self._names = Names(network.origin, network.layers, list(network.inputs))
        self._graph = GraphBuilder(network.name or "caffe", network.origin)
        # What each blob holds now, and those of them that no layer has taken.
        self._values: dict[str, Value] = {}
        self._left: dict[str, Value] = {}
        self._made_by: dict[str, Layer] = {}
        self._pooled: Pooled | None = None
        # Names in the graph of what comes out of a Softmax, as it is or in another shape.
        self._probabilities: set[str] = set()

    def run(self) -> Converted:
        remarks = list(self._network.remarks)
        batch = next(iter(self._network.inputs.values()))[0]
        for name, shape in self._network.inputs.items():
            if len(shape) > 1 and shape[0] == batch > 1:
                remarks.append(f"input {name!r}: the file feeds {shape[0]} images at a time, the graph one")
                shape = (1, *shape[1:])
            self._values[name] = Tensor(self._graph, self._graph.input(name, shape))
        for number, layer in enumerate(self._network.layers):
            self._take(layer, number)
        end = self._end()
        outputs = end.outputs if end else self._left
        tensors = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
        if not tensors:
            raise ModelFileError(f"{self._network.origin}: no layer gives an output")
        return Converted(
            self._models(tensors),
            end,
            frozenset(name for name, tensor in tensors.items() if tensor.name in self._probabilities),
            tuple(remarks),
            (*self._network.assumptions, *(end.assumptions if end else ())),
        )

    def _end(self) -> End | None:
        """The layer that reads the network's outputs, or what stands for it behind pooled proposals."""
        ends = list({id(value): value for value in self._left.values() if isinstance(value, End)}.values())
        if len(ends) > 1:
            raise ModelFileError(f"{self._network.origin}: {len(ends)} layers read detections: expected one")
        if ends or self._pooled is None:
            return ends[0] if ends else None
        outputs = {
            name: value
            for name, value in self._left.items()
            if isinstance(value, Tensor) and value.graph is self._pooled.graph
        }
        scores = next((name for name, value in outputs.items() if value.name in self._probabilities), "")
        try:
            return end_of_regions(self._pooled, outputs, scores, {"iou": PY_FASTER_RCNN_NMS})
        except ValueError as error:
            raise ModelFileError(f"{self._network.origin}: {error}") from error

    def _models(self, tensors: dict[str, Tensor]) -> dict[str, OnnxModel]:
        graphs = {NETWORK: self._graph}
        if self._pooled:
            graphs = dict(zip(two_stages.STAGES, (self._graph, self._pooled.graph), strict=True))
        return {
            stage: graph.model({name: value.name for name, value in tensors.items() if value.graph is graph})
            for stage, graph in graphs.items()
        }

    def _take(self, layer: Layer, number: int) -> None:
        bottoms = [self._bottom(layer, name, number) for name in layer.bottoms]
        for name in layer.bottoms:
            self._left.pop(name, None)
        if layer.type == "Silence":
            return
        step = Step(layer, bottoms, self._weights, self._names, self._pooled)
        graphs = {id(value.graph) for value in bottoms if isinstance(value, Tensor)}
        if len(graphs) > 1 and layer.type != "DetectionOutput":
            raise step.error("takes values from before and after the ROI pooling, which run apart")
        if layer.type not in CONVERTERS:
            raise step.error(f"not a layer that edgecv reads; it reads {', '.join(sorted(CONVERTERS))}")
        for value in bottoms:
            if isinstance(value, Tensor):
                value.graph.layer = layer.name
        result = CONVERTERS[layer.type](step)
        self._keep(step, [result] if isinstance(result, (str, Value)) else result)

    def _bottom(self, layer: Layer, name: str, number: int) -> Value:
        if name in self._values:
            return self._values[name]
        later = next((each for each in self._network.layers[number:] if name in each.tops), None)
        known = ", ".join(list(self._values)[-8:])
        raise ModelFileError(
            f"{self._network.origin}: {layer}: bottom {name!r} "
            + (
                f"is made by {later} further down: expected layers in the order in which they run, no cycle"
                if later
                else f"is no blob; the last ones before it are {known}"
            )
        )

    def _keep(self, step: Step, results: Sequence[str | Value]) -> None:
        layer = step.layer
        tops = layer.tops
        if isinstance(results[0], End):
            # Its tops hold detections, which no layer reads; it may have none, or one of each class.
            tops = tops or (layer.name,)
            results = [results[0]] * len(tops)
        if len(results) != len(tops):
            raise step.error(f"{len(tops)} tops: expected {len(results)}")
        for top, result in zip(tops, results, strict=True):
            if top in self._values and top not in layer.bottoms:
                maker = self._made_by.get(top, "the network's input")
                raise step.error(f"top {top!r} is made by {maker} already")
            value = Tensor(step.graph, result) if isinstance(result, str) else result
            if isinstance(value, Tensor):
                check_shape(value.shape, f"{self._network.origin}: {layer}: top {top!r}")
                if layer.type == "Softmax" or (layer.type in _MOVES and step.input in self._probabilities):
                    self._probabilities.add(value.name)
            if isinstance(value, Pooled):
                if self._pooled:
                    raise step.error("a second ROI pooling: expected one in a network")
                self._pooled = value
            self._values[top] = self._left[top] = value
            self._made_by[top] = layer

"""What a converter of one layer works with: the values that it takes, its weights, and the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import ModelFileError
from edgecv.graph.builder import GraphBuilder
from edgecv.heads.base import HeadParams
from edgecv.heads.priors import PriorMap
from edgecv.importers.caffe.caffemodel import Weights
from edgecv.importers.caffe.prototxt import Layer, Shape
from edgecv.types import FloatArray

# What a kernel, stride, pad or another size of a layer is at most: far over any in use.
MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class Tensor:
    """A value of a network. name: in `graph`."""

    graph: GraphBuilder
    name: str

    @property
    def shape(self) -> Shape:
        return self.graph.shape(self.name)


@dataclass(frozen=True)
class Mask:
    """Where a max pooling found its values. indices: value of the graph. size: of the pooled map's
    own bottom, (height, width). pooling: attributes of the node."""

    indices: Tensor
    size: tuple[int, int]
    pooling: dict[str, Any]


@dataclass(frozen=True)
class Priors:
    """The boxes of PriorBox layers, which no network computes. variances: four of each map."""

    maps: tuple[PriorMap, ...]
    variances: tuple[tuple[float, ...], ...]
    count: int


@dataclass(frozen=True)
class Rois:
    """The proposals of a Faster R-CNN.

    fields: of its head, as far as they are known. outputs: what proposals are made of, by blob.
    """

    fields: dict[str, Any]
    outputs: dict[str, Tensor]


@dataclass(frozen=True)
class Pooled(Tensor):
    """What is pooled from each proposal: the input of a network of its own. rois: the features among
    its outputs."""

    rois: Rois


@dataclass(frozen=True)
class End:
    """A layer that reads the network's outputs, as a head does. outputs: what it takes, by name.

    thresholds: fields of a card's. assumptions: where the head's results are not the layer's. usual: fields
    of a card's input, where all networks that end so are fed alike.
    """

    head: str
    params: HeadParams
    outputs: dict[str, Tensor]
    thresholds: dict[str, Any]
    assumptions: tuple[str, ...] = ()
    usual: Mapping[str, Any] = field(default_factory=dict)


Value = Tensor | Mask | Priors | Rois | End
Result = str | Value | Sequence[str | Value]


class Step:
    """One layer about to be converted."""

    def __init__(
        self,
        layer: Layer,
        bottoms: Sequence[Value],
        weights: Weights,
        names: Names,
        pooled: Pooled | None = None,
    ) -> None:
        """pooled: where the network was cut in two, before this layer."""
        self.pooled = pooled
        self.layer = layer
        self.bottoms = tuple(bottoms)
        self.message = layer.message
        self._weights = weights
        self._names = names

    def error(self, problem: str) -> ModelFileError:
        """An error that names the file and the layer."""
        return ModelFileError(f"{self._names.origin}: {self.layer}: {problem}")

    def expect_bottoms(self, *counts: int) -> None:
        """Raise unless the layer takes one of these numbers of values."""
        if len(self.bottoms) not in counts:
            wanted = " or ".join(map(str, counts))
            raise self.error(f"takes {len(self.bottoms)} bottoms: expected {wanted}")

    def tensor(self, number: int = 0) -> Tensor:
        """A bottom that must be a value of the network."""
        if number >= len(self.bottoms):
            raise self.error(f"takes {len(self.bottoms)} bottoms: expected {number + 1} or more")
        value = self.bottoms[number]
        if not isinstance(value, Tensor):
            kind = type(value).__name__.lower()
            raise self.error(f"bottom {self.layer.bottoms[number]!r} is {kind}, no value of the network")
        return value

    def tensors(self) -> list[Tensor]:
        """All bottoms, values of one network."""
        found = [self.tensor(number) for number in range(len(self.bottoms))]
        if not found:
            raise self.error("takes no bottom: expected 1 or more")
        return found

    @property
    def graph(self) -> GraphBuilder:
        """The network that the layer belongs to."""
        return self.tensor().graph

    @property
    def input(self) -> str:
        """The first bottom's name in the graph."""
        return self.tensor().name

    @property
    def shape(self) -> Shape:
        """The first bottom's shape."""
        return self.tensor().shape

    @property
    def channels(self) -> int:
        """The size of the first bottom's second axis."""
        return self.shape[self.axis(1)]

    def axis(self, given: int, *, rank: int | None = None) -> int:
        """An axis of the first bottom, counted from its start. Raises where it has none such."""
        rank = len(self.shape) if rank is None else rank
        if not -rank <= given < rank:
            raise self.error(f"axis {given} of a blob of {rank} axes")
        return given % rank

    def size(self, value: int, what: str, *, least: int = 1) -> int:
        """A parameter that is a size. Raises where it is out of bounds."""
        if not least <= value <= MAX_SIZE:
            raise self.error(f"{what} {value}: expected {least} to {MAX_SIZE}")
        return value

    def fraction(self, value: float, what: str) -> float:
        """A parameter of 0 to 1, as a person would write it. Raises where it is out of bounds."""
        if not 0 <= value <= 1:
            raise self.error(f"{what} {value}: expected 0 to 1")
        return float(f"{value:.6g}")

    def blobs(self, *wanted: tuple[str, Shape]) -> list[FloatArray]:
        """The layer's weights, float32, of these roles and shapes.

        Axes of size 1 count for nothing: older files write each blob with four. Raises where they are
        missing or do not fit.
        """
        given = self._weights.blobs(self.layer.name)
        expected = ", ".join(f"{role} {shape}" for role, shape in wanted)
        if not given:
            raise self.error(
                f"no weights in {self._weights.origin}: expected {expected}; "
                "is it of this network? Layers find their weights by name"
            )
        if len(given) != len(wanted):
            found = ", ".join(str(blob.shape) for blob in given)
            raise self.error(
                f"{len(given)} blobs in {self._weights.origin} ({found}): expected {len(wanted)}: {expected}"
            )
        for blob, (role, shape) in zip(given, wanted, strict=True):
            if _without_ones(blob.shape) != _without_ones(shape):
                raise self.error(
                    f"{role}: expected {count(shape)} values {shape}, found {blob.values.size} "
                    f"{blob.shape} in {self._weights.origin}"
                )
        return [blob.values.reshape(shape) for blob, (_, shape) in zip(given, wanted, strict=True)]

    def new_graph(self, name: str) -> GraphBuilder:
        """A network beside the one that the layer belongs to."""
        return GraphBuilder(name, self._names.origin)

    def blob_count(self) -> int:
        """How many blobs the weights file has for the layer."""
        return len(self._weights.blobs(self.layer.name))

    def constant(self, value: NDArray[Any], role: str) -> str:
        """A constant of the layer. Returns its name in the graph."""
        return self.graph.constant(self._names.part(self.layer, role), value)

    def integers(self, *values: int, role: str) -> str:
        """An int64 vector, for operators that take sizes as an input."""
        return self.constant(np.array(values, np.int64), role)

    def scalar(self, value: float, role: str) -> str:
        """A float32 constant that broadcasts."""
        with np.errstate(over="ignore"):
            return self.constant(np.array(value, np.float32), role)

    def add(self, op: str, inputs: Sequence[str], *, part: str = "", **attributes: Any) -> str:
        """A node. part: what it is of the layer; "": its first top. Returns the output's name."""
        name = self._names.part(self.layer, part) if part else self._names.top(self.layer, 0)
        return self.graph.add(op, inputs, name=name, **attributes)

    def add_tops(self, op: str, inputs: Sequence[str], **attributes: Any) -> tuple[str, ...]:
        """A node whose outputs are the layer's tops, in their order."""
        names = [self._names.top(self.layer, number) for number in range(len(self.layer.tops))]
        return self.graph.add_many(op, inputs, names=names, **attributes)

    def reshape(self, value: str, shape: Sequence[int], *, part: str = "") -> str:
        """The value in another shape; itself where it has it already."""
        if self.graph.shape(value) == tuple(shape):
            return value
        role = f"{part or 'reshape'}.shape"
        return self.add("Reshape", [value, self.integers(*shape, role=role)], part=part)


class Names:
    """Names of values: a top's own for what it holds at last, others after the layer.

    origin: the network's file. tops: of all layers, which no other value may be named as.
    """

    def __init__(self, origin: str, layers: Sequence[Layer], inputs: Sequence[str]) -> None:
        self.origin = origin
        self._taken = {*inputs, *(top for layer in layers for top in layer.tops)}
        self._last = {top: layer for layer in layers for top in layer.tops}

    def top(self, layer: Layer, number: int) -> str:
        """Of a layer's output. What a later layer overwrites in place is named after the layer."""
        top = layer.tops[number] if number < len(layer.tops) else layer.name
        if self._last.get(top) is layer:
            return top
        return self._free(layer.name if layer.name not in self._taken else f"{layer.name}/out")

    def part(self, layer: Layer, part: str) -> str:
        """Of a value or a constant inside a layer."""
        return self._free(f"{layer.name}/{part}")

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "'"
        return name


Converter = Callable[[Step], Result]


def count(shape: Sequence[int]) -> int:
    """How many values a shape holds."""
    product = 1
    for size in shape:
        product *= size
    return product


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)

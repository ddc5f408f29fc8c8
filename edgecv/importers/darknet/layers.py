"""What every kind of layer has in common: its site in the network, its plan, and how it is emitted.

A layer is planned from its section and the sizes before it, with whole numbers only, so that what a
network needs is known before anything is allocated; then it is emitted as ONNX nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecv.graph.builder import GraphBuilder
from edgecv.heads.base import HeadParams
from edgecv.importers.darknet.cfg import Section
from edgecv.types import FloatArray

# The picture as a layer's source.
PICTURE = -1
# Darknet counts a layer's numbers with an int.
MAX_NUMBERS = (1 << 31) - 1
MAX_SIDE = 1 << 16
MAX_CHANNELS = 1 << 20


class Size(NamedTuple):
    """Channels, height and width of what a layer puts out; a vector is (n, 1, 1)."""

    c: int
    h: int
    w: int

    @property
    def numbers(self) -> int:
        """Numbers in it."""
        return self.c * self.h * self.w

    def __str__(self) -> str:
        return f"{self.w}x{self.h}x{self.c}"


class Blob(NamedTuple):
    """One array of a layer, as the weights file holds it. name: of its role."""

    name: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


class Emitter:
    """Adds the nodes of one layer to the graph, named after the layer.

    transposed: whether the weights file holds fully connected weights input by output.
    """

    def __init__(self, graph: GraphBuilder, name: str, transposed: bool) -> None:
        self.graph = graph
        self.transposed = transposed
        self._name = name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of an operator with one output; returns the output."""
        return self.graph.add(kind, inputs, name=f"{self._name}/{kind}", **attributes)

    def weights(self, role: str, value: NDArray[Any]) -> str:
        """An array of the layer."""
        return self.graph.constant(f"{self._name}.{role}", value)

    def number(self, value: float) -> str:
        """A single number as an operand."""
        return self.graph.constant(f"{self._name}.number", np.array([value], np.float32))

    def scalar(self, value: float) -> str:
        """A single number as an operand that may have no axis."""
        return self.graph.constant(f"{self._name}.number", np.array(value, np.float32))

    def shape(self, *sizes: int) -> str:
        """Whole numbers as an operand."""
        return self.graph.constant(f"{self._name}.sizes", np.array(sizes, np.int64))

    def reshape(self, value: str, *sizes: int) -> str:
        """The same numbers in another shape; nothing where it has that shape."""
        if self.graph.shape(value) == sizes:
            return value
        return self.op("Reshape", value, self.shape(*sizes))

    def slice(self, value: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Part of an axis; nothing where that is all of it."""
        if (start, step) == (0, 1) and stop >= self.graph.shape(value)[axis]:
            return value
        bounds = (self.shape(part) for part in (start, stop, axis, step))
        return self.op("Slice", value, *bounds)


# (emitter, values that the layer reads, its blobs in the file's order) -> its value.
Emit = Callable[[Emitter, Sequence[str], Sequence[FloatArray]], str]


def passes_on(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
    """What a layer emits that does nothing at inference."""
    return values[0]


@dataclass(frozen=True)
class Layer:
    """A planned layer.

    out: what it puts out. reads: the layers whose values it takes, PICTURE for the picture. blobs: its
    arrays in the weights file. unreadable: why no later layer may read it, or None. head: for a
    detection layer, the fields of the brand that is named like it. is_training: whether it acts only in
    training. is_probability: whether it puts out probabilities of classes.
    """

    section: Section
    out: Size
    reads: tuple[int, ...]
    emit: Emit = passes_on
    blobs: tuple[Blob, ...] = ()
    unreadable: str | None = None
    head: HeadParams | None = None
    is_training: bool = False
    is_probability: bool = False


@dataclass(frozen=True)
class Site:
    """Where a layer stands: its section, its number, and what lies before it.

    picture: the network's input. layers: those before it, and more once they are planned. remarks: takes
    what the user should know.
    """

    section: Section
    index: int
    picture: Size
    layers: Sequence[Layer]
    remarks: list[str]

    @property
    def previous(self) -> int:
        """The layer before this one, or PICTURE."""
        return self.index - 1

    @property
    def input(self) -> Size:
        """What the layer before this one puts out."""
        return self.size(self.previous)

    def size(self, index: int) -> Size:
        """What an earlier layer puts out. Raises ModelFileError where it cannot be read."""
        if index == PICTURE:
            return self.picture
        source = self.layers[index]
        if source.unreadable:
            raise self.section.error(f"it reads {source.section.label}, {source.unreadable}")
        return source.out

    def sources(self, key: str) -> tuple[int, ...]:
        """The layers that an option names: from 0 on, or below 0 counted back from this one."""
        if not self.index:
            raise self.section.error("no layer lies before it", key)
        found = self.section.integers(key, -self.index, self.index - 1)
        return tuple(number + self.index if number < 0 else number for number in found)

    def layer(
        self,
        out: Size,
        emit: Emit = passes_on,
        *,
        blobs: Sequence[Blob] = (),
        reads: Sequence[int] | None = None,
        **more: Any,
    ) -> Layer:
        """The plan of this layer; it reads the one before unless told otherwise."""
        for source in (self.previous,) if reads is None else reads:
            self.size(source)
        if min(out) < 1:
            raise self.section.error(
                f"nothing is left of its input {self.input}: its output would be {out}; "
                "the picture is too small for this network"
            )
        if out.numbers > MAX_NUMBERS:
            raise self.section.error(f"its output would be {out}: {out.numbers} numbers, over {MAX_NUMBERS}")
        taken = (self.previous,) if reads is None else tuple(reads)
        return Layer(self.section, out, taken, emit, tuple(blobs), **more)


Planner = Callable[[Site], Layer]

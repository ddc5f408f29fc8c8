"""Lowering: a graph of operators becomes steps of a program, one node after the other.

Each operator has one function, registered by `lowers`, in the module of its family. It reads its operands in
the form that it wants (planes, blocked planes, strides, a constant), appends steps and says how its results
lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.engine.program import Program, Ref, Storage
from edgecv.engine.refs import FLOAT_BYTES, Ints, in_lanes, moved, walk
from edgecv.engine.views import Joined, Planes, Shape, Strided, View
from edgecv.errors import UnsupportedOperatorError

Array = NDArray[Any]
MAX_RANK = 8


class Tensor(msgspec.Struct):
    """A value of the graph at compile time. constant: what it is, where that is known; view: how it lies."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    constant: Array | None = None
    view: View | None = None
    forms: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Node(msgspec.Struct, frozen=True):
    """One operator with its operands: None where an optional one is left out.

    made: the shapes of its results, as inference tells them; None where it cannot.
    """

    name: str
    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    made: tuple[Shape | None, ...]

    def shape(self, output: int = 0) -> Shape:
        """The shape of a result that must be known."""
        shape = self.made[output]
        if shape is None:
            raise self.unsupported(
                f"the shape of {self.outputs[output]!r} depends on data: a plan knows sizes before the run",
                "data-dependent shape",
            )
        return shape

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def input(self, index: int) -> Tensor:
        """An operand that must be there."""
        tensor = self.optional(index)
        if tensor is None:
            raise self.unsupported(f"input {index} is left out")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An operand that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def numbers(self, index: int, dtype: Any = np.int64) -> Array:
        """The numbers of an operand that must be known before the run, flattened."""
        tensor = self.input(index)
        if tensor.constant is None:
            raise self.unsupported(
                f"input {index} ({tensor.name!r}) is computed in the run: expected a constant"
            )
        return np.asarray(tensor.constant, dtype).reshape(-1)

    def unsupported(self, why: str, reason: str = "form") -> UnsupportedOperatorError:
        """The error that names this node."""
        return UnsupportedOperatorError(f"node {self.name!r} ({self.op}): {why}", reason)


Lowered = Callable[["Lowering", Node], None]
LOWERINGS: dict[str, Lowered] = {}


def lowers(*operators: str) -> Callable[[Lowered], Lowered]:
    """Register a function for operators: "Conv", or "edgecv::Conv"."""

    def register(function: Lowered) -> Lowered:
        for operator in operators:
            if operator in LOWERINGS:
                raise AssertionError(f"{operator} is lowered twice")
            LOWERINGS[operator] = function
        return function

    return register


class Lowering:
    """What lowering functions work with: the program, the tensors, and changes of form.

    threads: of the runs to come; decides into how many chunks steps are cut, never what they compute.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self.program = program
        self.threads = threads
        self.lanes = program.lanes
        self.tensors: dict[str, Tensor] = {}
        # Where values are wanted: outputs of the graph, parts of what is joined. Outputs that nothing in the
        # graph reads. Of outputs that are counted, the axis, and how many of its entries are results.
        self.targets: dict[str, Strided] = {}
        self.leaving: set[str] = set()
        self.counts: dict[str, tuple[int, Strided]] = {}
        self._copies: dict[tuple[bytes, int, int], Planes] = {}

    # ---- results

    def set(self, name: str, view: View, dtype: Any = np.float32) -> Tensor:
        """Say how a result lies."""
        tensor = Tensor(name, view.shape, np.dtype(dtype), view=view)
        self.tensors[name] = tensor
        return tensor

    def new_blocks(self, count: int, h: int, w: int, name: str) -> Ints:
        """Fresh blocks of h x w pixels in a storage of their own: the Ref of each."""
        block = h * w * self.lanes
        return walk(self.program.arena(count * block * FLOAT_BYTES, name).ref, (count,), (block,))

    def in_blocks(self, refs: Ints, h: int, w: int) -> Planes:
        """Planes (batch, channels, h, w) whose pixels are lanes of blocks. refs: (batch, channels)."""
        return Planes(refs, (h, w), 2, h, w, w * self.lanes, self.lanes, self.lanes)

    def new_blocked(self, batch: int, channels: int, h: int, w: int, name: str) -> Planes:
        """Fresh blocked storage for each image of a batch: planes (batch, channels, h, w)."""
        block, lane = np.divmod(np.arange(channels, dtype=np.int64), self.lanes)
        count = -(-channels // self.lanes)
        images = [moved(self.new_blocks(count, h, w, name)[block], lane) for _ in range(batch)]
        return self.in_blocks(np.array(images, np.int64).reshape(batch, channels), h, w)

    def new_strided(self, name: str, shape: Shape, dtype: Any, *, gaps: bool = False) -> Strided:
        """Storage for a result: where it is wanted, such as in the caller's array, or else fresh.

        gaps: whether it may have other strides than a contiguous array.
        """
        target = self.targets.get(name)
        is_whole = target is not None and (gaps or target.is_contiguous)
        if target is not None and is_whole and (target.shape, target.dtype) == (tuple(shape), dtype):
            return target
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return Strided.contiguous(self.program.arena(size, name).ref, dtype, tuple(shape))

    def is_given_out(self, target: Strided) -> bool:
        """Whether it lies in an array that the caller gets."""
        return self.program.storage_at(target.ref).space == "output"

    # ---- operands

    def as_strided(self, tensor: Tensor) -> Strided:
        """The operand with strides; moves data only where it lies in blocks or pieces."""
        if "strided" not in tensor.forms:
            tensor.forms["strided"] = self._to_strided(tensor)
        form: Strided = tensor.forms["strided"]
        return form

    def as_contiguous(self, tensor: Tensor) -> Strided:
        """The operand row-major without gaps."""
        view = self.as_strided(tensor)
        if view.is_contiguous:
            return view
        if "contiguous" not in tensor.forms:
            target = self.new_strided(self._own_name(tensor), view.shape, view.dtype)
            self.copy(view, target, tensor.name)
            tensor.forms["contiguous"] = tensor.forms["strided"] = target
        form: Strided = tensor.forms["contiguous"]
        return form

    def as_planes(self, tensor: Tensor) -> Planes | None:
        """The operand as planes, wherever they lie; None where it has none."""
        view = tensor.view
        if isinstance(view, Planes):
            return view
        if tensor.dtype != np.float32 or len(tensor.shape) < 3:
            return None
        return self.as_strided(tensor).planes()

    def as_image(self, tensor: Tensor) -> Planes | None:
        """The operand as planes (batch, channels, h, w) or (batch, channels, w); None where it is none."""
        planes = self.as_planes(tensor)
        image = planes.image() if planes is not None else None
        if image is None and planes is not None and len(tensor.shape) in (3, 4):
            strided = self.as_strided(tensor).planes()
            image = strided.image() if strided is not None else None
        return image

    def as_blocked(self, tensor: Tensor) -> Planes | None:
        """The operand as planes (batch, channels, h, w) in blocks; None where it is no image."""
        if "blocked" not in tensor.forms:
            image = self.as_image(tensor)
            if image is not None and not (image.lanes == self.lanes and image.is_dense):
                image = self.regroup(image, tensor.name)
            tensor.forms["blocked"] = image
        form: Planes | None = tensor.forms["blocked"]
        return form

    def regroup(self, image: Planes, name: str) -> Planes:
        """A copy with the channels in order in fresh blocks."""
        batch, channels = image.refs.shape
        fresh = self.new_blocked(batch, channels, image.h, image.w, name)
        for i in range(batch):
            self.copy_planes(
                image, image.refs[i], fresh, self._whole_blocks(fresh.refs[i]), f"{name} (blocks)"
            )
        return replace(fresh, spatial=image.spatial)

    def in_few_blocks(self, image: Planes, most: float, name: str) -> Planes:
        """A blocked image with its channels in at most so many blocks: itself, or a copy in order.

        A copy serves all that ask for the same image.
        """
        key = (image.refs.tobytes(), image.h, image.w)
        if key not in self._copies and any(len(blocks_of(r, self.lanes)[0]) > most for r in image.refs):
            self._copies[key] = self.regroup(image, name)
        return replace(self._copies.get(key, image), spatial=image.spatial)

    # ---- movement

    def write(self, view: View, target: Strided, label: str) -> None:
        """Copy a tensor to where it is wanted, from however it lies."""
        if isinstance(view, Joined):
            start = 0
            for part in view.parts:
                size = part.shape[view.axis]
                self.write(part, target.index(view.axis, slice(start, start + size)), label)
                start += size
        elif isinstance(view, Strided):
            if not view.lies_as(target):
                self.copy(view, target, label)
        else:
            self._write_planes(view, target, label)

    def copy(self, source: Strided, target: Strided, label: str) -> None:
        """Copy between strides of the same shape and dtype."""
        if math.prod(source.shape) == 0:
            return
        shape, (from_strides, to_strides) = collapsed(source.shape, source.strides, target.strides)
        self.program.add(
            "copy",
            label,
            x=ref_of(source),
            y=ref_of(target),
            size=source.dtype.itemsize,
            rank=len(shape),
            shape=self.integers(shape),
            strides=self.integers([*from_strides, *to_strides]),
            chunk_outer=self.outer_chunk(shape, 1),
            moved=2 * math.prod(source.shape) * source.dtype.itemsize,
        )

    def copy_planes(self, source: Planes, refs: Ints, target: Planes, target_refs: Ints, label: str) -> None:
        """Copy planes one by one; a source of 0 writes zeros. target_refs may be longer: zeros follow."""
        pairs = np.zeros((len(target_refs), 2), np.int64)
        pairs[: len(refs), 0] = refs
        pairs[:, 1] = target_refs
        h, w = source.h, source.w
        if (source.row, source.pixel) == (target.row, target.pixel):
            # Some may have been made where they are wanted.
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            if not len(pairs):
                return
        if source.row == w * source.pixel and target.row == w * target.pixel:
            h, w = 1, h * w
        self.program.add(
            "planes",
            label,
            places=self.program.refs(pairs),
            n_places=len(pairs),
            h=h,
            w=w,
            x_row=source.row,
            x_pixel=source.pixel,
            y_row=target.row,
            y_pixel=target.pixel,
            chunk_places=self.chunk(len(pairs), h * w * 0.5, self.lanes),
            moved=2 * FLOAT_BYTES * len(pairs) * h * w,
        )

    # ---- encoding

    def integers(self, values: Any) -> Storage:
        """A table of int64."""
        return self.program.constant(np.asarray(values, np.int64))

    def chunk(self, count: int, work: float, multiple: int = 1) -> int:
        """How many of `count` equal items to do in one chunk.

        work: of one item, in vector operations or so. One thread takes all at once; more threads take pieces
        that are small enough to share and large enough to be worth the claim.
        """
        if self.threads == 1 or count <= multiple:
            return max(count, 1)
        pieces = min(count * work / MIN_CHUNK_WORK, 4 * self.threads)
        size = math.ceil(count / max(pieces, 1.0))
        return min(-(-size // multiple) * multiple, count)

    def blocks_and_rows(self, blocks: int, rows: int, work: float) -> tuple[int, int]:
        """How many blocks, and how many rows of each, to do in one chunk. work: of a row of a block.

        Rows are cut only where there are too few blocks to share, and into pairs: kernels take two at once.
        """
        if self.threads == 1:
            return blocks, rows
        pieces = max(min(blocks * rows * work / MIN_CHUNK_WORK, 4 * self.threads), 1.0)
        if blocks >= pieces:
            return int(blocks / pieces), rows
        size = math.ceil(rows / math.ceil(pieces / blocks))
        return 1, min(size + size % 2, rows)

    def outer_chunk(self, shape: Shape, work: float) -> int:
        """`chunk` for steps that are cut along the first axis."""
        return self.chunk(shape[0], math.prod(shape[1:]) * work) if shape else 1

    def _to_strided(self, tensor: Tensor) -> Strided:
        if tensor.constant is not None and tensor.view is None:
            value = np.asarray(tensor.constant, tensor.dtype)
            storage = self.program.constant(value, tensor.name)
            return Strided.contiguous(storage.ref, value.dtype, value.shape)
        if isinstance(tensor.view, Strided):
            return tensor.view
        if tensor.view is None:
            raise AssertionError(f"{tensor.name} has no view")
        target = self.new_strided(self._own_name(tensor), tensor.shape, tensor.dtype, gaps=True)
        self.write(tensor.view, target, f"{tensor.name} (strides)")
        return target

    def _own_name(self, tensor: Tensor) -> str:
        """The name of a value of the graph; none for what is only derived from one, and called after it."""
        return tensor.name if self.tensors.get(tensor.name) is tensor else ""

    def _write_planes(self, view: Planes, target: Strided, label: str) -> None:
        if math.prod(view.shape) == 0:
            return
        pixels = range(view.at, view.at + len(view.spatial))
        flat = _pixel_strides(view, [target.strides[axis] for axis in pixels])
        if flat is None:
            # Pixels in an order that rows and columns cannot tell: through memory of our own.
            between = self.new_strided("", view.shape, target.dtype)
            self._write_planes(view, between, label)
            self.copy(between, target, label)
            return
        row, pixel = flat
        strides = target.strides[: view.at] + target.strides[view.at + len(view.spatial) :]
        refs = replace(target, shape=view.refs.shape, strides=strides).refs()
        plain = replace(view, refs=refs, row=row, pixel=pixel, lanes=0)
        self.copy_planes(view, view.refs.reshape(-1), plain, refs.reshape(-1), label)

    def _whole_blocks(self, refs: Ints) -> Ints:
        """The planes of whole blocks: those after the last channel too."""
        missing = -len(refs) % self.lanes
        return np.concatenate([refs, moved(refs[-1], np.arange(1, missing + 1, dtype=np.int64))])


# Vector operations in the smallest chunk that a second thread is woken for: some 2 us.
MIN_CHUNK_WORK = 8000.0


def ref_of(view: Strided) -> Ref:
    """The view's first element as a field of a step."""
    return Ref(view.ref)


def collapsed(shape: Shape, *strides: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    """The same elements with fewer axes: those of size 1 dropped, those that follow one another merged."""
    axes = [(n, [s[i] for s in strides]) for i, n in enumerate(shape) if n != 1]
    merged: list[tuple[int, list[int]]] = []
    for n, steps in axes:
        if merged and all(a == b * n for a, b in zip(merged[-1][1], steps, strict=True)):
            merged[-1] = (merged[-1][0] * n, steps)
        else:
            merged.append((n, steps))
    if not merged:
        merged = [(1, [1] * len(strides))]
    sizes = tuple(n for n, _ in merged)
    return sizes, tuple(tuple(steps[i] for _, steps in merged) for i in range(len(strides)))


def has_twins(image: Planes) -> bool:
    """Whether channels of one image are the same planes: listed twice by a Concat or a Gather."""
    return any(len(np.unique(refs)) < len(refs) for refs in image.refs)


def blocks_of(refs: Ints, lanes: int) -> tuple[Ints, Ints]:
    """The blocks that planes lie in, in the order in which they are met, and the number of each plane's."""
    starts, _ = in_lanes(refs, lanes)
    unique, first, inverse = np.unique(starts, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(unique), np.int64)
    rank[order] = np.arange(len(unique))
    return unique[order], rank[inverse.reshape(-1)]


def choice(kind: str, name: str) -> int:
    """The number of a name in one of `_simd.CHOICES`."""
    return _simd.CHOICES[kind].index(name)


def _pixel_strides(view: Planes, strides: list[int]) -> tuple[int, int] | None:
    """Distances between rows and between pixels of a target whose axes of pixels have these strides."""
    shape = view.spatial
    if math.prod(shape) == 1:
        return 0, 0
    sizes, (steps,) = collapsed(shape, tuple(strides))
    if len(sizes) == 1:
        return steps[0] * view.w, steps[0]
    if sizes == (view.h, view.w):
        return steps[0], steps[1]
    return None

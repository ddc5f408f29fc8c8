"""Programs of the CPU engine for tests: encodes steps, lays memory out, runs them on an ISA.

program = Program("avx2")
x = program.input(array)
y = program.output(array.shape)
program.step("copy", x=x, y=y, size=4, rank=1, shape=numpy.array([n]), strides=numpy.array([1, 1]))
(result,) = program.run()
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from edgecv import _isa, _simd
from edgecv.engine.refs import ARENA, CONSTANTS, FIRST_INPUT, STATE, ref_to

Array = NDArray[Any]

ALIGNMENT = 64
GUARD = 256
# What memory that nobody has written holds: a NaN, if it is taken for floats.
FILL = 0xFF

# The choice that a field's names come from; `kind` differs from op to op.
CHOICE_OF_FIELD = {
    "activation": "activation",
    "op": "map_op",
    "dtype": "dtype",
    "y_dtype": "dtype",
    "index_dtype": "dtype",
    "reduction": "scatter_reduction",
    "frame": "sample_frame",
    "mode": "sample_mode",
    "padding": "sample_padding",
}
KIND_OF_OP = {
    "pool": "pool_kind",
    "spatial": "reduce_kind",
    "reduce_nd": "reduce_kind",
    "softmax_nd": "softmax_kind",
    "gather_nd": "gather_kind",
    "scatter_nd": "gather_kind",
    "roi_pool": "roi_kind",
}


def ref(slot: int, offset: int = 0) -> int:
    """The field that names a byte of a slot."""
    return ref_to(slot, offset)


def float_bits(value: float) -> int:
    """The field that holds a float32."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def aligned(nbytes: int) -> tuple[Array, Array]:
    """uint8 (nbytes,) at a multiple of 64 bytes, and all of its memory with guards at both ends."""
    room = np.full(nbytes + 2 * GUARD + ALIGNMENT, FILL, np.uint8)
    start = GUARD + -(room.ctypes.data + GUARD) % ALIGNMENT
    return room[start : start + nbytes], room


def to_blocked(chw: Array, lanes: int, pad: float = 7.0) -> Array:
    """float32 (C, H, W) as (ceil(C / lanes), H, W, lanes); lanes past C hold `pad`."""
    channels, height, width = chw.shape
    blocks = -(-channels // lanes)
    padded = np.full((blocks * lanes, height, width), pad, np.float32)
    padded[:channels] = chw
    return np.ascontiguousarray(padded.reshape(blocks, lanes, height, width).transpose(0, 2, 3, 1))


def from_blocked(blocked: Array, channels: int) -> Array:
    """float32 (blocks, H, W, lanes) as (channels, H, W)."""
    blocks, height, width, lanes = blocked.shape
    planes = blocked.transpose(0, 3, 1, 2).reshape(blocks * lanes, height, width)
    return np.ascontiguousarray(planes[:channels])


def isas() -> Iterator[Any]:
    """Parameters of a test for each built ISA; those that this CPU lacks are skipped."""
    for label in _isa.built():
        reason = f"{label}: not supported by this CPU, which has {', '.join(_isa.usable())}"
        yield pytest.param(label, marks=pytest.mark.skipif(label not in _isa.usable(), reason=reason))


each_isa = pytest.mark.parametrize("isa", list(isas()))


class Program:
    """Steps over memory that grows as it is asked for. Refs are plain ints: add bytes to reach further.

    inputs: the arrays that a run takes. outputs: shapes and dtypes of those that it writes. constants: bytes.
    """

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.lanes = _simd.lanes(isa)
        self.steps: list[int] = []
        self.labels: list[str] = []
        self.arena_bytes = 0
        self.state_bytes = 0
        self.constants: list[bytes] = []
        self._constant_bytes = 0
        self.inputs: list[Array] = []
        self.outputs: list[tuple[tuple[int, ...], np.dtype[Any]]] = []

    def constant(self, array: Array) -> int:
        """Ref of a copy of the array among the constants."""
        data = np.ascontiguousarray(array).tobytes()
        place = ref(CONSTANTS, self._constant_bytes)
        self.constants.append(data + bytes(-len(data) % ALIGNMENT))
        self._constant_bytes += len(self.constants[-1])
        return place

    def arena(self, nbytes: int) -> int:
        """Ref of so many bytes of the arena."""
        place = ref(ARENA, self.arena_bytes)
        self.arena_bytes += nbytes + -nbytes % ALIGNMENT
        return place

    def state(self, nbytes: int) -> int:
        """Ref of so many bytes of the state, zeros at first."""
        place = ref(STATE, self.state_bytes)
        self.state_bytes += nbytes + -nbytes % ALIGNMENT
        return place

    def input(self, array: Array) -> int:
        """Ref of an input, which `run` brings. All inputs come before the first output."""
        assert not self.outputs, "inputs come before outputs"
        self.inputs.append(np.ascontiguousarray(array))
        return ref(FIRST_INPUT + len(self.inputs) - 1)

    def output(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> int:
        """Ref of an output, which `run` returns."""
        self.outputs.append((shape, np.dtype(dtype)))
        return ref(FIRST_INPUT + len(self.inputs) + len(self.outputs) - 1)

    def step(self, op: str, label: str = "", /, **fields: int | float | str | Array) -> None:
        """Append a step; fields that are not given are 0.

        A float becomes its float32 bits, a string the position of that choice, an array the Ref of a constant
        of it (so mind the dtype).
        """
        names = _simd.OPS[op]
        unknown = set(fields) - set(names)
        assert not unknown, f"{op} has no {unknown}"
        values = [self._encode(op, name, fields.get(name, 0)) for name in names]
        self.steps += [list(_simd.OPS).index(op), *values]
        self.labels.append(label or op)

    def _encode(self, op: str, field: str, value: int | float | str | Array) -> int:
        if isinstance(value, str):
            choice = KIND_OF_OP[op] if field == "kind" else CHOICE_OF_FIELD[field]
            return _simd.CHOICES[choice].index(value)
        if isinstance(value, np.ndarray):
            return self.constant(value)
        if isinstance(value, float):
            return float_bits(value)
        return int(value)

    def plan(self) -> _simd.Plan:
        """The program as it is now, examined."""
        return _simd.Plan(
            isa=self.isa,
            steps=np.array(self.steps, np.int64),
            labels=tuple(self.labels),
            constants=np.frombuffer(b"".join(self.constants), np.uint8),
            state_bytes=self.state_bytes,
            arena_bytes=self.arena_bytes,
            input_bytes=tuple(array.nbytes for array in self.inputs),
            output_bytes=tuple(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.outputs),
        )

    def context(self) -> _simd.Context:
        """The program as it is now, ready to run."""
        return _simd.Context(self.plan())

    def run(self, threads: int = 1, context: _simd.Context | None = None) -> list[Array]:
        """Fresh outputs of one run. Fails where a step wrote to an input, or around an output."""
        rooms = [aligned(array.nbytes) for array in self.inputs]
        for (part, _), array in zip(rooms, self.inputs, strict=True):
            part[:] = array.reshape(-1).view(np.uint8)
        inputs = tuple(part for part, _ in rooms)
        rooms += [aligned(int(np.prod(shape)) * dtype.itemsize) for shape, dtype in self.outputs]
        outputs = tuple(part for part, _ in rooms[len(inputs) :])
        pool = _simd.Pool(threads)
        try:
            (context or self.context()).run(pool, inputs, outputs)
        finally:
            pool.close()
        for part, array in zip(inputs, self.inputs, strict=True):
            assert part.tobytes() == array.tobytes(), "a step wrote to an input"
        for part, room in rooms:
            start = part.ctypes.data - room.ctypes.data
            around = np.concatenate([room[:start], room[start + part.size :]])
            assert (around == FILL).all(), "a step wrote past the ends of an array"
        return [
            part.view(dtype).reshape(shape)
            for part, (shape, dtype) in zip(outputs, self.outputs, strict=True)
        ]

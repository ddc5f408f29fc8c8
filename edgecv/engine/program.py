"""Program: what the native runtime executes, put together step by step, with memory still symbolic.

A place is an int64: the number of a storage in the bits from 48 on, a byte offset below. `finish` gives every
storage its address, in the form that `ext/simd/ops.h` tells, and encodes the steps.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.engine.arena import ALIGNMENT, Span, pack
from edgecv.engine.weights import SHARED_BYTES, Weights
from edgecv.errors import InputError

Ints = NDArray[np.int64]
Space = Literal["constant", "state", "arena", "weights", "input", "output", "strip"]

OFFSET_BITS = 48
OFFSET_MASK = (1 << OFFSET_BITS) - 1
NOWHERE = 0
# Of instruction sets that this build may have no kernels for: a program can be made for another machine.
_LANES = {"sse42": 4, "avx2": 8, "avx512": 16, "neon": 4}


def lanes_of(isa: str) -> int:
    """Floats in a vector of an instruction set, by its label. Raises InputError for an unknown one."""
    if isa not in _LANES:
        raise InputError(f"isa: expected one of {', '.join(_LANES)}, got {isa!r}")
    return _LANES[isa]


@dataclass
class Storage:
    """A piece of memory. number: its place in the program's list. bytes: its size, padding included."""

    number: int
    space: Space
    bytes: int
    name: str
    first: int = -1
    last: int = -1

    @property
    def place(self) -> int:
        """Its first byte."""
        return self.number << OFFSET_BITS


@dataclass(frozen=True)
class Table:
    """Places, or distances between places, that are constants of the program once memory is laid out."""

    storage: Storage
    places: Ints
    unit: int  # 0: Refs; else distances in this many bytes, as int32


@dataclass(frozen=True)
class Place:
    """A symbolic address as a field of a step; `storages` are those that the step touches through it."""

    value: int
    table: Table | None = None


@dataclass(frozen=True)
class Strip:
    """Where a storage of a band is: bytes from one of its blocks to the next, outside and in the strip.

    slot: which of the band's strips it is.
    """

    pitch: int
    strip_pitch: int
    slot: int


@dataclass
class Step:
    """One operation: its name in `_simd.OPS`, its fields, and what it is in the user's graph.

    flops: multiplications and additions of the operator, those of padded lanes not counted; 0 for what only
    moves. bytes: read and written, weights included. members: of a band, the steps that it is made of.
    """

    op: str
    label: str
    fields: dict[str, int | Place]
    storages: frozenset[int]
    flops: float
    bytes: int
    members: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """A finished program. steps: flat int64. constants, weights: uint8, aligned. Sizes in bytes."""

    isa: str
    steps: Ints
    labels: tuple[str, ...]
    constants: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    state_bytes: int
    arena_bytes: int
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]


class Program:
    """Steps over storages. isa: label of the instruction set; lanes: floats in its vectors."""

    def __init__(self, isa: str, weights: Weights | None = None) -> None:
        self.isa = isa
        self.weights = Weights() if weights is None else weights
        self.lanes = lanes_of(isa)
        self.steps: list[Step] = []
        nothing = Storage(0, "constant", 0, "nothing")
        self.storages: list[Storage] = [nothing]
        self._constants: dict[int, NDArray[Any]] = {}
        self._weight_offsets: dict[int, int] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], Storage] = {}
        self._tables: list[Table] = []
        self._table_numbers: set[int] = set()
        self._aliases: list[tuple[int, int]] = []
        self._strips: dict[int, Strip] = {}
        # Distances of a convolution's channels are from the arena's first byte.
        self.arena_start = self._storage("arena", 0, "arena")

    # ---- memory

    def arena(self, size: int, name: str) -> Storage:
        """Memory that lives from the first step that names it to the last."""
        return self._storage("arena", size, name)

    def state(self, size: int, name: str) -> Storage:
        """Memory that is zero before the first run and is kept between runs."""
        return self._storage("state", size, name)

    def input(self, size: int, name: str) -> Storage:
        """The caller's array of the next input."""
        return self._storage("input", size, name)

    def output(self, size: int, name: str) -> Storage:
        """The caller's array of the next output."""
        return self._storage("output", size, name)

    def constant(self, value: NDArray[Any], name: str = "constant") -> Storage:
        """An array of the program, such as a table; equal small ones are kept once."""
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.shape, value.tobytes()) if value.nbytes <= 1 << 16 else None
        if key is not None and key in self._known:
            return self._known[key]
        storage = self._storage("constant", value.nbytes, name)
        self._constants[storage.number] = value
        if key is not None:
            self._known[key] = storage
        return storage

    def packed(self, value: NDArray[Any], name: str) -> Storage:
        """Weights, which programs of the same model for other shapes share; never a table."""
        value = np.ascontiguousarray(value)
        offset = self.weights.offset_of(value) if value.nbytes >= SHARED_BYTES else None
        if offset is None:
            return self.constant(value, name)
        storage = self._storage("weights", value.nbytes, name)
        self._weight_offsets[storage.number] = offset
        return storage

    def refs(self, places: Ints) -> Place:
        """A table of places, row-major."""
        return self._table(np.ascontiguousarray(places, np.int64), 0)

    def distances(self, places: Ints, unit: int = 4) -> tuple[Place, Place]:
        """Where to count from, and a table of int32 distances from there in units of `unit` bytes.

        places: all in the arena, or all in one storage.
        """
        numbers = np.unique(places >> OFFSET_BITS)
        if len(numbers) == 1 and self.storages[numbers[0]].space != "arena":
            base = self.storages[int(numbers[0])]
        else:
            if any(self.storages[n].space != "arena" for n in numbers):
                raise AssertionError("distances between different kinds of memory")
            base = self.arena_start
        return Place(base.place), self._table(np.ascontiguousarray(places, np.int64), unit)

    def may_share(self, result: Storage, source: Storage) -> None:
        """The step that writes `result` reads each element of `source` before it writes over it."""
        if result.bytes == source.bytes and {result.space, source.space} == {"arena"}:
            self._aliases.append((result.number, source.number))

    def value_of(self, place: Place) -> NDArray[Any]:
        """The constant that a place is the start of."""
        return self._constants[place.value >> OFFSET_BITS]

    def drop_table(self, place: int | Place) -> None:
        """Forget a table of places that no step names any more."""
        if isinstance(place, Place) and place.table is not None:
            self._tables = [table for table in self._tables if table is not place.table]
            place.table.storage.bytes = 0

    # ---- steps

    def add(
        self,
        op: str,
        label: str,
        /,
        *,
        flops: float = 0.0,
        moved: int | None = None,
        **fields: int | float | Place | Storage,
    ) -> Step:
        """Append a step. Fields: whole numbers, floats, places; every field of the operation, by name.

        moved: bytes read and written; by default those of all memory that the step touches, tables left out.
        """
        wanted = _simd.OPS[op]
        if set(fields) != set(wanted):
            raise AssertionError(f"{op}: fields {sorted(set(fields) ^ set(wanted))} missing or unknown")
        encoded: dict[str, int | Place] = {}
        touched: set[int] = set()
        for name in wanted:
            value = fields[name]
            if isinstance(value, Storage):
                value = Place(value.place)
            if isinstance(value, float):
                value = int.from_bytes(struct.pack("<f", value), "little")
            if isinstance(value, Place):
                touched.add(value.value >> OFFSET_BITS)
                if value.table is not None:
                    touched.update((np.unique(value.table.places >> OFFSET_BITS)).tolist())
            encoded[name] = value if isinstance(value, Place) else int(value)
        if moved is None:
            moved = sum(self.storages[n].bytes for n in touched if n not in self._table_numbers)
        step = Step(op, label, encoded, frozenset(touched), flops, moved)
        index = len(self.steps)
        for number in touched:
            storage = self.storages[number]
            storage.first = index if storage.first < 0 else storage.first
            storage.last = index
        self.steps.append(step)
        return step

    def to_strip(self, storage: Storage, pitch: int, strip_pitch: int, slot: int) -> None:
        """Move what is between two steps, in blocks, to the strip of that number of a band.

        pitch, strip_pitch: bytes from one block to the next as they are, and in the strip.
        """
        storage.space = "strip"
        self._strips[storage.number] = Strip(pitch, strip_pitch, slot)

    def keep_apart(self, results: frozenset[int], sources: frozenset[int]) -> None:
        """Storages that are not to share memory, since one is written while the other is still read."""
        self._aliases = [(r, s) for r, s in self._aliases if r not in results or s not in sources]

    def replace_steps(self, steps: Sequence[Step]) -> None:
        """Other steps over the same memory."""
        self.steps = list(steps)
        for storage in self.storages:
            storage.first = storage.last = -1
        for index, step in enumerate(self.steps):
            for number in step.storages:
                storage = self.storages[number]
                storage.first = index if storage.first < 0 else storage.first
                storage.last = index

    def finish(self) -> Encoded:
        """Lay memory out, resolve every place, encode."""
        bases = np.zeros(len(self.storages), np.int64)
        arena_bytes = self._place_arena(bases)
        state_bytes = self._place_in_order("state", 2, bases)
        constant_bytes = self._place_in_order("constant", 1, bases)
        for number, offset in self._weight_offsets.items():
            bases[number] = (4 << OFFSET_BITS) | offset
        runs: dict[str, list[int]] = {"input": [], "output": []}
        slot = 5
        for space in ("input", "output"):
            for storage in (s for s in self.storages if s.space == space):
                bases[storage.number] = slot << OFFSET_BITS
                runs[space].append(storage.bytes)
                slot += 1
        for number, strip in self._strips.items():
            bases[number] = slot + strip.slot << OFFSET_BITS
        constants = np.zeros(constant_bytes, np.uint8)
        for number, value in self._constants.items():
            start = int(bases[number] & OFFSET_MASK)
            constants[start : start + value.nbytes] = value.reshape(-1).view(np.uint8)
        for table in self._tables:
            start = int(bases[table.storage.number] & OFFSET_MASK)
            data = self._resolved_table(table, bases)
            constants[start : start + data.nbytes] = data.view(np.uint8)
        words: list[int] = []
        index_of = {name: i for i, name in enumerate(_simd.OPS)}
        for step in self.steps:
            for part in (step, *step.members):
                words.append(index_of[part.op])
                for item in part.fields.values():
                    words.append(_resolve(item.value, bases) if isinstance(item, Place) else item)
        return Encoded(
            isa=self.isa,
            steps=np.array(words, np.int64),
            labels=tuple(step.label for step in self.steps),
            constants=constants,
            weights=self.weights.data(),
            state_bytes=state_bytes,
            arena_bytes=arena_bytes,
            input_bytes=tuple(runs["input"]),
            output_bytes=tuple(runs["output"]),
        )

    def _storage(self, space: Space, size: int, name: str) -> Storage:
        storage = Storage(len(self.storages), space, size, name)
        self.storages.append(storage)
        return storage

    def _table(self, places: Ints, unit: int) -> Place:
        size = places.size * (4 if unit else 8)
        table = Table(self._storage("constant", size, "table"), places, unit)
        self._tables.append(table)
        self._table_numbers.add(table.storage.number)
        return Place(table.storage.place, table)

    def _place_arena(self, bases: Ints) -> int:
        used = [s for s in self.storages if s.space == "arena" and s.first >= 0 and s.bytes]
        spans = {s.number: Span(s.bytes, s.first, s.last) for s in used}
        offsets, total = pack(spans, self._aliases)
        bases[self.arena_start.number] = 3 << OFFSET_BITS
        for number, offset in offsets.items():
            bases[number] = (3 << OFFSET_BITS) | offset
        return total

    def _place_in_order(self, space: Space, slot: int, bases: Ints) -> int:
        end = 0
        for storage in self.storages[1:]:
            if storage.space == space:
                bases[storage.number] = (slot << OFFSET_BITS) | end
                end += -(-storage.bytes // ALIGNMENT) * ALIGNMENT
        return end

    def _resolved_table(self, table: Table, bases: Ints) -> NDArray[Any]:
        places = table.places.reshape(-1)
        for number in self._strips.keys() & set((places >> OFFSET_BITS).tolist()):
            strip = self._strips[number]
            blocks, within = np.divmod(places & OFFSET_MASK, strip.pitch)
            moved = (number << OFFSET_BITS) + blocks * strip.strip_pitch + within
            places = np.where(places >> OFFSET_BITS == number, moved, places)
        full: Ints = bases[places >> OFFSET_BITS] + (places & OFFSET_MASK)
        if table.unit == 0:
            return full
        numbers = np.unique(places >> OFFSET_BITS)
        start = int(bases[self.arena_start.number])
        if len(numbers) == 1 and self.storages[numbers[0]].space != "arena":
            start = int(bases[numbers[0]])
        distances = (full - start) // table.unit
        if len(distances) and max(abs(int(distances.min())), abs(int(distances.max()))) >= 1 << 31:
            raise InputError("the network's values take 8 GiB or more: expected smaller inputs")
        narrow: NDArray[np.int32] = distances.astype(np.int32)
        return narrow


def _resolve(place: int, bases: Sequence[int] | Ints) -> int:
    return int(bases[place >> OFFSET_BITS]) + (place & OFFSET_MASK)

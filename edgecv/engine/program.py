"""Program: what the native runtime executes, put together step by step, with memory still symbolic.

Refs (see `refs`) name storages until `finish` lays memory out; then they name slots, as in `ext/simd/ops.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.engine.arena import ALIGNMENT, Span, pack
from edgecv.engine.refs import (
    ARENA,
    CONSTANTS,
    FIRST_INPUT,
    FLOAT_BYTES,
    NOWHERE,
    STATE,
    WEIGHTS,
    Ints,
    address_of,
    ref_to,
    storage_of,
    storages_of,
)
from edgecv.engine.rows import Rows
from edgecv.engine.weights import SHARED_BYTES, Weights
from edgecv.errors import InputError

Space = Literal["constant", "state", "arena", "weights", "input", "output", "strip"]


def facts_of(isa: str) -> _simd.IsaFacts:
    """What `ext/simd/isa_facts.h` has of an instruction set, by its label, be it built here or not.

    Raises InputError for an unknown one.
    """
    if isa not in _simd.ISA_FACTS:
        raise InputError(f"isa: expected one of {', '.join(_simd.ISA_FACTS)}, got {isa!r}")
    return _simd.ISA_FACTS[isa]


def lanes_of(isa: str) -> int:
    """Floats in a vector of an instruction set, by its label. Raises InputError for an unknown one."""
    return facts_of(isa).lanes


class Storage(msgspec.Struct):
    """A piece of memory. number: where it stands in the program's list. bytes: its size, padding included."""

    number: int
    space: Space
    bytes: int
    name: str
    first: int = -1
    last: int = -1

    @property
    def ref(self) -> int:
        """The Ref of its first byte."""
        return ref_to(self.number)


class Table(msgspec.Struct, frozen=True):
    """Refs, or distances between Refs, that are constants of the program once memory is laid out."""

    storage: Storage
    refs: Ints
    unit: int  # 0: Refs; else distances in this many bytes, as int32


class Ref(msgspec.Struct, frozen=True):
    """A Ref as a field of a step. table: whose Refs the step follows, where it is the Ref of one."""

    value: int = NOWHERE
    table: Table | None = None


class Strip(msgspec.Struct, frozen=True):
    """Where a storage of a band is: bytes from one of its blocks to the next, outside and in the strip.

    slot: which of the band's strips it is.
    """

    pitch: int
    strip_pitch: int
    slot: int


class Step(msgspec.Struct):
    """One operation: its name in `_simd.OPS`, its fields, and what it is in the user's graph.

    flops: multiplications and additions of the operator, those of padded lanes not counted; 0 for what only
    moves. bytes: read and written, weights included. rows: what the step says of its rows, None where it has
    none. members: of a band, the steps that it is made of.
    """

    op: str
    label: str
    fields: dict[str, int | Ref]
    storages: frozenset[int]
    flops: float
    bytes: int
    rows: Rows | None = None
    members: tuple[Step, ...] = ()


class Encoded(msgspec.Struct, frozen=True):
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
    """Steps over storages. isa: label of the instruction set; facts: of it; lanes: floats in its vectors."""

    def __init__(self, isa: str, weights: Weights | None = None) -> None:
        self.isa = isa
        self.weights = Weights() if weights is None else weights
        self.facts = facts_of(isa)
        self.lanes = self.facts.lanes
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

    def refs(self, refs: Ints) -> Ref:
        """A table of Refs, row-major."""
        return self._table(np.ascontiguousarray(refs, np.int64), 0)

    def distances(self, refs: Ints, unit: int = FLOAT_BYTES) -> tuple[Ref, Ref]:
        """Where to count from, and a table of int32 distances from there in units of `unit` bytes.

        refs: that `are_together`.
        """
        if not self.are_together(refs):
            raise AssertionError("distances between different kinds of memory")
        return Ref(self._base_of(refs).ref), self._table(np.ascontiguousarray(refs, np.int64), unit)

    def are_together(self, refs: Ints) -> bool:
        """Whether one table of distances reaches all of them: all in the arena, or all in one storage."""
        numbers = storages_of(refs)
        return len(numbers) == 1 or all(self.storages[n].space == "arena" for n in numbers)

    def _base_of(self, refs: Ints) -> Storage:
        """Where distances to Refs that are together count from."""
        numbers = storages_of(refs)
        alone = self.storages[numbers[0]] if len(numbers) == 1 else self.arena_start
        return self.arena_start if alone.space == "arena" else alone

    def storage_at(self, ref: int) -> Storage:
        """The storage that a Ref points into."""
        return self.storages[storage_of(ref)]

    def may_share(self, result: Storage, source: Storage) -> None:
        """The step that writes `result` reads each element of `source` before it writes over it."""
        if result.bytes == source.bytes and {result.space, source.space} == {"arena"}:
            self._aliases.append((result.number, source.number))

    def value_of(self, ref: Ref) -> NDArray[Any]:
        """The constant that a Ref is the start of."""
        return self._constants[storage_of(ref.value)]

    def drop_table(self, ref: int | Ref) -> None:
        """Forget a table of Refs that no step names any more."""
        if isinstance(ref, Ref) and ref.table is not None:
            self._tables = [table for table in self._tables if table is not ref.table]
            ref.table.storage.bytes = 0

    # ---- steps

    def add(
        self,
        op: str,
        label: str,
        rows: Rows | None = None,
        /,
        *,
        flops: float = 0.0,
        moved: int | None = None,
        **fields: int | float | Ref | Storage,
    ) -> Step:
        """Append a step. Fields: whole numbers, floats, Refs; every field of the operation, by name.

        rows: what it says of its rows, where it goes by rows.
        moved: bytes read and written; by default those of all memory that the step touches, tables left out.
        """
        wanted = _simd.OPS[op]
        if set(fields) != set(wanted):
            raise AssertionError(f"{op}: fields {sorted(set(fields) ^ set(wanted))} missing or unknown")
        encoded: dict[str, int | Ref] = {}
        touched: set[int] = set()
        for name in wanted:
            value = fields[name]
            if isinstance(value, Storage):
                value = Ref(value.ref)
            if isinstance(value, float):
                value = int.from_bytes(struct.pack("<f", value), "little")
            if isinstance(value, Ref):
                touched.add(storage_of(value.value))
                if value.table is not None:
                    touched.update(storages_of(value.table.refs))
            encoded[name] = value if isinstance(value, Ref) else int(value)
        if moved is None:
            moved = sum(self.storages[n].bytes for n in touched if n not in self._table_numbers)
        step = Step(op, label, encoded, frozenset(touched), flops, moved, rows)
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
        """Lay memory out, let every Ref name a slot, encode."""
        # Of each storage, the Ref of its first byte in its slot.
        bases = np.zeros(len(self.storages), np.int64)
        arena_bytes = self._lay_out_arena(bases)
        state_bytes = self._lay_out_in_order("state", STATE, bases)
        constant_bytes = self._lay_out_in_order("constant", CONSTANTS, bases)
        for number, offset in self._weight_offsets.items():
            bases[number] = ref_to(WEIGHTS, offset)
        runs: dict[str, list[int]] = {"input": [], "output": []}
        slot = FIRST_INPUT
        for space in ("input", "output"):
            for storage in (s for s in self.storages if s.space == space):
                bases[storage.number] = ref_to(slot)
                runs[space].append(storage.bytes)
                slot += 1
        for number, strip in self._strips.items():
            bases[number] = ref_to(slot + strip.slot)
        constants = np.zeros(constant_bytes, np.uint8)
        for number, value in self._constants.items():
            start = address_of(int(bases[number]))
            constants[start : start + value.nbytes] = value.reshape(-1).view(np.uint8)
        for table in self._tables:
            start = address_of(int(bases[table.storage.number]))
            data = self._resolved_table(table, bases)
            constants[start : start + data.nbytes] = data.view(np.uint8)
        words: list[int] = []
        index_of = {name: i for i, name in enumerate(_simd.OPS)}
        for step in self.steps:
            for part in (step, *step.members):
                words.append(index_of[part.op])
                for item in part.fields.values():
                    words.append(_resolve(item.value, bases) if isinstance(item, Ref) else item)
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

    def _table(self, refs: Ints, unit: int) -> Ref:
        size = refs.size * (4 if unit else 8)
        table = Table(self._storage("constant", size, "table"), refs, unit)
        self._tables.append(table)
        self._table_numbers.add(table.storage.number)
        return Ref(table.storage.ref, table)

    def _lay_out_arena(self, bases: Ints) -> int:
        used = [s for s in self.storages if s.space == "arena" and s.first >= 0 and s.bytes]
        spans = {s.number: Span(s.bytes, s.first, s.last) for s in used}
        offsets, total = pack(spans, self._aliases)
        bases[self.arena_start.number] = ref_to(ARENA)
        for number, offset in offsets.items():
            bases[number] = ref_to(ARENA, offset)
        return total

    def _lay_out_in_order(self, space: Space, slot: int, bases: Ints) -> int:
        end = 0
        for storage in self.storages[1:]:
            if storage.space == space:
                bases[storage.number] = ref_to(slot, end)
                end += -(-storage.bytes // ALIGNMENT) * ALIGNMENT
        return end

    def _resolved_table(self, table: Table, bases: Ints) -> NDArray[Any]:
        refs = table.refs.reshape(-1)
        for number in self._strips.keys() & set(storages_of(refs)):
            strip = self._strips[number]
            blocks, within = np.divmod(address_of(refs), strip.pitch)
            in_strip = ref_to(number) + blocks * strip.strip_pitch + within
            refs = np.where(storage_of(refs) == number, in_strip, refs)
        full: Ints = bases[storage_of(refs)] + address_of(refs)
        if table.unit == 0:
            return full
        distances = (full - bases[self._base_of(refs).number]) // table.unit
        if len(distances) and max(abs(int(distances.min())), abs(int(distances.max()))) >= 1 << 31:
            raise InputError("the network's values take 8 GiB or more: expected smaller inputs")
        narrow: NDArray[np.int32] = distances.astype(np.int32)
        return narrow


def _resolve(ref: int, bases: Ints) -> int:
    return int(bases[storage_of(ref)]) + address_of(ref)

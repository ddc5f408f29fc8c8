"""Bands: neighboring steps that run in turns, a few rows each, so that what goes between stays in the cache.

A map that outgrows the second cache costs a trip to the third one, once written and once read. Where one
step makes it and the next one alone reads it, both by rows, they become one step, `band` in `ext/simd/ops.h`,
and the map needs no more memory than the rows of it that are at work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv.engine.program import Program, Ref, Step, Storage
from edgecv.engine.refs import FLOAT_BYTES, Ints
from edgecv.engine.rows import Points, Rows


class Limits(msgspec.Struct, frozen=True):
    """Where bands pay, as measured. Sizes in bytes.

    least: of a map; smaller ones stay in the second cache anyway. strips: what a thread holds of all maps of
    a band; all of it is used, so that what is kept from turn to turn is seldom moved. steps: of a band, at
    most. last_rows, other_rows: of the last step in a turn and of the others, the best first. shared_rows:
    of the others where threads share the band: what lies between their parts is made by both.
    """

    least: int = 7 << 18
    strips: int = 1 << 20
    steps: int = 4
    last_rows: tuple[int, ...] = (8, 7, 6, 5, 4, 3, 2, 1)
    other_rows: tuple[int, ...] = (8, 4, 2, 1)
    shared_rows: tuple[int, ...] = (2, 1)


LIMITS = Limits()

# Chunks for each of several threads, at least: so that all are done at about the same time.
_CHUNKS = 2
# Turns that a chunk costs beside its own: of rows that its neighbor makes too.
_CHUNK_COST = 0.3


class Link(msgspec.Struct, frozen=True):
    """A map between two steps: blocks of h rows of w pixels.

    first, end: for each row that the second step makes, which rows of the map it reads.
    """

    storage: Storage
    blocks: int
    h: int
    w: int
    first: Ints
    end: Ints


class Chain(msgspec.Struct, frozen=True):
    """Steps of a band, how many rows of its own each makes in a turn, and the rows of each strip."""

    start: int
    links: tuple[Link, ...]
    turns: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Of the maps that need not be written and read."""
        return sum(link.storage.bytes for link in self.links)


def join_bands(program: Program, threads: int, limits: Limits = LIMITS) -> None:
    """Make bands of the program's steps wherever they pay. threads: of the runs to come."""
    users = Counter(number for step in program.steps for number in step.storages)
    links = [
        _link(program, users, first, second, limits)
        for first, second in zip(program.steps, program.steps[1:], strict=False)
    ]
    steps: list[Step] = []
    end = 0
    for chain in _choose(links, program.lanes, threads, limits):
        steps += program.steps[end : chain.start]
        end = chain.start + len(chain.turns)
        steps.append(_band(program, program.steps[chain.start : end], chain, threads))
    program.replace_steps(steps + program.steps[end:])


def _choose(links: Sequence[Link | None], lanes: int, threads: int, limits: Limits) -> tuple[Chain, ...]:
    """The chains that together save the most, no step in two of them. links: of steps i and i + 1."""
    # Of the first i steps: what is saved, and by which chains.
    best: list[tuple[int, tuple[Chain, ...]]] = [(0, ())]
    for end in range(1, len(links) + 2):
        found = best[-1]
        for start in range(end - 2, max(end - limits.steps, 0) - 1, -1):
            inner = [link for link in links[start : end - 1] if link is not None]
            chain = _chain(start, inner, lanes, threads, limits) if len(inner) == end - 1 - start else None
            if chain is None:
                break
            saved = best[start][0] + chain.bytes
            found = max(found, (saved, (*best[start][1], chain)), key=lambda item: item[0])
        best.append(found)
    return best[-1][1]


# ---- Which steps fit together


def _link(program: Program, users: Counter[int], first: Step, second: Step, limits: Limits) -> Link | None:
    shared = [
        program.storages[n]
        for n in first.storages & second.storages
        if program.storages[n].space == "arena" and users[n] == 2
    ]
    if len(shared) != 1 or shared[0].bytes < limits.least or first.rows is None or second.rows is None:
        return None
    (storage,) = shared
    made, reads = first.rows.writes, second.rows.reads
    if made is None or reads is None or storage.number in second.rows.others:
        return None
    if not made.fills(storage.ref, storage.bytes, program.lanes):
        return None
    needed = reads.of(made, storage.number, program.lanes)
    # What is made once is never made again.
    if needed is None or not (np.diff(needed.first) >= 0).all():
        return None
    return Link(storage, len(made.refs), *needed)


# ---- How they are cut


def _chain(start: int, links: Sequence[Link], lanes: int, threads: int, limits: Limits) -> Chain | None:
    """The most rows in a turn for which the strips are small enough; None where they never are."""
    rooms = [limits.strips // len(links) // (link.blocks * link.w * lanes * FLOAT_BYTES) for link in links]
    made_rows = len(links[-1].first)
    other_rows = limits.other_rows if threads == 1 else limits.shared_rows
    for last in limits.last_rows:
        if last > 1 and (last > made_rows or (threads > 1 and made_rows < last * _CHUNKS * threads)):
            continue
        turns = [last]
        for link, room in zip(reversed(links), reversed(rooms), strict=True):
            made = next((n for n in other_rows if _rows_needed(link, turns[0], n) <= room), 0)
            if not made:
                break
            turns.insert(0, made)
        if len(turns) > len(links):
            rows = tuple(min(link.h, room) for link, room in zip(links, rooms, strict=True))
            return Chain(start, tuple(links), tuple(turns), rows)
    return None


def _rows_needed(link: Link, read: int, made: int) -> int:
    """Rows of the map that must be there at a time, where so many are made and read in a turn."""
    starts = np.arange(0, len(link.first), read)
    low = np.minimum.reduceat(link.first, starts) // made * made
    high = -(-np.maximum.reduceat(link.end, starts) // made) * made
    return int((np.minimum(high, link.h) - low).max())


def _band(program: Program, steps: Sequence[Step], chain: Chain, threads: int) -> Step:
    strips = []
    for index, (link, rows) in enumerate(zip(chain.links, chain.rows, strict=True)):
        row = link.w * program.lanes
        strips.append((link.blocks, rows, row))
        program.to_strip(link.storage, link.h * row * FLOAT_BYTES, rows * row * FLOAT_BYTES, index)
    members = [_member(program, step, chain, index) for index, step in enumerate(steps)]
    # The last step writes before the first one has read all.
    storages = frozenset[int]().union(*(step.storages for step in steps))
    program.keep_apart(storages, frozenset[int]().union(*(step.storages for step in steps[:-1])))
    turns = -(-len(chain.links[-1].first) // chain.turns[-1])
    fields: dict[str, int | Ref] = {
        "n_steps": len(steps),
        "strips": Ref(program.constant(np.array(strips, np.int64)).ref),
        "chunk": share_of_turns(turns, threads),
    }
    moved = sum(step.bytes for step in steps) - 2 * chain.bytes
    label = " > ".join(step.label for step in steps)
    return Step("band", label, fields, storages, sum(s.flops for s in steps), moved, members=tuple(members))


def share_of_turns(turns: int, threads: int) -> int:
    """Turns of a chunk for which so many threads, each taking the next chunk when it is free, end first."""

    def end(chunk: int) -> float:
        busy = [0.0] * threads
        for first in range(0, turns, chunk):
            busy[busy.index(min(busy))] += min(chunk, turns - first) + _CHUNK_COST
        return max(busy)

    most = turns if threads == 1 else max(turns // (_CHUNKS * threads), 1)
    return min(range(1, most + 1), key=lambda chunk: (end(chunk), -chunk))


def _member(program: Program, step: Step, chain: Chain, index: int) -> Step:
    """The step in chunks of whole rows, read of the strip before it and written to the one after it."""
    if step.rows is None:
        raise AssertionError(f"{step.label} has no rows")
    cut, is_last = step.rows.cut, index == len(chain.links)
    width = cut.most // len(chain.links[-1].first) if is_last else chain.links[index].w
    fields = dict(step.fields)
    fields.update(cut.fields(chain.turns[index], width))
    if index > 0:
        _read_strip(program, step.rows, chain.links[index - 1].storage, fields)
    if not is_last and step.rows.writes is not None and step.rows.writes.pitch:
        fields[step.rows.writes.pitch] = chain.rows[index] * width * program.lanes
    if cut.window is not None:
        offsets = program.value_of(_ref(step, cut.window.offsets)).astype(np.int64)
        table = cut.window.moved(offsets, _number(step.fields, cut.chunk), _number(fields, cut.chunk))
        fields[cut.window.offsets] = Ref(program.constant(table.astype(np.int32)).ref)
    return replace(step, fields=fields)


def _read_strip(program: Program, rows: Rows, strip: Storage, fields: dict[str, int | Ref]) -> None:
    if isinstance(rows.reads, Points):
        fields[rows.reads.base] = Ref(strip.ref)
    elif rows.reads is not None:
        # Of a strip, rows are at other distances than of a map: all that is read of it is gathered.
        for name in rows.reads.besides:
            program.drop_table(fields[name])
            fields[name] = 0


def _ref(step: Step, name: str) -> Ref:
    ref = step.fields[name]
    if not isinstance(ref, Ref):
        raise AssertionError(f"{name} is a Ref")
    return ref


def _number(fields: Mapping[str, int | Ref], name: str) -> int:
    number = fields[name]
    if isinstance(number, Ref):
        raise AssertionError(f"{name} is a number")
    return number

"""Bands: neighboring steps that run in turns, a few rows each, so that what goes between stays in the cache.

A map that outgrows the second cache costs a trip to the third one, once written and once read. Where one
step makes it and the next one alone reads it, both by rows, they become one step, `band` in `ext/simd/ops.h`,
and the map needs no more memory than the rows of it that are at work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecv.engine.program import Program, Ref, Step, Storage
from edgecv.engine.refs import FLOAT_BYTES, Ints, address_of, storage_of, walk


@dataclass(frozen=True)
class Limits:
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


@dataclass(frozen=True)
class Link:
    """A map between two steps: blocks of h rows of w pixels.

    first, end: for each row that the second step makes, which rows of the map it reads.
    """

    storage: Storage
    blocks: int
    h: int
    w: int
    first: Ints
    end: Ints


@dataclass(frozen=True)
class Chain:
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
    if len(shared) != 1 or shared[0].bytes < limits.least:
        return None
    made = _made(program, first, shared[0])
    return None if made is None else _read(program, second, shared[0], *made)


def _numbers(step: Step) -> dict[str, int]:
    return {name: value for name, value in step.fields.items() if isinstance(value, int)}


def _refs(step: Step, name: str) -> Ints:
    ref = step.fields[name]
    if not isinstance(ref, Ref) or ref.table is None:
        return np.zeros(0, np.int64)
    return ref.table.refs


def _is_in(step: Step, name: str, storage: Storage) -> bool:
    ref = step.fields[name]
    return isinstance(ref, Ref) and storage_of(ref.value) == storage.number


def _made(program: Program, step: Step, storage: Storage) -> tuple[int, int, int] | None:
    """Blocks, pixels of a block and of a row of what a step makes; a row of 0: of any. None: not by rows."""
    number, lanes = _numbers(step), program.lanes
    if step.op in ("depthwise", "pool"):
        made = _refs(step, "blocks").reshape(-1, 2)[:, 1]
        pixels = number["out_h"] * number["out_w"]
        if not np.array_equal(made, walk(storage.ref, (len(made),), (pixels * lanes,))):
            return None
        return len(made), pixels, number["out_w"]
    if step.op != "conv" or not _is_in(step, "y", storage) or _is_set(step, "residual"):
        return None
    pixels = number["runs"] * number["pixels"]
    blocks = storage.bytes // (pixels * lanes * FLOAT_BYTES)
    y = step.fields["y"]
    is_dense = number["y_pixel"] == lanes and number["y_block"] == pixels * lanes
    is_whole = isinstance(y, Ref) and y.value == storage.ref
    if not is_dense or not is_whole or storage.bytes != blocks * pixels * lanes * FLOAT_BYTES:
        return None
    if number["runs"] == 1:
        return None if number["n_planes"] else (blocks, pixels, 0)
    return (blocks, pixels, number["pixels"]) if number["y_run"] == number["pixels"] * lanes else None


def _is_set(step: Step, name: str) -> bool:
    value = step.fields[name]
    return bool(value.value if isinstance(value, Ref) else value)


def _read(
    program: Program, step: Step, storage: Storage, blocks: int, pixels: int, width: int
) -> Link | None:
    """What a step reads of a map of so many blocks and pixels; None where it does not go by rows."""
    number, lanes = _numbers(step), program.lanes
    if step.op in ("depthwise", "pool"):
        if (storage_of(_refs(step, "blocks").reshape(-1, 2)[:, 1]) == storage.number).any():
            return None
        h, w = number["in_h"], number["in_w"]
        if step.op == "pool":
            first, end = _windows(program, step)
        else:
            first = np.arange(number["out_h"]) * number["stride_y"] - number["pad_top"]
            end = first + (number["kernel_h"] - 1) * number["dilation_y"] + 1
    elif step.op != "conv" or _is_in(step, "y", storage) or _is_in(step, "residual", storage):
        return None
    elif number["n_planes"]:
        if number["plane_lanes"] != lanes or number["plane_row"] != number["in_w"] * lanes:
            return None
        if number["runs"] == 1:
            return None
        h, w = number["in_h"], number["in_w"]
        first = np.arange(number["runs"]) * number["stride_y"] - number["pad_top"]
        end = first + number["extent_y"]
    else:
        # Of one pixel of every block.
        taps = _refs(step, "offsets")
        is_point = (storage_of(taps) == storage.number).all()
        is_point &= (address_of(taps) % (pixels * lanes * FLOAT_BYTES) < lanes * FLOAT_BYTES).all()
        if not is_point or not width:
            return None
        h, w = pixels // width, width
        if number["runs"] == 1:
            if number["x_pixel"] != lanes or number["pixels"] != pixels:
                return None
            first = np.arange(h)
        elif number["x_run"] % (width * lanes) or (number["pixels"] - 1) * number["x_pixel"] >= width * lanes:
            return None
        else:
            first = np.arange(number["runs"]) * (number["x_run"] // (width * lanes))
        end = first + 1
    if h * w != pixels or width not in (0, w):
        return None
    link = Link(storage, blocks, h, w, np.clip(first, 0, h), np.clip(end, 0, h))
    return link if (np.diff(link.first) >= 0).all() else None


def _windows(program: Program, step: Step) -> tuple[Ints, Ints]:
    table = program.value_of(_ref(step, "rows")).reshape(-1, 3).astype(np.int64)
    is_empty = table[:, 0] >= table[:, 1]
    return np.where(is_empty, 0, table[:, 0]), np.where(is_empty, 0, table[:, 1])


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
    members = list(steps)
    for index, (link, rows) in enumerate(zip(chain.links, chain.rows, strict=True)):
        row = link.w * program.lanes
        strips.append((link.blocks, rows, row))
        program.to_strip(link.storage, link.h * row * FLOAT_BYTES, rows * row * FLOAT_BYTES, index)
        members[index] = _with_output(members[index], rows * row, chain.turns[index], link.w)
        members[index + 1] = _with_input(program, members[index + 1], link.storage)
    width = _out_width(steps[-1], len(chain.links[-1].first))
    members[-1] = _with_chunks(members[-1], chain.turns[-1], width)
    members = [_with_window(program, old, new) for old, new in zip(steps, members, strict=True)]
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
    return Step("band", label, fields, storages, sum(s.flops for s in steps), moved, tuple(members))


def share_of_turns(turns: int, threads: int) -> int:
    """Turns of a chunk for which so many threads, each taking the next chunk when it is free, end first."""

    def end(chunk: int) -> float:
        busy = [0.0] * threads
        for first in range(0, turns, chunk):
            busy[busy.index(min(busy))] += min(chunk, turns - first) + _CHUNK_COST
        return max(busy)

    most = turns if threads == 1 else max(turns // (_CHUNKS * threads), 1)
    return min(range(1, most + 1), key=lambda chunk: (end(chunk), -chunk))


def _with_input(program: Program, step: Step, storage: Storage) -> Step:
    """The step with its input in a strip."""
    if step.op != "conv":
        return step
    if step.fields["n_planes"]:
        # Of a strip, rows are at other distances than of a map: all that is read of it is gathered.
        inner = ("x", "inner", "inner_run", "inner_runs", "inner_pixel", "inner_pixels")
        program.drop_table(step.fields["inner"])
        return replace(step, fields=step.fields | dict.fromkeys(inner, 0))
    return replace(step, fields=step.fields | {"x": Ref(storage.ref)})


def _with_output(step: Step, block: int, rows: int, width: int) -> Step:
    """The step with its output in a strip, blocks so many floats apart."""
    if step.op == "conv":
        step = replace(step, fields=step.fields | {"y_block": block})
    return _with_chunks(step, rows, width)


def _out_width(step: Step, rows: int) -> int:
    number = _numbers(step)
    if step.op != "conv":
        return number["out_w"]
    return number["pixels"] if number["runs"] > 1 else number["pixels"] // rows


def _with_chunks(step: Step, rows: int, width: int) -> Step:
    """The step cut into chunks of so many of its rows. width: pixels of a row."""
    number = _numbers(step)
    cut: dict[str, int | Ref]
    if step.op != "conv":
        cut = {"chunk_blocks": number["n_blocks"], "chunk_rows": min(rows, number["out_h"])}
    elif number["runs"] == 1:
        cut = {"chunk_tiles": number["n_tiles"], "chunk_pixels": min(rows * width, number["pixels"])}
    else:
        cut = {"chunk_tiles": number["n_tiles"], "chunk_runs": min(rows, number["runs"])}
    return replace(step, fields=step.fields | cut)


def _with_window(program: Program, old: Step, new: Step) -> Step:
    """The step with offsets for the window of its chunks, whose planes are as far apart as it has rows."""
    number = _numbers(old)
    if old.op != "conv" or not number["n_planes"]:
        return new
    row = number["window_w"] * number["plane_lanes"]
    was, now = (
        row * ((runs - 1) * number["stride_y"] + number["extent_y"])
        for runs in (number["chunk_runs"], _numbers(new)["chunk_runs"])
    )
    planes, within = np.divmod(program.value_of(_ref(old, "offsets")).astype(np.int64), was)
    offsets = program.constant((planes * now + within).astype(np.int32))
    return replace(new, fields=new.fields | {"offsets": Ref(offsets.ref)})


def _ref(step: Step, name: str) -> Ref:
    ref = step.fields[name]
    if not isinstance(ref, Ref):
        raise AssertionError(f"{name} is a Ref")
    return ref

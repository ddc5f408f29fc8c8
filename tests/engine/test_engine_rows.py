"""What steps say of their rows, against what their operators' windows are."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv import _simd
from edgecv.engine.program import Step
from edgecv.engine.refs import FLOAT_BYTES, ref_to, storages_of, walk
from edgecv.engine.rows import Cut, Needed, Points, Window, Windows, Written, of_blocks
from tests.engine.programs import LOWEST_ISA
from tests.engine.test_engine_bands import Sketch, compiled

LANES = _simd.lanes(LOWEST_ISA)
H, W = 17, 13


def steps_of(sketch: Sketch, threads: int = 1) -> tuple[Step, ...]:
    return compiled(sketch.model(), LOWEST_ISA, None, threads).steps


def needed(writer: Step, reader: Step) -> Needed | None:
    """What the second step needs of what the first one writes."""
    assert writer.rows is not None
    assert reader.rows is not None
    made, reads = writer.rows.writes, reader.rows.reads
    assert made is not None
    assert reads is not None
    (storage,) = storages_of(made.refs)
    return reads.of(made, storage, LANES)


def windows(rows: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> list[tuple[int, int]]:
    """The first row of each window and the end of its last, of H rows."""
    taps = [[y * stride - pad + k * dilation for k in range(kernel)] for y in range(rows)]
    return [(min(max(t[0], 0), H), min(max(t[-1] + 1, 0), H)) for t in taps]


READERS = {
    "depthwise": (lambda s: s.conv(0, 3, 2, 1, depthwise=True), (3, 2, 1)),
    "depthwise, dilated": (lambda s: s.conv(0, 3, 1, 2, 2, depthwise=True), (3, 1, 2, 2)),
    "dense": (lambda s: s.conv(9, 5, 2, 2), (5, 2, 2)),
    "dense, dilated": (lambda s: s.conv(9, 3, 1, 1, 2), (3, 1, 1, 2)),
    "point": (lambda s: s.conv(9), (1, 1, 0)),
    "point of every second pixel": (lambda s: s.conv(9, 1, 2), (1, 2, 0)),
    "average": (lambda s: s.pool("AveragePool", 2, 2), (2, 2, 0)),
}


@pytest.mark.parametrize("name", READERS)
def test_rows_are_those_of_the_windows(name: str) -> None:
    add, window = READERS[name]
    sketch = add(Sketch(3, H, W).conv(2 * LANES + 1, 3, 1, 1))
    writer, reader = [step for step in steps_of(sketch) if step.rows is not None]
    found = needed(writer, reader)
    assert found is not None
    assert (found.h, found.w) == (H, W)
    pairs = list(zip(found.first.tolist(), found.end.tolist(), strict=True))
    assert pairs == windows(sketch.shape[1], *window)


def test_a_pool_that_pads_needs_what_is_there() -> None:
    writer, reader = steps_of(Sketch(3, H, W).conv(5, 3, 1, 1).pool("MaxPool", 3, 2, 1))[:2]
    found = needed(writer, reader)
    assert found is not None
    assert list(zip(found.first.tolist(), found.end.tolist(), strict=True)) == windows(H // 2 + 1, 3, 2, 1)


def test_what_does_not_go_by_rows() -> None:
    """Taps beside the first pixel of a block; a result that a residual lies beside."""
    sketch = Sketch(3, H, W).conv(LANES, 3, 1, 1)
    start = sketch.value
    first, inner = steps_of(sketch.conv(LANES, 3))[:2]
    assert needed(first, inner) is None
    sketch = Sketch(3, H, W).conv(LANES, 3, 1, 1)
    sketch.conv(LANES, 3, 1, 1, relu=False).add(start)
    summed = [step for step in steps_of(sketch) if step.op == "conv"][-1]
    assert summed.rows is not None
    assert summed.rows.writes is None


def test_blocks_that_fill_a_storage() -> None:
    start, size = ref_to(3), 2 * 6 * LANES * FLOAT_BYTES
    blocks = walk(start, (2,), (6 * LANES,))
    assert Written(blocks, 6, 3).fills(start, size, LANES)
    assert not Written(blocks[::-1], 6, 3).fills(start, size, LANES)
    assert not Written(blocks[:1], 6, 3).fills(start, size, LANES)
    assert not Written(blocks, 6, 3).fills(ref_to(4), size, LANES)


def test_windows_of_another_map() -> None:
    first, end = Windows.even(4, 1, 0, 1)
    of = Written(walk(ref_to(3), (1,), (12,)), 12, 3)
    assert Windows(4, 3, first, end).of(of, 3, LANES) is not None
    assert Windows(3, 4, first, end).of(of, 3, LANES) is None
    assert Windows(4, 4, first, end).of(of, 3, LANES) is None


def test_points_of_unknown_rows() -> None:
    refs = walk(ref_to(3), (LANES,), (1,))
    points = Points(refs, 1, 0, 12, LANES, "x")
    made = Written(refs[:1], 12, 3)
    assert points.of(made, 3, LANES) is not None
    assert points.of(Written(refs[:1], 12, 0), 3, LANES) is None
    assert points.of(made, 4, LANES) is None
    assert Points(refs + LANES * FLOAT_BYTES, 1, 0, 12, LANES, "x").of(made, 3, LANES) is None


def test_chunks_of_rows() -> None:
    cut = Cut({"chunk_tiles": 7}, "chunk_runs", 9)
    assert cut.fields(4, 5) == {"chunk_tiles": 7, "chunk_runs": 4}
    assert Cut({}, "chunk_pixels", 18, is_pixels=True).fields(4, 5) == {"chunk_pixels": 18}
    blocks = np.stack([walk(ref_to(1), (3,), (8,)), walk(ref_to(2), (3,), (8,))], 1)
    rows = of_blocks(blocks, (4, 2), (2, 2), *Windows.even(2, 2, 0, 2))
    assert rows.cut.fields(5, 2) == {"chunk_blocks": 3, "chunk_rows": 2}
    assert rows.others == {2}


def test_offsets_in_the_window_of_more_rows() -> None:
    """Planes are as far apart as a chunk has rows; within one, nothing moves."""
    window = Window("offsets", 10, 2, 3)
    offsets = np.array([0, 29, 50, 79])  # of chunks of two rows: 5 rows of a plane
    assert window.moved(offsets, 2, 3).tolist() == [0, 29, 70, 99]
    assert window.moved(window.moved(offsets, 2, 3), 3, 2).tolist() == offsets.tolist()

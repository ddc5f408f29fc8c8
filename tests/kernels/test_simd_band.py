"""Bands on every ISA: rows between steps in a strip, and programs that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.engine.programs import LOWEST_ISA
from tests.kernels.simd_program import Array, Program, each_isa, ref

# A picture of 2 blocks, 10 x 6 pixels, through a 1x1 convolution, a depthwise 3x3 and a pool of 2x2.
BLOCKS, H, W = 2, 10, 6
FIRST_INPUT, OUTPUT = 5, 6
CODES = {op: code for code, op in enumerate(_simd.OPS)}


class Band:
    """A program of three steps: apart, or as a band whose fields can be changed one by one."""

    def __init__(self, isa: str, turns: tuple[int, int, int] = (1, 2, 1), rows: tuple[int, int] = (7, 4)):
        self.program = program = Program(isa)
        self.lanes = lanes = program.lanes
        rng = np.random.default_rng(3)
        self.x = program.input(rng.standard_normal((BLOCKS, H, W, lanes)).astype(np.float32))
        self.y = program.output((BLOCKS, H // 2, W // 2, lanes))
        weights = rng.standard_normal((BLOCKS * lanes, BLOCKS, lanes)).astype(np.float32)
        self.values = [program.constant(weights), program.constant(weights[:9])]
        self.bias = program.constant(weights[0])
        self.turns, self.rows = turns, rows
        channels = np.arange(BLOCKS * lanes)
        self.offsets = (channels // lanes * H * W * lanes + channels % lanes).astype(np.int32)

    def fields(self, between: tuple[int, int], pitches: tuple[int, int]) -> list[tuple[str, dict[str, Any]]]:
        """The steps. between: Refs of the two maps; pitches: floats between their blocks."""
        lanes, block = self.lanes, np.arange(BLOCKS) * 4
        first, second = (ref_ + block * pitch for ref_, pitch in zip(between, pitches, strict=True))
        windows = np.array([[2 * i, 2 * i + 2, 2] for i in range(H // 2)], np.int32)
        sides = {"in_h": H, "in_w": W, "n_blocks": BLOCKS, "chunk_blocks": BLOCKS}
        conv = {
            "x": self.x, "y": between[0], "weights": self.values[0], "bias": self.bias, "n_tiles": 1,
            "tiles": np.array([[BLOCKS, BLOCKS * lanes, 0, 0]]), "offsets": self.offsets,
            "n_offsets": len(self.offsets), "pixels": H * W, "runs": 1, "x_pixel": lanes, "y_pixel": lanes,
            "y_block": pitches[0], "activation": "relu", "chunk_runs": 1, "chunk_tiles": 1,
            "chunk_pixels": self.turns[0] * W,
        }  # fmt: skip
        depthwise = sides | {
            "blocks": np.stack([first, second], 1), "weights": self.values[1], "bias": self.bias,
            "kernel_h": 3, "kernel_w": 3, "stride_y": 1, "stride_x": 1, "dilation_y": 1, "dilation_x": 1,
            "pad_top": 1, "pad_left": 1, "out_h": H, "out_w": W, "chunk_rows": self.turns[1],
        }  # fmt: skip
        pool = sides | {
            "blocks": np.stack([second, self.y + block * (H * W // 4) * lanes], 1), "kind": "max",
            "rows": windows, "columns": windows[: W // 2], "dilation_y": 1, "dilation_x": 1,
            "out_h": H // 2, "out_w": W // 2, "chunk_rows": self.turns[2],
        }  # fmt: skip
        return [("conv", conv), ("depthwise", depthwise), ("pool", pool)]

    def apart(self) -> Program:
        size = H * W * self.lanes
        maps = self.program.arena(BLOCKS * size * 4), self.program.arena(BLOCKS * size * 4)
        for op, fields in self.fields(maps, (size, size)):
            self.program.step(op, **fields)
        return self.program

    def together(self, chunk: int = 2, **changes: Any) -> Program:
        """changes: of fields, as "op_field"; "strips" and "n_steps" are the band's own."""
        row = W * self.lanes
        strips = np.array([[BLOCKS, rows, row] for rows in self.rows])
        own = {"n_steps": 3, "strips": strips, "chunk": chunk}
        self.program.step("band", **(own | {k: v for k, v in changes.items() if k in own}))
        pitches = self.rows[0] * row, self.rows[1] * row
        for op, fields in self.fields((ref(OUTPUT + 1), ref(OUTPUT + 2)), pitches):
            given_ = {k.removeprefix(f"{op}_"): v for k, v in changes.items() if k.startswith(f"{op}_")}
            self.program.step(op, **(fields | given_))
        self.program.labels = ["band"]
        return self.program


@each_isa
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("turns", "rows"),
    [((1, 2, 1), (4, 4)), ((1, 1, 1), (9, 5)), ((3, 4, 2), (12, 8)), ((10, 10, 5), (10, 10))],
    ids=str,
)
def test_the_same_bits_as_its_steps(
    isa: str, threads: int, turns: tuple[int, int, int], rows: tuple[int, int]
) -> None:
    (expected,) = Band(isa, turns).apart().run()
    (got,) = Band(isa, turns, rows).together().run(threads)
    assert got.tobytes() == expected.tobytes()


def moved_block(column: int, strip: int, offset: int = 0) -> dict[str, Array]:
    """The depthwise step with its second input (0) or output (1) elsewhere. strip: 1 or 2."""
    band = Band(LOWEST_ISA)
    row = W * band.lanes
    fields = dict(band.fields((ref(OUTPUT + 1), ref(OUTPUT + 2)), (7 * row, 4 * row)))["depthwise"]
    blocks: Array = fields["blocks"].copy()
    blocks[1, column] = ref(OUTPUT + strip, offset)
    return {"depthwise_blocks": blocks}


ROW = W * _simd.lanes(LOWEST_ISA)
STRIPS, TOUCHES = "a strip is none", "it touches what is not of its strips"
NO_ROWS, FEW = "its rows are none of its strips", "a strip has too few rows for a chunk of the next step"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one step": ({"n_steps": 1}, "it has too few or too many steps"),
    "nine steps": ({"n_steps": 9}, "it has too few or too many steps"),
    "more steps than there are": ({"n_steps": 4}, "the program ends within a band"),
    "strips among the inputs": ({"strips": ref(FIRST_INPUT)}, "its strips lie outside the constants"),
    "a strip without blocks": ({"strips": np.array([[0, 7, ROW], [2, 4, ROW]])}, STRIPS),
    "a strip without rows": ({"strips": np.array([[2, 0, ROW], [2, 4, ROW]])}, STRIPS),
    "a row of part of a pixel": ({"strips": np.array([[2, 7, ROW + 1], [2, 4, ROW]])}, STRIPS),
    "a huge strip": ({"strips": np.array([[1 << 20] * 3, [2, 4, ROW]])}, "a strip is too large"),
    "rows of another length": ({"strips": np.array([[2, 7, 2 * ROW], [2, 4, ROW]])}, NO_ROWS),
    "too few rows": ({"strips": np.array([[4, 3, ROW], [2, 4, ROW]])}, FEW),
    "too few blocks": ({"strips": np.array([[1, 7, ROW], [2, 4, ROW]])}, TOUCHES),
    "empty chunks": ({"chunk": 0}, "its chunks are empty"),
    "no chunk of whole rows": ({"conv_chunk_pixels": W + 1}, NO_ROWS),
    "output elsewhere": ({"conv_y": ref(OUTPUT)}, "y lies outside its memory"),
    "output in the next strip": ({"conv_y": ref(OUTPUT + 2)}, TOUCHES),
    "output past the last strip": ({"conv_y": ref(OUTPUT + 3)}, "y lies outside its memory"),
    "output past the strip's end": ({"conv_y": ref(OUTPUT + 1, 64)}, TOUCHES),
    "blocks too far apart": ({"conv_y_block": 8 * ROW}, TOUCHES),
    "weights in a strip": ({"conv_weights": ref(OUTPUT + 1)}, TOUCHES),
    "bias in a strip": ({"depthwise_bias": ref(OUTPUT + 2)}, TOUCHES),
    "residual in a strip": ({"conv_residual": ref(OUTPUT + 1)}, TOUCHES),
    "input in its own strip": ({"conv_x": ref(OUTPUT + 1)}, TOUCHES),
    "a block read past the end": (moved_block(0, 1, 32 * ROW), TOUCHES),
    "a block read from what it writes": (moved_block(0, 2), TOUCHES),
    "a block written past the end": (moved_block(1, 2, 20 * ROW), TOUCHES),
    "a block written to what it reads": (moved_block(1, 1), TOUCHES),
    "some blocks": ({"depthwise_chunk_blocks": 1}, "a chunk of it has not all blocks"),
    "more rows than are made": (
        {"depthwise_in_h": H + 2},
        "a step reads rows that the one before it does not make",
    ),
    "more rows at a time": ({"pool_chunk_rows": 3}, FEW),
    "rows that are gone": (
        {"pool_rows": np.array([[2, 4, 2], [0, 2, 2], [4, 6, 2], [6, 8, 2], [8, 10, 2]], np.int32)},
        "a step goes back to rows that are gone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unsound_bands_are_refused(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(ModelFileError, match=message):
        Band(LOWEST_ISA).together(**changes).plan()


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("map", {"operands": np.zeros(0, np.int64)}),
        ("spatial", {"blocks": np.zeros(0, np.int64), "kind": "sum", "pixels": 1}),
    ],
)
def test_other_ops_make_no_band(op: str, fields: dict[str, Any]) -> None:
    program = Program(LOWEST_ISA)
    program.step("band", n_steps=2, strips=np.array([[1, 4, ROW]]), chunk=1)
    for _ in range(2):
        program.step(op, chunk_blocks=1, **fields)
    program.labels = ["band"]
    with pytest.raises(ModelFileError, match="a step of it is of an op that does not go by rows"):
        program.plan()


def test_a_band_in_a_band() -> None:
    program = Band(LOWEST_ISA).together()
    size = 1 + len(_simd.OPS["band"])
    program.steps[size] = CODES["band"]
    with pytest.raises(ModelFileError, match="its op is unknown"):
        program.plan()


@given(
    place=st.integers(0, 200),
    value=st.one_of(
        st.integers(-4, 20),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.builds(ref, st.integers(0, 9), st.integers(0, 2000).map(lambda n: 4 * n)),
    ),
)
@settings(max_examples=300)
def test_any_other_field_is_refused_or_harmless(place: int, value: int) -> None:
    """Runs what is not refused: sanitizers, and the guards around the output, see what it touches."""
    program = Band(LOWEST_ISA).together()
    program.steps[place % len(program.steps)] = value
    try:
        context = program.context()
    except (ModelFileError, MemoryError):
        return
    program.run(2, context)

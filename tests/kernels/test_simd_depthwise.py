"""Depthwise convolution on every ISA: kernel sizes, strides, dilations, borders and epilogues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_convolution import ACTIVATIONS, ALPHA, BETA, convolve
from tests.kernels.simd_program import Array, Program, each_isa, from_blocked, ref, to_blocked

FLOAT = 4


def depthwise(
    program: Program,
    chw: Array,
    weights: Array,
    bias: Array,
    /,
    out_hw: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    **fields: Any,
) -> None:
    """Append a depthwise convolution of an input into an output."""
    lanes = program.lanes
    channels, height, width = chw.shape
    n_blocks = -(-channels // lanes)
    x = program.input(to_blocked(chw, lanes))
    y = program.output((n_blocks, *out_hw, lanes))
    sizes = [height * width * lanes * FLOAT, out_hw[0] * out_hw[1] * lanes * FLOAT]
    defaults = {
        "blocks": np.array([[x + i * sizes[0], y + i * sizes[1]] for i in range(n_blocks)], np.int64),
        "n_blocks": n_blocks,
        "weights": to_blocked(weights[:, 0], lanes, pad=0.0),
        "bias": to_blocked(bias[:, None, None], lanes, pad=0.0),
        "kernel_h": weights.shape[2],
        "kernel_w": weights.shape[3],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "dilation_y": dilation[0],
        "dilation_x": dilation[1],
        "pad_top": pad[0],
        "pad_left": pad[1],
        "in_h": height,
        "in_w": width,
        "out_h": out_hw[0],
        "out_w": out_hw[1],
        "alpha": ALPHA,
        "beta": BETA,
        "chunk_blocks": n_blocks,
        "chunk_rows": out_hw[0],
    }
    program.step("depthwise", "the filter", **(defaults | fields))


def check(
    isa: str,
    channels: int,
    in_hw: tuple[int, int],
    kernel: tuple[int, int],
    out_hw: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    activation: str = "none",
    **fields: Any,
) -> None:
    rng = np.random.default_rng(0)
    chw = rng.uniform(-1, 1, (channels, *in_hw)).astype(np.float32)
    weights = rng.uniform(-1, 1, (channels, 1, *kernel)).astype(np.float32)
    bias = rng.uniform(-1, 1, channels).astype(np.float32)
    program = Program(isa)
    depthwise(program, chw, weights, bias, out_hw, stride, dilation, pad, activation=activation, **fields)
    y = from_blocked(program.run(threads=2)[0], channels)
    expected = ACTIVATIONS[activation](convolve(chw, weights, bias, out_hw, stride, dilation, pad))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6 * (kernel[0] * kernel[1]) ** 0.5)


@each_isa
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 9])
def test_sides_around_the_strips(isa: str, kernel: int, stride: int) -> None:
    pad = kernel // 2
    for size in range(1, 30):
        out = (size + 2 * pad - kernel) // stride + 1
        if out > 0:
            hw = (size, 31 - size)
            width = (hw[1] + 2 * pad - kernel) // stride + 1
            check(isa, 3, hw, (kernel, kernel), (out, width), (stride, stride), pad=(pad, pad))


@each_isa
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_channels_around_the_lanes(isa: str, blocks: int) -> None:
    lanes = _simd.lanes(isa)
    for channels in (blocks * lanes - 1, blocks * lanes, blocks * lanes + 1):
        check(isa, channels, (6, 7), (3, 3), (6, 7), pad=(1, 1))


CASES: dict[str, dict[str, Any]] = {
    "dilation": {"kernel": (3, 3), "dilation": (2, 2), "pad": (2, 2), "out_hw": (13, 17)},
    "dilation past the input": {"kernel": (3, 3), "dilation": (20, 20), "pad": (20, 20), "out_hw": (13, 17)},
    "dilation and stride": {
        "kernel": (5, 3),
        "dilation": (2, 3),
        "stride": (2, 2),
        "pad": (4, 3),
        "out_hw": (7, 9),
    },
    "oblong": {"kernel": (1, 5), "pad": (0, 2), "out_hw": (13, 17)},
    "tall": {"kernel": (7, 1), "pad": (3, 0), "out_hw": (13, 17)},
    "strides apart": {"kernel": (3, 3), "stride": (1, 2), "pad": (1, 1), "out_hw": (13, 9)},
    "padded below": {"kernel": (3, 3), "stride": (2, 2), "out_hw": (7, 9)},
    "no padding": {"kernel": (3, 3), "out_hw": (11, 15)},
    "padding only": {"kernel": (2, 2), "pad": (6, 6), "out_hw": (24, 28)},
    "whole": {"kernel": (13, 17), "out_hw": (1, 1)},
    "crop": {"kernel": (3, 3), "pad": (-2, -3), "out_hw": (9, 12)},
}


@each_isa
@pytest.mark.parametrize("case", CASES)
def test_windows(isa: str, case: str) -> None:
    check(isa, 5, (13, 17), **CASES[case])


@each_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(isa: str, activation: str) -> None:
    check(isa, 9, (11, 12), (3, 3), (11, 12), pad=(1, 1), activation=activation)


@each_isa
@given(data=st.data())
def test_any_window(isa: str, data: st.DataObject) -> None:
    def pair(least: int, most: int) -> tuple[int, int]:
        side = st.integers(least, most)
        return data.draw(st.tuples(side, side))

    out_hw, channels = pair(1, 24), data.draw(st.integers(1, 40))
    check(
        isa,
        channels,
        pair(1, 24),
        pair(1, 8),
        out_hw,
        pair(1, 4),
        pair(1, 3),
        pair(-2, 5),
        chunk_rows=data.draw(st.integers(1, out_hw[0])),
        chunk_blocks=data.draw(st.integers(1, -(-channels // _simd.lanes(isa)))),
    )


@each_isa
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_bits_do_not_depend_on_chunks(isa: str, kernel: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    channels = 3 * _simd.lanes(isa)
    chw = rng.uniform(-1, 1, (channels, 23, 21)).astype(np.float32)
    weights = rng.uniform(-1, 1, (channels, 1, kernel, kernel)).astype(np.float32)
    results = set()
    for chunk_rows, chunk_blocks in [(10, 3), (10, 1), (1, 2), (3, 3)]:
        program = Program(isa)
        depthwise(
            program,
            chw,
            weights,
            np.ones(channels, np.float32),
            (10, 10),
            (stride, stride),
            pad=(1, 1),
            activation="silu",
            chunk_rows=chunk_rows,
            chunk_blocks=chunk_blocks,
        )
        results.add(program.run(threads=2)[0].tobytes())
    assert len(results) == 1


FAULTS: dict[str, dict[str, Any]] = {
    "no blocks": {"n_blocks": 0},
    "more blocks than there are": {"n_blocks": 1 << 20},
    "blocks in an input": {"blocks": ref(4)},
    "a block outside": {"blocks": np.array([[ref(4), ref(5)], [ref(4, 1 << 30), ref(5)]])},
    "a block in no slot": {"blocks": np.array([[ref(4), ref(5)], [ref(4), -1]])},
    "y in an input": {"blocks": np.array([[ref(4), ref(4)], [ref(4), ref(5)]])},
    "an unknown activation": {"activation": 17},
    "an endless kernel": {"kernel_w": 1 << 40},
    "no kernel": {"kernel_h": 0},
    "more weights than there are": {"kernel_h": 1 << 19},
    "no stride": {"stride_x": 0},
    "a negative dilation": {"dilation_y": -1},
    "a stride past all bounds": {"stride_y": 1 << 62},
    "a padding past all bounds": {"pad_top": -(1 << 63)},
    "a taller input": {"in_h": 1 << 18},
    "a wider output": {"out_w": 1 << 18},
    "sides past all bounds": {"in_h": 1 << 40, "in_w": 1 << 40},
    "outputs far outside": {"stride_y": 1 << 20, "out_h": 1 << 20},
    "a bias outside": {"bias": ref(1, 1 << 30)},
    "weights outside": {"weights": ref(3)},
    "empty chunks of blocks": {"chunk_blocks": 0},
    "empty chunks of rows": {"chunk_rows": 0},
    "chunks of more rows than there are": {"chunk_rows": 8},
}


@each_isa
@pytest.mark.parametrize("fault", FAULTS)
def test_unsound_steps_are_refused(isa: str, fault: str) -> None:
    channels = _simd.lanes(isa) + 1
    chw = np.ones((channels, 7, 6), np.float32)
    weights = np.ones((channels, 1, 3, 3), np.float32)
    for changes in ({}, FAULTS[fault]):
        program = Program(isa)
        bias = np.ones(channels, np.float32)
        depthwise(program, chw, weights, bias, (7, 6), pad=(1, 1), **changes)
        if not changes:
            program.plan()
    with pytest.raises(ModelFileError, match="the filter"):
        program.plan()

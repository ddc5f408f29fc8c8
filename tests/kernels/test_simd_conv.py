"""Convolution tiles on every ISA: each shape of tile, each way to read the input, each epilogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_convolution import ACTIVATIONS, ALPHA, BETA, Float64, convolve
from tests.kernels.simd_program import Array, Program, each_isa, from_blocked, ref, to_blocked

FLOAT = 4


@dataclass
class Direct:
    """A convolution that reads x where it lies: x and y flat, weights of a tile (taps, blocks, lanes)."""

    x: Array
    weights: list[Array]
    offsets: list[Array]
    pixels: int
    x_pixel: int
    runs: int = 1
    x_run: int = 0
    x_first: int = 0
    y_gap: int = 0  # floats between a pixel's lanes and the next one's
    run_gap: int = 0
    residual: Array | None = None
    activation: str = "none"
    chunks: dict[str, int] = field(default_factory=dict)
    bias: Array = field(init=False)

    def __post_init__(self) -> None:
        self.lanes = self.weights[0].shape[2]
        self.blocks = sum(w.shape[1] for w in self.weights)
        self.bias = np.linspace(-1, 1, self.blocks * self.lanes, dtype=np.float32)
        self.y_pixel = self.lanes + self.y_gap
        self.y_run = self.pixels * self.y_pixel + self.run_gap
        self.y_block = self.runs * self.y_run
        self.y_floats = self.blocks * self.y_block

    def expected(self) -> Float64:
        """float64 (blocks, runs, pixels, lanes)."""
        places = self.x_first + np.add.outer(
            np.arange(self.runs) * self.x_run, np.arange(self.pixels) * self.x_pixel
        )
        parts = [
            np.einsum("rpk,kbl->brpl", self.x.astype(np.float64)[places[..., None] + o], w.astype(np.float64))
            for w, o in zip(self.weights, self.offsets, strict=True)
        ]
        y = np.concatenate(parts) + self.bias.reshape(self.blocks, 1, 1, self.lanes)
        if self.residual is not None:
            y = y + self.view(self.residual)
        return ACTIVATIONS[self.activation](y)

    def view(self, y: Array) -> Array:
        """The lanes of every pixel: (blocks, runs, pixels, lanes)."""
        strides = [n * y.itemsize for n in (self.y_block, self.y_run, self.y_pixel, 1)]
        shape = (self.blocks, self.runs, self.pixels, self.lanes)
        return np.lib.stride_tricks.as_strided(y, shape, strides)

    def fields(self, program: Program) -> dict[str, Any]:
        tiles, first_offset, first_weight = [], 0, 0
        for w in self.weights:
            taps, blocks, lanes = w.shape
            tiles.append([blocks, taps, first_offset, first_weight])
            first_offset += taps
            first_weight += taps * blocks * lanes
        fields: dict[str, Any] = {
            "x": program.input(self.x) + self.x_first * FLOAT,
            "weights": np.concatenate([w.reshape(-1) for w in self.weights]).astype(np.float32),
            "bias": self.bias,
            "residual": 0 if self.residual is None else program.input(self.residual),
            "tiles": np.array(tiles, np.int64),
            "n_tiles": len(tiles),
            "offsets": np.concatenate(self.offsets).astype(np.int32),
            "n_offsets": first_offset,
            "pixels": self.pixels,
            "runs": self.runs,
            "x_pixel": self.x_pixel,
            "x_run": self.x_run,
            "y_pixel": self.y_pixel,
            "y_run": self.y_run,
            "y_block": self.y_block,
            "activation": self.activation,
            "alpha": ALPHA,
            "beta": BETA,
            "chunk_runs": self.runs,
            "chunk_pixels": self.pixels,
            "chunk_tiles": len(tiles),
        }
        fields["y"] = program.output((self.y_floats,))
        return fields | self.chunks

    def run(self, isa: str, threads: int = 1, **changes: Any) -> Array:
        program = Program(isa)
        program.step("conv", **(self.fields(program) | changes))
        return program.run(threads)[0]

    def check(self, isa: str) -> None:
        y, expected = self.run(isa), self.expected()
        taps = max(len(o) for o in self.offsets)
        np.testing.assert_allclose(self.view(y), expected, rtol=1e-5, atol=2e-6 * max(taps, 1) ** 0.5)
        written = np.zeros(len(y), bool)
        self.view(written)[...] = True
        assert np.isnan(y[~written]).all(), "a float between the outputs was written"


def random_direct(
    lanes: int, blocks: list[int], taps: list[int], pixels: int, x_pixel: int, seed: int = 0, **options: Any
) -> Direct:
    rng = np.random.default_rng(seed)
    runs, x_run = options.get("runs", 1), options.get("x_run", 0)
    reach = (pixels - 1) * x_pixel + (runs - 1) * x_run
    x = rng.uniform(-1, 1, reach + 200).astype(np.float32)
    weights = [
        rng.uniform(-1, 1, (t, b, lanes)).astype(np.float32) for b, t in zip(blocks, taps, strict=True)
    ]
    first = options.setdefault("x_first", 0)
    offsets = [rng.integers(-first, 200 - first, t) for t in taps]
    return Direct(x, weights, offsets, pixels, x_pixel, **options)


@each_isa
@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
@pytest.mark.parametrize("distance", ["lanes", "2 lanes", 1, 2, 0, 3, 37])
def test_every_tile(isa: str, blocks: int, distance: int | str) -> None:
    lanes = _simd.lanes(isa)
    x_pixel = {"lanes": lanes, "2 lanes": 2 * lanes}.get(str(distance), distance)
    for pixels in [*range(1, 31), 57, 169]:
        random_direct(lanes, [blocks], [5], pixels, int(x_pixel), seed=pixels).check(isa)


@each_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("has_residual", [False, True], ids=["", "residual"])
def test_epilogues(isa: str, activation: str, has_residual: bool) -> None:
    lanes = _simd.lanes(isa)
    conv = random_direct(lanes, [3, 2], [4, 6], 11, lanes, activation=activation, y_gap=3)
    if has_residual:
        conv.residual = np.random.default_rng(5).uniform(-2, 2, conv.y_floats).astype(np.float32)
    conv.check(isa)


@each_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_no_number_stays(isa: str, activation: str) -> None:
    lanes = _simd.lanes(isa)
    conv = random_direct(lanes, [1], [1], 3, 1, activation=activation)
    conv.x[:] = np.nan
    assert np.isnan(conv.view(conv.run(isa))).all()


@each_isa
def test_tiles_have_offsets_of_their_own(isa: str) -> None:
    # As a grouped or pruned convolution has; one tile may have no tap left.
    lanes = _simd.lanes(isa)
    random_direct(lanes, [2, 1, 4, 3], [3, 0, 17, 1], 23, lanes, activation="relu").check(isa)


@each_isa
@pytest.mark.parametrize("pixels", [1, 7, 13, 16])
@pytest.mark.parametrize("chunk_runs", [1, 3, 5])
def test_runs_are_tiled_alone(isa: str, pixels: int, chunk_runs: int) -> None:
    lanes = _simd.lanes(isa)
    random_direct(
        lanes,
        [2, 1],
        [6, 6],
        pixels,
        2 * lanes,
        runs=5,
        x_run=40 * lanes,
        run_gap=lanes,
        chunks={"chunk_runs": chunk_runs, "chunk_tiles": 1},
    ).check(isa)


@each_isa
def test_offsets_may_point_back(isa: str) -> None:
    lanes = _simd.lanes(isa)
    random_direct(lanes, [2], [40], 9, 3, x_first=150).check(isa)


@each_isa
@pytest.mark.parametrize("activation", ["none", "relu", "silu"])
def test_many_taps_are_taken_in_slices(isa: str, activation: str) -> None:
    lanes = _simd.lanes(isa)
    taps = (600 << 10) // (4 * lanes * FLOAT)
    conv = random_direct(lanes, [4, 1], [taps, taps], 17, lanes, activation=activation)
    conv.residual = np.random.default_rng(5).uniform(-2, 2, conv.y_floats).astype(np.float32)
    for w in conv.weights:
        w *= 0.05
    conv.check(isa)
    # One pixel after the other they are not.
    alone = conv.run(isa, chunk_pixels=1)
    assert conv.view(alone).tobytes() == conv.view(conv.run(isa)).tobytes()


@each_isa
def test_bits_do_not_depend_on_chunks_or_threads(isa: str) -> None:
    lanes = _simd.lanes(isa)
    for runs in (1, 6):
        conv = random_direct(
            lanes, [4, 2, 1], [9, 9, 9], 53, lanes, activation="silu", runs=runs, x_run=60 * lanes
        )
        reference = conv.view(conv.run(isa)).tobytes()
        for chunks in (
            {"chunk_pixels": 8, "chunk_runs": 1},
            {"chunk_pixels": 1, "chunk_tiles": 2},
            {"chunk_tiles": 1, "chunk_runs": min(runs, 4)},
        ):
            assert conv.view(conv.run(isa, threads=2, **chunks)).tobytes() == reference


@each_isa
def test_the_residual_may_be_y(isa: str) -> None:
    lanes = _simd.lanes(isa)
    taps = (600 << 10) // (4 * lanes * FLOAT)
    for n in (5, taps):
        conv = random_direct(lanes, [4], [n], 19, lanes)
        conv.residual = np.random.default_rng(5).uniform(-2, 2, conv.y_floats).astype(np.float32)
        program = Program(isa)
        fields = conv.fields(program)
        place = program.arena(conv.y_floats * FLOAT)
        copied = {"size": FLOAT, "rank": 1, "strides": np.array([1, 1]), "chunk_outer": conv.y_floats}
        copied["shape"] = np.array([conv.y_floats])
        program.step("copy", x=fields["residual"], y=place, **copied)
        program.step("conv", **(fields | {"residual": place, "y": place}))
        program.step("copy", x=place, y=fields["y"], **copied)
        apart = conv.run(isa)
        assert conv.view(program.run()[0]).tobytes() == conv.view(apart).tobytes()


def window_fields(
    program: Program,
    chw: Array,
    weights: Array,
    out_hw: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int],
    is_planar: bool,
    chunk_runs: int,
    most_blocks: int = 4,
    inner: tuple[range, range] | None = None,
) -> dict[str, Any]:
    """A dense convolution through a window: all of the step but y.

    inner: rows and columns of outputs that read the planes themselves.
    """
    lanes = program.lanes
    channels, height, width = chw.shape
    outputs, _, kernel_h, kernel_w = weights.shape
    plane_lanes = 1 if is_planar else lanes
    x = program.input(chw if is_planar else to_blocked(chw, lanes))
    extent = (kernel_h - 1) * dilation[0] + 1
    window_w = (out_hw[1] - 1) * stride[1] + (kernel_w - 1) * dilation[1] + 1
    window_rows = (chunk_runs - 1) * stride[0] + extent
    offsets = [
        ((c // plane_lanes * window_rows + ky * dilation[0]) * window_w + kx * dilation[1]) * plane_lanes
        + c % plane_lanes
        for ky in range(kernel_h)
        for kx in range(kernel_w)
        for c in range(channels)
    ]
    blocks = -(-outputs // lanes)
    padded = np.zeros((blocks * lanes, *weights.shape[1:]), np.float32)
    padded[:outputs] = weights
    taps = padded.transpose(2, 3, 1, 0).reshape(len(offsets), blocks, lanes)
    tiles, packed, first_weight = [], [], 0
    for first in range(0, blocks, most_blocks):
        part = taps[:, first : first + most_blocks]
        tiles.append([part.shape[1], len(offsets), 0, first_weight])
        packed.append(part.reshape(-1))
        first_weight += part.size
    n_planes = -(-channels // plane_lanes)
    plane = height * width * plane_lanes * FLOAT
    rows, columns = inner or (range(0), range(0))
    corner = rows.start * stride[0] - pad[0], columns.start * stride[1] - pad[1]
    places = [
        ((c // plane_lanes * height + corner[0] + ky * dilation[0]) * width + corner[1] + kx * dilation[1])
        * plane_lanes
        + c % plane_lanes
        for ky in range(kernel_h)
        for kx in range(kernel_w)
        for c in range(channels)
    ]
    direct = {
        "x": x,
        "inner": np.array(places, np.int32),
        "inner_run": rows.start,
        "inner_runs": len(rows),
        "inner_pixel": columns.start,
        "inner_pixels": len(columns),
    }
    return (direct if inner else {}) | {
        "weights": np.concatenate(packed),
        "tiles": np.array(tiles, np.int64),
        "n_tiles": len(tiles),
        "offsets": np.array(offsets, np.int32),
        "n_offsets": len(offsets),
        "pixels": out_hw[1],
        "runs": out_hw[0],
        "x_pixel": stride[1] * plane_lanes,
        "x_run": stride[0] * window_w * plane_lanes,
        "y_pixel": lanes,
        "y_run": out_hw[1] * lanes,
        "y_block": out_hw[0] * out_hw[1] * lanes,
        "planes": np.array([x + i * plane for i in range(n_planes)], np.int64),
        "n_planes": n_planes,
        "plane_lanes": plane_lanes,
        "in_h": height,
        "in_w": width,
        "plane_row": width * plane_lanes,
        "pad_top": pad[0],
        "pad_left": pad[1],
        "window_w": window_w,
        "stride_y": stride[0],
        "extent_y": extent,
        "chunk_runs": chunk_runs,
        "chunk_pixels": out_hw[1],
        "chunk_tiles": len(tiles),
    }


def needs_no_padding(outputs: int, stride: int, pad: int, taps: int, dilation: int, size: int) -> range:
    """The outputs along an axis all of whose taps lie in the input."""
    found = [
        i for i in range(outputs) if i * stride >= pad and i * stride - pad + (taps - 1) * dilation < size
    ]
    return range(found[0], found[-1] + 1) if found else range(0)


def check_window(
    isa: str,
    channels: int,
    outputs: int,
    in_hw: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int],
    out_hw: tuple[int, int],
    is_planar: bool,
    chunk_runs: int,
    chunk_tiles: int = 1,
    seed: int = 0,
) -> None:
    """With all of it gathered, and with as much as can be read from the planes: the same bits."""
    rng = np.random.default_rng(seed)
    chw = rng.uniform(-1, 1, (channels, *in_hw)).astype(np.float32)
    weights = rng.uniform(-1, 1, (outputs, channels, *kernel)).astype(np.float32)
    bias = rng.uniform(-1, 1, outputs).astype(np.float32)
    inside = tuple(
        needs_no_padding(*of_axis)
        for of_axis in zip(out_hw, stride, pad, kernel, dilation, in_hw, strict=True)
    )
    results = []
    for inner in (None, inside) if inside[0] and inside[1] else (None,):
        program = Program(isa)
        size = min(chunk_runs, out_hw[0])
        fields = window_fields(
            program, chw, weights, out_hw, stride, dilation, pad, is_planar, size, inner=inner
        )
        lanes = program.lanes
        blocks = -(-outputs // lanes)
        fields["bias"] = np.pad(bias, (0, blocks * lanes - outputs))
        fields["chunk_tiles"] = min(chunk_tiles, fields["n_tiles"])
        program.step("conv", y=program.output((blocks, *out_hw, lanes)), **fields)
        results.append(program.run(threads=2)[0])
    expected = convolve(chw, weights, bias, out_hw, stride, dilation, pad)
    taps = channels * kernel[0] * kernel[1]
    tolerance = {"rtol": 1e-5, "atol": 2e-6 * taps**0.5}
    np.testing.assert_allclose(from_blocked(results[0], outputs), expected, **tolerance)
    assert results[-1].tobytes() == results[0].tobytes()


WINDOWS = {
    "3x3": {"kernel": (3, 3), "pad": (1, 1), "out_hw": (9, 11)},
    "3x3-stride-2": {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "out_hw": (5, 6)},
    "3x3-pad-below": {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 0), "out_hw": (5, 6)},
    "3x3-dilation-3": {"kernel": (3, 3), "dilation": (3, 3), "pad": (3, 3), "out_hw": (9, 11)},
    "1x7": {"kernel": (1, 7), "pad": (0, 3), "out_hw": (9, 11)},
    "5x2": {"kernel": (5, 2), "stride": (1, 3), "pad": (2, 1), "out_hw": (9, 4)},
    "6x6-stride-2": {"kernel": (6, 6), "stride": (2, 2), "pad": (2, 2), "out_hw": (5, 6)},
    "11x11-stride-4": {"kernel": (11, 11), "stride": (4, 4), "pad": (5, 5), "out_hw": (3, 3)},
    "2x2-pad-5": {"kernel": (2, 2), "pad": (5, 5), "out_hw": (18, 20)},
    "crop": {"kernel": (3, 3), "pad": (-2, -3), "out_hw": (5, 6)},
}


@each_isa
@pytest.mark.parametrize("is_planar", [False, True], ids=["blocked", "planar"])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(isa: str, name: str, is_planar: bool) -> None:
    case: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1)} | WINDOWS[name]
    lanes = _simd.lanes(isa)
    for channels, outputs, chunk_runs in [(3, lanes + 1, 1), (lanes, 4 * lanes, 4), (lanes + 2, 5, 99)]:
        check_window(isa, channels, outputs, (9, 11), is_planar=is_planar, chunk_runs=chunk_runs, **case)


@each_isa
@given(data=st.data())
def test_any_window(isa: str, data: st.DataObject) -> None:
    def pair(least: int, most: int) -> tuple[int, int]:
        side = st.integers(least, most)
        return data.draw(st.tuples(side, side))

    kernel, stride, dilation, in_hw, pad = pair(1, 4), pair(1, 3), pair(1, 3), pair(1, 12), pair(0, 4)
    check_window(
        isa,
        data.draw(st.integers(1, 20)),
        data.draw(st.integers(1, 70)),
        in_hw,
        kernel,
        stride,
        dilation,
        pad,
        pair(1, 12),
        data.draw(st.booleans()),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(0, 99)),
    )


@each_isa
def test_rows_of_a_matrix_are_pixels(isa: str) -> None:
    lanes = _simd.lanes(isa)
    rng = np.random.default_rng(0)
    for rows, inner, columns in [(1, 100, 33), (5, 3, lanes), (31, lanes + 1, 4 * lanes + 1)]:
        a = rng.uniform(-1, 1, (rows, inner)).astype(np.float32)
        b = rng.uniform(-1, 1, (inner, columns)).astype(np.float32)
        blocks = -(-columns // lanes)
        padded = np.pad(b, ((0, 0), (0, blocks * lanes - columns))).reshape(inner, blocks, lanes)
        program = Program(isa)
        fields = Direct(a.reshape(-1), [padded[:, i : i + 1] for i in range(blocks)], [], rows, inner)
        fields.offsets = [np.arange(inner)] * blocks
        fields.bias[:] = 0
        step = fields.fields(program) | {"y_pixel": blocks * lanes, "y_block": lanes, "y_run": 0}
        step["y"] = program.output((rows, blocks * lanes))
        program.step("conv", **step)
        np.testing.assert_allclose(program.run()[1][:, :columns], a @ b, rtol=1e-5, atol=1e-5)


DIRECT_FAULTS: dict[str, dict[str, Any]] = {
    "no pixels": {"pixels": 0},
    "no runs": {"runs": 0},
    "negative pixels": {"pixels": -1},
    "no tiles": {"n_tiles": 0},
    "more tiles than there are": {"n_tiles": 1 << 20},
    "fewer offsets than tiles take": {"n_offsets": 3},
    "more offsets than there are": {"n_offsets": 1 << 29},
    "an unknown activation": {"activation": 17},
    "a negative activation": {"activation": -1},
    "pixels past x": {"x_pixel": 1 << 20},
    "pixels before x": {"x_pixel": -1},
    "runs past x": {"x_run": 1 << 40},
    "a product past int64": {"x_pixel": (1 << 63) - 1},
    "y in an input": {"y": ref(4)},
    "y in the constants": {"y": ref(1)},
    "y nowhere": {"y": 0},
    "pixels past y": {"y_pixel": 1 << 20},
    "runs past y": {"y_run": 1 << 40},
    "blocks past y": {"y_block": 1 << 60},
    "pixels that overlap": {"y_pixel": 1},
    "runs that overlap": {"y_run": 1},
    "blocks that overlap": {"y_block": 0},
    "empty chunks of runs": {"chunk_runs": 0},
    "empty chunks of pixels": {"chunk_pixels": 0},
    "empty chunks of tiles": {"chunk_tiles": 0},
    "chunks of more runs than there are": {"chunk_runs": 4},
    "a bias outside": {"bias": ref(1, 1 << 30)},
    "a bias in no slot": {"bias": ref(99)},
    "weights outside": {"weights": ref(1, 1 << 30)},
    "weights off a float": {"weights": ref(1, 1)},
    "a residual outside": {"residual": ref(4, 1 << 20)},
    "tiles in an input": {"tiles": ref(4)},
    "offsets in an input": {"offsets": ref(4)},
    "no x": {"x": 0},
    "a negative x": {"x": -64},
    "x at the end": {"x": ref(4, 1 << 40)},
    "an offset past x": {"offsets": np.full(8, 1 << 30, np.int32)},
    "an offset before x": {"offsets": np.full(8, -1, np.int32)},
    "an offset far before x": {"offsets": np.full(8, -(1 << 31), np.int32)},
    "a tile of no blocks": {"tiles": np.array([[0, 4, 0, 0], [1, 4, 4, 0]])},
    "a tile of 5 blocks": {"tiles": np.array([[5, 4, 0, 0], [1, 4, 4, 0]])},
    "a tile of negative taps": {"tiles": np.array([[2, -1, 0, 0], [1, 4, 4, 0]])},
    "a tile past the offsets": {"tiles": np.array([[2, 4, 5, 0], [1, 4, 4, 0]])},
    "a tile before the offsets": {"tiles": np.array([[2, 4, -1, 0], [1, 4, 4, 0]])},
    "a tile before the weights": {"tiles": np.array([[2, 4, 0, -1], [1, 4, 4, 0]])},
    "a tile past the weights": {"tiles": np.array([[2, 4, 0, 0], [1, 4, 4, 1 << 40]])},
    "a tile past int64": {"tiles": np.array([[2, 4, 0, (1 << 63) - 1], [1, 4, 4, 0]])},
}


@each_isa
@pytest.mark.parametrize("fault", DIRECT_FAULTS)
def test_unsound_steps_are_refused(isa: str, fault: str) -> None:
    lanes = _simd.lanes(isa)
    conv = random_direct(lanes, [2, 1], [4, 4], 9, lanes, runs=3, x_run=100)
    program = Program(isa)
    program.step("conv", **conv.fields(program))
    program.plan()
    program = Program(isa)
    program.step("conv", "the stem", **(conv.fields(program) | DIRECT_FAULTS[fault]))
    with pytest.raises(ModelFileError, match="the stem"):
        program.plan()


WINDOW_FAULTS: dict[str, dict[str, Any]] = {
    "too few planes": {"n_planes": 1},
    "too many planes": {"n_planes": 1 << 28},
    "negative planes": {"n_planes": -1},
    "planes of other lanes": {"plane_lanes": 3},
    "planes in an input": {"planes": ref(4)},
    "a plane outside": {"planes": np.array([ref(4), ref(4, 1 << 30)])},
    "a taller plane": {"in_h": 10},
    "a wider plane": {"in_w": 12},
    "rows farther apart": {"plane_row": 1 << 61},
    "negative rows": {"plane_row": -1},
    "a negative plane": {"in_h": -1},
    "padding past all bounds": {"pad_left": 1 << 62},
    "a narrower window": {"window_w": 4},
    "an endless window": {"window_w": 1 << 62},
    "no window": {"window_w": 0},
    "a lower window": {"extent_y": 1},
    "a stride past all bounds": {"stride_y": 1 << 62},
    "a negative stride": {"stride_y": -1},
    "pixels past the window": {"x_pixel": 1 << 20},
    "runs past the window": {"x_run": 1 << 20},
    "a place before the window": {"x_run": -1},
    "more runs a chunk": {"chunk_runs": 10},
}


INNER_FAULTS: dict[str, dict[str, Any]] = {
    "runs that there are not": {"inner_runs": 9},
    "pixels that there are not": {"inner_pixels": 11},
    "runs before the first one": {"inner_run": -1},
    "a negative pixel": {"inner_pixel": -1},
    "no runs of pixels": {"inner_runs": 0},
    "runs past int64": {"inner_runs": (1 << 63) - 1},
    "offsets in an input": {"inner": ref(4)},
    "no x": {"x": 0},
    "x at the end": {"x": ref(4, 1 << 40)},
    "an offset past x": {"inner": np.full(1000, 1 << 30, np.int32)},
    "an offset before x": {"inner": np.full(1000, -1, np.int32)},
}


@each_isa
@pytest.mark.parametrize("fault", INNER_FAULTS)
def test_unsound_inner_outputs_are_refused(isa: str, fault: str) -> None:
    check_refused(isa, INNER_FAULTS[fault], (range(1, 8), range(1, 10)))


@each_isa
@pytest.mark.parametrize("fault", WINDOW_FAULTS)
def test_unsound_windows_are_refused(isa: str, fault: str) -> None:
    check_refused(isa, WINDOW_FAULTS[fault], None)


def check_refused(isa: str, fault: dict[str, Any], inner: tuple[range, range] | None) -> None:
    rng = np.random.default_rng(0)
    lanes = _simd.lanes(isa)
    chw = rng.uniform(-1, 1, (lanes + 1, 9, 11)).astype(np.float32)
    weights = rng.uniform(-1, 1, (5, lanes + 1, 3, 3)).astype(np.float32)
    for changes in ({}, fault):
        program = Program(isa)
        fields = window_fields(program, chw, weights, (9, 11), (1, 1), (1, 1), (1, 1), False, 3, inner=inner)
        fields["bias"] = np.zeros(2 * lanes, np.float32)
        fields["y"] = program.output((-(-5 // lanes), 9, 11, lanes))
        program.step("conv", "the stem", **(fields | changes))
        if not changes:
            program.plan()
    with pytest.raises(ModelFileError, match="the stem"):
        program.plan()

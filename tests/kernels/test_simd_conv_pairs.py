"""Convolution tiles whose taps go in pairs: the same as of the same taps one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_convolution import ACTIVATIONS
from tests.kernels.simd_program import Array, Program, isas
from tests.kernels.test_simd_conv import Direct, random_direct

LANES = 16
paired_isa = pytest.mark.parametrize("isa", [isa for isa in isas() if isa.values == ("avx512",)])
other_isa = pytest.mark.parametrize("isa", [isa for isa in isas() if isa.values != ("avx512",)])


def with_neighbors(halves: list[int], pairs: list[int], pixels: int, x_pixel: int, **options: Any) -> Direct:
    """A convolution of so many halves of blocks, whose every second tap lies right behind the one before."""
    conv = random_direct(
        LANES, [-(-n // 2) for n in halves], [2 * n for n in pairs], pixels, x_pixel, **options
    )
    conv.x = np.append(conv.x, np.float32(0.5))
    for w, offsets, n in zip(conv.weights, conv.offsets, halves, strict=True):
        offsets[1::2] = offsets[::2] + 1
        if n % 2:
            w[:, -1, LANES // 2 :] = 0
    first = 0
    for n in halves:
        first += -(-n // 2)
        if n % 2:
            conv.bias[first * LANES - LANES // 2 : first * LANES] = 0
    return conv


def in_pairs(conv: Direct, halves: list[int]) -> dict[str, Any]:
    """The fields that differ where its taps go in pairs."""
    weights, biases, tiles = [], [], []
    first_weight = first_offset = first_block = 0
    for w, n in zip(conv.weights, halves, strict=True):
        taps, blocks, _ = w.shape
        split = w.reshape(taps // 2, 2, 2 * blocks, LANES // 2).transpose(0, 2, 3, 1)[:, :n]
        bias = conv.bias[first_block * LANES : (first_block + blocks) * LANES].reshape(2 * blocks, -1, 1)[:n]
        tiles.append([n, taps // 2, first_offset, first_weight])
        weights.append(split.reshape(-1))
        biases.append(np.concatenate([bias, np.zeros_like(bias)], 2).reshape(-1))
        first_weight += split.size
        first_offset += taps // 2
        first_block += blocks
    return {
        "paired": 1,
        "weights": np.concatenate(weights),
        "bias": np.concatenate(biases),
        "tiles": np.array(tiles, np.int64),
        "offsets": np.concatenate([o[::2] for o in conv.offsets]).astype(np.int32),
        "n_offsets": first_offset,
    }


def check(isa: str, conv: Direct, halves: list[int], threads: int = 1, **chunks: int) -> Array:
    program = Program(isa)
    program.step("conv", **(conv.fields(program) | in_pairs(conv, halves) | chunks))
    y = program.run(threads)[0]
    taps = max(len(o) for o in conv.offsets)
    np.testing.assert_allclose(conv.view(y), conv.expected(), rtol=1e-5, atol=2e-6 * taps**0.5)
    written = np.zeros(len(y), bool)
    conv.view(written)[...] = True
    assert np.isnan(y[~written]).all(), "a float between the outputs was written"
    return y


@paired_isa
@pytest.mark.parametrize("halves", [1, 2, 3, 4])
@pytest.mark.parametrize("x_pixel", [LANES, 2 * LANES, 2, 37])
def test_every_tile(isa: str, halves: int, x_pixel: int) -> None:
    for pixels in [*range(1, 31), 57, 169]:
        check(isa, with_neighbors([halves], [5], pixels, x_pixel, seed=pixels), [halves])


@paired_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("has_residual", [False, True], ids=["", "residual"])
def test_epilogues(isa: str, activation: str, has_residual: bool) -> None:
    conv = with_neighbors([4, 3], [4, 6], 11, LANES, activation=activation, y_gap=3)
    if has_residual:
        conv.residual = np.random.default_rng(5).uniform(-2, 2, conv.y_floats).astype(np.float32)
    check(isa, conv, [4, 3])


@paired_isa
@given(data=st.data())
def test_any_tiles(isa: str, data: st.DataObject) -> None:
    """An odd number of halves leaves half of a tile's last block empty, wherever the tile is."""
    halves = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    pairs = data.draw(st.lists(st.integers(0, 9), min_size=len(halves), max_size=len(halves)))
    pixels, runs = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    conv = with_neighbors(halves, pairs, pixels, LANES, runs=runs, x_run=50 * LANES)
    y = check(isa, conv, halves)
    cut = {"chunk_tiles": 1, "chunk_runs": 1, "chunk_pixels": data.draw(st.integers(1, pixels))}
    assert conv.view(check(isa, conv, halves, 2, **cut)).tobytes() == conv.view(y).tobytes()


FAULTS: dict[str, dict[str, Any]] = {
    "triples": {"paired": 2},
    "the second tap of a pair past x": {"offsets": np.full(4, 200, np.int32)},
    "fewer weights than a pair has": {"tiles": np.array([[4, 4, 0, 1 << 40]])},
}


@paired_isa
@pytest.mark.parametrize("fault", FAULTS)
def test_unsound_steps_are_refused(isa: str, fault: str) -> None:
    conv = with_neighbors([4], [4], 9, LANES)
    # The last of x is the second one of a pair.
    conv.offsets[0][-2:] = [199, 200]
    conv.x = conv.x[: 8 * LANES + 201]
    program = Program(isa)
    program.step("conv", **(conv.fields(program) | in_pairs(conv, [4])))
    program.plan()
    program = Program(isa)
    program.step("conv", "the stem", **(conv.fields(program) | in_pairs(conv, [4]) | FAULTS[fault]))
    with pytest.raises(ModelFileError, match="the stem"):
        program.plan()


@other_isa
def test_narrow_vectors_take_no_pairs(isa: str) -> None:
    conv = random_direct(_simd.lanes(isa), [1], [4], 9, 8)
    program = Program(isa)
    program.step("conv", "the stem", **(conv.fields(program) | {"paired": 1}))
    with pytest.raises(ModelFileError, match="no kernels"):
        program.plan()

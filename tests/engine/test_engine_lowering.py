"""Small graphs whose channels, pixels and pieces lie in ways easily got wrong, or copied for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.lower.base import Lowering
from edgecv.engine.program import Program
from tests.engine.one_node import random, run, steps
from tests.engine.written import check, network

Array = NDArray[np.float32]


def copies(compiled: Compiled) -> int:
    """Steps that only move data."""
    return sum(op in ("copy", "planes") for op in steps(compiled))


# ---- Channels


@pytest.mark.parametrize("op", ["Mul", "Sub", "PRelu"])
def test_a_map_that_is_listed_twice_takes_two_operands(op: str) -> None:
    model = network(
        "(float[1, 8, 3, 3] x) => (float[1, 16, 3, 3] y)"
        f" {{ c = Conv(x, w) d = Concat<axis = 1>(c, c) y = {op}(d, k) }}",
        w=random(8, 8, 1, 1),
        k=random(16, 1, 1),
    )
    check(model, {"x": random(1, 8, 3, 3)})


def test_a_map_that_is_listed_twice_has_two_filters() -> None:
    model = network(
        "(float[2, 8, 5, 3] x) => (float[2, 24, 5, 3] y)"
        " { c = Conv(x, w) d = Gather<axis = 1>(c, i) y = Conv<group = 24, pads = [1, 1, 1, 1]>(d, k) }",
        w=random(8, 8, 1, 1),
        i=np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1, 0, 0, 2, 4, 6, 1, 3, 5, 7]),
        k=random(24, 1, 3, 3),
    )
    check(model, {"x": random(2, 8, 5, 3)})


@pytest.mark.parametrize("isa", _isa.usable())
def test_a_result_takes_no_place_that_is_still_read(isa: str) -> None:
    """c - (c with its halves swapped): block by block, what the second reads is not yet written over."""
    n = 2 * _simd.lanes(isa)
    model = network(
        f"(float[1, {n}, 3, 3] x) => (float[1, {n}, 3, 3] y)"
        " { c = Conv(x, w) a, b = Split<axis = 1, num_outputs = 2>(c) d = Concat<axis = 1>(b, a)"
        " y = Sub(c, d) }",
        w=random(n, n, 1, 1),
    )
    check(model, {"x": random(1, n, 3, 3)})


@pytest.mark.parametrize("size", [1, 3])
def test_a_residual_that_is_the_input_too(size: int) -> None:
    model = network(
        "(float[2, 16, 5, 5] x) => (float[2, 16, 5, 5] y)"
        f" {{ c = Conv(x, w) d = Conv<pads = [{size // 2}, {size // 2}, {size // 2}, {size // 2}]>(c, v)"
        " e = Add(c, d) y = Relu(e) }",
        w=random(16, 16, 1, 1),
        v=random(16, 16, size, size),
    )
    check(model, {"x": random(2, 16, 5, 5)})


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_whose_channels_lie_elsewhere(batch: int) -> None:
    model = network(
        f"(float[{batch}, 24, 4, 3] x) => (float[{batch}, 29, 4, 3] y)"
        " { a = Conv(x, w) b = Concat<axis = 1>(a, x) c = Conv(b, v) y = Add(c, b) }",
        w=random(5, 24, 1, 1),
        v=random(29, 29, 1, 1),
    )
    check(model, {"x": random(batch, 24, 4, 3)})


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1), (1,), ()])
def test_one_value_that_the_run_tells(shape: tuple[int, ...]) -> None:
    model = network(
        f"(float[1, 1, 3, 4] x, float[{', '.join(map(str, shape))}] k) => (float[1, 1, 3, 4] y)"
        " { c = Conv(x, w) y = Mul(k, c) }",
        w=random(1, 1, 1, 1),
    )
    check(model, {"x": random(1, 1, 3, 4), "k": random(*shape)})


@pytest.mark.parametrize("shape", [(5, 1, 1), (2, 5, 1, 1), (2, 1, 1, 1), (3, 4), (1, 1, 3, 4)])
def test_operands_that_the_run_tells(shape: tuple[int, ...]) -> None:
    model = network(
        f"(float[2, 5, 3, 4] x, float[{', '.join(map(str, shape))}] k) => (float[2, 5, 3, 4] y)"
        " { c = Conv(x, w) y = Sub(c, k) }",
        w=random(5, 5, 1, 1),
    )
    check(model, {"x": random(2, 5, 3, 4), "k": random(*shape)})


# ---- Pixels


def test_phases_of_a_transposed_convolution_that_no_tap_reaches() -> None:
    model = network(
        "(float[1, 3, 4, 4] x) => (float[1, 9, 10, 10] y) { y = ConvTranspose<strides = [3, 3]>(x, w, b) }",
        w=random(3, 9, 1, 1),
        b=random(9),
    )
    check(model, {"x": random(1, 3, 4, 4)})


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_convolution_of_a_mirrored_image(axis: int, size: int) -> None:
    pads = ", ".join([str(size // 2)] * 4)
    model = network(
        "(float[2, 3, 6, 5] x) => (float[2, 7, 6, 5] y)"
        f" {{ m = Slice(x, first, end, axis, back) y = Conv<pads = [{pads}]>(m, w) }}",
        first=np.array([-1]),
        end=np.array([-100]),
        axis=np.array([axis]),
        back=np.array([-1]),
        w=random(7, 3, size, size),
    )
    check(model, {"x": random(2, 3, 6, 5)})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", ["Gemm(m, w, b)", "MatMul(m, w)"])
def test_a_product_of_mirrored_rows(axis: int, op: str) -> None:
    model = network(
        f"(float[6, 5] x) => (float[6, 9] y) {{ m = Slice(x, first, end, axis, back) y = {op} }}",
        first=np.array([-1]),
        end=np.array([-100]),
        axis=np.array([axis]),
        back=np.array([-1]),
        w=random(5, 9),
        b=random(9),
    )
    check(model, {"x": random(6, 5)})


CROPS = [(0, 4, 0, 4, 1), (1, 5, 2, 7, 1), (0, 6, 0, 7, 2), (3, 4, 6, 7, 1)]


@pytest.mark.parametrize(
    "reader",
    [
        "Conv(k, v)",
        "Conv<pads = [1, 1, 1, 1], group = 19>(k, u)",
        "MaxPool<kernel_shape = [1, 1]>(k)",
        "Mul(k, k)",
        "Add(k, bias)",
        "GlobalMaxPool(k)",
        "Softmax<axis = 3>(k)",
        "Identity(k)",
        "Reshape(k, flat)",
        "Transpose<perm = [0, 2, 3, 1]>(k)",
    ],
)
def test_a_window_of_an_image_is_read_where_it_is(reader: str) -> None:
    for top, bottom, left, right, step in CROPS:
        model = network(
            "(float[2, 3, 6, 7] x) => (float[i, j, k, l] y)"
            f" {{ c = Conv(x, w) k = Slice(c, first, end, axes, steps) y = {reader} }}",
            w=random(19, 3, 1, 1),
            v=random(4, 19, 1, 1),
            u=random(19, 1, 3, 3),
            bias=random(19, 1, 1),
            flat=np.array([2, 1, 19, -1]),
            first=np.array([top, left]),
            end=np.array([bottom, right]),
            axes=np.array([2, 3]),
            steps=np.array([step, step]),
        )
        check(model, {"x": random(2, 3, 6, 7)})


def test_a_crop_before_a_convolution_is_free() -> None:
    model = network(
        "(float[1, 3, 8, 8] x) => (float[1, 16, 4, 4] y)"
        " { c = Conv(x, w) k = Slice(c, first, end, axes) y = Conv(k, v) }",
        w=random(16, 3, 1, 1),
        v=random(16, 16, 1, 1),
        first=np.array([2, 2]),
        end=np.array([6, 6]),
        axes=np.array([2, 3]),
    )
    for program in check(model, {"x": random(1, 3, 8, 8)}).values():
        assert copies(program) == 1  # the output


@pytest.mark.parametrize(
    ("outputs", "size", "inner"), [(3, 64, (31, 31)), (100, 64, (0, 0)), (3, 20, (0, 0))]
)
def test_what_needs_no_padding_is_not_gathered(outputs: int, size: int, inner: tuple[int, int]) -> None:
    """Unless it costs little: of many outputs, or where rows are short."""
    model = network(
        f"(float[1, 5, {size}, {size}] x) => (float[1, {outputs}, {size // 2}, {size // 2}] y)"
        " { y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w) }",
        w=random(outputs, 5, 3, 3),
    )
    for program in check(model, {"x": random(1, 5, size, size)}).values():
        (conv,) = [step for step in program.steps if step.op == "conv"]
        assert (conv.fields["inner_runs"], conv.fields["inner_pixels"]) == inner


# ---- Taps in pairs

INTERLEAVED = np.arange(32).reshape(2, 16).T.reshape(-1)


@pytest.mark.parametrize(
    ("inputs", "outputs", "attributes", "kernel", "is_paired"),
    [
        (32, 16, "", (1, 1), True),
        (32, 24, "pads = [1, 1, 1, 1]", (3, 3), True),
        (30, 5, "strides = [2, 2]", (3, 2), True),
        (32, 25, "", (1, 1), False),
        (31, 16, "", (1, 1), False),
        (32, 16, "group = 2", (1, 1), False),
        (8, 16, "", (1, 1), False),
    ],
    ids=["point", "window", "odd", "many outputs", "a channel alone", "groups", "few taps"],
)
def test_of_few_outputs_channels_go_in_pairs(
    inputs: int, outputs: int, attributes: str, kernel: tuple[int, int], is_paired: bool
) -> None:
    group = 2 if "group" in attributes else 1
    model = network(
        "(float[2, 3, 9, 11] x) => (float[n, c, h, w] y)"
        f" {{ c = Conv(x, v) y = Conv<{attributes or 'group = 1'}>(c, k, b) }}",
        v=random(inputs, 3, 1, 1),
        k=random(outputs, inputs // group, *kernel),
        b=random(outputs),
    )
    for isa, program in check(model, {"x": random(2, 3, 9, 11)}).items():
        paired = {bool(step.fields["paired"]) for step in program.steps[-3:] if step.op == "conv"}
        assert paired == {is_paired and isa == "avx512"}


@pytest.mark.parametrize("width", [5, 6])
def test_columns_of_planes_go_in_pairs(width: int) -> None:
    model = network(
        "(float[1, 3, 80, 90] x) => (float[1, 5, h, w] y)"
        " { y = Conv<pads = [2, 2, 2, 2], strides = [2, 2]>(x, k) }",
        k=random(5, 3, 6, width),
    )
    for isa, program in check(model, {"x": random(1, 3, 80, 90)}).items():
        (conv,) = [step.fields for step in program.steps if step.op == "conv"]
        assert conv["inner_runs"] > 0
        assert conv["paired"] == (isa == "avx512" and width == 6)


def test_pairs_are_of_neighbors_in_memory() -> None:
    """Whatever order a network lists its channels in."""
    model = network(
        "(float[1, 3, 9, 11] x) => (float[1, 16, 9, 11] y)"
        " { c = Conv(x, v) d = Gather<axis = 1>(c, order) y = Conv(d, k) }",
        v=random(32, 3, 1, 1),
        k=random(16, 32, 1, 1),
        order=INTERLEAVED,
    )
    for isa, program in check(model, {"x": random(1, 3, 9, 11)}).items():
        assert copies(program) == 1  # the output
        assert [step.fields["paired"] for step in program.steps if step.op == "conv"][-1] == (isa == "avx512")


# ---- Shares of threads


@given(
    threads=st.integers(1, 9),
    blocks=st.integers(1, 40),
    rows=st.integers(1, 300),
    work=st.floats(1, 1e5),
)
def test_blocks_and_rows_are_shared(threads: int, blocks: int, rows: int, work: float) -> None:
    chunk_blocks, chunk_rows = Lowering(Program(_isa.usable()[-1]), threads).blocks_and_rows(
        blocks, rows, work
    )
    assert 1 <= chunk_blocks <= blocks
    assert 1 <= chunk_rows <= rows
    chunks = -(-blocks // chunk_blocks) * -(-rows // chunk_rows)
    assert chunks <= (1 if threads == 1 else 8 * threads)
    if threads > 1 and blocks * rows * work > 1e5 * threads and rows > 16 * threads:
        assert chunks >= 2 * threads


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "is_cut"),
    [
        (232, 232, 13, True),
        (58, 58, 52, True),
        (480, 96, 22, True),
        (16, 16, 100, True),
        (512, 1000, 1, True),
        (3, 5, 2, False),
    ],
)
def test_tiles_and_pixels_are_shared(
    inputs: int, outputs: int, size: int, is_cut: bool, threads: int
) -> None:
    """Every tile of every pixel once, in chunks of whole tiles: the same bits as of one thread."""
    model = network(
        f"(float[1, {inputs}, {size}, {size}] x) => (float[1, {outputs}, {size}, {size}] y)"
        " { y = Conv(x, w) }",
        w=random(outputs, inputs, 1, 1),
    )
    x = {"x": random(1, inputs, size, size)}
    shapes = {"x": x["x"].shape}
    one, many = (compile_model(model, shapes, isa=_isa.usable()[-1], threads=n) for n in (1, threads))
    assert run(one, x)[0].tobytes() == run(many, x, threads)[0].tobytes()
    (conv,) = (step.fields for step in many.steps if step.op == "conv")
    wholes = {"chunk_tiles": "n_tiles", "chunk_pixels": "pixels", "chunk_runs": "runs"}
    assert any(conv[part] != conv[whole] for part, whole in wholes.items()) == is_cut


# ---- Pieces

HEAD = """
{{ a0 = Conv(x, w0) a1 = Conv(y, w1)
   t0 = Transpose<perm = [0, 2, 3, 1]>(a0) t1 = Transpose<perm = [0, 2, 3, 1]>(a1)
   r0 = Reshape(t0, s) r1 = Reshape(t1, s) c = Concat<axis = 1>(r0, r1) {} }}
"""


@pytest.mark.parametrize(
    ("after", "most"),
    [("z = Identity(c)", 2), ("z = Softmax(c)", 2), ("z = Sigmoid(c)", 2), ("z = Sigmoid(r0)", 1)],
)
def test_heads_are_joined_where_they_are_made(after: str, most: int) -> None:
    model = network(
        "(float[1, 8, 4, 6] x, float[1, 8, 2, 3] y) => (float[i, j, k] z)" + HEAD.format(after),
        w0=random(6, 8, 1, 1),
        w1=random(6, 8, 1, 1),
        s=np.array([1, -1, 2]),
    )
    for program in check(model, {"x": random(1, 8, 4, 6), "y": random(1, 8, 2, 3)}).values():
        assert copies(program) <= most


@pytest.mark.parametrize("batch", [1, 2])
def test_maps_that_are_joined_and_turned_are_written_once(batch: int) -> None:
    model = network(
        f"(float[{batch}, 8, 4, 6] x, float[{batch}, 8, 2, 3] y) => (float[i, j, k] z)"
        " { a0 = Conv(x, w) a1 = Conv(y, w) r0 = Reshape(a0, s) r1 = Reshape(a1, s)"
        " c = Concat<axis = 2>(r0, r1) z = Transpose<perm = [0, 2, 1]>(c) }",
        w=random(7, 8, 1, 1),
        s=np.array([0, 7, -1]),
    )
    for program in check(model, {"x": random(batch, 8, 4, 6), "y": random(batch, 8, 2, 3)}).values():
        assert copies(program) == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["Identity", "Reshape", "Relu"])
def test_parts_of_any_axis(axis: int, kind: str) -> None:
    """Arithmetic on parts, together again in order and out of order, given out and read on."""
    last, rank = {"Identity": ("Identity(c)", 3), "Reshape": ("Reshape(c, flat)", 1), "Relu": ("Relu(c)", 3)}[
        kind
    ]
    model = network(
        f"(float[3, 4, 6] x) => (float[i, j, k] c, float[l, m, n] d, float[{', '.join('opq'[:rank])}] z)"
        f" {{ a, b = Split<axis = {axis}>(x, sizes) p = Sigmoid(a) q = Mul(b, two) r = Neg(b)"
        f" c = Concat<axis = {axis}>(p, q) d = Concat<axis = {axis}>(q, p, r, q) z = {last} }}",
        sizes=np.array([1, (3, 4, 6)[axis] - 1]),
        two=np.array([2], np.float32),
        flat=np.array([-1]),
    )
    check(model, {"x": random(3, 4, 6)})


def test_a_part_that_is_joined_twice_and_given_out() -> None:
    model = network(
        "(float[1, 3, 4] x) => (float[1, 3, 4] a, float[1, 6, 4] b, float[1, 9, 4] c)"
        " { a = Sigmoid(x) b = Concat<axis = 1>(a, a) n = Neg(a) c = Concat<axis = 1>(n, b) }"
    )
    check(model, {"x": random(1, 3, 4)})


def test_a_softmax_of_turned_maps_is_made_where_it_is_joined() -> None:
    model = network(
        "(float[1, 8, 4, 6] x) => (float[1, 14, 4, 6] z)"
        " { a = Conv(x, w) b = Conv(x, v) t = Transpose<perm = [0, 2, 3, 1]>(a) s = Softmax(t)"
        " u = Transpose<perm = [0, 3, 1, 2]>(s) z = Concat<axis = 1>(b, u) }",
        w=random(10, 8, 1, 1),
        v=random(4, 8, 1, 1),
    )
    for program in check(model, {"x": random(1, 8, 4, 6)}).values():
        # To planes for the softmax, and the four maps beside it.
        assert copies(program) == 2


def test_depth_to_space_is_one_copy() -> None:
    model = network(
        "(float[1, 8, 4, 6] x) => (float[1, 3, 8, 12] y)"
        " { c = Conv(x, w) y = DepthToSpace<blocksize = 2>(c) }",
        w=random(12, 8, 1, 1),
    )
    for program in check(model, {"x": random(1, 8, 4, 6)}).values():
        assert copies(program) == 1


@pytest.mark.parametrize(
    "reader",
    [
        "d, i = TopK<axis = 1>(c, k)",
        "t = Transpose<perm = [0, 2, 1, 3]>(c) d = CumSum(t, three)",
        "d = Slice(c, last, before, axes, back)",
        "d = ScatterND(c, n, c)",
    ],
)
@pytest.mark.parametrize("op", ["Conv(x, w)", "Neg(x)"])
def test_what_is_derived_from_an_output_does_not_go_there(op: str, reader: str) -> None:
    """Of the same shape as the output itself: in another order."""
    model = network(
        f"(float[1, 5, 5, 5] x) => (float[1, 5, 5, 5] c, float[1, 5, 5, 5] d) {{ c = {op} {reader} }}",
        w=random(5, 5, 1, 1),
        k=np.array([5]),
        three=np.array(3),
        n=np.array([[0]]),
        last=np.array([-1, -1]),
        before=np.array([-100, -100]),
        axes=np.array([1, 3]),
        back=np.array([-1, -1]),
    )
    check(model, {"x": random(1, 5, 5, 5)})


def test_an_output_that_is_read_on_is_written_once() -> None:
    model = network(
        "(float[1, 8, 4, 6] x) => (float[1, 5, 4, 6] c, float[1, 5, 4, 6] y)"
        " { c = Conv(x, w) y = Softmax(c) }",
        w=random(5, 8, 1, 1),
    )
    for program in check(model, {"x": random(1, 8, 4, 6)}).values():
        assert copies(program) == 1

"""The program's builder: addresses, tables, constants and lifetimes, and what each step is said to cost."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.explain import COPIES, explain
from edgecv.engine.program import Encoded, Program, Ref, Storage
from edgecv.engine.refs import (
    ARENA,
    CONSTANTS,
    FIRST_INPUT,
    STATE,
    WEIGHTS,
    address_of,
    storage_of,
)
from edgecv.engine.weights import Weights
from edgecv.errors import InputError
from tests.engine.one_node import random
from tests.engine.programs import LOWEST_ISA
from tests.engine.written import network

Array = NDArray[Any]
OPS = list(_simd.OPS)


def copy(program: Program, x: Storage | Ref, y: Storage | Ref, n: int = 16, **options: Any) -> None:
    """A step that copies n floats."""
    program.add(
        "copy",
        options.pop("label", "copy"),
        x=x,
        y=y,
        size=4,
        rank=1,
        shape=program.constant(np.array([n])),
        strides=program.constant(np.array([1, 1])),
        chunk_outer=n,
        **options,
    )


def fields(code: Encoded) -> list[tuple[str, dict[str, int]]]:
    """The steps of an encoded program, taken apart again."""
    words, steps = code.steps.tolist(), []
    while words:
        op = OPS[words.pop(0)]
        names = _simd.OPS[op]
        steps.append((op, dict(zip(names, words[: len(names)], strict=True))))
        words = words[len(names) :]
    return steps


def address(ref: int) -> tuple[int, int]:
    """Slot and address of a Ref."""
    return storage_of(ref), address_of(ref)


def constant_at(code: Encoded, ref: int, dtype: Any, count: int) -> list[Any]:
    slot, offset = address(ref)
    assert slot == CONSTANTS
    size = count * np.dtype(dtype).itemsize
    return list(code.constants[offset : offset + size].view(dtype).tolist())


# ---- Addresses


def test_every_kind_of_memory_has_its_slot() -> None:
    program = Program(LOWEST_ISA)
    x, _, y, z = (
        program.input(64, "x"),
        program.input(0, "w"),
        program.output(64, "y"),
        program.output(64, "z"),
    )
    middle, kept = program.arena(64, "middle"), program.state(64, "kept")
    known = program.constant(np.arange(16, dtype=np.float32))
    for source, target in ((x, middle), (middle, y), (known, kept), (kept, z)):
        copy(program, source, target)
    code = program.finish()
    slots = [(address(f["x"])[0], address(f["y"])[0]) for _, f in fields(code)]
    first_output = FIRST_INPUT + 2
    assert slots == [
        (FIRST_INPUT, ARENA),
        (ARENA, first_output),
        (CONSTANTS, STATE),
        (STATE, first_output + 1),
    ]
    assert (code.input_bytes, code.output_bytes) == ((64, 0), (64, 64))
    assert (code.state_bytes, code.arena_bytes) == (64, 64)
    last = fields(code)[2][1]
    assert constant_at(code, last["x"], np.float32, 16) == list(range(16))
    assert constant_at(code, last["shape"], np.int64, 1) == [16]


def test_storages_lie_on_lines_of_the_cache() -> None:
    program = Program(LOWEST_ISA)
    x, y = program.input(64, "x"), program.output(64, "y")
    parts = [program.state(4 * n, "part") for n in (1, 16, 17)]
    for part in parts:
        copy(program, x, part, 1)
        copy(program, part, y, 1)
    offsets = [address(f["y"])[1] for _, f in fields(program.finish())[::2]]
    assert offsets == [0, 64, 128]


def test_a_ref_inside_a_storage() -> None:
    program = Program(LOWEST_ISA)
    x, y = program.input(64, "x"), program.output(64, "y")
    copy(program, Ref(x.ref + 8), Ref(y.ref + 12), 4)
    ((_, found),) = fields(program.finish())
    assert [address(found[name]) for name in ("x", "y")] == [(FIRST_INPUT, 8), (FIRST_INPUT + 1, 12)]


def test_floats_are_their_bits_and_labels_stay() -> None:
    program = Program(LOWEST_ISA)
    x, y = program.input(64, "x"), program.output(64, "y")
    copy(program, x, y, label="the label")
    step = program.add(
        "lrn", "norm", x=x, y=y, outer=1, channels=4, inner=4, size=3, alpha=0.5, beta=-2.0, bias=1.0
    )
    code = program.finish()
    assert code.labels == ("the label", "norm")
    found = fields(code)[1][1]
    assert [struct.unpack("<f", struct.pack("<I", found[n]))[0] for n in ("alpha", "beta", "bias")] == [
        0.5,
        -2.0,
        1.0,
    ]
    assert step.bytes == 128


@pytest.mark.parametrize("wrong", [{"more": 1}, {"size": None}])
def test_a_step_has_all_of_its_fields_and_no_others(wrong: dict[str, int | None]) -> None:
    program = Program(LOWEST_ISA)
    x = program.input(64, "x")
    given: dict[str, Any] = dict.fromkeys(_simd.OPS["copy"], 0) | {"x": x, "y": x}
    for name, value in wrong.items():
        if value is None:
            given.pop(name)
        else:
            given[name] = value
    with pytest.raises(AssertionError, match=f"copy: fields .*{next(iter(wrong))}.* missing or unknown"):
        program.add("copy", "copy", **given)


# ---- Tables


def planes(program: Program, refs: Ref, count: int) -> None:
    program.add(
        "planes", "planes", places=refs, n_places=count, h=1, w=4, x_row=4, x_pixel=1, y_row=4, y_pixel=1,
        chunk_places=count,
    )  # fmt: skip


def test_a_table_of_refs_names_slots_at_last() -> None:
    program = Program(LOWEST_ISA)
    x, y, middle = program.input(64, "x"), program.output(64, "y"), program.arena(64, "middle")
    copy(program, x, middle)
    refs = np.array([[middle.ref + 16, y.ref], [0, y.ref + 16], [middle.ref, y.ref + 32]])
    planes(program, program.refs(refs), 3)
    code = program.finish()
    table = constant_at(code, fields(code)[1][1]["places"], np.int64, 6)
    out = FIRST_INPUT + 1
    assert [address(ref) for ref in table] == [
        (ARENA, 16),
        (out, 0),
        (0, 0),
        (out, 16),
        (ARENA, 0),
        (out, 32),
    ]


def gemm(program: Program, base: Ref, table: Ref, y: Storage) -> None:
    given: dict[str, Any] = dict.fromkeys(_simd.OPS["conv"], 0)
    program.add("conv", "conv", **(given | {"x": base, "offsets": table, "y": y}))


def test_distances_in_the_arena_are_from_its_start() -> None:
    program = Program(LOWEST_ISA)
    x, y = program.input(64, "x"), program.output(64, "y")
    first, second = program.arena(64, "first"), program.arena(64, "second")
    copy(program, x, first)
    copy(program, x, second)
    base, table = program.distances(np.array([second.ref + 4, first.ref + 8, second.ref]))
    gemm(program, base, table, y)
    code = program.finish()
    one, two, found = (f for _, f in fields(code))
    assert address(found["x"]) == (ARENA, 0)
    starts = [address(step["y"])[1] // 4 for step in (one, two)]
    assert constant_at(code, found["offsets"], np.int32, 3) == [starts[1] + 1, starts[0] + 2, starts[1]]


def test_distances_in_another_memory_are_from_its_storage() -> None:
    program = Program(LOWEST_ISA)
    program.input(64, "other")
    x, y = program.input(64, "x"), program.output(64, "y")
    gemm(program, *program.distances(np.array([x.ref + 12, x.ref])), y)
    code = program.finish()
    ((_, found),) = fields(code)
    assert address(found["x"]) == (FIRST_INPUT + 1, 0)
    assert constant_at(code, found["offsets"], np.int32, 2) == [3, 0]


def test_distances_between_kinds_of_memory_are_refused() -> None:
    program = Program(LOWEST_ISA)
    x, middle = program.input(64, "x"), program.arena(64, "middle")
    with pytest.raises(AssertionError, match="different kinds of memory"):
        program.distances(np.array([x.ref, middle.ref]))


def test_distances_past_32_bits_are_refused() -> None:
    program = Program(LOWEST_ISA)
    x, y, large = program.input(64, "x"), program.output(64, "y"), program.arena(1 << 34, "large")
    copy(program, x, large)
    gemm(program, *program.distances(np.array([large.ref, large.ref + (1 << 33)])), y)
    with pytest.raises(InputError, match="8 GiB or more"):
        program.finish()


def test_what_a_table_names_is_alive() -> None:
    """A storage that only a table leads to, and the step's own table, are touched by the step."""
    program = Program(LOWEST_ISA)
    x, y = program.input(64, "x"), program.output(64, "y")
    kept, other = program.arena(64, "kept"), program.arena(64, "other")
    copy(program, x, kept)
    copy(program, x, other)
    copy(program, other, y)
    planes(program, program.refs(np.array([[kept.ref, y.ref]])), 1)
    assert (kept.first, kept.last, other.last) == (0, 3, 2)
    assert program.finish().arena_bytes == 128


# ---- Constants


def test_equal_constants_are_kept_once() -> None:
    program = Program(LOWEST_ISA)
    one = program.constant(np.array([1, 2], np.int64))
    assert program.constant(np.array([1, 2], np.int64)) is one
    assert program.constant(np.array([[1, 2]], np.int64)) is not one
    assert program.constant(np.array([1, 3], np.int64)) is not one
    assert program.constant(np.array([1, 2], np.int64).view(np.float64)) is not one


def test_a_constant_need_not_be_contiguous() -> None:
    program = Program(LOWEST_ISA)
    y = program.output(24, "y")
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    copy(program, program.constant(turned), y, 6)
    code = program.finish()
    assert constant_at(code, fields(code)[0][1]["x"], np.float32, 6) == [0, 3, 1, 4, 2, 5]


def test_large_weights_are_shared_by_programs() -> None:
    weights, large, small = Weights(), random(1 << 14), random(8)
    codes = []
    for _ in range(2):
        program = Program(LOWEST_ISA, weights)
        y = program.output(1 << 16, "y")
        copy(program, program.packed(large, "large"), y, large.size)
        copy(program, program.packed(small, "small"), y, small.size)
        codes.append(program.finish())
        one, two = (f["x"] for _, f in fields(codes[-1]))
        assert address(one) == (WEIGHTS, 0)
        assert address(two)[0] == CONSTANTS
        assert len(codes[-1].constants) < 1000
    assert codes[0].weights is codes[1].weights
    assert codes[0].weights.view(np.float32).tolist() == large.tolist()


# ---- Lifetimes


def chain(program: Program, sizes: list[int]) -> list[Storage]:
    """x -> storage -> storage … -> y."""
    x, y = program.input(1 << 20, "x"), program.output(1 << 20, "y")
    storages = [program.arena(size, f"{i}") for i, size in enumerate(sizes)]
    for source, target in zip([x, *storages], [*storages, y], strict=True):
        copy(program, source, target, 1)
    return storages


def test_what_is_not_alive_together_shares_memory() -> None:
    program = Program(LOWEST_ISA)
    chain(program, [640] * 6)
    assert program.finish().arena_bytes == 1280


def test_what_no_step_touches_takes_no_memory() -> None:
    program = Program(LOWEST_ISA)
    chain(program, [64])
    program.arena(1 << 30, "untouched")
    assert program.finish().arena_bytes == 64


def test_a_result_may_lie_where_its_source_does() -> None:
    program = Program(LOWEST_ISA)
    one, two = chain(program, [640, 640])
    program.may_share(two, one)
    code = program.finish()
    assert code.arena_bytes == 640
    assert fields(code)[1][1]["x"] == fields(code)[1][1]["y"]


def test_a_source_that_is_read_again_is_not_shared() -> None:
    program = Program(LOWEST_ISA)
    one, two = chain(program, [640, 640])
    program.may_share(two, one)
    copy(program, one, program.output(64, "again"), 1)
    assert program.finish().arena_bytes == 1280


def test_only_equal_pieces_of_the_arena_are_shared() -> None:
    program = Program(LOWEST_ISA)
    one, two = chain(program, [704, 640])
    kept = program.state(640, "kept")
    program.may_share(two, one)
    program.may_share(two, kept)
    assert program.finish().arena_bytes == 1344


# ---- What steps cost


def compiled(text: str, x: tuple[int, ...], **weights: Array) -> Compiled:
    return compile_model(network(text, **weights), {"x": x}, isa=LOWEST_ISA)


FLOPS = {
    "dense": (
        "(float[1, 3, 8, 8] x) => (float[1, 5, 6, 6] y) { y = Conv(x, w) }",
        (5, 3, 3, 3),
        2 * 5 * 3 * 9 * 36,
    ),
    "padded, strided, in a batch": (
        "(float[2, 3, 8, 8] x) => (float[2, 5, 4, 4] y)"
        " { y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w) }",
        (5, 3, 3, 3),
        2 * 2 * 5 * 3 * 9 * 16,
    ),
    "in groups": (
        "(float[1, 6, 4, 4] x) => (float[1, 4, 4, 4] y) { y = Conv<group = 2>(x, w) }",
        (4, 3, 1, 1),
        2 * 4 * 3 * 16,
    ),
    "depthwise": (
        "(float[1, 6, 4, 4] x) => (float[1, 6, 2, 2] y) { y = Conv<group = 6>(x, w) }",
        (6, 1, 3, 3),
        2 * 6 * 9 * 4,
    ),
    "transposed": (
        "(float[1, 6, 4, 4] x) => (float[1, 5, 8, 8] y) { y = ConvTranspose<strides = [2, 2]>(x, w) }",
        (6, 5, 2, 2),
        2 * 6 * 5 * 4 * 16,
    ),
    "matrices": (
        "(float[3, 20] x) => (float[3, 7] y) { y = MatMul(x, w) }",
        (20, 7),
        2 * 3 * 20 * 7,
    ),
    "elements": ("(float[3, 20] x) => (float[3, 20] y) { y = Add(x, w) }", (3, 20), 60),
    "elements in blocks": (
        "(float[1, 6, 4, 4] x) => (float[1, 6, 4, 4] y)"
        " { c = MaxPool<kernel_shape = [2, 2], pads = [0, 0, 1, 1]>(x) y = Mul(c, w) }",
        (6, 1, 1),
        96,
    ),
}


@pytest.mark.parametrize("name", FLOPS)
def test_work_as_counted_by_hand(name: str) -> None:
    text, shape, expected = FLOPS[name]
    model = network(text, w=random(*shape))
    shapes = {s.name: tuple(n for n in s.shape if isinstance(n, int)) for s in model.facts.inputs}
    program = compile_model(model, shapes, isa=LOWEST_ISA)
    assert sum(step.flops for step in program.steps) == expected
    assert all(step.flops == 0 for step in program.steps if step.op in COPIES)


def test_bytes_that_are_moved() -> None:
    program = compiled("(float[3, 4] x) => (float[4, 3] y) { y = Transpose<perm = [1, 0]>(x) }", (3, 4))
    assert [(step.op, step.bytes) for step in program.steps] == [("copy", 2 * 12 * 4)]


def test_bytes_of_a_convolution_are_those_of_its_operands() -> None:
    lanes = _simd.lanes(LOWEST_ISA)
    program = compiled(
        f"(float[1, {lanes}, 4, 4] x) => (float[1, {lanes}, 4, 4] y) {{ y = Conv(x, w) }}",
        (1, lanes, 4, 4),
        w=random(lanes, lanes, 1, 1),
    )
    (step,) = (step for step in program.steps if step.op == "conv")
    wanted = 4 * (2 * 16 * lanes + lanes * lanes + lanes)
    # And tables of a few numbers.
    assert wanted <= step.bytes <= wanted + 256


def test_what_is_explained_of_a_small_network() -> None:
    model = network(
        "(float[1, 3, 8, 8] x) => (float[1, 16, 5] y)"
        " { a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Relu(a)"
        " c = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(b)"
        " d = Conv(c, v) e = Conv(d, u) f = Reshape(e, s) y = Transpose<perm = [0, 2, 1]>(f) }",
        w=random(9, 3, 3, 3),
        v=random(9, 9, 1, 1),
        u=random(5, 9, 1, 1),
        s=np.array([1, 5, 16]),
    )
    shapes = {"x": (1, 3, 8, 8)}
    program = compile_model(model, shapes, isa=LOWEST_ISA)
    found = explain(model, program, shapes, threads=1)
    lanes = _simd.lanes(LOWEST_ISA)
    assert [step.op for step in found.steps if not step.is_copy] == ["conv", "pool", "conv", "conv"]
    assert [step.blocks for step in found.steps if not step.is_copy] == [lanes] * 4
    assert found.arena_bytes == program.encoded.arena_bytes <= found.values_bytes
    assert found.flops == sum(step.flops for step in program.steps) > 0
    assert sum(step.is_copy for step in found.steps) == sum(s.op in COPIES for s in program.steps)
    assert found.weight_bytes >= 4 * (9 * 27 + 81 + 45)

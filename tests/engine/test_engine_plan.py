"""Plans: sound programs run, unsound ones are refused, and a run that fails leaves the plan as it was."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from edgecv import _isa, _simd
from edgecv.errors import (
    CancelledError,
    DeadlineError,
    EdgeCVError,
    InputError,
    ModelFileError,
    SessionBusyError,
    UnavailableError,
)
from tests.engine.programs import LOWEST_ISA, copies, doubled, network, taken
from tests.kernels.simd_program import Array, Program, ref

# Copies for a second or more, unless something ends them.
LONG = {"steps": 5000, "rows": 64, "columns": 8192}
OP_CODES = {op: code for code, op in enumerate(_simd.OPS)}


def arrays(program: Program, array: Array) -> tuple[tuple[Array], tuple[Array]]:
    return (array,), (np.zeros_like(array),)


def test_facts_of_every_isa() -> None:
    """Those of ISAs that are not built here too: plans are made for other machines."""
    assert set(_isa.built()) | {"sse42", "avx2", "avx512", "neon"} == set(_simd.ISA_FACTS)
    for isa in _isa.built():
        assert _simd.lanes(isa) == _simd.ISA_FACTS[isa].lanes


@pytest.mark.parametrize("isa", _simd.ISA_FACTS)
def test_tiles_fit_registers(isa: str) -> None:
    """Sums, the weights of a tap but one vector of them, and a value of x."""
    facts = _simd.ISA_FACTS[isa]
    assert 1 <= facts.tile_blocks <= len(facts.tile_pixels)
    for blocks, pixels in enumerate(facts.tile_pixels, 1):
        assert blocks * pixels + blocks <= facts.registers


def test_names_come_from_the_headers() -> None:
    assert _simd.OPS["copy"] == ("x", "y", "size", "rank", "shape", "strides", "chunk_outer")
    assert list(_simd.OPS)[:2] == ["conv", "depthwise"]
    assert _simd.CHOICES["activation"][:2] == ("none", "relu")
    assert _simd.CHOICES["dtype"][0] == "f32"
    assert all(len(set(names)) == len(names) > 0 for names in (_simd.OPS | _simd.CHOICES).values())


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_program_runs(threads: int) -> None:
    program, array = copies(steps=3, rows=5, columns=7)
    (result,) = program.run(threads)
    assert np.array_equal(result, array)


def test_a_program_without_steps_runs() -> None:
    assert Program(LOWEST_ISA).run() == []


def test_sizes_are_known_before_the_first_run() -> None:
    program, _ = copies(steps=1)
    program.arena(1000)
    program.state(10)
    plan = program.plan()
    assert plan.arena_bytes == 1024
    assert plan.state_bytes == 64
    assert plan.constant_bytes == 128
    assert plan.scratch_bytes >= 0
    assert plan.isa == LOWEST_ISA


def test_the_state_is_zero_at_first_and_stays_from_run_to_run() -> None:
    """y = state; state = x."""
    program = Program(LOWEST_ISA)
    x = program.input(np.array([5.0], np.float32))
    y = program.output((1,))
    state = program.state(4)
    shape, strides = program.constant(np.array([1])), program.constant(np.array([[1], [1]]))
    for source, target in ((state, y), (x, state)):
        program.step("copy", x=source, y=target, size=4, rank=1, shape=shape, strides=strides, chunk_outer=1)
    context = program.context()
    assert program.run(context=context)[0].tolist() == [0.0]
    assert program.run(context=context)[0].tolist() == [5.0]


@pytest.mark.parametrize("offset", [0, 1, 32])
def test_constants_need_not_be_aligned(offset: int) -> None:
    program, array = copies(steps=1, rows=2, columns=3)
    aligned = program.plan()
    room = np.zeros(aligned.constant_bytes + 64 + offset, np.uint8)
    constants = room[offset + -room.ctypes.data % 64 :][: aligned.constant_bytes]
    constants[:] = np.frombuffer(b"".join(program.constants), np.uint8)
    context = _simd.Context(build(program, constants=constants))
    assert np.array_equal(program.run(context=context)[0], array)


def build(program: Program, **changes: Any) -> _simd.Plan:
    """The program's plan with other arguments."""
    arguments: dict[str, Any] = {
        "isa": program.isa,
        "steps": np.array(program.steps, np.int64),
        "labels": tuple(program.labels),
        "constants": np.frombuffer(b"".join(program.constants), np.uint8),
        "state_bytes": 0,
        "arena_bytes": 0,
        "input_bytes": tuple(a.nbytes for a in program.inputs),
        "output_bytes": tuple(int(np.prod(s)) * d.itemsize for s, d in program.outputs),
    }
    return _simd.Plan(**arguments | changes)


# ---- programs that are refused


def steps_of(*values: int) -> Array:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (steps_of(-1), r"^step 0 \(a\): its op is unknown$"),
        (steps_of(len(_simd.OPS)), r"^step 0 \(a\): its op is unknown$"),
        (steps_of(OP_CODES["copy"], 1, 2), r"^step 0 \(a\): the program ends within its fields$"),
        (steps_of(OP_CODES["copy"], *[0] * 7, 99), r"^step [01]"),
    ],
    ids=["negative op", "op past the last", "missing fields", "second step"],
)
def test_what_is_no_program_is_refused(steps: Array, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        build(Program(LOWEST_ISA), steps=steps, labels=("a", "b"))


FAR = (1 << 48) - 4
PLACES = {
    "nothing": 0,
    "a slot past the last": ref(7),
    "the last slot of all": ref((1 << 15) - 1),
    "a negative slot": -1,
    "past the end": ref(5, 4),
    "far past the end": ref(5, FAR),
    "misaligned": ref(5, 1),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("field", ["x", "y", "shape", "strides"])
def test_a_place_outside_of_memory_is_refused(field: str, place: int) -> None:
    program, _ = copies(steps=2, rows=2, columns=3)
    program.steps[1 + 8 + _simd.OPS["copy"].index(field)] = place
    with pytest.raises(ModelFileError, match=r"^step 1 \(copy1\): "):
        program.plan()


@pytest.mark.parametrize("slot", [1, 4], ids=["constants", "an input"])
def test_a_step_that_writes_to_what_is_only_read_is_refused(slot: int) -> None:
    program, _ = copies(steps=1)
    program.steps[1 + _simd.OPS["copy"].index("y")] = ref(slot)
    with pytest.raises(ModelFileError, match=r"^step 0 \(copy0\): "):
        program.plan()


@pytest.mark.parametrize("slot", [2, 3, 4, 5], ids=["state", "arena", "an input", "an output"])
def test_a_table_that_a_run_could_change_is_refused(slot: int) -> None:
    program, _ = copies(steps=1, rows=4, columns=4)
    program.arena(64)
    program.state(64)
    program.steps[1 + _simd.OPS["copy"].index("shape")] = ref(slot)
    with pytest.raises(ModelFileError, match=r"^step 0 \(copy0\): "):
        program.plan()


def test_more_memory_than_the_machine_has_is_an_error() -> None:
    with pytest.raises(MemoryError, match="no memory for a plan of 281474976710656 bytes"):
        build(Program(LOWEST_ISA), arena_bytes=1 << 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"isa": "avx9"}, "isa: expected one of .*, got 'avx9'"),
        ({"isa": 3}, "isa: expected one of .*, got 3"),
        ({"steps": np.zeros(3, np.int32)}, r"steps: expected int64 \(n,\), got int32 \(3,\)"),
        ({"steps": [1]}, r"steps: expected int64 \(n,\), got list"),
        ({"constants": np.zeros((1, 1), np.uint8)}, r"constants: expected uint8 \(n,\), got uint8 \(1, 1\)"),
        ({"labels": ["a"]}, "labels: expected a tuple, got list"),
        ({"labels": ()}, "labels: expected one a step, 1, got 0"),
        ({"arena_bytes": -1}, "arena_bytes: expected a whole number from 0"),
        ({"state_bytes": 1.5}, "state_bytes: expected a whole number from 0"),
        ({"input_bytes": [4]}, "input_bytes: expected a tuple, got list"),
        ({"output_bytes": (1 << 60,)}, "output_bytes: expected a whole number from 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    program, _ = copies(steps=1)
    with pytest.raises(InputError, match=f"^{message}"):
        build(program, **change)


def test_an_isa_that_this_cpu_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = set(_isa.built()) - set(_isa.usable())
    if not lacking:
        pytest.skip("this CPU has every ISA that is built")
    with pytest.raises(UnavailableError, match="not supported by this CPU; usable here"):
        build(Program(LOWEST_ISA), isa=lacking.pop())


# ---- programs whose fields or tables were damaged

TAME = [*range(-2, 10), *(ref(slot, 64 * n) for slot in range(7) for n in range(4))]
WILD = [*TAME, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 47, 1 << 62, (1 << 63) - 1, -(1 << 63), -(1 << 31)]
# Fewer on an emulated machine.
SEEDS = 20 * settings().max_examples


def damaged(program: Program, values: list[int], rng: np.random.Generator) -> tuple[Array, Array]:
    """Steps and constants with one to three numbers replaced."""
    steps = np.array(program.steps, np.int64)
    constants = np.frombuffer(b"".join(program.constants), np.int64).copy()
    for _ in range(rng.integers(1, 4)):
        target = constants if rng.random() < 0.3 else steps
        target[rng.integers(target.size)] = values[rng.integers(len(values))]
    return steps, constants.view(np.uint8)


@pytest.mark.parametrize(("values", "runs"), [(WILD, False), (TAME, True)], ids=["wild", "tame"])
def test_damage_is_refused_or_does_no_harm(values: list[int], runs: bool) -> None:
    rng = np.random.default_rng(len(values))
    program = network(_isa.usable()[-1])
    pool = _simd.Pool(1)
    outputs = tuple(np.zeros(shape, dtype) for shape, dtype in program.outputs)
    refused = 0
    for _ in range(SEEDS):
        steps, constants = damaged(program, values, rng)
        try:
            plan = build(
                program, steps=steps, constants=constants, arena_bytes=program.arena_bytes,
                labels=tuple(program.labels),
            )  # fmt: skip
            if runs:
                _simd.Context(plan).run(pool, tuple(program.inputs), outputs)
        except (ModelFileError, InputError):  # an op of another length may end it early: labels are left over
            refused += 1
    assert refused > SEEDS // 4


# ---- contexts


@pytest.mark.parametrize("isa", _isa.usable())
def test_contexts_of_one_plan_run_at_the_same_time_and_do_not_mix(isa: str) -> None:
    program = network(isa)
    expected = [result.tobytes() for result in program.run()]
    plan = program.plan()

    def runs(_: int) -> bool:
        context = _simd.Context(plan)
        return all(
            [result.tobytes() for result in program.run(context=context)] == expected for _ in range(50)
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(runs, range(4)))


def test_a_context_keeps_its_plan_alive() -> None:
    program, array = copies(steps=1)
    context = _simd.Context(program.plan())
    gc.collect()
    assert np.array_equal(program.run(context=context)[0], array)
    with pytest.raises(TypeError):
        _simd.Context(None)


# ---- runs that are refused


def test_arrays_that_do_not_fit() -> None:
    program, array = copies(steps=1, rows=2, columns=2)
    context, pool = program.context(), _simd.Pool(1)
    out = np.zeros_like(array)
    room = np.zeros(array.nbytes + 8, np.uint8)
    misaligned = room[1 + -room.ctypes.data % 4 :][: array.nbytes].view(np.float32)
    read_only = np.zeros_like(array)
    read_only.flags.writeable = False
    cases: list[tuple[tuple[Any, ...], tuple[Any, ...], str]] = [
        ((), (out,), "arrays: expected 1 inputs and 1 outputs, got 0 and 1"),
        ((array,), (out, out), "arrays: expected 1 inputs and 1 outputs, got 1 and 2"),
        ((array[:1],), (out,), "input 0: expected 16 bytes, got 8"),
        ((array.astype(np.float64),), (out,), "input 0: expected 16 bytes, got 32"),
        ((array.T,), (out,), "input 0: expected a C-contiguous array, got ndarray"),
        (([1.0] * 4,), (out,), "input 0: expected a C-contiguous array, got list"),
        ((misaligned,), (out,), "input 0: expected an aligned array, got a misaligned one"),
        ((array,), (read_only,), "output 0: expected a writable C-contiguous array, got ndarray"),
        ((array,), (array,), "output 0: expected memory of its own, got that of input 0"),
    ]
    for inputs, outputs, message in cases:
        with pytest.raises(InputError, match=f"^{message}"):
            context.run(pool, inputs, outputs)
    context.run(pool, (array,), (out,))
    assert np.array_equal(out, array)


def test_a_run_gives_its_arrays_back() -> None:
    """An array that someone holds cannot be resized."""
    program, array = copies(steps=1, rows=2, columns=2)
    context, pool = program.context(), _simd.Pool(1)
    array, out = array.copy(), np.zeros_like(array)
    context.run(pool, (array,), (out,))
    with pytest.raises(InputError):
        context.run(pool, (array,), (array,))
    array.resize((1, 1), refcheck=False)
    out.resize((1, 1), refcheck=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_outside_names_the_step_and_the_plan_remains(threads: int) -> None:
    indices = np.array([0, 3, -1], np.int64)
    context, pool = taken(indices).context(), _simd.Pool(threads)
    out = np.zeros(3, np.float32)
    with pytest.raises(InputError, match=r"^step 0 \(take\): an index lies outside of what it points into$"):
        context.run(pool, (np.array([0, 4, 1]),), (out,))
    context.run(pool, (indices,), (out,))
    assert out.tolist() == [0, 3, 3]


def test_a_deadline_that_has_passed() -> None:
    program, array = copies(steps=2)
    context, pool = program.context(), _simd.Pool(1)
    inputs, outputs = arrays(program, array)
    with pytest.raises(TimeoutError, match=r"^step 0 \(copy0\): the deadline passed before it, of 2 steps$"):
        context.run(pool, inputs, outputs, time.monotonic_ns() - 1)
    context.run(pool, inputs, outputs, time.monotonic_ns() + 60 * 10**9)
    with pytest.raises(InputError, match="deadline_ns: expected a whole number from 0"):
        context.run(pool, inputs, outputs, -5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_deadline_ends_a_run_that_has_begun(threads: int) -> None:
    program, array = copies(**LONG)
    context, pool = program.context(), _simd.Pool(threads)
    inputs, outputs = arrays(program, array)
    with pytest.raises(DeadlineError):
        context.run(pool, inputs, outputs, time.monotonic_ns() + 2 * 10**6)


class Background:
    """A run in a thread of its own, and the error that it ended with."""

    def __init__(self, context: _simd.Context, pool: _simd.Pool, array: Array) -> None:
        self.error: EdgeCVError | None = None
        self._call = (pool, (array,), (np.zeros_like(array),))
        self._context = context
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._context.run(*self._call)
        except EdgeCVError as error:
            self.error = error

    def cancel(self) -> None:
        while self.thread.is_alive():
            self._context.cancel()
            self.thread.join(0.001)


def test_cancel_ends_the_run_in_progress() -> None:
    program, array = copies(**LONG)
    context, pool = program.context(), _simd.Pool(1)
    run = Background(context, pool, array)
    run.cancel()
    assert isinstance(run.error, CancelledError)
    assert "the run was cancelled before it" in str(run.error)


def test_a_cancel_without_a_run_stays_for_the_next_one_unless_it_is_forgotten() -> None:
    program, array = copies(steps=1)
    context = program.context()
    context.cancel()
    with pytest.raises(CancelledError, match="step 0"):
        program.run(context=context)
    assert np.array_equal(program.run(context=context)[0], array)
    context.cancel()
    context.reset()
    assert np.array_equal(program.run(context=context)[0], array)


def wait_until_busy(context: _simd.Context, pool: _simd.Pool, array: Array) -> SessionBusyError:
    """The error of a second run, once the first has begun."""
    while True:
        try:
            context.run(pool, (array,), (np.zeros_like(array),), time.monotonic_ns())
        except DeadlineError:
            continue
        except SessionBusyError as error:
            return error


@pytest.mark.parametrize(
    ("shared", "message"), [("context", "context: another thread"), ("pool", "pool: another thread")]
)
def test_a_second_concurrent_run_is_refused(shared: str, message: str) -> None:
    program, array = copies(**LONG)
    context, pool = program.context(), _simd.Pool(1)
    run = Background(context, pool, array)
    other = (context, _simd.Pool(1)) if shared == "context" else (program.context(), pool)
    error = wait_until_busy(*other, array)
    assert str(error).startswith(message)
    run.cancel()
    # Either the background run began first and was cancelled, or it was itself the second one.
    assert isinstance(run.error, (CancelledError, SessionBusyError))


def test_step_times() -> None:
    program, array = copies(steps=3)
    context, pool = program.context(), _simd.Pool(2)
    inputs, outputs = arrays(program, array)
    times = context.step_times(pool, inputs, outputs, 5)
    assert times.shape == (3,)
    assert np.isfinite(times).all()
    assert (times >= 0).all()
    with pytest.raises(InputError, match="repeats: expected a whole number from 1"):
        context.step_times(pool, inputs, outputs, 0)


# ---- floating point mode


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_zero_in_a_run_and_nowhere_else(threads: int) -> None:
    denormals = np.full(64, 1e-40, np.float32)
    (result,) = doubled(denormals).run(threads)
    assert (result == 0).all()
    assert (denormals + denormals != 0).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_mode_returns_after_an_error_too(threads: int) -> None:
    context, pool = taken(np.zeros(3, np.int64)).context(), _simd.Pool(threads)
    with pytest.raises(InputError):
        context.run(pool, (np.array([9, 9, 9]),), (np.zeros(3, np.float32),))
    denormal = np.full(1, 1e-40, np.float32)
    assert (denormal + denormal)[0] != 0

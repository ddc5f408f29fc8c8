"""The simd backend under the rules of sessions: plans, deadlines, memory, numbers, placement, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv import _isa, _simd, machine
from edgecv.backends import compile_model, usable
from edgecv.backends.base import CompileOptions
from edgecv.backends.session import MAX_PLANS
from edgecv.backends.simd import SimdSession
from edgecv.errors import (
    BackendError,
    CancelledError,
    DeadlineError,
    InputError,
    PlacementError,
    SessionBusyError,
    UnsupportedOperatorError,
)
from edgecv.graph.model import OnnxModel
from tests.allocation import allocated_bytes
from tests.backends.simd_sessions import Array, assert_right, compiled, noise, opened, truth
from tests.engine.test_engine_hot_path import COMPILER, COUNT, SOURCE
from tests.engine.written import network as network_of
from tests.networks import tiny_yolov8

# ---- Plans

DYNAMIC = (
    "(float[n, 5, h, w] x) => (float[n, 7, i, j] y) { y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w) }"
)


def test_shapes_are_prepared_or_planned_again() -> None:
    network = network_of(DYNAMIC, w=noise(7, 5, 3, 3))
    with opened(network) as session:
        with pytest.raises(InputError, match="no shape is prepared"):
            session.empty_outputs()
        with pytest.raises(InputError, match="not prepared"):
            session.run({"x": noise(1, 5, 9, 9)})
        session.prepare({"x": (1, 5, 9, 9)})
        assert session.empty_outputs()["y"].shape == (1, 7, 5, 5)
        for shape in ((1, 5, 9, 9), (3, 5, 4, 7), (1, 5, 9, 9), (2, 5, 1, 1)):
            inputs = {"x": noise(*shape)}
            assert_right(network, session.run(inputs, replan=True), inputs)


def test_plans_are_bounded_and_the_latest_stay() -> None:
    network = network_of(DYNAMIC, w=noise(7, 5, 3, 3))
    with opened(network) as session:
        for n in range(1, MAX_PLANS + 3):
            session.prepare({"x": (n, 5, 4, 4)})
        weights = session.memory.weights
        assert weights is not None
        for n in range(1, 3):
            with pytest.raises(InputError, match="not prepared"):
                session.run({"x": noise(n, 5, 4, 4)})
        for n in range(3, MAX_PLANS + 3):
            inputs = {"x": noise(n, 5, 4, 4)}
            assert_right(network, session.run(inputs), inputs)


def test_a_shape_that_the_network_does_not_take() -> None:
    network = network_of("(float[n, 4] x) => (float[a, b] y) { y = MatMul(x, w) }", w=noise(4, 2))
    with opened(network) as session:
        with pytest.raises(InputError, match="got shape"):
            session.prepare({"x": (2, 5)})
        session.prepare({"x": (2, 4)})
        assert session.empty_outputs()["y"].shape == (2, 2)


# ---- Outputs and memory


def yolo(**options: Any) -> OnnxModel:
    return OnnxModel.from_bytes(tiny_yolov8(**options), origin="tiny.onnx")


def image(size: int = 64, seed: int = 0) -> dict[str, Array]:
    return {"images": np.random.default_rng(seed).random((1, 3, size, size), np.float32)}


@pytest.mark.alone
def test_a_run_with_out_takes_no_memory() -> None:
    with opened(yolo(size=256)) as session:
        out, inputs = session.empty_outputs(), image(256)
        smallest = min(array.nbytes for array in out.values())
        for _ in range(20):
            session.run(inputs, out=out)
        before = allocated_bytes()
        tracemalloc.start()
        try:
            for _ in range(20):
                result = session.run(inputs, out=out)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Python's own little objects; NumPy tells tracemalloc of every array.
        assert most < smallest
        for _ in range(100):
            session.run(inputs, out=out)
        assert allocated_bytes() - before < smallest
        assert all(result[name] is array for name, array in out.items())


def test_memory_is_known_before_the_first_frame_and_stays() -> None:
    with opened(yolo(), threads=2) as session:
        before = session.memory
        assert before.weights
        assert before.arena
        first = session.run(image())
        session.run(image(seed=1))
        assert session.memory == before
        again = session.run(image())
        np.testing.assert_array_equal(first["output0"], again["output0"])


def test_weights_count_once_however_many_shapes() -> None:
    with opened(yolo(batch="n", size=64)) as session:
        session.prepare({"images": (1, 3, 64, 64)})
        one = session.memory.weights
        session.prepare({"images": (2, 3, 64, 64)})
        two = session.memory.weights
        assert one is not None
        assert two is not None
        kernels = 4 * 7 * 3 * (8 * 8 + 16 * 16 + 32 * 32)
        assert one > kernels
        assert two - one < kernels


def test_an_output_whose_length_data_tell_is_cut() -> None:
    network = network_of(
        "(float[1, 6, 4] boxes, float[1, 1, 6] scores) => (int64[n, 3] kept)"
        " { kept = NonMaxSuppression(boxes, scores, most, iou, score) }",
        most=np.array([6]),
        iou=np.array([0.5], np.float32),
        score=np.array([0.25], np.float32),
    )
    corners = np.array(
        [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 5, 1, 6], [0, 9, 1, 10], [3, 3, 4, 4], [7, 7, 8, 8]]
    )
    boxes = corners.astype(np.float32)[None]
    with opened(network) as session:
        for scores in ([0.9, 0.8, 0.7, 0.1, 0.6, 0.2], [0.1] * 6, [0.9] * 6):
            inputs = {"boxes": boxes, "scores": np.array(scores, np.float32)[None, None]}
            kept = session.run(inputs)["kept"]
            np.testing.assert_array_equal(kept, truth(network, inputs)["kept"])
        with pytest.raises(InputError, match="its size depends on the data"):
            session.empty_outputs()


# ---- Runs that end early, and runs at the same time

LONG = "(float[1, 32, 512, 512] x) => (float[1, 32, 512, 512] y) {{ {} y = Neg(v{}) }}"


def long_model(steps: int = 60) -> OnnxModel:
    """Some seconds of sines."""
    lines = " ".join(f"v{i} = Sin({f'v{i - 1}' if i else 'x'})" for i in range(steps))
    return network_of(LONG.format(lines, steps - 1))


@pytest.fixture
def long_session() -> Iterator[SimdSession]:
    with opened(long_model()) as session:
        yield session


def in_another_thread(session: SimdSession, inputs: dict[str, Array], seen: list[Any]) -> threading.Thread:
    def run() -> None:
        try:
            seen.append(session.run(inputs))
        except Exception as error:
            seen.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_run_in_another_thread_is_refused_and_one_can_be_cancelled(long_session: SimdSession) -> None:
    inputs = {"x": np.full((1, 32, 512, 512), 0.5, np.float32)}
    seen: list[Any] = []
    thread = in_another_thread(long_session, inputs, seen)
    wait_for(lambda: long_session._is_running)
    with pytest.raises(SessionBusyError, match="another thread"):
        long_session.run(inputs)
    with pytest.raises(SessionBusyError, match="another thread"):
        long_session.prepare({"x": (1, 32, 512, 512)})
    while thread.is_alive():
        long_session.cancel()
        thread.join(0.01)
    assert isinstance(seen[0], CancelledError)
    with pytest.raises(DeadlineError, match=r"of 6\d steps"):
        long_session.run(inputs, deadline_ns=time.monotonic_ns() + 10_000_000)


def test_cancel_without_a_run_does_nothing() -> None:
    with opened(yolo()) as session:
        first = session.run(image())
        session.cancel()
        np.testing.assert_array_equal(session.run(image())["output0"], first["output0"])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_deadline_that_has_passed_ends_the_run_and_only_that(threads: int) -> None:
    with opened(yolo(), threads=threads) as session:
        expected = session.run(image())
        for _ in range(2):
            with pytest.raises(DeadlineError):
                session.run(image(), deadline_ns=time.monotonic_ns())
        late = time.monotonic_ns() + 60_000_000_000
        np.testing.assert_array_equal(session.run(image(), deadline_ns=late)["output0"], expected["output0"])
        np.testing.assert_array_equal(session.run(image())["output0"], expected["output0"])


def test_a_closed_session() -> None:
    session = compiled(yolo())
    session.close()
    session.close()
    session.cancel()
    with pytest.raises(BackendError, match="closed"):
        session.run(image())
    with pytest.raises(BackendError, match="closed"):
        session.empty_outputs()


def test_an_error_of_data_leaves_the_session_usable() -> None:
    network = network_of("(float[5] x, int64[2] i) => (float[2] y) { y = Gather(x, i) }")
    x = noise(5)
    with opened(network) as session:
        with pytest.raises(InputError, match=r"\(y\): an index lies outside"):
            session.run({"x": x, "i": np.array([0, 5])})
        np.testing.assert_array_equal(session.run({"x": x, "i": np.array([-1, 4])})["y"], x[[-1, 4]])


# ---- Numbers


def test_nans_and_infinities_stay_where_they_are() -> None:
    """Only what is computed from them: neighbors in a vector are other channels."""
    network = network_of(
        "(float[1, 19, 5, 5] x) => (float[1, 19, 5, 5] y, float[1, 19, 5, 5] z)"
        " { y = Conv<group = 19, pads = [1, 1, 1, 1]>(x, w) z = Sigmoid(y) }",
        w=np.ones((19, 1, 3, 3), np.float32),
    )
    x = noise(1, 19, 5, 5)
    x[0, 2, 0, 0], x[0, 7, 4, 4], x[0, 17, 2, 2] = np.nan, np.inf, -np.inf
    with opened(network) as session:
        got = session.run({"x": x})
        expected = truth(network, {"x": x})
        for name in ("y", "z"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-5)
        clean = session.run({"x": noise(1, 19, 5, 5)})
        assert np.isfinite(clean["y"]).all()


def test_a_nan_stays_in_its_group() -> None:
    """Of groups that fill whole vectors; smaller ones share one, where nothing times NaN is NaN."""
    lanes = _simd.lanes(_isa.active())
    network = network_of(
        f"(float[1, {2 * lanes}, 3, 3] x) => (float[1, {2 * lanes}, 3, 3] y) {{ y = Conv<group = 2>(x, w) }}",
        w=noise(2 * lanes, lanes, 1, 1),
    )
    x = noise(1, 2 * lanes, 3, 3)
    x[0, 0, 1, 1] = np.nan
    x[0, -1, 0, 0] = np.inf
    with opened(network) as session:
        got = session.run({"x": x})["y"]
    expected = truth(network, {"x": x})["y"]
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_zero_in_a_run_and_nowhere_else(threads: int) -> None:
    network = network_of(
        "(float[1, 40, 9, 9] x) => (float[1, 40, 9, 9] y) { y = Mul(x, two) }", two=np.full(1, 2, np.float32)
    )
    denormal = np.full((1, 40, 9, 9), 1e-40, np.float32)
    with opened(network, threads=threads) as session:
        assert (session.run({"x": denormal})["y"] == 0).all()
        assert (denormal + denormal != 0).all()
        with pytest.raises(DeadlineError):
            session.run({"x": denormal}, deadline_ns=time.monotonic_ns() + 1000)
        assert (denormal + denormal != 0).all()


# ---- Placement and errors


def test_its_threads_know_how_many_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than the machine's quota must not look for work at full speed."""
    made: list[tuple[int, int]] = []
    pool = _simd.Pool

    def spy(threads: int, *, budget: int, cpus: None) -> _simd.Pool:
        made.append((threads, budget))
        return pool(threads, budget=budget)

    monkeypatch.setattr(_simd, "Pool", spy)
    monkeypatch.setattr(machine, "cpu_budget", lambda: 1)
    with opened(yolo(), threads=2):
        assert made == [(2, 1)]


def test_placement_tells_what_runs() -> None:
    with opened(yolo(), threads=2) as session:
        placement = session.placement
    assert (placement.backend, placement.device, placement.precision) == ("simd", "cpu", "fp32")
    assert (placement.threads, placement.engine) == (2, _isa.active())
    assert _isa.active() in str(placement)


FORCED = """
import sys
import numpy as np
from edgecv.backends import CompileOptions, compile_model
from edgecv.graph.model import OnnxModel
from tests.networks import tiny_yolov8
model = OnnxModel.from_bytes(tiny_yolov8(), origin="tiny")
with compile_model(model, "simd", CompileOptions()) as session:
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    y = session.run({"images": x})["output0"]
    plan = next(iter(session._plans.values())).plan.program
    print(session.placement.engine, plan.isa, float(y.sum()))
"""


@pytest.mark.parametrize("isa", _isa.built())
def test_the_forced_isa_is_the_one_that_runs(isa: str) -> None:
    if isa not in _isa.usable():
        pytest.skip(f"{isa}: not supported by this CPU, which has {', '.join(_isa.usable())}")
    done = subprocess.run(
        [sys.executable, "-c", FORCED],
        env=os.environ | {"EDGECV_ISA": isa},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    engine, plan, total = done.stdout.split()
    assert (engine, plan) == (isa, isa)
    with opened(yolo()) as session:
        assert float(total) == pytest.approx(float(session.run(image())["output0"].sum()), rel=1e-5)


UNSUPPORTED: dict[str, tuple[OnnxModel, str, tuple[str, ...]]] = {
    "an operator": (
        network_of("(float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { a = Relu(x) y = Det(a) }"),
        "operator not claimed",
        ("Det",),
    ),
    "a form": (
        network_of(
            "(float[1, 2, 4, 4, 4] x) => (float[1, 2, 2, 2, 2] y) { y = Conv(x, w) }", w=noise(2, 2, 3, 3, 3)
        ),
        "form not claimed",
        ("Conv", "1 to 2 axes of pixels"),
    ),
    "an element type": (
        network_of("(double[3, 4] x) => (double[3, 5] y) { y = MatMul(x, w) }", w=np.ones((4, 5))),
        "element type",
        ("MatMul", "float64"),
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_it_cannot_run_is_told_at_compile_time(name: str) -> None:
    network, reason, words = UNSUPPORTED[name]
    network.proto.graph.node[-1].name = "the_node"
    with pytest.raises(UnsupportedOperatorError, match="the_node") as caught:
        compiled(network)
    assert caught.value.reason == reason
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("simd", "tiny.onnx", *words))
    _, _, able = text.partition("backends that can run it: ")
    others = [n for n in usable() if n != "simd"]
    assert able == "none of the others that are usable here" or set(able.split(", ")) <= set(others)
    if name == "a form" and "onnxruntime" in others:
        assert "onnxruntime" in able


def test_without_a_name_another_runs_what_it_cannot() -> None:
    if usable()[:2] != ["simd", "onnxruntime"]:
        pytest.skip(f"needs onnxruntime; usable here: {', '.join(usable())}")
    network, _, (_, why) = UNSUPPORTED["a form"]
    with compile_model(network, None, CompileOptions(threads=1)) as session:
        assert session.placement.backend == "onnxruntime"
        ((name, reason),) = session.placement.fallbacks
        assert name == "simd"
        assert why in reason


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"precision": "fp16"}, {"device": "cuda"}])
def test_what_it_cannot_run_as_asked_is_an_error(options: dict[str, str]) -> None:
    with pytest.raises(PlacementError, match=next(iter(options.values()))):
        compiled(yolo(), **options)


def test_a_model_of_halves() -> None:
    network = network_of(
        "(float16[2, 8] x) => (float16[2, 8] y) { y = MatMul(x, w) }", w=np.ones((8, 8), np.float16)
    )
    assert network.precision == "fp16"
    placed = compiled(network).placement
    assert (placed.stored, placed.precision) == ("fp16", "fp32")
    with pytest.raises(PlacementError, match="precision fp16 was asked for, and the engine computes in fp32"):
        compiled(network, precision="fp16")


# ---- What a run asks of the C library

COMPILED = """
import ctypes
import numpy as np
from edgecv import _simd
from edgecv.backends import CompileOptions, compile_model
from edgecv.graph.model import OnnxModel
from tests.networks import tiny_yolov8

libc = ctypes.CDLL(None)
session = compile_model(OnnxModel.from_bytes(tiny_yolov8(), origin="tiny"), "simd", CompileOptions())
x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
session.run({"images": x})
context, pool = next(iter(session._plans.values())).context, _simd.Pool(1)
inputs, outputs = (x,), tuple(session.empty_outputs().values())
"""


@pytest.mark.skipif(COMPILER is None, reason="no C compiler to build the counter with")
@pytest.mark.skipif(
    sys.platform != "linux" or os.environ.get("EDGECV_TEST_PROFILE") == "emulated",
    reason="needs a Linux kernel of its own, not an emulator's",
)
def test_a_compiled_plan_allocates_nothing_and_takes_no_lock(tmp_path: Path) -> None:
    library = tmp_path / "count_calls.so"
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the counter does not build here: {built.stderr.splitlines()[0]}")
    done = subprocess.run(
        [sys.executable, "-c", COMPILED + COUNT],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs, control = done.stdout.splitlines()
    _, one, thousand = map(int, runs.split())
    assert thousand == one, "a run calls the C library for memory, a lock or the system"
    assert int(control) > 0, "the counter counts nothing"

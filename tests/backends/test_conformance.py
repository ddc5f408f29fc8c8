"""Every backend against the same cases: a new backend is a new row of the registry, nothing here."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.numpy_helper import to_array

import edgecv
from edgecv.backends import BACKENDS, CompileOptions, Session, compile_model, parse_names
from edgecv.errors import (
    BackendError,
    BackendUnavailableError,
    CancelledError,
    DeadlineError,
    InputError,
    PlacementError,
    SessionBusyError,
)
from edgecv.importers import read_model
from tests import growth
from tests.networks import CLASSES, STRIDES, model_bytes, tiny_yolov8

ONE_THREAD = CompileOptions(threads=1)


@pytest.fixture(params=list(BACKENDS))
def name(request: pytest.FixtureRequest) -> str:
    reason = BACKENDS[request.param].unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


def compiled(data: bytes, name: str, **options: Any) -> Session[Any]:
    return compile_model(read_model(data), name, CompileOptions(**{"threads": 1, **options}))


def truth(data: bytes, images: np.ndarray) -> np.ndarray:
    """What `tiny_yolov8` computes, in NumPy and float64."""
    weights = {t.name: t for t in read_model(data).proto.graph.initializer}
    batch, _, height, width = images.shape
    levels = []
    for s in STRIDES:
        kernel = to_array(weights[f"weight{s}"]).astype(np.float64)
        patches = images.reshape(batch, 3, height // s, s, width // s, s).transpose(0, 2, 4, 1, 3, 5)
        raw = np.einsum("bhwcij,ocij->bohw", patches, kernel)
        raw += to_array(weights[f"bias{s}"]).reshape(1, -1, 1, 1)
        levels.append(raw.reshape(batch, 4 + CLASSES, -1))
    return 1 / (1 + np.exp(-np.concatenate(levels, axis=2))) * to_array(weights["scale"])


def images(batch: int = 1, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 3, size, size), np.float32)


def close(a: np.ndarray, b: np.ndarray, eps: float = 1e-5) -> bool:
    return bool(np.abs(a - b).max() <= eps * np.abs(b).max())


def test_output_is_right(name: str) -> None:
    data = tiny_yolov8()
    with compiled(data, name) as session:
        outputs = session.run({"images": images()})
    assert list(outputs) == ["output0"]
    assert outputs["output0"].dtype == np.float32
    assert close(outputs["output0"], truth(data, images()))


def test_outputs_are_fresh_arrays(name: str) -> None:
    with compiled(tiny_yolov8(), name) as session:
        first = session.run({"images": images(seed=1)})["output0"]
        kept = first.copy()
        session.run({"images": images(seed=2)})
        np.testing.assert_array_equal(first, kept)


def test_out_is_written_in_place(name: str) -> None:
    with compiled(tiny_yolov8(), name) as session:
        out = session.empty_outputs()
        expected = session.run({"images": images()})
        result = session.run({"images": images()}, out=out)
        assert result["output0"] is out["output0"]
        np.testing.assert_array_equal(out["output0"], expected["output0"])


def test_outputs_keep_the_models_order(name: str) -> None:
    data = model_bytes(
        [helper.make_node("Relu", ["x"], ["zeta"]), helper.make_node("Neg", ["x"], ["alpha"])],
        inputs=[("x", [1, 2, 4, 4])],
        outputs=[("zeta", [1, 2, 4, 4]), ("alpha", [1, 2, 4, 4])],
    )
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    with compiled(data, name) as session:
        outputs = session.run({"x": x})
    assert list(outputs) == ["zeta", "alpha"]
    np.testing.assert_array_equal(outputs["alpha"], -x)
    np.testing.assert_array_equal(outputs["zeta"], np.maximum(x, 0))


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]], ids=str)
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 0]], ids=str)
def test_convolution_of_points_with_padding(name: str, pads: list[int], strides: list[int]) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 16, 9, 9)), rng.standard_normal((8, 16, 1, 1))
    bias = rng.standard_normal(8)
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))[:, :, :: strides[0], :: strides[1]]
    expected = np.einsum("bchw,oc->bohw", padded, weight[..., 0, 0]) + bias.reshape(1, -1, 1, 1)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[1, 1], pads=pads, strides=strides)
    data = model_bytes(
        [node],
        inputs=[("x", list(x.shape))],
        outputs=[("y", list(expected.shape))],
        weights={"w": weight.astype(np.float32), "b": bias.astype(np.float32)},
    )
    with compiled(data, name) as session:
        assert close(session.run({"x": x.astype(np.float32)})["y"], expected)


def test_dynamic_shapes_are_prepared(name: str) -> None:
    data = tiny_yolov8(batch="batch", dynamic=True)
    with compiled(data, name) as session:
        with pytest.raises(InputError, match="no shape is prepared"):
            session.empty_outputs()
        with pytest.raises(InputError, match="not prepared"):
            session.run({"images": images()})
        for batch, size in ((1, 64), (2, 32), (1, 64)):
            session.prepare({"images": (batch, 3, size, size)})
            blob = images(batch, size)
            assert close(session.run({"images": blob})["output0"], truth(data, blob))
        again = images(3, 96)
        assert close(session.run({"images": again}, replan=True)["output0"], truth(data, again))
        assert session.empty_outputs()["output0"].shape == (3, 4 + CLASSES, 189)


def test_plans_are_bounded(name: str) -> None:
    with compiled(tiny_yolov8(batch="batch"), name) as session:
        for batch in range(1, 11):
            session.prepare({"images": (batch, 3, 64, 64)})
        with pytest.raises(InputError, match="not prepared"):
            session.run({"images": images(1)})
        session.run({"images": images(10)})


WRONG_INPUTS = {
    "no input": ({}, "expected images"),
    "wrong name": ({"image": images()}, "expected images"),
    "extra input": ({"images": images(), "more": images()}, "expected images"),
    "wrong dtype": ({"images": images().astype(np.float64)}, "got float64"),
    "a frame": ({"images": np.zeros((48, 64, 3), np.uint8)}, "image.to_blob"),
    "wrong shape": ({"images": images(size=32)}, r"got shape \(1, 3, 32, 32\)"),
    "wrong rank": ({"images": images()[0]}, r"got shape \(3, 64, 64\)"),
    "strided": ({"images": images()[:, ::-1]}, "not C-contiguous"),
    "a list": ({"images": [1.0]}, "got list"),
}


@pytest.mark.parametrize(("inputs", "named"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
def test_wrong_inputs(name: str, inputs: dict[str, Any], named: str) -> None:
    with compiled(tiny_yolov8(), name) as session, pytest.raises(InputError, match=named):
        session.run(inputs)


def read_only() -> np.ndarray:
    array = np.zeros((1, 7, 84), np.float32)
    array.flags.writeable = False
    return array


WRONG_OUT = {
    "missing": {},
    "shape": {"output0": np.zeros((1, 7, 83), np.float32)},
    "dtype": {"output0": np.zeros((1, 7, 84))},
    "read-only": {"output0": read_only()},
    "strided": {"output0": np.zeros((1, 84, 7), np.float32).transpose(0, 2, 1)},
}


@pytest.mark.parametrize("out", WRONG_OUT.values(), ids=WRONG_OUT.keys())
def test_wrong_out(name: str, out: dict[str, np.ndarray]) -> None:
    with compiled(tiny_yolov8(), name) as session, pytest.raises(InputError, match="out"):
        session.run({"images": images()}, out=out)


def test_absurd_input_size(name: str) -> None:
    """A file that claims a huge input is refused before anything of that size is made."""
    shape = [1, 3, 1 << 20, 1 << 20]
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    data = model_bytes(relu, inputs=[("x", shape)], outputs=[("y", shape)])
    with pytest.raises(InputError, match="1024 MiB that one input may take"):
        compiled(data, name)
    with compiled(tiny_yolov8(batch="batch"), name) as session, pytest.raises(InputError, match="may take"):
        session.prepare({"images": (1 << 20, 3, 64, 64)})


def test_closed_session(name: str) -> None:
    session = compiled(tiny_yolov8(), name)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run({"images": images()})


def test_concurrent_run_raises(name: str) -> None:
    """A session that is inside a run refuses a second thread, and works again afterwards."""
    with compiled(tiny_yolov8(), name) as session:
        entered, leave = threading.Event(), threading.Event()
        execute = session._execute

        def slow(*args: Any) -> Any:
            entered.set()
            leave.wait(10)
            return execute(*args)

        session._execute = slow  # type: ignore[method-assign]
        thread = threading.Thread(target=session.run, args=({"images": images()},))
        thread.start()
        assert entered.wait(10)
        with pytest.raises(SessionBusyError, match="another thread"):
            session.run({"images": images()})
        leave.set()
        thread.join()
        session.run({"images": images()})


def test_placement_is_what_runs(name: str) -> None:
    with compiled(tiny_yolov8(), name) as session:
        placement = session.placement
        assert (placement.backend, placement.device) == (name, "cpu")
        assert (placement.stored, placement.precision) == ("fp32", "fp32")
        assert placement.threads == 1
        assert placement.version == BACKENDS[name].version()
        assert placement.engine
        assert session.memory.weights


# ---- Deadlines, cancelling, and sessions that share


def ahead(seconds: float) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def test_a_deadline_that_is_past_raises_before_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with compiled(tiny_yolov8(), name) as session:
        expected = session.run({"images": images()})["output0"]
        with monkeypatch.context() as patch:

            def no_run(*_: Any) -> Any:
                raise AssertionError("it ran")

            patch.setattr(session, "_execute", no_run)
            for past in (1, ahead(-1), ahead(0)):
                with pytest.raises(DeadlineError, match="not begun: its deadline passed"):
                    session.run({"images": images()}, deadline_ns=past)
        for future in (0, ahead(60)):
            result = session.run({"images": images()}, deadline_ns=future)
            np.testing.assert_array_equal(result["output0"], expected)


def test_a_run_that_is_done_late_has_no_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with compiled(tiny_yolov8(), name) as session:
        assert session.compiled.deadline == ("ends" if name == "simd" else "judges")
        execute = session._execute

        def slow(*args: Any) -> Any:
            results = execute(*args)
            time.sleep(0.2)
            return results

        monkeypatch.setattr(session, "_execute", slow)
        with pytest.raises(DeadlineError, match=r"done .* ms after its deadline, and not used"):
            session.run({"images": images()}, deadline_ns=ahead(0.15))
        monkeypatch.undo()
        session.run({"images": images()}, deadline_ns=ahead(60))


@pytest.mark.parametrize(
    ("deadline_ns", "message"),
    [
        (-1, "expected whole nanoseconds"),
        (0.5, "expected whole nanoseconds"),
        (True, "expected whole nanoseconds"),
        (None, "expected whole nanoseconds"),
        (time.time_ns() + 10**9, r"time.time_ns\(\) is another clock"),
    ],
    ids=["negative", "half", "true", "none", "wall clock"],
)
def test_deadlines_that_are_none(name: str, deadline_ns: Any, message: str) -> None:
    with compiled(tiny_yolov8(), name) as session, pytest.raises(InputError, match=message):
        session.run({"images": images()}, deadline_ns=deadline_ns)


def test_a_run_that_is_cancelled_has_no_result(name: str) -> None:
    with compiled(tiny_yolov8(), name) as session:
        execute = session._execute
        entered, leave = threading.Event(), threading.Event()

        def slow(*args: Any) -> Any:
            entered.set()
            leave.wait(10)
            return execute(*args)

        session._execute = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(session.run, {"images": images()})
            assert entered.wait(10)
            session.cancel()
            leave.set()
            with pytest.raises(CancelledError, match="cancelled"):
                run.result()
        session.cancel()
        session.run({"images": images()})


def test_sessions_of_one_compiled_network_run_at_the_same_time(name: str) -> None:
    data = tiny_yolov8(size=128)
    with compiled(data, name) as session:
        blobs = [images(size=128, seed=seed) for seed in range(4)]
        expected = [session.run({"images": blob})["output0"] for blob in blobs]
        clones = [session.clone() for _ in range(3)]
        assert all(clone.compiled is session.compiled for clone in clones)
        assert all(clone.placement == session.placement for clone in clones)

        def same(each: Session[Any]) -> bool:
            return all(
                np.array_equal(each.run({"images": blob})["output0"], right)
                for _ in range(20)
                for blob, right in zip(blobs, expected, strict=True)
            )

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(same, [session, *clones]))
        for clone in clones:
            clone.close()
        np.testing.assert_array_equal(session.run({"images": blobs[0]})["output0"], expected[0])


def test_a_clone_is_prepared_for_the_same_shapes_and_outlives_its_original(name: str) -> None:
    data = tiny_yolov8(batch="batch", dynamic=True)
    with compiled(data, name) as session:
        session.prepare({"images": (1, 3, 64, 64)})
        session.prepare({"images": (2, 3, 32, 32)})
        clone = session.clone()
    with clone:
        for batch, size in ((1, 64), (2, 32)):
            blob = images(batch, size)
            assert close(clone.run({"images": blob})["output0"], truth(data, blob))
        with pytest.raises(InputError, match="not prepared"):
            clone.run({"images": images(3, 64)})


def test_only_backends_with_threads_of_ours_take_a_pool(name: str) -> None:
    model = read_model(tiny_yolov8())
    with edgecv.Pool(1) as pool:
        if BACKENDS[name].takes_pool:
            with compile_model(model, name, ONE_THREAD, pool=pool) as session:
                assert close(session.run({"images": images()})["output0"], truth(tiny_yolov8(), images()))
            return
        with pytest.raises(PlacementError, match=f"pool: {name} has threads of its own; .*: simd"):
            compile_model(model, name, ONE_THREAD, pool=pool)
        with compile_model(model, name, ONE_THREAD) as session:
            for open_one in (session.clone, session.compiled.open):
                with pytest.raises(PlacementError, match=f"pool: {name} has threads of its own"):
                    open_one(pool)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("deadline_ns", r"it is of one call: run\(inputs, deadline_ns=…\)"),
        ("deadline", r"it is of one call: run\(inputs, deadline_ns=…\)"),
        ("placment", "did you mean placement"),
        ("timeout", "it has .*cancel, clone"),
    ],
)
def test_attributes_that_nobody_looks_at(name: str, attribute: str, message: str) -> None:
    """A deadline that is none would be worse than no deadline."""
    with compiled(tiny_yolov8(), name) as session, session.clone() as clone:
        for each in (session, clone):
            with pytest.raises(AttributeError, match=f"^{attribute}: no attribute of an? .*{message}"):
                setattr(each, attribute, time.monotonic_ns())
            assert not hasattr(each, attribute)


ABSENT = {
    "unknown device": ({"device": "abacus"}, "abacus"),
    "absent device": ({"device": "cuda"}, "cuda"),
    "other precision": ({"precision": "fp16"}, "fp16"),
}


@pytest.mark.parametrize(("options", "named"), ABSENT.values(), ids=ABSENT.keys())
def test_what_cannot_run_as_asked_is_an_error(name: str, options: dict[str, str], named: str) -> None:
    if options.get("device") in BACKENDS[name].devices():
        pytest.skip(f"{name} has {options['device']} here")
    with pytest.raises(PlacementError, match=named):
        compiled(tiny_yolov8(), name, **options)


@pytest.mark.parametrize(
    "options",
    [{"threads": 0}, {"precision": "fp64"}, {"device": "cuda:"}, {"device": ""}, {"device": "a b"}],
)
def test_nonsense_options(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        CompileOptions(**options)


def test_unsupported_operator(name: str) -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="nowhere")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 2])],
        [helper.make_tensor_value_info("y", 1, [1, 2])],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("nowhere", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    with pytest.raises(BackendError, match="cannot compile") as caught:
        compiled(data, name)
    assert "\n" not in str(caught.value)


def growth_of(name: str) -> int:
    with compiled(tiny_yolov8(size=128), name) as session:
        blob, out = images(size=128), session.empty_outputs()
        return growth.least_growth(lambda _: session.run({"images": blob}, out=out))


@pytest.mark.alone
@pytest.mark.slow
def test_memory_stops_growing(name: str) -> None:
    assert growth.in_own_process(growth_of, name) < growth.LEAK


def test_sessions_agree_on_every_backend() -> None:
    usable = [n for n, backend in BACKENDS.items() if backend.unavailable() is None]
    if len(usable) < 2:
        pytest.skip(f"fewer than two backends are usable here: {', '.join(usable)}")
    data = tiny_yolov8(size=128)
    results = []
    for backend in usable:
        with compiled(data, backend) as session:
            results.append(session.run({"images": images(size=128)})["output0"])
    assert all(close(result, results[0]) for result in results[1:])


def test_strict_name_and_named_fallback() -> None:
    usable = [n for n, backend in BACKENDS.items() if backend.unavailable() is None]
    model = read_model(tiny_yolov8())
    with pytest.raises(InputError, match="expected one of"):
        parse_names("nothing")
    with pytest.raises(InputError, match="twice"):
        parse_names("opencv,opencv")
    with compile_model(model, None, ONE_THREAD) as session:
        assert session.placement.backend == usable[0]


def test_fallback_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = list(BACKENDS)[:2]
    if BACKENDS[second].unavailable():
        pytest.skip(f"{second}: {BACKENDS[second].unavailable()}")
    monkeypatch.setattr(BACKENDS[first], "unavailable", lambda: "it is missing in this test")
    model = read_model(tiny_yolov8())
    with compile_model(model, f"{first},{second}", ONE_THREAD) as session:
        assert session.placement.backend == second
        assert session.placement.fallbacks[0][0] == first
        assert "it is missing in this test" in str(session.placement)
    with pytest.raises(BackendUnavailableError, match="it is missing in this test"):
        compile_model(model, first, ONE_THREAD)


def test_no_backend_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in BACKENDS.values():
        monkeypatch.setattr(backend, "unavailable", lambda: "gone")
    with pytest.raises(BackendUnavailableError, match="gone"):
        compile_model(read_model(tiny_yolov8()), None, ONE_THREAD)

"""Libraries of others are compared with another backend before they run, and may fall over where it does no
harm.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgecv
from edgecv import child, machine
from edgecv.backends import BACKENDS, Check, CompileOptions, compile_model, guests, samples, usable, witness
from edgecv.backends.base import Backend, Sample
from edgecv.errors import (
    BackendError,
    DisagreementError,
    InputError,
    PlacementError,
    UnsupportedOperatorError,
)
from edgecv.graph.model import OnnxModel
from edgecv.importers import read_model
from tests.backends import mock_guest
from tests.backends.mock_guest import NAME, network
from tests.networks import model_bytes

ONE = CompileOptions(threads=1)
FRESH = Check(keeps=False)


def needs(name: str) -> pytest.MarkDecorator:
    reason = BACKENDS[name].unavailable()
    return pytest.mark.skipif(reason is not None, reason=f"{name}: {reason}")


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Switched on, with the mock among the backends, here and in the witness's process."""
    monkeypatch.setenv("EDGECV_CHECK", "1")
    monkeypatch.setattr(guests, "WITNESS", "tests.backends.mock_guest:testify")
    BACKENDS[NAME] = mock_guest.MockGuest()
    yield
    del BACKENDS[NAME]


def verdict(model: OnnxModel, name: str = NAME, others: Sequence[str] = ("simd",), how: Check = FRESH) -> str:
    return guests.check(BACKENDS[name], [BACKENDS[other] for other in others], model, "cpu", ONE, None, how)


# ---- What a check finds


@pytest.mark.parametrize(
    ("model", "others", "text"),
    [
        pytest.param(network(), ("simd",), "checked against simd", id="agree"),
        pytest.param(network("other rounding"), ("simd",), "checked against simd", id="but for rounding"),
        pytest.param(network(), (), "unchecked: no second backend runs it", id="alone"),
        pytest.param(
            network(op="Det", operands=1),
            ("simd",),
            "unchecked: no second backend runs it: simd: ",
            id="nobody else can",
        ),
        pytest.param(
            network(op="RandomUniformLike", operands=1),
            ("simd",),
            "unchecked: RandomUniformLike draws numbers",
            id="draws numbers",
        ),
        pytest.param(
            network(op="Log", operands=1),
            ("simd",),
            "unchecked: simd gives numbers that are not finite",
            id="log 0",
        ),
        pytest.param(
            network(shape=["n", "m", 2]), ("simd",), "unchecked: the size of input x", id="free size"
        ),
        pytest.param(
            network(shape=[0, 3, 16, 16]), ("simd",), "unchecked: input x: float32 (0,", id="no values"
        ),
    ],
)
def test_verdicts(model: OnnxModel, others: tuple[str, ...], text: str) -> None:
    assert verdict(model, others=others).startswith(text)


def test_numbers_that_hang_on_the_last_digits_accuse_nobody() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "many"], ["turns"]),
        helper.make_node("Sin", ["turns"], ["y"]),
    ]
    shape = [1, 3, 16, 16]
    data = model_bytes(
        nodes, inputs=[("x", shape)], outputs=[("y", shape)], weights={"many": np.full(1, 1e7, np.float32)}
    )
    assert verdict(read_model(data)) == "unchecked: its numbers hang on the last digits of its input"


@pytest.mark.parametrize("fault", ["wrong values", "not a number"])
def test_two_that_differ_are_named_and_neither_accused(fault: str) -> None:
    with pytest.raises(DisagreementError) as caught:
        verdict(network(fault))
    text = str(caught.value)
    assert text.startswith("mock-guest and simd give different results for net.onnx: 'y' differs by ")
    assert "0.001 is allowed" in text
    assert "which of them is right is not known here" in text
    assert len(text.splitlines()) == 1
    assert isinstance(caught.value, PlacementError)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("crashes", "mock-guest: its process was ended by signal SIGSEGV while mock-guest ran net.onnx"),
        ("is killed", r"was ended by signal SIGKILL \(out of memory\?\)"),
        ("exits", "ended with exit code 3"),
        ("hangs", "no answer within 4 s"),
        ("takes memory", "mock-guest: .*MemoryError"),
        ("fails", "mock-guest: it broke; simd runs the same input"),
    ],
)
def test_a_guest_that_falls_over_is_an_error(fault: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "hangs":
        monkeypatch.setattr(guests, "_QUIET_S", 4.0)
    if fault == "takes memory":
        monkeypatch.setattr(machine, "memory_budget", lambda: 1 << 29)
    with pytest.raises(BackendError, match=text):
        verdict(network(fault), others=("simd",) if fault == "fails" else ())


def test_ctrl_c_waits_for_no_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    call = child.call

    def interrupted(target: str, *args: Any, **named: Any) -> Any:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return call(target, *args, **named)

    monkeypatch.setattr(child, "call", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        verdict(network("hangs"), others=())
    assert time.monotonic() - started < guests._QUIET_S / 2


def test_each_step_is_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(network().data)
    words: list[str] = []
    inputs = {"x": np.ones((1, 3, 16, 16), np.float32)}
    witness.testify(str(path), "net.onnx", "simd", ONE, [inputs, inputs], tell=words.append)
    assert words == ["compiled", "run", "run"]


def test_what_does_not_compile_is_told_by_who_compiles_it() -> None:
    with pytest.raises(BackendError, match="it does not compile"):
        compile_model(network("does not compile"), NAME, ONE)


def test_a_chain_goes_on() -> None:
    with compile_model(network("crashes"), f"{NAME},simd", ONE) as session:
        assert session.placement.backend == "simd"
        ((name, why),) = session.placement.fallbacks
    assert (name, "SIGSEGV" in why) == (NAME, True)


# ---- What is kept, and what does without


def test_a_verdict_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    call = child.call

    def counted(target: str, *args: Any, **named: Any) -> Any:
        calls.append(target)
        return call(target, *args, **named)

    monkeypatch.setattr(child, "call", counted)
    good, bad = network(), network("wrong values")
    first = verdict(good, how=Check())
    asked = len(calls)
    assert asked == 2
    assert verdict(good, how=Check()) == first
    assert len(calls) == asked
    # What it is found by: the network, who is asked, the options, and the input.
    verdict(good, others=(), how=Check())
    assert len(calls) == asked + 1
    verdict(good, how=Check(sample=Sample("other", dict)))
    assert len(calls) == asked + 3
    for _ in range(2):
        with pytest.raises(DisagreementError):
            verdict(bad, how=Check())
    # Two that are asked, and the noise on both kinds of picture.
    assert len(calls) == asked + 3 + 4


@pytest.mark.parametrize("fault", ["crashes", "fails"])
def test_what_may_be_otherwise_the_next_time_is_not_kept(fault: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        verdict(network(fault), how=Check())
    assert not list(tmp_path.rglob("*.ecv"))


@pytest.mark.parametrize("kind", ["check=False", "EDGECV_CHECK=0"])
def test_without_a_check(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "call", None)
    if kind == "EDGECV_CHECK=0":
        monkeypatch.setenv("EDGECV_CHECK", "0")
    with compile_model(network(), NAME, ONE, check=Check(is_wanted=kind != "check=False")) as session:
        assert session.placement.check == f"unchecked: {kind}"
        assert session.placement.as_dict()["check"] == f"unchecked: {kind}"
        assert str(session.placement).endswith(f"; unchecked: {kind}")


def test_our_own_engine_is_no_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "call", None)
    for backend in ("simd", None):
        with compile_model(network(), backend, ONE) as session:
            assert session.placement.check == ""
            assert "check" not in session.placement.as_dict()


# ---- Inputs


def inputs_model(kinds: Sequence[tuple[str, int, list[int]]], nodes: list[Any]) -> OnnxModel:
    graph = helper.make_graph(
        nodes,
        "inputs",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in kinds],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_model(model.SerializeToString())


@needs("onnxruntime")
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            inputs_model(
                [("ids", TensorProto.INT64, [1, 5])], [helper.make_node("Gather", ["table", "ids"], ["y"])]
            ),
            id="tokens",
        ),
        pytest.param(
            inputs_model(
                [("x", TensorProto.FLOAT, [1, 3, 9, 9]), ("scale", TensorProto.FLOAT, [1, 1, 1, 1])],
                [helper.make_node("Div", ["x", "scale"], ["y"])],
            ),
            id="picture and scale",
        ),
        pytest.param(
            inputs_model(
                [("x", TensorProto.UINT8, [1, 9, 9, 3])],
                [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
            ),
            id="pixels, channels last",
        ),
    ],
)
def test_inputs_of_every_kind(model: OnnxModel) -> None:
    assert verdict(model, "onnxruntime") == "checked against simd"


def test_made_up_inputs() -> None:
    model = inputs_model(
        [
            ("nchw", TensorProto.FLOAT, [2, 3, 16, 24]),
            ("pixels", TensorProto.UINT8, [1, 16, 24, 1]),
            ("ids", TensorProto.INT64, [1, 4]),
            ("is_on", TensorProto.BOOL, [2]),
            ("given", TensorProto.FLOAT, [1, 2]),
        ],
        [helper.make_node("Relu", ["given"], ["y"])],
    )
    inputs = model.facts.inputs
    given = np.full((1, 2), 7, np.float32)
    shapes = samples.shapes_of(inputs, {})
    unit, bytes_ = samples.make(inputs, shapes, Sample("", lambda: {"given": given}))
    for made, top in ((unit, 1), (bytes_, 255)):
        assert {name: (array.shape, array.dtype) for name, array in made.items()} == {
            spec.name: (spec.shape, spec.dtype) for spec in inputs
        }
        assert made["nchw"].max() == pytest.approx(top)
        assert not np.array_equal(made["nchw"][0], made["nchw"][1])
        assert made["pixels"].max() > 200
        assert made["ids"].tolist() == [[1, 0, 1, 0]]
        np.testing.assert_array_equal(made["given"], given)
    np.testing.assert_array_equal(unit["nchw"], samples.make(inputs, shapes, None)[0]["nchw"])


def test_shapes_that_are_left_open() -> None:
    model = network(shape=["n", 3, "h", "w"])
    assert samples.shapes_of(model.facts.inputs, {}) == {"x": (1, 3, 320, 320)}
    assert samples.shapes_of(model.facts.inputs, {"x": (2, 3, 8, 8)}) == {"x": (2, 3, 8, 8)}
    with pytest.raises(InputError, match="the size of input x"):
        samples.shapes_of(network(shape=[1, "c", 8, 8]).facts.inputs, {})


# ---- The libraries themselves


def suppression(conf: float = 0.4) -> OnnxModel:
    """A NonMaxSuppression and what gathers its rows; with scores of 0 nothing is found."""
    weights = {"most": np.int64([20]), "iou": np.float32([0.5]), "conf": np.float32([conf])}
    nodes = [
        helper.make_node("Relu", ["logits"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "conf"], ["rows"]),
        helper.make_node("GatherND", ["scores", "rows"], ["best"]),
    ]
    graph = helper.make_graph(
        nodes,
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 8, 4]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2, 8]),
        ],
        [helper.make_tensor_value_info("best", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_model(model.SerializeToString())


@needs("opencv")
def test_opencv_refuses_sizes_that_data_decide() -> None:
    with pytest.raises(
        UnsupportedOperatorError, match="data decide the size of what NonMaxSuppression gives"
    ) as error:
        compile_model(suppression(), "opencv", ONE)
    assert error.value.reason == "sizes that data decide"


@needs("opencv")
def test_opencv_that_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 5 divides by the number of rows found."""
    import cv2

    if not cv2.__version__.startswith("5.0"):
        pytest.skip(f"OpenCV {cv2.__version__} may do better")
    monkeypatch.setattr(type(BACKENDS["opencv"]), "examine", Backend.examine)
    monkeypatch.setattr(guests, "WITNESS", "tests.backends.mock_guest:testify_unexamined")
    with pytest.raises(
        BackendError, match=r"opencv: its process was ended by signal SIGFPE while opencv ran"
    ):
        compile_model(suppression(), "opencv", ONE)


@needs("opencv")
def test_a_network_that_opencv_computes_otherwise() -> None:
    """OpenCV 5.0 pads SAME_LOWER as it pads SAME_UPPER."""
    import cv2

    if not cv2.__version__.startswith("5.0"):
        pytest.skip(f"OpenCV {cv2.__version__} may do better")
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    shape = [1, 3, 16, 16]
    model = read_model(model_bytes([pool], inputs=[("x", shape)], outputs=[("y", shape)]))
    with pytest.raises(DisagreementError, match=r"opencv and simd give different results.*'y' differs by"):
        compile_model(model, "opencv", ONE)
    with compile_model(model, "opencv,simd", ONE) as session:
        assert session.placement.backend == "simd"


@needs("onnxruntime")
def test_what_comes_before_a_choice_is_compared() -> None:
    model = suppression()
    assert verdict(model, "onnxruntime") == "checked against simd"
    if "opencv" in usable():
        # It runs what comes before, and no more.
        told = verdict(model, "onnxruntime", ("opencv",))
        assert told == "checked against opencv up to NonMaxSuppression"


@needs("onnxruntime")
def test_a_model_is_checked_with_its_golden_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, np.ndarray]] = []
    call = child.call

    def watch(target: str, *args: Any, **named: Any) -> Any:
        seen.extend(args[-1])
        return call(target, *args, **named)

    monkeypatch.setattr(child, "call", watch)
    with edgecv.load("parts-nano", backend="onnxruntime", threads=1, warmup=False) as detector:
        assert detector.placement.check == "checked against simd"
        frame = np.load(Path("models/parts-nano/golden.npz"))["frame"]
        blob = detector.new_blob()
        detector.preprocess(frame, blob[0])
    # By the guest and by the other one.
    assert len(seen) == 2
    for inputs in seen:
        np.testing.assert_array_equal(inputs["images"], blob)
    monkeypatch.setattr(child, "call", None)
    with edgecv.load("parts-nano", backend="onnxruntime", threads=1, warmup=False) as detector:
        assert detector.placement.check == "checked against simd"
    with edgecv.load("parts-nano", backend="onnxruntime", threads=1, check=False) as detector:
        assert json.loads(json.dumps(detector.placement.as_dict()))["check"] == "unchecked: check=False"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.0, 2e-7], [0.0, 1e-7], 1e-4),
        ([1.0, np.nan], [1.0, 1.0], np.inf),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0], [1.0, 1.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_difference(a: list[float], b: list[float], expected: float) -> None:
    assert guests.difference(np.float32(a), np.float32(b)) == pytest.approx(expected)

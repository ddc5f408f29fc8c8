"""load() and compile(): what a user names, and what comes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import edgecv
from edgecv.backends import BACKENDS
from edgecv.errors import (
    CancelledError,
    CardError,
    HeadError,
    InputError,
    ModelNotFoundError,
    SessionBusyError,
)
from edgecv.importers.draft import CARD_KEY
from edgecv.types import Detections
from tests import growth
from tests.networks import model_bytes, photo, tiny_yolov8

LABELS = ["nut", "bolt", "washer"]
CARD: dict[str, Any] = {
    "schema": 2,
    "name": "tiny",
    "task": "detect",
    "format": "onnx",
    "inputs": [{"name": "images", "size_wh": [64, 64], "std": [255, 255, 255]}],
    "head": {"type": "yolov8", "output": "output0"},
    "labels": LABELS,
    "thresholds": {"conf": 0.6, "iou": 0.5, "max_det": 7},
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    reason = BACKENDS[request.param].unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    return path


def same(a: Detections, b: Detections) -> None:
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-3)
    np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-5)
    np.testing.assert_array_equal(a.class_id, b.class_id)


def test_bare_model_is_recognized(network: Path, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="edgecv")
    with edgecv.load(network, backend=backend, threads=1, conf=0.1) as detector:
        found = detector(photo())
    assert detector.card.head is not None
    assert detector.card.head.type == "boxes"
    assert detector.names == tuple(LABELS)
    assert len(found) > 0
    assert found.names == tuple(LABELS)
    assert (np.diff(found.confidence) <= 0).all()
    assert (found.xyxy[:, :2] >= 0).all()
    assert (found.xyxy[:, 2:] <= [90, 70]).all()
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
    assert found.placement is not None
    assert found.placement.backend == backend
    assert found.timing is not None
    assert min(found.timing.preprocess_ms, found.timing.inference_ms, found.timing.postprocess_ms) > 0
    assert found.age_ms is None
    assert "no card" in caplog.text


def test_age_counts_from_capture(network: Path) -> None:
    import time

    with edgecv.load(network, threads=1) as detector:
        captured = time.monotonic_ns() - 50_000_000
        age = detector(photo(), captured_ns=captured).age_ms
    assert age is not None
    assert age >= 50


def put_card(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**CARD, **changes}))
    return path


def test_card_beside_the_file_wins(network: Path) -> None:
    put_card(network.with_name("tiny.model.json"))
    with edgecv.load(network, threads=1) as detector:
        assert detector.card.name == "tiny"
        assert (detector.settings.conf, detector.settings.iou, detector.settings.max_det) == (
            0.6,
            0.5,
            7,
        )
        assert len(detector(photo())) <= 7


def test_card_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "with_card.onnx"
    path.write_bytes(tiny_yolov8(metadata={CARD_KEY: json.dumps({**CARD, "name": "inside"})}))
    with edgecv.load(path, threads=1) as detector:
        assert detector.card.name == "inside"


def test_damaged_card_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "with_card.onnx"
    path.write_bytes(tiny_yolov8(metadata={CARD_KEY: "{"}))
    with pytest.raises(CardError, match=r"metadata edgecv\.card"):
        edgecv.load(path)


def test_card_in_the_metadata_cannot_name_a_label_file(tmp_path: Path) -> None:
    path = tmp_path / "with_card.onnx"
    path.write_bytes(tiny_yolov8(metadata={CARD_KEY: json.dumps({**CARD, "labels": "labels.txt"})}))
    with pytest.raises(CardError, match="list the labels themselves"):
        edgecv.load(path)


def test_card_in_the_metadata_is_of_that_network_alone(tmp_path: Path) -> None:
    whole = {field: value for field, value in CARD.items() if field not in ("inputs", "head")}
    stages = {"first": {"inputs": CARD["inputs"]}, "second": {"head": CARD["head"]}}
    path = tmp_path / "with_card.onnx"
    path.write_bytes(tiny_yolov8(metadata={CARD_KEY: json.dumps({**whole, "stages": stages})}))
    with pytest.raises(CardError, match=r"metadata edgecv\.card: it states the stages first, second, and"):
        edgecv.load(path)


def test_named_card_with_weights(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json")
    with edgecv.load(card, weights=network, threads=1) as detector:
        assert detector.card.name == "tiny"
    with edgecv.load(tmp_path, weights=network, threads=1) as detector:
        assert detector.card.name == "tiny"
    with pytest.raises(ModelNotFoundError, match="names no files"):
        edgecv.load(card)
    with pytest.raises(InputError, match="network already"):
        edgecv.load(network, weights=network)


def test_options_come_before_the_card(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json")
    options = {"conf": 0.05, "iou": 0.9, "max_det": 3, "classes": ["bolt", 2]}
    with edgecv.load(card, weights=network, threads=1, **options) as detector:
        found = detector(photo())
    assert 0 < len(found) <= 3
    assert set(found.class_id) <= {1, 2}


def test_conf_per_class(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json")
    with edgecv.load(card, weights=network, threads=1, conf=[0.01, 1, 1], multi_label=True) as detector:
        found = detector(photo())
    assert len(found) > 0
    assert set(found.class_id) == {0}


def test_multi_label_finds_more(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json")
    counts = []
    for multi_label in (False, True):
        with edgecv.load(
            card, weights=network, threads=1, conf=0.01, iou=1, max_det=999, multi_label=multi_label
        ) as detector:
            counts.append(len(detector(photo())))
    assert counts[1] > counts[0]


WRONG = {
    "conf": ({"conf": 1.5}, InputError, "conf: expected a number from 0 to 1"),
    "conf nan": ({"conf": float("nan")}, InputError, "conf: expected a number from 0 to 1"),
    "conf count": ({"conf": [0.5, 0.5]}, InputError, "one a class; got 2"),
    "iou": ({"iou": -1}, InputError, "iou: expected a number from 0 to 1"),
    "max_det": ({"max_det": 0}, InputError, "max_det: expected a whole number of at least 1"),
    "class name": ({"classes": ["gear"]}, InputError, "no class 'gear'"),
    "class id": ({"classes": [3]}, InputError, "0 to 2"),
    "imgsz": ({"imgsz": 96}, InputError, "fixed at 64x64"),
    "backend": ({"backend": "abacus"}, InputError, "expected one of"),
    "device": ({"device": "cpu:\u00b2"}, InputError, "device: expected a name such as cpu"),
    "threads": ({"threads": 0}, InputError, "threads: expected a whole number from 1 to 256"),
}


@pytest.mark.parametrize(("options", "error", "named"), WRONG.values(), ids=WRONG.keys())
def test_wrong_options(network: Path, options: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        edgecv.load(network, **options)


def test_wrong_frames(network: Path) -> None:
    with edgecv.load(network, threads=1) as detector:
        for frame in (
            np.zeros((4, 4, 3), np.float32),
            np.zeros((4, 4, 5), np.uint8),
            np.zeros(4, np.uint8),
        ):
            with pytest.raises(InputError, match="frame"):
                detector(frame)


def test_a_frame_of_one_pixel(network: Path) -> None:
    with edgecv.load(network, threads=1, conf=0.01) as detector:
        found = detector(photo(1, 1))
    assert len(found) > 0
    assert found.xyxy.min() >= 0
    assert found.xyxy.max() <= 1


BATCHES = {
    "static 1": {"batch": 1},
    "static 2": {"batch": 2},
    "dynamic": {"batch": "batch"},
}


@pytest.mark.parametrize("options", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_batch_equals_single_calls(tmp_path: Path, backend: str, options: dict[str, Any], count: int) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(**options))
    frames = [photo(60 + 13 * i, 50 + 7 * i, seed=i) for i in range(count)]
    with edgecv.load(path, backend=backend, threads=1, conf=0.1) as detector:
        singles = [detector(frame) for frame in frames]
        batch = detector.batch(frames)
    assert len(batch) == count
    for one, other in zip(singles, batch, strict=True):
        same(one, other)


def test_dynamic_size(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(batch="batch", dynamic=True))
    with edgecv.load(path, backend=backend, threads=1, conf=0.1, imgsz=(96, 32)) as detector:
        found = detector(photo())
        assert detector.blob_wh == (96, 32)
        assert len(found) > 0


def test_two_threads_on_one_detector(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edgecv.load(network, threads=1) as detector:
        entered, leave = threading.Event(), threading.Event()
        infer = detector.infer

        def slow(*args: Any) -> Any:
            entered.set()
            leave.wait(10)
            return infer(*args)

        monkeypatch.setattr(detector, "infer", slow)
        thread = threading.Thread(target=detector, args=(photo(),))
        thread.start()
        assert entered.wait(10)
        with pytest.raises(SessionBusyError, match=r"its own, as detector\.clone\(\) makes one"):
            detector(photo())
        with pytest.raises(SessionBusyError, match="another thread"):
            detector.inspect(photo())
        with detector.clone() as clone:
            found = clone(photo())
        leave.set()
        thread.join()
        assert found == detector(photo())


def test_a_frame_is_cancelled_between_its_stages(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edgecv.load(network, threads=1) as detector:
        preprocess = detector.preprocess

        def cancelled(*args: Any) -> Any:
            detector.cancel()
            return preprocess(*args)

        monkeypatch.setattr(detector, "preprocess", cancelled)
        monkeypatch.setattr(detector, "infer", None)
        with pytest.raises(CancelledError):
            detector(photo())


def test_a_signal_that_closes_a_detector_within_a_run(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler runs in the thread whose run it interrupts, which it cannot wait for."""
    with edgecv.load(network, threads=1) as detector:
        monkeypatch.setattr(detector, "infer", lambda *_: detector.close())
        with pytest.raises(SessionBusyError, match="this very thread"):
            detector(photo())


def growth_of(network: Path, backend: str) -> int:
    frames = [photo(640, 480, seed=i) for i in range(4)]
    with edgecv.load(network, backend=backend, threads=1, conf=0.1) as detector:
        return growth.least_growth(lambda number: detector(frames[number % 4]))


@pytest.mark.alone
@pytest.mark.slow
def test_memory_stops_growing(network: Path, backend: str) -> None:
    """Frames through preprocessing, backend and NMS leave nothing behind."""
    assert growth.in_own_process(growth_of, network, backend) < growth.LEAK


def test_ambiguous_network_lists_what_settles_it(tmp_path: Path) -> None:
    path = tmp_path / "mystery.onnx"
    path.write_bytes(
        model_bytes(
            [helper.make_node("Relu", ["x"], ["y"])],
            inputs=[("x", [1, 3, 8, 8])],
            outputs=[("y", [1, 3, 8, 8])],
        )
    )
    with pytest.raises(HeadError, match=r"model\.json"):
        edgecv.load(path)


def test_card_that_names_another_input(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json", inputs=[{"name": "image", "size_wh": [64, 64]}])
    with pytest.raises(CardError, match="names 'image'"):
        edgecv.load(card, weights=network)


def test_card_that_states_another_size(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json", inputs=[{"name": "images", "size_wh": [96, 64]}])
    with pytest.raises(CardError, match="states 96x64, and the network's input is fixed at 64x64"):
        edgecv.load(card, weights=network)


def test_card_with_another_head(network: Path, tmp_path: Path) -> None:
    card = put_card(tmp_path / "model.json", head={"type": "yolo_e2e", "output": "output0"})
    with pytest.raises(HeadError, match="output0"):
        edgecv.load(card, weights=network)


@pytest.mark.parametrize("name", ["nothing-like-this", "missing.onnx", "no/such/file.onnx"])
def test_missing_model(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        edgecv.load(name)


def test_compile_from_path_and_bytes(network: Path, backend: str) -> None:
    blob = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    results = []
    for source in (network, str(network), network.read_bytes()):
        with edgecv.compile(source, backend=backend, threads=1) as session:
            results.append(session.run({"images": blob})["output0"])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


REAL = {
    "yolox-nano-416": 3,
    "nanodet-m-416": 3,
    "fastestdet-352": 3,
    "picodet-s-320": 3,
    "light-person-detector": 3,
    "yunet-n-640": 2,
    "scrfd-500m-kps": 2,
    "ultraface-rfb-320": 2,
    "ultraface-rfb-640": 2,
    "face-mask-260": 1,
}
# What each finds on a street with a bus; the others find both.
FOUND = {
    "yunet": "face",
    "ultraface": "face",
    "scrfd": "face",
    "face-mask": "no mask",
    "light-person": "person",
}


@pytest.mark.parametrize("name", REAL)
def test_real_models_find_what_is_there(
    third_party_models: Path, shared: Callable[[str], Path], backend: str, name: str
) -> None:
    from edgecv.media import read_image

    only = next((found for stem, found in FOUND.items() if name.startswith(stem)), None)
    frame = read_image(shared("data/photos/bus.jpg"))
    with edgecv.load(name, backend=backend, threads=1) as detector:
        found = detector(frame)
    names = [found.class_name(int(c)) for c in found.class_id]
    assert len(found) >= REAL[name]
    assert ({only} if only else {"bus", "person"}) <= set(names)


@pytest.mark.parametrize("number", range(10))
def test_lenet_reads_digits(third_party_models: Path, backend: str, number: int) -> None:
    """White on black and as large as those of MNIST, 20 of 28 pixels."""
    cv2 = pytest.importorskip("cv2", reason="digits are drawn by OpenCV")
    large = cv2.putText(np.zeros((280, 280), np.uint8), str(number), (80, 205), 0, 6, 255, 25, cv2.LINE_AA)
    ys, xs = np.nonzero(large)
    digit = large[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    scale = 20 / max(digit.shape)
    digit = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.zeros((28, 28, 3), np.uint8)
    top, left = (28 - digit.shape[0]) // 2, (28 - digit.shape[1]) // 2
    frame[top : top + digit.shape[0], left : left + digit.shape[1]] = digit[..., None]
    with edgecv.load("lenet", backend=backend, threads=1) as classifier:
        found = classifier(frame)
    assert found.as_dict()["classes"][0]["class_name"] == str(number)

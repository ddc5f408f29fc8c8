"""verify() finds what it is there to find: each stage is made to diverge, and must be named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgecv
from edgecv import child, image_reference
from edgecv.backends import BACKENDS
from edgecv.backends.onnxruntime import OnnxRuntimeSession
from edgecv.errors import BackendUnavailableError, CardError, ChecksumError
from edgecv.masks import Masks
from edgecv.media.synthetic import synthetic_frame
from edgecv.options import LoadOptions
from edgecv.pipelines.detector import Detector
from edgecv.verify import VerifyReport, _compare_found, _Found, golden_tensors, verify
from tests.children import call_here
from tests.networks import tiny_yolov8

pytestmark = pytest.mark.skipif(
    BACKENDS["onnxruntime"].unavailable() is not None, reason="golden tensors are made with onnxruntime"
)

CALL = child.call


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests change backends; `test_a_library_that_ends_its_process` has the real thing."""
    monkeypatch.setattr(child, "call", call_here)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card with golden tensors, and its network beside it."""
    network = tiny_yolov8()
    (tmp_path / "tiny.onnx").write_bytes(network)
    stated: dict[str, Any] = {
        "schema": 2,
        "name": "tiny",
        "task": "detect",
        "format": "onnx",
        "files": [entry(tmp_path / "tiny.onnx")],
        "inputs": [{"name": "images", "size_wh": [64, 64], "color": "rgb", "std": [255, 255, 255]}],
        "head": {"type": "yolov8"},
        "labels": ["nut", "bolt", "washer"],
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps(stated))
    with edgecv.load(path, backend="onnxruntime", threads=1) as detector:
        frame, blob = synthetic_frame(90, 70), detector.new_blob()
        detector.preprocess(frame, blob[0])
        np.savez(tmp_path / "golden.npz", **golden_tensors(frame, detector.infer(blob), values=100))
    stated["golden"] = {
        "file": entry(tmp_path / "golden.npz"),
        "blob_sha256": hashlib.sha256(blob.tobytes()).hexdigest(),
    }
    path.write_text(json.dumps(stated))
    return path


def entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"path": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def changed_golden(card: Path, **tensors: np.ndarray) -> None:
    """Golden tensors with some replaced, and a card that states their new hash."""
    path = card.with_name("golden.npz")
    with np.load(path) as golden:
        merged = {**{name: golden[name] for name in golden.files}, **tensors}
    np.savez(path, **merged)
    stated = json.loads(card.read_text())
    stated["golden"]["file"] = entry(path)
    card.write_text(json.dumps(stated))


def first(report: VerifyReport) -> tuple[str, str]:
    assert report.first_divergence is not None
    return report.first_divergence.stage, report.first_divergence.subject


def test_all_is_well(card: Path) -> None:
    report = verify(card)
    assert report.first_divergence is None
    done = {(c.stage, c.against) for c in report.checks if c.status == "ok"}
    assert {("blob", "NumPy reference"), ("blob", "golden sha256"), ("outputs", "golden")} <= done
    usable = [name for name, backend in BACKENDS.items() if backend.unavailable() is None]
    if len(usable) > 1:
        matched = next(c for c in report.checks if c.stage == "candidates")
        assert int(matched.detail.split()[0]) > 100


def test_blob_that_differs_from_the_reference(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = image_reference.to_blob

    def off_by_little(*args: Any, **kwargs: Any) -> Any:
        blob = truth(*args, **kwargs)
        blob[0, 1, 2, 3] += 1e-6
        return blob

    monkeypatch.setattr(image_reference, "to_blob", off_by_little)
    report = verify(card)
    assert first(report) == ("blob", "preprocessing")
    assert report.first_divergence is not None
    assert "(0, 1, 2, 3)" in report.first_divergence.detail


def test_blob_hash(card: Path) -> None:
    stated = json.loads(card.read_text())
    stated["golden"]["blob_sha256"] = "0" * 64
    card.write_text(json.dumps(stated))
    report = verify(card)
    assert first(report) == ("blob", "preprocessing")
    assert report.first_divergence is not None
    assert report.first_divergence.against == "golden sha256"


def test_golden_outputs(card: Path) -> None:
    with np.load(card.with_name("golden.npz")) as golden:
        output = golden["output0"].copy()
    output[7] += 0.2
    changed_golden(card, output0=output)
    report = verify(card)
    assert first(report)[0] == "outputs"
    assert report.first_divergence is not None
    assert report.first_divergence.against == "golden"
    assert "(7,)" in report.first_divergence.detail


@pytest.fixture
def second_backend() -> str:
    usable = [name for name, backend in BACKENDS.items() if backend.unavailable() is None]
    if len(usable) < 2:
        pytest.skip(f"fewer than two backends are usable here: {', '.join(usable)}")
    return next(name for name in usable if name != "onnxruntime")


def test_raw_outputs_between_backends(
    card: Path, second_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = OnnxRuntimeSession._execute

    def off(self: OnnxRuntimeSession, *args: Any) -> Any:
        outputs = execute(self, *args)
        outputs["output0"] *= 1.01
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "_execute", off)
    report = verify(card, LoadOptions(backend=f"{second_backend},onnxruntime"), frame=synthetic_frame(90, 70))
    assert first(report) == ("outputs", "onnxruntime")


@pytest.mark.parametrize("stage", ["candidates", "detections"])
def test_later_stages_between_backends(
    card: Path, second_backend: str, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Same outputs, but one backend's boxes are shifted from this stage on."""
    method = "candidates" if stage == "candidates" else "postprocess"
    original = getattr(Detector, method)

    def shifted(self: Detector, *args: Any) -> Any:

        found = original(self, *args)
        if self.placement.backend == second_backend:
            return msgspec.structs.replace(found, xyxy=found.xyxy + 9)
        return found

    monkeypatch.setattr(Detector, method, shifted)
    report = verify(card, LoadOptions(backend=f"onnxruntime,{second_backend}"))
    assert first(report) == (stage, second_backend)
    assert report.first_divergence is not None
    assert "missing in" in report.first_divergence.detail


def test_not_finite_is_a_divergence(card: Path, second_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = OnnxRuntimeSession._execute

    def broken(self: OnnxRuntimeSession, *args: Any) -> Any:
        outputs = execute(self, *args)
        outputs["output0"][0, 0, 0] = np.nan
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "_execute", broken)
    report = verify(card)
    assert first(report) == ("outputs", "onnxruntime")


def test_backend_that_fails_is_an_error_in_the_report(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv.errors import BackendError

    def fail(*_: Any) -> Any:
        raise BackendError("it broke in this test")

    monkeypatch.setattr(OnnxRuntimeSession, "_execute", fail)
    report = verify(card)
    assert first(report) == ("outputs", "onnxruntime")
    assert report.as_dict()["first_divergence"]["status"] == "error"


def test_a_library_that_ends_its_process(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is real, and so is its end."""
    monkeypatch.setattr(child, "call", lambda _, *args, **named: CALL("os:abort", **named))
    report = verify(card, LoadOptions(backend="onnxruntime"))
    assert first(report) == ("outputs", "onnxruntime")
    assert report.first_divergence is not None
    assert report.first_divergence.status == "error"
    why = "onnxruntime: its process was ended by signal SIGABRT while onnxruntime ran tiny"
    assert report.first_divergence.detail.startswith(why)


def test_a_library_of_others_runs_elsewhere(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "call", CALL)
    monkeypatch.setattr(OnnxRuntimeSession, "_execute", None)
    assert verify(card, LoadOptions(backend="onnxruntime")).first_divergence is None


@pytest.mark.parametrize("kind", ["no frame", "not an archive", "pickled"])
def test_bad_golden_file(card: Path, kind: str) -> None:
    path = card.with_name("golden.npz")
    if kind == "no frame":
        np.savez(path, other=np.zeros(1))
    elif kind == "pickled":
        np.savez(path, frame=np.array([{"a": 1}], dtype=object))
    else:
        path.write_bytes(b"not an archive")
    stated = json.loads(card.read_text())
    stated["golden"]["file"] = entry(path)
    card.write_text(json.dumps(stated))
    with pytest.raises(CardError, match=r"golden\.npz"):
        verify(card)


def test_golden_file_that_is_not_the_cards(card: Path) -> None:
    np.savez(card.with_name("golden.npz"), frame=synthetic_frame(8, 8))
    with pytest.raises(ChecksumError, match=r"golden\.npz"):
        verify(card)


def test_missing_golden_file(card: Path) -> None:
    card.with_name("golden.npz").unlink()
    with pytest.raises(CardError, match="missing"):
        verify(card)


def test_no_backend_is_not_a_pass(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in BACKENDS.values():
        monkeypatch.setattr(backend, "unavailable", lambda: "gone in this test")
    with pytest.raises(BackendUnavailableError, match="gone in this test"):
        verify(card)


def found(confidence: list[float], xyxy: list[list[float]], most: float = 300) -> _Found:
    boxes = np.array(xyxy, np.float32)
    return _Found(boxes, np.array(confidence, np.float32), np.zeros(len(boxes), np.int32), 0.5, most)


def test_either_of_two_equals_may_have_driven_out_the_other() -> None:
    one, other = [0.0, 0.0, 10.0, 10.0], [0.0, 2.0, 10.0, 12.0]
    a, b = found([0.9], [one]), found([0.9 - 1e-6], [other])
    check = _compare_found("detections", "a", "b", a, b)
    assert (check.status, check.detail) == ("ok", "0 matched, 2 ties")
    worse = found([0.8], [other])
    assert _compare_found("detections", "a", "b", a, worse).status == "diverged"


def test_of_equals_at_the_end_of_a_full_list_either_may_be_cut_off() -> None:
    first, second, third = [0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [40.0, 0.0, 49.0, 9.0]
    a, b = found([0.9, 0.5], [first, second], 2), found([0.9, 0.5], [first, third], 2)
    assert _compare_found("detections", "a", "b", a, b).status == "ok"
    a, b = found([0.9, 0.5], [first, second]), found([0.9, 0.5], [first, third])
    assert _compare_found("detections", "a", "b", a, b).status == "diverged"


BOX = [10.0, 10.0, 30.0, 30.0]


def one(**columns: Any) -> _Found:
    return dataclasses.replace(found([0.9], [BOX]), **columns)


def points(x: float = 20, confidence: float = 0.9) -> dict[str, Any]:
    return {"keypoints": np.array([[[x, 20, confidence], [15, 15, 0.5]]], np.float32)}


def masks(*, missing: int, side: int = 20) -> dict[str, Any]:
    """A square with some pixels less."""
    crop = np.ones(side * side, bool)
    crop[:missing] = False
    corner = np.array([[10, 10]], np.int32)
    return {"masks": Masks((crop.reshape(side, side),), corner, (64, 64))}


def oriented(angle: float, width: float = 20) -> dict[str, Any]:
    return {"xywhr": np.array([[20, 20, width, 6, angle]], np.float32)}


COLUMNS = {
    "the same point": (points(), points(20.2), True),
    "another point": (points(), points(21), False),
    "a point of another confidence": (points(), points(20, 0.8), False),
    "a point that hardly shows": (points(20, 0.002), points(60, 0.001), True),
    "the same mask": (masks(missing=0), masks(missing=15), True),
    "another mask": (masks(missing=0), masks(missing=25), False),
    "a small mask": (masks(missing=0, side=3), masks(missing=4, side=3), True),
    "the same direction": (oriented(0.3), oriented(0.302), True),
    "a width that may drive out another": (oriented(0.3), oriented(0.3, 45), True),
    "another direction": (oriented(0.3), oriented(1.8), False),
    "a direction turned by half": (oriented(0.3), oriented(0.3 + np.pi), True),
    "another width": (oriented(0.3), oriented(0.3, 80), False),
}


@pytest.mark.parametrize(("a", "b", "same"), COLUMNS.values(), ids=COLUMNS.keys())
def test_every_column_is_compared(a: dict[str, Any], b: dict[str, Any], same: bool) -> None:
    for left, right in ((a, b), (b, a)):
        check = _compare_found("detections", "a", "b", one(**left), one(**right))
        assert check.status == ("ok" if same else "diverged"), check.detail
        if not same:
            assert "such as class 0 at (10.0, 10.0, 30.0, 30.0) with 0.900" in check.detail

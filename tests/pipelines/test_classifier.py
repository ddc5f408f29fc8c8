"""The classifier: from a frame to its likeliest classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import edgecv
import edgecv.errors
from edgecv.backends import BACKENDS
from edgecv.errors import CardError, InputError, SessionBusyError
from edgecv.pipelines.classifier import Classifier, top_classes
from tests.model_files import COLORS
from tests.networks import tiny_classifier

CARD: dict[str, Any] = {
    "schema": 2,
    "name": "colors",
    "task": "classify",
    "format": "onnx",
    "inputs": [{"name": "data", "size_wh": [32, 32], "resize": "stretch", "std": [255, 255, 255]}],
    "head": {"type": "classify", "output": "prob"},
    "labels": list(COLORS),
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    reason = BACKENDS[request.param].unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


def put(folder: Path, *, card: dict[str, Any] = CARD, **network: Any) -> Path:
    path = folder / "colors.onnx"
    path.write_bytes(tiny_classifier(**network))
    (folder / "colors.model.json").write_text(json.dumps(card))
    return path


def frame(blue: int, green: int, red: int, size_wh: tuple[int, int] = (50, 40)) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), (blue, green, red), np.uint8)


@pytest.mark.parametrize("softmax", [False, True], ids=["scores", "probabilities"])
@pytest.mark.parametrize("is_map", [False, True], ids=["row", "map"])
def test_it_says_what_the_frame_shows(tmp_path: Path, backend: str, softmax: bool, is_map: bool) -> None:
    head = {"type": "classify", "output": "prob", "is_probability": softmax}
    path = put(tmp_path, card={**CARD, "head": head}, softmax=softmax, is_map=is_map)
    with edgecv.load(path, backend=backend, threads=1) as classifier:
        assert isinstance(classifier, Classifier)
        found = classifier(frame(51, 0, 204))
    scores = np.array([2, 0, 8, 5])
    chances = np.exp(scores - 8) / np.exp(scores - 8).sum()
    assert isinstance(found, edgecv.Classification)
    assert (found.class_id.dtype, found.confidence.dtype) == (np.int32, np.float32)
    assert found.class_id.tolist() == [2, 3, 0, 1]
    np.testing.assert_allclose(found.confidence, chances[[2, 3, 0, 1]], rtol=1e-4)
    assert [found.class_name(class_id) for _, class_id in found] == ["red", "gray", "blue", "green"]
    assert len(found) == 4
    assert found.class_name(99) == "99"
    assert found.timing is not None
    assert [stage for stage, ms in found.timing.stages if ms > 0] == list(Classifier.STAGES)
    assert found.placement is not None
    assert found.placement.backend == backend
    assert found.age_ms is None


def test_top_and_age(tmp_path: Path) -> None:
    import time

    with edgecv.load(put(tmp_path), threads=1, top=2) as classifier:
        found = classifier(frame(255, 0, 0), captured_ns=time.monotonic_ns() - 50_000_000)
    assert found.class_id.tolist() == [0, 3]
    assert found.age_ms is not None
    assert found.age_ms >= 50


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_batch_equals_single_calls(tmp_path: Path, backend: str, batch: int | str) -> None:
    frames = [frame(0, 40 * i, 255 - 40 * i, (20 + i, 30)) for i in range(5)]
    with edgecv.load(put(tmp_path, batch=batch), backend=backend, threads=1) as classifier:
        singles, together = [classifier(one) for one in frames], classifier.batch(frames)
    for one, other in zip(singles, together, strict=True):
        assert one.class_id.tolist() == other.class_id.tolist()
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-6)


WRONG = {
    "top": ({"top": 0}, "top: expected a whole number of at least 1, got 0"),
    "conf": ({"conf": 0.5}, "conf: colors is a model to classify, which takes no conf"),
    "iou": ({"iou": 0.5}, "iou: colors is a model to classify"),
    "max_det": ({"max_det": 3}, "max_det: colors is a model to classify"),
    "classes": ({"classes": ["red"]}, "classes: colors is a model to classify"),
    "multi_label": ({"multi_label": True}, "multi_label: colors is a model to classify"),
    "task": ({"task": "detect"}, "colors: a model to classify, not to detect; `edgecv classify` runs it"),
    "imgsz": ({"imgsz": 64}, "fixed at 32x32"),
    "mean": ({"mean": (1, 2)}, "mean: 2 values for 3 channels: expected 1 or 3"),
    "mean nan": ({"mean": (1, 2, float("nan"))}, "mean: expected a number for each channel"),
    "mean file": ({"mean": __file__}, "for colors give one number a channel, such as 104,117,123"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        edgecv.load(put(tmp_path), **options)


def test_a_detector_takes_no_top(tmp_path: Path) -> None:
    from tests.networks import tiny_yolov8

    (tmp_path / "tiny.onnx").write_bytes(tiny_yolov8())
    with pytest.raises(InputError, match="top: tiny is a model to detect, which takes no top"):
        edgecv.load(tmp_path / "tiny.onnx", top=3)


def test_a_closed_or_busy_classifier_says_so(tmp_path: Path) -> None:
    classifier = edgecv.load(put(tmp_path), threads=1)
    with classifier._exclusive, pytest.raises(SessionBusyError, match="this classifier is running"):
        classifier(frame(0, 0, 0))
    classifier.close()
    classifier.close()
    with pytest.raises(edgecv.errors.BackendError, match="this classifier is closed"):
        classifier(frame(0, 0, 0))


def test_a_head_of_another_task_is_a_card_error(tmp_path: Path) -> None:
    path = put(tmp_path, card={**CARD, "head": {"type": "yolov8"}})
    with pytest.raises(CardError, match="`head` boxes does not classify, which `task` says"):
        edgecv.load(path)


@given(
    arrays(np.float32, st.integers(0, 40), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.integers(1, 50),
)
def test_the_best_come_first_and_of_equal_ones_the_lower_id(confidence: np.ndarray, top: int) -> None:
    expected = sorted(range(len(confidence)), key=lambda i: (-confidence[i], i))[:top]
    got = top_classes(confidence, top)
    assert got.dtype == np.int32
    assert got.tolist() == expected

"""AP of real detectors beside an independent evaluation of the same files, on every backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import edgecv
from edgecv import backends, evaluate, image, image_reference
from edgecv.types import Detections
from tests import boxes_reference
from tests.heads import literal_distances
from tests.heads.literal import candidates

pytest.importorskip("hotcoco", reason="AP needs the extra eval")

# Resize rounding alone moves AP on 80 images by about this much.
OF_REFERENCE = 0.003
BETWEEN_BACKENDS = 0.001
OF_PLAIN = 0.01
PICODET_WH = (320, 320)
FILES = {
    "yolox-nano-416": "onnx/yolox_nano_416.onnx",
    "nanodet-m-416": "onnx/nanodet_m_416.onnx",
    "fastestdet-352": "onnx/fastestdet_352.onnx",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_ap(third_party_models: Path, shared: Callable[[str], Path], name: str) -> None:
    assert_ap(name, FILES[name], shared, evaluate.SETTINGS)


@pytest.mark.slow
def test_ap_of_a_darknet_network(shared: Callable[[str], Path]) -> None:
    """Its reference was taken through OpenCV's yolo layer, which drops what has 0.2 or less of confidence."""
    name = "darknet/yolo_fastest_1.1_coco"
    settings = {**evaluate.SETTINGS, "conf": 0.2}
    assert_ap(shared(f"models/{name}.cfg"), name, shared, settings)


def assert_ap(model: str | Path, file: str, shared: Callable[[str], Path], settings: dict[str, Any]) -> None:
    dataset = evaluate.open_dataset(shared("data/coco80"))
    reference = json.loads(shared("reference/accuracy.json").read_text())["models"][file]["AP"]
    usable = backends.usable()
    if not usable:
        pytest.skip("no backend is usable here")
    found = []
    for backend in usable:
        with edgecv.load(model, backend=backend, threads=1, **settings) as detector:
            report = evaluate.evaluate(detector, dataset)
        assert msgspec.structs.asdict(report.thresholds) == settings
        assert not report.failures
        assert report.AP is not None
        found.append(report.AP)
    assert max(abs(ap - reference) for ap in found) <= OF_REFERENCE
    assert max(found) - min(found) <= BETWEEN_BACKENDS


class PlainPicoDet:
    """ONNX Runtime, PicoDet's formula in plain loops, and resizing and NMS by their definitions in NumPy."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.names = names
        onnxruntime = pytest.importorskip("onnxruntime", reason="the reference runs on ONNX Runtime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._spec = image.BlobSpec(size_wh=PICODET_WH, color="rgb", resize="stretch")

    def __call__(self, frame: NDArray[np.uint8], captured_ns: int | None = None) -> Detections:
        pixels = image_reference.to_blob(frame, self._spec) / 255
        mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
        blob = ((pixels - mean) / std).astype(np.float32)
        found = [array[0] for array in self._session.run(None, {"image": blob})]
        roles = [f"{role}{stride}" for role in ("cls", "reg") for stride in literal_distances.P6]
        rows = literal_distances.picodet(dict(zip(roles, found, strict=True)), {}, PICODET_WH)
        best = candidates(rows, evaluate.SETTINGS["conf"], True, 30_000)
        xyxy = np.array([one.xyxy for one in best], np.float32).reshape(-1, 4)
        confidence = np.array([one.confidence for one in best], np.float32)
        class_id = np.array([one.class_id for one in best], np.int32)
        keep = boxes_reference.nms(xyxy, confidence, class_id, evaluate.SETTINGS["iou"], 100)
        scale = np.array(frame.shape[1::-1] * 2, np.float32) / np.array(PICODET_WH * 2, np.float32)
        return Detections(xyxy[keep] * scale, confidence[keep], class_id[keep], names=self.names)


@pytest.mark.slow
def test_ap_of_picodet(third_party_models: Path, shared: Callable[[str], Path]) -> None:
    dataset = evaluate.open_dataset(shared("data/coco80"))
    with edgecv.load("picodet-s-320", threads=1, **evaluate.SETTINGS) as detector:
        plain = PlainPicoDet(shared("models/onnx/picodet_s_320.onnx"), detector.names)
        found, reference = (evaluate.evaluate(one, dataset).AP for one in (detector, plain))
    assert found is not None
    assert reference is not None
    assert reference > 0.3
    assert abs(found - reference) <= OF_PLAIN

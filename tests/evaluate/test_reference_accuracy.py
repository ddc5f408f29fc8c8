"""AP of real detectors beside an independent evaluation of the same files, on every backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edgecv
from edgecv import backends, evaluate

pytest.importorskip("hotcoco", reason="AP needs the extra eval")

# Resize rounding alone moves AP on 80 images by about this much.
OF_REFERENCE = 0.003
BETWEEN_BACKENDS = 0.001
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

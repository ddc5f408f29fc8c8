"""How the numbers of an imported network are held against those of what made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecv.graph.model import OnnxModel
from edgecv.importers import Imported
from tests.oracle.tally import DEVIATION, NUMPY, OPENCV, TRUTH

# Of the largest value of an output.
TOLERANCE = {OPENCV: 1e-4, NUMPY: 1e-5}
Arrays = dict[str, NDArray[Any]]


def run(model: OnnxModel, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The network's outputs by name, by ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in model.facts.outputs]
    taken = {spec.name: inputs[spec.name] for spec in model.facts.inputs}
    return dict(zip(names, session.run(names, taken), strict=True))


def run_all(imported: Imported, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The outputs of every network, each a valid one of opset 13 at most."""
    found: Arrays = {}
    for model in imported.networks.values():
        onnx.checker.check_model(model.proto, full_check=True)
        assert model.opset <= 13
        found |= run(model, inputs)
    return found


def deviation(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Of arrays of as many numbers: the largest difference, in parts of the largest of what is expected."""
    assert got.size == expected.size
    largest = np.abs(expected).max()
    assert 0 < largest < np.inf
    return float(np.abs(got.reshape(-1) - expected.reshape(-1)).max() / largest)


def agree(got: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> bool:
    """Whether OpenCV's numbers are those that are expected."""
    return all(
        got[name].size == value.size and deviation(got[name], value) <= TOLERANCE[OPENCV]
        for name, value in expected.items()
    )


class Compared:
    """What one row of a table is compared with: noted for the line at the end of the run."""

    def __init__(self, truth: str, note: Callable[[tuple[str, object]], None]) -> None:
        self._truth = truth
        self._note = note
        note((TRUTH, truth))

    def assert_same(self, got: Arrays, expected: Mapping[str, NDArray[Any]]) -> None:
        """Every output, by name."""
        assert got
        worst = {name: deviation(value, expected[name]) for name, value in got.items()}
        assert max(worst.values()) <= TOLERANCE[self._truth], worst
        self._note((DEVIATION, max(worst.values())))


# Third-party networks: structure and weights, below the folder of models.
REAL_MODELS = {
    **{
        f"caffe-{stem}": (f"caffe/{stem}.prototxt", f"caffe/{stem}.caffemodel")
        for stem in ("mobilenetv2_yolov3_nano_voc", "ultraface_rfb_320")
    },
    **{
        f"darknet-{stem}": (f"darknet/{stem}.cfg", f"darknet/{stem}.weights")
        for stem in ("mobilenetv2_yolov3_nano_voc", "yolo_fastest_1.1_coco")
    },
    "caffe-squeezenet_v1.0": (
        "deep_compression/squeezenet_v1.0_deploy.prototxt",
        "deep_compression/squeezenet_v1.0.caffemodel",
    ),
}

"""Steps that only move data: at the borders of a network and nowhere else, but for what is listed here.

The numbers are upper bounds for any instruction set; a change that needs more has something to explain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgecv import _isa
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.explain import COPIES
from edgecv.importers import read_model
from tests.engine.test_engine_networks import shapes_of
from tests.engine.topologies import TOPOLOGIES

# At the border: blocks become the caller's arrays, once for each map that is given out.
# Inside: what is before a step that works on plain memory, and a depthwise convolution's input whose channels
# shuffles have scattered over so many blocks that filtering all of those would cost more.
REAL_MODELS = {
    # The softmax of the classes reads planes and writes the output itself; boxes and objectness go there.
    # Two inputs of depthwise convolutions behind shuffles.
    "fastestdet_352": 5,
    # Each convolution of the head writes the rows of its output.
    "nanodet_m_416": 0,
    # Scores and boxes of four maps: rows of pixels, where the softmax, or the caller, wants them.
    "ultraface_rfb_320": 8,
    "ultraface_rfb_640": 8,
    # Boxes and objectness of three maps, into the rows that the convolutions of the scores write.
    "yolox_nano_416": 3,
    # Twelve maps.
    "yunet_n_640": 12,
}
NETWORKS = {
    # Three maps of two levels; the input of a depthwise convolution behind a shuffle.
    "nanodet_plus": 3,
    # A residual whose channels have been shuffled; ten scores.
    "shufflenet_v1": 2,
    "shufflenet_v2": 1,
    "yolox": 3,
    "yolov3": 3,
    # Two parts of each of three levels are computed on as rows; the third goes to the output.
    "yolov5": 9,
    "ssd": 6,
    "retinanet": 3,
    "mobilenet_v1": 1,
    "mobilenet_v2": 1,
    "mobilenet_v3": 1,
    "resnet": 1,
    "densenet": 1,
    "inception": 1,
    # The crop of an upsampled map is added to another where it lies.
    "fcn": 2,
    # A softmax over pixels.
    "unet": 1,
}


def copies(compiled: Compiled) -> list[str]:
    """What is copied, in order."""
    return [f"{step.op} {step.label}" for step in compiled.steps if step.op in COPIES]


@pytest.mark.parametrize("isa", _isa.usable())
@pytest.mark.parametrize("name", REAL_MODELS)
def test_copies_of_real_models(name: str, isa: str, shared: Callable[[str], Path]) -> None:
    model = read_model(shared(f"models/onnx/{name}.onnx"))
    found = copies(compile_model(model, shapes_of(model), isa=isa))
    assert len(found) <= REAL_MODELS[name], found


@pytest.mark.parametrize("isa", _isa.usable())
@pytest.mark.parametrize("name", NETWORKS)
def test_copies_of_networks(name: str, isa: str) -> None:
    model = TOPOLOGIES[name]()
    found = copies(compile_model(model, shapes_of(model), isa=isa))
    assert len(found) <= NETWORKS[name], found

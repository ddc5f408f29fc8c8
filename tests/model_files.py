"""Files of models, for tests that name them: a Darknet network, and stand-ins for what a reader makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgecv.card import HeadSpec, InputEntry, ModelCard, Stage
from edgecv.graph.model import OnnxModel
from edgecv.heads import classify
from edgecv.importers import NETWORK, Imported
from tests.networks import tiny_classifier

COLORS = ("blue", "green", "red", "gray")

DETECTOR_CFG = """[net]
width=64
height=64
channels=3

[convolutional]
filters=24
size=8
stride=8
pad=0
activation=linear

[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=3
num=3
"""
CLASSIFIER_CFG = """[net]
width=32
height=32
channels=3

[convolutional]
filters=4
size=1
stride=1
activation=linear

[avgpool]

[softmax]
"""
KERNELS = {DETECTOR_CFG: (24, 8), CLASSIFIER_CFG: (4, 1)}


def write_darknet(folder: Path, stem: str, cfg: str = DETECTOR_CFG, *, seed: int = 0) -> Path:
    """A cfg with random weights beside it; returns the cfg."""
    filters, size = KERNELS[cfg]
    rng = np.random.default_rng(seed)
    path = folder / f"{stem}.cfg"
    path.write_text(cfg)
    numbers = rng.standard_normal(filters + filters * 3 * size * size).astype("<f4") / size
    header = np.array([0, 2, 0], "<i4").tobytes() + np.array([0], "<u8").tobytes()
    path.with_suffix(".weights").write_bytes(header + numbers.tobytes())
    return path


def imported_classifier(stem: str = "colors", **card: Any) -> Imported:
    """What a reader makes of a classifier without labels and mean."""
    entry = InputEntry(name="data", size_wh=(32, 32), resize="stretch")
    head = HeadSpec(classify.TYPE, classify.Params(output="prob", is_probability=True))
    model = OnnxModel.from_bytes(tiny_classifier(softmax=True, is_map=True), origin=f"{stem}.prototxt")
    fields: dict[str, Any] = {
        "name": stem,
        "task": "classify",
        "format": "caffe",
        "stages": {NETWORK: Stage(inputs=(entry,), head=head)},
        **card,
    }
    return Imported(ModelCard(**fields), {NETWORK: model}, ("drop left out",), ("no mean: 0",))

"""Classifiers as Ultralytics and torchvision export them: one output, a score a class.

Ultralytics: metadata of the task "classify"; pictures from 0 to 1, the shorter side resized and the center
cut out (`classify_transforms` of the ultralytics package). YOLOv5: metadata of names without a task, as many
as there are scores; normalized as torchvision's (`classify_transforms` of ultralytics/yolov5). torchvision:
ImageNet's 1000 classes and nothing in the file; normalized by its mean and deviation
(`torchvision.transforms._presets.ImageClassification`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.errors import HeadError
from edgecv.heads import classify
from edgecv.heads.base import Reading
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import ModelFacts, TensorSpec

NAME = "classifier"

ULTRALYTICS_INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "crop", "std": (255.0,) * 3}
IMAGENET_INPUT: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "crop",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}

_IMAGENET_CLASSES = 1000


def recognize(facts: ModelFacts) -> Reading | None:
    """Metadata of the task and as many scores as it has names; or, without metadata, ImageNet's 1000."""
    about = parse_metadata(facts.metadata)
    output = _scores(facts)
    if output is None:
        return None
    if about is None:
        return _reading(facts, output, IMAGENET_INPUT) if output.shape[1] == _IMAGENET_CLASSES else None
    if about.task not in (classify.TASK, None) or output.shape[1] not in (len(about.names), None):
        return None
    return _reading(facts, output, _input(facts))


def bare(facts: ModelFacts) -> Reading:
    """How a network is read of which the caller says that it classifies; fed as torchvision feeds its own.

    Raises HeadError where no output is one score a class.
    """
    output = _scores(facts)
    if output is None:
        shapes = "; ".join(map(str, facts.outputs[:8]))
        raise HeadError(
            f"classify: outputs {shapes}: expected one of (batch, classes): it does not classify, or a card "
            "has to name the output"
        )
    return _reading(facts, output, _input(facts))


def _input(facts: ModelFacts) -> Mapping[str, Any]:
    about = parse_metadata(facts.metadata)
    return ULTRALYTICS_INPUT if about is not None and about.task is not None else IMAGENET_INPUT


def _scores(facts: ModelFacts) -> TensorSpec | None:
    """The one output, where it can be a score a class: (batch, classes) or (batch, classes, 1, 1)."""
    if len(facts.outputs) != 1:
        return None
    shape = facts.outputs[0].shape
    is_row = len(shape) >= 2 and all(size == 1 for size in shape[2:])
    has_scores = is_row and not (isinstance(shape[1], int) and shape[1] < 2)
    return facts.outputs[0] if has_scores else None


def _reading(facts: ModelFacts, output: TensorSpec, fed: Mapping[str, Any]) -> Reading:
    params = classify.Params(output=output.name, is_probability=facts.ends.get(output.name) == "Softmax")
    return Reading(NAME, classify.TYPE, params, fed)

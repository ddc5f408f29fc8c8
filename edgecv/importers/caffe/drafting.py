"""The draft card of a Caffe network: how it is fed and read, as far as its files say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgecv import heads
from edgecv.card import NETWORK, HeadSpec, InputEntry, ModelCard, Stage, Task, Thresholds
from edgecv.errors import ModelFileError, NoPictureError
from edgecv.graph.model import OnnxModel
from edgecv.heads import classify, two_stages
from edgecv.importers.base import Imported, card_name, scores_assumed
from edgecv.importers.caffe.conversion import Converted
from edgecv.importers.caffe.mean import Mean, channel_mean
from edgecv.importers.caffe.prototxt import Network, Shape
from edgecv.types import TensorSpec

# Channels of a picture -> its color as Caffe reads it.
_COLORS: dict[int, Literal["gray", "bgr", "bgrd"]] = {1: "gray", 3: "bgr", 4: "bgrd"}

_FITTED = {"letterbox": "letterboxed", "stretch": "stretched", "crop": "cropped"}

# What py-faster-rcnn makes the shorter side of a picture; its files hold a size that it never runs at.
REGION_SIDE = 600


@dataclass(frozen=True)
class Feeding:
    """How a picture is fed, where that does not stand in the network's files.

    mean: see `channel_mean`. resize: as in a card. is_stated: whether the rest is known: BGR, no scale.
    """

    mean: Mean | None = None
    resize: Literal["letterbox", "stretch", "crop"] = "stretch"
    is_stated: bool = False


def draft(network: Network, converted: Converted, path: Path, feeding: Feeding) -> Imported:
    """Everything that was read. path: the text file.

    Raises NoPictureError for a network that no picture can feed.
    """
    first = next(iter(converted.networks.values()))
    entry = _input(network, first)
    remarks, assumptions = list(converted.remarks), list(converted.assumptions)
    task, head, usual = _head(converted, first, entry, assumptions)
    if task == "features":
        outputs = ", ".join(str(spec) for spec in first.facts.outputs)
        assumptions.append(f"head: its files do not say what the outputs mean ({outputs}): the card has none")
    if head and head.type == two_stages.TYPE and min(entry.size_wh) < REGION_SIDE:
        width, height = entry.size_wh
        assumptions.append(
            f"input: {width}x{height}, as the file says; such networks are mostly trained on pictures whose "
            f"shorter side is {REGION_SIDE} pixels: change the input's shape for that"
        )
    thresholds = Thresholds(**converted.end.thresholds) if converted.end else Thresholds()
    if network.transforms or entry.channels != 3:
        usual = {}
    entry = _fed(entry, usual, network, path, feeding, remarks, assumptions)
    card = ModelCard(
        name=card_name(path.stem),
        task=task,
        format="caffe",
        stages={NETWORK: Stage(inputs=(entry,), head=head)},
        thresholds=thresholds,
    ).for_networks(converted.networks)
    return Imported(card, converted.networks, tuple(remarks), tuple(assumptions))


def _input(network: Network, model: OnnxModel) -> InputEntry:
    """The first input that can be a picture."""
    shapes = {spec.name: _static(spec) for spec in model.facts.inputs}
    for name, shape in shapes.items():
        if len(shape) == 4 and shape[1] in _COLORS:
            size_wh = (shape[3], shape[2])
            return InputEntry(
                name=name, size_wh=size_wh, channels=shape[1], color=_COLORS[shape[1]], resize="stretch"
            )
    given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise NoPictureError(
        f"{network.origin}: inputs {given}: expected one that a picture can feed, of shape (1, 1, 3 or 4 "
        "channels, height, width); edgecv.compile and `edgecv convert` take the network as it is"
    )


def _static(spec: TensorSpec) -> Shape:
    return tuple(size for size in spec.shape if isinstance(size, int))


def _head(
    converted: Converted, model: OnnxModel, entry: InputEntry, assumptions: list[str]
) -> tuple[Task, HeadSpec | None, Mapping[str, Any]]:
    """The task, the head, and fields of the input where all networks of the head are fed alike."""
    if converted.end:
        return "detect", HeadSpec(converted.end.head, converted.end.params), converted.end.usual
    readings = [one for one in heads.recognize(model.facts) if heads.get(one.type).TASK == "detect"]
    if len(readings) == 1:
        assumptions.append(f"head: {readings[0].brand}, told by the outputs")
        return "detect", HeadSpec(readings[0].type, readings[0].params), readings[0].input or {}
    if len(model.facts.outputs) != 1:
        return "features", None, {}
    (spec,) = model.facts.outputs
    shape = _static(spec)
    if len(shape) >= 2 and shape[1] > 1 and all(size == 1 for size in shape[2:]):
        is_probability = spec.name in converted.probabilities
        if not is_probability:
            assumptions.append(scores_assumed(spec.name, shape[1]))
        params = classify.Params(output=spec.name, is_probability=is_probability)
        return "classify", HeadSpec(classify.TYPE, params), {}
    if len(shape) == 4 and (spec.name in converted.probabilities or shape[:1:-1] == entry.size_wh):
        return "segment", None, {}
    return "features", None, {}


def _fed(
    entry: InputEntry,
    usual: Mapping[str, Any],
    network: Network,
    path: Path,
    feeding: Feeding,
    remarks: list[str],
    assumptions: list[str],
) -> InputEntry:
    """The input with its mean and scale: as the caller says, else as the files do, else as is usual.

    usual: fields of the input; takes what it does and assumes to the two lists.
    """
    changes: dict[str, Any] = {"resize": feeding.resize}
    if not (usual or network.transforms or feeding.is_stated):
        assumptions.append(
            f"input: its files do not say how a picture is fed: {entry.color}, not scaled, "
            f"{_FITTED[feeding.resize]} to {entry.size_wh[0]}x{entry.size_wh[1]}"
        )
    scales = {transform.scale for transform in network.transforms} - {1.0}
    if len(scales) == 1:
        # Caffe multiplies by the scale after it has subtracted the mean.
        changes["std"] = (_inverse(scales.pop(), network),) * entry.channels
    elif scales:
        assumptions.append(f"scale: {len(scales)} different ones in transform_param: none is taken")
    mean, source = _mean(network, path, feeding)
    if mean is not None:
        if usual:
            changes |= usual
            assumptions.append(
                "input: its files do not say how it is fed; but for the mean as is usual for its head"
            )
        changes["mean"], reduced = channel_mean(mean, entry.channels)
        remarks += [f"mean: {source}"] if feeding.mean is None else []
        assumptions += reduced
    elif usual:
        changes |= usual
        assumptions.append("input: its files do not say how it is fed; as is usual for its head")
    else:
        assumptions.append(f"mean: {source}")
    return msgspec.structs.replace(entry, **changes)


def _mean(network: Network, path: Path, feeding: Feeding) -> tuple[Mean | None, str]:
    """The mean, and where it is from or why there is none."""
    if feeding.mean is not None:
        return feeding.mean, "as given"
    values = {tuple(transform.mean_value) for transform in network.transforms if transform.mean_value}
    if len(values) == 1 and all(map(math.isfinite, next(iter(values)))):
        return tuple(_rounded(value) for value in values.pop()), "from transform_param"
    files = {Path(transform.mean_file).name for transform in network.transforms if transform.mean_file}
    if len(files) == 1:
        beside = path.with_name(files.pop())
        if beside.is_file():
            return beside, f"from {beside.name}, which transform_param names"
        return None, f"transform_param names {beside.name}, which is not beside it: give it with --mean"
    return None, "none is in its files, so none is subtracted; give one with --mean"


def _inverse(scale: float, network: Network) -> float:
    if not scale or not math.isfinite(1 / scale):
        raise ModelFileError(f"{network.origin}: transform_param: scale {scale}: expected another than 0")
    return _rounded(1 / scale)


def _rounded(value: float) -> float:
    """A float32 of the file, as a person would write it."""
    return float(f"{value:.7g}")

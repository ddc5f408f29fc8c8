"""How a network without a card is fed: its picture, by shape and type, and facts, by the names of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.card import InputEntry
from edgecv.errors import HeadError
from edgecv.heads.ultralytics import parse_metadata
from edgecv.inputs import axis_sizes, facts_shape, image_of
from edgecv.types import ModelFacts, TensorSpec

Facts = tuple[str | float, ...]

# What inputs of these names are given, so that boxes come in pixels of the blob, from where they are mapped
# to the frame: the picture that the network is told of is the blob itself, at the scale 1.
_BLOB_HW: Facts = ("blob_height", "blob_width")
_BY_NAME: Mapping[str, tuple[Facts, ...]] = {
    # PaddleDetection (`deploy/python/preprocess.py`): scale y, scale x; height, width of the resized frame.
    "scale_factor": ((1.0, 1.0),),
    "im_shape": (_BLOB_HW,),
    # YOLOv3 of the ONNX model zoo, and PaddleDetection's `im_size`: height, width of the frame.
    "image_shape": (_BLOB_HW,),
    "im_size": (_BLOB_HW,),
    # RT-DETR, D-FINE, DEIM (`tools/deployment/export_onnx.py`): width, height.
    "orig_target_sizes": (("blob_width", "blob_height"),),
    # py-faster-rcnn (`lib/fast_rcnn/test.py`) and OpenVINO: height, width, scale, which may be one an axis.
    "im_info": ((*_BLOB_HW, 1.0), (*_BLOB_HW, 1.0, 1.0), (*_BLOB_HW, 1.0, 1.0, 1.0, 1.0)),
    "image_info": ((*_BLOB_HW, 1.0), (*_BLOB_HW, 1.0, 1.0), (*_BLOB_HW, 1.0, 1.0, 1.0, 1.0)),
}
_BYTES = "uint8"
_FLOATS = ("float32", "float16", "float64")


def inputs_of(
    origin: str, facts: ModelFacts, usual: Mapping[str, Any], remedy: str
) -> tuple[tuple[InputEntry, ...], tuple[str, ...]]:
    """A card's inputs, and what was assumed of them, one line each.

    usual: fields of the picture's entry. remedy: what to do where they are in doubt. Raises HeadError there.
    """
    found = image_of(facts.inputs)
    if found is None:
        given = "; ".join(map(str, facts.inputs))
        raise HeadError(
            f"{origin}: inputs {given}: expected one that takes a picture, of four axes, or of three with 3 "
            "channels; how another is fed has to stand in a card, under inputs"
        )
    spec, layout = found
    picture, assumed = _picture(origin, facts, spec, layout, usual, remedy)
    entries = [picture]
    batch = spec.shape[0]
    for each in facts.inputs:
        if each is spec:
            continue
        values = _facts_of(each, batch if "n" in layout and isinstance(batch, int) else 1)
        if values is None:
            raise HeadError(
                f"{origin}: input {each} beside the picture's: no draft can say what it takes: write a card, "
                f"<stem>.model.json beside the file, with `facts` for {each.name} under inputs"
            )
        entries.append(InputEntry(name=each.name, facts=values))
        told = ", ".join(f"{one:g}" if isinstance(one, float) else one for one in values)
        assumed += (
            f"input {each.name} takes {told}, so that boxes are in pixels of the picture as it is fed",
        )
    return tuple(entries), assumed


def _picture(
    origin: str, facts: ModelFacts, spec: TensorSpec, layout: str, usual: Mapping[str, Any], remedy: str
) -> tuple[InputEntry, tuple[str, ...]]:
    fields, assumed = dict(usual), []
    channels = axis_sizes(layout, spec.shape)["c"]
    if fields.get("dtype") != _BYTES and isinstance(channels, int) and channels not in (1, 3):
        raise HeadError(
            f"{origin}: input {spec}: expected 1 or 3 channels, gray or a picture, got "
            f"{channels}: what they are has to stand in a card, under inputs"
        )
    if spec.dtype == _BYTES and fields.get("dtype") != _BYTES:
        fields = {name: value for name, value in fields.items() if name not in ("mean", "std")}
        fields["dtype"] = _BYTES
        assumed.append(
            f"input {spec.name} takes bytes, the pixels as they are: mean and std are in the network"
        )
    elif spec.dtype != _BYTES and str(spec.dtype) not in _FLOATS:
        raise HeadError(
            f"{origin}: input {spec}: expected floats, or bytes of a picture: what it takes has to stand "
            "in a card"
        )
    if layout != "nchw":
        fields["layout"] = layout
        words = {
            "nhwc": "its channels last",
            "chw": "no batch axis",
            "hwc": "its channels last, no batch axis",
        }
        assumed.append(f"input {spec.name} has {words[layout]}, told by its shape")
    about = parse_metadata(facts.metadata)
    size_wh = facts.image_wh or (about.imgsz_wh if about else None)
    if size_wh is None:
        raise HeadError(
            f"{origin}: its input takes any size and the file names none: give one with imgsz, or {remedy}"
        )
    return InputEntry(name=spec.name, size_wh=size_wh, **_for_channels(channels, fields)), tuple(assumed)


def _for_channels(channels: int | str | None, usual: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a picture is fed to an input of one channel: as to three, in gray."""
    if channels != 1 or usual.get("color", "bgr") not in ("rgb", "bgr"):
        return usual
    one = {name: usual[name][:1] for name in ("mean", "std") if usual.get(name)}
    return {**usual, **one, "color": "gray", "channels": 1}


def _facts_of(spec: TensorSpec, batch: int) -> Facts | None:
    """What an input of this name and shape is given; None where that is not known. batch: of pictures."""
    name = spec.name.partition(":")[0].rpartition("/")[2].lower()
    for values in _BY_NAME.get(name, ()):
        try:
            facts_shape(len(values), spec, batch)
        except ValueError:
            continue
        return values
    return None

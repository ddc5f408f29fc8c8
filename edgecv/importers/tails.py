"""Networks that bring their own NMS: cut before it, and read by the head of decoded boxes in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from edgecv.card import HeadSpec, ModelCard, Thresholds
from edgecv.errors import CardError
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import Found, Tail, find_tail
from edgecv.heads import boxes, rows
from edgecv.heads.base import Reading
from edgecv.inputs import shape_of

Shapes = Mapping[str, tuple[int, ...]]


def find(model: OnnxModel, shapes: Shapes | None, reading: Reading | None) -> Found | str | None:
    """The tail as `graph.tails.find_tail` finds it, if the head of decoded boxes can stand for it.

    reading: how the whole network would be read, where that is beyond doubt: it says what columns behind box,
    score and class are.
    """
    found = find_tail(model, shapes)
    if not isinstance(found, Found):
        return found
    try:
        _head(found, reading)
    except ValueError as reason:
        return str(reason)
    return found


def head_of(found: Found, reading: Reading | None) -> HeadSpec:
    """The head that stands for a tail which `find` gives."""
    return HeadSpec(boxes.TYPE, _head(found, reading))


def thresholds_of(found: Found) -> Thresholds:
    """What the tail counts as a detection."""
    tail = found.tail
    return Thresholds(
        conf=0.0 if tail.confidence is None else tail.confidence,
        iou=tail.iou,
        agnostic=tail.class_agnostic,
        multi_label=tail.multi_label,
        max_per_class=tail.max_per_class,
        max_det=_most(found) if tail.max_det is None else tail.max_det,
    )


def cut(card: ModelCard, networks: Mapping[str, OnnxModel]) -> Mapping[str, OnnxModel]:
    """The networks of a card, the one whose head stands for its tail cut before it, if it is not yet.

    Raises CardError where the network has no tail that can be cut.
    """
    params = None if card.head is None else card.head.params
    if not isinstance(params, boxes.Params) or not params.tail:
        return networks
    (stage, model), *_ = networks.items()
    names = {spec.name for spec in model.facts.outputs}
    if params.boxes in names:
        return networks
    entry = card.image_input
    shapes = {
        spec.name: shape_of(entry.layout, 1, entry.channels, entry.size_wh)
        for spec in model.facts.inputs
        if spec.name == entry.name and not spec.is_static
    }
    found = find_tail(model, shapes)
    if not isinstance(found, Found):
        why = found or "it has none"
        raise CardError(f"{card.name}: `head.tail` says that the network's own NMS is cut off: {why}")
    return {**networks, stage: found.model}


def _most(found: Found) -> int:
    """How many detections there can be where the tail sets no limit to all classes together."""
    tail = found.tail
    sizes = next(spec.shape for spec in found.model.facts.outputs if spec.name == tail.boxes)
    boxes_there = sizes[1 if tail.boxes_are_rows else 2]
    assert isinstance(boxes_there, int)
    of_class = min(tail.max_per_class or boxes_there, boxes_there)
    return of_class * tail.classes if tail.multi_label else min(boxes_there, of_class * tail.classes)


def _head(found: Found, reading: Reading | None) -> boxes.Params:
    """Raises ValueError for what the head cannot say."""
    tail = found.tail
    whole = None if reading is None else reading.params
    params = boxes.Params(
        boxes=tail.boxes,
        scores=tail.scores,
        layout="rows" if tail.boxes_are_rows else "columns",
        scores_layout="rows" if tail.scores_are_rows else "columns",
        format=tail.box_format,
        unit=_unit(tail, whole),
        background=_background(tail, whole),
        max_candidates=tail.candidates,
        tail=str(tail),
    )
    if tail.extras is None:
        return params
    if not isinstance(whole, rows.Params):
        raise ValueError("nothing says what its columns behind box, score and class are")
    extras = next(spec for spec in found.model.facts.outputs if spec.name == tail.extras)
    columns = extras.shape[-1]
    assert isinstance(columns, int)
    if "keypoints" in whole.columns:
        size = whole.keypoint_values
        return replace(params, landmarks=extras.name, keypoints=columns // size, keypoint_values=size)
    if "masks" in whole.columns and whole.prototypes in tail.kept:
        return replace(params, coefficients=extras.name, masks=columns, prototypes=whole.prototypes)
    raise ValueError(f"columns {', '.join(whole.columns)}: expected keypoints or masks behind the class")


def _unit(tail: Tail, whole: Any) -> Any:
    if tail.coordinates is not None:
        return tail.coordinates
    return whole.unit if isinstance(whole, rows.Params) else "pixels"


def _background(tail: Tail, whole: Any) -> Any:
    first = whole.first_class if isinstance(whole, rows.Params) else tail.first_class
    if tail.background is None:
        # Of torchvision's RetinaNet and FCOS a score of its own, which is ranked as the others are.
        return "first" if first == tail.first_class + 1 and tail.classes > 1 else None
    if tail.background not in (0, tail.classes - 1):
        raise ValueError(f"the background is column {tail.background}: expected the first or the last")
    return "last" if tail.background else "first"

"""YOLOv8 to YOLO12, cut before their tail, as for NPUs: distributions of sides, and class logits.

16 bins a side; in one map of 64 + classes channels a stride, or apart, in maps or in one table of all
strides. A network that segments has maps of coefficients too, and prototypes of stride 4; exports for
Rockchip's NPUs have the sum of a cell's scores, which only helps to skip cells (`rknn_model_zoo`). `Detect`
and `Segment` of the ultralytics package.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads import distances, levels
from edgecv.heads.base import Reading
from edgecv.heads.recognition import P2, P5, P6
from edgecv.heads.ultralytics import (
    ULTRALYTICS_INPUT,
    ULTRALYTICS_THRESHOLDS,
    UltralyticsFacts,
    parse_metadata,
)
from edgecv.types import ModelFacts

NAME = "yolov8_raw"

_BINS = 64
_STRIDE_SETS = (P5, P6, P2)
# A map of YOLOX with COCO's classes, which ends alike.
_YOLOX_CHANNELS = 5 + 80


def recognize(facts: ModelFacts) -> Reading | None:
    """By 64 channels beside others; of one map a stride metadata's classes, or its last Concat, say so."""
    about = parse_metadata(facts.metadata)
    if about is None or about.task in (None, "segment"):
        found = _of_segments(facts, about)
        if found is not None:
            return found
    if about is not None and about.task not in (None, "detect"):
        return None
    for strides in _STRIDE_SETS:
        widths = levels.by_width(facts, strides, maps=True)
        if widths is not None:
            if _BINS in widths and len(widths) == 3 and levels.are_sums(facts, widths.get(1, ())):
                widths.pop(1)
            return _of_maps(facts, widths, strides, about)
        pair = levels.beside(dict(levels.joined(facts, strides) or ()), _BINS)
        if pair is not None and len(facts.outputs) == 2 and _has_classes(about, pair.classes):
            return _reading(facts, pair, strides)
    return None


def _of_maps(
    facts: ModelFacts,
    widths: dict[int, tuple[str, ...]],
    strides: tuple[int, ...],
    about: UltralyticsFacts | None,
) -> Reading | None:
    pair = levels.beside(widths, _BINS)
    if pair is not None and _has_classes(about, pair.classes):
        return _reading(facts, pair, strides)
    ((width, names), *others) = widths.items()
    if others or width <= _BINS or not _has_classes(about, width - _BINS):
        return None
    is_joined = all(facts.ends.get(name) == "Concat" for name in names) and width != _YOLOX_CHANNELS
    if about is None and not is_joined:
        return None
    params = distances.Params(output=names, strides=strides, bins=_BINS // 4, logits=True)
    return Reading(NAME, distances.TYPE, params, ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS)


def _of_segments(facts: ModelFacts, about: UltralyticsFacts | None) -> Reading | None:
    prototypes, others = levels.without_prototypes(facts)
    widths = levels.by_width(others, P5, maps=True)
    if prototypes is None or widths is None or len(widths) != 3:
        return None
    masks = prototypes.shape[1]
    if not isinstance(masks, int) or masks not in widths or masks == _BINS:
        return None
    pair = levels.beside({width: names for width, names in widths.items() if width != masks}, _BINS)
    if pair is None or not _has_classes(about, pair.classes):
        return None
    found = _reading(facts, pair, P5)
    assert isinstance(found.params, distances.Params)
    params = replace(found.params, coefficients=widths[masks], prototypes=prototypes.name)
    return Reading("yolov8_raw-seg", found.type, params, found.input, found.thresholds)


def _has_classes(about: UltralyticsFacts | None, classes: int) -> bool:
    return about is None or len(about.names) == classes


def _reading(facts: ModelFacts, pair: levels.Pair, strides: tuple[int, ...]) -> Reading:
    params = distances.Params(
        scores=pair.scores,
        boxes=pair.boxes,
        strides=strides,
        bins=_BINS // 4,
        logits=levels.are_logits(facts, pair.scores),
    )
    return Reading(NAME, distances.TYPE, params, ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS)

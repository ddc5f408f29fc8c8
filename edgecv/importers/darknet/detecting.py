"""Layers at which a graph ends: yolo, region and detection become heads; cost and the like are dropped."""

from __future__ import annotations

from collections.abc import Sequence

from edgecv.heads.base import HeadParams
from edgecv.heads.brands import detection as detection_brand
from edgecv.heads.brands import region as region_brand
from edgecv.heads.brands import yolo as yolo_brand
from edgecv.importers.darknet.cfg import Section
from edgecv.importers.darknet.layers import Emitter, Layer, Planner, Site
from edgecv.types import FloatArray

_MAX_CLASSES = 100_000
_MAX_ANCHORS = 1000
# Darknet's anchor where a cfg states none.
_DEFAULT_ANCHOR = 0.5
_DECODED = "which puts out decoded boxes: here the graph ends before it"


def yolo(site: Site) -> Layer:
    """YOLOv3 and v4: boxes from anchors in pixels, of which a layer uses those of its mask."""
    section = site.section
    classes = section.integer("classes", 20, 1, _MAX_CLASSES)
    total = section.integer("num", 1, 1, _MAX_ANCHORS)
    mask = section.integers("mask", 0, total - 1) if section.has("mask") else tuple(range(total))
    anchors = _anchors(section, total)
    _check_channels(site, len(mask), classes + 5, f"{len(mask)} anchors x ({classes} classes + 5)")
    scale = section.number("scale_x_y", 1)
    if scale <= 0:
        raise section.error(f"expected a number over 0, got {scale:g}", "scale_x_y")
    layer = yolo_brand.Layer(
        output=section.name,
        anchors=tuple(anchors[number] for number in mask),
        scale_x_y=scale,
        new_coords=section.flag("new_coords"),
    )
    return _head(site, yolo_brand.Params(layers=(layer,), classes=classes))


def region(site: Site) -> Layer:
    """YOLOv2: boxes from anchors in cells."""
    section = site.section
    for key in ("tree", "map"):
        if section.has(key):
            raise section.error("a tree of classes (YOLO9000) is not supported", key)
    classes = section.integer("classes", 20, 1, _MAX_CLASSES)
    coords = section.integer("coords", 4, 4, _MAX_CLASSES)
    num = section.integer("num", 1, 1, _MAX_ANCHORS)
    _check_channels(site, num, classes + coords + 1, f"{num} anchors x ({classes} classes + {coords + 1})")
    params = region_brand.Params(
        output=section.name,
        anchors=_anchors(section, num),
        classes=classes,
        coords=coords,
        softmax=section.flag("softmax"),
        background=section.flag("background"),
    )
    return _head(site, params)


def detection(site: Site) -> Layer:
    """YOLOv1: a vector of class probabilities, objectness and boxes of a grid of cells."""
    section = site.section
    classes = section.integer("classes", 1, 1, _MAX_CLASSES)
    coords = section.integer("coords", None, 4, 4)
    num = section.integer("num", 1, 1, _MAX_ANCHORS)
    side = section.integer("side", 7, 1, 1000)
    expected = side * side * ((1 + coords) * num + classes)
    if site.input.numbers != expected:
        raise section.error(
            f"expected {expected} inputs ({side}x{side} cells x ({num} boxes x {coords + 1} + {classes} "
            f"classes)), got {site.input.numbers}: correct the layer before it, or classes, num and side"
        )
    params = detection_brand.Params(
        output=section.name,
        side=side,
        num=num,
        classes=classes,
        sqrt=section.flag("sqrt"),
        softmax=section.flag("softmax"),
    )

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        return e.reshape(values[0], 1, expected)

    return site.layer(site.input, emit, head=params, unreadable=_DECODED)


def _head(site: Site, params: HeadParams) -> Layer:
    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        return e.reshape(values[0], 1, *site.input)

    return site.layer(site.input, emit, head=params, unreadable=_DECODED)


def _anchors(section: Section, count: int) -> tuple[tuple[float, float], ...]:
    if not section.has("anchors"):
        return ((_DEFAULT_ANCHOR, _DEFAULT_ANCHOR),) * count
    numbers = section.numbers("anchors")
    if len(numbers) < 2 * count or min(numbers) <= 0:
        raise section.error(
            f"expected {count} pairs of numbers over 0 (as `num` says), got {len(numbers)} numbers", "anchors"
        )
    return tuple(zip(numbers[: 2 * count : 2], numbers[1 : 2 * count : 2], strict=True))


def _check_channels(site: Site, count: int, each: int, how: str) -> None:
    if site.input.c != count * each:
        raise site.section.error(
            f"expected {count * each} input channels ({how}), got {site.input.c}: correct `filters` of the "
            "layer before it, or classes and anchors"
        )


def dropped(site: Site) -> Layer:
    """A layer that passes its input on: dropout at inference, and the empty layer."""
    return site.layer(site.input, is_training=site.section.kind == "dropout")


def loss(site: Site) -> Layer:
    """A layer that measures a loss: nothing at inference, and nothing to read."""
    return site.layer(site.input, is_training=True, unreadable="which puts out nothing at inference")


LAYERS: dict[str, Planner] = {
    "yolo": yolo,
    "region": region,
    "detection": detection,
    "dropout": dropped,
    "empty": dropped,
    "cost": loss,
    "contrastive": loss,
}

"""Layers that no network computes: they become the card's head, and what they take its outputs."""

from __future__ import annotations

import math
from typing import Any, Literal

from edgecv.heads import anchors
from edgecv.heads.brands import detectnet
from edgecv.heads.priors import PriorMap
from edgecv.importers.caffe.layers.regions import end_of_regions, python_proposal
from edgecv.importers.caffe.step import Converter, End, Priors, Result, Rois, Step, Tensor, count

# Of one PriorBox layer: far more than any in use has.
MAX_PRIOR_SIZES = 200
_CODES: dict[int, Literal["corner", "center-size", "corner-size"]] = {
    1: "corner",
    2: "center-size",
    3: "corner-size",
}
# Fields of ClusterDetections' param_str.
_CLUSTER = ("image_x", "image_y", "stride", "coverage", "rectangles", "eps", "min_height", "classes")


def prior_box(step: Step) -> Priors:
    """Boxes around every cell of the first bottom, for a picture of the second bottom's size."""
    step.expect_bottoms(2)
    p = step.message.prior_box_param
    feature, image = step.tensor(0).shape, step.tensor(1).shape
    if len(feature) != 4 or len(image) != 4:
        raise step.error(f"bottoms of shapes {feature} and {image}: expected a map and the picture")
    if p.fixed_size or p.density:
        raise step.error("fixed_size and density are of a fork's dense priors: expected min_size")
    height, width = image[2:]
    given = (p.img_h or p.img_size or height, p.img_w or p.img_size or width)
    if given != (height, width):
        raise step.error(f"priors for a picture of {given[1]}x{given[0]}, and the input is {width}x{height}")
    steps = (p.step_w or p.step or width / feature[3], p.step_h or p.step or height / feature[2])
    variances = tuple(p.variance) or (0.1,)
    if len(variances) not in (1, 4):
        raise step.error(f"{len(variances)} variances: expected 1 or 4")
    sizes = [*p.min_size, *p.max_size, *p.aspect_ratio, *steps, *variances]
    if not p.min_size or len(p.max_size) not in (0, len(p.min_size)):
        raise step.error(f"{len(p.min_size)} min_size and {len(p.max_size)} max_size: expected one of each")
    if len(sizes) > MAX_PRIOR_SIZES or not all(0 < size < math.inf for size in sizes):
        raise step.error(
            f"{len(sizes)} sizes, ratios, steps and variances: expected at most {MAX_PRIOR_SIZES}, all over 0"
        )
    if not math.isfinite(p.offset):
        raise step.error(f"offset {p.offset}: expected a number")
    prior = PriorMap(
        stride=steps,
        cells_wh=(feature[3], feature[2]),
        min_sizes=tuple(p.min_size),
        max_sizes=tuple(p.max_size),
        aspect_ratios=tuple(p.aspect_ratio),
        flip=p.flip,
        offset=p.offset,
        clip="edges" if p.clip else None,
    )
    return Priors((prior,), (variances * (4 // len(variances)),), prior.count((width, height)))


def detection_output(step: Step) -> End:
    """DetectionOutput of SSD: offsets, scores of every prior, and the priors."""
    p = step.message.detection_output_param
    if len(step.bottoms) in (3, 4) and isinstance(step.bottoms[2], Rois):
        return _detections_of_regions(step)
    if len(step.bottoms) not in (3, 4) or not isinstance(step.bottoms[2], Priors):
        raise step.error(
            f"takes {len(step.bottoms)} bottoms: expected offsets, scores and the priors of PriorBox layers"
        )
    priors = step.bottoms[2]
    boxes, scores = step.tensor(0), step.tensor(1)
    classes = step.size(p.num_classes, "num_classes")
    sets = 1 if p.share_location else classes
    for tensor, each in ((boxes, 4 * sets), (scores, classes)):
        if count(tensor.shape) != priors.count * each or tensor.shape[0] != 1:
            raise step.error(
                f"a bottom of shape {tensor.shape} for {priors.count} priors: expected {each} values of each"
            )
    if p.background_label_id not in (0, -1):
        raise step.error(f"background_label_id {p.background_label_id}: expected 0, or -1 for none")
    if not p.normalized_bbox:
        raise step.error("normalized_bbox false: expected boxes as parts of the picture")
    if len(set(priors.variances)) != 1:
        raise step.error("its PriorBox layers have different variances: expected the same of all")
    background = p.background_label_id == 0
    if classes < 1 + background:
        raise step.error("num_classes 1 and a background: no class is left")
    names = {"boxes": step.layer.bottoms[0], "scores": step.layer.bottoms[1]}
    params = anchors.Params(
        boxes=names["boxes"],
        scores=names["scores"],
        background="first" if background else None,
        priors=priors.maps,
        variances=(1.0,) * 4 if p.variance_encoded_in_target else _shortest(priors.variances[0]),
        code=_CODES[p.code_type],
        shared=p.share_location,
        classes=classes - background,
    )
    outputs = {names["boxes"]: boxes, names["scores"]: scores}
    return End(anchors.TYPE, params, outputs, _thresholds(step))


def python(step: Step) -> Result:
    """A layer written in Python: those of DetectNet and Faster R-CNN are known; no code is run."""
    p = step.message.python_param
    known: dict[str, Converter] = {"ClusterDetections": _cluster_detections, "ProposalLayer": python_proposal}
    if p.layer not in known:
        raise step.error(
            f"layer {p.layer!r} of module {p.module!r} is a program beside the network, which is not run; "
            f"known are {', '.join(known)}"
        )
    return known[p.layer](step)


def _cluster_detections(step: Step) -> End:
    """DetectNet: how much an object covers each cell, and the object's box from there."""
    step.expect_bottoms(2)
    coverage, boxes = step.tensors()
    text = step.message.python_param.param_str
    try:
        fields = dict(zip(_CLUSTER, (float(part) for part in text.split(",")), strict=False))
        stride, threshold = int(fields["stride"]), float(fields["coverage"])
        min_height = float(fields["min_height"])
        if not math.isfinite(min_height):
            raise ValueError(min_height)
    except (ValueError, KeyError, OverflowError) as error:
        raise step.error(f"param_str {text[:100]!r}: expected {', '.join(_CLUSTER)}") from error
    if len(coverage.shape) != 4 or boxes.shape != (*coverage.shape[:1], 4, *coverage.shape[2:]):
        raise step.error(
            f"bottoms of shapes {coverage.shape} and {boxes.shape}: expected (batch, classes, height, width) "
            "and (batch, 4, height, width)"
        )
    names = {"coverage": step.layer.bottoms[0], "boxes": step.layer.bottoms[1]}
    params = detectnet.Params(
        **names,
        stride=step.size(stride, "stride"),
        min_height=max(0.0, min_height),
        classes=coverage.shape[1],
    )
    outputs: dict[str, Tensor] = {names["coverage"]: coverage, names["boxes"]: boxes}
    assumption = f"{step.layer}: its boxes are joined by NMS, in place of OpenCV's groupRectangles"
    thresholds = {"conf": step.fraction(threshold, "coverage threshold")}
    reading = detectnet.reading(params)
    return End(reading.type, reading.params, outputs, thresholds, (assumption,))


def _detections_of_regions(step: Step) -> End:
    """DetectionOutput over proposals, as OpenCV's samples end a Faster R-CNN."""
    deltas, scores = step.layer.bottoms[:2]
    outputs = {deltas: step.tensor(0), scores: step.tensor(1)}
    if step.pooled is None or any(tensor.graph is not step.pooled.graph for tensor in outputs.values()):
        raise step.error("its first bottoms are not made of pooled proposals")
    try:
        return end_of_regions(step.pooled, outputs, scores, _thresholds(step))
    except ValueError as error:
        raise step.error(str(error)) from error


def _thresholds(step: Step) -> dict[str, Any]:
    p = step.message.detection_output_param
    nms = p.nms_param.nms_threshold if p.HasField("nms_param") else p.nms_threshold
    thresholds: dict[str, Any] = {"iou": step.fraction(nms, "nms_threshold")}
    if p.HasField("confidence_threshold"):
        thresholds["conf"] = step.fraction(p.confidence_threshold, "confidence_threshold")
    if p.keep_top_k > 0:
        thresholds["max_det"] = p.keep_top_k
    return thresholds


def _shortest(variances: tuple[float, ...]) -> tuple[float, ...]:
    """Of center and size where x and y have the same, as a card states them."""
    x, y, width, height = variances
    return (x, width) if (x, width) == (y, height) else variances


CONVERTERS: dict[str, Converter] = {
    "PriorBox": prior_box,
    "DetectionOutput": detection_output,
    "Python": python,
}

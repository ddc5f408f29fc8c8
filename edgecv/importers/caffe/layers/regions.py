"""Faster R-CNN: Proposal and ROIPooling, between which the network is cut in two, and what comes of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgecv import rois
from edgecv.heads import two_stages
from edgecv.heads.brands import faster_rcnn
from edgecv.importers.caffe.step import MAX_SIZE, Converter, End, Pooled, Result, Rois, Step, Tensor

# Of one cell: far more than any network in use has.
MAX_ANCHORS = 1000
_RATIOS, _SCALES = (0.5, 1.0, 2.0), (8.0, 16.0, 32.0)
# `'feat_stride': 16`, and lists, as YAML writes them.
_PARAMETER = re.compile(r"['\"]?(\w+)['\"]?\s*:\s*(?:!!python/tuple\s*)?([\[(][^\])]*[\])]|[-+.\w]+)")
_PYTHON_PARAMETERS = {"feat_stride", "scales", "ratios"}


def proposal(step: Step) -> Result:
    """Proposal as it is written in C++: every parameter in the file."""
    p = step.message.proposal_param
    return _proposals(
        step,
        base=p.base_size,
        ratios=tuple(p.ratio) or _RATIOS,
        scales=tuple(p.scale) or _SCALES,
        rounding="half-up",
        fields={
            "stride": step.size(p.feat_stride, "feat_stride"),
            "pre_nms": step.size(p.pre_nms_topn, "pre_nms_topn"),
            "post_nms": step.size(p.post_nms_topn, "post_nms_topn"),
            "nms_iou": step.fraction(p.nms_thresh, "nms_thresh"),
            "min_size": float(p.min_size),
        },
    )


def python_proposal(step: Step) -> Result:
    """ProposalLayer of py-faster-rcnn, its counts those of that project's test configuration."""
    text = step.message.python_param.param_str
    given = {name: _numbers(value) for name, value in _PARAMETER.findall(text)}
    if not given.keys() <= _PYTHON_PARAMETERS or not all(given.values()):
        raise step.error(
            f"param_str {text[:100]!r}: expected numbers for {', '.join(sorted(_PYTHON_PARAMETERS))}"
        )
    stride = given.get("feat_stride", (16.0,))[0]
    if not stride.is_integer():
        raise step.error(f"feat_stride {stride}: expected a whole number")
    return _proposals(
        step,
        base=16,
        ratios=given.get("ratios", _RATIOS),
        scales=given.get("scales", _SCALES),
        rounding="half-even",
        fields={
            "stride": step.size(int(stride), "feat_stride"),
            "pre_nms": 6000,
            "post_nms": 300,
            "nms_iou": 0.7,
            "min_size": 16.0,
        },
    )


def roi_pooling(step: Step) -> Pooled:
    """The end of one network, whose features are pooled, and the start of another."""
    step.expect_bottoms(2)
    p = step.message.roi_pooling_param
    found = step.bottoms[1]
    if not isinstance(found, Rois):
        raise step.error(f"bottom {step.layer.bottoms[1]!r} is not the proposals of a Proposal layer")
    if len(step.shape) != 4:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    size = [step.size(getattr(p, name), name) for name in ("pooled_h", "pooled_w")]
    if not 0 < p.spatial_scale < math.inf:
        raise step.error(f"spatial_scale {p.spatial_scale}: expected one over 0")
    features, name = step.layer.bottoms[0], step.layer.tops[0] if step.layer.tops else step.layer.name
    fields = {
        **found.fields,
        "features": features,
        "pooled_wh": (size[1], size[0]),
        "spatial_scale": p.spatial_scale,
    }
    graph = step.new_graph(two_stages.STAGES[1])
    graph.input(name, (found.fields["post_nms"], step.channels, *size))
    return Pooled(graph, name, Rois(fields, {features: step.tensor(), **found.outputs}))


def end_of_regions(
    pooled: Pooled, outputs: Mapping[str, Tensor], scores: str, thresholds: dict[str, Any]
) -> End:
    """The head that reads both networks.

    outputs: of the second one, class probabilities and box deltas. scores: which are the former.
    Raises ValueError for others.
    """
    if len(outputs) != 2 or scores not in outputs:
        raise ValueError(
            f"{', '.join(outputs) or 'nothing'} comes of the pooled proposals: expected class probabilities "
            "and box deltas"
        )
    (deltas,) = outputs.keys() - {scores}
    shape, columns = outputs[scores].shape, outputs[deltas].shape
    rows, classes = (*shape, 0)[:2]
    if len(shape) != 2 or classes < 2 or columns not in ((rows, 4 * classes), (rows, 8), (rows, 4)):
        raise ValueError(
            f"{scores} {shape} and {deltas} {columns}: expected classes, and four deltas a class, of each "
            "proposal"
        )
    params = two_stages.Params(
        **pooled.rois.fields,
        scores=scores,
        deltas=deltas,
        class_agnostic=columns[1] != 4 * classes,
        classes=classes - 1,
    )
    return End(
        two_stages.TYPE,
        params,
        {**pooled.rois.outputs, **outputs},
        thresholds,
        usual=faster_rcnn.INPUT,
    )


def _proposals(
    step: Step,
    *,
    base: int,
    ratios: Sequence[float],
    scales: Sequence[float],
    rounding: Any,
    fields: dict[str, Any],
) -> Result:
    step.expect_bottoms(2, 3)
    scores, deltas = step.tensor(0), step.tensor(1)
    count = len(ratios) * len(scales)
    sizes = (step.size(base, "base_size"), *ratios, *scales)
    if count > MAX_ANCHORS or not all(0 < size < MAX_SIZE for size in sizes):
        raise step.error(
            f"{len(ratios)} ratios and {len(scales)} scales: expected at most {MAX_ANCHORS} anchors, and all "
            f"over 0 and below {MAX_SIZE}"
        )
    anchors = rois.anchors(base, ratios, scales, rounding=rounding)
    shape = scores.shape
    if len(shape) != 4 or shape[1] != 2 * count or deltas.shape != (1, 4 * count, *shape[2:]):
        raise step.error(
            f"bottoms of shapes {shape} and {deltas.shape} for {count} anchors: expected "
            f"(1, {2 * count}, height, width) and (1, {4 * count}, height, width)"
        )
    names = step.layer.bottoms[:2]
    fields = {
        "anchors": tuple(tuple(map(float, anchor)) for anchor in anchors),
        "rpn_scores": names[0],
        "rpn_deltas": names[1],
        "rois": step.layer.tops[0] if step.layer.tops else step.layer.name,
        **fields,
    }
    found = Rois(fields, dict(zip(names, (scores, deltas), strict=True)))
    return [found] * max(1, len(step.layer.tops))


def _numbers(text: str) -> tuple[float, ...]:
    """Of one number or a list in brackets; none where it is another thing."""
    try:
        return tuple(float(part) for part in text.strip("[]()").split(",") if part.strip())
    except ValueError:
        return ()


CONVERTERS: dict[str, Converter] = {"Proposal": proposal, "ROIPooling": roi_pooling}

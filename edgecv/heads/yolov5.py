"""YOLOv5 and YOLOv7: anchor grids, as one decoded output or as the raw output of each stride.

Decoded, (N, 5 + classes): a row is cx, cy, w, h in blob pixels, objectness, class scores. Raw,
(anchors, H, W, 5 + classes) a stride: the logits of them. Formulas: `Detect.forward` of
ultralytics/yolov5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv import boxes
from edgecv.heads.base import (
    AtLeast,
    HeadParams,
    Query,
    Strides,
    join,
    sigmoid,
    take,
)
from edgecv.heads.cells import cells_wh, grid
from edgecv.heads.recognition import P5, P6, is_cells, is_nanodet_export
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "yolov5"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = ULTRALYTICS_INPUT


class Params(HeadParams, frozen=True):
    """Either `output`, or `raw` with `strides` and `anchors`.

    output: name of the decoded output. raw: names of the raw outputs, one a stride. strides: pixels.
    anchors: for each stride, (width, height) of its anchors, pixels; a file does not carry them, and
    YOLOv5, YOLOv7 and retrained networks differ.
    """

    output: str | None = None
    raw: tuple[str, ...] = ()
    strides: Strides = P5
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        if (self.output is None) == (not self.raw):
            raise ValueError("expected either `output` or `raw`")
        if self.raw and not len(self.raw) == len(self.strides) == len(self.anchors):
            raise ValueError(
                f"`raw`, `strides` and `anchors` have {len(self.raw)}, {len(self.strides)} and "
                f"{len(self.anchors)} entries: expected one of each a stride"
            )


def recognize(facts: ModelFacts) -> Params | None:
    """The decoded output, (1, N, 5 + classes), with three rows a cell; raw outputs may lie beside it.

    Raw outputs alone are in doubt: their anchors are not in the file.
    """
    decoded = [spec for spec in facts.outputs if len(spec.shape) == 3]
    raw = [spec for spec in facts.outputs if len(spec.shape) == 5]
    if len(decoded) != 1 or len(decoded) + len(raw) != len(facts.outputs) or is_nanodet_export(facts):
        return None
    rows, columns = decoded[0].shape[1:]
    if not isinstance(columns, int) or columns < 6 or not is_cells(rows, facts, P5, P6, anchors=3):
        return None
    about = parse_metadata(facts.metadata)
    if about and (about.task not in (None, "detect") or len(about.names) != columns - 5):
        return None
    return Params(output=decoded[0].name)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    if params.output is None:
        return _decode_raw(outputs, params, query)
    pred = take(outputs, params.output, (None, AtLeast(6)), TYPE)
    index, class_id, confidence = query.select(pred[:, 5:], objectness=pred[:, 4])
    return Candidates(boxes.cxcywh_to_xyxy(pred[:, :4], index), confidence, class_id)


def _decode_raw(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    # A confidence is at most its objectness, so rows below it need no sigmoid of their classes.
    lowest = max(query.lowest_confidence, 0)
    parts = []
    for name, stride, sizes in zip(params.raw, params.strides, params.anchors, strict=True):
        columns, rows = cells_wh(query.blob_wh, stride)
        raw = take(outputs, name, (len(sizes), rows, columns, AtLeast(6)), TYPE)
        raw = raw.reshape(-1, raw.shape[-1])
        likely = np.flatnonzero(sigmoid(raw[:, 4]) > lowest)
        pred = sigmoid(raw[likely])
        index, class_id, confidence = query.select(pred[:, 5:], objectness=pred[:, 4])
        anchor, cell = np.divmod(likely[index], rows * columns)
        box = 2 * pred[index, :4]
        box[:, :2] = (box[:, :2] - 0.5 + grid(query.blob_wh, (stride,)).cell_xy[cell]) * stride
        box[:, 2:] = box[:, 2:] ** 2 * np.array(sizes, np.float32)[anchor]
        parts.append((confidence, class_id, box))
    confidence, class_id, box = join(parts, query.max_candidates)
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id)

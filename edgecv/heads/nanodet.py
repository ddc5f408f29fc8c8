"""NanoDet: class scores and GFL box distributions, as two outputs a stride or as one of all strides.

A cell's box is left, top, right and bottom distances from its center, each the mean of a softmax over
reg_max + 1 bins, in strides (Generalized Focal Loss, Li et al. 2020; `NanoDetHead` of RangiLyu/nanodet).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from edgecv.heads.base import AtLeast, HeadParams, Query, Strides, join, sigmoid, take
from edgecv.heads.cells import cell_count, grid
from edgecv.heads.recognition import P5, P6, is_cells, is_nanodet_export, sole_output
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "nanodet"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "bgr",
    "resize": "stretch",
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
}

# Columns of a box where reg_max is 7, as in every published NanoDet.
_BINS = 32


class Params(HeadParams, frozen=True):
    """Either `output`, or `cls` and `reg`.

    output: name of the one output, (N, classes + 4 * (reg_max + 1)). cls, reg: names of the outputs of
    each stride, (N, classes) and (N, 4 * (reg_max + 1)). strides: pixels. reg_max: the last bin.
    cell_offset: where a cell's center lies in it: 0.5 for NanoDet, 0 for NanoDet-Plus.
    logits: whether the scores still need their sigmoid.
    """

    output: str | None = None
    cls: tuple[str, ...] = ()
    reg: tuple[str, ...] = ()
    strides: Strides = P5
    reg_max: Annotated[int, msgspec.Meta(ge=1)] = 7
    cell_offset: float = 0.5
    logits: bool = False

    def __post_init__(self) -> None:
        if (self.output is None) == (not self.cls and not self.reg):
            raise ValueError("expected either `output`, or `cls` and `reg`")
        if self.output is None and not len(self.cls) == len(self.reg) == len(self.strides):
            raise ValueError(
                f"`cls`, `reg` and `strides` have {len(self.cls)}, {len(self.reg)} and "
                f"{len(self.strides)} entries: expected one of each a stride"
            )


def recognize(facts: ModelFacts) -> Params | None:
    """Two outputs a stride of 8, 16 and 32, or one of strides 8 to 64 (NanoDet-Plus); 8 bins a side.

    One output for strides 8, 16, 32 is in doubt: versions of NanoDet differ in `cell_offset`.
    """
    output = sole_output(facts, rank=3)
    if output is None:
        return _recognize_levels(facts)
    rows, columns = output.shape[1:]
    if not isinstance(columns, int) or columns <= _BINS or not is_cells(rows, facts, P6):
        return None
    if parse_metadata(facts.metadata) or not (isinstance(rows, int) or is_nanodet_export(facts)):
        return None
    return Params(output=output.name, strides=P6, cell_offset=0.0)


def _recognize_levels(facts: ModelFacts) -> Params | None:
    if facts.image_wh is None or len(facts.outputs) != 2 * len(P5):
        return None
    names = {spec.shape[1:]: spec.name for spec in facts.outputs}
    classes = next((shape[1] for shape in names if len(shape) == 2 and shape[1] != _BINS), None)
    cells = [cell_count(facts.image_wh, (stride,)) for stride in P5]
    cls, reg = ([(n, columns) for n in cells] for columns in (classes, _BINS))
    if not isinstance(classes, int) or len(names) != 2 * len(P5) or names.keys() != {*cls, *reg}:
        return None
    return Params(cls=tuple(names[shape] for shape in cls), reg=tuple(names[shape] for shape in reg))


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    threshold = _logit(query.confidence) if params.logits else query.confidence
    parts, first = [], 0
    for scores, distribution in _levels(outputs, params, query.blob_wh):
        row, class_id, score = query.select(scores, threshold=threshold)
        parts.append((score, class_id, row + first, distribution[row]))
        first += len(scores)
    score, class_id, index, distribution = join(parts, query.max_candidates)

    cells = grid(query.blob_wh, params.strides)
    center = cells.cell_xy[index] + np.float32(params.cell_offset)
    distance = _mean_bin(distribution, params.reg_max + 1).reshape(-1, 4)
    corners = np.concatenate([center - distance[:, :2], center + distance[:, 2:]], axis=1)
    xyxy = corners * cells.stride[index]
    return Candidates(xyxy, sigmoid(score) if params.logits else score, class_id)


def _mean_bin(logits: FloatArray, bins: int) -> FloatArray:
    """The mean of each side's softmax over its bins, float32 (n * 4,)."""
    # Bins first: NumPy reduces few long rows many times faster than many short ones.
    x = np.ascontiguousarray(logits.reshape(-1, bins).T)
    with np.errstate(invalid="ignore", over="ignore"):
        weight = np.exp(x - x.max(axis=0))
    steps = np.arange(bins, dtype=np.float32)[:, None]
    return np.asarray((steps * weight).sum(axis=0) / weight.sum(axis=0), np.float32)


def _levels(
    outputs: Mapping[str, FloatArray], params: Params, blob_wh: tuple[int, int]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Scores and distributions, of each stride or of all at once."""
    bins = 4 * (params.reg_max + 1)
    if params.output is not None:
        rows = cell_count(blob_wh, params.strides)
        pred = take(outputs, params.output, (rows, AtLeast(bins + 1)), TYPE)
        yield pred[:, :-bins], pred[:, -bins:]
    for cls, reg, stride in zip(params.cls, params.reg, params.strides, strict=False):
        rows = cell_count(blob_wh, (stride,))
        yield take(outputs, cls, (rows, AtLeast(1)), TYPE), take(outputs, reg, (rows, bins), TYPE)


def _logit(confidence: float | FloatArray) -> float | FloatArray:
    """The score whose sigmoid is the threshold; finite, also for 0 and 1."""
    p = np.clip(confidence, 1e-30, 1 - 1e-7)
    logit: float | FloatArray = np.log(p) - np.log1p(-p)
    return logit

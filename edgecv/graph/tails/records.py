"""What `find_tail` gives: the record of a tail, and the network without it."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from edgecv.graph.model import OnnxModel


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """What a tail did, for whoever does it in its place; `str` is one line of it.

    operator: what suppressed duplicates. boxes, scores: outputs of the cut network, (1, N, 4) and
    (1, N, classes), or (1, 4, N) and (1, classes, N) where not `boxes_are_rows`, `scores_are_rows`. Scores
    are final: products with an objectness are in the network.
    box_format: of `boxes`; coordinates: of pixels of the input, or parts of it, where the graph tells.
    classes: columns of `scores`. first_class: the number that the tail gave to column 0, others follow.
    background: the column that is never a detection. multi_label: every class of a box over the threshold is
    a candidate, not its best class alone.
    confidence: candidates have a score strictly over it, float32; None: all are. iou: a box is suppressed
    when it overlaps more. candidates: the most confident ones that are looked at, None: all.
    max_det: the most detections, max_per_class: those of one class, before max_det; None: any number.
    class_agnostic: whether boxes of different classes suppress one another. class_offset: by how much the
    tail moved boxes apart for each class to tell them apart, in the unit of the boxes; None: in other ways.
    extras: output (1, N, columns) of what the rows carried besides. kept: outputs that are as before.
    outputs: what the columns of the file's outputs were.
    """

    operator: str
    boxes: str
    scores: str
    boxes_are_rows: bool
    scores_are_rows: bool
    box_format: Literal["xyxy", "yxyx", "cxcywh", "xywh"]
    coordinates: Literal["pixels", "fractions"] | None
    classes: int
    first_class: int = 0
    background: int | None = None
    multi_label: bool
    iou: float
    confidence: float | None
    candidates: int | None = None
    max_det: int | None
    max_per_class: int | None
    class_agnostic: bool
    class_offset: float | None = None
    extras: str | None = None
    kept: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"IoU {self.iou:g}"]
        told.append("any confidence" if self.confidence is None else f"confidence over {self.confidence:g}")
        if self.max_det is not None:
            told.append(f"at most {self.max_det}")
        if self.max_per_class is not None:
            told.append(f"at most {self.max_per_class} of a class")
        if self.candidates is not None:
            told.append(f"of the best {self.candidates} candidates")
        told.append("all classes together" if self.class_agnostic else "class by class")
        return f"the network's own {self.operator} is replaced by edgecv's: {', '.join(told)}"


class Found(msgspec.Struct, frozen=True):
    """A tail, and the network that ends before it."""

    tail: Tail
    model: OnnxModel


def as_written(value: float) -> float:
    """The shortest decimal that is the same float32: 0.45 of what a file's float32 says."""
    return float(str(np.float32(value)))

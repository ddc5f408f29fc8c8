"""RT-DETR (Zhao et al., arXiv:2304.08069) and kin, whose scores have a sigmoid each; of several exporters.

Of Ultralytics one output (queries, 4 + classes) of probabilities; of Hugging Face logits and boxes; of its
authors, and of D-FINE, final `labels`, `boxes` and `scores` for the sizes that a second input has.
"""

from __future__ import annotations

from typing import Any

from edgecv.heads.base import Reading
from edgecv.heads.queries import Params as Queries
from edgecv.heads.recognition import (
    COCO_IDS,
    MOST_FINAL,
    YOLO_STRIDES,
    detr_outputs,
    is_cells,
    shapes,
    sole_output,
)
from edgecv.heads.rows import Params as Rows
from edgecv.heads.ultralytics import described, parse_metadata
from edgecv.types import ModelFacts

NAME = "rtdetr"

INPUT: dict[str, Any] = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}


def recognize(facts: ModelFacts) -> Reading | None:
    """By metadata and shape; by names, unless the scores could have a softmax; by the input of sizes."""
    return _of_ultralytics(facts) or _of_logits(facts) or _final(facts)


def _of_ultralytics(facts: ModelFacts) -> Reading | None:
    about, output = parse_metadata(facts.metadata), sole_output(facts, rank=3)
    if about is None or output is None or about.end2end or about.task != "detect":
        return None
    queries, columns = output.shape[1:]
    if not isinstance(queries, int) or queries > MOST_FINAL or columns != 4 + len(about.names):
        return None
    counts_cells = is_cells(queries, facts, *YOLO_STRIDES) and not described(facts.metadata, "rtdetr")
    if queries == columns or counts_cells or described(facts.metadata, "yolo"):
        return None
    return Reading(NAME, "queries", Queries(output=output.name, activation="none"), INPUT)


def _of_logits(facts: ModelFacts) -> Reading | None:
    found = detr_outputs(facts)
    if found is None:
        return None
    boxes, scores, columns = found
    if columns == COCO_IDS + 1:
        return None
    # Deformable DETR has the same outputs and is fed with ImageNet's mean and std.
    convention = INPUT if columns == 80 else None
    return Reading(NAME, "queries", Queries(boxes=boxes, scores=scores), convention)


def _final(facts: ModelFacts) -> Reading | None:
    if {spec.name for spec in facts.inputs} != {"images", "orig_target_sizes"}:
        return None
    found = shapes(facts)
    if set(found) != {"labels", "boxes", "scores"} or found["boxes"][2:] != (4,):
        return None
    return Reading(NAME, "rows", Rows(boxes="boxes", labels="labels", scores="scores"), INPUT)

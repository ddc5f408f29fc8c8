"""DETR and its kin with no object as the last class (Carion et al., arXiv:2005.12872): logits and boxes.

The names are those of the reference implementation and of Hugging Face's exports.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.queries import Params as Queries
from edgecv.heads.recognition import COCO_IDS, detr_outputs, shapes
from edgecv.types import ModelFacts

NAME = "detr"

# ImageNet's, as DETR's transforms have them.
INPUT = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}

# Of deformable attention; of boxes that are refined about points (the inverse of a sigmoid); of queries that
# are chosen by score. Folded constants may hide the last two of kin, and so their absence tells nothing.
_OF_KIN = frozenset(("GridSample", "Log", "TopK"))


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names, unless operators or the classes of COCO say that each score has a sigmoid."""
    found = detr_outputs(facts)
    if found is None or _OF_KIN & facts.operators:
        return None
    boxes, scores, columns = found
    if columns in (80, COCO_IDS):
        return None
    # Of a network that segments (section 4.2 of the paper): logits over the whole picture.
    masks = "pred_masks" if len(shapes(facts).get("pred_masks", ())) == 4 else None
    params = Queries(boxes=boxes, scores=scores, activation="softmax", background="last", masks=masks)
    return Reading(NAME, "queries", params, INPUT)

"""MMDeploy's networks: `dets` (n, 5), x1, y1, x2, y2 in blob pixels and a confidence, `labels` (n,).

Mask R-CNN and its kin have `masks` (n, h, w) too, over their boxes or pasted into the blob.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads.base import Reading
from edgecv.heads.recognition import mask_space, shapes
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "mmdeploy"

_COLUMNS: tuple[Column, ...] = ("x1", "y1", "x2", "y2", "confidence")


def recognize(facts: ModelFacts) -> Reading | None:
    """By the two names and their shapes; configurations differ in how they feed it."""
    found = shapes(facts)
    if set(found) - {"masks"} != {"dets", "labels"} or found["dets"][2:] != (5,):
        return None
    if len(found["labels"]) != 2 or len(found.get("masks", (None,) * 4)) != 4:
        return None
    params = Rows(output="dets", columns=_COLUMNS, labels="labels")
    masks = next((spec for spec in facts.outputs if spec.name == "masks"), None)
    if masks is not None:
        params = replace(params, masks="masks", mask_space=mask_space(masks, facts))
    return Reading(NAME, "rows", params)

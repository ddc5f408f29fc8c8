"""torchvision's detectors, which end in `boxes` (n, 4), `labels` (n,), `scores` (n,), Mask R-CNN in `masks`
too, Keypoint R-CNN in `keypoints` (n, k, 3) and what heatmaps give for each of them.

They resize and normalize in the graph and suppress duplicates; class 0 is the background. Layout:
`GeneralizedRCNN`, `RetinaNet` and `SSD` of torchvision.models.detection.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads.base import Reading
from edgecv.heads.recognition import mask_space, shapes
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "torchvision"

INPUT = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names of its results, without a batch, and labels that are whole numbers."""
    found = shapes(facts)
    rest = set(found) - {"masks", "keypoints", "keypoints_scores"}
    if rest != {"boxes", "labels", "scores"} or found["boxes"][1:] != (4,):
        return None
    whole = next(spec for spec in facts.outputs if spec.name == "labels").dtype.kind == "i"
    if not whole or len(found["labels"]) != 1 or len(found["scores"]) != 1:
        return None
    params = Rows(boxes="boxes", labels="labels", scores="scores", first_class=1)
    if "masks" in found:
        masks = next(spec for spec in facts.outputs if spec.name == "masks")
        if len(masks.shape) != 4 or masks.shape[1] != 1:
            return None
        params = replace(params, masks="masks", mask_space=mask_space(masks, facts))
    if "keypoints" in found:
        if len(found["keypoints"]) != 3 or found["keypoints"][2] != 3:
            return None
        params = replace(params, keypoints="keypoints")
    return Reading(NAME, "rows", params, INPUT)

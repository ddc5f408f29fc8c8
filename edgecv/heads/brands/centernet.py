"""CenterNet: a heat map of centers, sizes and offsets, in cells of stride 4.

Zhou et al. 2019, arXiv:1904.07850; names of the outputs and the input as in xingyizhou/CenterNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import heatmap, levels
from edgecv.heads.base import Reading
from edgecv.types import ModelFacts

NAME = "centernet"

INPUT: Mapping[str, Any] = {
    "color": "bgr",
    "resize": "letterbox",
    "pad_value": 0.0,
    "mean": (104.04, 113.985, 119.85),
    "std": (73.695, 69.87, 70.89),
}

_STRIDE = 4
_SIZES = {"wh": 2, "reg": 2}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names hm, wh and reg, all maps of stride 4."""
    found = {spec.name: levels.place(spec, facts, (_STRIDE,)) for spec in facts.outputs}
    widths = {name: one.width for name, one in found.items() if one is not None and one.is_map}
    if set(found) != {"hm", "wh", "reg"} or len(widths) != len(found):
        return None
    if any(widths[name] != size for name, size in _SIZES.items()):
        return None
    is_probability = facts.ends.get("hm") in ("Sigmoid", "Clip")
    params = heatmap.Params(heatmap="hm", sizes="wh", offsets="reg", logits=not is_probability)
    return Reading(NAME, heatmap.TYPE, params, INPUT)

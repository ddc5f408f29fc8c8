"""CenterFace: a heat map of faces, logarithms of sizes, offsets and five landmarks, in cells of stride 4.

Pairs have y before x; a landmark is a part of its box, from the left top corner. Duplicates are left to NMS.
`CenterFace` of Star-Clouds/CenterFace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import heatmap, levels
from edgecv.heads.base import Reading
from edgecv.types import ModelFacts

NAME = "centerface"

INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "stretch"}

_STRIDE = 4
# Names of the published files, and channels: heat map, sizes, offsets, landmarks.
_OUTPUTS = (
    {"537": 1, "538": 2, "539": 2, "540": levels.LANDMARKS},
    {"535": 1, "536": 2, "537": 2},
)


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names and channels of the outputs, all maps of stride 4."""
    found = {spec.name: levels.place(spec, facts, (_STRIDE,)) for spec in facts.outputs}
    widths = {name: one.width for name, one in found.items() if one is not None and one.is_map}
    if widths not in _OUTPUTS or len(widths) != len(found):
        return None
    return Reading(NAME, heatmap.TYPE, params(*sorted(widths)), INPUT)


def params(heat: str, sizes: str, offsets: str, landmarks: str | None = None) -> heatmap.Params:
    """The parameters, for outputs of these names."""
    return heatmap.Params(
        heatmap=heat,
        sizes=sizes,
        offsets=offsets,
        landmarks=landmarks,
        peak=1,
        size_code="exp",
        axes="yx",
        cell_offset=0.5,
        landmark_code="box",
        needs_nms=True,
    )

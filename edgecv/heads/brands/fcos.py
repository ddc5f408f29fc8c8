"""FCOS: scores, distances and centerness, three maps for each stride from 8 to 128.

Scores and centerness are logits; confidence is the square root of their product. Distances come out of an
exponential, in pixels, or, normalized by the stride, out of a rectifier. Tian et al. 2019; tianzhi0549/FCOS.
"""

from __future__ import annotations

from edgecv.heads import distances, levels
from edgecv.heads.base import Reading
from edgecv.types import ModelFacts

NAME = "fcos"

_STRIDES = (8, 16, 32, 64, 128)


def recognize(facts: ModelFacts) -> Reading | None:
    """By 15 maps whose four channels end in an exponential or a rectifier: ATSS has the same shapes.

    Networks of the family are fed in many ways, so that nothing is said of the input.
    """
    widths = levels.by_width(facts, _STRIDES, maps=True)
    if widths is None or len(widths) != 3 or not {1, 4} < set(widths):
        return None
    (scores,) = (names for width, names in widths.items() if width not in (1, 4))
    ends = {facts.ends.get(name) for name in widths[4]}
    if ends not in ({"Exp"}, {"Relu"}):
        return None
    params = distances.Params(
        scores=scores,
        boxes=widths[4],
        objectness=widths[1],
        strides=_STRIDES,
        unit="pixels" if ends == {"Exp"} else "strides",
        logits=levels.are_logits(facts, scores),
        powers=(0.5, 0.5),
    )
    return Reading(NAME, distances.TYPE, params)

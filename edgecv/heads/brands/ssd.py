"""SSD as cards name it: boxes (N, 4) and class probabilities (N, classes), with or without priors."""

from __future__ import annotations

from typing import Literal

from edgecv.heads import anchors, priors
from edgecv.heads.base import HeadParams, PositiveInt, Reading
from edgecv.heads.priors import Pair, PositiveFloat, Sizes
from edgecv.types import ModelFacts

NAME = "ssd"


class PriorMap(HeadParams, frozen=True, omit_defaults=True):
    """See `priors.PriorMap`. clip: whether the boxes of `min_sizes` are cut at the blob's edges."""

    stride: PositiveFloat | Pair
    sizes: Sizes = ()
    cells_wh: tuple[PositiveInt, PositiveInt] | None = None
    offset: float = 0.5
    min_sizes: Sizes = ()
    max_sizes: Sizes = ()
    aspect_ratios: Sizes = ()
    flip: bool = True
    clip: bool = False

    def __post_init__(self) -> None:
        self.to_map(False)

    def to_map(self, clip: bool) -> priors.PriorMap:
        """clip: whether squares of `sizes` are cut at the blob's size. Raises ValueError for sizes that do
        not go together."""
        return priors.PriorMap(
            stride=self.stride,
            sizes=self.sizes,
            cells_wh=self.cells_wh,
            offset=self.offset,
            min_sizes=self.min_sizes,
            max_sizes=self.max_sizes,
            aspect_ratios=self.aspect_ratios,
            flip=self.flip,
            clip=("center-size" if clip else None) if self.sizes else ("edges" if self.clip else None),
        )


class Params(HeadParams, frozen=True):
    """boxes, scores: names of the outputs; with priors they may be (N * 4,) and (N * classes,).

    Without priors a box is x1, y1, x2, y2 as parts of the blob's width and height.
    background: whether class 0 of the scores is the background; it is dropped, and classes count from
    the one after it. classes: how many there are without it, for outputs that do not show it.
    priors: of each feature map, where the network leaves them to us; clip: whether those of `sizes` are
    cut at the blob's edges, as parts of its size.
    variances, code, shared: see `anchors.Params`.
    """

    boxes: str = "boxes"
    scores: str = "scores"
    background: bool = True
    priors: tuple[PriorMap, ...] = ()
    variances: tuple[PositiveFloat, ...] = (0.1, 0.2)
    clip: bool = True
    code: Literal["center-size", "corner", "corner-size"] = "center-size"
    shared: bool = True
    classes: PositiveInt | None = None

    def __post_init__(self) -> None:
        if len(self.variances) not in (2, 4):
            raise ValueError(f"`variances` has {len(self.variances)} entries: expected 2 or 4")


def recognize(facts: ModelFacts) -> Reading | None:
    """Never: its priors are in no file."""
    return None


def reading(params: Params) -> Reading:
    """Offsets from the priors; without priors decoded boxes."""
    background: Literal["first"] | None = "first" if params.background else None
    if not params.priors:
        return decoded(NAME, params.boxes, params.scores, background, params.classes, params.shared)
    return Reading(
        NAME,
        anchors.TYPE,
        anchors.Params(
            boxes=params.boxes,
            scores=params.scores,
            background=background,
            classes=params.classes,
            priors=tuple(one.to_map(params.clip) for one in params.priors),
            variances=params.variances,
            code=params.code,
            shared=params.shared,
        ),
    )


def decoded(
    brand: str,
    boxes: str,
    scores: str,
    background: Literal["first"] | None,
    classes: int | None = None,
    shared: bool = True,
) -> Reading:
    """Boxes that the graph has decoded, as parts of the blob."""
    params = anchors.Params(boxes=boxes, scores=scores, background=background, classes=classes, shared=shared)
    return Reading(brand, anchors.TYPE, params)

"""Classifier: one frame at a time through preprocessing, a session and a head, to its likeliest classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv import heads
from edgecv.backends.base import Array, Session
from edgecv.card import ModelCard
from edgecv.errors import CardError
from edgecv.heads.base import HeadParams
from edgecv.pipelines.base import Pipeline
from edgecv.records import frozen
from edgecv.types import Classification, FloatArray, FrameTransform, IntArray


@frozen
class ClassifierSettings:
    """top: how many classes a result lists; fewer where the model has fewer."""

    top: int = 5


class Classifier(Pipeline[Classification]):
    """A classifier of one card on one session.

    settings: how much a result lists. Calling it on a frame returns a `Classification`.
    """

    NOUN = "classifier"

    def __init__(
        self,
        session: Session[Any],
        card: ModelCard,
        settings: ClassifierSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        if card.head is None or card.head.type not in heads.CLASSIFICATION:
            raise CardError(f"{card.name}: no head whose outputs can be read as classes")
        super().__init__(session, card, imgsz=imgsz)
        self.settings = settings
        self._head = heads.CLASSIFICATION[card.head.type]
        self._params: HeadParams = card.head.params

    def probabilities(self, outputs: Mapping[str, Array]) -> FloatArray:
        """Every class's, float32 (classes,), 0 to 1, from the raw outputs of one image."""
        return self._head.probabilities(outputs, self._params)

    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> Classification:
        """Raw outputs of one image, without the batch axis, to its likeliest classes."""
        found = self.probabilities(outputs)
        class_id = top_classes(found, self.settings.top)
        return Classification(class_id, found[class_id], self.names, placement=self.placement)


def top_classes(confidence: FloatArray, top: int) -> IntArray:
    """The ids of the `top` highest, best first; of equal ones the lower id comes first.

    confidence: float32 (classes,), without NaN. Returns int32 (min(top, classes),).
    """
    count = min(top, len(confidence))
    if not count:
        return np.empty(0, np.int32)
    # A partition alone may pick any of those that are equal to the last one in.
    last = np.partition(confidence, -count)[-count]
    above = np.flatnonzero(confidence > last)
    equal = np.flatnonzero(confidence == last)[: count - len(above)]
    chosen = np.sort(np.concatenate([above, equal]))
    best_first = np.argsort(-confidence[chosen], kind="stable")
    return chosen[best_first].astype(np.int32)

"""Classifier: one frame at a time through preprocessing, a session and a head, to its likeliest classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecv.backends.base import Array
from edgecv.errors import InputError
from edgecv.heads.base import HeadParams
from edgecv.pipelines.base import Frame, Inspection, Settings, is_whole
from edgecv.pipelines.single_shot import SingleShot
from edgecv.types import Classification, FloatArray, FrameTransform, IntArray

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard


class ClassifierSettings(Settings, frozen=True):
    """top: how many classes a result lists, None for 5; fewer where the model has fewer."""

    top: int | None = None

    def for_card(self, card: ModelCard) -> ClassifierSettings:
        """The settings with everything stated. Raises InputError for a number below 1."""
        top = 5 if self.top is None else self.top
        if not is_whole(top) or top < 1:
            raise InputError(f"top: expected a whole number of at least 1, got {top!r}")
        return ClassifierSettings(top)


class Classifier(SingleShot[Classification]):
    """A classifier of one card on one session. Calling it on a frame returns a `Classification`."""

    TASK = "classify"
    NOUN = "classifier"
    Settings = ClassifierSettings
    COMPARED: ClassVar[tuple[str, ...]] = ("classes",)

    settings: ClassifierSettings

    @classmethod
    def accepts(cls, card: ModelCard) -> bool:
        """A card to classify."""
        return card.task == cls.TASK and card.head is not None

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: ClassifierSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        super().__init__(sessions, card, settings, imgsz=imgsz)
        assert card.head is not None
        self._head: Any = card.head.module
        self._params: HeadParams = card.head.params

    def probabilities(self, outputs: Mapping[str, Array]) -> FloatArray:
        """Every class's, float32 (classes,), 0 to 1, from the raw outputs of one image."""
        found: FloatArray = self._head.probabilities(outputs, self._params)
        return found

    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> Classification:
        """Raw outputs of one image, without the batch axis, to its likeliest classes."""
        found = self.probabilities(outputs)
        assert self.settings.top is not None
        class_id = top_classes(found, self.settings.top)
        return Classification(class_id, found[class_id], names=self.names)

    def _inspect(self, frame: Frame) -> Inspection:
        """Raw outputs, and the probability of every class."""
        self.preprocess(frame)
        outputs = {name: np.array(array) for name, array in self.infer(self.eye.blob).items()}
        first = self._of_image(outputs, 0, len(self.eye.blob))
        return Inspection(outputs, {"classes": self.probabilities(first)})


PIPELINE = Classifier


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

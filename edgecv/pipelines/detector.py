"""Detector: one frame at a time through preprocessing, a session, a head and NMS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv import boxes, heads
from edgecv.backends.base import Array, Session
from edgecv.card import ModelCard
from edgecv.errors import CardError
from edgecv.heads.base import HeadParams, Query
from edgecv.pipelines.base import Pipeline
from edgecv.records import frozen
from edgecv.types import Candidates, Detections, FloatArray, FrameTransform

if TYPE_CHECKING:
    from numpy.typing import NDArray


@frozen
class DetectorSettings:
    """What counts as a detection.

    conf: candidates lie over it; a number, or float32 (classes,). iou: boxes of one class that overlap
    a better one by more are duplicates. max_det: most detections a frame. classes: ids to keep, or
    None for all. multi_label: every class of a cell over the threshold counts, not only its best.
    """

    conf: float | FloatArray = 0.25
    iou: float = 0.45
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    multi_label: bool = False


class Detector(Pipeline[Detections]):
    """A detector of one card on one session.

    settings: what counts as a detection. Calling it on a frame returns `Detections`.
    """

    NOUN = "detector"

    def __init__(
        self,
        session: Session[Any],
        card: ModelCard,
        settings: DetectorSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        if card.head is None or card.head.type not in heads.DETECTION:
            raise CardError(f"{card.name}: no head whose outputs can be read as detections")
        super().__init__(session, card, imgsz=imgsz)
        self.settings = settings
        self._head = heads.DETECTION[card.head.type]
        self._params: HeadParams = card.head.params
        self._query = Query(blob_wh=self.blob_wh, confidence=settings.conf, multi_label=settings.multi_label)

    @property
    def class_count(self) -> int | None:
        """How many classes it tells apart; None where neither the head nor names say."""
        stated = getattr(self._params, "classes", None)
        return stated if isinstance(stated, int) else len(self.names) or None

    def candidates(self, outputs: Mapping[str, Array]) -> Candidates:
        """What the head reads from the raw outputs of one image, before NMS."""
        return self._head.decode(outputs, self._params, self._query)

    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> Detections:
        """Raw outputs of one image, without the batch axis, to detections in frame pixels."""
        found = self.candidates(outputs)
        if self.settings.classes is not None:
            found = _take(found, np.flatnonzero(np.isin(found.class_id, self.settings.classes)))
        keep = self.suppress(found)
        xyxy = transform.boxes_to_frame(found.xyxy[keep])
        # A box in the padding has no area once it is clipped to the frame.
        inside = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
        found = _take(found, keep[inside])
        return Detections(
            xyxy=xyxy[inside],
            confidence=found.confidence,
            class_id=found.class_id,
            names=self.names,
            keypoints=None if found.keypoints is None else transform.points_to_frame(found.keypoints),
            placement=self.placement,
        )

    def suppress(self, found: Candidates) -> NDArray[np.int64]:
        """The candidates that stay, best first: their indices, int64 (k,)."""
        if not found.needs_nms:
            return np.argsort(-found.confidence, kind="stable")[: self.settings.max_det]
        return boxes.nms(
            found.xyxy,
            found.confidence,
            found.class_id,
            iou=self.settings.iou,
            max_det=self.settings.max_det,
        )


def _take(found: Candidates, keep: NDArray[np.intp]) -> Candidates:
    return replace(
        found,
        xyxy=found.xyxy[keep],
        confidence=found.confidence[keep],
        class_id=found.class_id[keep],
        keypoints=None if found.keypoints is None else found.keypoints[keep],
    )

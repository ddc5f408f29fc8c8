"""RegionProposal: a detector of two networks, with proposals and their pooling between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from edgecv import rois
from edgecv.backends.base import Array
from edgecv.clock import Stopwatch
from edgecv.errors import CardError, PlacementError
from edgecv.heads import two_stages
from edgecv.heads.base import Query, take
from edgecv.pipelines import selection
from edgecv.pipelines.apart import Apart
from edgecv.pipelines.base import Frame, Inspection, Pipeline
from edgecv.pipelines.detector import DetectorSettings, class_count
from edgecv.pipelines.eye import Eye
from edgecv.types import Candidates, Detections, FloatArray, FrameTransform, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard

TRUNK, ROI = two_stages.STAGES


class RegionProposal(Pipeline[Detections]):
    """A detector of one card on two sessions, as Faster R-CNN is one; frames go one at a time.

    trunk: the session that takes the frame. roi: the one that takes as many proposals at once as its
    network's first axis says, or all of them where that is dynamic. A proposal has a box of its own for each
    class, so every class over the threshold counts, whatever `multi_label` says.
    """

    TASK = "detect"
    NOUN = "detector"
    Settings = DetectorSettings
    STAGES: ClassVar[tuple[str, ...]] = ("preprocess", "trunk", "proposals", "roi", "postprocess")
    COMPARED: ClassVar[tuple[str, ...]] = ("candidates", "detections")

    settings: DetectorSettings

    @classmethod
    def accepts(cls, card: ModelCard) -> bool:
        """A card to detect whose head reads a trunk and regions of interest."""
        return (
            card.task == cls.TASK
            and card.head is not None
            and isinstance(card.head.params, two_stages.Params)
        )

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: DetectorSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """sessions: of `trunk` and of `roi`, on the same device. settings, imgsz: as for `Detector`."""
        super().__init__(sessions, card, settings, imgsz=imgsz)
        if set(sessions) != set(two_stages.STAGES):
            raise CardError(
                f"{card.name}: `stages` expected {' and '.join(two_stages.STAGES)}, "
                f"got {', '.join(sessions) or 'none'}"
            )
        assert card.head is not None
        assert isinstance(card.head.params, two_stages.Params)
        self.trunk, self.roi = sessions[TRUNK], sessions[ROI]
        if _where(self.trunk) != _where(self.roi):
            raise PlacementError(
                f"{card.name}: its stages would run apart, {TRUNK} with {self.trunk.placement}, {ROI} with "
                f"{self.roi.placement}; name one backend that runs both"
            )
        self._params = card.head.params
        self.eye = Eye(self.trunk, card, imgsz)
        if self.eye.batch not in (None, 1):
            raise CardError(f"{card.name}: {TRUNK} takes {self.eye.batch} frames at once, expected one")
        self.blob_wh = self.eye.blob_wh
        self._apart = Apart.of(self.eye.picture, card.image_input.layout, self.trunk.outputs)
        self._query = Query(blob_wh=self.blob_wh, confidence=self.settings.threshold, multi_label=True)
        self._check_outputs()
        self._anchors = np.array(self._params.anchors, np.float32)
        self._pooled = self._pooled_blob()
        self.roi.prepare({self.roi.inputs[0].name: self._pooled.shape})

    @property
    def class_count(self) -> int | None:
        """How many classes it tells apart; None where neither the head nor names say."""
        return class_count(self.card)

    def propose(self, outputs: Mapping[str, Array], place: FrameTransform) -> FloatArray:
        """Proposals, float32 (n, 4), pixels of the blob.

        outputs: the raw ones of `trunk` of one image, without a batch axis.
        place: of the frame in the blob, which bounds them.
        """
        params, count = self._params, len(self._anchors)
        scores = take(outputs, params.rpn_scores, (2 * count, None, None), two_stages.TYPE)
        deltas = take(outputs, params.rpn_deltas, (4 * count, *scores.shape[1:]), two_stages.TYPE)
        left, top = (max(offset, 0) for offset in place.offset_xy)
        right, bottom = (
            min(offset + resized, whole)
            for offset, resized, whole in zip(place.offset_xy, place.resized_wh, self.blob_wh, strict=True)
        )
        scale_x, scale_y = place.scale_xy
        proposals, _ = rois.propose(
            scores[count:],
            deltas,
            self._anchors,
            image_xyxy=(left, top, right, bottom),
            stride=params.stride,
            min_wh=(params.min_size * scale_x, params.min_size * scale_y),
            pre_nms=params.pre_nms,
            post_nms=params.post_nms,
            iou=params.nms_iou,
            inclusive=params.inclusive,
        )
        return proposals

    def candidates(self, outputs: Mapping[str, Array]) -> Candidates:
        """What the head reads from proposals and the raw outputs of `roi`, before NMS."""
        found = two_stages.decode(outputs, self._params, self._query)
        selection.check(found, outputs, two_stages.TYPE)
        return found

    def detections(self, found: Candidates, place: FrameTransform) -> Detections:
        """The candidates that stay, in frame pixels. place: of the frame in the blob."""
        found = selection.of_classes(found, self.settings)
        # An inclusive box ends with its last pixel.
        ends = np.array([0, 0, 1, 1] if self._params.inclusive else [0, 0, 0, 0], np.float32)
        whole = msgspec.structs.replace(found, xyxy=found.xyxy + ends)
        kept = found.take(selection.suppress(whole, self.settings))
        return selection.to_detections(kept, place, self.names)

    def _inspect(self, frame: Frame) -> Inspection:
        """Raw outputs of `trunk`, candidates and detections.

        What `roi` makes of proposals hangs on their order: only the trunk's outputs compare number by number.
        """
        place = self.eye.preprocess(frame)
        outputs = self._infer(0)
        of_image = self._apart.of_image(outputs, 0, 1)
        proposals = self.propose(of_image, place)
        found = self.candidates(self._look_at(of_image, proposals, 0))
        detections = self.detections(found, place)
        return Inspection(outputs, {"candidates": found, "detections": detections})

    def _look(self, frame: Frame, watch: Stopwatch, deadline_ns: int) -> Detections:
        place = self.eye.preprocess(frame)
        watch.lap("preprocess")
        self._check_cancelled()
        of_image = self._apart.of_image(self._infer(deadline_ns), 0, 1)
        watch.lap("trunk")
        proposals = self.propose(of_image, place)
        watch.lap("proposals")
        read = self._look_at(of_image, proposals, deadline_ns)
        watch.lap("roi")
        found = self.detections(self.candidates(read), place)
        watch.lap("postprocess")
        return found

    def _infer(self, deadline_ns: int) -> dict[str, Array]:
        return self.trunk.run(self.eye.feeds(self.eye.blob), deadline_ns=deadline_ns)

    def _look_at(
        self, outputs: Mapping[str, Array], proposals: FloatArray, deadline_ns: int
    ) -> dict[str, Array]:
        """Proposals and raw outputs of `roi`, a row a proposal, by the names that the head knows.

        The network always runs, if only to tell their shapes.
        """
        features = take(outputs, self._params.features, (None, None, None), two_stages.TYPE)
        size, name = len(self._pooled), self.roi.inputs[0].name
        parts = []
        for start in range(0, max(len(proposals), 1), size):
            self._check_cancelled()
            some = proposals[start : start + size]
            rois.pool(
                features,
                some,
                size_wh=self._params.pooled_wh,
                scale=self._params.spatial_scale,
                out=self._pooled[: len(some)],
            )
            parts.append(self.roi.run({name: self._pooled}, deadline_ns=deadline_ns))
        read = {key: np.concatenate([part[key] for part in parts])[: len(proposals)] for key in parts[0]}
        return {self._params.rois: proposals, **read}

    def _check_outputs(self) -> None:
        """Raise CardError unless both networks have the outputs that the head names."""
        for stage, session, roles in (
            (TRUNK, self.trunk, ("features", "rpn_scores", "rpn_deltas")),
            (ROI, self.roi, ("scores", "deltas")),
        ):
            names = [spec.name for spec in session.outputs]
            for role in roles:
                if getattr(self._params, role) not in names:
                    raise CardError(
                        f"{self.card.name}: head.{role} names {getattr(self._params, role)!r}, and the "
                        f"outputs of {stage} are {', '.join(names)}"
                    )

    def _pooled_blob(self) -> FloatArray:
        """A zeroed input of `roi`: (proposals, channels, bins down, bins across)."""
        across, down = self._params.pooled_wh
        spec = self.roi.inputs[0]
        features = next(each for each in self.trunk.outputs if each.name == self._params.features)
        channels = self._channels(features, spec)
        fits = len(spec.shape) == 4 and all(
            not isinstance(n, int) or n == wanted
            for n, wanted in zip(spec.shape[1:], (channels, down, across), strict=True)
        )
        if len(self.roi.inputs) != 1 or not fits or spec.dtype != np.float32:
            raise CardError(
                f"{self.card.name}: expected one input of {ROI}, float32 (proposals, {channels}, {down}, "
                f"{across}) as {features} is pooled; it has {'; '.join(map(str, self.roi.inputs))}"
            )
        at_once = spec.shape[0] if isinstance(spec.shape[0], int) else self._params.post_nms
        return np.zeros((at_once, channels, down, across), np.float32)

    def _channels(self, features: TensorSpec, pooled: TensorSpec) -> int:
        for spec in (features, pooled):
            if len(spec.shape) == 4 and isinstance(spec.shape[1], int):
                return spec.shape[1]
        raise CardError(
            f"{self.card.name}: how many channels are pooled? {TRUNK} gives {features}, {ROI} takes {pooled}"
        )


def _where(session: Session[Any]) -> tuple[str, str, int]:
    return session.placement.backend, session.placement.device, session.placement.threads


PIPELINE = RegionProposal

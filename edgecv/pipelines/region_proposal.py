"""RegionProposal: a detector of two networks, with proposals and their pooling between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv import rois
from edgecv.backends.base import Array, Session
from edgecv.card import ModelCard
from edgecv.errors import CardError, InputError, PlacementError
from edgecv.heads import faster_rcnn
from edgecv.heads.base import Query, take
from edgecv.pipelines.base import Frame
from edgecv.pipelines.detector import Detector, DetectorSettings
from edgecv.types import Candidates, FloatArray, FrameTransform, Memory, TensorSpec

TRUNK, ROI = faster_rcnn.STAGES


class RegionProposal(Detector):
    """A detector of one card on two sessions, as Faster R-CNN is one; frames go one at a time.

    session: that of `trunk`. roi: that of `roi`, which takes as many proposals at once as its network's
    first axis says, or all of them where that is dynamic. A proposal has a box of its own for each
    class, so every class over the threshold counts, whatever `multi_label` says.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: DetectorSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """sessions: of `trunk` and of `roi`, on the same device. imgsz: as for `Detector`."""
        if set(sessions) != set(faster_rcnn.STAGES):
            raise CardError(
                f"{card.name}: `stages` expected {' and '.join(faster_rcnn.STAGES)}, "
                f"got {', '.join(sessions) or 'none'}"
            )
        if card.head is None or not isinstance(card.head.params, faster_rcnn.Params):
            raise CardError(f"{card.name}: expected a head {faster_rcnn.TYPE} for two stages")
        trunk, self.roi = sessions[TRUNK], sessions[ROI]
        if trunk.placement != self.roi.placement:
            raise PlacementError(
                f"{card.name}: its stages would run apart, {TRUNK} with {trunk.placement}, {ROI} with "
                f"{self.roi.placement}; name one backend that runs both"
            )
        self._faster = card.head.params
        super().__init__(trunk, card, settings, imgsz=imgsz)
        if self._batch not in (None, 1):
            raise CardError(f"{card.name}: {TRUNK} takes {self._batch} frames at once, expected one")
        self._batch = 1
        self._query = Query(blob_wh=self.blob_wh, confidence=settings.conf, multi_label=True)
        self._check_outputs()
        self._anchors = np.array(self._faster.anchors, np.float32)
        self._transform = FrameTransform(self.blob_wh, self.blob_wh, self.blob_wh, (0, 0))
        self._pooled = self._pooled_blob()
        self.roi.prepare({self.roi.inputs[0].name: self._pooled.shape})

    @property
    def memory(self) -> Memory:
        """Bytes of weights and arena of both networks, None where the backend does not tell."""
        both = (self.session.memory, self.roi.memory)
        return Memory(_sum(m.weights for m in both), _sum(m.arena for m in both))

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, (channels, height, width); None: the pipeline's own buffer."""
        self._transform = super().preprocess(frame, blob)
        return self._transform

    def infer(self, blob: Array) -> Mapping[str, Array]:
        """Raw outputs of both networks and the proposals, by name, the batch first.

        blob: of the frame that was preprocessed last, whose place in the blob bounds the proposals.
        Valid until the next call.
        """
        if len(blob) != 1:
            raise InputError(f"blob: expected a batch of one frame, got {len(blob)}")
        outputs = dict(super().infer(blob))
        of_image = {name: array[0] for name, array in outputs.items()}
        features = take(of_image, self._faster.features, (None, None, None), faster_rcnn.TYPE)
        proposals = self.propose(of_image)
        read = self._look_at(features, proposals)
        for name, array in {self._faster.rois: proposals, **read}.items():
            outputs[name] = array[None]
        return outputs

    def propose(self, outputs: Mapping[str, Array]) -> FloatArray:
        """Proposals, float32 (n, 4), pixels of the blob, from the raw outputs of `trunk` of one image."""
        params, count = self._faster, len(self._anchors)
        scores = take(outputs, params.rpn_scores, (2 * count, None, None), faster_rcnn.TYPE)
        deltas = take(outputs, params.rpn_deltas, (4 * count, *scores.shape[1:]), faster_rcnn.TYPE)
        place = self._transform
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

    def suppress(self, found: Candidates) -> NDArray[np.int64]:
        """The candidates that stay, best first: their indices, int64 (k,)."""
        if self._faster.inclusive:
            found = replace(found, xyxy=found.xyxy + np.array([0, 0, 1, 1], np.float32))
        return super().suppress(found)

    def _look_at(self, features: FloatArray, proposals: FloatArray) -> dict[str, Array]:
        """Raw outputs of `roi`, a row a proposal. Its network always runs, if only to tell their shapes."""
        size, name = len(self._pooled), self.roi.inputs[0].name
        parts = []
        for start in range(0, max(len(proposals), 1), size):
            some = proposals[start : start + size]
            rois.pool(
                features,
                some,
                size_wh=self._faster.pooled_wh,
                scale=self._faster.spatial_scale,
                out=self._pooled[: len(some)],
            )
            parts.append(self.roi.run({name: self._pooled}))
        return {key: np.concatenate([part[key] for part in parts])[: len(proposals)] for key in parts[0]}

    def _check_outputs(self) -> None:
        """Raise CardError unless both networks have the outputs that the head names."""
        params = self._faster
        for stage, session, roles in (
            (TRUNK, self.session, ("features", "rpn_scores", "rpn_deltas")),
            (ROI, self.roi, ("scores", "deltas")),
        ):
            names = [spec.name for spec in session.outputs]
            for role in roles:
                if getattr(params, role) not in names:
                    raise CardError(
                        f"{self.card.name}: head.{role} names {getattr(params, role)!r}, and the outputs of "
                        f"{stage} are {', '.join(names)}"
                    )

    def _pooled_blob(self) -> FloatArray:
        """A zeroed input of `roi`: (proposals, channels, bins down, bins across)."""
        across, down = self._faster.pooled_wh
        spec = self.roi.inputs[0]
        features = next(each for each in self.session.outputs if each.name == self._faster.features)
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
        at_once = spec.shape[0] if isinstance(spec.shape[0], int) else self._faster.post_nms
        return np.zeros((at_once, channels, down, across), np.float32)

    def _channels(self, features: TensorSpec, pooled: TensorSpec) -> int:
        for spec in (features, pooled):
            if len(spec.shape) == 4 and isinstance(spec.shape[1], int):
                return spec.shape[1]
        raise CardError(
            f"{self.card.name}: how many channels are pooled? {TRUNK} gives {features}, {ROI} takes {pooled}"
        )

    def _release(self) -> None:
        self.session.close()
        self.roi.close()


def _sum(parts: Any) -> int | None:
    values = list(parts)
    return None if None in values else sum(values)

"""Detector: one frame at a time through preprocessing, a session, a head and NMS."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv import boxes
from edgecv.backends.base import Exclusive, Session
from edgecv.card import HeadSpec, InputEntry, ModelCard
from edgecv.errors import CardError, InputError
from edgecv.heads.base import Query
from edgecv.image import Preprocessor
from edgecv.types import Candidates, Detections, FloatArray, FrameTransform, Memory, Placement, Timing

Frame = NDArray[np.uint8]
Array = NDArray[Any]


@dataclass(frozen=True)
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


class Detector:
    """A detector of one card on one session; a context manager. Belongs to one thread at a time.

    card, settings, session: what it is made of. names: class names by class_id.
    """

    def __init__(
        self,
        session: Session[Any],
        card: ModelCard,
        settings: DetectorSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        if card.head is None:
            raise CardError(f"{card.name}: no head, so its outputs cannot be read as detections")
        self.session = session
        self.card = card
        self.settings = settings
        self.names: tuple[str, ...] = card.labels if isinstance(card.labels, tuple) else ()
        self._head: HeadSpec = card.head
        self._input: InputEntry = card.image_input
        spec = self._input.blob_spec(imgsz)
        self.blob_wh: tuple[int, int] = spec.size_wh
        self._preprocess = Preprocessor(spec)
        self._query = Query(blob_wh=self.blob_wh, confidence=settings.conf, multi_label=settings.multi_label)
        self._batch = self._input_batch(session, card)
        self._channels = self._input.channels
        self._blob = self.new_blob()
        session.prepare({self._input.name: self._blob.shape})
        self._out = self._reusable_outputs()
        self._exclusive = Exclusive("detector")

    @property
    def placement(self) -> Placement:
        """What runs where, at which precision."""
        return self.session.placement

    @property
    def memory(self) -> Memory:
        """Bytes of weights and arena, None where the backend does not tell."""
        return self.session.memory

    def __call__(self, frame: Frame, captured_ns: int | None = None) -> Detections:
        """Detect objects in one frame.

        frame: uint8 (H, W, 3) BGR, as OpenCV reads it; also (H, W) gray and (H, W, 4) BGRA, any
        strides. captured_ns: `time.monotonic_ns()` of its capture, for `age_ms`.
        """
        with self._exclusive:
            started = time.perf_counter_ns()
            transform = self.preprocess(frame, self._blob[0])
            prepared = time.perf_counter_ns()
            outputs = self.infer(self._blob)
            inferred = time.perf_counter_ns()
            found = self.postprocess({name: array[0] for name, array in outputs.items()}, transform)
            done = time.perf_counter_ns()
        timing = Timing((prepared - started) / 1e6, (inferred - prepared) / 1e6, (done - inferred) / 1e6)
        return self._finish(found, timing, captured_ns)

    def batch(
        self, frames: Sequence[Frame], captured_ns: Sequence[int | None] | None = None
    ) -> list[Detections]:
        """Detect objects in several frames; the same as single calls, in their order.

        A model with a static batch takes them in groups of that size, the last one padded; one with a
        dynamic batch takes all at once. Each result's timing is its share of its group's.
        """
        captures = [None] * len(frames) if captured_ns is None else list(captured_ns)
        if len(captures) != len(frames):
            raise InputError(f"captured_ns: expected {len(frames)} values, got {len(captures)}")
        size = self._batch or max(len(frames), 1)
        results: list[Detections] = []
        with self._exclusive:
            for start in range(0, len(frames), size):
                group = slice(start, start + size)
                results += self._run_group(frames[group], captures[group], size)
        return results

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, (channels, height, width); None: the detector's own buffer."""
        return self._preprocess(frame, self._blob[0] if blob is None else blob)

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, (batch, channels, height, width); None: the batch of a single call."""
        width, height = self.blob_wh
        return np.zeros((batch or self._batch or 1, self._channels, height, width), self._input.dtype)

    def infer(self, blob: Array) -> Mapping[str, Array]:
        """Raw outputs, by name, of a blob of a prepared shape; valid until the next call."""
        out = self._out if blob.shape == self._blob.shape else None
        return self.session.run({self._input.name: blob}, out=out)

    def candidates(self, outputs: Mapping[str, Array]) -> Candidates:
        """What the head reads from the raw outputs of one image, before NMS."""
        read: Candidates = self._head.module.decode(outputs, self._head.params, self._query)
        return read

    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> Detections:
        """Raw outputs of one image, without the batch axis, to detections in frame pixels."""
        found = self.candidates(outputs)
        if self.settings.classes is not None:
            found = _take(found, np.flatnonzero(np.isin(found.class_id, self.settings.classes)))
        if found.needs_nms:
            keep = boxes.nms(
                found.xyxy,
                found.confidence,
                found.class_id,
                iou=self.settings.iou,
                max_det=self.settings.max_det,
            )
        else:
            keep = np.argsort(-found.confidence, kind="stable")[: self.settings.max_det]
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

    def warm_up(self, runs: int = 2) -> None:
        """Run the whole path on an empty frame, so that no real frame pays for a first time."""
        width, height = self.blob_wh
        channels = 4 if self._channels == 4 else 3
        frame = np.zeros((height, width, channels), np.uint8)
        for _ in range(runs):
            self(frame)

    def close(self) -> None:
        """Release the session; closing twice is fine."""
        if self._exclusive.close():
            self.session.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run_group(
        self, frames: Sequence[Frame], captures: Sequence[int | None], size: int
    ) -> list[Detections]:
        started = time.perf_counter_ns()
        blob = self._blob if size == len(self._blob) else self.new_blob(size)
        transforms = [self.preprocess(frame, blob[i]) for i, frame in enumerate(frames)]
        blob[len(frames) :] = 0
        prepared = time.perf_counter_ns()
        if size != len(self._blob):
            self.session.prepare({self._input.name: blob.shape})
        outputs = self.infer(blob)
        inferred = time.perf_counter_ns()
        shared = len(frames) * 1e6
        results = []
        for i, (transform, captured_ns) in enumerate(zip(transforms, captures, strict=True)):
            begun = time.perf_counter_ns()
            found = self.postprocess({name: array[i] for name, array in outputs.items()}, transform)
            timing = Timing(
                (prepared - started) / shared,
                (inferred - prepared) / shared,
                (time.perf_counter_ns() - begun) / 1e6,
            )
            results.append(self._finish(found, timing, captured_ns))
        return results

    @staticmethod
    def _finish(found: Detections, timing: Timing, captured_ns: int | None) -> Detections:
        age_ms = None if captured_ns is None else (time.monotonic_ns() - captured_ns) / 1e6
        return replace(found, timing=timing, age_ms=age_ms)

    def _reusable_outputs(self) -> dict[str, Array] | None:
        """Buffers for every frame's raw outputs; None where a size depends on the data."""
        try:
            return self.session.empty_outputs()
        except InputError:
            return None

    @staticmethod
    def _input_batch(session: Session[Any], card: ModelCard) -> int | None:
        """The batch size that the model was exported with; None where it is dynamic."""
        entry = card.image_input
        spec = next((s for s in session.inputs if s.name == entry.name), None)
        if spec is None:
            raise CardError(
                f"{card.name}: `inputs` names {entry.name!r}, and the model's inputs are "
                f"{', '.join(s.name for s in session.inputs)}"
            )
        if len(session.inputs) != 1:
            raise CardError(f"{card.name}: a detector takes one input, the model has {len(session.inputs)}")
        if len(spec.shape) != 4 or spec.dtype != np.dtype(entry.dtype):
            raise CardError(
                f"{card.name}: the model's input is {spec}; the card states {entry.dtype} "
                f"(batch, {entry.channels}, height, width)"
            )
        return spec.shape[0] if isinstance(spec.shape[0], int) else None


def _take(found: Candidates, keep: NDArray[np.intp]) -> Candidates:
    return replace(
        found,
        xyxy=found.xyxy[keep],
        confidence=found.confidence[keep],
        class_id=found.class_id[keep],
        keypoints=None if found.keypoints is None else found.keypoints[keep],
    )

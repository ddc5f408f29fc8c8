"""Pipeline: what every task has in common, one frame at a time from preprocessing to a result."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np

from edgecv.backends.base import Array, Exclusive, Session
from edgecv.card import InputEntry, ModelCard
from edgecv.errors import CardError, InputError
from edgecv.image import Preprocessor
from edgecv.types import Classification, Detections, FloatArray, FrameTransform, Memory, Placement, Timing

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frame: TypeAlias = "NDArray[np.uint8]"
R = TypeVar("R", bound=Detections | Classification)
PipelineT = TypeVar("PipelineT", bound="Pipeline[Any]")


class Pipeline(ABC, Generic[R]):
    """A model of one card, ready to run; a context manager. Belongs to one thread at a time.

    card, session: what it is made of; the session takes the blob of a frame. names: class names by
    class_id. blob_wh: width and height of the blob, pixels.
    """

    NOUN: ClassVar[str] = "pipeline"

    def __init__(
        self, session: Session[Any], card: ModelCard, *, imgsz: tuple[int, int] | None = None
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        self.session = session
        self.card = card
        self.names: tuple[str, ...] = card.labels if isinstance(card.labels, tuple) else ()
        self._input: InputEntry = card.image_input
        spec = self._input.blob_spec(imgsz)
        self.blob_wh: tuple[int, int] = spec.size_wh
        self._preprocess = Preprocessor(spec)
        self._batch = _input_batch(session, card)
        self._blob = self.new_blob()
        session.prepare({self._input.name: self._blob.shape})
        self._out = _reusable_outputs(session)
        self._exclusive = Exclusive(self.NOUN)

    @property
    def placement(self) -> Placement:
        """What runs where, at which precision."""
        return self.session.placement

    @property
    def memory(self) -> Memory:
        """Bytes of weights and arena, None where the backend does not tell."""
        return self.session.memory

    def __call__(self, frame: Frame, captured_ns: int | None = None) -> R:
        """Look at one frame.

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
        return _finish(found, timing, captured_ns)

    def batch(self, frames: Sequence[Frame], captured_ns: Sequence[int | None] | None = None) -> list[R]:
        """Look at several frames; the same as single calls, in their order.

        A model with a static batch takes them in groups of that size, the last one padded; one with a
        dynamic batch takes all at once. Each result's timing is its share of its group's.
        """
        captures = [None] * len(frames) if captured_ns is None else list(captured_ns)
        if len(captures) != len(frames):
            raise InputError(f"captured_ns: expected {len(frames)} values, got {len(captures)}")
        size = self._batch or max(len(frames), 1)
        results: list[R] = []
        with self._exclusive:
            for start in range(0, len(frames), size):
                group = slice(start, start + size)
                results += self._run_group(frames[group], captures[group], size)
        return results

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, (channels, height, width); None: the pipeline's own buffer."""
        return self._preprocess(frame, self._blob[0] if blob is None else blob)

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, (batch, channels, height, width); None: the batch of a single call."""
        width, height = self.blob_wh
        return np.zeros((batch or self._batch or 1, self._input.channels, height, width), self._input.dtype)

    def infer(self, blob: Array) -> Mapping[str, Array]:
        """Raw outputs by name, the batch first, of a blob of a prepared shape; valid until the next call."""
        out = self._out if blob.shape == self._blob.shape else None
        return self.session.run({self._input.name: blob}, out=out)

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> R:
        """Raw outputs of one image, without the batch axis, to a result without timing."""

    def warm_up(self, runs: int = 2) -> None:
        """Run the whole path on an empty frame, so that no real frame pays for a first time."""
        width, height = self.blob_wh
        channels = 4 if self._input.channels == 4 else 3
        frame = np.zeros((height, width, channels), np.uint8)
        for _ in range(runs):
            self(frame)

    def close(self) -> None:
        """Release what the pipeline runs on; closing twice is fine."""
        if self._exclusive.close():
            self._release()

    def _release(self) -> None:
        self.session.close()

    def __enter__(self: PipelineT) -> PipelineT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run_group(self, frames: Sequence[Frame], captures: Sequence[int | None], size: int) -> list[R]:
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
            results.append(_finish(found, timing, captured_ns))
        return results


def _finish(found: R, timing: Timing, captured_ns: int | None) -> R:
    age_ms = None if captured_ns is None else (time.monotonic_ns() - captured_ns) / 1e6
    return replace(found, timing=timing, age_ms=age_ms)


def _reusable_outputs(session: Session[Any]) -> dict[str, Array] | None:
    """Buffers for every frame's raw outputs; None where a size depends on the data."""
    try:
        return session.empty_outputs()
    except InputError:
        return None


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
        raise CardError(f"{card.name}: a frame makes one input, and the model has {len(session.inputs)}")
    if len(spec.shape) != 4 or spec.dtype != np.dtype(entry.dtype):
        raise CardError(
            f"{card.name}: the model's input is {spec}; the card states {entry.dtype} "
            f"(batch, {entry.channels}, height, width)"
        )
    return spec.shape[0] if isinstance(spec.shape[0], int) else None

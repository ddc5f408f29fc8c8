"""SingleShot: one network a frame: preprocess, inference, postprocess."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecv import clock
from edgecv.backends.base import Array
from edgecv.clock import Stopwatch
from edgecv.errors import CardError, InputError
from edgecv.image import Preprocessor
from edgecv.pipelines.base import Frame, Pipeline
from edgecv.types import FloatArray, FrameTransform, R, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard


class SingleShot(Pipeline[R]):
    """A model of one network. session: that network's. blob_wh: width and height of the blob, pixels."""

    STAGES: ClassVar[tuple[str, ...]] = ("preprocess", "inference", "postprocess")

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: Any,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(sessions, card, settings, imgsz=imgsz)
        if len(sessions) != 1:
            head = card.head.type if card.head else "none"
            raise CardError(
                f"{card.name}: its head {head} reads one network, and it has {', '.join(sessions)}"
            )
        (self.session,) = self.sessions.values()
        self.eye = Eye(self.session, card, imgsz)
        self.blob_wh = self.eye.blob_wh
        self._out = _reusable_outputs(self.session)

    def batch(
        self,
        frames: Sequence[Frame],
        captured_ns: Sequence[int | None] | None = None,
        deadline_ns: int = 0,
    ) -> list[R]:
        """Look at several frames; the same as single calls, in their order. deadline_ns: of all of them.

        A model with a static batch takes them in groups of that size, the last one padded; one with a
        dynamic batch takes all at once, or one by one where its outputs would not tell them apart. Each
        result's timing is its share of its group's.
        """
        captures = self._captures(frames, captured_ns)
        size = self.eye.batch or (1 if self._takes_one else max(len(frames), 1))
        results: list[R] = []
        with self._exclusive:
            clock.check_deadline(deadline_ns, self.NOUN)
            self._is_cancelled, self._is_running = False, True
            try:
                for start in range(0, len(frames), size):
                    group = slice(start, start + size)
                    results += self._look_at_group(frames[group], captures[group], size, deadline_ns)
            finally:
                self._is_running = False
        return results

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, (channels, height, width); None: the pipeline's own buffer."""
        return self.eye.preprocess(frame, blob)

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, (batch, channels, height, width); None: the batch of a single call."""
        return self.eye.new_blob(batch)

    def infer(self, blob: Array, deadline_ns: int = 0) -> Mapping[str, Array]:
        """Raw outputs by name, the batch first, of a blob of a prepared shape; valid until the next call."""
        out = self._out if blob.shape == self.eye.blob.shape else None
        return self.session.run({self.eye.name: self.eye.fed(blob)}, out=out, deadline_ns=deadline_ns)

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> R:
        """Raw outputs of one image, without the batch axis, to a result without `seen`."""

    def _look(self, frame: Frame, watch: Stopwatch, deadline_ns: int) -> R:
        transform = self.preprocess(frame)
        watch.lap("preprocess")
        self._check_cancelled()
        outputs = self.infer(self.eye.blob, deadline_ns)
        watch.lap("inference")
        found = self.postprocess(self._of_image(outputs, 0, len(self.eye.blob)), transform)
        watch.lap("postprocess")
        return found

    def _of_image(self, outputs: Mapping[str, Array], number: int, images: int) -> Mapping[str, Array]:
        """Of raw outputs those of one of the images; what has no batch axis is of all of them."""
        return {
            name: array[number] if array.shape[:1] == (images,) else array for name, array in outputs.items()
        }

    @property
    def _takes_one(self) -> bool:
        """Whether outputs do not tell the frames of a batch apart, however many the input takes."""
        return False

    def _look_at_group(
        self, frames: Sequence[Frame], captures: Sequence[int | None], size: int, deadline_ns: int
    ) -> list[R]:
        clock.check_deadline(deadline_ns, self.NOUN)
        watch = Stopwatch()
        blob = self.eye.blob if size == len(self.eye.blob) else self.new_blob(size)
        transforms = [self.preprocess(frame, blob[i]) for i, frame in enumerate(frames)]
        blob[len(frames) :] = 0
        watch.lap("preprocess")
        if size != len(self.eye.blob):
            self.session.prepare({self.eye.name: blob.shape})
        self._check_cancelled()
        outputs = self.infer(blob, deadline_ns)
        watch.lap("inference")
        found = [
            self.postprocess(self._of_image(outputs, i, size), transform)
            for i, transform in enumerate(transforms)
        ]
        watch.lap("postprocess")
        return [
            self._seen(one, watch, captured, deadline_ns, share=len(frames))
            for one, captured in zip(found, captures, strict=True)
        ]


class Eye:
    """How frames become the input of a network, into a buffer that is made once.

    name: of the input. blob: (batch, channels, height, width), float32 for a network that takes float16 too.
    blob_wh: pixels. batch: frames that the network takes at once, None where any number will do.
    """

    def __init__(self, session: Session[Any], card: ModelCard, imgsz: tuple[int, int] | None) -> None:
        self._entry = card.image_input
        spec = self._entry.blob_spec(imgsz)
        self.name = self._entry.name
        self.blob_wh: tuple[int, int] = spec.size_wh
        taken = _input_of(session, card)
        self.batch = taken.shape[0] if isinstance(taken.shape[0], int) else None
        self.blob = self.new_blob()
        self._fed = self.blob if taken.dtype == self.blob.dtype else self.blob.astype(taken.dtype)
        self._preprocess = Preprocessor(spec)
        session.prepare({self.name: self.blob.shape})

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, (channels, height, width); None: the first of the own buffer."""
        return self._preprocess(frame, self.blob[0] if blob is None else blob)

    def fed(self, blob: Array) -> Array:
        """The blob in the type that the network takes; what is rounded is valid until the next call."""
        if blob.dtype == self._fed.dtype:
            return blob
        if blob.shape != self._fed.shape:
            return blob.astype(self._fed.dtype)
        np.copyto(self._fed, blob, casting="same_kind")
        return self._fed

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, (batch, channels, height, width); None: the batch of a single call."""
        width, height = self.blob_wh
        return np.zeros((batch or self.batch or 1, self._entry.channels, height, width), self._entry.dtype)


def _reusable_outputs(session: Session[Any]) -> dict[str, Array] | None:
    """Buffers for every frame's raw outputs; None where a size depends on the data."""
    try:
        return session.empty_outputs()
    except InputError:
        return None


def _input_of(session: Session[Any], card: ModelCard) -> TensorSpec:
    """The input that takes the frame. Raises CardError where it is not the one that the card states."""
    entry = card.image_input
    spec = next((s for s in session.inputs if s.name == entry.name), None)
    if spec is None:
        raise CardError(
            f"{card.name}: `inputs` names {entry.name!r}, and the model's inputs are "
            f"{', '.join(s.name for s in session.inputs)}"
        )
    if len(session.inputs) != 1:
        raise CardError(f"{card.name}: a frame makes one input, and the model has {len(session.inputs)}")
    taken = [np.dtype(entry.dtype), *([np.dtype(np.float16)] if entry.dtype == "float32" else [])]
    if len(spec.shape) != 4 or spec.dtype not in taken:
        raise CardError(
            f"{card.name}: the model's input is {spec}; the card states {entry.dtype} "
            f"(batch, {entry.channels}, height, width)"
        )
    return spec

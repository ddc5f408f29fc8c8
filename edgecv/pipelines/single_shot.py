"""SingleShot: one network a frame: preprocess, inference, postprocess."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from edgecv import clock
from edgecv.backends.base import Array
from edgecv.backends.session import MAX_PLANS
from edgecv.clock import Stopwatch
from edgecv.errors import CardError, EdgeCVError, InputError
from edgecv.inputs import fixed_wh
from edgecv.pipelines.apart import Apart
from edgecv.pipelines.base import Frame, Pipeline
from edgecv.pipelines.eye import Eye, other_size
from edgecv.types import FloatArray, FrameTransform, R

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
        eye = Eye(self.session, card, imgsz)
        self._apart = Apart.of(eye.picture, card.image_input.layout, self.session.outputs)
        self._sizes = {eye.blob_wh: (eye, _reusable_outputs(self.session))}
        self._look_at_size(eye.blob_wh)

    def _resize(self, imgsz: tuple[int, int]) -> bool:
        known = self._sizes.get(imgsz)
        if known is None:
            self._sizes[imgsz] = self._made_for(imgsz)
        else:
            # Where batches have pushed its plan out it is made anew.
            self.session.prepare(known[0].shapes())
            self._sizes[imgsz] = self._sizes.pop(imgsz)
        if len(self._sizes) > MAX_PLANS:
            del self._sizes[next(iter(self._sizes))]
        self._look_at_size(imgsz)
        return known is None

    def _made_for(self, imgsz: tuple[int, int]) -> tuple[Eye, dict[str, Array] | None]:
        """What is made for a size. Raises InputError where the network does not take it."""
        fixed = fixed_wh(self.card.image_input.layout, self.eye.picture.shape)
        if fixed is not None:
            raise other_size(self.card, imgsz, fixed)
        try:
            return Eye(self.session, self.card, imgsz), _reusable_outputs(self.session)
        except EdgeCVError as error:
            raise InputError(
                f"{self.card.name}: imgsz asks for {imgsz[0]}x{imgsz[1]}, and the network does not take it: "
                f"{error}"
            ) from error

    def _look_at_size(self, imgsz: tuple[int, int]) -> None:
        """Take the size's own buffers, and all that is made for a size."""
        self.eye, self._out = self._sizes[imgsz]
        self.blob_wh = self._imgsz = imgsz

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
        """Make the frame into `blob`, one of a batch; None: the pipeline's own buffer."""
        return self.eye.preprocess(frame, blob)

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, (batch, channels, height, width), or as the card's layout has it, with a batch axis
        always; batch: None for that of a single call."""
        return self.eye.new_blob(batch)

    def infer(
        self, blob: Array, deadline_ns: int = 0, places: Sequence[FrameTransform] | None = None
    ) -> Mapping[str, Array]:
        """Raw outputs by name of a blob of a prepared shape; valid until the next call.

        places: where the frames lie in it, for a network that takes facts of that; None: as the one that was
        preprocessed last.
        """
        out = self._out if blob.shape == self.eye.blob.shape else None
        return self.session.run(self.eye.feeds(blob, places), out=out, deadline_ns=deadline_ns)

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
        return self._apart.of_image(outputs, number, images)

    @property
    def _takes_one(self) -> bool:
        """Whether outputs do not tell the frames of a batch apart, however many the input takes."""
        return not self._apart.is_proven

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
            self.session.prepare(self.eye.shapes(size))
        self._check_cancelled()
        outputs = self.infer(blob, deadline_ns, transforms)
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


def _reusable_outputs(session: Session[Any]) -> dict[str, Array] | None:
    """Buffers for every frame's raw outputs; None where a size depends on the data."""
    try:
        return session.empty_outputs()
    except InputError:
        return None

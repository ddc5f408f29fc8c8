"""Pipeline: what every task has in common: timing, age, deadlines, one thread at a time, closing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import msgspec
import numpy as np

from edgecv import clock
from edgecv.arguments import check_frames, check_pool, told
from edgecv.backends.base import Array
from edgecv.clock import Stopwatch
from edgecv.errors import CancelledError, CardError, InputError
from edgecv.exclusive import Exclusive
from edgecv.options import LoadOptions, size_wh
from edgecv.sealed import Sealed
from edgecv.types import Candidates, Memory, Placement, R, Seen

if TYPE_CHECKING:
    from edgecv.backends.pool import Pool
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard
    from edgecv.frame import Pixels

Frame: TypeAlias = "Pixels"
PipelineT = TypeVar("PipelineT", bound="Pipeline[Any]")


class Settings(msgspec.Struct, frozen=True):
    """Base of every task's settings: plain values. A field that is None is the card's, or a default."""

    def for_card(self, card: ModelCard) -> Any:
        """The settings with everything stated. Raises InputError for what does not fit the card."""
        return self

    @classmethod
    def for_comparison(cls, confidence: float) -> Any:
        """Settings under which backends are compared: all that they see over this confidence."""
        return cls()


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number, of Python or of numpy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class Inspection(msgspec.Struct, frozen=True):
    """What a frame became, stage by stage, for comparisons.

    outputs: raw outputs of the network that takes the frame, by name, the batch first. found: what was made
    of them, by stage, in order: candidates, a result, or an array.
    """

    outputs: Mapping[str, Array]
    found: Mapping[str, Candidates | Any]


class Pipeline(Sealed, Generic[R]):
    """A model of one card, ready to run; a context manager. Belongs to one thread at a time.

    card: what it runs. sessions: what it is made of, by the card's stages. settings: what counts as a result.
    names: class names by class_id. is_from_cache: whether it runs what was compiled and kept before.

    A subclass states TASK, the card's word for what it does; Settings; STAGES, whose times a result tells, in
    order; COMPARED, the stages that `inspect` tells behind the raw outputs; NOUN, for messages.
    """

    TASK: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    STAGES: ClassVar[tuple[str, ...]]
    COMPARED: ClassVar[tuple[str, ...]]
    NOUN: ClassVar[str] = "pipeline"
    PER_CALL: ClassVar[dict[str, str]] = {
        "deadline": "(frame, deadline_ns=…)",
        "captured": "(frame, captured_ns=…)",
    }

    is_from_cache: bool = False

    def _place_of(self, name: str) -> str:
        known = (*LoadOptions.__struct_fields__, *self.Settings.__struct_fields__)
        return f"it is of the whole model: edgecv.load(…, {name}=…)" if name in known else ""

    @classmethod
    @abstractmethod
    def accepts(cls, card: ModelCard) -> bool:
        """Whether it runs the models of this card."""

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: Any,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        if not self.accepts(card):
            head = card.head.type if card.head else "none"
            raise CardError(
                f"{card.name}: a card to {card.task} with head {head}, which {type(self).__name__} does not "
                "run"
            )
        self.sessions = dict(sessions)
        self.card = card
        self.settings = settings.for_card(card)
        self.names: tuple[str, ...] = card.labels if isinstance(card.labels, tuple) else ()
        self._imgsz = imgsz
        self._exclusive = Exclusive(self.NOUN)
        self._is_running = self._is_cancelled = False

    @property
    def placement(self) -> Placement:
        """What runs where, at which precision."""
        return next(iter(self.sessions.values())).placement

    @property
    def memory(self) -> Memory:
        """Bytes of weights and arena of all sessions, None where the backend does not tell."""
        return Memory.sum(session.memory for session in self.sessions.values())

    def __call__(self, frame: Frame, captured_ns: int | None = None, deadline_ns: int = 0) -> R:
        """Look at one frame.

        frame: uint8 (H, W, 3) BGR, as OpenCV reads it; also (H, W) gray and (H, W, 4) BGRA, any strides; an
        `edgecv.Frame` in YUV; for a card of 16 bits uint16 (H, W) alone.
        captured_ns: `time.monotonic_ns()` of its capture, for `age_ms`. deadline_ns: of the same clock, 0 for
        none; a result that is not there by then is a DeadlineError, which `simd` raises between two steps and
        other backends once they are done; one that is past already raises before anything is run.
        """
        with self._exclusive:
            clock.check_captured(captured_ns)
            clock.check_deadline(deadline_ns, self.NOUN)
            self._is_cancelled, self._is_running = False, True
            try:
                watch = Stopwatch()
                found = self._look(frame, watch, deadline_ns)
            finally:
                self._is_running = False
            return self._seen(found, watch, captured_ns, deadline_ns)

    def batch(
        self,
        frames: Sequence[Frame],
        captured_ns: Sequence[int | None] | None = None,
        deadline_ns: int = 0,
    ) -> list[R]:
        """Look at several frames; the same as single calls, in their order. deadline_ns: of all of them."""
        captures = self._captures(frames, captured_ns)
        clock.check_deadline(deadline_ns, self.NOUN)
        return [self(frame, captured, deadline_ns) for frame, captured in zip(frames, captures, strict=True)]

    def cancel(self) -> None:
        """End the frame in progress, if there is one, from another thread: it raises CancelledError."""
        if self._is_running:
            self._is_cancelled = True
            for session in self.sessions.values():
                session.cancel()

    def inspect(self, frame: Frame) -> Inspection:
        """What a frame becomes, stage by stage: the raw outputs, then each of `COMPARED`."""
        with self._exclusive:
            return self._inspect(frame)

    @abstractmethod
    def _inspect(self, frame: Frame) -> Inspection:
        """See `inspect`."""

    @abstractmethod
    def _look(self, frame: Frame, watch: Stopwatch, deadline_ns: int) -> R:
        """The result of a frame, each stage's lap taken; `seen` is filled in by the caller."""

    def prepare(self, imgsz: int | Sequence[int]) -> None:
        """Look at frames at this size from now on; one that was prepared before costs nothing.

        imgsz: width and height of the blob, or one number for both. What the size needs is compiled, and the
        whole path is run on an empty frame, the first time. Raises InputError where the model runs at one
        size, or not at this one; it then goes on at the size that it had.
        """
        with self._exclusive:
            is_new = self._resize(size_wh(imgsz))
        if is_new:
            self.warm_up()

    def _resize(self, imgsz: tuple[int, int]) -> bool:
        """See `prepare`; whether the size is a new one. Pipelines of several sizes have their own."""
        raise InputError(f"imgsz: {self.card.name} runs at one size")

    def warm_up(self, runs: int = 2) -> None:
        """Run the whole path on an empty frame, so that no real frame pays for a first time."""
        entry = self.card.image_input
        width, height = self._imgsz or entry.size_wh
        frame: Frame = np.zeros((height, width, 4 if entry.channels == 4 else 3), np.uint8)
        if entry.bits == 16:
            frame = np.zeros((height, width), np.uint16)
        for _ in range(runs):
            self(frame)

    def clone(self: PipelineT, pool: Pool | None = None) -> PipelineT:
        """Another one for another thread, on the same weights and plans. pool: threads that it shares."""
        check_pool(pool)
        self._exclusive.check_open()
        with ExitStack() as opened:
            sessions = {
                name: opened.enter_context(session.clone(pool)) for name, session in self.sessions.items()
            }
            twin = type(self)(sessions, self.card, self.settings, imgsz=self._imgsz)
            opened.pop_all()
        return twin

    def close(self) -> None:
        """Release what the pipeline runs on; closing twice is fine."""
        if self._exclusive.close():
            for session in self.sessions.values():
                session.close()

    def __enter__(self: PipelineT) -> PipelineT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _seen(
        self, found: R, watch: Stopwatch, captured_ns: int | None, deadline_ns: int, share: int = 1
    ) -> R:
        self._check_cancelled()
        clock.judge(deadline_ns, self.NOUN)
        seen = Seen(watch.timing(share), self.placement, clock.age_ms(captured_ns))
        return msgspec.structs.replace(found, seen=seen)

    def _check_cancelled(self) -> None:
        """Raise CancelledError where it was; between stages, since a session ends only its own run."""
        if self._is_cancelled:
            raise CancelledError(f"{self.NOUN}: cancelled while it ran")

    @staticmethod
    def _captures(frames: Sequence[Frame], captured_ns: Sequence[int | None] | None) -> Sequence[int | None]:
        check_frames(frames)
        try:
            captures = [None] * len(frames) if captured_ns is None else list(captured_ns)
        except TypeError:
            raise InputError(
                f"captured_ns: expected {len(frames)} values, one for each frame, got {told(captured_ns)}"
            ) from None
        if len(captures) != len(frames):
            raise InputError(f"captured_ns: expected {len(frames)} values, got {len(captures)}")
        for captured in captures:
            clock.check_captured(captured)
        return captures

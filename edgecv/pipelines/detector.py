"""Detector: one frame at a time through preprocessing, a session, a head and NMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from msgspec.structs import replace

from edgecv.arguments import check_flag
from edgecv.backends.base import Array
from edgecv.errors import InputError
from edgecv.heads.base import HeadParams, Query
from edgecv.pipelines import selection
from edgecv.pipelines.base import Frame, Inspection, Settings, is_whole
from edgecv.pipelines.single_shot import SingleShot
from edgecv.types import Candidates, Detections, FloatArray, FrameTransform, Placement

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard


class DetectorSettings(Settings, frozen=True):
    """What counts as a detection. A field that is None is the card's.

    conf: candidates lie over it; a number, or one for each class. iou: boxes of one class that overlap a
    better one by more are duplicates. max_det: most detections a frame. classes: ids or names to keep, None
    for all. multi_label: every class of a cell over the threshold counts, not only its best, as evaluation
    counts. agnostic: overlapping boxes of other classes are duplicates too. max_per_class: most detections
    of one class.
    """

    conf: float | tuple[float, ...] | None = None
    iou: float | None = None
    max_det: int | None = None
    classes: tuple[int | str, ...] | None = None
    multi_label: bool | None = None
    agnostic: bool | None = None
    max_per_class: int | None = None

    def for_card(self, card: ModelCard) -> DetectorSettings:
        """The settings with everything stated, classes by id. Raises InputError for what does not fit."""
        for name, value in (("conf", self.conf), ("iou", self.iou)):
            if not _are_fractions(value, most_axes=int(name == "conf")):
                more = ", or one a class" if name == "conf" else ""
                raise InputError(f"{name}: expected a number from 0 to 1{more}, got {value!r}")
        for name, flag in (("multi_label", self.multi_label), ("agnostic", self.agnostic)):
            if flag is not None:
                check_flag(name, flag)
        for name, most in (("max_det", self.max_det), ("max_per_class", self.max_per_class)):
            if most is not None and (not is_whole(most) or most < 1):
                raise InputError(f"{name}: expected a whole number of at least 1, got {most!r}")
        if self.classes is not None and (
            isinstance(self.classes, str) or not hasattr(self.classes, "__iter__")
        ):
            raise InputError(f"classes: expected a list of ids or names, got {self.classes!r}")
        defaults = card.thresholds
        return DetectorSettings(
            conf=_conf(card, defaults.conf if self.conf is None else self.conf),
            iou=float(defaults.iou if self.iou is None else self.iou),
            max_det=defaults.max_det if self.max_det is None else self.max_det,
            classes=None if self.classes is None else tuple(_class_id(card, c) for c in self.classes),
            multi_label=bool(defaults.multi_label if self.multi_label is None else self.multi_label),
            agnostic=bool(defaults.agnostic if self.agnostic is None else self.agnostic),
            max_per_class=defaults.max_per_class if self.max_per_class is None else self.max_per_class,
        )

    @classmethod
    def for_comparison(cls, confidence: float) -> DetectorSettings:
        """All that a backend sees over this confidence."""
        return cls(conf=confidence, multi_label=True)

    @property
    def threshold(self) -> float | FloatArray:
        """`conf` as heads want it: a number, or float32 (classes,)."""
        assert self.conf is not None
        return self.conf if isinstance(self.conf, float) else np.array(self.conf, np.float32)


class Detector(SingleShot[Detections]):
    """A detector of one card on one session. Calling it on a frame returns `Detections`."""

    TASK = "detect"
    NOUN = "detector"
    Settings = DetectorSettings
    COMPARED: ClassVar[tuple[str, ...]] = ("candidates", "detections")

    settings: DetectorSettings

    @classmethod
    def accepts(cls, card: ModelCard) -> bool:
        """A card to detect whose head reads one network."""
        return card.task == cls.TASK and card.head is not None and not hasattr(card.head.module, "STAGES")

    def __init__(
        self,
        sessions: Mapping[str, Session[Any]],
        card: ModelCard,
        settings: DetectorSettings,
        *,
        imgsz: tuple[int, int] | None = None,
    ) -> None:
        """imgsz: width and height of the blob, for a model whose input is dynamic; None as the card."""
        super().__init__(sessions, card, settings, imgsz=imgsz)
        assert card.head is not None
        self._head: Any = card.head.module
        self._params: HeadParams = card.head.params
        # Of heads that know how a batch lies in their outputs.
        self._split = getattr(self._head, "of_image", None)

    def _look_at_size(self, imgsz: tuple[int, int]) -> None:
        super()._look_at_size(imgsz)
        self._query = Query(
            blob_wh=self.blob_wh,
            confidence=self.settings.threshold,
            multi_label=bool(self.settings.multi_label),
        )

    @property
    def placement(self) -> Placement:
        """What runs where, at which precision, and what of the network's file runs here in its place."""
        tail = getattr(self._params, "tail", "")
        return replace(super().placement, tail=tail) if tail else super().placement

    @property
    def class_count(self) -> int | None:
        """How many classes it tells apart; None where neither the head nor names say."""
        return class_count(self.card)

    def candidates(self, outputs: Mapping[str, Array]) -> Candidates:
        """What the head reads from the raw outputs of one image, before NMS.

        Raises HeadError where an output is missing, or its shape or values cannot be what the head reads.
        """
        found: Candidates = self._head.decode(outputs, self._params, self._query)
        selection.check(found, outputs, self._head.TYPE)
        return found

    def postprocess(self, outputs: Mapping[str, Array], transform: FrameTransform) -> Detections:
        """Raw outputs of one image, without the batch axis, to detections in frame pixels."""
        found = selection.of_classes(self.candidates(outputs), self.settings)
        kept = found.take(selection.suppress(found, self.settings))
        return selection.to_detections(kept, transform, self.names)

    def _of_image(self, outputs: Mapping[str, Array], number: int, images: int) -> Mapping[str, Array]:
        apart = None if self._split is None else self._split(outputs, self._params, number, images)
        return super()._of_image(outputs, number, images) if apart is None else apart

    @property
    def _takes_one(self) -> bool:
        is_single = getattr(self._head, "takes_one", None)
        said = None if is_single is None else is_single(self.session.outputs, self._params)
        return super()._takes_one if said is None else bool(said)

    def _inspect(self, frame: Frame) -> Inspection:
        """Raw outputs, candidates and detections."""
        transform = self.preprocess(frame)
        outputs = {name: np.array(array) for name, array in self.infer(self.eye.blob).items()}
        first = self._of_image(outputs, 0, len(self.eye.blob))
        candidates, detections = self.candidates(first), self.postprocess(first, transform)
        return Inspection(outputs, {"candidates": candidates, "detections": detections})


PIPELINE = Detector


def class_count(card: ModelCard) -> int | None:
    """How many classes a card's models tell apart; None where neither the head nor names say."""
    stated = getattr(card.head.params, "classes", None) if card.head is not None else None
    return stated if isinstance(stated, int) else len(card.labels) or None


def _are_fractions(value: object, most_axes: int) -> bool:
    """Whether a threshold is a number from 0 to 1, or, with an axis, several; None is none that is stated."""
    if value is None:
        return True
    try:
        values = np.asarray(value)
    except ValueError:
        return False
    # Text would become numbers, and so would what is true or false.
    return (
        values.dtype.kind in "fiu"
        and values.ndim <= most_axes
        and bool(np.all((values >= 0) & (values <= 1)))
    )


def _conf(card: ModelCard, conf: float | Sequence[float]) -> float | tuple[float, ...]:
    if np.ndim(conf) == 0:
        return float(conf)  # type: ignore[arg-type]
    assert isinstance(conf, Sequence | np.ndarray)
    if card.labels and len(conf) != len(card.labels):
        raise InputError(f"conf: expected one number or {len(card.labels)}, one a class; got {len(conf)}")
    return tuple(float(value) for value in conf)


def _class_id(card: ModelCard, wanted: int | str) -> int:
    if isinstance(wanted, str) and not (wanted.isascii() and wanted.isdigit()):
        if wanted not in card.labels:
            raise InputError(f"classes: {card.name} has no class {wanted!r}; it has {', '.join(card.labels)}")
        return card.labels.index(wanted)
    if not isinstance(wanted, str) and not is_whole(wanted):
        raise InputError(f"classes: expected ids or names, got {wanted!r}")
    number = int(wanted)
    if number < 0 or (card.labels and number >= len(card.labels)):
        raise InputError(f"classes: expected 0 to {len(card.labels) - 1}, got {number}")
    return number

"""What every head has in common: the parameters that a card states, and the shape of its module.

A head is a module with the members of `DetectionHead` or `ClassificationHead`; `edgecv.heads` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT32 = np.dtype(np.float32)

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Strides = Annotated[tuple[PositiveInt, ...], msgspec.Meta(min_length=1)]


class HeadParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every head's parameters: plain values that a card can hold as JSON."""


class Query(msgspec.Struct, frozen=True):
    """Which candidates to read.

    blob_wh: width and height of the blob, pixels.
    confidence: candidates lie over it, 0 to 1; a number, or float32 (classes,).
    multi_label: every class over the threshold is a candidate, not only a cell's best (evaluation).
    max_candidates: the most confident ones that are kept.
    """

    blob_wh: tuple[int, int]
    confidence: float | FloatArray
    multi_label: bool = False
    max_candidates: int = 30_000

    @property
    def lowest_confidence(self) -> float:
        """The smallest threshold of any class."""
        # NumPy takes as long for one number as for many.
        return self.confidence if isinstance(self.confidence, float) else float(np.min(self.confidence))

    def select(
        self,
        scores: FloatArray,
        *,
        objectness: FloatArray | None = None,
        threshold: float | FloatArray | None = None,
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """The candidates among a score matrix, as `boxes.select` finds them: index, class, confidence.

        scores: float32 (n, classes), a view of the output. objectness: float32 (n,), a factor.
        threshold: takes the place of `confidence` where the scores are a rising function of it.
        """
        return boxes.select(
            scores,
            self.confidence if threshold is None else threshold,
            objectness=objectness,
            multi_label=self.multi_label,
            max_candidates=self.max_candidates,
        )


class Reading(msgspec.Struct, frozen=True):
    """What a brand says of a network: which head reads it, and how its reference implementation feeds it.

    brand: its name. type: of the head. params: that head's. input: fields of a card's input, or None where
    networks of the brand are fed in ways that differ too much to say. thresholds: fields of a card's, where
    the reference implementation's are not those that a card has by default.
    """

    brand: str
    type: str
    params: HeadParams
    input: Mapping[str, Any] | None = None
    thresholds: Mapping[str, Any] = {}


class Brand(Protocol):
    """The shape of a brand's module in `edgecv.heads.brands`.

    NAME: what it is called, in messages and in the `head.type` of cards that name the brand. A brand that
    cards name has `Params`, its fields there, and `reading(params)`, the head that they stand for.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802

    def recognize(self, facts: ModelFacts) -> Reading | None:
        """How it is read, where shapes, names and metadata speak for this brand and not against it."""


P = TypeVar("P", bound=HeadParams)
P_co = TypeVar("P_co", bound=HeadParams, covariant=True)


class Head(Protocol[P_co]):
    """The shape of every head's module; `DetectionHead` and `ClassificationHead` add how outputs are read.

    TYPE: its name in a card. TASK: the card's word for what it does. Params: its parameters.
    """

    @property
    def TYPE(self) -> str: ...  # noqa: N802

    @property
    def TASK(self) -> str: ...  # noqa: N802

    @property
    def Params(self) -> type[P_co]: ...  # noqa: N802

    def draft(self, facts: ModelFacts) -> P_co:
        """The likeliest parameters for outputs of these names and shapes, for a person to correct.

        Raises HeadError, which says why, where such outputs cannot be read by this head.
        """
        ...


class DetectionHead(Head[P], Protocol[P]):
    """The shape of a head that finds boxes.

    One whose outputs may lack a batch axis also has `takes_one` and `of_image`, as `rows` has.
    """

    def decode(self, outputs: Mapping[str, FloatArray], params: P, query: Query) -> Candidates:
        """outputs: of one image, without the batch axis, by the model's names; may be read-only.

        Raises HeadError where an output is missing or its shape does not fit.
        """
        ...


class ClassificationHead(Head[P], Protocol[P]):
    """The shape of a head that says what a whole frame shows."""

    def probabilities(self, outputs: Mapping[str, FloatArray], params: P) -> FloatArray:
        """outputs: of one image, without the batch axis, by the model's names; may be read-only.

        Returns float32 (classes,), 0 to 1. Raises HeadError where the output is missing or its shape
        does not fit.
        """
        ...


class AtLeast(msgspec.Struct, frozen=True):
    """An axis of `size` or more."""

    size: int

    def __str__(self) -> str:
        return f"at least {self.size}"


Axis = int | AtLeast | None


def take(outputs: Mapping[str, FloatArray], name: str, shape: tuple[Axis, ...], head: str) -> FloatArray:
    """The output that plays a role, float32, after a check of its shape; None stands for any size.

    Half and double precision are converted; float32 is a view. Raises HeadError.
    """
    if name not in outputs:
        raise HeadError(
            f"{head} head: the model has no output {name!r}; it has {', '.join(outputs)}: "
            "correct the head's output names in the card"
        )
    array = outputs[name]
    if not fits(array.shape, shape):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise HeadError(
            f"{head} head: output {name!r} expected ({expected}), got {array.shape}: "
            "the card's head or its parameters do not fit this model"
        )
    if array.dtype == _FLOAT32:
        return array
    if array.dtype.kind != "f":
        raise HeadError(f"{head} head: output {name!r} expected floating point, got {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def fits(shape: tuple[int, ...], wanted: tuple[Axis, ...]) -> bool:
    """Whether an array of this shape is what is wanted."""
    if len(shape) != len(wanted):
        return False
    for got, want in zip(shape, wanted):  # noqa: B905
        if want is not None and (got < want.size if type(want) is AtLeast else got != want):
            return False
    return True


def join(parts: Sequence[tuple[NDArray[Any], ...]], max_candidates: int) -> tuple[NDArray[Any], ...]:
    """Candidates that were selected level by level, as one set of columns.

    parts: for each level its columns, all of one length; the first column is the confidence. Of more
    than max_candidates the most confident are kept; ties go to the earlier, and the order stays. Of one level
    they are its own arrays.
    """
    columns = parts[0]
    if len(parts) > 1:
        columns = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    if len(columns[0]) <= max_candidates:
        return columns
    keep = np.sort(np.argsort(-columns[0], kind="stable")[:max_candidates])
    return tuple(column[keep] for column in columns)


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), float32; a large negative x gives 0."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """exp(x) over the sum of its row, float32 (n, classes); NaN for a row with a NaN or infinite logit."""
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

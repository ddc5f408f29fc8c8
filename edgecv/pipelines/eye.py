"""Eye: how frames, and facts of where they lie, become the inputs of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecv.backends.base import Array
from edgecv.errors import CardError, InputError
from edgecv.image import Preprocessor, to_blob
from edgecv.inputs import FRACTIONS, axis_sizes, facts_shape, shape_of, values_of
from edgecv.pipelines.base import Frame
from edgecv.types import FloatArray, FrameTransform, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.card import InputEntry, ModelCard

# A card's dtype, and those of the networks that take its values, rounded where they are shorter.
_TAKEN = {"float32": ("float32", "float16", "float64")}


class Fed(msgspec.Struct, frozen=True):
    """The inputs of a network, as a card states them. picture, facts: with the card's entry for each.

    batch: pictures that it takes at once; None where any number will do.
    """

    picture: tuple[TensorSpec, InputEntry]
    facts: tuple[tuple[TensorSpec, InputEntry], ...]
    batch: int | None

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], card: ModelCard) -> Fed:
        """Raises CardError where the inputs are not those that the card states."""
        specs = {spec.name: spec for spec in inputs}
        image = card.image_input
        entries = {entry.name: entry for entry in (image, *card.facts_inputs)}
        for name in entries:
            if name not in specs:
                raise CardError(
                    f"{card.name}: `inputs` names {name!r}, and the model's inputs are {', '.join(specs)}"
                )
        others = [str(spec) for spec in inputs if spec.name not in entries]
        if others:
            raise CardError(
                f"{card.name}: a frame makes one input, and the model has {len(inputs)}: `inputs` of the "
                f"card states no `facts` for {'; '.join(others)}"
            )
        spec = specs[image.name]
        _check_picture(spec, card)
        first = spec.shape[0]
        batch = 1 if "n" not in image.layout else first if isinstance(first, int) else None
        facts = tuple((specs[entry.name], entry) for entry in card.facts_inputs)
        fed = cls((spec, image), facts, batch)
        for each, entry in facts:
            _check_facts(each, entry, card)
        fed.shapes(image.size_wh, card=card)
        return fed

    def shapes(
        self, size_wh: tuple[int, int], batch: int | None = None, *, card: ModelCard | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs for pictures of this size; batch: None for that of a single call."""
        count = batch or self.batch or 1
        _, image = self.picture
        shapes = {image.name: shape_of(image.layout, count, image.channels, size_wh)}
        for spec, entry in self.facts:
            try:
                shapes[spec.name] = facts_shape(len(entry.facts), spec, count, entry.shape)
            except ValueError as error:
                raise CardError(f"{card.name if card else 'card'}: `facts`: {error}") from error
        return shapes

    def sample(self, frame: Frame, size_wh: tuple[int, int]) -> dict[str, Array]:
        """The arrays of a single call that a frame becomes; of a fixed batch all are this frame."""
        spec, image = self.picture
        blob, place = to_blob(frame, image.blob_spec(size_wh))
        shapes = self.shapes(size_wh)
        picture = np.broadcast_to(blob if "n" in image.layout else blob[0], shapes[image.name])
        made = {image.name: np.ascontiguousarray(picture, spec.dtype)}
        for each, entry in self.facts:
            values = values_of(entry.facts, place)
            made[each.name] = np.resize(values, shapes[each.name]).astype(each.dtype)
        return made


def other_size(card: ModelCard, imgsz: tuple[int, int], fixed: tuple[int, int]) -> InputError:
    """What is raised where a network of a fixed size is asked for another one; both width and height."""
    return InputError(
        f"{card.name}: imgsz asks for {imgsz[0]}x{imgsz[1]}, and the network's input is fixed at "
        f"{fixed[0]}x{fixed[1]}; export it with a dynamic input"
    )


def _check_picture(spec: TensorSpec, card: ModelCard) -> None:
    entry = card.image_input
    names = {"n": "batch", "c": str(entry.channels), "h": "height", "w": "width"}
    fits = len(spec.shape) == len(entry.layout) and str(spec.dtype) in _TAKEN.get(entry.dtype, (entry.dtype,))
    if fits:
        channels = axis_sizes(entry.layout, spec.shape)["c"]
        fits = not isinstance(channels, int) or channels == entry.channels
    if not fits:
        raise CardError(
            f"{card.name}: the model's input is {spec}; the card states {entry.dtype} {entry.layout} "
            f"({', '.join(names[axis] for axis in entry.layout)})"
        )


def _check_facts(spec: TensorSpec, entry: InputEntry, card: ModelCard) -> None:
    kind = spec.dtype.kind
    whole = [
        fact for fact in entry.facts if fact not in FRACTIONS and (isinstance(fact, str) or fact == int(fact))
    ]
    if kind == "f" or (kind in "iu" and len(whole) == len(entry.facts)):
        return
    raise CardError(
        f"{card.name}: `facts` are {', '.join(map(str, entry.facts))}, and the model's input is {spec}: "
        f"{'whole numbers' if kind in 'iu' else 'a number type'} expected"
    )


class Eye:
    """How frames become the inputs of a network, into buffers that are made once.

    picture: the network's input that takes it. name: of that. blob: (batch, channels, height, width), or as
    the card's layout has it, with a batch axis of 1 where the network has none; float32 for a network of
    float16 or float64 too. blob_wh: pixels. batch: frames that the network takes at once, None where any
    number will do.
    """

    def __init__(self, session: Session[Any], card: ModelCard, imgsz: tuple[int, int] | None) -> None:
        self._inputs = Fed.of(session.inputs, card)
        self.picture, self._entry = self._inputs.picture
        spec = self._entry.blob_spec(imgsz)
        self.name = self._entry.name
        self.blob_wh: tuple[int, int] = spec.size_wh
        self.batch = self._inputs.batch
        self._dtype = np.dtype(spec.dtype)
        self.blob = self.new_blob()
        self._fed = (
            self.blob if self.picture.dtype == self.blob.dtype else self.blob.astype(self.picture.dtype)
        )
        self._preprocess = Preprocessor(spec)
        self._place: FrameTransform | None = None
        shapes = self.shapes()
        self._facts = {each.name: np.zeros(shapes[each.name], each.dtype) for each, _ in self._inputs.facts}
        session.prepare(shapes)

    def preprocess(self, frame: Frame, blob: FloatArray | None = None) -> FrameTransform:
        """Make the frame into `blob`, one of a batch; None: the first of the own buffer."""
        self._place = self._preprocess(frame, self.blob[0] if blob is None else blob)
        return self._place

    def shapes(self, batch: int | None = None) -> dict[str, tuple[int, ...]]:
        """Shapes of the network's inputs for so many frames; None: of a single call."""
        return self._inputs.shapes(self.blob_wh, batch)

    def feeds(self, blob: Array, places: Sequence[FrameTransform] | None = None) -> dict[str, Array]:
        """What the network takes, by name, valid until the next call.

        places: where the frames lie in the blob, in order, for a network that takes facts of it; a batch is
        filled up with the last. None: all as the one that was preprocessed last.
        """
        feeds = {self.name: self.fed(blob)}
        return feeds | self._told(len(blob), places) if self._facts else feeds

    def fed(self, blob: Array) -> Array:
        """The blob in the type and shape that the network takes; what is rounded is valid until the next
        call."""
        taken = self._rounded(blob)
        return taken if "n" in self._entry.layout else taken[0]

    def new_blob(self, batch: int | None = None) -> FloatArray:
        """A zeroed blob, as `blob`; None: the batch of a single call."""
        layout = self._entry.layout
        shape = shape_of(layout, batch or self.batch or 1, self._entry.channels, self.blob_wh)
        return np.zeros(shape if "n" in layout else (1, *shape), self._dtype)

    def _rounded(self, blob: Array) -> Array:
        if blob.dtype == self._fed.dtype:
            return blob
        if blob.shape != self._fed.shape:
            return blob.astype(self._fed.dtype)
        np.copyto(self._fed, blob, casting="same_kind")
        return self._fed

    def _told(self, images: int, places: Sequence[FrameTransform] | None) -> dict[str, Array]:
        """The facts of each of so many frames."""
        if places is None:
            if self._place is None:
                raise InputError(
                    "the network takes facts of where a frame lies in its picture: preprocess one"
                )
            places = [self._place]
        told = self._facts
        if images != len(self.blob):
            shapes = self.shapes(images)
            told = {name: np.zeros(shapes[name], array.dtype) for name, array in told.items()}
        for spec, entry in self._inputs.facts:
            values = told[spec.name].reshape(-1, len(entry.facts))
            rows = [values_of(entry.facts, place) for place in places]
            if len(values) == 1 and any(row != rows[0] for row in rows):
                raise InputError(
                    f"input {spec} takes {', '.join(map(str, entry.facts))} once for all frames, and these "
                    "differ: give this network frames of one size at once"
                )
            values[:] = rows[-1]
            values[: len(rows)] = rows[: len(values)]
        return told

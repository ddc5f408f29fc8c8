"""A card for an ONNX network that comes without one: from its metadata, or drafted from its shapes."""

from __future__ import annotations

from edgecv import card as cards
from edgecv import heads
from edgecv.card import HeadSpec, InputEntry, ModelCard, Stage
from edgecv.errors import CardError, HeadError
from edgecv.graph.model import OnnxModel
from edgecv.heads.ultralytics import parse_metadata
from edgecv.importers.base import NETWORK, Imported, card_name

# ONNX metadata key under which a model can carry its card.
CARD_KEY = "edgecv.card"

_REMEDY = "put a card beside the file as <stem>.model.json that states the head and the input"


def onnx_card(model: OnnxModel, stem: str) -> Imported:
    """The card that a network carries in its metadata, or a draft; see `draft_card`."""
    embedded = model.facts.metadata.get(CARD_KEY)
    if embedded is None:
        return draft_card(model, stem)
    origin = f"{model.origin}, metadata {CARD_KEY}"
    card = cards.parse(embedded, origin=origin)
    if isinstance(card.labels, str):
        raise CardError(
            f"{origin}: `labels` names a file, which a card inside a network cannot have beside it: list "
            "the labels themselves"
        )
    if set(card.stages) != {NETWORK}:
        raise CardError(
            f"{origin}: it states the stages {', '.join(card.stages)}, and a network carries the card of one "
            "network alone: put this one beside the files of its stages"
        )
    return Imported(card, {NETWORK: model}, is_stated=True)


def draft_card(model: OnnxModel, stem: str) -> Imported:
    """A card of the recognized head, fed as that head's reference implementation feeds it.

    stem: the file's name without suffix, for the card's name. Raises HeadError that lists the candidates
    where the head, or how it wants its input, is in doubt.
    """
    readings = heads.recognize(model.facts)
    if len(readings) != 1:
        outputs = "; ".join(str(spec) for spec in model.facts.outputs[:12])
        brands = " or ".join(reading.brand for reading in readings)
        found = f"it could be {brands}" if readings else "no head fits"
        raise HeadError(f"{model.origin}: which head reads its outputs ({outputs})? {found}: {_REMEDY}")
    (reading,) = readings
    convention = reading.input
    if convention is None:
        raise HeadError(
            f"{model.origin}: recognized as {reading.brand}, and such models are trained on inputs of many "
            f"kinds: {_REMEDY}"
        )
    facts = parse_metadata(model.facts.metadata)
    size_wh = model.facts.image_wh or (facts.imgsz_wh if facts else None)
    if size_wh is None:
        raise HeadError(f"{model.origin}: the input size is dynamic and the file names none: {_REMEDY}")
    image = next(spec for spec in model.facts.inputs if len(spec.shape) == 4)
    entry = InputEntry(name=image.name, size_wh=size_wh, **convention)
    card = ModelCard(
        name=card_name(stem),
        task="detect",
        format="onnx",
        stages={NETWORK: Stage(inputs=(entry,), head=HeadSpec(reading.type, reading.params))},
        labels=facts.names if facts else (),
    )
    assumed = (
        f"head {reading.brand}, told by the outputs, and an input as its reference implementation has it"
    )
    return Imported(card, {NETWORK: model}, assumptions=() if facts else (assumed,))

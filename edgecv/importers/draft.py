"""A card for an ONNX network that comes without one: from its metadata, or drafted from its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from edgecv import card as cards
from edgecv import heads
from edgecv.card import HeadSpec, ModelCard, Stage, Task, Thresholds
from edgecv.errors import CardError, HeadError
from edgecv.graph.model import OnnxModel
from edgecv.heads import boxes, classify, rows
from edgecv.heads.base import Reading
from edgecv.heads.brands import classifier
from edgecv.heads.nearest import nearest
from edgecv.heads.ultralytics import parse_metadata
from edgecv.importers.base import NETWORK, Asked, Imported, card_name
from edgecv.importers.feeding import inputs_of
from edgecv.importers.sizes import known_facts
from edgecv.inputs import axis_sizes, image_of, shape_of
from edgecv.types import ModelFacts

# ONNX metadata key under which a model can carry its card.
CARD_KEY = "edgecv.card"

# Outputs that a message lists.
_SHOWN = 8

_NMS = frozenset(("NonMaxSuppression", "EfficientNMS_TRT", "BatchedNMS_TRT"))
# Heads of networks that suppress duplicates themselves.
_FINAL = (rows.TYPE,)

_BARE = "no card can be drafted: one beside it as <stem>.model.json says how; edgecv.compile runs it as it is"
_STAYS = "its own NMS stays in the network"
_USUAL = "input: rgb from 0 to 1 in a letterbox, as is most usual"
_USUAL_INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "letterbox", "std": (255.0,) * 3}


def onnx_card(model: OnnxModel, stem: str, asked: Asked) -> Imported:
    """The card that a network carries in its metadata, or a draft; see `draft_card`."""
    embedded = model.facts.metadata.get(CARD_KEY)
    if embedded is None:
        return draft_card(model, stem, asked)
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


def draft_card(model: OnnxModel, stem: str, asked: Asked) -> Imported:
    """A card of the recognized head, fed as that head's reference implementation feeds it.

    stem: the file's name without suffix, for the card's name. Raises HeadError where the head, or how it
    wants its input, is in doubt: it lists the candidates, or the nearest heads, and what drafts a card.
    """
    facts = known_facts(model, asked)
    readings = heads.recognize(facts)
    # A network that is sure to do something else is told of by whoever wants the task.
    readings = [one for one in readings if asked.task == heads.get(one.type).TASK] or readings
    if not readings and asked.task == classify.TASK:
        readings = [classifier.bare(facts)]
    if len(readings) != 1:
        raise HeadError(_in_doubt(model, stem, facts, readings))
    (reading,) = readings
    tail = _without_tail(model, stem, facts, reading) if reading.type in _FINAL else None
    if isinstance(tail, Imported):
        return tail
    card, fed = _card(model, stem, facts, HeadSpec(reading.type, reading.params), reading.input)
    card = replace(card, thresholds=Thresholds(**reading.thresholds))
    remarks = () if tail is None else (f"{_STAYS}: {tail}",)
    return Imported(card, {NETWORK: model}, remarks, (*_of_brand(facts, reading), *fed))


def _without_tail(
    model: OnnxModel, stem: str, facts: ModelFacts, reading: Reading | None
) -> Imported | str | None:
    """The network cut before its own NMS, and its card; None: it has none; a line: why it stays.

    reading: how the whole network is read, where that is known.
    """
    # Long to import, and few networks bring one.
    from edgecv.graph.tails import Found
    from edgecv.importers import tails

    found = tails.find(model, _open_shapes(facts), reading)
    if not isinstance(found, Found):
        return found
    usual = None if reading is None else reading.input
    card, fed = _card(model, stem, facts, tails.head_of(found, reading), usual or _USUAL_INPUT)
    card = replace(card, thresholds=tails.thresholds_of(found))
    assumed = [*(_of_brand(facts, reading) if reading else ()), *[_USUAL] * (not usual), *fed]
    if found.tail.coordinates is None:
        unit = getattr(card.head.params if card.head else None, "unit", "pixels")
        assumed.append(f"boxes before its NMS are in {unit}")
    return Imported(card, {NETWORK: found.model}, (str(found.tail),), tuple(assumed))


def _of_brand(facts: ModelFacts, reading: Reading) -> tuple[str, ...]:
    """What is assumed of a network that outputs alone tell the brand of."""
    if parse_metadata(facts.metadata):
        return ()
    told = f"head {reading.brand}, told by the outputs, and an input as its reference implementation has it"
    lowest = getattr(reading.params, "first_class", 0)
    return (told, f"class 0 is the background, as {reading.brand} has it") if lowest else (told,)


def _open_shapes(facts: ModelFacts) -> dict[str, tuple[int, ...]] | None:
    """Of the input that takes a picture of any size, the shape for the size that is known."""
    found = image_of(facts.inputs)
    if facts.image_wh is None:
        return None
    if found is None or found[0].is_static:
        return {}
    spec, layout = found
    channels = axis_sizes(layout, spec.shape)["c"]
    return {spec.name: shape_of(layout, 1, channels, facts.image_wh)} if isinstance(channels, int) else {}


def draft_for(model: OnnxModel, stem: str, type: str, asked: Asked) -> Imported:
    """A card whose head is of a type that the caller names, for a person to correct.

    Raises HeadError where the network's outputs cannot be read by it, whatever its parameters.
    """
    facts = known_facts(model, asked)
    known = [one for one in heads.recognize(facts) if one.type == type]
    head = heads.get(type)
    tail = _without_tail(model, stem, facts, None) if type == boxes.TYPE and not known else None
    if isinstance(tail, Imported):
        return tail
    try:
        params = known[0].params if known else head.draft(facts)
    except HeadError as error:
        raise HeadError(f"{error}; {_STAYS}: {tail}" if tail else str(error)) from error
    usual = known[0].input if known else None
    card, fed = _card(model, stem, facts, HeadSpec(type, params), usual or _USUAL_INPUT)
    card = replace(card, thresholds=Thresholds(**known[0].thresholds) if known else card.thresholds)
    assumed = [f"head {type}: its parameters, guessed from names and shapes of the outputs"] * (not known)
    if len(known) > 1:
        assumed.append(f"head {type}: {known[0].brand}'s parameters; {_others(known)}")
    assumed += _of_brand(facts, known[0]) if len(known) == 1 else ()
    if not usual:
        assumed.append(_USUAL)
    assumed += fed
    return Imported(card, {NETWORK: model}, assumptions=tuple(assumed))


def _card(
    model: OnnxModel, stem: str, facts: ModelFacts, head: HeadSpec, usual: Mapping[str, Any] | None
) -> tuple[ModelCard, tuple[str, ...]]:
    """The card, and what is assumed of the inputs."""
    about = parse_metadata(facts.metadata)
    if usual is None and image_of(facts.inputs) is not None:
        raise HeadError(
            f"{model.origin}: recognized as {head.type}, and such models are trained on inputs of many "
            f"kinds: {_remedy(model, head.type)}"
        )
    inputs, assumed = inputs_of(model.origin, facts, usual or {}, _remedy(model, head.type))
    card = ModelCard(
        name=card_name(stem),
        task=cast(Task, head.module.TASK),
        format="onnx",
        stages={NETWORK: Stage(inputs=inputs, head=head)},
        labels=about.names if about else (),
    )
    return card, assumed


def _in_doubt(model: OnnxModel, stem: str, facts: ModelFacts, readings: list[Reading]) -> str:
    if image_of(facts.inputs) is None:
        given = "; ".join(map(str, facts.inputs))
        return f"{model.origin}: no input takes a picture ({given}): edgecv.compile runs it as it is"
    outputs = "; ".join(str(spec) for spec in facts.outputs[:_SHOWN])
    if len(facts.outputs) > _SHOWN:
        outputs += f"; {len(facts.outputs) - _SHOWN} more"
    about = parse_metadata(facts.metadata)
    task = f"the file says that its task is {about.task}; " if about and about.task else ""
    if readings:
        brands = " or ".join(reading.brand for reading in readings)
        found, type = f"it could be {brands}", readings[0].type
    else:
        near = nearest(facts)
        types = [each for each, _ in near]
        # Any detector has some vector; of one output that is all, it may be a score a class.
        others = (classify.TYPE,) if len(facts.outputs) == 1 else ()
        type = next((each for each in (*types, *others) if _can_draft(each, facts)), "")
        if _NMS & facts.operators:
            tail = _without_tail(model, stem, facts, None)
            is_cut = isinstance(tail, Imported)
            why = "of what enters its own NMS, which is cut off" if is_cut else f"{_STAYS}: {tail}"
            near = [(boxes.TYPE, why), *(one for one in near if one[0] != boxes.TYPE)][:2]
            type = boxes.TYPE if is_cut else type
        found = f"no head fits; nearest: {', '.join(f'{t} ({why})' for t, why in near)}"
    remedy = _remedy(model, type) if type else _BARE
    return f"{model.origin}: which head reads its outputs ({outputs})? {task}{found}: {remedy}"


def _can_draft(type: str, facts: ModelFacts) -> bool:
    try:
        heads.get(type).draft(facts)
    except HeadError:
        return False
    return True


def _others(known: list[Reading]) -> str:
    """What the other ways to read the outputs have in place of the first one's parameters."""
    told = []
    for reading in known[1:]:
        pairs = (
            (name, getattr(reading.params, name), getattr(known[0].params, name))
            for name in reading.params.__struct_fields__
        )
        differing = [f"{name} {msgspec.json.encode(a).decode()}" for name, a, b in pairs if a != b]
        told.append(f"those of {reading.brand} have {', '.join(differing) or 'another input'}")
    return "; ".join(told)


def _remedy(model: OnnxModel, type: str) -> str:
    return (
        f"draft a card and correct it: edgecv models draft {model.origin} --head {type}; it stands beside "
        "the file as <stem>.model.json"
    )

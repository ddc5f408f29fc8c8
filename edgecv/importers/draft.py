"""A card for a network that comes without one, where its shapes and metadata leave no doubt."""

from __future__ import annotations

import re

from edgecv import heads
from edgecv.card import HeadSpec, InputEntry, ModelCard
from edgecv.errors import HeadError
from edgecv.graph.model import OnnxModel
from edgecv.heads.ultralytics import parse_metadata

_REMEDY = "put a card beside the file as <stem>.model.json that states the head and the input"


def draft_card(model: OnnxModel, stem: str) -> tuple[ModelCard, bool]:
    """A card of the recognized head, fed as that head's reference implementation feeds it.

    stem: the file's name without suffix, for the card's name. Returns the card, and whether the file's
    own metadata states what it is. Raises HeadError that lists the candidates where the head, or how it
    wants its input, is in doubt.
    """
    matches = heads.recognise(model.facts)
    if len(matches) != 1:
        outputs = "; ".join(str(spec) for spec in model.facts.outputs[:12])
        found = f"it could be {' or '.join(kind for kind, _ in matches)}" if matches else "no head fits"
        raise HeadError(f"{model.origin}: which head reads its outputs ({outputs})? {found}: {_REMEDY}")
    kind, params = matches[0]
    convention = heads.get(kind).CONVENTIONAL_INPUT
    if convention is None:
        raise HeadError(
            f"{model.origin}: recognized as {kind}, and such models are trained on inputs of many kinds: "
            f"{_REMEDY}"
        )
    facts = parse_metadata(model.facts.metadata)
    size_wh = model.facts.image_wh or (facts.imgsz_wh if facts else None)
    if size_wh is None:
        raise HeadError(f"{model.origin}: the input size is dynamic and the file names none: {_REMEDY}")
    image = next(spec for spec in model.facts.inputs if len(spec.shape) == 4)
    card = ModelCard(
        schema=1,
        name=re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model",
        task="detect",
        format="onnx",
        inputs=(InputEntry(name=image.name, size_wh=size_wh, **convention),),
        head=HeadSpec(kind, params),
        labels=facts.names if facts else (),
    )
    return card, facts is not None

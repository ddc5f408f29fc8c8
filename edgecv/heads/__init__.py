"""Output heads: the raw tensors of a network to what they mean, one module a decoding.

`HEADS` lists them by the type that a card states; a new one is a new module and a name in the list. Which
networks are read by which, `brands` says.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any

import msgspec

from edgecv.errors import CardError
from edgecv.heads.base import Head, HeadParams, Reading
from edgecv.heads.brands import BRANDS
from edgecv.registry import Registry
from edgecv.types import ModelFacts


def _module(type: str) -> Any:
    return import_module(f"edgecv.heads.{type}")


# fmt: off
_TYPES = (
    "boxes", "rows", "queries", "grid", "vector", "distances", "heatmap", "anchors", "two_stages", "classify",
)
# fmt: on

HEADS: MutableMapping[str, Head[Any]] = Registry(_TYPES, _module)


def that_do(task: str) -> list[str]:
    """Types of the heads for a task."""
    return [type for type, head in HEADS.items() if task == head.TASK]


def get(type: str) -> Head[Any]:
    """The head of a type. Raises CardError for an unknown one."""
    if type not in HEADS:
        raise _unknown(type)
    return HEADS[type]


def _unknown(type: str) -> CardError:
    return CardError(f"head.type: unknown head {type!r}; known: {', '.join(HEADS)}")


def params_from(mapping: Mapping[str, Any]) -> tuple[Head[Any], HeadParams]:
    """The head and its parameters from a card's `head` object: `type`, and the head's own fields.

    A type may be a brand's that cards name: then the fields are the brand's. Raises CardError that names the
    unknown type or the wrong field.
    """
    fields = dict(mapping)
    type = fields.pop("type", None)
    if not isinstance(type, str):
        raise CardError(f"head.type: expected one of {', '.join(HEADS)}, got {type!r}")
    if type in HEADS:
        head = HEADS[type]
        return head, _converted(type, head.Params, fields)
    brand: Any = BRANDS.get(type)
    if not hasattr(brand, "Params"):
        raise _unknown(type)
    reading: Reading = brand.reading(_converted(type, brand.Params, fields))
    return HEADS[reading.type], reading.params


def _converted(type: str, kind: Any, fields: Mapping[str, Any]) -> HeadParams:
    try:
        params: HeadParams = msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        problem = str(error).replace("$", "head")
        known = ", ".join(kind.__struct_fields__)
        raise CardError(f"head ({type}): {problem}; fields of {type}: {known}") from error
    return params


def recognize(facts: ModelFacts) -> list[Reading]:
    """Every way in which a network may be read; one leaves no doubt, several or none do.

    Brands that read and feed it alike are one way.
    """
    alike: list[Reading] = []
    for brand in BRANDS.values():
        reading = brand.recognize(facts)
        if reading is not None and not any(_is_alike(reading, known) for known in alike):
            alike.append(reading)
    return alike


def _is_alike(a: Reading, b: Reading) -> bool:
    return (a.type, a.params, a.input) == (b.type, b.params, b.input)

"""Output heads: the raw tensors of a network to what they mean, one module a head.

`HEADS` lists them by the type that a card states; a new head is a new module and a name in the list.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any

import msgspec

from edgecv.errors import CardError
from edgecv.heads.base import Head, HeadParams
from edgecv.registry import Registry
from edgecv.types import ModelFacts


def _module(type: str) -> Any:
    return import_module(f"edgecv.heads.{type}")


# fmt: off
_TYPES = (
    "yolox", "yolov5", "yolov8", "yolo_e2e", "nanodet", "fastestdet", "yunet", "yolo", "region", "detection",
    "detectnet", "faster_rcnn", "ssd", "classify",
)
# fmt: on

HEADS: MutableMapping[str, Head[Any]] = Registry(_TYPES, _module)


def that_do(task: str) -> list[str]:
    """Types of the heads for a task."""
    return [type for type, head in HEADS.items() if task == head.TASK]


def get(type: str) -> Head[Any]:
    """The head of a type. Raises CardError for an unknown one."""
    if type not in HEADS:
        raise CardError(f"head.type: unknown head {type!r}; known: {', '.join(HEADS)}")
    return HEADS[type]


def params_from(mapping: Mapping[str, Any]) -> tuple[Head[Any], HeadParams]:
    """The head and its parameters from a card's `head` object: `type`, and the head's own fields.

    Raises CardError that names the unknown type or the wrong field.
    """
    fields = dict(mapping)
    type = fields.pop("type", None)
    if not isinstance(type, str):
        raise CardError(f"head.type: expected one of {', '.join(HEADS)}, got {type!r}")
    head = get(type)
    try:
        return head, msgspec.convert(fields, head.Params, strict=True)
    except msgspec.ValidationError as error:
        problem = str(error).replace("$", "head")
        known = ", ".join(head.Params.__struct_fields__)
        raise CardError(f"head ({type}): {problem}; fields of {type}: {known}") from error


def recognize(facts: ModelFacts) -> list[tuple[str, HeadParams]]:
    """Every head that a model can have, with its parameters; one leaves no doubt, several or none do."""
    found = [(type, head.recognize(facts)) for type, head in HEADS.items()]
    return [(type, params) for type, params in found if params is not None]

"""Imported: what every importer gives back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from numpy.typing import NDArray

from edgecv.card import NETWORK, ModelCard
from edgecv.graph.model import OnnxModel

__all__ = ["NETWORK", "Array", "Asked", "Imported", "card_name", "scores_assumed"]

Array = NDArray[Any]


class Asked(msgspec.Struct, frozen=True):
    """What a caller says of a network that its files do not.

    task: what it is to do. imgsz: width and height of the picture, pixels. run: gives the outputs for each of
    several inputs by name, of one shape and a batch of one. None: not said.
    """

    task: str | None = None
    imgsz: tuple[int, int] | None = None
    run: Callable[[OnnxModel, Sequence[Mapping[str, Array]]], Sequence[Mapping[str, Array]]] | None = None


@dataclass(frozen=True)
class Imported:
    """A network file read: its networks as ONNX, and a draft card of everything that the file says.

    card: its stages name no files. networks: of the same stages, in the order in which they run:
    {"network": model} of most models, or {"trunk": ..., "roi": ...}. remarks: what was left out or replaced
    without a change to the results; assumptions: what the files do not say and results hang on, such as a
    mean: these warn. One line each, for the user. is_stated: whether the card is the file's own, and no
    draft.
    """

    card: ModelCard
    networks: Mapping[str, OnnxModel]
    remarks: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    is_stated: bool = False


def scores_assumed(output: str, count: int) -> str:
    """The assumption that a row of numbers, which no softmax makes, is a classifier's."""
    return (
        f"task: {output} is a row of {count} numbers that no softmax makes: taken as scores of {count} "
        "classes, of which a softmax is made"
    )


def card_name(stem: str) -> str:
    """A file's name without suffix as the name of a card: lower case letters, digits, '.', '_' and '-'."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model"

"""A model found: what every way to look one up gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from edgecv.card import ModelCard

if TYPE_CHECKING:
    from pathlib import Path

    from edgecv.container import Container
    from edgecv.graph.model import OnnxModel

# A card of this suffix stands for the model file of the same stem beside it.
CARD_SUFFIX = ".model.json"


class Loaded(msgspec.Struct, frozen=True):
    """A model found: its card, its networks, and the card's folder, None for a card without one.

    networks: by stage, in the order in which they run; of most models one, `importers.NETWORK`.
    paths: every file that was read for them, the one that was named first. is_drafted: whether there was no
    card, so that one was drafted from the files. remarks, assumptions: see `importers.Imported`.
    plan: what runs in place of networks, of which there are then none.
    """

    card: ModelCard
    networks: Mapping[str, OnnxModel]
    folder: Path | None
    paths: tuple[Path, ...] = ()
    is_drafted: bool = False
    remarks: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    plan: Container | None = None

    @property
    def model(self) -> OnnxModel:
        """The network that takes the frame: the only one, or the first stage."""
        return next(iter(self.networks.values()))

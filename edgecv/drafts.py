"""draft(): a card for a network that comes without one, written for a person to correct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgecv import card as cards
from edgecv.card import ModelCard
from edgecv.errors import OutputError
from edgecv.lookup import CARD_SUFFIX
from edgecv.lookup.files import draft_card
from edgecv.media.atomic import check_not_input, write_whole


class Draft(msgspec.Struct, frozen=True):
    """A card that was written. path: where. assumptions: what no file says, one line each."""

    path: str
    card: ModelCard
    assumptions: tuple[str, ...]

    @property
    def head(self) -> str:
        """The type of its head."""
        return "none" if self.card.head is None else self.card.head.type

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        card = msgspec.json.decode(cards.dumps(self.card))
        return {"path": self.path, "card": card, "assumptions": list(self.assumptions)}


def draft(
    model: str | Path,
    head: str | None = None,
    *,
    out: str | Path | None = None,
    force: bool = False,
    imgsz: tuple[int, int] | None = None,
) -> Draft:
    """Write a card for an ONNX network, whether or not there is one already.

    head: the type of the head that reads its outputs; None: the one that is beyond doubt. out: the file to
    write, by default `<stem>.model.json` beside the network. force: whether a file of that name is replaced.
    imgsz: width and height of the picture, pixels, for a network that takes any.

    Raises HeadError where the head cannot read these outputs, CardError for a type that there is not,
    OutputError where the card cannot be written, and what `load` raises for the network.
    """
    source = Path(model)
    imported = draft_card(source, head, imgsz)
    target = source.with_name(source.stem + CARD_SUFFIX) if out is None else Path(out)
    check_not_input(target, [source])
    if target.exists() and not force:
        raise OutputError(f"{target}: is there already: --force replaces it, --out names another")
    write_whole(target, cards.dumps(imported.card).encode())
    return Draft(str(target), imported.card, imported.assumptions)

"""What cards that come with edgecv are called, and where they lie, without reading what they say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from edgecv.formats import CARD


class _Names(msgspec.Struct, frozen=True):
    """What a card is called, of all that it says."""

    name: str
    aliases: tuple[str, ...] = ()


def models_folder() -> Path:
    """The folder of the cards that come with edgecv: inside the installed package, or in the source tree."""
    package = Path(__file__).parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


@cache
def card_paths() -> dict[str, Path]:
    """Every name and alias, with its card."""
    found: dict[str, Path] = {}
    for path in sorted(models_folder().glob(f"*/{CARD}")):
        names = msgspec.json.decode(path.read_bytes(), type=_Names)
        for name in (names.name, *names.aliases):
            found.setdefault(name, path)
    return found

"""What the container of a plan says whatever backend it is for: the model's card, remarks, threads."""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import re
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv.errors import ModelFileError
from edgecv.options import MAX_THREADS

if TYPE_CHECKING:
    from edgecv.container import Container

KIND = "plan"
CARD, TOLD = "card.json", "remarks.json"
# Names of stages become parts of the names of files and of members.
STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
MAX_STAGES = 16
# In a container's `about`: what the plan was made from, and the threads that its steps are cut for.
SOURCE, THREADS = "source", "threads"
# A thousand times what networks in use have.
MAX_JSON_BYTES = 8 << 20


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the importer said of a model's files, one line each, to be said again; see `importers.Imported`.

    is_drafted: whether there was no card, so that one was drafted from the files.
    """

    remarks: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    is_drafted: bool = False


def members(card: str | None, told: Told) -> dict[str, bytes]:
    """The members for a card, JSON, and for what was told; none for what there is not."""
    found = {} if card is None else {CARD: card.encode()}
    return found if told == Told() else {**found, TOLD: msgspec.json.encode(told)}


def card_of(found: "Container") -> bytes | None:
    """The card, JSON; None where there is none. Raises ModelFileError for a member that is damaged."""
    return bytes(found.copied(CARD, most=MAX_JSON_BYTES)) if CARD in found else None


def told_by(found: "Container") -> Told:
    """What was told; raises ModelFileError for a member that is damaged or says something else."""
    return decoded(found, TOLD, Told) if TOLD in found else Told()


def threads_of(found: "Container") -> int | None:
    """Threads that the plan is cut for; None where that is not said."""
    text = found.about.get(THREADS, "")
    count = int(text) if text.isdecimal() and len(text) <= 3 else 0
    return count if 1 <= count <= MAX_THREADS else None


def decoded(found: "Container", name: str, kind: type[Any]) -> Any:
    """A member as a value of this kind. Raises ModelFileError, in one line, for one that says another."""
    text = found.copied(name, most=MAX_JSON_BYTES)
    try:
        return msgspec.json.decode(text.data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelFileError(f"{found.origin}: {name}: {one_line(error)}; {AGAIN}") from error


def one_line(error: Exception) -> str:
    """An error's text, which may quote a file."""
    return " ".join(str(error).split())[:400]


AGAIN = "compile it again: edgecv compile MODEL --out FILE"

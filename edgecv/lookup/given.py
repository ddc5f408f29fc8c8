"""Which files say what `edgecv.lookup.resolve` would make of a model, and a fingerprint of them.

They are named without reading a network, so that what was compiled of them before can be found without any
reader. A file that is not there counts as well where it would change something if it were: a card beside the
network, or class names.

Weights of an ONNX network that lie in other files are not among them, since only the network itself names
them. `OnnxModel.is_self_contained` tells, once it is read; what is compiled of such a network is not kept,
and its fingerprint therefore finds nothing, whatever those files hold.

A fingerprint is of the files as they are now. Whoever reads them afterwards takes it once more when that is
done: what is compiled meanwhile belongs to the fingerprint only where both are the same.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import os
import re
from collections.abc import Callable, Sequence
from itertools import takewhile

import msgspec

from edgecv import card as cards
from edgecv import formats
from edgecv.errors import EdgeCVError, InputError
from edgecv.hashes import digest_of
from edgecv.lookup import CARD_SUFFIX, is_plan

ABSENT, UNREADABLE = "absent", "unreadable"

# Each is hashed; a folder of more is none of a model's.
MAX_LABEL_FILES = 64

_CARD, _STAGES_CARD, _WEIGHTS, _LABELS, _MEAN = "card", "stages card", "weights", "labels", "mean"
# Of protobuf's text: comments, strings, names, and other characters.
_TOKEN = re.compile(r"""\#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_]\w*|\S""")
_MEAN_FIELD = "mean_file"


class Given(msgspec.Struct, frozen=True):
    """A model's files, in an order that depends on the model alone.

    files: (role, path) of each, present or not; a role does not depend on where the files lie. facts: (name,
    value) of what counts beside the contents of files.
    """

    files: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Of every file, present or not."""
        return tuple(path for _, path in self.files)


class _Stage(msgspec.Struct, frozen=True):
    files: tuple[cards.FileEntry, ...] = ()


class _Card(msgspec.Struct, frozen=True):
    """What a card of either schema says of files."""

    format: str = ""
    files: tuple[cards.FileEntry, ...] = ()
    stages: dict[str, _Stage | tuple[cards.FileEntry, ...]] = {}
    labels: tuple[str, ...] | str = ()

    @property
    def by_stage(self) -> dict[str, tuple[cards.FileEntry, ...]]:
        """The files of each stage that has some."""
        stages = {
            name: stage.files if isinstance(stage, _Stage) else stage for name, stage in self.stages.items()
        }
        return {name: files for name, files in (stages or {cards.NETWORK: self.files}).items() if files}


class _Refused(Exception):
    """What `resolve` raises an error of its own about, or what cannot be told without a reader."""


class _Listing:
    """What is found, one after the other."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []
        self.facts: list[tuple[str, str]] = []

    def add(self, role: str, path: str) -> None:
        self.files.append((role, path))

    def state(self, name: str, value: object) -> None:
        self.facts.append((name, str(value)))


def files_read(
    model: "str | os.PathLike[str]",
    weights: "str | os.PathLike[str] | None" = None,
    labels: "str | os.PathLike[str] | None" = None,
    mean: "str | os.PathLike[str] | Sequence[float] | None" = None,
) -> Given | None:
    """Every file that `resolve` would read for these arguments, or that would change what it does.

    None for a plan, and where `resolve` raises or it cannot be told which files it reads: then nothing is to
    be looked up, and `resolve` says what is wrong.
    """

    def find(listing: _Listing) -> None:
        _of_model(listing, _path(model), _path_if_any(weights), finds_labels=labels is None)
        if labels is not None:
            listing.add(_LABELS, _path(labels))
        if isinstance(mean, (str, os.PathLike)):
            path = _path(mean)
            listing.add(f"{_MEAN} {os.path.basename(path)}", path)
        elif mean is not None:
            listing.state(_MEAN, [float(value) for value in mean])

    return None if is_plan(model) else _found(find)


def network_files(
    model: "str | os.PathLike[str]", weights: "str | os.PathLike[str] | None" = None
) -> Given | None:
    """As `files_read`, of a network alone, without its card: what `importers.read_model` would read."""

    def find(listing: _Listing) -> None:
        _of_network(listing, _path(model), _path_if_any(weights))

    return None if is_plan(model) else _found(find)


def fingerprint(given: Given) -> list[tuple[str, str]]:
    """(role, sha256) of each file, "absent" or "unreadable" in its place, then the facts.

    The same files have the same one wherever they lie. Files as large as weights are hashed once, as
    `hashes.digest_of` says.
    """
    found = [(role, _digest(path)) for role, path in given.files]
    return [(_ascii(name), _ascii(value)) for name, value in (*found, *given.facts)]


def _path(path: "str | os.PathLike[str]") -> str:
    """As pathlib spells it: without a last slash, which makes a file's name that of none."""
    text = os.fspath(path)
    parts = [part for part in text.split(os.sep) if part not in ("", os.curdir)]
    return (os.sep if text.startswith(os.sep) else "") + os.sep.join(parts) or os.curdir


def _path_if_any(path: "str | os.PathLike[str] | None") -> str | None:
    return None if path is None else _path(path)


def _found(find: Callable[[_Listing], None]) -> Given | None:
    listing = _Listing()
    try:
        find(listing)
    except (_Refused, EdgeCVError, OSError, ValueError):
        return None
    return Given(tuple(listing.files), tuple(listing.facts))


def _of_model(listing: _Listing, model: str, weights: str | None, *, finds_labels: bool) -> None:
    """The turns that `resolve` takes."""
    inside = os.path.join(model, formats.CARD)
    path = inside if os.path.isfile(inside) else model
    folder, stem, suffix = _split(path)
    beside = os.path.join(folder, stem + CARD_SUFFIX)
    if suffix == ".json":
        _of_card(listing, path, weights)
    elif os.path.exists(path):
        _of_bare(listing, path, weights, finds_labels=finds_labels)
    elif suffix and os.path.isfile(beside):
        _of_card(listing, beside, weights)
    else:
        # Cards that come with edgecv are looked up by their names alone.
        from edgecv import zoo

        known = zoo.card_path(model)
        if known is None:
            raise _Refused
        _of_card(listing, os.fspath(known), weights)


def _of_card(listing: _Listing, path: str, weights: str | None) -> None:
    card = _add_card(listing, _CARD, path)
    folder = os.path.dirname(path)
    if weights is None:
        for stage, files in card.by_stage.items():
            places = [_add_place(listing, f"{stage} {file.path}", file, folder) for file in files]
            if card.format == "caffe" and places:
                _add_means(listing, places[0])
    elif card.stages or not os.path.exists(weights):
        raise _Refused
    elif card.files and formats.can_be_weights(_split(weights)[2], card.format):
        structure = _add_place(listing, f"{cards.NETWORK} {card.files[0].path}", card.files[0], folder)
        listing.add(_WEIGHTS, weights)
        if card.format == "caffe":
            _add_means(listing, structure)
    else:
        _of_network(listing, weights, None)


def _of_bare(listing: _Listing, path: str, weights: str | None, *, finds_labels: bool) -> None:
    source = _of_network(listing, path, weights)
    places = [_split(place)[:2] for place in formats.with_target(path)]
    for folder, stem in places:
        if _add_card_if_any(listing, _CARD, os.path.join(folder, stem + CARD_SUFFIX)):
            return
    for folder, stem in places:
        if _split(stem)[1] != stem:
            _add_card_if_any(listing, _STAGES_CARD, os.path.join(folder, _split(stem)[1] + CARD_SUFFIX))
    if finds_labels:
        _add_labels(listing, source)


def _of_network(listing: _Listing, path: str, weights: str | None) -> str:
    """The files that hold a network, and the one that stands for them."""
    if os.path.isdir(path):
        if weights is not None:
            raise _Refused
        return _of_job(listing, path)
    _, stem, suffix = _split(path)
    format = formats.SUFFIXES.get(suffix.lower())
    if format not in formats.PAIRS:
        if format is None or weights is not None:
            raise _Refused
        # The card is drafted under this name.
        listing.add(f"{cards.NETWORK} {stem}{suffix}", path)
        return path
    of_structure, of_weights = formats.PAIRS[format]
    is_structure = suffix.lower() == of_structure
    wanted = of_weights if is_structure else of_structure
    beside = [os.path.join(*_split(place)[:2]) + wanted for place in formats.with_target(path)]
    other = next(filter(os.path.isfile, beside), beside[0]) if weights is None else weights
    if not os.path.isfile(other) or _split(other)[2].lower() in formats.SUFFIXES.keys() - {wanted}:
        raise _Refused
    structure, packed = (path, other) if is_structure else (other, path)
    listing.add(f"{cards.NETWORK} {''.join(_split(structure)[1:])}", structure)
    listing.add(_WEIGHTS, packed)
    if format == "caffe":
        _add_means(listing, structure)
    return structure


def _of_job(listing: _Listing, folder: str) -> str:
    """A job of DIGITS: its last snapshot counts, and the number of all of them is remarked on."""
    found = ((formats.DIGITS_SNAPSHOT.fullmatch(name), name) for name in os.listdir(folder))
    snapshots = {int(match[1]): name for match, name in found if match}
    structure = os.path.join(folder, formats.DIGITS_STRUCTURE)
    if not snapshots or not os.path.isfile(structure):
        raise _Refused
    listing.state("folder", os.path.basename(os.path.realpath(folder)))
    listing.state("snapshots", len(snapshots))
    listing.add(cards.NETWORK, structure)
    last = snapshots[max(snapshots)]
    listing.add(f"{_WEIGHTS} {last}", os.path.join(folder, last))
    for name in (formats.DIGITS_INFO, formats.DIGITS_MEAN, formats.LABELS):
        listing.add(f"job's {name}", os.path.join(folder, name))
    _add_means(listing, structure)
    return folder


def _add_card(listing: _Listing, role: str, path: str) -> _Card:
    """A card and its own file of labels."""
    listing.add(role, path)
    if not os.path.isfile(path):
        raise _Refused
    try:
        card = msgspec.json.decode(_read(path, cards.MAX_CARD_BYTES), type=_Card)
    except (msgspec.MsgspecError, RecursionError):
        raise _Refused from None
    if isinstance(card.labels, str):
        listing.add(f"{role}'s labels", os.path.join(os.path.dirname(path), card.labels))
    return card


def _add_card_if_any(listing: _Listing, role: str, path: str) -> bool:
    if os.path.isfile(path):
        _add_card(listing, role, path)
        return True
    listing.add(role, path)
    return False


def _add_place(listing: _Listing, role: str, file: cards.FileEntry, folder: str) -> str:
    """One of a card's own files, wherever on this machine it is found."""
    from pathlib import Path

    from edgecv import zoo

    place = zoo.place_of(file, Path(folder))
    path = os.path.join(folder, file.path) if place is None else os.fspath(place)
    listing.add(role, path)
    return path


def _add_labels(listing: _Listing, source: str) -> None:
    """Class names where `importers.labels.find_labels` looks for them."""
    for place in formats.with_target(source):
        folder = place if os.path.isdir(place) else os.path.dirname(place)
        own = [_split(place)[1] + suffix for suffix in formats.LABELS_SUFFIXES]
        others = sorted(name for name in os.listdir(folder or ".") if name.endswith(formats.LABELS_SUFFIX))
        if len(others) > MAX_LABEL_FILES:
            raise _Refused
        for name in (*own, formats.LABELS, *others):
            listing.add(f"beside {name}", os.path.join(folder, name))


def _add_means(listing: _Listing, structure: str) -> None:
    """The mean files that the text of a Caffe network names, which are read from beside it."""
    for name in _mean_names(_read(structure, formats.MAX_PROTOTXT_BYTES)):
        listing.add(f"{_MEAN} {name}", os.path.join(os.path.dirname(structure), name))


def _mean_names(data: bytes) -> list[str]:
    """In their order in the text. Strings with escapes are left to protobuf: they are refused."""
    if _MEAN_FIELD.encode() not in data:
        return []
    tokens = [token for token in _TOKEN.findall(data.decode("utf-8-sig", "replace")) if token[0] != "#"]
    names: list[str] = []
    for at, token in enumerate(tokens):
        if token == _MEAN_FIELD:
            names.append(os.path.basename(_string(tokens[at + 1 :])))
    return names


def _string(tokens: list[str]) -> str:
    """The value of a field: a colon and strings, which are joined."""
    if tokens[:1] != [":"]:
        raise _Refused
    parts = list(takewhile(lambda token: len(token) > 1 and token[0] in "\"'", tokens[1:]))
    text = "".join(part[1:-1] for part in parts)
    # Neither is how a file is named here: what a reader makes of it is not for this module to know.
    if not parts or "\\" in text or os.path.basename(text) in ("", ".", ".."):
        raise _Refused
    return text


def _read(path: str, most: int) -> bytes:
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise _Refused
    return data


def _digest(path: str) -> str:
    try:
        return digest_of(path)
    except (FileNotFoundError, NotADirectoryError, InputError):
        # What is no file is passed over as what is not there.
        return ABSENT
    except OSError:
        return UNREADABLE


def _split(path: str) -> tuple[str, str, str]:
    """Folder, stem and suffix, as pathlib tells them."""
    folder, name = os.path.split(path)
    while name in ("", ".") and folder not in ("", os.sep):
        folder, name = os.path.split(folder)
    dot = name.rfind(".")
    return (folder, name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (folder, name, "")


def _ascii(text: str) -> str:
    """Names of files need not be Unicode."""
    return text.encode("unicode_escape").decode("ascii")

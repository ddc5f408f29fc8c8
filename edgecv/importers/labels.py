"""Class names for a network that carries none: from a file, where their number leaves no doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgecv.card import ModelCard, read_labels
from edgecv.errors import CardError, InputError, ModelNotFoundError
from edgecv.formats import LABELS, LABELS_SUFFIX, LABELS_SUFFIXES
from edgecv.graph.model import OnnxModel
from edgecv.heads import boxes, classify, rows
from edgecv.importers.files import with_target

# As Caffe's synset_words.txt has it: n01440764 tench, Tinca tinca.
_SYNSET = re.compile(r"n\d{8}\s+")
# What the first line of a label file may call the class that heads leave out.
_BACKGROUND = frozenset(
    {"background", "__background__", "dontcare", "none_of_the_above", "none of the above"}
)


def relabel(card: ModelCard, networks: Mapping[str, OnnxModel], path: Path) -> ModelCard:
    """The card with the class names of a file, one a line.

    Raises InputError where their number is not that of the network's classes, ModelNotFoundError for a
    file that is not there.
    """
    if path.is_dir():
        raise InputError(f"labels: {path}: expected a file, got a folder")
    if not path.is_file():
        raise ModelNotFoundError(f"labels: {path}: no such file")
    try:
        names = _fitted(_read(path), class_count(card, networks))
    except OSError as error:
        raise InputError(f"labels: {path}: cannot be read: {error.strerror or error}") from error
    except CardError as error:
        raise InputError(f"labels: {error}") from error
    except ValueError as error:
        raise InputError(f"labels: {path}: {error}") from error
    if not names:
        raise InputError(f"labels: {path}: expected class names, one a line, got none")
    return _replace(card, names, f"labels: {path}")


def find_labels(
    card: ModelCard, networks: Mapping[str, OnnxModel], source: Path
) -> tuple[ModelCard, str | None]:
    """The card with the labels that lie beside a network file, and what was assumed, if anything.

    Looked for: `<stem>.names`, `<stem>.txt`, `<stem>.labels` and `labels.txt`; else the only *.names
    file of the folder with as many names as the network has classes. Of a source that is a link the file's
    own folder counts too. One that does not fit in number is passed over, and without a number nothing is
    taken.
    """
    count = class_count(card, networks)
    if card.labels or count is None:
        return card, None
    sources = with_target(source)
    folders = [one if one.is_dir() else one.parent for one in sources]
    places = [(folder, one.stem) for folder, one in zip(folders, sources, strict=True)]
    own = [folder / f"{stem}{suffix}" for folder, stem in places for suffix in LABELS_SUFFIXES]
    for path in (*own, *(folder / LABELS for folder in folders)):
        names = _names(path, count)
        if names:
            return _replace(card, names, str(path)), None
    others = [path for folder in folders for path in sorted(folder.glob(f"*{LABELS_SUFFIX}"))]
    fitting = {path: names for path in others if (names := _names(path, count))}
    if len(fitting) == 1:
        ((path, names),) = fitting.items()
        return _replace(card, names, str(path)), (
            f"labels: those of {path.name}, the only *.names file beside it with {len(names)} names"
        )
    found = ", ".join(path.name for path in fitting)
    why = f"{found} fit alike" if fitting else f"no file beside it has {_names_of(count)}"
    return card, f"labels: none, {why}; give a file with --labels"


def class_count(card: ModelCard, networks: Mapping[str, OnnxModel]) -> int | None:
    """How many classes the network tells apart, the background left out; None where that is not known."""
    if card.head is None:
        return None
    params = card.head.params
    stated = getattr(params, "classes", None)
    if isinstance(stated, int):
        return stated
    outputs = {spec.name: spec.shape[1:] for network in networks.values() for spec in network.facts.outputs}
    if isinstance(params, classify.Params):
        sizes = outputs.get(params.output, ())
        columns = sizes[0] if all(size == 1 for size in sizes[1:]) and sizes else None
        return columns if isinstance(columns, int) else None
    if isinstance(params, rows.Params):
        # A confidence for each row, whose class is a number.
        return None
    # A row, or a column, of scores for each box, in which the background has one of its own.
    sizes = outputs.get(getattr(params, "scores", ""), ())
    by_columns = isinstance(params, boxes.Params) and (params.scores_layout or params.layout) == "columns"
    count = (sizes[-2] if by_columns else sizes[-1]) if len(sizes) > by_columns else None
    background = getattr(params, "background", "first")
    return count - (background is not None) if isinstance(count, int) else None


def _names(path: Path, count: int) -> tuple[str, ...]:
    """The labels of a file that may not exist or be one; none where their number does not fit."""
    try:
        return _fitted(_read(path), count)
    except (OSError, ValueError):
        return ()


def _read(path: Path) -> tuple[str, ...]:
    """The names in a file; of a list of ImageNet's synsets what follows the number."""
    names = read_labels(path)
    return tuple(map(_without_synset, names)) if all(map(_SYNSET.match, names)) else names


def _without_synset(name: str) -> str:
    return _SYNSET.sub("", name, count=1)


def _fitted(names: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    """The names without the background's. Raises ValueError for another number than `count`."""
    if count is None or len(names) == count:
        return names
    if len(names) == count + 1 and names[0].lower() in _BACKGROUND:
        return names[1:]
    raise ValueError(f"expected {_names_of(count)}, one for each class of the network, got {len(names)}")


def _names_of(count: int) -> str:
    return f"{count} name{'' if count == 1 else 's'}"


def _replace(card: ModelCard, names: tuple[str, ...], origin: str) -> ModelCard:
    try:
        return msgspec.structs.replace(card, labels=names)
    except ValueError as error:
        raise InputError(f"{origin}: {error}") from error

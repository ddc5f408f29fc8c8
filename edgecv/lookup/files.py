"""The card and the networks of a model's files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from edgecv import backends, formats, importers, zoo
from edgecv import card as cards
from edgecv.backends.base import Array, CompileOptions
from edgecv.card import ModelCard
from edgecv.errors import InputError, ModelNotFoundError
from edgecv.graph.model import OnnxModel
from edgecv.importers import NETWORK, Asked, Imported, Mean, ModelFiles
from edgecv.lookup.loaded import CARD_SUFFIX, Loaded


def resolve(
    model: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    labels: str | os.PathLike[str] | None = None,
    mean: str | os.PathLike[str] | Sequence[float] | None = None,
    task: str | None = None,
    imgsz: tuple[int, int] | None = None,
) -> Loaded:
    """See `edgecv.lookup.resolve`."""
    found = _found(model, weights, labels, mean, task, imgsz)
    return replace(found, networks=importers.settled(found.card, found.networks, imgsz))


def _found(
    model: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    labels: str | os.PathLike[str] | None,
    mean: str | os.PathLike[str] | Sequence[float] | None,
    task: str | None,
    imgsz: tuple[int, int] | None,
) -> Loaded:
    path = Path(model)
    if path.is_dir() and (path / formats.CARD).is_file():
        path = path / formats.CARD
    names = None if labels is None else Path(labels)
    offset = _mean(mean)
    other = None if weights is None else Path(weights)
    if path.suffix == ".json":
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such card")
        return _changed(_of_card(path, other), names, offset)
    if path.exists():
        return _bare(path, other, names, offset, Asked(task, imgsz, _run))
    if path.is_symlink():
        raise importers.missing(path)
    beside = _card_beside(path)
    if path.suffix and beside.is_file():
        # Of a model of several networks the card alone bears the name.
        return _changed(_of_card(beside, other), names, offset)
    try:
        entry = zoo.find(str(model))
    except ModelNotFoundError:
        if path.suffix or len(path.parts) > 1:
            raise ModelNotFoundError(f"{model}: no such file") from None
        raise
    return _changed(_of_entry(entry, other), names, offset)


def draft_card(path: Path, head: str | None, imgsz: tuple[int, int] | None = None) -> Imported:
    """A card for an ONNX file, whatever lies beside it. head: its type; None: the one beyond doubt.

    Raises HeadError where the head cannot read its outputs, CardError for a type that there is not.
    """
    files = importers.locate(path)
    if files.format != "onnx":
        raise InputError(
            f"{path}: a draft is made of an ONNX file; of a {files.format} one by edgecv convert"
        )
    return importers.drafted(files, head, Asked(None, imgsz, _run))


def _of_card(path: Path, weights: Path | None) -> Loaded:
    return _of_entry(zoo.ZooEntry(cards.read(path), path.parent), weights, path)


def _of_entry(entry: zoo.ZooEntry, weights: Path | None, *paths: Path) -> Loaded:
    """The networks of a card. paths: those of the card itself."""
    networks: dict[str, OnnxModel] = {}
    for stage, files in _files(entry, weights).items():
        networks |= _networks(files, stage)
        paths += files.paths
    card = entry.card.for_networks(networks)
    return Loaded(card, importers.cut_tail(card, networks), entry.folder, paths)


def _files(entry: zoo.ZooEntry, weights: Path | None) -> dict[str, ModelFiles]:
    """The files of each of a card's networks."""
    card = entry.card
    if weights is None:
        if not card.files:
            raise ModelNotFoundError(f"{card.name}: its card names no files; give weights")
        return {name: _files_of_stage(entry, name) for name in card.stages}
    if len(card.stages) > 1:
        raise InputError(
            f"weights: {card.name} runs as {len(card.stages)} networks ({', '.join(card.stages)}); one file "
            "cannot stand for all that its card names"
        )
    (name,) = card.stages
    if not weights.exists():
        raise ModelNotFoundError(f"{weights}: no such file")
    if card.files and importers.can_be_weights(weights, card.format):
        paths = [zoo.path_of(entry, card.files[0]), weights]
        return {name: importers.of_card(card.name, card.format, paths)}
    return {name: importers.locate(weights)}


def _files_of_stage(entry: zoo.ZooEntry, name: str) -> ModelFiles:
    card = entry.card
    paths = [zoo.path_of(entry, file) for file in card.stages[name].files]
    return importers.of_card(
        card.name if name == NETWORK else f"{card.name}, stage {name}", card.format, paths
    )


def _networks(files: ModelFiles, *stages: str) -> Mapping[str, OnnxModel]:
    """The networks in files that a card states for these stages: a sole one goes by the name of a sole stage,
    several by their own."""
    found = importers.read_networks(files)
    return {stages[0]: found[NETWORK]} if len(stages) == 1 and set(found) == {NETWORK} else found


def _bare(path: Path, weights: Path | None, labels: Path | None, mean: Mean | None, asked: Asked) -> Loaded:
    files = importers.locate(path, weights)
    places = importers.with_target(path)
    beside = next((card for card in map(_card_beside, places) if card.is_file()), None)
    if beside is not None:
        card = cards.read(beside)
        networks = _networks(files, *card.stages)
        card = card.for_networks(networks)
        loaded = Loaded(card, importers.cut_tail(card, networks), beside.parent, (beside, *files.paths))
        return _changed(loaded, labels, mean)
    for place in places:
        stages_card = place.with_name(Path(place.stem).stem + CARD_SUFFIX)
        if stages_card.is_file() and _is_stage(place, cards.read(stages_card)):
            raise InputError(
                f"{path}: one of several networks of a model, and none alone: name {stages_card}"
            )
    imported = importers.import_model(files, labels=labels, mean=mean, asked=asked)
    return Loaded(
        imported.card,
        imported.networks,
        None,
        # What was named comes first: a message about the model bears that name.
        (path, *(file for file in (*files.paths, labels, mean) if isinstance(file, Path) and file != path)),
        is_drafted=not imported.is_stated,
        remarks=imported.remarks,
        assumptions=imported.assumptions,
    )


def _card_beside(path: Path) -> Path:
    return path.with_name(path.stem + CARD_SUFFIX)


def _run(model: OnnxModel, feeds: Sequence[Mapping[str, Array]]) -> list[Mapping[str, Array]]:
    """Outputs of a network for each of some inputs of one shape, on the first backend that runs it here."""
    shapes = {name: array.shape for name, array in feeds[0].items()}
    with backends.compile_model(
        model, None, CompileOptions(None, 1, None), shapes, check=backends.Check(is_wanted=False)
    ) as session:
        return [session.run(one) for one in feeds]


def _is_stage(path: Path, card: ModelCard) -> bool:
    return len(card.stages) > 1 and any(file.path == path.name for file in card.files)


def _changed(loaded: Loaded, labels: Path | None, mean: Mean | None) -> Loaded:
    """The model with what the caller states in place of its card."""
    card, paths = loaded.card, loaded.paths
    if mean is not None:
        card = importers.with_mean(card, mean)
    if labels is not None:
        card = importers.relabel(card, loaded.networks, labels)
        paths = (*paths, labels)
    return replace(loaded, card=card, paths=paths)


def _mean(mean: str | os.PathLike[str] | Sequence[float] | None) -> Mean | None:
    if mean is None:
        return None
    if isinstance(mean, (str, os.PathLike)):
        if not Path(mean).is_file():
            raise ModelNotFoundError(
                f"mean: {mean}: no such file; give a mean file of Caffe, or numbers such as 104,117,123"
            )
        return Path(mean)
    values = tuple(float(value) for value in mean)
    if not values or not np.isfinite(values).all():
        raise InputError(f"mean: expected a number for each channel, got {mean}")
    return values

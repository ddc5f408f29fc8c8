"""Model files of others into ONNX: one reader a format, chosen by what the file is.

The readers of Caffe and Darknet are imported when one of their files is read, and what drafts a card when a
network has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from edgecv.card import ModelCard
from edgecv.errors import InputError, ModelFileError
from edgecv.graph.model import MAX_MODEL_BYTES, OnnxModel
from edgecv.importers.base import NETWORK, Asked, Imported
from edgecv.importers.files import ModelFiles, can_be_weights, locate, missing, of_card, with_target
from edgecv.importers.labels import find_labels, relabel

__all__ = [
    "NETWORK",
    "Asked",
    "Imported",
    "Mean",
    "ModelFiles",
    "can_be_weights",
    "cut_tail",
    "drafted",
    "import_model",
    "locate",
    "missing",
    "of_card",
    "read_model",
    "read_networks",
    "relabel",
    "settled",
    "with_mean",
    "with_target",
]

Mean = Path | tuple[float, ...]
"""A mean file of Caffe, or the mean of each channel of a frame: blue, green, red; or one of all."""


def read_model(source: Path | bytes, weights: Path | None = None) -> OnnxModel:
    """The one network in a model file, or in the bytes of an ONNX file.

    weights: the other file of a Caffe or Darknet network, where it is not beside it. Raises
    ModelNotFoundError, ModelFileError for a damaged or foreign file, InputError for a format that is
    not read and for a model of several networks.
    """
    if isinstance(source, bytes):
        if weights is not None:
            raise InputError("weights: bytes are one whole ONNX file; give the path of a network without")
        return OnnxModel.from_bytes(source, origin=f"model of {len(source)} bytes")
    networks = read_networks(locate(source, weights))
    if len(networks) != 1:
        raise InputError(
            f"{source}: it runs as {len(networks)} networks ({', '.join(networks)}), and one is wanted: "
            "convert it, and name one of the files that come of it"
        )
    return next(iter(networks.values()))


def read_networks(files: ModelFiles) -> Mapping[str, OnnxModel]:
    """The networks in a model's files, by stage; of most there is one, `NETWORK`. Raises as `read_model`."""
    match files.format:
        case "onnx":
            return {NETWORK: _read_onnx(files.source)}
        case "caffe" | "digits":
            from edgecv.importers import caffe

            # How a picture is fed does not matter here, nor whether one can be.
            return caffe.read_networks(*files.paths)
    return _read(files, None, None, Asked()).networks


def import_model(
    files: ModelFiles,
    *,
    labels: Path | None = None,
    mean: Mean | None = None,
    asked: Asked = Asked(),  # noqa: B008 - frozen
) -> Imported:
    """The networks in a model's files, with the card that an ONNX file carries, or else a draft of what
    the files say and what lies beside them.

    labels: a file of class names; None: the one beside the model, where there is no doubt. mean: what
    is subtracted from a frame, where the network's own files do not say. asked: what the caller says beside.
    Raises as `read_model` does, and HeadError where it is in doubt how the network is to be fed or read.
    """
    # Only a network's own files say what a mean file of Caffe belongs to; numbers mean the same for all.
    theirs = mean if files.format in ("caffe", "digits") else None
    imported = _read(files, labels, theirs, asked)
    card, assumptions = imported.card, imported.assumptions
    if mean is not None and theirs is None:
        card = with_mean(card, mean)
    if labels is not None:
        card = relabel(card, imported.networks, labels)
    elif not imported.is_stated:
        card, assumed = find_labels(card, imported.networks, files.source)
        assumptions = (*assumptions, assumed) if assumed else assumptions
    return replace(imported, card=card, assumptions=assumptions)


def cut_tail(card: ModelCard, networks: Mapping[str, OnnxModel]) -> Mapping[str, OnnxModel]:
    """The networks of a card, without the NMS that its head stands for; see `importers.tails.cut`.

    Raises CardError where the network's own cannot be cut.
    """
    if not getattr(card.head.params if card.head else None, "tail", ""):
        return networks
    from edgecv.importers import tails

    return tails.cut(card, networks)


def settled(
    card: ModelCard, networks: Mapping[str, OnnxModel], imgsz: tuple[int, int] | None
) -> Mapping[str, OnnxModel]:
    """The networks of a card, of which the one that takes the frame says which outputs have a batch axis.

    imgsz: the size that is asked for. Raises InputError where that network cannot take it, or no picture.
    """
    from edgecv.importers.sizes import check_not_empty, check_size, with_batches

    (stage, model), *_ = networks.items()
    entry = card.image_input
    check_not_empty(model, entry.name)
    if imgsz is not None:
        check_size(model, entry.name, entry.layout, entry.channels, imgsz)
    return {**networks, stage: with_batches(model, imgsz or entry.size_wh)}


def drafted(files: ModelFiles, head: str | None, asked: Asked) -> Imported:
    """A card for an ONNX file without regard to one that it carries. head: its type; None: told by the file.

    Raises as `import_model`, and CardError for a type that there is not.
    """
    from edgecv.importers.draft import draft_card, draft_for

    model = _read_onnx(files.source)
    if head is None:
        return draft_card(model, files.source.stem, asked)
    return draft_for(model, files.source.stem, head, asked)


def with_mean(card: ModelCard, mean: Mean) -> ModelCard:
    """The card with another mean of its input. Raises InputError for a number of values that does not fit."""
    entry = card.image_input
    if isinstance(mean, Path):
        raise InputError(
            f"mean: {mean}: a file is read for a Caffe network without a card; for {card.name} give one "
            f"number a channel, such as {'104,117,123' if entry.channels == 3 else '104'}"
        )
    if len(mean) not in (1, entry.channels):
        raise InputError(
            f"mean: {len(mean)} values for {entry.channels} channels: expected 1 or {entry.channels}"
        )
    values = tuple(mean) * (entry.channels // len(mean))
    if entry.color.startswith("rgb"):
        values = (*values[2::-1], *values[3:])
    try:
        changed = msgspec.structs.replace(entry, mean=values)
    except ValueError as error:
        raise InputError(f"mean: {error}") from error
    return card.with_input(changed)


def _read(files: ModelFiles, labels: Path | None, mean: Mean | None, asked: Asked) -> Imported:
    match files.format:
        case "darknet":
            from edgecv.importers import darknet

            return darknet.read(*files.paths, names=labels)
        case "caffe":
            from edgecv.importers import caffe

            return caffe.read(*files.paths, mean=mean, labels=labels)
        case "digits":
            from edgecv.importers import caffe

            return caffe.read_digits(files.source, mean=mean, labels=labels)
    from edgecv.importers.draft import onnx_card

    return onnx_card(_read_onnx(files.source), files.source.stem, asked)


def _read_onnx(path: Path) -> OnnxModel:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelFileError(f"{path}: {size} bytes, over the 2 GB that one ONNX file can hold")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return OnnxModel.from_bytes(data, origin=str(path), folders=[each.parent for each in with_target(path)])

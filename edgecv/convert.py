"""convert(): a model's networks as ONNX files, with the card that says how to feed and read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgecv import api, importers
from edgecv import card as cards
from edgecv.card import FileEntry, ModelCard
from edgecv.errors import InputError, NoPictureError
from edgecv.graph.model import OnnxModel
from edgecv.importers import NETWORK
from edgecv.media.atomic import PendingFile, cannot_write, check_not_input
from edgecv.options import LoadOptions

SUFFIX = ".onnx"


@dataclass(frozen=True)
class ConvertedNetwork:
    """One file that was written.

    stage: "network", or which of several. layers: nodes of its graph. parameters: numbers in its
    weights. inputs, outputs: name, dtype and shape of each.
    """

    stage: str
    path: str
    bytes: int
    sha256: str
    opset: int
    layers: int
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """What was written. remarks, assumptions: see `importers.Imported`; a card settles assumptions.

    card, card_path: None of a network that no picture can feed, for which there is no card.
    """

    source: str
    card_path: str | None
    card: ModelCard | None
    networks: tuple[ConvertedNetwork, ...]
    remarks: tuple[str, ...]
    assumptions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "source": self.source,
            "card_path": self.card_path,
            "card": None if self.card is None else msgspec.json.decode(cards.dumps(self.card)),
            "networks": [asdict(network) for network in self.networks],
            "remarks": list(self.remarks),
            "assumptions": list(self.assumptions),
        }


def convert(
    model: str | Path,
    to: str | Path,
    options: LoadOptions | None = None,
) -> Conversion:
    """Write a model as ONNX, and its card beside it as `<stem>.model.json`; of a network of Caffe's that no
    picture can feed the network alone.

    model, options: as `load` takes them; of the options weights, labels and mean count. to: the file to
    write, `<stem>.onnx`; a model of several networks becomes `<stem>.<stage>.onnx` of each. What bore these
    names is replaced, all of it or nothing.

    Raises InputError where an output would replace a file that was read, OutputError where it cannot
    be written, and what `load` raises.
    """
    target = Path(to)
    if target.suffix.lower() != SUFFIX or not target.stem:
        raise InputError(f"to: expected a file name that ends in {SUFFIX}, got {str(to)!r}")
    try:
        loaded = api.resolve(model, options)
    except NoPictureError as error:
        return _without_card(Path(model), target, options or LoadOptions(), error)
    paths = {stage: _path(target, stage) for stage in loaded.networks}
    card_path = target.with_name(target.stem + api.CARD_SUFFIX)
    remarks = loaded.remarks
    if loaded.card.golden is not None:
        remarks = (*remarks, "golden tensors: they stay with the card that they were made for")
    contents = {stage: network.data for stage, network in loaded.networks.items()}
    entries = {stage: _entry(paths[stage], data) for stage, data in contents.items()}
    card = _card(loaded.card, entries)
    for path in (*paths.values(), card_path):
        check_not_input(path, _kept(loaded, card, card_path))
    _write_all(
        {**{paths[stage]: data for stage, data in contents.items()}, card_path: cards.dumps(card).encode()}
    )
    return Conversion(
        source=str(model),
        card_path=str(card_path),
        card=card,
        networks=_described(loaded.networks, paths, entries),
        remarks=remarks,
        assumptions=loaded.assumptions,
    )


def _without_card(source: Path, target: Path, options: LoadOptions, error: NoPictureError) -> Conversion:
    """The networks of a model that no picture can feed. error: which says so."""
    for name in ("labels", "mean"):
        if getattr(options, name) is not None:
            raise InputError(f"{name}: {error}")
    files = importers.locate(source, None if options.weights is None else Path(options.weights))
    networks = importers.read_networks(files)
    paths = {stage: _path(target, stage) for stage in networks}
    contents = {stage: network.data for stage, network in networks.items()}
    entries = {stage: _entry(paths[stage], data) for stage, data in contents.items()}
    for path in paths.values():
        check_not_input(path, files.paths)
    _write_all({paths[stage]: data for stage, data in contents.items()})
    return Conversion(
        source=str(source),
        card_path=None,
        card=None,
        networks=_described(networks, paths, entries),
        remarks=(f"no card: {error}",),
        assumptions=(),
    )


def _path(target: Path, stage: str) -> Path:
    return target if stage == NETWORK else target.with_name(f"{target.stem}.{stage}{SUFFIX}")


def _entry(path: Path, data: bytes) -> FileEntry:
    try:
        return FileEntry(path=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    except ValueError as error:
        raise InputError(f"to: {path.name!r} cannot stand in a card: {error}") from error


def _card(card: ModelCard, entries: dict[str, FileEntry]) -> ModelCard:
    """The card of the files as they are written."""
    written = card.with_files({stage: (entry,) for stage, entry in entries.items()})
    return msgspec.structs.replace(written, format="onnx", golden=None)


def _kept(loaded: api.Loaded, card: ModelCard, card_path: Path) -> Iterable[Path]:
    """The files that were read and may not be replaced: all but the card of an earlier conversion."""
    names = [[file.path for file in one.files] for one in (card, loaded.card)]
    is_own = loaded.card.format == "onnx" and names[0] == names[1]
    return [path for path in loaded.paths if not (is_own and path == card_path)]


def _write_all(contents: dict[Path, bytes]) -> None:
    """Every file is complete under another name before the first one gets its own; the card comes last."""
    with ExitStack() as undo:
        pending = []
        for path, data in contents.items():
            file = PendingFile(path)
            undo.callback(file.discard)
            try:
                file.path.write_bytes(data)
            except OSError as error:
                raise cannot_write(path, error) from error
            pending.append(file)
        for file in pending:
            file.commit()


def _described(
    networks: Mapping[str, OnnxModel], paths: Mapping[str, Path], entries: Mapping[str, FileEntry]
) -> tuple[ConvertedNetwork, ...]:
    return tuple(_one(stage, paths[stage], entries[stage], network) for stage, network in networks.items())


def _one(stage: str, path: Path, entry: FileEntry, network: OnnxModel) -> ConvertedNetwork:
    graph = network.proto.graph
    return ConvertedNetwork(
        stage=stage,
        path=str(path),
        bytes=entry.bytes,
        sha256=entry.sha256,
        opset=network.opset,
        layers=len(graph.node),
        parameters=sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in graph.initializer),
        inputs=tuple(str(spec) for spec in network.facts.inputs),
        outputs=tuple(str(spec) for spec in network.facts.outputs),
    )

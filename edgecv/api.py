"""load() and compile(): the one place that joins card, importer, backend and pipeline."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecv import backends, importers, machine, zoo
from edgecv import card as cards
from edgecv.backends.base import CompileOptions, Session
from edgecv.card import ModelCard
from edgecv.errors import CardError, InputError, ModelNotFoundError
from edgecv.graph.model import OnnxModel
from edgecv.importers.draft import draft_card
from edgecv.pipelines.detector import Detector, DetectorSettings
from edgecv.types import FloatArray

log = logging.getLogger("edgecv")

# ONNX metadata key under which a model can carry its card.
CARD_KEY = "edgecv.card"


@dataclass(frozen=True)
class Loaded:
    """A model found: its card, its network, and the card's folder, None for a card without one."""

    card: ModelCard
    model: OnnxModel
    folder: Path | None


def load(
    model: str | Path,
    *,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    weights: str | Path | None = None,
    conf: float | Sequence[float] | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    classes: Sequence[int | str] | None = None,
    imgsz: int | tuple[int, int] | None = None,
    multi_label: bool = False,
    warmup: bool = True,
) -> Detector:
    """A detector, ready to run.

    model: a card's name or alias, a card's path, or a bare model file. backend: one name, strict;
    "a,b", an ordered fallback that the placement records; None, the first usable. threads: those of one
    run, the caller included; None: the smaller of affinity and cgroup quota. weights: the network's
    file, in place of the card's own. conf, iou, max_det: None takes the card's. conf may be one per
    class. classes: ids or names to keep. imgsz: width and height of the blob (one number: both), for a
    model whose input is dynamic. multi_label: every class of a cell over conf is a candidate, as
    evaluation counts. warmup: run the whole path before returning.

    Raises an EdgeCVError: nothing runs other than as asked for.
    """
    loaded = resolve(model, weights)
    if loaded.card.task != "detect":
        raise InputError(f"{loaded.card.name}: a model for {loaded.card.task}, not a detector")
    settings = _settings(loaded.card, conf, iou, max_det, classes, multi_label)
    blob_wh = _blob_wh(loaded, imgsz)
    session = backends.compile_model(loaded.model, backend, _options(device, threads, precision))
    try:
        detector = Detector(session, loaded.card, settings, imgsz=blob_wh)
        if warmup:
            detector.warm_up()
    except BaseException:
        session.close()
        raise
    return detector


def compile(
    model: str | Path | bytes,
    *,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
) -> Session[Any]:
    """A session on a bare network, from a path or from the bytes of a file; see `load` for the options."""
    source = model if isinstance(model, bytes) else Path(model)
    return backends.compile_model(importers.read_model(source), backend, _options(device, threads, precision))


def resolve(model: str | Path, weights: str | Path | None = None) -> Loaded:
    """Find the card and the network of what a user names; see `load`.

    Which card: the one that is named; `<stem>.model.json` beside the file; the file's own metadata;
    else one drafted from the network's shapes, which must leave no doubt.
    """
    path = Path(model)
    if path.is_dir() and (path / cards.FILE_NAME).is_file():
        path = path / cards.FILE_NAME
    if path.suffix == ".json":
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such card")
        return _with_card(zoo.ZooEntry(cards.read(path), path.parent), weights)
    if path.exists():
        if weights is not None:
            raise InputError(f"weights: {path} is a network already; name a card to give it other weights")
        return _bare(path)
    if path.suffix or len(path.parts) > 1:
        try:
            entry = zoo.find(str(model))
        except ModelNotFoundError:
            raise ModelNotFoundError(f"{model}: no such file") from None
    else:
        entry = zoo.find(str(model))
    return _with_card(entry, weights)


def _with_card(entry: zoo.ZooEntry, weights: str | Path | None) -> Loaded:
    network = Path(weights) if weights is not None else zoo.files_of(entry)[0]
    return Loaded(entry.card, importers.read_model(network), entry.folder)


def _bare(path: Path) -> Loaded:
    beside = path.with_name(path.stem + ".model.json")
    if beside.is_file():
        return Loaded(cards.read(beside), importers.read_model(path), path.parent)
    model = importers.read_model(path)
    embedded = model.facts.metadata.get(CARD_KEY)
    if embedded is not None:
        card = cards.parse(embedded, origin=f"{path}, metadata {CARD_KEY}")
        if isinstance(card.labels, str):
            raise CardError(
                f"{path}, metadata {CARD_KEY}: `labels` names a file, which a card inside a network cannot "
                "have beside it: list the labels themselves"
            )
        return Loaded(card, model, None)
    card, is_stated = draft_card(model, path.stem)
    log.log(
        logging.INFO if is_stated else logging.WARNING,
        "%s: no card; drafted from the network: head %s, input %s. Put a %s.model.json beside it to settle "
        "what cannot be read from a network",
        path,
        card.head.type if card.head else "none",
        _described(card),
        path.stem,
    )
    return Loaded(card, model, None)


def _described(card: ModelCard) -> str:
    entry = card.image_input
    scale = f"mean {list(entry.mean) or 0}, std {list(entry.std) or 1}"
    return f"{entry.size_wh[0]}x{entry.size_wh[1]} {entry.color} {entry.resize}, {scale}"


def _options(device: str, threads: int | None, precision: str) -> CompileOptions:
    return CompileOptions(device, machine.cpu_budget() if threads is None else threads, precision)


def _settings(
    card: ModelCard,
    conf: float | Sequence[float] | None,
    iou: float | None,
    max_det: int | None,
    classes: Sequence[int | str] | None,
    multi_label: bool,
) -> DetectorSettings:
    defaults = card.thresholds
    for name, value in (("conf", conf), ("iou", iou)):
        values = np.atleast_1d(np.asarray(0.0 if value is None else value, np.float64))
        if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
            raise InputError(f"{name}: expected 0 to 1, got {value}")
    if max_det is not None and max_det < 1:
        raise InputError(f"max_det: expected at least 1, got {max_det}")
    return DetectorSettings(
        conf=_conf(card, defaults.conf if conf is None else conf),
        iou=defaults.iou if iou is None else float(iou),
        max_det=defaults.max_det if max_det is None else max_det,
        classes=None if classes is None else tuple(_class_id(card, c) for c in classes),
        multi_label=multi_label,
    )


def _conf(card: ModelCard, conf: float | Sequence[float]) -> float | FloatArray:
    if isinstance(conf, int | float):
        return float(conf)
    if card.labels and len(conf) != len(card.labels):
        raise InputError(f"conf: expected one number or {len(card.labels)}, one a class; got {len(conf)}")
    return np.array(conf, np.float32)


def _class_id(card: ModelCard, wanted: int | str) -> int:
    if isinstance(wanted, str) and not wanted.isdigit():
        if wanted not in card.labels:
            raise InputError(f"classes: {card.name} has no class {wanted!r}; it has {', '.join(card.labels)}")
        return card.labels.index(wanted)
    number = int(wanted)
    if number < 0 or (card.labels and number >= len(card.labels)):
        raise InputError(f"classes: expected 0 to {len(card.labels) - 1}, got {number}")
    return number


def _blob_wh(loaded: Loaded, imgsz: int | tuple[int, int] | None) -> tuple[int, int]:
    entry = loaded.card.image_input
    wanted = entry.size_wh if imgsz is None else (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    if len(wanted) != 2 or min(wanted) < 1:
        raise InputError(f"imgsz: expected a size or (width, height) of at least 1, got {imgsz}")
    fixed = loaded.model.facts.image_wh
    if fixed is not None and fixed != tuple(wanted):
        sizes = f"{wanted[0]}x{wanted[1]}, and the network's input is fixed at {fixed[0]}x{fixed[1]}"
        if imgsz is None:
            raise CardError(f"{loaded.card.name}: `size_wh` of the card states {sizes}")
        raise InputError(f"{loaded.card.name}: imgsz asks for {sizes}; export it with a dynamic input")
    return wanted[0], wanted[1]

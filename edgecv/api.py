"""load() and compile(): the one place that joins card, importer, backend and pipeline."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecv import backends, importers, machine, zoo
from edgecv import card as cards
from edgecv.backends.base import CompileOptions, Session, Shapes
from edgecv.card import ModelCard
from edgecv.errors import CardError, InputError, ModelNotFoundError
from edgecv.graph.model import OnnxModel
from edgecv.heads import faster_rcnn
from edgecv.importers import NETWORK, Mean, ModelFiles
from edgecv.pipelines.base import Pipeline
from edgecv.pipelines.classifier import Classifier, ClassifierSettings
from edgecv.pipelines.detector import Detector, DetectorSettings
from edgecv.types import FloatArray

log = logging.getLogger("edgecv")

# A card of this suffix stands for the model file of the same stem beside it.
CARD_SUFFIX = ".model.json"


@dataclass(frozen=True)
class Loaded:
    """A model found: its card, its networks, and the card's folder, None for a card without one.

    networks: by stage, in the order in which they run; of most models one, `importers.NETWORK`.
    paths: every file that was read, the one that was named first. is_drafted: whether there was no
    card, so that one was drafted from the files. remarks, assumptions: see `importers.Imported`.
    """

    card: ModelCard
    networks: Mapping[str, OnnxModel]
    folder: Path | None
    paths: tuple[Path, ...] = ()
    is_drafted: bool = False
    remarks: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def model(self) -> OnnxModel:
        """The network that takes the frame: the only one, or the first stage."""
        return next(iter(self.networks.values()))


def load(
    model: str | Path,
    *,
    task: str | None = None,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    weights: str | Path | None = None,
    labels: str | Path | None = None,
    mean: str | Path | Sequence[float] | None = None,
    conf: float | Sequence[float] | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    classes: Sequence[int | str] | None = None,
    top: int | None = None,
    imgsz: int | tuple[int, int] | None = None,
    multi_label: bool = False,
    warmup: bool = True,
) -> Pipeline[Any]:
    """A `Detector` or a `Classifier`, whichever the card's task asks for, ready to run.

    model: a card's name or alias, a card's path, or a bare model file: ONNX, one of the two files of a
    Caffe or Darknet network, or the folder of a DIGITS job. task: "detect" or "classify", where no
    other will do. backend: one name, strict; "a,b", an ordered fallback that the placement records;
    None, the first usable. threads: those of one run, the caller included; None: the smaller of affinity
    and cgroup quota. weights: the other file of a Caffe or Darknet network, where it is not beside it;
    for a card, the network's file in place of its own. labels: a file of class names, one a line. mean:
    of each channel of a frame: blue, green, red; one number for all; or a mean file of Caffe. warmup: run
    the whole path before returning.

    Of detectors: conf, iou, max_det: None takes the card's. conf may be one per class. classes: ids or
    names to keep. multi_label: every class of a cell over conf is a candidate, as evaluation counts.
    Of classifiers: top: how many classes a result lists, None for 5. imgsz: width and height of the blob
    (one number: both), for a model whose input is dynamic.

    Raises an EdgeCVError: nothing runs other than as asked for.
    """
    loaded = resolve(model, weights, labels=labels, mean=mean)
    # Of a model that does not run only the reason is told.
    check_task(loaded, task)
    announce(loaded)
    return start(
        loaded,
        task=task,
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=classes,
        top=top,
        imgsz=imgsz,
        multi_label=multi_label,
        warmup=warmup,
    )


def start(
    loaded: Loaded,
    *,
    task: str | None = None,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    conf: float | Sequence[float] | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    classes: Sequence[int | str] | None = None,
    top: int | None = None,
    imgsz: int | tuple[int, int] | None = None,
    multi_label: bool = False,
    warmup: bool = True,
) -> Pipeline[Any]:
    """The second half of `load`: what `resolve` found, compiled and ready to run."""
    card = loaded.card
    check_task(loaded, task)
    of_detectors = {
        "conf": conf,
        "iou": iou,
        "max_det": max_det,
        "classes": classes,
        "multi_label": multi_label or None,
    }
    foreign = {"top": top} if card.task == "detect" else of_detectors
    for name, value in foreign.items():
        if value is not None:
            raise InputError(f"{name}: {card.name} is a model to {card.task}, which takes no {name}")
    settings: DetectorSettings | ClassifierSettings
    if card.task == "classify":
        settings = _classifier_settings(top)
    else:
        settings = _settings(card, conf, iou, max_det, classes, multi_label)
    blob_wh = _blob_wh(loaded, imgsz)
    options = _options(device, threads, precision)
    shapes = _blob_shapes(loaded, blob_wh)
    with ExitStack() as opened:
        sessions = {
            name: opened.enter_context(
                backends.compile_model(network, backend, options, shapes if network is loaded.model else None)
            )
            for name, network in loaded.networks.items()
        }
        pipeline = _pipeline(card, sessions, settings, blob_wh)
        if warmup:
            pipeline.warm_up()
        opened.pop_all()
    return pipeline


def _pipeline(
    card: ModelCard,
    sessions: Mapping[str, Session[Any]],
    settings: DetectorSettings | ClassifierSettings,
    blob_wh: tuple[int, int],
) -> Pipeline[Any]:
    """The pipeline of a card: its task and its head choose, here and nowhere else."""
    kind = card.head.type if card.head else "none"
    if isinstance(settings, DetectorSettings) and kind == faster_rcnn.TYPE:
        from edgecv.pipelines.region_proposal import RegionProposal

        return RegionProposal(sessions, card, settings, imgsz=blob_wh)
    if set(sessions) != {NETWORK}:
        raise CardError(f"{card.name}: its head {kind} reads one network, and it has {', '.join(sessions)}")
    session = sessions[NETWORK]
    if isinstance(settings, ClassifierSettings):
        return Classifier(session, card, settings, imgsz=blob_wh)
    return Detector(session, card, settings, imgsz=blob_wh)


def compile(
    model: str | Path | bytes,
    *,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    weights: str | Path | None = None,
) -> Session[Any]:
    """A session on a bare network, from a path or from the bytes of an ONNX file; see `load` for the
    options."""
    source = model if isinstance(model, bytes) else Path(model)
    network = importers.read_model(source, None if weights is None else Path(weights))
    return backends.compile_model(network, backend, _options(device, threads, precision))


def resolve(
    model: str | Path,
    weights: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    mean: str | Path | Sequence[float] | None = None,
) -> Loaded:
    """Find the card and the networks of what a user names; see `load`.

    Which card: the one that is named; `<stem>.model.json` beside the file; the file's own metadata;
    else one drafted from what the files say, which must leave no doubt.
    """
    path = Path(model)
    if path.is_dir() and (path / cards.FILE_NAME).is_file():
        path = path / cards.FILE_NAME
    names = None if labels is None else Path(labels)
    offset = _mean(mean)
    other = None if weights is None else Path(weights)
    if path.suffix == ".json":
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such card")
        return _changed(_of_card(path, other), names, offset)
    if path.exists():
        return _bare(path, other, names, offset)
    beside = path.with_name(path.stem + CARD_SUFFIX)
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


def check_task(loaded: Loaded, task: str | None = None) -> None:
    """Raise InputError unless a pipeline does the card's task, and that is `task` where one is given."""
    card = loaded.card
    if card.task == "features" and loaded.is_drafted:
        source = loaded.paths[0]
        raise InputError(
            f"{source}: what its outputs mean cannot be read from its files: put a card beside it as "
            f"{source.stem}{CARD_SUFFIX} that states its task and its head; `edgecv convert` writes one to "
            "start from"
        )
    if card.task not in ("detect", "classify"):
        raise InputError(f"{card.name}: a model for the task {card.task}, which this version does not run")
    if task is not None and card.task != task:
        raise InputError(f"{card.name}: a model to {card.task}, not to {task}; `edgecv {card.task}` runs it")


def announce(loaded: Loaded) -> None:
    """Tell the log on what a drafted card rests: a warning where something was assumed."""
    if not loaded.is_drafted:
        return
    card, source = loaded.card, loaded.paths[0]
    log.log(
        logging.WARNING if loaded.assumptions else logging.INFO,
        "%s: no card, so one was drafted: head %s, input %s%s; `edgecv convert` writes such a card, and "
        "%s%s beside the network takes its place",
        source,
        card.head.type if card.head else "none",
        _described(card),
        "".join(f"; assumed: {line}" for line in loaded.assumptions),
        source.stem,
        CARD_SUFFIX,
    )
    for remark in loaded.remarks:
        log.info("%s: %s", source, remark)


def _of_card(path: Path, weights: Path | None) -> Loaded:
    return _of_entry(zoo.ZooEntry(cards.read(path), path.parent), weights, path)


def _of_entry(entry: zoo.ZooEntry, weights: Path | None, *paths: Path) -> Loaded:
    """The networks of a card. paths: those of the card itself."""
    networks: dict[str, OnnxModel] = {}
    for stage, files in _files(entry, weights).items():
        found = importers.read_networks(files)
        # A file that holds several networks brings its own stages.
        networks.update({stage: found[NETWORK]} if set(found) == {NETWORK} else found)
        paths += files.paths
    return Loaded(entry.card, networks, entry.folder, paths)


def _files(entry: zoo.ZooEntry, weights: Path | None) -> dict[str, ModelFiles]:
    """The files of each of a card's networks."""
    card = entry.card
    if weights is None:
        if not card.files and not card.stages:
            raise ModelNotFoundError(f"{card.name}: its card names no files; give weights")
        stages = {NETWORK: card.files} if card.files else card.stages
        return {
            stage: importers.of_card(card.name, card.format, [zoo.path_of(entry, file) for file in files])
            for stage, files in stages.items()
        }
    if card.stages:
        raise InputError(
            f"weights: {card.name} runs as {len(card.stages)} networks ({', '.join(card.stages)}); one file "
            "cannot stand for all that its card names"
        )
    if not weights.exists():
        raise ModelNotFoundError(f"{weights}: no such file")
    if card.files and importers.can_be_weights(weights, card.format):
        paths = [zoo.path_of(entry, card.files[0]), weights]
        return {NETWORK: importers.of_card(card.name, card.format, paths)}
    return {NETWORK: importers.locate(weights)}


def _bare(path: Path, weights: Path | None, labels: Path | None, mean: Mean | None) -> Loaded:
    files = importers.locate(path, weights)
    beside = path.with_name(path.stem + CARD_SUFFIX)
    stages_card = path.with_name(Path(path.stem).stem + CARD_SUFFIX)
    if beside.is_file():
        networks = importers.read_networks(files)
        loaded = Loaded(cards.read(beside), networks, path.parent, (beside, *files.paths))
        return _changed(loaded, labels, mean)
    if stages_card.is_file() and _is_stage(path, cards.read(stages_card)):
        raise InputError(f"{path}: one of several networks of a model, and none alone: name {stages_card}")
    imported = importers.import_model(files, labels=labels, mean=mean)
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


def _is_stage(path: Path, card: ModelCard) -> bool:
    return any(file.path == path.name for files in card.stages.values() for file in files)


def _changed(loaded: Loaded, labels: Path | None, mean: Mean | None) -> Loaded:
    """The model with what the caller states in place of its card."""
    card, paths = loaded.card, loaded.paths
    if mean is not None:
        card = importers.with_mean(card, mean)
    if labels is not None:
        card = importers.relabel(card, loaded.networks, labels)
        paths = (*paths, labels)
    return replace(loaded, card=card, paths=paths)


def _mean(mean: str | Path | Sequence[float] | None) -> Mean | None:
    if mean is None:
        return None
    if isinstance(mean, (str, Path)):
        if not Path(mean).is_file():
            raise ModelNotFoundError(
                f"mean: {mean}: no such file; give a mean file of Caffe, or numbers such as 104,117,123"
            )
        return Path(mean)
    values = tuple(float(value) for value in mean)
    if not values or not np.isfinite(values).all():
        raise InputError(f"mean: expected a number for each channel, got {mean}")
    return values


def _described(card: ModelCard) -> str:
    entry = card.image_input
    scale = f"mean {_numbers(entry.mean) or 0}, std {_numbers(entry.std) or 1}"
    return f"{entry.size_wh[0]}x{entry.size_wh[1]} {entry.color} {entry.resize}, {scale}"


def _numbers(values: tuple[float, ...]) -> str:
    """The values, or the one that they all are."""
    return " ".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))


def _options(device: str, threads: int | None, precision: str) -> CompileOptions:
    return CompileOptions(device, machine.cpu_budget() if threads is None else threads, precision)


def _classifier_settings(top: int | None) -> ClassifierSettings:
    if top is not None and top < 1:
        raise InputError(f"top: expected at least 1, got {top}")
    return ClassifierSettings() if top is None else ClassifierSettings(top)


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


def _blob_shapes(loaded: Loaded, blob_wh: tuple[int, int]) -> Shapes | None:
    """What the network that takes the frame is prepared for; None where its input is not the card's."""
    entry, inputs = loaded.card.image_input, loaded.model.facts.inputs
    if len(inputs) != 1 or inputs[0].name != entry.name or len(inputs[0].shape) != 4:
        return None
    batch = inputs[0].shape[0]
    return {entry.name: (batch if isinstance(batch, int) else 1, entry.channels, blob_wh[1], blob_wh[0])}


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

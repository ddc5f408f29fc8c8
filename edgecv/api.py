"""load() and compile(): the one place that joins card, importer, backend and pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv import backends, container
from edgecv.backends.base import CompileOptions, Session, Shapes
from edgecv.card import NETWORK, ModelCard
from edgecv.errors import CardError, InputError
from edgecv.lookup import CARD_SUFFIX, Loaded, announce, check_task, is_plan, resolve
from edgecv.pipelines.base import Pipeline
from edgecv.pipelines.detector import Detector, DetectorSettings
from edgecv.types import FloatArray

if TYPE_CHECKING:
    from pathlib import Path

    from edgecv.pipelines.classifier import ClassifierSettings

__all__ = ["CARD_SUFFIX", "Loaded", "announce", "check_task", "compile", "load", "resolve", "start"]

# The head that reads two networks in turns.
_REGION_PROPOSALS = "faster_rcnn"


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
    Caffe or Darknet network, or the folder of a DIGITS job; or a plan that `edgecv compile` wrote, which runs
    on `simd` alone. task: "detect" or "classify", where no other will do. backend: one name, strict; "a,b",
    an ordered fallback that the placement records; None, "simd,onnxruntime,opencv" as far as they are usable.
    threads: those of one run, the caller included; None: the smaller of affinity and cgroup quota, and of a
    plan at most those that it is cut for. weights: the other file of a Caffe or Darknet network, where it is
    not beside it; for a card, the network's file in place of its own. labels: a file of class names, one a
    line. mean: of each channel of a frame: blue, green, red; one number for all; or a mean file of Caffe.
    warmup: run the whole path before returning.

    Of detectors: conf, iou, max_det: None takes the card's. conf may be one per class. classes: ids or
    names to keep. multi_label: every class of a cell over conf is a candidate, as evaluation counts.
    Of classifiers: top: how many classes a result lists, None for 5. imgsz: width and height of the blob
    (one number: both), for a model whose input is dynamic.

    Raises an EdgeCVError: nothing runs other than as asked for.
    """
    loaded = resolve(model, weights, labels=labels, mean=mean, plans=True)
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
    if threads is None and loaded.plan is not None:
        threads = min(loaded.plan.first.threads, _cpu_budget())
    options = _options(device, threads, precision)
    shapes = _blob_shapes(loaded, blob_wh)
    with ExitStack() as opened:
        sessions: dict[str, Session[Any]]
        if loaded.plan is not None:
            sessions = {
                name: opened.enter_context(backends.open_plan(stage, backend, options))
                for name, stage in loaded.plan.stages.items()
            }
        else:
            sessions = {
                name: opened.enter_context(
                    backends.compile_model(
                        network, backend, options, shapes if network is loaded.model else None
                    )
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
    if isinstance(settings, DetectorSettings) and kind == _REGION_PROPOSALS:
        from edgecv.pipelines.region_proposal import RegionProposal

        return RegionProposal(sessions, card, settings, imgsz=blob_wh)
    if set(sessions) != {NETWORK}:
        raise CardError(f"{card.name}: its head {kind} reads one network, and it has {', '.join(sessions)}")
    session = sessions[NETWORK]
    if isinstance(settings, DetectorSettings):
        return Detector(session, card, settings, imgsz=blob_wh)
    from edgecv.pipelines.classifier import Classifier

    return Classifier(session, card, settings, imgsz=blob_wh)


def compile(
    model: str | Path | bytes,
    *,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    weights: str | Path | None = None,
) -> Session[Any]:
    """A session on a bare network, from a path or from the bytes of an ONNX file, or on a plan that was
    compiled before; see `load` for the options."""
    if container.is_container(model) if isinstance(model, bytes) else is_plan(model):
        if weights is not None:
            raise InputError("weights: a plan holds its weights; compile the network anew")
        from edgecv.engine import saved

        plan = saved.read(model)
        if len(plan.stages) != 1:
            raise InputError(
                f"{plan.origin}: a plan of {len(plan.stages)} networks ({', '.join(plan.stages)}), and one "
                "is wanted: edgecv.load runs them together"
            )
        count = min(plan.first.threads, _cpu_budget()) if threads is None else threads
        return backends.open_plan(plan.first, backend, _options(device, count, precision))
    from pathlib import Path

    from edgecv import importers

    source = model if isinstance(model, bytes) else Path(model)
    network = importers.read_model(source, None if weights is None else Path(weights))
    return backends.compile_model(network, backend, _options(device, threads, precision))


def _options(device: str, threads: int | None, precision: str) -> CompileOptions:
    return CompileOptions(device, _cpu_budget() if threads is None else threads, precision)


def _cpu_budget() -> int:
    # Where the threads are given, nobody has to ask.
    from edgecv import machine

    return machine.cpu_budget()


def _classifier_settings(top: int | None) -> ClassifierSettings:
    from edgecv.pipelines.classifier import ClassifierSettings

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
        if value is None:
            continue
        values = np.atleast_1d(np.asarray(value, np.float64))
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
    entry, inputs = loaded.card.image_input, loaded.facts.inputs
    if len(inputs) != 1 or inputs[0].name != entry.name or len(inputs[0].shape) != 4:
        return None
    batch = inputs[0].shape[0]
    return {entry.name: (batch if isinstance(batch, int) else 1, entry.channels, blob_wh[1], blob_wh[0])}


def _blob_wh(loaded: Loaded, imgsz: int | tuple[int, int] | None) -> tuple[int, int]:
    entry = loaded.card.image_input
    wanted = entry.size_wh if imgsz is None else (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    if len(wanted) != 2 or min(wanted) < 1:
        raise InputError(f"imgsz: expected a size or (width, height) of at least 1, got {imgsz}")
    fixed = loaded.facts.image_wh
    if fixed is not None and fixed != tuple(wanted):
        sizes = f"{wanted[0]}x{wanted[1]}, and the network's input is fixed at {fixed[0]}x{fixed[1]}"
        if imgsz is None:
            raise CardError(f"{loaded.card.name}: `size_wh` of the card states {sizes}")
        raise InputError(f"{loaded.card.name}: imgsz asks for {sizes}; export it with a dynamic input")
    return wanted[0], wanted[1]

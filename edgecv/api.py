"""load() and compile(): the one place that joins card, importer, backend and pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import msgspec

from edgecv import backends, container, pipelines, planfile
from edgecv.arguments import check_model, check_pool
from edgecv.backends.base import Check, CompileOptions, Sample, Shapes
from edgecv.card import NETWORK
from edgecv.errors import CardError, InputError, ModelFileError, ModelNotFoundError
from edgecv.inputs import fixed_wh
from edgecv.lookup import CARD_SUFFIX, Loaded, announce, check_read, is_plan, resolve
from edgecv.options import LoadOptions
from edgecv.pipelines.eye import Fed, other_size

if TYPE_CHECKING:
    from edgecv import kept
    from edgecv.backends.pool import Pool
    from edgecv.backends.session import Session
    from edgecv.card import ModelCard
    from edgecv.container import Container
    from edgecv.graph.model import OnnxModel
    from edgecv.pipelines.base import Pipeline
    from edgecv.types import TensorSpec

__all__ = ["CARD_SUFFIX", "Loaded", "announce", "check_read", "compile", "load", "load_with", "resolve"]

PathLike = os.PathLike[str]

if TYPE_CHECKING:
    from typing import Literal, TypedDict

    from typing_extensions import Unpack

    from edgecv.types import Classification, Detections

    class _Common(TypedDict, total=False):
        """What `load` takes whatever the task."""

        backend: str | None
        device: str | None
        threads: int | None
        precision: str | None
        weights: str | PathLike | None
        labels: str | PathLike | None
        mean: str | PathLike | Sequence[float] | None
        cache: bool
        check: bool
        imgsz: int | Sequence[int] | None
        warmup: bool
        pool: Pool | None

    class _Detecting(_Common, total=False):
        conf: float | Sequence[float] | None
        iou: float | None
        max_det: int | None
        classes: Sequence[int | str] | None
        multi_label: bool
        agnostic: bool | None
        max_per_class: int | None

    class _Classifying(_Common, total=False):
        top: int | None


@overload
def load(
    model: str | PathLike | Loaded, *, task: Literal["detect"], **options: Unpack[_Detecting]
) -> Pipeline[Detections]: ...


@overload
def load(
    model: str | PathLike | Loaded, *, task: Literal["classify"], **options: Unpack[_Classifying]
) -> Pipeline[Classification]: ...


@overload
def load(model: str | PathLike | Loaded, *, task: str | None = None, **options: Any) -> Pipeline[Any]: ...


def load(
    model: str | PathLike | Loaded,
    *,
    task: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    weights: str | PathLike | None = None,
    labels: str | PathLike | None = None,
    mean: str | PathLike | Sequence[float] | None = None,
    cache: bool = True,
    check: bool = True,
    imgsz: int | Sequence[int] | None = None,
    warmup: bool = True,
    pool: Pool | None = None,
    **settings: Any,
) -> Pipeline[Any]:
    """A `Detector` or a `Classifier`, whichever the card's task asks for, ready to run.

    model: a card's name or alias, a card's path, or a bare model file: ONNX, one of the two files of a
    Caffe or Darknet network, or the folder of a DIGITS job; a plan that `edgecv compile` wrote, which runs
    on the backend that it was compiled for; or what `resolve` found. task: "detect" or "classify", where no
    other will do. pool: threads to share with other networks, in place of `threads`; `simd` takes one.
    backend, device, threads, precision, weights, labels, mean, cache, check, imgsz, warmup: as in
    `LoadOptions`.

    settings: of the task; None takes the card's, or a default. Of detectors: conf, iou, max_det; conf may be
    one per class; classes: ids or names to keep; multi_label: every class of a cell over conf is a candidate,
    as evaluation counts; agnostic: boxes of other classes are duplicates too. Of classifiers: top: how many
    classes a result lists, by default 5.

    Raises an EdgeCVError: nothing runs other than as asked for.
    """
    options = LoadOptions.of(
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
        weights=weights,
        labels=labels,
        mean=mean,
        imgsz=imgsz,
        cache=cache,
        check=check,
        warmup=warmup,
    )
    return load_with(model, options, task=task, pool=pool, settings=settings)


def load_with(
    model: str | PathLike | Loaded,
    options: LoadOptions,
    *,
    task: str | None = None,
    pool: Pool | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Pipeline[Any]:
    """As `load`, with the options as one record and the task's settings by name."""
    asked = _Asked(options, task, pool, settings or {})
    check_pool(pool)
    if isinstance(model, Loaded):
        for name in ("weights", "labels", "mean"):
            if getattr(options, name) is not None:
                raise InputError(f"{name}: the model was found already; give it to resolve()")
        return _started(model, asked)
    check_model(model)
    place = _place(model, options, pool, task)
    known = None if place is None else place.find_model()
    if place is not None and known is not None:
        try:
            read = partial(place.networks, lambda: resolve(model, options, task=task).networks)
            pipeline = _started(known, asked, read)
            pipeline.is_from_cache = True
            return pipeline
        except ModelFileError as error:
            place.reject(error)
    loaded = resolve(model, options, plans=True, task=task)
    pipeline = _started(loaded, asked, is_new=True)
    if place is not None and loaded.plan is None:
        told = planfile.Told(loaded.remarks, loaded.assumptions, loaded.is_drafted)
        place.keep(pipeline.sessions, loaded.networks, loaded.card, told)
    return pipeline


def compile(
    model: str | PathLike | bytes,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    weights: str | PathLike | None = None,
    cache: bool = True,
    check: bool = True,
    pool: Pool | None = None,
) -> Session[Any]:
    """A session on a bare network, from a path or from the bytes of an ONNX file, or on a plan that was
    compiled before; see `load` for the options. `clone()` makes more of them, for other threads."""
    options = LoadOptions.of(
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
        weights=weights,
        cache=cache,
        check=check,
    )
    check_model(model, takes_bytes=True)
    check_pool(pool)
    if container.is_container(model) if isinstance(model, bytes) else is_plan(model):
        if weights is not None:
            raise InputError("weights: a plan holds its weights; compile the network anew")
        saved = container.read(model)
        return _alone(saved.origin, _open(saved, options, pool))
    place = _place(model, options, pool, is_bare=True)
    plan = None if place is None else place.find()
    if place is not None and plan is not None:
        try:
            read = partial(place.networks, lambda: {NETWORK: _network(model, options)})
            return _alone(plan.origin, _open(plan, options, pool, read))
        except ModelFileError as error:
            place.reject(error)
    network = _network(model, options)
    session = backends.compile_model(
        network,
        backend,
        _compile_options(options, pool),
        pool=pool,
        check=Check(options.check, options.cache),
    )
    # Of other networks nothing is compiled yet.
    if place is not None and all(spec.is_static for spec in session.inputs):
        place.keep({NETWORK: session}, {NETWORK: network})
    return session


class _Asked(msgspec.Struct, frozen=True):
    """What `load` is asked for, beside the model."""

    options: LoadOptions
    task: str | None
    pool: Pool | None
    settings: Mapping[str, Any]


Networks = Callable[[], Mapping[str, "OnnxModel"]]


def _started(
    loaded: Loaded, asked: _Asked, networks: Networks | None = None, *, is_new: bool = False
) -> Pipeline[Any]:
    """A model that was found, compiled and ready to run.

    networks: of a plan that was kept, for shapes that it was not compiled for. is_new: whether nobody has
    told yet what was drafted.
    """
    # Of a model that does not run only the reason is told.
    check_read(loaded)
    kind = pipelines.of_card(loaded.card, asked.task)
    stated = task_settings(kind, loaded.card, asked.settings)
    if is_new or networks is not None:
        announce(loaded)
    with ExitStack() as opened:
        sessions = _sessions(loaded, asked, networks)
        for session in sessions.values():
            opened.enter_context(session)
        blob_wh = _blob_wh(loaded.card, next(iter(sessions.values())).inputs, asked.options)
        pipeline = kind(sessions, loaded.card, stated, imgsz=blob_wh)
        if asked.options.warmup:
            pipeline.warm_up()
        opened.pop_all()
    return pipeline


def _sessions(loaded: Loaded, asked: _Asked, networks: Networks | None) -> dict[str, Session[Any]]:
    """Of each network of a model, or of each stage of a plan."""
    options, pool = asked.options, asked.pool
    if loaded.plan is not None:
        return _open(loaded.plan, options, pool, networks)
    first = next(iter(loaded.networks))
    inputs = loaded.model.facts.inputs
    blob_wh = _blob_wh(loaded.card, inputs, options)
    shapes = _blob_shapes(loaded.card, inputs, blob_wh)
    with ExitStack() as opened:
        sessions = {}
        for stage, network in loaded.networks.items():
            sessions[stage] = opened.enter_context(
                backends.compile_model(
                    network,
                    options.backend,
                    _compile_options(options, pool),
                    shapes if stage == first else None,
                    pool=pool,
                    check=Check(
                        options.check, options.cache, _sample(loaded, blob_wh) if stage == first else None
                    ),
                )
            )
        opened.pop_all()
    return sessions


def _sample(loaded: Loaded, blob_wh: tuple[int, int]) -> Sample:
    """What the network that takes the frame is checked with: the blob of the card's golden frame, or of a
    generated one."""
    card, folder = loaded.card, loaded.folder
    stated = card.golden if folder is not None else None

    def make() -> Mapping[str, Any]:
        from edgecv.lookup import golden
        from edgecv.media.synthetic import synthetic_frame, synthetic_gray16

        if stated is not None and folder is not None:
            frame = golden.read(stated, folder)["frame"]
        else:
            frame = synthetic_gray16() if card.image_input.bits == 16 else synthetic_frame()
        return Fed.of(loaded.model.facts.inputs, card).sample(frame, blob_wh)

    return Sample(f"{'synthetic' if stated is None else stated.file.sha256} {blob_wh} {card.inputs!r}", make)


def _open(
    plan: Container, options: LoadOptions, pool: Pool | None, networks: Networks | None = None
) -> dict[str, Session[Any]]:
    asked = _compile_options(options, pool, most=planfile.threads_of(plan))
    network = None if networks is None else lambda stage: networks()[stage]
    return backends.open_container(plan, options.backend, asked, pool=pool, network=network)


def _alone(origin: str, sessions: Mapping[str, Session[Any]]) -> Session[Any]:
    """The only one of a plan's sessions. Raises InputError where there are several, and closes them."""
    if len(sessions) == 1:
        return next(iter(sessions.values()))
    for session in sessions.values():
        session.close()
    raise InputError(
        f"{origin}: a plan of {len(sessions)} networks ({', '.join(sessions)}), and one is wanted: "
        "edgecv.load runs it"
    )


def _network(model: str | PathLike | bytes, options: LoadOptions) -> OnnxModel:
    from pathlib import Path

    from edgecv import importers, zoo

    source = model if isinstance(model, bytes) else Path(model)
    if isinstance(source, Path) and not source.exists() and zoo.card_path(str(source)) is not None:
        raise ModelNotFoundError(f"{source}: no such file; there is a card of that name, for edgecv.load")
    return importers.read_model(source, None if options.weights is None else Path(options.weights))


def _place(
    model: str | PathLike | bytes,
    options: LoadOptions,
    pool: Pool | None,
    task: str | None = None,
    *,
    is_bare: bool = False,
) -> kept.Place | None:
    """Where what was compiled before is looked up; None for a plan, or without the cache."""
    if not options.cache or (not isinstance(model, bytes) and is_plan(model)):
        return None
    from edgecv import kept

    asked = _compile_options(options, pool)
    if is_bare:
        return kept.of_network(model, options, asked)
    return None if isinstance(model, bytes) else kept.of_model(model, options, asked, task)


def task_settings(kind: type[Pipeline[Any]], card: ModelCard, given: Mapping[str, Any]) -> Any:
    """The task's settings, everything stated. Raises InputError for those of other tasks."""
    stated = {name: value for name, value in given.items() if value is not None}
    for name in stated:
        if name in kind.Settings.__struct_fields__:
            continue
        if name not in pipelines.setting_names():
            raise TypeError(f"load() got an unexpected keyword argument {name!r}")
        # What is off is as good as not given.
        if stated[name] is not False:
            raise InputError(f"{name}: {card.name} is a model to {card.task}, which takes no {name}")
    own = {name: value for name, value in stated.items() if name in kind.Settings.__struct_fields__}
    return kind.Settings(**own).for_card(card)


def _compile_options(options: LoadOptions, pool: Pool | None, most: int | None = None) -> CompileOptions:
    """What backends are asked for. most: threads that there is work for."""
    threads = options.threads
    if pool is not None:
        if threads not in (None, pool.threads):
            raise InputError(f"threads: {threads} was asked for, and the pool has {pool.threads}")
        threads = pool.threads
    if threads is None:
        # Where the threads are given, nobody has to ask.
        from edgecv import machine

        budget = machine.cpu_budget()
        threads = budget if most is None else min(most, budget)
    return CompileOptions(options.device, threads, options.precision)


def _blob_shapes(card: ModelCard, inputs: Sequence[TensorSpec], blob_wh: tuple[int, int]) -> Shapes:
    """What the network that takes the frame is prepared for. Raises CardError where its inputs are not the
    card's."""
    return Fed.of(inputs, card).shapes(blob_wh)


def _blob_wh(card: ModelCard, inputs: Sequence[TensorSpec], options: LoadOptions) -> tuple[int, int]:
    """Width and height of the blob. Raises where the network's input is fixed at another size."""
    entry = card.image_input
    wanted = options.imgsz or entry.size_wh
    spec = next((spec for spec in inputs if spec.name == entry.name), None)
    # Of another input than the card's, whoever feeds it tells.
    is_known = spec is not None and len(spec.shape) == len(entry.layout)
    fixed = fixed_wh(entry.layout, spec.shape) if spec is not None and is_known else None
    if fixed is not None and fixed != tuple(wanted):
        if options.imgsz is not None:
            raise other_size(card, options.imgsz, fixed)
        raise CardError(
            f"{card.name}: `size_wh` of the card states {wanted[0]}x{wanted[1]}, and the network's input is "
            f"fixed at {fixed[0]}x{fixed[1]}"
        )
    return wanted[0], wanted[1]

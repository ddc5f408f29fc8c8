"""What a user names to a card and what runs it: the networks of a model's files, or a plan out of a file.

A plan needs neither the readers of networks nor ONNX, nor pathlib: they are imported when a network is read.
"""

from __future__ import annotations

import os

from edgecv import card as cards
from edgecv import container, planfile
from edgecv.arguments import check_model
from edgecv.card import ModelCard
from edgecv.errors import InputError, ModelFileError
from edgecv.lookup.loaded import CARD_SUFFIX, Loaded
from edgecv.options import LoadOptions

__all__ = ["CARD_SUFFIX", "Loaded", "announce", "check_read", "is_plan", "resolve"]


def resolve(
    model: str | os.PathLike[str],
    options: LoadOptions | None = None,
    *,
    plans: bool = False,
    task: str | None = None,
) -> Loaded:
    """Find the card and the networks of what a user names; see `load`.

    Which card: the one that is named; `<stem>.model.json` beside the file; the file's own metadata;
    else one drafted from what the files say, which must leave no doubt. options: of them weights, labels,
    mean and, where a file leaves its picture's size open, imgsz count here. task: what a model without a card
    is to do. plans: whether a plan will do, which brings its own card and no network; else it is an
    InputError.
    """
    options = options or LoadOptions()
    check_model(model)
    if not is_plan(model):
        from edgecv.lookup import files

        return files.resolve(
            model,
            options.weights,
            labels=options.labels,
            mean=options.mean,
            task=task,
            imgsz=options.imgsz,
        )
    if not plans:
        raise InputError(
            f"{model}: a plan of the simd engine, and a network is wanted here: name the one that it was "
            "compiled from"
        )
    for name in ("weights", "labels", "mean"):
        if getattr(options, name) is not None:
            raise InputError(
                f"{name}: {model} is a plan, which holds its weights and its card: compile it anew"
            )
    return _of_plan(os.fspath(model))


def is_plan(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a plan, by its name or by how the file begins."""
    suffix = os.path.splitext(os.path.normpath(path))[1]
    return suffix == container.SUFFIX or container.is_container(path)


def _of_plan(path: str) -> Loaded:
    plan = container.read(path)
    plan.expect(planfile.KIND)
    beside = os.path.splitext(path)[0] + CARD_SUFFIX
    text = planfile.card_of(plan)
    if text is not None:
        card = cards.parse(text, origin=f"{path}: {planfile.CARD}")
        if isinstance(card.labels, str):
            raise ModelFileError(
                f"{path}: {planfile.CARD}: `labels` names a file, and a plan holds its labels"
            )
    elif os.path.isfile(beside):
        from pathlib import Path

        card = cards.read(Path(beside))
    else:
        raise InputError(
            f"{path}: a plan without a card, since it is not known what its outputs mean: edgecv.compile "
            f"runs it; to detect or classify put a card beside it as {os.path.basename(beside)}"
        )
    told = planfile.Told() if text is None else planfile.told_by(plan)
    if not told.is_drafted:
        return Loaded(card, {}, None, plan=plan)
    from pathlib import Path

    return Loaded(
        card,
        {},
        None,
        (Path(path),),
        is_drafted=True,
        remarks=told.remarks,
        assumptions=told.assumptions,
        plan=plan,
    )


def check_read(loaded: Loaded) -> None:
    """Raise InputError for a drafted card of a network whose outputs could not be made out."""
    if loaded.card.task != "features" or not loaded.is_drafted:
        return
    source = loaded.paths[0]
    raise InputError(
        f"{source}: what its outputs mean cannot be read from its files: put a card beside it as "
        f"{source.stem}{CARD_SUFFIX} that states its task and its head; `edgecv convert` writes one to "
        "start from"
    )


def announce(loaded: Loaded) -> None:
    """Tell the log on what a drafted card rests: a warning where something was assumed."""
    if not loaded.is_drafted:
        return
    import logging

    log = logging.getLogger("edgecv")
    card, source = loaded.card, loaded.paths[0]
    is_plan = source.suffix == container.SUFFIX
    network = "the network that it was compiled from" if is_plan else "the network"
    log.log(
        logging.WARNING if loaded.assumptions else logging.INFO,
        "%s: no card, so one was drafted: head %s, input %s%s; `edgecv convert` writes such a card, and "
        "%s%s beside %s takes its place",
        source,
        card.head.type if card.head else "none",
        _described(card),
        "".join(f"; assumed: {line}" for line in loaded.assumptions),
        source.stem,
        CARD_SUFFIX,
        network,
    )
    for remark in loaded.remarks:
        log.info("%s: %s", source, remark)


def _described(card: ModelCard) -> str:
    entry = card.image_input
    scale = f"mean {_numbers(entry.mean) or 0}, std {_numbers(entry.std) or 1}"
    kind = "".join(
        f" {one}" for one, usual in ((entry.layout, "nchw"), (entry.dtype, "float32")) if one != usual
    )
    return f"{entry.size_wh[0]}x{entry.size_wh[1]}{kind} {entry.color} {entry.resize}, {scale}"


def _numbers(values: tuple[float, ...]) -> str:
    """The values, or the one that they all are."""
    return " ".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))

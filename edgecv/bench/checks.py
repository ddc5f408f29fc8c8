"""What is wrong with a benchmark whatever the backend, told before a worker starts."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edgecv import api, container, pipelines, planfile
from edgecv.bench.report import BenchConfig
from edgecv.errors import EdgeCVError, HeadError, InputError, UnavailableError
from edgecv.lookup import is_plan


def prepared(config: BenchConfig) -> BenchConfig:
    """The config with the models of which the network alone can be measured, in `alone`.

    Raises what `edgecv.load` would: for a model that is not right, and for settings of another task; of
    several models only where none is right, since each one's worker tells it in its row.
    """
    config.check()
    alone: list[str] = []
    errors: list[EdgeCVError | TypeError] = []
    for model in config.models:
        try:
            if model in config.alone or _is_alone(model, config):
                alone.append(model)
        except UnavailableError:
            # Each worker tells it, in the row of its backend.
            continue
        except (EdgeCVError, TypeError) as error:
            errors.append(error)
    if len(errors) == len(config.models):
        raise errors[0]
    _check_shapes(config, alone)
    return replace(config, alone=tuple(alone))


def _is_alone(model: str, config: BenchConfig) -> bool:
    """Whether nothing says what the outputs of a model's one network mean."""
    try:
        loaded = api.resolve(model, config.options, plans=True)
    except (HeadError, InputError) as error:
        if not isinstance(error, HeadError) and not _is_bare_plan(model):
            raise
        _refuse_settings(model, config)
        return True
    try:
        kind = pipelines.of_card(loaded.card)
    except InputError:
        if loaded.plan is None and len(loaded.networks) > 1:
            raise
        _refuse_settings(model, config)
        return True
    api.task_settings(kind, loaded.card, config.settings)
    return False


def _is_bare_plan(model: str) -> bool:
    return Path(model).is_file() and is_plan(model) and planfile.card_of(container.read(model)) is None


def _refuse_settings(model: str, config: BenchConfig) -> None:
    for name, value in config.settings.items():
        raise InputError(
            f"{name}: {value!r} was asked for, and nothing says what the outputs of {model} mean: its "
            "network is measured alone"
        )


def _check_shapes(config: BenchConfig, alone: list[str]) -> None:
    if config.shapes and not alone:
        raise InputError(
            "shape: of networks that are measured alone; of a model with a head --imgsz gives the size"
        )

"""What is wrong with a benchmark whatever the backend, told before a worker starts."""

from __future__ import annotations

from edgecv import api, kept, machine, pipelines
from edgecv.backends.base import CompileOptions
from edgecv.bench.report import BenchConfig
from edgecv.errors import EdgeCVError, InputError
from edgecv.lookup import is_plan
from edgecv.options import LoadOptions


def check_model(config: BenchConfig) -> None:
    """Raises what `edgecv.load` would: for a model that cannot be read, and for settings of another task."""
    config.check()
    card = api.resolve(config.model, config.options, plans=True).card
    kind = pipelines.of_card(card)
    for name in config.settings:
        if name not in kind.Settings.__struct_fields__:
            raise InputError(f"{name}: {card.name} is a model to {card.task}, which takes no {name}")
    kind.Settings(**config.settings).for_card(card)


def is_kept(model: str, options: LoadOptions) -> bool:
    """Whether `edgecv.load` would find the plan in the cache, as far as this process can tell."""
    if not options.cache or is_plan(model):
        return False
    try:
        asked = CompileOptions(options.device, options.threads or machine.cpu_budget(), options.precision)
        place = kept.of_model(model, options, asked)
        return place is not None and place.find() is not None
    except (EdgeCVError, OSError):
        return False

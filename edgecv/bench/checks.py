"""What is wrong with a benchmark whatever the backend, told before a worker starts."""

from __future__ import annotations

from edgecv import api, pipelines
from edgecv.bench.report import BenchConfig
from edgecv.errors import InputError, UnavailableError


def check_model(config: BenchConfig) -> None:
    """Raises what `edgecv.load` would: for a model that is not right, and for settings of another task."""
    config.check()
    try:
        card = api.resolve(config.model, config.options, plans=True).card
    except UnavailableError:
        # Each worker tells it, in the row of its backend.
        return
    kind = pipelines.of_card(card)
    for name in config.settings:
        if name not in kind.Settings.__struct_fields__:
            raise InputError(f"{name}: {card.name} is a model to {card.task}, which takes no {name}")
    kind.Settings(**config.settings).for_card(card)

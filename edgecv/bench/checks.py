"""What is wrong with a benchmark whatever the backend, told before a worker starts."""

from __future__ import annotations

from edgecv import api, pipelines
from edgecv.bench.report import BenchConfig
from edgecv.errors import UnavailableError


def check_model(config: BenchConfig) -> None:
    """Raises what `edgecv.load` would: for a model that is not right, and for settings of another task."""
    config.check()
    try:
        card = api.resolve(config.model, config.options, plans=True).card
    except UnavailableError:
        # Each worker tells it, in the row of its backend.
        return
    api.task_settings(pipelines.of_card(card), card, config.settings)

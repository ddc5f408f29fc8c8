"""Pipelines: frames in, results out, over sessions that are handed in; and the one list of them.

Each states its task, its settings, the cards that it accepts and its stages. A new one is a file, which names
its class as `PIPELINE`, and its line here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecv.arguments import told
from edgecv.errors import InputError
from edgecv.registry import Registry

if TYPE_CHECKING:
    from edgecv.card import ModelCard
    from edgecv.pipelines.base import Pipeline

# In the order in which a card is offered to them; those behind the one that takes it are not imported.
_MODULES = ("detector", "classifier", "region_proposal")


def _pipeline(module: str) -> type[Pipeline[Any]]:
    kind: type[Pipeline[Any]] = import_module(f"edgecv.pipelines.{module}").PIPELINE
    return kind


PIPELINES: MutableMapping[str, type[Pipeline[Any]]] = Registry(_MODULES, _pipeline)


def of_card(card: ModelCard, task: str | None = None) -> type[Pipeline[Any]]:
    """The pipeline that runs a card's models.

    task: the one that is wanted, None for whichever the card states. Raises InputError where no pipeline
    runs them, or they do another task.
    """
    kind = next((each for each in PIPELINES.values() if each.accepts(card)), None)
    if kind is None:
        raise InputError(f"{card.name}: a model for the task {card.task}, which this version does not run")
    if task is not None and task != card.task:
        known = sorted({each.TASK for each in PIPELINES.values()})
        if task not in known:
            raise InputError(f"task: expected {' or '.join(known)}, got {told(task)}")
        raise InputError(f"{card.name}: a model to {card.task}, not to {task}; `edgecv {card.task}` runs it")
    return kind


def setting_names() -> frozenset[str]:
    """Names of the settings of all tasks."""
    return frozenset(name for kind in PIPELINES.values() for name in kind.Settings.__struct_fields__)

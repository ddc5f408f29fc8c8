"""Which category of a dataset a model's class is."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import Category, Dataset

log = logging.getLogger("edgecv")


@dataclass(frozen=True, eq=False)
class ClassMap:
    """From a model's class index to the dataset's category.

    category_id: int64 (classes,), -1 for a class that the dataset lacks. categories: those that the
    model has, rising by id; only they are evaluated. basis: how they were paired.
    """

    category_id: NDArray[np.int64]
    categories: tuple[Category, ...]
    basis: Literal["name", "order"]


def map_classes(names: Sequence[str], dataset: Dataset, count: int | None = None) -> ClassMap:
    """Pair a model's classes with a dataset's categories.

    By name, without regard to case, spaces and punctuation, when all the model's names or all the
    dataset's are found in the other; else by order when there are as many of each, the i-th class being
    the i-th category by id, unless a name says otherwise. Raises DatasetError that lists the names.

    names: by class index; empty when the model has none, which leaves the order. count: of a model's
    classes, where it is known without names.
    """
    categories = dataset.categories
    if not names and count not in (None, len(categories)):
        raise DatasetError(
            f"classes: the model has {count} and no names for them, {dataset.source} has {len(categories)}: "
            "give the model its names, --labels FILE"
        )
    by_name = {_normal(category.name): category for category in categories}
    keys = [_normal(name) for name in names]
    unique = len(by_name) == len(categories) and len(set(keys)) == len(keys)
    found = [by_name.get(key) for key in keys]
    if names and unique and (None not in found or by_name.keys() <= set(keys)):
        return _named(found)
    if not names or len(names) == len(categories):
        _check_order(names, found if unique else [], categories)
        pairs = zip(names, categories, strict=False)
        differing = [
            f"{name} = {other.name}" for name, other in pairs if _normal(name) != _normal(other.name)
        ]
        if differing:
            log.warning("classes paired by order, not by name: %s", _shortened(differing))
        return ClassMap(np.array([category.id for category in categories]), categories, "order")
    raise DatasetError(_mismatch(names, keys, dataset))


def _normal(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded


def _named(found: Sequence[Category | None]) -> ClassMap:
    ids = np.array([-1 if category is None else category.id for category in found], np.int64)
    kept = {category.id: category for category in found if category is not None}
    return ClassMap(ids, tuple(kept[number] for number in sorted(kept)), "name")


def _check_order(
    names: Sequence[str], found: Sequence[Category | None], categories: Sequence[Category]
) -> None:
    for i, category in enumerate(found):
        if category is not None and category != categories[i]:
            raise DatasetError(
                f"classes: the model's class {i} is {names[i]!r}, which is the dataset's category "
                f"{category.id}; by order it would be {categories[i].name!r}, and not all names are "
                "known to both: give the model the dataset's names"
            )


def _mismatch(names: Sequence[str], keys: Sequence[str], dataset: Dataset) -> str:
    known = {_normal(category.name) for category in dataset.categories}
    only_model = [name for name, key in zip(names, keys, strict=True) if key not in known]
    only_data = [c.name for c in dataset.categories if _normal(c.name) not in set(keys)]
    return (
        f"classes: the model has {len(names)}, {dataset.source} has {len(dataset.categories)}, and they "
        f"do not agree by name; only in the model: {_shortened(only_model)}; only in the dataset: "
        f"{_shortened(only_data)}"
    )


def _shortened(names: Sequence[str], most: int = 10) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

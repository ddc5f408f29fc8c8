"""Pairing a model's classes with a dataset's categories."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edgecv.errors import DatasetError
from edgecv.evaluate import Annotations, Category, Dataset, map_classes

NONE = Annotations(
    image_id=np.zeros(0, np.int64),
    category_id=np.zeros(0, np.int64),
    xywh=np.zeros((0, 4)),
    area=None,
    is_crowd=np.zeros(0, np.bool_),
)


def dataset(**categories: int) -> Dataset:
    """A dataset of these categories; `_` in a name stands for a blank."""
    entries = [Category(number, name.replace("_", " ")) for name, number in categories.items()]
    return Dataset(
        source=Path("data"),
        format="coco",
        images=(),
        categories=tuple(sorted(entries, key=lambda entry: entry.id)),
        annotations=NONE,
        units="pixels",
    )


PAIRED = [
    pytest.param(["cat", "dog"], {"cat": 3, "dog": 9}, [3, 9], "name", id="same names"),
    pytest.param(["dog", "cat"], {"cat": 3, "dog": 9}, [9, 3], "name", id="another order"),
    pytest.param(
        ["Hot-Dog", "TENNISracket"],
        {"hot_dog": 1, "tennis_racket": 2},
        [1, 2],
        "name",
        id="case, blanks and punctuation",
    ),
    pytest.param(["cat", "dog", "cow"], {"dog": 1}, [-1, 1, -1], "name", id="dataset is a subset"),
    pytest.param(["dog"], {"cat": 1, "dog": 2, "cow": 3}, [2], "name", id="model is a subset"),
    pytest.param(["aeroplane", "dog"], {"airplane": 5, "dog": 7}, [5, 7], "order", id="a synonym"),
    pytest.param(["0", "1"], {"cat": 5, "dog": 7}, [5, 7], "order", id="numbers as names"),
    pytest.param([], {"cat": 5, "dog": 7}, [5, 7], "order", id="no names"),
    pytest.param(["a", "a"], {"cat": 5, "dog": 7}, [5, 7], "order", id="names that repeat"),
    pytest.param(["!", "?"], {"?": 1, "!": 2}, [2, 1], "name", id="punctuation alone"),
    pytest.param(["ﬁre", "Straße"], {"fire": 1, "STRASSE": 2}, [1, 2], "name", id="unicode"),
]


@pytest.mark.parametrize(("names", "categories", "ids", "basis"), PAIRED)
def test_pairs(names: list[str], categories: dict[str, int], ids: list[int], basis: str) -> None:
    mapping = map_classes(names, dataset(**categories))
    assert mapping.category_id.tolist() == ids
    assert mapping.basis == basis
    assert [category.id for category in mapping.categories] == sorted(set(ids) - {-1})


REFUSED = [
    pytest.param(["cat", "cow", "hen"], {"cat": 1, "dog": 2}, "cow, hen; .*dataset: dog", id="partly"),
    pytest.param(["cat"], {"pear": 1, "apple": 2}, "model: cat; .*: pear, apple", id="not at all"),
    pytest.param(
        ["dog", "aeroplane"], {"airplane": 1, "dog": 2}, "class 0 is 'dog'", id="order contradicted"
    ),
    pytest.param([f"c{i}" for i in range(30)], {"x": 1}, "c9 and 20 more", id="many"),
]


@pytest.mark.parametrize(("names", "categories", "text"), REFUSED)
def test_a_mismatch_lists_the_names(names: list[str], categories: dict[str, int], text: str) -> None:
    with pytest.raises(DatasetError, match=text):
        map_classes(names, dataset(**categories))


def test_classes_without_names_are_counted() -> None:
    assert map_classes([], dataset(cat=1, dog=2), 2).basis == "order"
    with pytest.raises(DatasetError, match="the model has 20 and no names for them, data has 2: give"):
        map_classes([], dataset(cat=1, dog=2), 20)


def test_pairs_by_order_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgecv"):
        map_classes(["cat", "dog"], dataset(cat=1, dog=2))
        assert not caplog.messages
        map_classes(["aeroplane", "dog"], dataset(airplane=1, dog=2))
    assert caplog.messages == ["classes paired by order, not by name: aeroplane = airplane"]

"""docs/models.md says what the tables of the tests say, and these leave nothing out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from edgecv import heads, zoo
from edgecv.heads import classify
from tests.heads import (
    families,
    test_anchors_recognition,
    test_boxes_recognition,
    test_cards_on_photos,
    test_distances_recognition,
    test_exports_recognition,
    test_head_recognition,
    test_masks_recognition,
)
from tests.heads.families import FAMILIES, Compared, Family
from tools import write_models

TABLES = (
    test_head_recognition.ONE_HEAD,
    test_boxes_recognition.ONE,
    test_distances_recognition.ONE,
    test_anchors_recognition.RECOGNIZED,
    test_masks_recognition.ONE,
    test_exports_recognition.ONE,
)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_the_page_is_current() -> None:
    assert write_models.PAGE.read_text("utf-8") == write_models.text(), "run: python tools/write_models.py"


def test_no_id_of_a_file_is_given_twice() -> None:
    # And the one that is in no table.
    assert len(families.BARE) == sum(map(len, TABLES)) + 1


def test_every_case_of_plain_loops_is_of_a_family() -> None:
    assert {id for family in FAMILIES for id in family.cases} == set(families.BY_ID)


def test_every_brand_is_of_a_family() -> None:
    def read(ids: set[str]) -> set[tuple[str, str]]:
        return {(one.brand, one.type) for one in map(families.reading_of, ids)}

    assert read({id for family in FAMILIES for id in family.bare}) == read(set(families.BARE))


def test_every_decoding_of_boxes_is_of_a_family() -> None:
    assert {families.decoding(family) for family in FAMILIES} == set(heads.HEADS) - {classify.TYPE}


@each_family
def test_what_reads_a_family_is_one_decoding(family: Family) -> None:
    assert family.cases or family.compared
    assert {
        heads.params_from({"type": families.BY_ID[id].type, **families.BY_ID[id].params})[0].TYPE
        for id in family.cases
    } <= {families.decoding(family)}


@each_family
def test_cards_are_those_that_photos_are_tried_on(family: Family) -> None:
    assert bool(family.card) == (Compared.PHOTOS in family.compared)
    if family.card:
        assert family.card in test_cards_on_photos.LITERAL
        head = zoo.find(family.card).card.head
        assert head is not None
        assert head.type == families.decoding(family)


@pytest.mark.parametrize("compared", Compared, ids=lambda one: one.name)
def test_what_compares_exists(compared: Compared) -> None:
    file, _, name = compared.test.partition("::")
    assert (Path(write_models.ROOT) / file).is_file()
    assert callable(getattr(import_module(file.removesuffix(".py").replace("/", ".")), name))
    assert any(compared in family.compared for family in FAMILIES)

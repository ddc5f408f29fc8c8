"""Refs: a storage and an address in one number, alone and in arrays."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.engine import refs
from tests.conftest import ROOT

STORAGES, ADDRESSES = st.integers(0, (1 << 15) - 1), st.integers(0, (1 << 48) - 1)


@given(STORAGES, ADDRESSES)
def test_a_ref_is_taken_apart_again(storage: int, address: int) -> None:
    ref = refs.ref_to(storage, address)
    assert (refs.storage_of(ref), refs.address_of(ref)) == (storage, address)
    assert -(1 << 63) <= ref < 1 << 63


@given(st.lists(st.tuples(STORAGES, ADDRESSES), min_size=1))
def test_arrays_are_as_their_items(pairs: list[tuple[int, int]]) -> None:
    array = np.array([refs.ref_to(*pair) for pair in pairs], np.int64)
    assert refs.storage_of(array).tolist() == [storage for storage, _ in pairs]
    assert refs.address_of(array).tolist() == [address for _, address in pairs]
    assert refs.storages_of(array) == sorted({storage for storage, _ in pairs})


def test_distances_are_in_elements() -> None:
    start = refs.ref_to(3, 64)
    assert refs.moved(start, 5) == refs.ref_to(3, 84)
    assert refs.moved(start, -2, 8) == refs.ref_to(3, 48)
    assert refs.floats_between(start, refs.moved(start, 7)) == 7
    assert refs.moved(start, np.array([0, 2])).tolist() == [start, refs.ref_to(3, 72)]


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_lanes_of_vectors(lanes: int) -> None:
    start = refs.ref_to(2, 640)
    floats = refs.walk(start, (3 * lanes,), (1,))
    vectors, lane = refs.in_lanes(floats, lanes)
    assert vectors.tolist() == np.repeat(refs.walk(start, (3,), (lanes,)), lanes).tolist()
    assert lane.tolist() == list(range(lanes)) * 3


def test_a_walk_is_numpys() -> None:
    """Strides of any sign, as those of a view of an array."""
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    view = array[::-1, :, 1::2].transpose(1, 0, 2)
    strides = [stride // array.itemsize for stride in view.strides]
    start = refs.ref_to(7, int(view[0, 0, 0]) * array.itemsize)
    found = refs.walk(start, view.shape, strides, array.itemsize)
    assert (refs.address_of(found) // array.itemsize).tolist() == view.tolist()
    assert refs.storages_of(found) == [7]
    assert refs.walk(start, (), ()).tolist() == start


def test_nobody_else_shifts_by_the_bits_of_an_address() -> None:
    """What is in a Ref is told in one module."""
    found = []
    for path in (ROOT / "edgecv").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_shift = isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.RShift)
            if is_shift and isinstance(node.right, ast.Constant) and node.right.value == refs.ADDRESS_BITS:
                found.append(path)
    assert found == []

"""Refs. A storage is memory, an address is an offset in one in bytes, a Ref is both in an int64.

`ext/simd/refs.h` is the native side. While a program is put together, its Refs name storages by their number;
once it is finished they name slots, the memory that a run works with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
# One Ref, or an array of them.
Some = TypeVar("Some", int, Ints)

ADDRESS_BITS = 48
FLOAT_BYTES = 4
# The Ref that names nothing.
NOWHERE = 0
# The slots of every program; inputs, then outputs, then the strips of bands follow.
CONSTANTS, STATE, ARENA, WEIGHTS, FIRST_INPUT = range(1, 6)


def ref_to(storage: int, address: int = 0) -> int:
    """The Ref of an address in a storage or a slot, by its number."""
    return storage << ADDRESS_BITS | address


def storage_of(ref: Some) -> Some:
    """The number of the storage or the slot."""
    return ref >> ADDRESS_BITS


def address_of(ref: Some) -> Some:
    """The offset in the storage, in bytes."""
    return ref & ((1 << ADDRESS_BITS) - 1)


def storages_of(refs: Ints) -> list[int]:
    """The numbers of all storages that are named, each once, in order."""
    found: list[int] = np.unique(storage_of(refs)).tolist()
    return found


def moved(ref: Some, elements: Some | int, size: int = FLOAT_BYTES) -> Some:
    """So many elements of `size` bytes further, or back."""
    return ref + elements * size


def floats_between(start: Some, end: Some) -> Some:
    """How many floats `end` is further than `start`, in one storage."""
    return (end - start) // FLOAT_BYTES


def in_lanes(refs: Ints, lanes: int) -> tuple[Ints, Ints]:
    """Where the vectors of `lanes` floats start that Refs point into, and the lane of each Ref."""
    within = refs % (lanes * FLOAT_BYTES)
    return refs - within, within // FLOAT_BYTES


def walk(start: int, shape: Sequence[int], strides: Sequence[int], size: int = FLOAT_BYTES) -> Ints:
    """The Ref of each element of a tensor. strides: of each axis, in elements of `size` bytes."""
    refs = np.full(tuple(shape), start, np.int64)
    for axis, (n, stride) in enumerate(zip(shape, strides, strict=True)):
        steps = np.arange(n, dtype=np.int64) * stride * size
        refs += steps.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return refs

"""The measure of memory that tests stand on: it sees a small leak, and only a leak."""

from __future__ import annotations

import mmap

import pytest

from tests import growth
from tests.allocation import allocated_bytes

KEPT: list[object] = []


def still(number: int) -> None:
    """Keeps nothing, but for megabytes once, long after the start."""
    if number == growth.WARM_UP + growth.ROUND // 2:
        KEPT.append(b"\1" * (10 << 20))


def leaking(number: int) -> None:
    """Keeps 300 bytes, for which there is room between what was there before."""
    if number == 0:
        KEPT.extend(bytes(300) for _ in range(100_000))
        del KEPT[::2]
    KEPT.append(bytes(300))


def leaking_pages(number: int) -> None:
    """Keeps a page that is not of malloc's."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    page[0] = 1
    KEPT.append(page)


def growth_of(name: str) -> int:
    step: growth.Step = globals()[name]
    return growth.least_growth(step)


@pytest.mark.alone
@pytest.mark.parametrize(("name", "leaks"), [("still", False), ("leaking", True), ("leaking_pages", True)])
def test_growth(name: str, leaks: bool) -> None:
    if name == "leaking":
        allocated_bytes()  # skips where malloc keeps no account
    assert (growth.in_own_process(growth_of, name) >= growth.LEAK) == leaks

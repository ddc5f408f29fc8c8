"""Columns of a table of predictions, one row a place where the network looks: which of them say what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

Role = Literal["box", "objectness", "classes", "keypoints", "angle", "masks"]
Roles = Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]


def check(columns: Sequence[str]) -> None:
    """Raise ValueError unless there is a box, and no role twice."""
    if "box" not in columns:
        raise ValueError(f"`columns` has no box: {', '.join(columns)}")
    twice = [role for i, role in enumerate(columns) if role in columns[:i]]
    if twice:
        raise ValueError(f"`columns` has {twice[0]} twice")


def least(columns: Sequence[str], sizes: Mapping[str, int | None]) -> tuple[int, bool]:
    """How many columns there are at least, and whether there may be more. sizes: as of `split`."""
    known = [sizes[role] for role in columns]
    return sum(1 if size is None else size for size in known), None in known


def split(columns: Sequence[str], sizes: Mapping[str, int | None], width: int) -> dict[str, slice]:
    """The columns of each role, in a table of `width` columns.

    sizes: how many columns each role has; one of them None, what the others leave. `least` says whether they
    fit the width.
    """
    rest = width - sum(sizes[role] or 0 for role in columns)
    slices, start = {}, 0
    for role in columns:
        size = sizes[role]
        stop = start + (rest if size is None else size)
        slices[role] = slice(start, stop)
        start = stop
    return slices

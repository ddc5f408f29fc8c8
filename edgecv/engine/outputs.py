"""What a plan gives out; in a module of its own, since sessions of plans out of files need nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np


class Output(msgspec.Struct, frozen=True):
    """An output of a plan. shape: of the array that a run writes.

    rows: index among the plan's outputs of an int64 that tells how many rows of this one are results; None
    where all of them are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int | None = None

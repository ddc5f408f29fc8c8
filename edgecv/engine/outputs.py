"""What a plan gives out; in a module of its own, since sessions of plans out of files need nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Output(msgspec.Struct, frozen=True):
    """An output of a plan. shape: of the array that a run writes.

    rows: index among the plan's outputs of an int64 that tells how many entries of `axis` are results; None
    where all of them are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int | None = None
    axis: int = 0

    @property
    def declared(self) -> tuple[int | None, ...]:
        """The shape, None for the size that data decide."""
        return tuple(
            None if self.rows is not None and i == self.axis else n for i, n in enumerate(self.shape)
        )

    def cut(self, arrays: Sequence[NDArray[Any]], index: int) -> NDArray[Any]:
        """The results in this output, number `index` of the arrays of all that a run wrote."""
        array = arrays[index]
        if self.rows is None:
            return array
        return array[(slice(None),) * self.axis + (slice(max(int(arrays[self.rows][0]), 0)),)]

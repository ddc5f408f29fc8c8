"""Packed weights that the plans of one model share, whatever shapes they are for."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.engine.arena import ALIGNMENT

# Smaller arrays stay with their program: most are tables, which differ from shape to shape.
SHARED_BYTES = 4096


class Weights:
    """Arrays side by side, each once. The first program fills it; later ones find theirs or keep them."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._arrays: list[tuple[int, NDArray[Any]]] = []
        self._data: NDArray[np.uint8] | None = None
        self._end = 0

    def offset_of(self, array: NDArray[Any]) -> int | None:
        """Where the array lies, bytes; None for one that is new after the first program was finished."""
        key = hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16).digest()
        if key in self._offsets or self._data is not None:
            return self._offsets.get(key)
        self._offsets[key] = offset = self._end
        self._arrays.append((offset, array))
        self._end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        return offset

    def data(self) -> NDArray[np.uint8]:
        """All of it, 64-byte aligned; nothing is added from now on."""
        if self._data is None:
            room = np.zeros(self._end + ALIGNMENT, np.uint8)
            start = -room.ctypes.data % ALIGNMENT
            self._data = room[start : start + self._end]
            for offset, array in self._arrays:
                self._data[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
            self._arrays.clear()
        return self._data

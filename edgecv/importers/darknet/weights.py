"""Darknet's weights: a header of three version numbers and a count of seen pictures, then float32 numbers.

The count has 64 bits from version 0.2 on and 32 before. The oldest files have no version: they start with
learning rate, momentum and decay as float32, which read as version numbers are over 1000; their
fully connected weights are stored transposed (`load_weights_upto` of pjreddie/darknet, parser.c).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from edgecv.errors import ModelFileError, ModelNotFoundError
from edgecv.graph.model import MAX_MODEL_BYTES
from edgecv.types import FloatArray

_LARGEST_VERSION = 1000
# No network was trained with a learning rate, momentum or decay over it.
_LARGEST_RATE = 100.0


class Weights:
    """The numbers of a weights file, in its order.

    numbers: float32 (n,), read-only. tail: bytes after the last whole number. is_transposed: whether
    fully connected weights are stored input by output.
    """

    def __init__(self, numbers: FloatArray, tail: int, is_transposed: bool) -> None:
        self.numbers = numbers
        self.tail = tail
        self.is_transposed = is_transposed


def read_weights(path: Path) -> Weights:
    """Read the whole file once. Raises ModelNotFoundError, or ModelFileError for another kind of file."""
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file")
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelFileError(f"{path}: {size} bytes, over the 2 GB that one ONNX message can hold")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse(data, origin=str(path))


def parse(data: bytes, *, origin: str) -> Weights:
    """The weights in the bytes of a file, which are not copied; see `read_weights`."""
    if len(data) < 12:
        raise ModelFileError(
            f"{origin}: not Darknet weights: {len(data)} bytes, and the header alone has 16 or 20"
        )
    major, minor, revision = struct.unpack_from("<3i", data)
    without_version = major > _LARGEST_VERSION or minor > _LARGEST_VERSION
    if without_version:
        rates = np.frombuffer(data, "<f4", 3)
        is_header = bool(np.all(np.isfinite(rates) & (rates >= 0) & (rates <= _LARGEST_RATE)))
    else:
        is_header = min(major, minor, revision) >= 0
    if not is_header:
        raise ModelFileError(
            f"{origin}: not Darknet weights, or damaged: its header says version {major}.{minor}.{revision}"
        )
    header = 20 if not without_version and major * 10 + minor >= 2 else 16
    if len(data) < header:
        raise ModelFileError(f"{origin}: cut short in its header: {len(data)} bytes of {header}")
    count, tail = divmod(len(data) - header, 4)
    numbers = np.frombuffer(data, "<f4", count, header).astype(np.float32, copy=False)
    return Weights(numbers, tail, without_version)

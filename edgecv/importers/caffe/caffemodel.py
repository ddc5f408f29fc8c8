"""Caffe's binary files: the weights of a network by layer, and mean images.

Of the formats that a caffemodel can have, only what holds weights is read: the layers of today, of V1
and of V0, with floats as one run of bytes or a field each, as doubles, or in NVIDIA's half precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgecv.errors import ModelFileError
from edgecv.graph.model import MAX_MODEL_BYTES
from edgecv.importers.caffe.prototxt import MAX_AXES
from edgecv.importers.caffe.schema import weights_types
from edgecv.types import FloatArray

MAX_MEAN_BYTES = 256 << 20

# `raw_data_type` of NVIDIA's fork.
_RAW_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f8"), 1: np.dtype("<f4"), 2: np.dtype("<f2")}
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Blob:
    """values: float32 (n,), read-only. shape: as the file states it, of n values in all."""

    values: FloatArray
    shape: tuple[int, ...]


class Weights:
    """The blobs of a caffemodel. origin: its path, for messages."""

    def __init__(self, origin: str, blobs: dict[str, tuple[Blob, ...]]) -> None:
        self.origin = origin
        self._blobs = blobs

    def blobs(self, layer: str) -> tuple[Blob, ...]:
        """Of the layer of that name, in their order; none for a layer without weights."""
        return self._blobs.get(layer, ())

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that have weights."""
        return tuple(self._blobs)


def read_weights(path: Path) -> Weights:
    """Parse a caffemodel. Raises ModelFileError that names the file, and the layer where it is one."""
    blobs = _layers_of(path, packed=True)
    if blobs is None:
        blobs = _layers_of(path, packed=False)
    return Weights(str(path), blobs or {})


def read_mean(path: Path) -> NDArray[np.float32]:
    """A mean image of Caffe's tools, (channels, height, width). Raises ModelFileError."""
    for packed in (True, False):
        message = _parse(weights_types(packed)[1], path, MAX_MEAN_BYTES)
        blob = _blob(message, packed, f"{path}: mean")
        if blob is not None:
            shape = (1,) * (4 - len(blob.shape)) + blob.shape
            if len(shape) != 4 or shape[0] != 1 or not blob.values.size:
                raise ModelFileError(f"{path}: expected one image, got a blob of shape {blob.shape}")
            return blob.values.reshape(shape[1:])
    raise ModelFileError(f"{path}: a mean image whose values do not fit its shape: a damaged file?")


def _parse(kind: Any, path: Path, most: int) -> Any:
    """A message of that type. The file's bytes are not kept: what is taken from the message is a copy."""
    try:
        size = path.stat().st_size
        if size > most:
            raise ModelFileError(f"{path}: {size} bytes, over the {most} that such a file can hold")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data.startswith(_HDF5):
        raise ModelFileError(
            f"{path}: weights in HDF5: save them as a caffemodel with Caffe (snapshot_format: BINARYPROTO)"
        )
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ModelFileError(
            f"{path}: not a binary file of Caffe, or a damaged one ({size} bytes): "
            "get the file again and compare its size and checksum"
        ) from error
    return message


def _layers_of(path: Path, *, packed: bool) -> dict[str, tuple[Blob, ...]] | None:
    """The blobs by layer; None where the floats are not laid out as `packed` says."""
    message = _parse(weights_types(packed)[0], path, MAX_MODEL_BYTES)
    if not message.layer and not message.layers:
        raise ModelFileError(f"{path}: no layer in it: not a caffemodel")
    found: dict[str, tuple[Blob, ...]] = {}
    for layer in (*message.layers, *message.layer):
        # The first format keeps a layer's name and weights one level further down.
        inner = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and not layer.blobs else layer
        name = (inner.name or layer.name).decode("utf-8", errors="replace")
        blobs = []
        for number, each in enumerate(inner.blobs):
            blob = _blob(each, packed, f"{path}: layer {name!r}: blob {number}")
            if blob is None:
                return None
            blobs.append(blob)
        if blobs:
            found[name] = tuple(blobs)
    return found


def _blob(message: Any, packed: bool, what: str) -> Blob | None:
    """Its values and shape; None where they do not fit and the other layout may have been meant."""
    values = _values(message, packed, what)
    if message.HasField("shape"):
        shape = tuple(message.shape.dim)
    elif any(message.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = (message.num, message.channels, message.height, message.width)
    else:
        shape = (values.size,)
    if values.size != _count(shape) or (packed and not values.size):
        if packed:
            return None
        raise ModelFileError(f"{what}: {values.size} values for a shape of {shape[:8]}: a damaged file?")
    return Blob(values, shape)


def _count(shape: tuple[int, ...]) -> int:
    """How many values a shape holds; -1 for one that no blob can have."""
    count = 1
    for size in shape[: MAX_AXES + 1]:
        count *= size
    return -1 if len(shape) > MAX_AXES or any(size < 0 for size in shape) else count


def _values(message: Any, packed: bool, what: str) -> FloatArray:
    # Each look at a field of bytes copies it.
    if raw := message.raw_data:
        kind = _RAW_DTYPES.get(message.raw_data_type)
        if kind is None or len(raw) % kind.itemsize:
            raise ModelFileError(f"{what}: {len(raw)} bytes of type {message.raw_data_type}")
        return np.frombuffer(raw, kind).astype(np.float32, copy=False)
    data = message.data
    dtype: np.dtype[Any] = np.dtype("<f4" if data else "<f8")
    data = data or message.double_data
    with np.errstate(over="ignore"):
        if not packed:
            return np.array(data, dtype).astype(np.float32, copy=False)
        if len(data) % dtype.itemsize:
            return np.zeros(0, np.float32)
        return np.frombuffer(data, dtype).astype(np.float32, copy=False)

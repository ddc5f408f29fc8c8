"""Weights of an ONNX network that lie in files beside it.

Where they lie is said by a file that others wrote, so that only a plain name in the model's own folder is
followed: not `..`, and no path from the root. A link that lies there under that name is followed wherever it
leads, since who keeps the folder has put it there (caches of downloads are made of such links), but only to a
file: a device or a pipe is refused before it is opened.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgecv.errors import ModelFileError

if TYPE_CHECKING:
    from onnx import TensorProto

# Of types whose numbers share bytes.
_SHARING_BITS = {
    getattr(onnx.TensorProto, name): bits
    for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
    if hasattr(onnx.TensorProto, name)
}


def load(tensors: Iterable[TensorProto], origin: str, folders: Sequence[Path]) -> None:
    """Bring the numbers of these tensors into the model.

    folders: where their files may lie, looked at in order. Raises ModelFileError for a place outside of them,
    a file that is missing or none, and numbers that it does not hold.
    """
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if not folders:
            raise ModelFileError(
                f"{origin}: weights lie in another file ({location!r}), which bytes in memory cannot name: "
                "give the model's path"
            )
        path = _file(location, origin, folders)
        try:
            offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
        except ValueError as error:
            raise ModelFileError(f"{origin}: damaged reference to weights in {location!r}") from error
        what = f"{origin}: {tensor.name!r}"
        tensor.raw_data = _read(path, location, offset, length, _size(tensor, what), what)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _file(location: str, origin: str, folders: Sequence[Path]) -> Path:
    """The file of a location, which is relative and uses forward slashes."""
    parts = location.split("/")
    if not parts[0] or ".." in parts or "\\" in location or "\0" in location:
        raise ModelFileError(f"{origin}: weights in {location!r} lie outside the model's folder: refused")
    for folder in folders:
        path = folder / location
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            # Not there, a link that leads nowhere or in a ring, or a name that no file can have.
            continue
        if not stat.S_ISREG(mode):
            raise ModelFileError(f"{origin}: weights in {location!r}: expected a file, got what is none")
        return path
    raise ModelFileError(f"{origin}: weights in {location!r} are missing beside the model")


def _size(tensor: TensorProto, what: str) -> int:
    """Bytes that the numbers take."""
    is_known = tensor.data_type in onnx.helper.get_all_tensor_dtypes()
    if not is_known or tensor.data_type == onnx.TensorProto.STRING or any(n < 0 for n in tensor.dims):
        raise ModelFileError(f"{what}: expected a known type of numbers and sizes, to be read from a file")
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    bits: int = _SHARING_BITS.get(tensor.data_type, 8 * itemsize)
    return int(-(-math.prod(tensor.dims) * bits // 8))


def _read(path: Path, location: str, offset: int, length: int, needed: int, what: str) -> bytes:
    """length: 0 for all that is needed."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            end = offset + max(length, needed)
            if offset < 0 or length < 0 or end > size:
                raise ModelFileError(f"{what} reaches byte {end} of {location!r}, which has {size}")
            if length not in (0, needed):
                raise ModelFileError(
                    f"{what} takes {needed} bytes, and {length} of {location!r} are named: a damaged "
                    "reference"
                )
            file.seek(offset)
            return file.read(needed)
    except OSError as error:
        raise ModelFileError(f"{what}: {path}: cannot be read: {error.strerror or error}") from error

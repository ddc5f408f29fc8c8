"""The golden tensors of a card: a frame, and what the network makes of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv import zoo
from edgecv.card import Golden
from edgecv.errors import CardError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_GOLDEN_BYTES = 64 << 20


def read(golden: Golden, folder: Path) -> dict[str, NDArray[Any]]:
    """The tensors by name, as `card.Golden` lists them. Raises CardError."""
    path = folder / golden.file.path
    if golden.file.bytes > MAX_GOLDEN_BYTES:
        raise CardError(f"{path}: golden tensors are at most {MAX_GOLDEN_BYTES >> 20} MB")
    located = zoo.locate(golden.file, folder)
    if located is None:
        raise CardError(f"{path}: the golden tensors that the card names are missing")
    try:
        data = located.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_GOLDEN_BYTES:
                raise CardError(f"{path}: golden tensors unpack to over {MAX_GOLDEN_BYTES >> 20} MB")
        with np.load(io.BytesIO(data), allow_pickle=False) as tensors:
            read = {name: tensors[name] for name in tensors.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CardError(f"{path}: not golden tensors: {error}") from error
    if "frame" not in read:
        raise CardError(f"{path}: golden tensors without a frame")
    return read

"""What is subtracted from a picture: numbers, or a mean image of Caffe's or NumPy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.importers.caffe.caffemodel import MAX_MEAN_BYTES, read_mean

Mean = Path | tuple[float, ...]
"""A file (*.npy, else a binaryproto of Caffe), or a number for all channels or one each, in their order."""


def channel_mean(mean: Mean, channels: int) -> tuple[tuple[float, ...], list[str]]:
    """One number a channel, and remarks.

    Raises ModelNotFoundError, ModelFileError for a file that is none, InputError for numbers that do not
    fit the channels.
    """
    if not isinstance(mean, Path):
        if len(mean) not in (1, channels):
            raise InputError(f"mean: {len(mean)} values for {channels} channels: expected 1 or {channels}")
        return tuple(mean) * (channels // len(mean)), []
    if not mean.is_file():
        raise ModelNotFoundError(f"mean: {mean}: no such file")
    image = _read_npy(mean) if mean.suffix.lower() == ".npy" else read_mean(mean)
    if image.shape[0] != channels:
        raise InputError(f"mean: {mean}: an image of {image.shape[0]} channels, the network takes {channels}")
    values = image.reshape(channels, -1).mean(axis=1, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ModelFileError(f"{mean}: a mean image with values that are not numbers: a damaged file?")
    remarks = []
    if image.size > channels:
        remarks.append(f"mean: the mean image {mean.name} is taken as one number a channel")
    return tuple(float(f"{value:.7g}") for value in values), remarks


def _read_npy(path: Path) -> NDArray[Any]:
    """(channels,) or (channels, height, width); a batch axis of 1 is left out."""
    try:
        if path.stat().st_size > MAX_MEAN_BYTES:
            raise ModelFileError(f"{path}: over {MAX_MEAN_BYTES >> 20} MB: not a mean image")
        # Mapped: the header alone can name a size that no file has.
        image = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError) as error:
        raise ModelFileError(f"{path}: not an array of NumPy's: {str(error).splitlines()[0]}") from error
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "fiu" or not image.size:
        raise ModelFileError(f"{path}: expected one array of numbers")
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    if image.ndim not in (1, 3):
        raise ModelFileError(f"{path}: expected (channels, height, width) or (channels,), got {image.shape}")
    return image

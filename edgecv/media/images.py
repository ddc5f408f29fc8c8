"""Image files and encoded images in memory, as 8-bit BGR pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgecv.arguments import told
from edgecv.errors import InputError, MediaError, MediaNotFoundError
from edgecv.frame import MAX_SIDE
from edgecv.media._cv2 import error_line, quiet_cv2
from edgecv.media.formats import picture_size_wh, sniff
from edgecv.media.framing import check_whole
from edgecv.media.items import Picture
from edgecv.media.samples import why_not_a_picture

MAX_PIXELS = 1 << 28
"""The largest picture that is decoded: 268 million pixels, 805 MB as BGR."""

MAX_FILE_BYTES = 1 << 30


def read_image(path: str | Path) -> Picture:
    """Reads an image file. Returns uint8 (H, W, 3), BGR; see `decode_image`.

    Raises MediaNotFoundError, or MediaError for a file that is not a readable image.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: expected the path of a file, got {told(path)}")
    try:
        size = Path(path).stat().st_size
        data = Path(path).read_bytes() if size <= MAX_FILE_BYTES else b""
    except FileNotFoundError as error:
        is_link = Path(path).is_symlink()
        reason = f"a link to {Path(path).readlink()}, which is not there" if is_link else "no such file"
        raise MediaNotFoundError(f"{path}: {reason}; check the name") from error
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise MediaError(f"{str(path)!r}: not a usable file name: {error}") from error
    if size > MAX_FILE_BYTES:
        raise MediaError(
            f"{path}: expected an image of at most {MAX_FILE_BYTES >> 20} MiB, got {size >> 20} MiB; "
            "cut it into tiles"
        )
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> Picture:
    """Decodes an image file held in memory. Returns uint8 (H, W, 3), BGR, C-contiguous.

    The orientation that EXIF data or a TIFF states is applied. Gray becomes BGR, colors of a palette and
    CMYK (as Adobe writes it, inverted) too; 16 bits become 8 (the upper ones); an alpha channel is dropped.
    Of a TIFF with several pages it is the first. Floating-point and signed samples, more than 16 bits, and
    animated pictures are refused.

    name: stands in front of the message of the MediaError that anything but a whole, readable image of at
    most `MAX_PIXELS`, and `MAX_SIDE` a side, raises; damage inside the compressed data of a JPEG that its
    decoder repairs is not noticed.
    """
    if not data:
        raise _unreadable(name, "it is empty")
    size_wh = picture_size_wh(data)
    if size_wh is not None:
        _check_size(name, size_wh)
    try:
        check_whole(data)
    except ValueError as error:
        raise _unreadable(name, str(error)) from error
    if reason := why_not_a_picture(data):
        raise MediaError(f"{name}: expected a picture of 8- or 16-bit samples, but {reason}")
    with quiet_cv2() as cv2:
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise _unreadable(name, error_line(error)) from error
    if picture is None:
        raise _unreadable(
            name,
            "it is damaged, or of a kind that this OpenCV cannot decode"
            if sniff(data) == "image"
            else "no image format",
        )
    if size_wh is None:
        _check_size(name, (picture.shape[1], picture.shape[0]))
    return as_bgr(picture, name)


def as_bgr(picture: np.ndarray, name: str) -> Picture:
    """A decoder's uint8 array of 1, 3 or 4 channels as uint8 (H, W, 3), C-contiguous."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise MediaError(f"{name}: expected 8-bit pictures, got {picture.dtype} {picture.shape}")
    if picture.ndim == 2:
        picture = picture[:, :, np.newaxis]
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return np.ascontiguousarray(picture[:, :, :3])


def _check_size(name: str, size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise _unreadable(name, f"it states a size of {width} x {height}")
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{name}: expected an image of at most {MAX_PIXELS} pixels, got {width} x {height}; "
            "scale it down or cut it into tiles"
        )
    if max(width, height) > MAX_SIDE:
        raise MediaError(
            f"{name}: expected an image of at most {MAX_SIDE} pixels a side, got {width} x {height}; "
            "scale it down or cut it into tiles"
        )


def _unreadable(name: str, reason: str) -> MediaError:
    return MediaError(
        f"{name}: not a readable image: {reason}; expected a whole JPEG, PNG or other image file"
    )

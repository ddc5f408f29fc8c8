"""Raw frames on stdin: bytes of a stated layout, one frame after the other, handed on without conversion."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, MediaError
from edgecv.frame import FORMATS, MATRICES, MAX_SIDE, RANGES, Frame, Pixels
from edgecv.media.base import Source
from edgecv.media.items import Failure, Item
from edgecv.media.items import Frame as SourceFrame
from edgecv.media.stdin import POLL_S, open_stdin

# Bytes of a pixel, by the name of what it is; those of YUV that share a chroma have a fraction of one more.
_BYTES = {"bgr24": 3, "rgb24": 3, "gray8": 1, "gray16le": 2, "nv12": 1.5, "i420": 1.5, "yuyv": 2, "uyvy": 2}
RAW_FORMATS = tuple(_BYTES)
_FORM = "FORMAT:WIDTHxHEIGHT[:MATRIX][:RANGE], such as nv12:1280x720 or yuyv:640x480:bt709:full"


class RawFormat(msgspec.Struct, frozen=True):
    """How the bytes of a raw frame are laid out, rows from the top, without gaps.

    format: one of `RAW_FORMATS`, named as FFmpeg and V4L2 do. width, height: pixels, 1 to 32767, even where
    pixels share a chroma. matrix, range: of YUV, as in `edgecv.Frame`.
    """

    format: str
    width: int
    height: int
    matrix: str | None = None
    range: str | None = None

    def __post_init__(self) -> None:
        if self.format not in RAW_FORMATS:
            raise InputError(f"--raw: expected one of {', '.join(RAW_FORMATS)}, got {self.format!r}")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise InputError(f"--raw: expected 1 to {MAX_SIDE} pixels a side, got {self.width}x{self.height}")
        if self.format not in FORMATS and (self.matrix or self.range):
            raise InputError(f"--raw: {self.format} has no matrix nor range; leave them out")
        shares_rows = self.format in ("nv12", "i420")
        if self.format in FORMATS and (self.width % 2 or (shares_rows and self.height % 2)):
            even = "an even width and height" if shares_rows else "an even width"
            raise InputError(f"--raw: {self.format} has {even}, got {self.width}x{self.height}")

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """From "nv12:1280x720:bt709:full", where matrix and range may be left out. Raises InputError."""
        format, _, rest = text.partition(":")
        size, *meaning = rest.split(":")
        sides = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size, re.IGNORECASE)
        if sides is None:
            raise InputError(f"--raw: expected {_FORM}, got {text!r}")
        meant: dict[str, str] = {}
        for given in meaning:
            word = given.lower()
            field = "matrix" if word in MATRICES else "range" if word in RANGES else ""
            if not field or field in meant:
                raise InputError(
                    f"--raw: expected {' or '.join(MATRICES)}, and {' or '.join(RANGES)}, behind the size, "
                    f"got {given!r}"
                )
            meant[field] = word
        return cls(format.lower(), int(sides[1]), int(sides[2]), **meant)

    @property
    def nbytes(self) -> int:
        """Bytes of a frame."""
        return int(self.width * self.height * _BYTES[self.format])

    def picture(self, data: NDArray[np.uint8]) -> Pixels:
        """A frame over its bytes, uint8 (nbytes,), as pipelines take it."""
        if self.format in ("nv12", "i420"):
            return Frame(data.reshape(self.height * 3 // 2, self.width), self.format, self.matrix, self.range)
        if self.format in FORMATS:
            return Frame(data.reshape(self.height, 2 * self.width), self.format, self.matrix, self.range)
        if self.format == "gray16le":
            return data.view("<u2").astype(np.uint16, copy=False).reshape(self.height, self.width)
        if self.format == "gray8":
            return data.reshape(self.height, self.width)
        pixels = data.reshape(self.height, self.width, 3)
        return pixels if self.format == "bgr24" else pixels[..., ::-1]


class StdinRaw(Source):
    """Raw frames on stdin, back to back: `ffmpeg … -f rawvideo -pix_fmt nv12 -`.

    Each frame is handed out as soon as its last byte is there, none is skipped, and its capture time is the
    moment when that byte was read. A frame that the stream does not finish is a Failure. `file` stands in for
    stdin.
    """

    kind = "stream"

    def __init__(self, raw: RawFormat, file: BinaryIO | None = None, *, limit: int | None = None) -> None:
        super().__init__("stdin", limit=limit)
        self._raw = raw
        self._file = file if file is not None else open_stdin(f"{raw.format} frames")

    def _items(self) -> Iterator[Item]:
        index = 0
        while not self._stopped:
            # The receiver may keep a frame: each has memory of its own.
            data = np.empty(self._raw.nbytes, np.uint8)
            filled = self._fill(data.data)
            if self._stopped or not filled:
                break
            if filled < len(data):
                error = MediaError(
                    f"{self.name}: frame {index}: the stream ends inside it, after {filled} of the "
                    f"{len(data)} bytes of {self._raw.format}, {self._raw.width}x{self._raw.height}; "
                    "check format and size"
                )
                yield Failure(self.name, index, error)
                return
            yield SourceFrame(self._raw.picture(data), self.name, index, time.monotonic_ns())
            index += 1
        if index == 0 and not self._stopped:
            raise MediaError(f"stdin: expected frames of {self._raw.format}, got none; pipe them into it")

    def _fill(self, data: memoryview) -> int:
        """Bytes that were read: fewer at the end of the stream, and once the source is stopped."""
        descriptor = self._descriptor()
        filled = 0
        while filled < len(data) and not self._stopped:
            if descriptor is None:
                count: Any = self._file.readinto(data[filled:])  # type: ignore[attr-defined]
            elif select.select([descriptor], [], [], POLL_S)[0]:
                count = os.readv(descriptor, [data[filled:]])
            else:
                continue
            if not count:
                break
            filled += count
        return filled

    def _descriptor(self) -> int | None:
        try:
            return self._file.fileno()
        except (OSError, AttributeError):
            return None

"""Where a JPEG or PNG ends: to split a stream of them, and to tell a file that was cut off.

Decoders differ here: some hand out a picture whose lower part is missing, others say nothing at all.
Structure after ITU-T T.81 annex B (JPEG) and the W3C's PNG specification.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from edgecv.errors import MediaError

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
MAX_IMAGE_BYTES = 64 << 20
"""The largest image that a stream may carry."""

_START = re.compile(re.escape(JPEG_START) + b"|" + re.escape(PNG_START))
# In entropy-coded data 0xFF is followed by 0 (stuffing), by a restart marker, or it is fill.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class JpegCutter:
    """Finds the end of a JPEG at the start of a buffer that grows.

    at: how far the buffer has been understood, bytes.
    """

    def __init__(self) -> None:
        self.at = 2
        self._in_scan = False

    def end(self, data: bytes | bytearray) -> int | None:
        """Bytes of the JPEG, or None when it goes on after the buffer. Raises ValueError: damaged."""
        while True:
            if self._in_scan:
                marker = _MARKER_IN_SCAN.search(data, self.at)
                if marker is None:
                    self.at = max(self.at, len(data) - 1)
                    return None
                self.at, self._in_scan = marker.start(), False
            start = data.find(b"\xff", self.at)
            if start < 0 or start + 2 > len(data):
                return None
            self.at = start
            code = data[start + 1]
            if code == 0xFF:
                self.at += 1
            elif code == 0xD9:
                return start + 2
            elif code == 0xD8:
                raise ValueError("another image starts inside it")
            elif code in (0x00, 0x01) or 0xD0 <= code <= 0xD7:
                self.at += 2
            else:
                if start + 4 > len(data):
                    return None
                size = int.from_bytes(data[start + 2 : start + 4], "big")
                if size < 2:
                    raise ValueError("a segment is shorter than its own header")
                self.at = start + 2 + size
                self._in_scan = code == 0xDA


class PngCutter:
    """Finds the end of a PNG at the start of a buffer that grows, and checks its critical chunks.

    at: how far the buffer has been understood, bytes.
    """

    def __init__(self) -> None:
        self.at = len(PNG_START)

    def end(self, data: bytes | bytearray) -> int | None:
        """Bytes of the PNG, or None when it goes on after the buffer. Raises ValueError: damaged."""
        while len(data) >= self.at + 8:
            size = int.from_bytes(data[self.at : self.at + 4], "big")
            kind = bytes(data[self.at + 4 : self.at + 8])
            if size > 0x7FFFFFFF or not kind.isalpha():
                raise ValueError("a chunk header is damaged")
            after = self.at + 12 + size
            if len(data) < after:
                return None
            # A decoder skips a damaged ancillary chunk (lower case) but not a critical one.
            if kind[:1].isupper():
                with memoryview(data) as view:
                    checksum = zlib.crc32(view[self.at + 4 : after - 4])
                if checksum != int.from_bytes(data[after - 4 : after], "big"):
                    raise ValueError(f"the checksum of its {kind.decode('ascii')} chunk does not fit")
            self.at = after
            if kind == b"IEND":
                return after
        return None


def check_whole(data: bytes) -> None:
    """Raises ValueError, with the reason, for a JPEG or PNG that is cut off or visibly damaged.

    Other formats pass: their decoders refuse what is incomplete.
    """
    cutter = _cutter(data)
    if cutter is None or (isinstance(cutter, JpegCutter) and data.endswith(b"\xff\xd9")):
        return
    if cutter.end(data) is None:
        raise ValueError(f"it is cut off after {len(data)} bytes")


def split_images(
    chunks: Iterable[bytes], *, max_bytes: int = MAX_IMAGE_BYTES
) -> Iterator[bytes | MediaError]:
    """The JPEG and PNG images in a stream of bytes, back to back, as they become complete.

    Bytes between images (line ends, the part headers of multipart MJPEG) are skipped. A damaged image
    gives a MediaError in its place, and the next image follows. An image, or a gap, of more than
    max_bytes gives a last MediaError; so does an image that the stream does not finish.
    """
    buffer = bytearray()
    cutter: JpegCutter | PngCutter | None = None
    gap = 0
    for chunk in chunks:
        buffer += chunk
        while True:
            if cutter is None:
                start = _START.search(buffer)
                skip = start.start() if start else max(0, len(buffer) - len(PNG_START) + 1)
                gap += skip
                del buffer[:skip]
                if gap > max_bytes:
                    yield MediaError(f"{max_bytes} bytes without an image: expected JPEG or PNG images")
                    return
                if start is None:
                    break
                cutter, gap = _cutter(buffer), 0
                assert cutter is not None
            try:
                end = cutter.end(buffer)
            except ValueError as error:
                yield MediaError(f"damaged image: {error}")
                del buffer[: cutter.at]
                cutter = None
                continue
            if end is None:
                break
            yield bytes(buffer[:end])
            del buffer[:end]
            cutter = None
        if len(buffer) > max_bytes:
            yield MediaError(f"an image of more than {max_bytes} bytes: send smaller images")
            return
    if cutter is not None:
        yield MediaError(f"the stream ends inside an image, after {len(buffer)} of its bytes")


def _cutter(data: bytes | bytearray) -> JpegCutter | PngCutter | None:
    if data.startswith(JPEG_START):
        return JpegCutter()
    return PngCutter() if data.startswith(PNG_START) else None

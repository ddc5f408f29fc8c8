"""What the first bytes of a file tell: image or video, and how large the picture is.

Layouts after: PNG (W3C), ITU-T T.81 (JPEG), TIFF 6.0, the WebP container specification, ISO/IEC
14496-12 and 23008-12 (MP4, AVIF), 15444-1 (JPEG 2000), Netpbm, Microsoft's BMP and RIFF.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from edgecv.media.samples import EXR_START, HDR_STARTS, PFM_START, TIFF_STARTS, tiff_tags

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".dib", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".264", ".265", ".3gp", ".asf", ".avi", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf", ".m2ts",
    ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
)  # fmt: skip

HEAD_BYTES = 512
"""How much of a file `sniff` wants to see."""

_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_VIDEO_MAGICS = (
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x00\x00\x00\x01",  # H.264, H.265 byte stream
    b"DKIF",
    b"YUV4MPEG2",
    b"GIF8",
)


def sniff(head: bytes) -> str | None:
    """head: the first `HEAD_BYTES` of a file. Returns "image", "video", or None for anything else."""
    if _image_format(head):
        return "image"
    if head[4:8] in _VIDEO_BOXES or head.startswith(_VIDEO_MAGICS):
        return "video"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video"
    if head[:1] == b"\x47" and head[188:189] == b"\x47":
        return "video"
    return None


def picture_size_wh(data: bytes) -> tuple[int, int] | None:
    """Width and height that an image file states, pixels; None where its header does not tell."""
    reader = _SIZES.get(_image_format(data) or "")
    try:
        return reader(data) if reader else None
    except (struct.error, IndexError, OverflowError):
        return None


def _image_format(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(TIFF_STARTS):
        return "tiff"
    # "BM" alone also starts plain text: the size of the header that follows is one of a few.
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return "bmp"
    if re.match(rb"P[1-6][\s#]", head):
        return "pnm"
    # Known to be told why they are refused.
    if head.startswith((*HDR_STARTS, EXR_START)) or PFM_START.match(head):
        return "float"
    if head.startswith((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "jp2"
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return "avif"
    return None


_BMP_HEADERS = tuple(struct.pack("<I", n) for n in (12, 40, 52, 56, 64, 108, 124))


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        code = data[at + 1]
        if code == 0xFF:
            at += 1
        elif 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif code in (0x00, 0x01) or 0xD0 <= code <= 0xD8:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return width, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    tags = tiff_tags(data, 256, 257)
    return (tags[256][0], tags[257][0]) if len(tags) == 2 else None


def _pnm_size(data: bytes) -> tuple[int, int] | None:
    header = re.match(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})", data[:4096])
    return (int(header[1]), int(header[2])) if header else None


def _jp2_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"ihdr", 0, 4096)
    if at >= 0:
        height, width = struct.unpack_from(">II", data, at + 4)
        return width, height
    if data[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
        return right - left, bottom - top
    return None


def _avif_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"ispe", 0, 65536)
    if at < 0:
        return None
    width, height = struct.unpack_from(">II", data, at + 8)
    return width, height


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "avif": _avif_size,
    "bmp": _bmp_size,
    "jp2": _jp2_size,
    "jpeg": _jpeg_size,
    "png": _png_size,
    "pnm": _pnm_size,
    "tiff": _tiff_size,
    "webp": _webp_size,
}

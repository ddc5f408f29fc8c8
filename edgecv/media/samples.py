"""What an image file holds that is no single picture of 8- or 16-bit samples, by its header.

Decoders make pictures of these too, each in its own way: they clip, tone-map, wrap around, or hand out the
first of several frames. So the header is asked before them. Layouts after TIFF 6.0 and BigTIFF, the Radiance
and OpenEXR file formats, Netpbm (PFM among them), the WebP container specification, the W3C's PNG (third
edition, animation), GIF89a and ISO/IEC 23000-22 (AVIF).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

HDR_STARTS = (b"#?RADIANCE", b"#?RGBE")
EXR_START = b"\x76\x2f\x31\x01"
PFM_START = re.compile(rb"P[Ff]\s")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SCALE = "scale its values to 8 or 16 bits first, as your model was trained on them"
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339
_SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 5: "complex integer", 6: "complex"}
_BYTES = {1: 1, 3: 2, 4: 4, 16: 8}
_CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def why_not_a_picture(data: bytes) -> str | None:
    """data: an image file, whole. Returns what it holds and what to do, or None for an ordinary picture."""
    if data.startswith((*HDR_STARTS, EXR_START)) or PFM_START.match(data):
        return f"its samples are floating-point; {_SCALE}"
    if data.startswith(TIFF_STARTS):
        return _tiff(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        frames = _apng_frames(data)
        return _animated("PNG", f" of {frames} frames") if frames > 1 else None
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and data[20:21] and data[20] & 2:
        return _animated("WebP")
    if data[4:12] == b"ftypavis":
        return _animated("AVIF")
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "it is a GIF, which is read as a video; name it alone, by a name that ends in .gif"
    return _pnm(data)


def tiff_tags(data: bytes, *wanted: int) -> dict[int, tuple[int, ...]]:
    """Tag -> values of these tags in a TIFF's first directory, those of whole numbers.

    Raises struct.error for a file that ends before them.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    pointer, count_code, entry_size, inline = ("Q", "Q", 20, 8) if is_big else ("I", "H", 12, 4)
    (at,) = struct.unpack_from(order + pointer, data, 8 if is_big else 4)
    (entries,) = struct.unpack_from(order + count_code, data, at)
    at += struct.calcsize(order + count_code)
    found = {}
    for entry in range(at, at + min(entries, 65_536) * entry_size, entry_size):
        tag, kind, count = struct.unpack_from(order + "HH" + pointer, data, entry)
        if tag not in wanted or kind not in _CODES or not 0 < count <= 64:
            continue
        place = entry + 4 + inline
        if count * _BYTES[kind] > inline:
            (place,) = struct.unpack_from(order + pointer, data, place)
        found[tag] = struct.unpack_from(f"{order}{count}{_CODES[kind]}", data, place)
    return found


def _tiff(data: bytes) -> str | None:
    try:
        tags = tiff_tags(data, _BITS_PER_SAMPLE, _SAMPLE_FORMAT)
    except (struct.error, OverflowError):
        return None
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    kinds = [_SAMPLE_FORMATS[code] for code in tags.get(_SAMPLE_FORMAT, ()) if code in _SAMPLE_FORMATS]
    if kinds:
        return f"its samples are {kinds[0]}, of {bits} bits; {_SCALE}"
    return f"its samples have {bits} bits; {_SCALE}" if bits > 16 else None


def _apng_frames(data: bytes) -> int:
    """Frames of an animated PNG, 0 of any other."""
    for kind, at in _png_chunks(data):
        if kind == b"acTL":
            return int.from_bytes(data[at : at + 4], "big")
        if kind == b"IDAT":
            break
    return 0


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 8
    while at + 8 <= len(data):
        yield data[at + 4 : at + 8], at + 8
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _pnm(data: bytes) -> str | None:
    gap = rb"(?:\s|#[^\n]*\n)+"
    header = re.match(rb"P[2356]" + (gap + rb"\d{1,9}") * 2 + gap + rb"(\d{1,9})", data[:4096])
    brightest = int(header[1]) if header else 255
    if brightest in (255, 65535):
        return None
    return f"its brightest value is {brightest}, and not 255 or 65535; {_SCALE}"


def _animated(what: str, more: str = "") -> str:
    return f"it is an animated {what}{more}; make a GIF or a video of it, or a picture of each frame"

"""Whether a video file is cut off, by what its container says about its own size.

Frame counts alone do not tell: an MP4 edit list hides frames on purpose, and many containers state an
estimate, of a duration that a long last frame or a variable rate makes wrong. Layouts after ISO/IEC 14496-12
(MP4, MOV), Microsoft's RIFF and OpenDML AVI, RFC 8794 and 9559 (EBML, Matroska, WebM), and Adobe's FLV.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from edgecv.media import mp4

EBML_START = b"\x1a\x45\xdf\xa3"
_MAX_CHUNKS = 4_000_000
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


class Extent(Enum):
    """What a container says about the end of its file.

    CUT: media data is missing at the end. NO_INDEX: an MP4 without its moov box, so a cut or never
    finished recording. WHOLE: all of the media data is there. UNKNOWN: nothing of that.
    """

    CUT = "cut"
    NO_INDEX = "no index"
    WHOLE = "whole"
    UNKNOWN = "unknown"


def video_extent(path: Path) -> Extent:
    """What the container of a video file says about its end. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(12)
        length = file.seek(0, os.SEEK_END)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _avi_extent(file, length)
        if head[4:8] in mp4.STARTS:
            return _mp4_extent(file, length)
        if head.startswith(EBML_START):
            return _matroska_extent(file, length)
        if head.startswith(b"FLV\x01"):
            return _flv_extent(file, length)
    return Extent.UNKNOWN


def _mp4_extent(file: BinaryIO, length: int) -> Extent:
    kinds = set()
    for kind, begin, end in mp4.boxes(file, length):
        kinds.add(kind)
        # A player can do without anything but the index and the media data.
        if end > length and kind in (b"moov", b"moof", b"mdat"):
            return Extent.CUT if b"moov" in kinds and kind != b"moov" else Extent.NO_INDEX
        if end < begin:
            return Extent.UNKNOWN
    return Extent.WHOLE if b"moov" in kinds else Extent.NO_INDEX


def _avi_extent(file: BinaryIO, length: int) -> Extent:
    at, is_found = 12, False
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        header = file.read(12)
        if len(header) < 12:
            break
        kind, size, form = header[:4], int.from_bytes(header[4:8], "little"), header[8:12]
        if kind == b"LIST" and form == b"movi":
            if at + 8 + size > length:
                return Extent.CUT
            # A recorder that was stopped before it could write the size leaves 0 there.
            if size == 0:
                return _unfinished_avi_extent(file, at + 12, length)
            is_found = True
        # Every further gigabyte of an OpenDML file is a RIFF chunk of its own: walk into it.
        at += 12 if kind == b"RIFF" else 8 + size + size % 2
    return Extent.WHOLE if is_found else Extent.UNKNOWN


def _unfinished_avi_extent(file: BinaryIO, at: int, length: int) -> Extent:
    """By the frames themselves, of which the last may be cut."""
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or not header[:2].isdigit():
            break
        size = int.from_bytes(header[4:8], "little")
        at += 8 + size
        if at > length:
            return Extent.CUT
        at += size % 2
    return Extent.UNKNOWN


def _matroska_extent(file: BinaryIO, length: int) -> Extent:
    at, end, last = 0, None, b""
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        kind, size, content = _element(file.read(12), at)
        if not kind:
            break
        last = kind
        if size is None and kind != _SEGMENT:
            return Extent.UNKNOWN
        if kind == _SEGMENT:
            end, at = None if size is None else content + size, content
            continue
        at = content + (size or 0)
        # A player can do without all that is not in clusters.
        if at > length:
            return Extent.CUT if kind == _CLUSTER else Extent.WHOLE if end is not None else Extent.UNKNOWN
    if end is None:
        return Extent.UNKNOWN
    return Extent.CUT if end > length and last == _CLUSTER else Extent.WHOLE


def _element(header: bytes, at: int) -> tuple[bytes, int | None, int]:
    """Id, size and place of the content of an EBML element; no id for none, no size where it is unknown."""
    id_bytes = 9 - header[0].bit_length() if header else 9
    if id_bytes > 4 or len(header) <= id_bytes or not header[id_bytes]:
        return b"", None, at
    size_bytes = 9 - header[id_bytes].bit_length()
    coded = header[id_bytes : id_bytes + size_bytes]
    if len(coded) < size_bytes:
        return b"", None, at
    all_ones = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(coded, "big") & all_ones
    return header[:id_bytes], None if size == all_ones else size, at + id_bytes + size_bytes


def _flv_extent(file: BinaryIO, length: int) -> Extent:
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    for _ in range(_MAX_CHUNKS):
        if at >= length:
            break
        file.seek(at)
        header = file.read(11)
        after = at + 11 + int.from_bytes(header[1:4], "big")
        if len(header) < 11 or after > length:
            return Extent.CUT
        if header[0] & 0x1F not in (8, 9, 18):
            return Extent.UNKNOWN
        at = after + 4
    return Extent.WHOLE

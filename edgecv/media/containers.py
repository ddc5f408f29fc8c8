"""Whether a video file is cut off, by what its container says about its own size.

Frame counts alone do not tell: an MP4 edit list hides frames on purpose, and some containers state
an estimate. Box and chunk layouts after ISO/IEC 14496-12 (MP4, MOV) and Microsoft's RIFF and OpenDML
AVI.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import BinaryIO

_MAX_BOXES = 1_000_000


class Extent(Enum):
    """What a container says about the end of its file.

    CUT: media data is missing at the end. NO_INDEX: an MP4 without its moov box, so a cut or never
    finished recording. WHOLE: an MP4 with all of its media data, so that a frame count says no more.
    UNKNOWN: nothing of that.
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
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"):
            return _mp4_extent(file, length)
    return Extent.UNKNOWN


def _mp4_extent(file: BinaryIO, length: int) -> Extent:
    at, kinds = 0, set()
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        elif size == 0:
            size = length - at
        kinds.add(kind)
        # A player can do without anything but the index and the media data.
        if at + size > length and kind in (b"moov", b"moof", b"mdat"):
            return Extent.CUT if b"moov" in kinds and kind != b"moov" else Extent.NO_INDEX
        if size < 8:
            return Extent.UNKNOWN
        at += size
    return Extent.WHOLE if b"moov" in kinds else Extent.NO_INDEX


def _avi_extent(file: BinaryIO, length: int) -> Extent:
    at = 12
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(12)
        if len(header) < 12:
            break
        kind, size, form = header[:4], int.from_bytes(header[4:8], "little"), header[8:12]
        if kind == b"LIST" and form == b"movi":
            # A recorder that was stopped before it could write the size leaves 0 there.
            if at + 8 + size > length:
                return Extent.CUT
            if size == 0:
                break
        # Every further gigabyte of an OpenDML file is a RIFF chunk of its own: walk into it.
        at += 12 if kind == b"RIFF" else 8 + size + size % 2
    return Extent.UNKNOWN

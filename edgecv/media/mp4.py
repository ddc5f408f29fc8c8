"""What an MP4 or MOV says about its end, and whether its edit list fits the rest of its index.

Box layouts after ISO/IEC 14496-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

STARTS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_MAX_BOXES = 1_000_000
_MAX_INDEX_BYTES = 256 << 20
# Writers round to their clocks; a wrong duration is off by frames.
_TOLERANCE = 0.01

Box = tuple[bytes, int, int]
"""Kind, and where the content begins and ends, bytes."""


def boxes(file: BinaryIO, length: int) -> Iterator[Box]:
    """The outermost boxes of a file of so many bytes; the last may end behind it. Stops at nonsense."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            return
        begin, end = _extent(header, at, length)
        yield header[4:8], begin, end
        if end < begin:
            return
        at = end


def hides_frames_by_mistake(file: BinaryIO, length: int) -> bool:
    """Whether the edit list of the video track was made for another duration than its frames have.

    FFmpeg leaves out frames that no edit shows. That is meant where a video was trimmed: then the media's own
    duration is that of its frames. It is a mistake where it is not, and where the edits show nothing.
    """
    for kind, begin, end in boxes(file, length):
        if kind == b"moov" and begin <= end <= length and end - begin <= _MAX_INDEX_BYTES:
            file.seek(begin)
            index = file.read(end - begin)
            try:
                return any(_is_mistaken(index, *track) for track in _find(index, b"trak", 0, len(index)))
            except (struct.error, IndexError):
                return False
    return False


def _is_mistaken(data: bytes, begin: int, end: int) -> bool:
    edits = list(_find(data, b"elst", begin, end, through=(b"edts",)))
    media = list(_find(data, b"mdia", begin, end))
    if not edits or not media:
        return False
    handler = next(_find(data, b"hdlr", *media[0]))[0]
    (clock,) = _find(data, b"mdhd", *media[0])
    times = list(_find(data, b"stts", *media[0], through=(b"minf", b"stbl")))
    if data[handler + 8 : handler + 12] != b"vide" or not times:
        return False
    frames, total = _sums(data, times[0][0])
    # Without frames in the index they are in fragments, which may come later.
    if not frames:
        return False
    stated = _media_duration(data, clock[0])
    is_off = abs(total - stated) > max(_TOLERANCE * total, total / frames / 2)
    return is_off or not any(_edit_durations(data, edits[0][0]))


def _sums(data: bytes, at: int) -> tuple[int, int]:
    """Frames, and their durations together."""
    (count,) = struct.unpack_from(">I", data, at + 4)
    entries = list(struct.iter_unpack(">II", data[at + 8 : at + 8 + 8 * count]))
    return sum(frames for frames, _ in entries), sum(frames * ticks for frames, ticks in entries)


def _media_duration(data: bytes, at: int) -> int:
    code, place = (">Q", at + 24) if data[at] == 1 else (">I", at + 16)
    return int(struct.unpack_from(code, data, place)[0])


def _edit_durations(data: bytes, at: int) -> Iterator[int]:
    (count,) = struct.unpack_from(">I", data, at + 4)
    code = ">QqI" if data[at] == 1 else ">IiI"
    size = struct.calcsize(code)
    for duration, media_time, _ in struct.iter_unpack(code, data[at + 8 : at + 8 + count * size]):
        # A negative time is an edit that shows nothing for a while.
        if media_time >= 0:
            yield duration


def _find(
    data: bytes, kind: bytes, begin: int, end: int, through: tuple[bytes, ...] = ()
) -> Iterator[tuple[int, int]]:
    """Where the contents of boxes of a kind lie, within those of the kinds that are gone through."""
    at = begin
    while at + 8 <= end:
        first, last = _extent(data[at : at + 16], at, end)
        if last < first or last > end:
            return
        found = data[at + 4 : at + 8]
        if through and found == through[0]:
            yield from _find(data, kind, first, last, through[1:])
        elif not through and found == kind:
            yield first, last
        at = last


def _extent(header: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content of the box at `at` begins and ends; a size of 0 means the end of what holds it."""
    size = int.from_bytes(header[:4], "big")
    if size == 1:
        return at + 16, at + int.from_bytes(header[8:16], "big")
    return at + 8, at + size if size else end

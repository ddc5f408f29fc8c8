"""Files for the tests of edgecv.media: pictures, videos, and damage done to them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np


def picture(width: int = 48, height: int = 32, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, 3): smooth color, so that lossy formats keep it, and a little texture."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 / width, y * 255 / height, (x + y + 40 * seed) % 256], axis=-1)
    noise = np.random.default_rng(seed).integers(0, 12, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def encoded(suffix: str, image: np.ndarray | None = None) -> bytes:
    """An image file in memory."""
    ok, data = cv2.imencode(suffix, picture() if image is None else image)
    assert ok
    return data.tobytes()


def write_image(path: Path, image: np.ndarray | None = None) -> Path:
    path.write_bytes(encoded(path.suffix, image))
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that states a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header states another size than its data has."""
    data = encoded(".jpg")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def jpeg_turned(orientation: int) -> bytes:
    """A JPEG whose EXIF data states an orientation (1 to 8)."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    data = encoded(".jpg")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def write_video(path: Path, frames: int = 30, fps: float = 25.0, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """A video whose frame i has the gray level 4 * i in its left half, over texture that fills bytes."""
    fourcc = {".avi": "MJPG"}.get(path.suffix, "mp4v")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), fps, size_wh)
    assert writer.isOpened()
    width, height = size_wh
    for i in range(frames):
        image = np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8)
        image[:, : width // 2] = 4 * i
        writer.write(image)
    writer.release()
    return path


def with_index_first(data: bytes) -> bytes:
    """An MP4 whose moov box comes before its media data, as a web server wants it."""
    boxes, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    moov = boxes[b"moov"]
    at = moov.index(b"stco")
    count = int.from_bytes(moov[at + 8 : at + 12], "big")
    offsets = struct.unpack_from(f">{count}I", moov, at + 12)
    # Nothing lies between the boxes that move, so all offsets grow by the size of moov.
    moved = struct.pack(f">{count}I", *(offset + len(moov) for offset in offsets))
    moov = moov[: at + 12] + moved + moov[at + 12 + 4 * count :]
    rest = b"".join(box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov"))
    return boxes[b"ftyp"] + moov + rest


def flat_jpeg(levels: tuple[int, ...], adobe: int | None = None) -> bytes:
    """A JPEG of 8 x 8 pixels with flat components, after ITU-T T.81; adobe: the transform in Adobe's marker.

    Every difference of a first coefficient has a code of 4 bits, which is its category, and there are no
    others.
    """

    def segment(code: int, body: bytes) -> bytes:
        return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body

    count = len(levels)
    parts = [b"\xff\xd8"]
    if adobe is not None:
        parts.append(segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, adobe)))
    parts.append(segment(0xDB, b"\0" + b"\1" * 64))
    components = b"".join(bytes((i, 0x11, 0)) for i in range(count))
    parts.append(segment(0xC0, struct.pack(">BHHB", 8, 8, 8, count) + components))
    parts.append(segment(0xC4, b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))))
    parts.append(segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"))
    parts.append(segment(0xDA, bytes([count]) + b"".join(bytes((i, 0)) for i in range(count)) + b"\0\x3f\0"))
    bits = ""
    for level in levels:
        first = (level - 128) * 8
        category = abs(first).bit_length()
        bits += f"{category:04b}"
        if category:
            bits += f"{first if first > 0 else first + (1 << category) - 1:0{category}b}"
        bits += "0"
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return b"".join(parts) + scan.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def png(size_wh: tuple[int, int], bits: int, color: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of these rows (each behind its filter byte); more: chunks before them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size_wh, bits, color, 0, 0, 0))
    rest = b"".join(chunk(*each) for each in (*more, (b"IDAT", zlib.compress(data)), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + header + rest


def tiff(*tags: tuple[int, int, int], big: bool = False, order: str = "<") -> bytes:
    """The header and directory of a TIFF: (tag, kind, value) each."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    if big:
        head = start + struct.pack(order + "HHQQ", 8, 0, 16, len(tags))
    else:
        head = start + struct.pack(order + "IH", 8, len(tags))
    for tag, kind, value in tags:
        code = {3: "H", 4: "I"}[kind]
        field = struct.pack(order + code, value).ljust(8 if big else 4, b"\0")
        head += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, 1) + field
    return head + b"\0" * 8


def animated(suffix: str, frames: int = 3) -> bytes:
    """An animated picture."""
    animation = cv2.Animation()
    animation.frames = [picture(seed=i) for i in range(frames)]
    animation.durations = [40] * frames
    ok, data = cv2.imencodeanimation(suffix, animation)
    assert ok
    return data.tobytes()


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The same with other bytes at a place."""
    return data[:at] + new + data[at + len(new) :]


def avi_stating(data: bytes, frames: int | None = None, scale_rate: tuple[int, int] | None = None) -> bytes:
    """An AVI whose headers state another number of frames, or another rate."""
    main, stream = data.index(b"avih") + 8, data.index(b"strh") + 8
    if frames is not None:
        data = patched(
            patched(data, main + 16, struct.pack("<I", frames)), stream + 32, struct.pack("<I", frames)
        )
    if scale_rate is not None:
        data = patched(patched(data, main, bytes(4)), stream + 20, struct.pack("<II", *scale_rate))
    return data


def avi_frames(data: bytes) -> list[tuple[int, int]]:
    """Where the frames of an AVI lie, and their sizes."""
    at, found = data.index(b"movi") + 4, []
    while data[at : at + 4] == b"00dc":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((at + 8, size))
        at += 8 + size + size % 2
    return found


def avi_with_empty_chunks(data: bytes, every: int) -> bytes:
    """An AVI with a chunk of no bytes behind every so many frames, counted as frames; without an index."""
    start = data.index(b"movi") + 4
    body = b""
    frames = avi_frames(data)
    for i, (at, size) in enumerate(frames):
        body += data[at - 8 : at + size + size % 2]
        if (i + 1) % every == 0:
            body += b"00dc\0\0\0\0"
    whole = patched(data[:start] + body, start - 8, struct.pack("<I", 4 + len(body)))
    whole = patched(whole, 4, struct.pack("<I", len(whole) - 8))
    return avi_stating(whole, frames=len(frames) + len(frames) // every)


def with_box(data: bytes, kind: bytes, body: bytes) -> bytes:
    """An MP4 whose index comes last, with another sample table box in place of its own."""
    at = data.index(kind) - 4
    old = int.from_bytes(data[at : at + 4], "big")
    new = struct.pack(">I", 8 + len(body)) + kind + body
    data = data[:at] + new + data[at + old :]
    for outer in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = data.index(outer) - 4
        size = int.from_bytes(data[place : place + 4], "big") + len(new) - old
        data = patched(data, place, struct.pack(">I", size))
    return data


def mp4_ticks(data: bytes) -> int:
    """How long a frame lasts, in the ticks of its track."""
    return int(struct.unpack_from(">I", data, data.index(b"stts") + 16)[0])


def mp4_with_durations(data: bytes, *runs: tuple[int, int]) -> bytes:
    """An MP4 of other durations, and nothing else changed: (frames, ticks) each."""
    body = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    return with_box(data, b"stts", body)


def mp4_stating(data: bytes, duration: int, *, edits: bool = False) -> bytes:
    """An MP4 whose movie, track and media, or its edit list, state another duration."""
    if edits:
        return patched(data, data.index(b"elst") + 12, struct.pack(">I", duration))
    for kind, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        data = patched(data, data.index(kind) + offset, struct.pack(">I", duration))
    return data


def mp4_with_empty_samples(data: bytes, at: int, count: int = 1) -> bytes:
    """An MP4 with samples of no bytes in front of one."""
    place = data.index(b"stsz") + 12
    (frames,) = struct.unpack_from(">I", data, place)
    sizes = list(struct.unpack_from(f">{frames}I", data, place + 4))
    sizes[at:at] = [0] * count
    table = struct.pack(f">III{len(sizes)}I", 0, 0, len(sizes), *sizes)
    data = with_box(data, b"stsz", table)
    data = patched(data, data.index(b"stsc") + 16, struct.pack(">I", len(sizes)))
    return mp4_with_durations(data, (len(sizes), mp4_ticks(data)))


def mkv_stating(data: bytes, duration: float) -> bytes:
    """A Matroska file that states another duration, milliseconds."""
    return patched(data, data.index(b"\x44\x89\x88") + 3, struct.pack(">d", duration))


def mkv_without_rate(data: bytes) -> bytes:
    """A Matroska file that does not state how long a frame lasts."""
    at = data.index(b"\x23\xe3\x83")
    size = data[at + 3] & 0x7F
    return patched(data, at, b"\xec" + bytes([0x80 | (size + 2)]) + bytes(size + 2))

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

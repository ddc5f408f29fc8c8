"""Raw frames on stdin: what is handed on, and what is told of streams that do not fit."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError, MediaError
from edgecv.frame import Frame as YuvFrame
from edgecv.media import Failure, Frame, Item, RawFormat, open_source
from edgecv.media.raw import RAW_FORMATS, StdinRaw
from tests.yuv_frames import samples

# The pixels of 6 x 4 in its bytes.
PIXELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bgr24": lambda data: data.reshape(4, 6, 3),
    "rgb24": lambda data: data.reshape(4, 6, 3)[..., ::-1],
    "gray8": lambda data: data.reshape(4, 6),
    "gray16le": lambda data: data.view("<u2").reshape(4, 6),
}


def noise(n: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8).tobytes()


def read(raw: str, data: bytes, limit: int | None = None) -> list[Item]:
    return list(StdinRaw(RawFormat.parse(raw), io.BytesIO(data), limit=limit))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nv12:1280x720", RawFormat("nv12", 1280, 720)),
        ("NV12:1280X720", RawFormat("nv12", 1280, 720)),
        ("yuyv:640x480:bt709", RawFormat("yuyv", 640, 480, "bt709")),
        ("i420:2x2:full", RawFormat("i420", 2, 2, None, "full")),
        ("uyvy:2x1:full:bt601", RawFormat("uyvy", 2, 1, "bt601", "full")),
        ("gray8:1x1", RawFormat("gray8", 1, 1)),
        ("NV12:2X2:BT709:Full", RawFormat("nv12", 2, 2, "bt709", "full")),
    ],
)
def test_texts(text: str, expected: RawFormat) -> None:
    assert RawFormat.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nv12", r"--raw: expected FORMAT:WIDTHxHEIGHT.*, got 'nv12'"),
        ("nv12:1280", "expected FORMAT"),
        ("nv12:1280x-2", "expected FORMAT"),
        (
            "nv12:1280x720:bt2020",
            "expected bt601 or bt709, and limited or full, behind the size, got 'bt2020'",
        ),
        ("nv12:8x8:full:limited", "got 'limited'"),
        ("h264:8x8", "expected one of bgr24, rgb24, .* got 'h264'"),
        ("nv12:0x8", "1 to 32767 pixels a side, got 0x8"),
        ("nv12:8x40000", "got 8x40000"),
        ("nv12:8x7", "nv12 has an even width and height, got 8x7"),
        ("yuyv:7x8", "yuyv has an even width, got 7x8"),
        ("rgb24:8x8:full", "rgb24 has no matrix nor range"),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RawFormat.parse(text)


@pytest.mark.parametrize("format", RAW_FORMATS)
def test_frames_are_handed_on_as_they_are(format: str) -> None:
    raw = RawFormat.parse(f"{format}:6x4")
    data = noise(3 * raw.nbytes)
    items = read(f"{format}:6x4", data)
    assert [item.index for item in items] == [0, 1, 2]
    for number, item in enumerate(items):
        assert isinstance(item, Frame)
        assert item.size_wh == (6, 4)
        own = np.frombuffer(data, np.uint8)[number * raw.nbytes : (number + 1) * raw.nbytes]
        if format in ("nv12", "i420", "yuyv", "uyvy"):
            assert isinstance(item.image, YuvFrame)
            expected = raw.picture(own)
            for one, other in zip(samples(item.image), samples(expected), strict=True):
                np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(item.picture(), item.image.bgr())
            continue
        pixels = PIXELS[format](own)
        levels = pixels if pixels.dtype == np.uint8 else own[1::2].reshape(4, 6)
        drawn = levels if levels.ndim == 3 else np.stack([levels] * 3, axis=-1)
        np.testing.assert_array_equal(item.image, pixels)
        np.testing.assert_array_equal(item.picture(), drawn)
        assert item.picture().flags.c_contiguous


def test_a_stream_that_ends_inside_a_frame() -> None:
    first, last = read("gray8:6x4", noise(40))
    assert isinstance(first, Frame)
    assert isinstance(last, Failure)
    assert (
        str(last.error)
        == "stdin: frame 1: the stream ends inside it, after 16 of the 24 bytes of gray8, 6x4; "
        "check format and size"
    )


def test_an_empty_stream() -> None:
    with pytest.raises(MediaError, match="stdin: expected frames of nv12, got none"):
        read("nv12:6x4", b"")


def test_a_pipe_that_delivers_in_pieces() -> None:
    """A frame comes as soon as its last byte is there, and its time is that of the byte."""
    reader, writer = os.pipe()
    data = noise(48)
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb", buffering=0) as target:
        source = iter(StdinRaw(RawFormat.parse("gray8:6x4"), file, limit=2))
        thread = threading.Thread(target=lambda: [target.write(data[i : i + 5]) for i in range(0, 45, 5)])
        thread.start()
        first: Any = next(source)
        thread.join()
        target.write(data[45:])
        second: Any = next(source)
    assert first.image.tobytes() + second.image.tobytes() == data
    assert first.captured_ns < second.captured_ns


def test_frames_keep_their_memory() -> None:
    frames: list[Any] = read("gray8:6x4", noise(48))
    assert not np.shares_memory(frames[0].image, frames[1].image)
    frames[0].image[:] = 0


def test_raw_is_of_stdin_alone() -> None:
    with pytest.raises(InputError, match=r"--raw: of frames on stdin, whose SOURCE is -, got 'street"):
        open_source("street.jpg", raw=RawFormat.parse("nv12:8x8"))

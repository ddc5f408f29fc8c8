from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import media_files
import numpy as np
import pytest

from edgecv.errors import InputError, MediaError
from edgecv.media import Failure, Frame, Item, open_source
from edgecv.media.stdin import StdinImages

JPEG = media_files.encoded(".jpg")
PNG = media_files.encoded(".png")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes on stdin, through a pipe; they may be more than it holds."""
    with contextlib.ExitStack() as stack:

        def feed(data: bytes) -> None:
            reader, writer = os.pipe()
            stdin = stack.enter_context(io.TextIOWrapper(os.fdopen(reader, "rb")))
            monkeypatch.setattr(sys, "stdin", stdin)

            def write() -> None:
                with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as file:
                    file.write(data)

            thread = threading.Thread(target=write)
            stack.callback(thread.join)
            thread.start()
            stack.callback(stdin.close)

        yield feed


def read() -> list[Item]:
    with open_source("-") as source:
        assert (source.kind, source.length, source.is_live, source.name) == (
            "stream",
            None,
            False,
            "stdin",
        )
        return list(source)


def test_images_back_to_back(pipe: Callable[[bytes], None]) -> None:
    large = media_files.encoded(
        ".png", np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    )
    pipe(JPEG + PNG + b"\r\n--part\r\n\r\n" + large + JPEG)
    items = read()
    assert [item.index for item in items] == [0, 1, 2, 3]
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.size_wh for frame in frames] == [(48, 32), (48, 32), (400, 300), (48, 32)]
    np.testing.assert_array_equal(frames[1].image, media_files.picture())
    assert {frame.source for frame in frames} == {"stdin"}


@pytest.mark.parametrize(
    ("data", "kinds", "message"),
    [
        pytest.param(
            JPEG + PNG[:60] + b"\0\0" + PNG[62:] + JPEG,
            [Frame, Failure, Frame],
            "stdin: image 1: damaged image: the checksum of its IDAT chunk does not fit",
            id="damaged",
        ),
        pytest.param(
            JPEG + media_files.png_header(8, 8) + PNG,
            [Frame, Failure, Frame],
            "stdin: image 1: not a readable image: it is damaged, or of a kind",
            id="undecodable",
        ),
        pytest.param(
            PNG + JPEG[:-9],
            [Frame, Failure],
            "stdin: image 1: the stream ends inside an image",
            id="unfinished",
        ),
    ],
)
def test_bad_images_are_failures(
    pipe: Callable[[bytes], None], data: bytes, kinds: list[type], message: str
) -> None:
    pipe(data)
    items = read()
    assert [type(item) for item in items] == kinds
    failure = items[1]
    assert isinstance(failure, Failure)
    assert failure.index == 1
    assert str(failure.error).startswith(message)


@pytest.mark.parametrize("data", [b"", b"text\n" * 9], ids=["nothing", "text"])
def test_no_image_is_an_error(pipe: Callable[[bytes], None], data: bytes) -> None:
    pipe(data)
    with pytest.raises(MediaError, match="stdin: expected JPEG or PNG images back to back, got none"):
        read()


def test_an_image_comes_before_the_next_is_sent() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb", buffering=0) as sender:
        source = StdinImages(file)
        for _ in range(3):
            sender.write(JPEG)
            before = time.monotonic_ns()
            frame = next(source)
            assert isinstance(frame, Frame)
            assert before <= frame.captured_ns


def test_stop_ends_a_wait() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb"):
        source = StdinImages(file)
        threading.Timer(0.05, source.stop).start()
        assert list(source) == []


def test_a_file_without_descriptor() -> None:
    assert [type(item) for item in StdinImages(io.BytesIO(JPEG + PNG), limit=5)] == [Frame, Frame]


def test_limit(pipe: Callable[[bytes], None]) -> None:
    pipe(JPEG * 9)
    with open_source("-", limit=2) as source:
        assert len(list(source)) == 2


def test_a_file_redirected_to_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mjpeg"
    path.write_bytes(JPEG * 3)
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert len(read()) == 3


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, terminal = os.openpty()
    with os.fdopen(reader, "rb"), os.fdopen(terminal, "r") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(InputError, match="stdin: expected JPEG or PNG images, got a terminal; pipe"):
            open_source("-")


def test_closed_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="it is closed; pipe them into it"):
        open_source("-")

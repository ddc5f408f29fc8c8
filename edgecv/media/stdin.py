"""Frames on stdin: encoded images, one after the other."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

from edgecv.errors import InputError, MediaError
from edgecv.media.base import Source
from edgecv.media.framing import split_images
from edgecv.media.images import decode_image
from edgecv.media.items import Failure, Frame, Item

_CHUNK_BYTES = 1 << 20
POLL_S = 0.2


class StdinImages(Source):
    """JPEG and PNG files on stdin, back to back: `cat *.jpg`, or MJPEG (`ffmpeg ... -f mjpeg -`).

    Each image is handed out as soon as its last byte is there, none is skipped, and its capture time is
    the moment when that byte was read. Bytes between images are skipped; an image may have at most
    64 MiB. A damaged image, or one that the stream does not finish, is a Failure. `file` stands in for
    stdin.
    """

    kind = "stream"

    def __init__(self, file: BinaryIO | None = None, *, limit: int | None = None) -> None:
        super().__init__("stdin", limit=limit)
        self._file = file if file is not None else open_stdin("JPEG or PNG images")

    def _items(self) -> Iterator[Item]:
        index = 0
        for image in split_images(self._chunks()):
            captured_ns = time.monotonic_ns()
            name = f"{self.name}: image {index}"
            try:
                if isinstance(image, MediaError):
                    raise MediaError(f"{name}: {image}")
                yield Frame(decode_image(image, name), self.name, index, captured_ns)
            except MediaError as error:
                yield Failure(self.name, index, error)
            index += 1
        if index == 0 and not self._stopped:
            raise MediaError("stdin: expected JPEG or PNG images back to back, got none; pipe images into it")

    def _chunks(self) -> Iterator[bytes]:
        try:
            descriptor = self._file.fileno()
        except (OSError, AttributeError):
            descriptor = None
        while not self._stopped:
            if descriptor is None:
                chunk = self._file.read(_CHUNK_BYTES)
            elif select.select([descriptor], [], [], POLL_S)[0]:
                chunk = os.read(descriptor, _CHUNK_BYTES)
            else:
                continue
            if not chunk:
                return
            yield chunk


def open_stdin(expected: str) -> BinaryIO:
    """The bytes of stdin. expected: what is to come, for the InputError where there is none to read."""
    if sys.stdin is None or sys.stdin.closed:
        raise InputError(f"stdin: expected {expected}, but it is closed; pipe them into it")
    if sys.stdin.isatty():
        raise InputError(f"stdin: expected {expected}, got a terminal; pipe them into it")
    return sys.stdin.buffer

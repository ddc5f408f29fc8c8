"""Results as JSON lines, to a file or to stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from edgecv.errors import InputError
from edgecv.media.atomic import Output, PendingFile, cannot_write, check_not_input, is_special


class JsonLinesSink(Output):
    """One JSON object a line, UTF-8; see `Output` for how it ends.

    `-` is stdout: each line is flushed at once. When its reader goes away, `is_broken` becomes true and
    further lines are dropped without a word, so that `edgecv ... | head` ends quietly. A file gets its
    name when it is complete; a device or a named pipe is written directly.

    NumPy arrays and scalars, paths, dataclasses and msgspec structs may stand in the objects; a
    number that is not finite becomes null.

    Raises OutputError where nothing can be written, InputError where an input would be replaced.
    """

    def __init__(self, path: str | Path, *, inputs: Iterable[Path] = ()) -> None:
        self.written = 0
        self.is_broken = False
        self._encoder = msgspec.json.Encoder(enc_hook=_plain)
        self._pending: PendingFile | None = None
        self._file: BinaryIO | None = None
        self._name = str(path)
        if self._name == "-":
            return
        if not self._name:
            raise InputError("output: expected a file, or - for stdout, got an empty name")
        target = Path(path)
        check_not_input(target, inputs)
        self._pending = None if is_special(target) else PendingFile(target)
        try:
            if self._pending is None:
                self._file = target.open("wb", buffering=0)
            else:
                self._file = self._pending.path.open("wb")
        except OSError as error:
            raise cannot_write(target, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Writes one object as a line. Raises OutputError, and InputError for what JSON cannot hold."""
        if self.is_broken:
            return
        try:
            line = self._encoder.encode(record) + b"\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._name}: a record cannot be written as JSON: {error}") from error
        try:
            if self._name == "-":
                _write_stdout(line)
            else:
                assert self._file is not None
                self._file.write(line)
        except BrokenPipeError:
            self._break()
        except OSError as error:
            raise cannot_write("stdout" if self._name == "-" else self._name, error) from error
        else:
            self.written += 1

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        if self._pending is not None:
            self._pending.discard()

    def _finish(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except BrokenPipeError:
                self._break()
            except OSError as error:
                self.abort()
                raise cannot_write(self._name, error) from error
        if self._pending is not None:
            self._pending.commit()

    def _break(self) -> None:
        self.is_broken = True
        if self._name == "-":
            # The interpreter flushes stdout when it ends, and would complain about the pipe again.
            try:
                descriptor = sys.stdout.fileno()
            except (OSError, ValueError):
                return
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def _write_stdout(line: bytes) -> None:
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(line.decode("utf-8"))
    else:
        sys.stdout.flush()
        buffer.write(line)
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")

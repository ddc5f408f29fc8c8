"""Outputs that appear whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from edgecv.errors import InputError, OutputError

OutputT = TypeVar("OutputT", bound="Output")


class Output(ABC):
    """Something that is written step by step, and a context manager.

    Leaving the block closes it, also on Ctrl-C, so that what came so far is there; any other exception
    aborts it.
    """

    def close(self) -> None:
        """Completes the output and gives it its name. May be called again. Raises OutputError."""
        try:
            self._finish()
        except KeyboardInterrupt:
            # An impatient second Ctrl-C shall not cost the recording.
            self._finish()
            raise

    @abstractmethod
    def abort(self) -> None:
        """Gives up: removes what is not complete. May be called again, and after `close`."""

    @abstractmethod
    def _finish(self) -> None:
        """What `close` does; when it is interrupted, a second call does the rest."""

    def __enter__(self: OutputT) -> OutputT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self.close()
        else:
            self.abort()


class PendingFile:
    """A file under a temporary name in its final folder, until `commit` gives it its name.

    The temporary name is hidden, and ends with the final suffix, which encoders go by. Until the
    commit, whatever bore the name before stays as it is; a file that is never committed is removed, at
    the latest when the program ends. A link is followed: the file that it points to is replaced.

    Raises OutputError when the file cannot be made.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._is_renaming = False
        try:
            self._final = target.resolve()
            with contextlib.suppress(FileNotFoundError):
                # A name that is too long fails here, and not at the end.
                if stat.S_ISDIR(self._final.stat().st_mode):
                    raise IsADirectoryError(0, "there is a folder of that name")
            self.path = self._final.with_name(f".edgecv-{secrets.token_hex(6)}{self._final.suffix}")
            # Unlike tempfile's, this file gets the permissions that the umask gives.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_write(target, error) from error
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())

    def commit(self) -> None:
        """Gives the file its name, replacing what was there. May be called again. Raises OutputError."""
        if not self._remove.alive:
            return
        was_interrupted, self._is_renaming = self._is_renaming, True
        try:
            self.path.replace(self._final)
        except OSError as error:
            if not (was_interrupted and isinstance(error, FileNotFoundError)):
                self.discard()
                raise cannot_write(self.target, error) from error
        self._remove.detach()

    def discard(self) -> None:
        """Removes the temporary file. May be called again, and after `commit`."""
        self._remove()


def write_whole(target: Path, data: bytes) -> None:
    """Writes a file, whole or not at all; a device or a named pipe is written directly.

    Raises OutputError.
    """
    pending = None if is_special(target) else PendingFile(target)
    try:
        (target if pending is None else pending.path).write_bytes(data)
    except (OSError, ValueError) as error:
        if pending is not None:
            pending.discard()
        raise cannot_write(target, error) from error
    if pending is not None:
        pending.commit()


def check_writable(target: Path) -> None:
    """Raises OutputError where `write_whole` would, as far as can be told beforehand."""
    if not is_special(target):
        PendingFile(target).discard()


def is_special(path: Path) -> bool:
    """Whether there is something under that name that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def cannot_write(target: Path | str, error: Exception) -> OutputError:
    """The one line for an output that failed."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    remedy = "choose another place"
    if isinstance(error, FileNotFoundError) and not Path(target).parent.exists():
        remedy = f"make the folder first: mkdir -p '{Path(target).parent}'"
    elif isinstance(error, PermissionError):
        remedy = "choose a place that you may write to"
    return OutputError(f"{target}: cannot be written: {reason}; {remedy}")


def check_not_input(target: Path, inputs: Iterable[Path]) -> None:
    """Raises InputError when writing `target` would replace one of the inputs."""
    for path in inputs:
        if is_same_file(target, path):
            raise InputError(f"{target}: the output would replace the input {path}; choose another name")


def check_distinct(targets: Iterable[Path]) -> None:
    """Raises InputError where two of the outputs would be one file.

    Names that differ in the case of letters alone count as one, which they are on some disks.
    """
    finals: dict[str, Path] = {}
    for target in targets:
        if is_special(target):
            continue
        other = finals.setdefault(os.path.realpath(target).casefold(), target)
        if other is not target:
            also = "" if str(other) == str(target) else f", which is {other} too"
            raise InputError(f"{target}: two outputs of one name{also}; choose another name for one of them")


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths, of which neither need exist, name one file; links are followed."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    with contextlib.suppress(OSError, ValueError):
        return one.samefile(other)
    return False


def _remove(path: Path, owner: int) -> None:
    # A forked child inherits the finalizer, but not the file.
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            path.unlink()

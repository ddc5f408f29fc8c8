"""Files that this user alone can write, and whose contents are therefore believed.

What edgecv keeps between runs lies in folders that others may reach. Whoever can write there can say what
runs, so a file or a folder counts only when no one else could have made or changed it.
"""

from __future__ import annotations

import os
import stat
import time

# A process that is still writing has written within the last hour.
LEFTOVER_AGE_S = 3600

# Bits of those who may write beside the owner.
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Names of files being written, which no file of the cache bears otherwise.
_PENDING = ".pending-"

_warned: set[str] = set()


def problem_of(path: str, *, is_folder: bool = False) -> str | None:
    """Why what lies at `path` is not believed, in one line; None where it is.

    It has to be a regular file, or a folder, no link to one, that belongs to this user, and that neither its
    group nor others may write. Raises OSError, mostly FileNotFoundError.
    """
    return _problem(path, os.lstat(path), is_folder)


def warn(problem: str) -> None:
    """Tell the log, once in a process, that something is not believed and therefore not used."""
    if problem in _warned:
        return
    _warned.add(problem)
    # Long to import for what mostly is not said.
    import logging

    logging.getLogger("edgecv").warning("not used: %s", problem)


def read(path: str, *, most: int) -> bytes | None:
    """A file's bytes; None for one that is not believed or has more than `most`, with a warning.

    Raises OSError.
    """
    with open(path, "rb", opener=_open_itself) as file:
        # Of the opened file: another one may bear its name by now.
        status = os.fstat(file.fileno())
        problem = _problem(path, status, False)
        if problem is None and status.st_size > most:
            problem = f"{path}: expected at most {most} bytes, got {status.st_size}: remove it"
        if problem is not None:
            warn(problem)
            return None
        return file.read(most)


def write(path: str, data: bytes) -> None:
    """Write a file, whole or not at all, that only this user can read; its folder too, where it is new.

    Its times are those of now to the nanosecond, where the file system keeps them so. Raises OSError.
    """
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, mode=0o700, exist_ok=True)
    pending = os.path.join(folder, f"{_PENDING}{os.urandom(8).hex()}")
    handle = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        touch(pending)
        os.replace(pending, path)
    except BaseException:
        # Ctrl-C and a full disk alike.
        remove(pending)
        raise


def touch(path: str) -> None:
    """Set a file's times to now, finer than the kernel's own. Raises OSError."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def remove(path: str) -> bool:
    """Remove a file. False where it was gone already: others remove too. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def sweep(folder: str) -> None:
    """Remove what processes that were killed while they wrote left in a folder. Raises OSError."""
    with os.scandir(folder) as found:
        pending = [entry for entry in found if entry.name.startswith(_PENDING)]
    for entry in pending:
        try:
            age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:
            continue
        if age_s > LEFTOVER_AGE_S:
            remove(entry.path)


def _open_itself(path: str, flags: int) -> int:
    # A pipe would block before it could be looked at.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _problem(path: str, status: os.stat_result, is_folder: bool) -> str | None:
    mode, what = status.st_mode, "folder" if is_folder else "file"
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(mode):
        return f"{path}: expected a {what}, got {_kind(mode)}: remove it"
    if status.st_uid != os.geteuid():
        return f"{path}: expected a {what} of user {os.geteuid()}, got one of user {status.st_uid}: remove it"
    if mode & _OTHERS:
        return (
            f"{path}: expected a {what} that only its owner can write, got mode {stat.S_IMODE(mode):04o}: "
            "remove it"
        )
    return None


def _kind(mode: int) -> str:
    names = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
    return names.get(stat.S_IFMT(mode), "a device or a pipe")

"""Locks that a fork does not leave taken, and what belongs to one thread at a time."""

from __future__ import annotations

import os
from _thread import allocate_lock
from typing import ClassVar
from weakref import WeakSet

from edgecv.errors import BackendError, SessionBusyError


class Lock:
    """A lock that is free in a process that was forked, where the thread that held it is not.

    It costs less to import than threading, which nothing before the first result needs.
    """

    _all: ClassVar[WeakSet[Lock]] = WeakSet()

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._all.add(self)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`: a timeout of -1 waits without limit."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """As `threading.Lock.release`."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @classmethod
    def renew(cls) -> None:
        """Free all of them: of the threads of a process, a fork has one."""
        for lock in list(cls._all):
            lock._lock = allocate_lock()


os.register_at_fork(after_in_child=Lock.renew)


class Exclusive:
    """One thread at a time: a second one raises instead of waiting; so does use after `close()`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = Lock()
        self._closed = False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise SessionBusyError(
                f"this {self._what} is running in another thread: give each thread its own, as "
                f"{self._what}.clone() makes one"
            )
        if self._closed:
            self._lock.release()
            self.check_open()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def check_open(self) -> None:
        """Raise BackendError where it was closed, whoever runs it."""
        if self._closed:
            raise BackendError(f"this {self._what} is closed")

    def close(self) -> bool:
        """Refuse further use; waits for a run in progress. Returns False when it was closed already."""
        with self._lock:
            was_open, self._closed = not self._closed, True
        return was_open

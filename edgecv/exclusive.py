"""Locks that a fork does not leave taken, and what belongs to one thread at a time."""

from __future__ import annotations

import os
from _thread import allocate_lock, get_ident
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
        self._holder = 0
        self._all.add(self)

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread holds it, as a signal's handler finds it within a run."""
        return self._holder == get_ident()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`: a timeout of -1 waits without limit."""
        if not self._lock.acquire(blocking, timeout):
            return False
        self._holder = get_ident()
        return True

    def release(self) -> None:
        """As `threading.Lock.release`."""
        self._holder = 0
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    @classmethod
    def renew(cls) -> None:
        """Free all of them: of the threads of a process, a fork has one."""
        for lock in list(cls._all):
            lock._lock, lock._holder = allocate_lock(), 0


os.register_at_fork(after_in_child=Lock.renew)


class Exclusive:
    """One thread at a time: a second one raises instead of waiting; so does use after `close()`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = Lock()
        self._closed = False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.check_open()
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
        """Refuse further use; waits for a run in progress. Returns False when it was closed already.

        Raises SessionBusyError within a run of the same thread, which a signal's handler interrupts.
        """
        if self._lock.is_mine:
            raise SessionBusyError(
                f"this {self._what} is running in this very thread: close it once the call has returned"
            )
        with self._lock:
            was_open, self._closed = not self._closed, True
        return was_open

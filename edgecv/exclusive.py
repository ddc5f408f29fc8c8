"""Exclusive: what belongs to one thread at a time."""

from __future__ import annotations

from _thread import allocate_lock

from edgecv.errors import BackendError, SessionBusyError


class Exclusive:
    """One thread at a time: a second one raises instead of waiting; so does use after `close()`."""

    def __init__(self, what: str) -> None:
        self._what = what
        # A threading.Lock, without the import of the rest of threading before the first result.
        self._lock = allocate_lock()
        self._closed = False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise SessionBusyError(
                f"this {self._what} is running in another thread: give each thread its own, as "
                f"{self._what}.clone() makes one"
            )
        if self._closed:
            self._lock.release()
            raise BackendError(f"this {self._what} is closed")

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> bool:
        """Refuse further use; waits for a run in progress. Returns False when it was closed already."""
        with self._lock:
            was_open, self._closed = not self._closed, True
        return was_open

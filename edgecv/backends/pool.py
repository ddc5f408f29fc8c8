"""Pool: threads that sessions of several networks share on one robot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from edgecv.errors import CancelledError, DeadlineError, InputError, SessionBusyError
from edgecv.exclusive import Lock

if TYPE_CHECKING:
    from edgecv import _simd

# How long a run that waits for its turn may not notice that it was cancelled.
_LOOK_S = 0.005


class Pool:
    """Threads for runs of the engine; sessions of several networks may share them, and take turns.

    threads: those of one run, the calling thread included, 1 to 256. cpus: numbers of the processors that
    the other threads stay on; None: those that the calling thread may use. The calling thread stays where
    it is. A run that finds another one in progress waits for its end, at most until its own deadline.

    Raises InputError for processors that this process may not use. A context manager.
    """

    def __init__(self, threads: int, *, cpus: Sequence[int] | None = None) -> None:
        from edgecv import _simd

        if cpus is not None and (isinstance(cpus, (str, bytes)) or not hasattr(cpus, "__iter__")):
            raise InputError(f"cpus: expected numbers of processors, as (2, 3), got {cpus!r}")
        self._threads = _simd.Pool(threads, budget=_budget(threads, cpus), cpus=cpus)
        self._lock = Lock()

    @property
    def threads(self) -> int:
        """Threads of one run, the caller included."""
        return self._threads.threads

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """Processors that the workers stay on, None where they are free."""
        return self._threads.cpus

    @contextmanager
    def turn(
        self, deadline_ns: int = 0, is_cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[_simd.Pool]:
        """The threads, once it is this run's turn. Raises DeadlineError where it is not in time,
        CancelledError once `is_cancelled` says so."""
        if not self._lock.acquire(blocking=False):
            self._wait(deadline_ns, is_cancelled)
        try:
            yield self._threads
        finally:
            self._lock.release()

    def _wait(self, deadline_ns: int, is_cancelled: Callable[[], bool]) -> None:
        if self._lock.is_mine:
            raise SessionBusyError("pool: in use in this very thread: wait until the call has returned")
        wait_s = _LOOK_S
        while not self._lock.acquire(timeout=wait_s):
            if is_cancelled():
                raise CancelledError("pool: cancelled while another run had its threads")
            if deadline_ns:
                left_s = (int(deadline_ns) - time.monotonic_ns()) / 1e9
                if left_s <= 0:
                    raise DeadlineError("pool: not begun: another run had its threads until the deadline")
                wait_s = min(left_s, _LOOK_S)

    def close(self) -> None:
        """End the threads, after a run in progress; sessions that share them raise from then on."""
        with self.turn() as threads:
            threads.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _budget(threads: int, cpus: Sequence[int] | None) -> int | None:
    """How many may run at a time; None for a thread alone, which waits for no other."""
    # What is no number is refused where the threads are made.
    if threads == 1 or not hasattr(threads, "__index__"):
        return None
    from edgecv import machine

    # The caller may be anywhere.
    placed = threads if cpus is None else len(set(cpus)) + 1
    return min(machine.cpu_budget(), placed)

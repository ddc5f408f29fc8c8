"""Pool: threads that sessions of several networks share on one robot."""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections.abc import Sequence
from types import TracebackType

from edgecv.errors import DeadlineError

# What a lock's timeout says for none.
_FOREVER = -1


class Pool:
    """Threads for runs of the engine; sessions of several networks may share them, and take turns.

    threads: those of one run, the calling thread included, 1 to 256. cpus: numbers of the processors that
    the other threads stay on; None: those that the calling thread may use. The calling thread stays where
    it is. A run that finds another one in progress waits for its end, at most until its own deadline.

    Raises InputError for processors that this process may not use. A context manager.
    """

    def __init__(self, threads: int, *, cpus: Sequence[int] | None = None) -> None:
        from edgecv import _simd

        self.native = _simd.Pool(threads, budget=budget_of(threads), cpus=cpus)
        self._turn = allocate_lock()

    @property
    def threads(self) -> int:
        """Threads of one run, the caller included."""
        return self.native.threads

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """Processors that the workers stay on, None where they are free."""
        return self.native.cpus

    def begin(self, deadline_ns: int = 0) -> None:
        """Wait for a turn; `end` gives it back. Raises DeadlineError where it does not come in time."""
        if self._turn.acquire(blocking=False):
            return
        wait_s = max(deadline_ns - time.monotonic_ns(), 0) / 1e9 if deadline_ns else _FOREVER
        if not self._turn.acquire(timeout=wait_s):
            raise DeadlineError("pool: not begun: another run had its threads until the deadline")

    def end(self) -> None:
        """Give the turn back."""
        self._turn.release()

    def close(self) -> None:
        """End the threads, after a run in progress; sessions that share them raise from then on."""
        self.begin()
        try:
            self.native.close()
        finally:
            self.end()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def budget_of(threads: int) -> int | None:
    """How many may run at a time; None for a thread alone, which waits for no other."""
    if threads == 1:
        return None
    from edgecv import machine

    return machine.cpu_budget()

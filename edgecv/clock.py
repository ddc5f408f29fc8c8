"""The one clock: captures, deadlines and stages, in nanoseconds of `time.monotonic_ns()`.

Nothing about time fails open: a time of another clock, which would make every frame fresh and every deadline
far, is an error.
"""

from __future__ import annotations

import operator
import time

from edgecv.errors import DeadlineError, InputError
from edgecv.types import Timing

# No run is meant to take longer; a wall clock's time is decades ahead of the monotonic clock's.
MOST_AHEAD_NS = 24 * 3600 * 10**9


def check_captured(captured_ns: int | None) -> None:
    """Raise InputError unless a capture is a time of the monotonic clock that has been, or None."""
    if captured_ns is None:
        return
    ahead_ns = _whole("captured_ns", captured_ns) - time.monotonic_ns()
    if ahead_ns > 0:
        raise InputError(
            f"captured_ns: expected a time.monotonic_ns() that has been, got one {ahead_ns / 1e9:.6g} s "
            "ahead: time.time_ns() and stamps of other machines are other clocks"
        )


def check_deadline(deadline_ns: int, what: str) -> None:
    """Raise DeadlineError where a deadline is past already, InputError where it is no time to wait for.

    deadline_ns: of time.monotonic_ns(), 0 for none. what: whose deadline, for the message.
    """
    if type(deadline_ns) is not int or deadline_ns < 0:
        deadline_ns = _whole("deadline_ns", deadline_ns)
    if not deadline_ns:
        return
    ahead_ns = deadline_ns - time.monotonic_ns()
    if ahead_ns > MOST_AHEAD_NS:
        raise InputError(
            f"deadline_ns: expected time.monotonic_ns() and what may pass, got a time {ahead_ns / 1e9:.6g} s "
            "ahead: time.time_ns() is another clock; 0 is no deadline"
        )
    if ahead_ns <= 0:
        raise DeadlineError(f"{what}: not begun: its deadline passed {-ahead_ns / 1e6:.3f} ms before")


def judge(deadline_ns: int, what: str) -> None:
    """Raise DeadlineError where a deadline has passed, of something that is done; 0 is no deadline."""
    if not deadline_ns:
        return
    # Integers of numpy wrap around.
    late_ns = time.monotonic_ns() - int(deadline_ns)
    if late_ns >= 0:
        raise DeadlineError(f"{what}: done {late_ns / 1e6:.3f} ms after its deadline, and not used")


def age_ms(captured_ns: int | None) -> float | None:
    """How old a capture is now; None where it is not known."""
    return None if captured_ns is None else (time.monotonic_ns() - int(captured_ns)) / 1e6


class Stopwatch:
    """Tells what each stage of one frame took, stage after stage."""

    def __init__(self) -> None:
        self._stages: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def lap(self, stage: str) -> None:
        """The stage that ends now; one that comes again adds to its time."""
        now = time.perf_counter_ns()
        self._stages[stage] = self._stages.get(stage, 0) + now - self._last
        self._last = now

    def timing(self, share: int = 1) -> Timing:
        """All stages so far. share: frames that the time is shared by."""
        return Timing(tuple((stage, ns / 1e6 / share) for stage, ns in self._stages.items()))


def _whole(name: str, value: object) -> int:
    try:
        # No float, be it whole: one of these times has more digits than it keeps.
        whole = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        whole = -1
    if whole < 0:
        raise InputError(f"{name}: expected whole nanoseconds of time.monotonic_ns(), got {value!r}")
    return whole

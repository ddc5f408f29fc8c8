"""Whether something that is done again and again keeps memory.

Two accounts are read. malloc's own is exact, and sees a leak that is fed from memory which was free before.
Resident memory sees what malloc does not hand out, but moves by megabytes where nothing leaks. So the work is
measured in a process of its own, away from the heap that other tests left behind, and in rounds, of which the
one with the least growth counts: a leak grows in all of them.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from unittest import mock

import psutil

from tests.allocation import handed_out_bytes

WARM_UP = 300
ROUND = 1000
ROUNDS = 5
# What 263 bytes kept at each step come to in a round.
LEAK = 256 << 10

Step = Callable[[int], object]


def in_own_process(measure: Callable[..., int], *args: object) -> int:
    """`measure(*args)` in a new process, where malloc makes Python's objects too.

    measure: a function of a module, which returns what `least_growth` does.
    """
    spawn = multiprocessing.get_context("spawn")
    # Python reads the variable when it starts.
    with mock.patch.dict(os.environ, PYTHONMALLOC="malloc"), ProcessPoolExecutor(1, spawn) as processes:
        return processes.submit(measure, *args).result()


def least_growth(step: Step) -> int:
    """Bytes by which this process grew in the round of steps that it grew least in.

    step: takes its number. A round that grew by less than LEAK is the last.
    """
    done = 0

    def held_after(steps: int) -> tuple[int, int]:
        nonlocal done
        for number in range(done, done + steps):
            step(number)
        done += steps
        gc.collect()
        return handed_out_bytes() or 0, int(process.memory_info().rss)

    process = psutil.Process()
    least = None
    before = held_after(WARM_UP)
    for _ in range(ROUNDS):
        after = held_after(ROUND)
        grown = max(now - then for now, then in zip(after, before, strict=True))
        least = grown if least is None else min(least, grown)
        if least < LEAK:
            break
        before = after
    assert least is not None
    return least

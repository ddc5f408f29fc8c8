"""The pool: the same bits for any number of threads, and workers that do not outlive it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgecv import _simd
from edgecv.errors import BackendError, InputError
from tests.engine.programs import copies, network
from tests.kernels.simd_program import each_isa

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.alone  # counts the threads of its process
IS_EMULATED = os.environ.get("EDGECV_TEST_PROFILE") == "emulated"
emulated = pytest.mark.skipif(IS_EMULATED, reason="the emulator's threads show in /proc too")


def workers() -> list[Path]:
    """The folders in /proc of this process's workers."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            if (task / "comm").read_text() == "edgecv\n":
                found.append(task)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def python(program: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own: one that forks, or ends with workers alive."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )


@each_isa
def test_any_number_of_threads_gives_the_same_bits(isa: str) -> None:
    program = network(isa)
    context = program.context()
    expected = [result.tobytes() for result in program.run(1, context)]
    assert all(np.isfinite(result).all() for result in program.run(1, context))
    for threads in (1, 2, 3, 4, 8):
        for _ in range(20):
            assert [result.tobytes() for result in program.run(threads, context)] == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("chunk_rows", [1, 2, 7, 100])
def test_every_chunk_runs_once(threads: int, chunk_rows: int) -> None:
    program, array = copies(steps=200, rows=33, columns=5, chunk_rows=chunk_rows)
    assert np.array_equal(program.run(threads)[0], array)


def test_more_threads_than_cpus_do_not_spin_and_still_finish() -> None:
    program, array = copies(steps=50, rows=64, columns=64)
    context, pool = program.context(), _simd.Pool(6, budget=1)
    for _ in range(20):
        out = np.zeros_like(array)
        context.run(pool, (array,), (out,))
        assert np.array_equal(out, array)
    pool.close()


def test_runs_with_pauses_wake_sleeping_workers() -> None:
    program, array = copies(steps=3, rows=64, columns=64)
    context, pool = program.context(), _simd.Pool(3)
    for _ in range(20):
        out = np.zeros_like(array)
        context.run(pool, (array,), (out,))
        assert np.array_equal(out, array)
        time.sleep(0.002)
    pool.close()


def test_one_pool_serves_many_plans() -> None:
    pool = _simd.Pool(2)
    for steps in (1, 2, 3):
        program, array = copies(steps, rows=4, columns=steps)
        out = np.zeros_like(array)
        program.context().run(pool, (array,), (out,))
        assert np.array_equal(out, array)
    pool.close()


@emulated
def test_threads_are_the_caller_and_workers_which_close_ends() -> None:
    before = len(workers())
    pool = _simd.Pool(4)
    assert pool.threads == 4
    deadline = time.monotonic() + 60
    while len(workers()) != before + 3 and time.monotonic() < deadline:  # a thread is named after it starts
        time.sleep(0.001)
    assert len(workers()) == before + 3
    pool.close()
    pool.close()
    assert len(workers()) == before


@emulated
def test_a_pool_that_nobody_holds_ends_its_workers() -> None:
    before = len(workers())
    _simd.Pool(3)
    assert len(workers()) == before


def test_a_closed_pool_runs_nothing() -> None:
    program, array = copies(steps=1)
    context, pool = program.context(), _simd.Pool(2)
    pool.close()
    with pytest.raises(BackendError, match=r"^pool: it is closed; make a new one$"):
        context.run(pool, (array,), (np.zeros_like(array),))
    assert np.array_equal(program.run(context=context)[0], array)


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True, None, "2"])
def test_wrong_counts(threads: object) -> None:
    with pytest.raises(InputError, match=r"^threads: expected a whole number from 1 to 256, got "):
        _simd.Pool(threads)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^budget: "):
        _simd.Pool(1, budget=0)


@emulated
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_workers_inherit_affinity_and_take_no_signals() -> None:
    cpu = min(os.sched_getaffinity(0))
    known = {task.name for task in workers()}
    result: list[str] = []

    def pinned() -> None:
        os.sched_setaffinity(0, {cpu})  # of this thread alone
        pool = _simd.Pool(2)
        while len(new := [task for task in workers() if task.name not in known]) < 1:
            time.sleep(0.001)
        result.append((new[0] / "status").read_text())
        pool.close()

    thread = threading.Thread(target=pinned)
    thread.start()
    thread.join()
    status = dict(line.split(":\t", 1) for line in result[0].splitlines())
    assert status["Cpus_allowed_list"] == str(cpu)
    assert int(status["SigBlk"], 16) & 1 << (2 - 1)  # SIGINT


@emulated
def test_idle_workers_sleep() -> None:
    program, array = copies(steps=3, rows=64, columns=64)
    context, pool = program.context(), _simd.Pool(3)
    known = set(workers())
    context.run(pool, (array,), (np.zeros_like(array),))
    deadline = time.monotonic() + 60
    states: set[str] = set()
    while states != {"S"} and time.monotonic() < deadline:
        states = {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in known}
    assert states == {"S"}
    pool.close()


FORK = """
import os, threading
import numpy as np
from edgecv import _simd
from tests.engine.programs import copies

program, array = copies(steps=20, rows=64, columns=64)
context, pool = program.context(), _simd.Pool({threads})
out = np.zeros_like(array)
context.run(pool, (array,), (out,))
long, _ = copies(steps=5000, rows=64, columns=64)
busy_context = long.context()
stop = threading.Event()

def keep_running():
    while not stop.is_set():
        busy_context.run(pool, (array,), (np.zeros_like(array),))

thread = threading.Thread(target=keep_running)
if {busy}:
    thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        out = np.zeros_like(array)
        for each in (context, busy_context):
            each.run(pool, (array,), (out,))
        pool.close()
        os._exit(0 if np.array_equal(out, array) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
if {busy}:
    thread.join()
context.run(pool, (array,), (out,))
print("done")
"""


@pytest.mark.skipif(IS_EMULATED, reason="an emulator with threads does not survive a fork")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "running"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_fork_makes_new_workers(threads: int, busy: bool) -> None:
    done = python(FORK.format(threads=threads, busy=busy))
    assert done.stdout == "done\n", done.stderr


END = """
import numpy as np
from edgecv import _simd
from tests.engine.programs import copies

program, array = copies(steps=20, rows=64, columns=64)
context, pool = program.context(), _simd.Pool(3)
context.run(pool, (array,), (np.zeros_like(array),))
{end}
"""


@pytest.mark.parametrize(
    "end",
    ["", "import sys; sys.modules['keep'] = pool", "raise SystemExit", "import os; os._exit(0)"],
    ids=["end", "kept", "exit", "at once"],
)
def test_the_interpreter_ends_with_workers_alive(end: str) -> None:
    done = python(END.format(end=end))
    assert done.returncode == 0, done.stderr


def test_workers_stay_on_the_processors_that_are_named() -> None:
    cpu = max(os.sched_getaffinity(0))
    before, tasks = os.sched_getaffinity(0), set(Path("/proc/self/task").iterdir())
    pool = _simd.Pool(3, cpus=[cpu])
    try:
        workers = set(Path("/proc/self/task").iterdir()) - tasks
        assert len(workers) == 2
        assert all(os.sched_getaffinity(int(task.name)) == {cpu} for task in workers)
        assert os.sched_getaffinity(0) == before
        assert pool.cpus == (cpu,)
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("cpus", "message"),
    [
        ([], "expected at least one processor"),
        ([-1], "expected a whole number from 0 to 1023"),
        ([1024], "expected a whole number from 0 to 1023"),
        ([1023], "expected processors that this process may run on, got 1023"),
        ([0, 1023], "expected processors that this process may run on, got 0, 1023"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_processors_that_there_are_not(threads: int, cpus: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _simd.Pool(threads, cpus=cpus)

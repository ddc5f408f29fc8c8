"""After warm-up a run on one thread takes no memory and no lock, and calls the system for nothing.

Counted two ways: by a library in front of the C library's functions, and by a kernel that ends the
process at its first system call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("count_calls.c")
COMPILER = shutil.which(os.environ.get("CC", "cc"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.environ.get("EDGECV_TEST_PROFILE") == "emulated",
    reason="needs a Linux kernel of its own, not an emulator's",
)

PREPARE = """
import ctypes, os, sys
import numpy as np
from edgecv import _simd
from edgecv import _isa
from tests.engine.programs import network

libc = ctypes.CDLL(None)
program = network(_isa.active())
context, pool = program.context(), _simd.Pool(1)
inputs = tuple(program.inputs)
outputs = tuple(np.zeros(shape, dtype) for shape, dtype in program.outputs)
"""

# step_times() releases the interpreter's lock once, for as many runs as it is asked for.
COUNT = """
def calls(runs):
    libc.count_from_here()
    context.step_times(pool, inputs, outputs, runs)
    return libc.count_until_here()

libc.count_until_here.restype = ctypes.c_long
first = calls(1)
calls(1)
print(first, calls(1), calls(1000))

libc.count_from_here()
keep = bytearray(1 << 24)
print(libc.count_until_here())
"""

# SECCOMP_MODE_STRICT leaves read, write, exit and sigreturn; anything else is SIGKILL. A forked child has one
# thread, whatever NumPy has started.
CONFINE = """
def run():
    for _ in range(50):
        context.run(pool, inputs, outputs)

exit_number = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
leave, confine = libc.syscall, libc.prctl
child = os.fork()
if child:
    sys.exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
run()
if confine(22, 1, 0, 0, 0):
    os._exit(3)
run()
os.write(1, b"no system call")
%s
leave(exit_number, 0)
"""


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREPARE + program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.skipif(COMPILER is None, reason="no C compiler to build the counter with")
def test_a_run_allocates_nothing_and_takes_no_lock(tmp_path: Path) -> None:
    library = tmp_path / "count_calls.so"
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the counter does not build here: {built.stderr.splitlines()[0]}")
    done = python(COUNT, LD_PRELOAD=str(library))
    assert done.returncode == 0, done.stderr
    runs, control = done.stdout.splitlines()
    _, one, thousand = map(int, runs.split())
    assert thousand == one, "a run calls the C library for memory, a lock or the system"
    assert int(control) > 0, "the counter counts nothing"


def test_a_run_makes_no_system_call() -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip(f"the number of exit on {os.uname().machine} is unknown here")
    done = python(CONFINE % "")
    if done.returncode == 3:
        pytest.skip("this kernel confines no process")
    assert (done.returncode, done.stdout) == (0, "no system call"), done.stderr
    control = python(CONFINE % "os.getppid()")
    assert control.returncode == 9

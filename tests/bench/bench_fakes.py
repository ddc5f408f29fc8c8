"""A fake `edgecv.load` for the benchmark's workers: its backends are ways to behave, well or badly."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgecv.errors import BackendError, BackendUnavailableError, ModelNotFoundError
from edgecv.types import Detections, Placement, Timing

LOG = "EDGECV_TEST_FAKE_LOG"


def log(line: str) -> None:
    """Append a line to the file that the test reads."""
    if path := os.environ.get(LOG):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


class FakeDetector:
    def __init__(self, backend: str, asked: dict[str, Any]) -> None:
        self.backend = backend
        self.asked = asked
        self.calls = 0
        self.placement = Placement(
            backend=f"fake-{backend}",
            version="1",
            device=asked["device"],
            precision=asked["precision"],
            threads=asked["threads"] or 0,
            engine="none",
        )

    def __call__(self, frame: Any) -> Detections:
        self.calls += 1
        log(f"frame {self.backend} {os.getpid()} {'x'.join(map(str, frame.shape))}")
        if self.backend == "crash" and self.calls > 3:
            print("about to abort", file=sys.stderr, flush=True)
            os.abort()
        if self.backend == "raise" and self.calls > 3:
            raise BackendError("the fake\nfailed on purpose")
        if self.backend == "hang" and self.calls > 3:
            time.sleep(600)
        if self.backend == "chatter":
            print("python on stdout", flush=True)
            ctypes.CDLL(None).puts(b"a native library on stdout")
            ctypes.CDLL(None).fflush(None)
            os.write(1, b"x" * 5000 + b"\n")
            os.write(2, b"y" * 100_000)
            assert sys.stdin.read() == ""
        timing = None if self.backend == "untimed" else Timing(1.0, 2.0 + self.calls / 1000, 3.0)
        return Detections(
            xyxy=frame[:0, 0, :0],
            confidence=frame[:0, 0, 0],
            class_id=frame[:0, 0, 0],
            timing=timing,
        )


def load(model: str, *, backend: str, **asked: Any) -> FakeDetector:
    """backend: how to behave."""
    log(f"load {backend} {os.getpid()} {model} {sorted(asked.items())}")
    if backend == "unavailable":
        raise BackendUnavailableError("the fake backend is not usable here: it never is")
    if backend == "notfound":
        raise ModelNotFoundError(f"{model}: no such file")
    if backend == "exit":
        raise SystemExit(7)
    if backend == "hang-at-load":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)
    if backend == "affinity":
        log(f"affinity {sorted(os.sched_getaffinity(0))}")
    return FakeDetector(backend, asked)

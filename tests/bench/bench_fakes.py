"""Fakes of `api.load_with` for the benchmark's workers: their backends are ways to behave, well or badly."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from edgecv import api
from edgecv.errors import BackendError, BackendUnavailableError, ModelNotFoundError
from edgecv.options import LoadOptions
from edgecv.types import Detections, Placement, Seen, Timing

LOG = "EDGECV_TEST_FAKE_LOG"

# What the stages of the backend "four" are called, and the milliseconds that each of them says.
FOUR = {"prepare": 0.5, "find_regions": 4.0, "read_regions": 2.0, "join": 0.25}


def log(line: str) -> None:
    """Append a line to the file that the test reads."""
    if path := os.environ.get(LOG):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


class FakePipeline:
    """weights: what clones share; only their identity counts."""

    def __init__(self, options: LoadOptions, weights: object) -> None:
        assert options.backend is not None
        self.backend = options.backend
        self.options = options
        self.weights = weights
        self.calls = 0
        self.placement = Placement(
            backend=f"fake-{self.backend}",
            version="1",
            device=options.device or "cpu",
            stored="fp32",
            precision=options.precision or "fp32",
            threads=options.threads or 0,
            engine="none",
        )

    def clone(self) -> FakePipeline:
        log(f"clone {self.backend} {os.getpid()} {id(self.weights)}")
        return FakePipeline(self.options, self.weights)

    def __call__(self, frame: Any) -> Detections:
        self.calls += 1
        size = "x".join(map(str, frame.shape))
        log(f"frame {self.backend} {os.getpid()} {size} {id(self.weights)} {id(self)}")
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
        return Detections(
            xyxy=frame[:0, 0, :0],
            confidence=frame[:0, 0, 0],
            class_id=frame[:0, 0, 0],
            seen=None if self.backend == "untimed" else Seen(self._timing(), self.placement),
        )

    def batch(self, frames: list[Any]) -> list[Detections]:
        return [self(frame) for frame in frames]

    def _timing(self) -> Timing:
        if self.backend == "four":
            return Timing(tuple(FOUR.items()))
        stages = (("preprocess", 1.0), ("inference", 2.0 + self.calls / 1000), ("postprocess", 3.0))
        # A stage that only some frames need.
        late = (("again", 0.5),) if self.backend == "late" and self.calls > 6 else ()
        return Timing(stages + late)


def load(model: str, options: LoadOptions, *, settings: dict[str, Any]) -> FakePipeline:
    """options.backend: how to behave."""
    backend, plain = options.backend, msgspec.structs.asdict(options)
    log(f"load {backend} {os.getpid()} {model} {sorted(plain.items())} {sorted(settings.items())}")
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
    return FakePipeline(options, weights=object())


def load_real(model: str, options: LoadOptions, *, settings: dict[str, Any]) -> Any:
    """The real one, counted."""
    log(f"load {options.backend} {os.getpid()}")
    return api.load_with(model, options, settings=settings)

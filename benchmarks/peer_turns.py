"""The parent's side of peers.py: a child process for each case, which works when it is granted a turn."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.bench.statistics import summarize

WORKER = Path(__file__).with_name("peer_worker.py")
TIMEOUT_S = 300.0
SETTLE = 3


@dataclass
class Plan:
    """What all cases of one network share. expected: its outputs, in order."""

    network: dict[str, Any]
    folder: Path
    expected: list[NDArray[np.float32]] = field(default_factory=list)


class Lane:
    """One engine at one setting and number of threads, in its process.

    ms: of each sample. gap: how far its outputs are from what is expected. failure: why it is out.
    """

    def __init__(
        self, plan: Plan, engine: str, setting: str, threads: int, pin: tuple[int, ...] | None
    ) -> None:
        self.engine, self.setting, self.threads = engine, setting, threads
        self.ms: list[float] = []
        self.gap = float("nan")
        self.failure: str | None = None
        self.tried: dict[str, float | str] = {}
        self.outputs: list[NDArray[np.float32]] = []
        self._plan, self._cpus = plan, None if pin is None else list(pin[:threads])
        self._facts: dict[str, Any] = {}
        with (plan.folder / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )

    @property
    def is_absent(self) -> bool:
        """Whether it cannot be had at all, at whatever setting."""
        return self.failure is not None and self.failure.startswith(
            ("ModuleNotFoundError", "ImportError", "FileNotFoundError")
        )

    def is_open(self, frames: int, seconds: float) -> bool:
        """Whether it takes more turns."""
        return self.failure is None and len(self.ms) < frames and sum(self.ms) < seconds * 1e3

    def load(self, warmup_seconds: float) -> None:
        """Make the engine in the process, and look at its first outputs."""
        saved = self._plan.folder / "outputs.npz"
        self._facts = self._ask(
            do="load",
            engine=self.engine,
            setting=self.setting,
            network=self._plan.network,
            x=str(self._plan.folder / "x.npy"),
            threads=self.threads,
            cpus=self._cpus,
            save=str(saved),
            seconds=warmup_seconds,
        )
        if self.failure is not None or not saved.exists():
            return
        with np.load(saved) as arrays:
            self.outputs = [arrays[name] for name in arrays.files]
        saved.unlink()
        if self._plan.expected:
            self.gap = _gap(self.outputs, self._plan.expected)

    def take_turn(self, frames: int, seconds: float) -> None:
        """Sample for one turn."""
        reply = self._ask(do="turn", frames=frames, seconds=seconds, settle=SETTLE)
        if self.failure is None:
            self.ms += reply["ms"]
            self._facts["peak_rss_bytes"] = reply["peak_rss_bytes"]

    def fail(self, why: str) -> None:
        """Take it out."""
        self.failure = why
        self.kill()

    def kill(self) -> None:
        """End the process; ending it twice is fine."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def row(self) -> dict[str, Any]:
        """What it came to."""
        row: dict[str, Any] = {"engine": self.engine, "threads": self.threads, "setting": self.setting}
        row |= {"tried": self.tried}
        if self.failure is not None or not self.ms:
            return row | {"failure": self.failure or "no samples"}
        found = summarize(self.ms)
        figures = {"n": found.n, "min_ms": found.min, "p50_ms": found.p50, "p99_ms": found.p99}
        return row | figures | {"p99.9_ms": found.p99_9, "error": self.gap} | self._facts

    def _ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            while not line.endswith(b"\n"):
                if not select.select([self._process.stdout], [], [], TIMEOUT_S)[0]:
                    self.fail(f"no answer within {TIMEOUT_S:g} s")
                    return {}
                part = self._process.stdout.read(1 << 16)
                if not part:
                    raise BrokenPipeError
                line += part
        except BrokenPipeError:
            self.fail(f"its process ended with {self._process.wait()}")
            return {}
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            self.fail(reply["error"])
        return reply


def _gap(found: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> float:
    """max|a - b| / max|b| of the worst output; infinity where shapes differ by more than sizes of 1."""
    worst = 0.0
    if len(found) != len(expected):
        return float("inf")
    for a, b in zip(found, expected, strict=True):
        if a.squeeze().shape != b.squeeze().shape:
            return float("inf")
        gap = np.abs(a.squeeze() - b.squeeze()).max(initial=0.0) / max(np.abs(b).max(initial=0.0), 1e-30)
        worst = max(worst, float(np.nan_to_num(gap, nan=np.inf)))
    return worst

"""The child process of peers.py: one network on one engine at one number of threads, a turn at a time.

It reads a JSON object a line and answers with one. Between two it does nothing, and it answers only when its
threads have come to rest.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peer_engines import ENGINES, Engine, Network, Reference

from edgecv.bench.peak import Peak
from edgecv.bench.worker import come_to_rest, peak_rss_bytes, pin, take_pipes

# In place of an engine: what multiply-adds come to at best.
PEAK = "peak"


class Worker:
    """What is kept between two lines."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._peak: Peak | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; an exception becomes `error`."""
        try:
            return getattr(self, f"do_{asked.pop('do')}")(**asked)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            return {"error": f"{type(error).__name__}: {lines[0]}"[:500]}

    def do_load(
        self,
        engine: str,
        setting: str,
        network: dict[str, Any],
        x: str,
        threads: int,
        cpus: list[int] | None,
        save: str,
        seconds: float,
    ) -> dict[str, Any]:
        """Make the engine, keep the outputs of its first run in `save`, and warm it up."""
        if cpus is not None:
            pin(cpus)
        if engine == PEAK:
            self._peak = Peak(threads)
            return {}
        kind = Reference if engine == Reference.name else ENGINES[engine]
        paths = {key: Path(network[key]) for key in ("onnx", "folder")}
        tflite = network["tflite"] and Path(network["tflite"])
        found = Network(outputs=tuple(network["outputs"]), tflite=tflite, **paths)
        started = time.perf_counter()
        self._engine = kind(found, np.load(x), threads, **kind.SETTINGS[setting])
        outputs = [np.array(y, np.float32) for y in self._engine.run()]
        first_s = time.perf_counter() - started
        np.savez(save, *outputs)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._engine.run()
        come_to_rest()
        return {"version": kind.version(), "load_and_first_run_ms": first_s * 1e3}

    def do_turn(self, frames: int, seconds: float, settle: int) -> dict[str, Any]:
        """Milliseconds of some runs, after a few that do not count; of PEAK, GFLOP/s."""
        if self._peak is not None:
            return {"ms": [self._peak.measure()], "peak_rss_bytes": peak_rss_bytes()}
        assert self._engine is not None
        run, clock = self._engine.run, time.perf_counter_ns
        for _ in range(settle):
            run()
        ns = []
        limit = clock() + round(seconds * 1e9)
        while len(ns) < frames and (not ns or clock() < limit):
            before = clock()
            run()
            ns.append(clock() - before)
        come_to_rest()
        return {"ms": [n / 1e6 for n in ns], "peak_rss_bytes": peak_rss_bytes()}


def main() -> int:
    commands, replies = take_pipes()
    worker = Worker()
    for line in commands:
        replies.write(json.dumps(worker.answer(json.loads(line))).encode() + b"\n")
        replies.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

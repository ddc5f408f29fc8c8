"""The child process that measures one backend at one thread count, a turn at a time.

It uses the public API only, and speaks `protocol` over the pipes that it finds as stdin and stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.bench import protocol
from edgecv.errors import BackendError, EdgeCVError, InputError
from edgecv.media.synthetic import synthetic_frame, synthetic_gray16
from edgecv.types import Timing

Frame = NDArray[np.uint8] | NDArray[np.uint16]
R = TypeVar("R")

# Enough that a turn does not see one picture only, and little enough for a small board's memory.
MAX_FRAMES = 64
MAX_FRAMES_BYTES = 256 << 20

# After a run thread pools look for work for a while, at full speed, before they sleep.
REST_STEP_S = 0.01
REST_CPU_SHARE = 0.1
REST_LIMIT_S = 1.0

# How soon a command that a dead parent left is noticed.
WATCH_STEP_S = 0.05


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that this process ever held resident.

    Linux carries ru_maxrss over exec, so a child of a large parent would report the parent's size:
    the kernel's high-water mark of this very program goes first.
    """
    try:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # BSD counts bytes, Linux KiB.
    return peak if sys.platform == "darwin" else peak << 10


class Worker:
    """The state between commands: a pipeline for each stream, their frames, and the clocks."""

    def __init__(self) -> None:
        self._pipelines: list[Any] = []
        self._threads: ThreadPoolExecutor | None = None
        self._frames: list[Frame] = []
        self._batch = 1
        # One step in C, which no other thread can come between.
        self._next = itertools.count()
        self._cpu_s = 0.0

    def answer(self, command: protocol.Command) -> protocol.Reply:
        """Carry out one command; an exception becomes `Failed`."""
        try:
            match command:
                case protocol.Load():
                    return self._load(command)
                case protocol.WarmUp():
                    return self._warm_up(command)
                case protocol.Measure():
                    return self._measure(command)
                case protocol.Finish():
                    return protocol.Finished(peak_rss_bytes=peak_rss_bytes())
        except EdgeCVError as error:
            return _failed(error, str(error))
        except Exception as error:
            return _failed(error, f"{type(error).__name__}: {error}")

    def _load(self, command: protocol.Load) -> protocol.Loaded:
        if command.cpus is not None:
            pin(command.cpus)
        if command.source is not None:
            self._frames = _frames(command.source)
        self._batch = command.batch
        module, _, name = command.loader.partition(":")
        load: Callable[..., Any] = getattr(importlib.import_module(module), name)
        started = time.perf_counter_ns()
        first = load(command.model, command.options, settings=command.settings)
        load_ms = (time.perf_counter_ns() - started) / 1e6
        if command.source is None:
            self._frames = [_made_up(first, command.frame_wh)]
        self._pipelines = [first, *(first.clone() for _ in range(command.streams - 1))]
        placement = getattr(self._pipelines[0], "placement", None)
        if command.streams > 1:
            self._threads = ThreadPoolExecutor(command.streams)
        height, width = self._frames[0].shape[:2]
        return protocol.Loaded(
            load_ms=load_ms,
            plan_from_cache=getattr(first, "is_from_cache", False),
            placement=None if placement is None else placement.as_dict(),
            frames=len(self._frames),
            frame_wh=(width, height),
        )

    def _warm_up(self, command: protocol.WarmUp) -> protocol.WarmedUp:
        start = time.perf_counter()
        self._run_next(self._pipelines[0])
        first_ms = (time.perf_counter() - start) * 1e3

        def warm_up(pipeline: Any) -> int:
            done = int(pipeline is self._pipelines[0])
            while done < command.frames and time.perf_counter() - start < command.seconds:
                self._run_next(pipeline)
                done += 1
            return done

        frames = sum(self._on_each_stream(warm_up))
        self._cpu_s = come_to_rest()
        return protocol.WarmedUp(first_frame_ms=first_ms, frames=frames)

    def _measure(self, command: protocol.Measure) -> protocol.Measured:
        cpu_before = time.process_time()
        waiting_cpu_s = cpu_before - self._cpu_s
        self._on_each_stream(lambda pipeline: [self._run_next(pipeline) for _ in range(command.settle)])
        cpu_start = time.process_time()
        start = time.perf_counter_ns()
        limit = start + round(command.seconds * 1e9)
        # Streams take the next frame that is left, so that none waits long for the others at the end.
        frames_left = iter(range(command.frames))
        runs = self._on_each_stream(lambda pipeline: self._samples(pipeline, frames_left, limit))
        wall_s = (time.perf_counter_ns() - start) / 1e9
        cpu_s = time.process_time() - cpu_start
        self._cpu_s = come_to_rest()
        timings, end_to_end = map(list, zip(*(sample for run in runs for sample in run), strict=True))
        stages: dict[str, list[float]] = {}
        for timing in timings:
            for stage, ms in timing.items():
                stages.setdefault(stage, []).append(ms)
        return protocol.Measured(
            stages=stages,
            end_to_end=end_to_end,
            wall_s=wall_s,
            cpu_s=cpu_s,
            waiting_cpu_s=waiting_cpu_s,
        )

    def _samples(
        self, pipeline: Any, frames_left: Iterator[int], limit: int
    ) -> list[tuple[dict[str, float], float]]:
        """Of each frame, or batch, its stages and all of it in milliseconds, until none is left or the limit
        is past.
        """
        samples = []
        for _ in frames_left:
            before = time.perf_counter_ns()
            found = self._run_next(pipeline)
            after = time.perf_counter_ns()
            samples.append((_stages(found), (after - before) / 1e6))
            if after >= limit:
                break
        return samples

    def _on_each_stream(self, work: Callable[[Any], R]) -> list[R]:
        """What comes of the work with each detector; several at the same time, in threads of their own."""
        if self._threads is None:
            return [work(pipeline) for pipeline in self._pipelines]
        return list(self._threads.map(work, self._pipelines))

    def _run_next(self, pipeline: Any) -> list[Any]:
        """The results of the next frame, or batch of them."""
        if self._batch == 1:
            return [pipeline(self._next_frame())]
        found: list[Any] = pipeline.batch([self._next_frame() for _ in range(self._batch)])
        return found

    def _next_frame(self) -> Frame:
        return self._frames[next(self._next) % len(self._frames)]


def _stages(found: Sequence[Any]) -> dict[str, float]:
    """Milliseconds of each stage, of all frames of a batch together: each carries its share."""
    stages: dict[str, float] = {}
    for result in found:
        timing: Timing | None = result.timing
        if timing is None:
            raise BackendError("the pipeline's result carries no timing")
        for stage, ms in timing.stages:
            stages[stage] = stages.get(stage, 0.0) + ms
    return stages


def come_to_rest() -> float:
    """Wait until this process's threads sleep, so that none burns the next worker's turn.

    Returns the process's CPU time, seconds.
    """
    start = time.perf_counter()
    cpu = time.process_time()
    while time.perf_counter() - start < REST_LIMIT_S:
        before, cpu_before = time.perf_counter(), cpu
        time.sleep(REST_STEP_S)
        cpu = time.process_time()
        if cpu - cpu_before < REST_CPU_SHARE * (time.perf_counter() - before):
            break
    return cpu


def _failed(error: Exception, text: str) -> protocol.Failed:
    line = " ".join(text.split()) or type(error).__name__
    return protocol.Failed(error=line[:2000], error_type=type(error).__name__)


def _made_up(pipeline: Any, frame_wh: tuple[int, int]) -> Frame:
    """The synthetic frame, as the pipeline takes it."""
    card = getattr(pipeline, "card", None)
    is_wide = card is not None and card.image_input.bits == 16
    return synthetic_gray16(*frame_wh) if is_wide else synthetic_frame(*frame_wh)


def _frames(source: str) -> list[Frame]:
    from edgecv import media

    frames: list[Frame] = []
    held = 0
    with media.open_source(source, limit=MAX_FRAMES) as opened:
        if opened.is_live:
            raise InputError(f"{source}: expected image or video files, got a live source")
        for item in opened:
            if isinstance(item, media.Failure):
                raise item.error
            assert isinstance(item, media.Frame), "live sources alone have gaps"
            frames.append(item.picture())
            held += item.image.nbytes
            if held > MAX_FRAMES_BYTES:
                break
    if not frames:
        raise InputError(f"{source}: expected at least one frame, got none")
    return frames


def pin(cpus: Sequence[int]) -> None:
    """Bind every thread of this process, those that an import has started included."""
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("pin: this system cannot bind a process to processors")
    try:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cpus)
    except OSError as error:
        raise InputError(f"pin: cannot run on processors {list(cpus)}: {error}") from error


def take_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    """The pipes to the parent, out of reach of any library that reads stdin or prints to stdout."""
    commands, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(commands, "rb"), os.fdopen(replies, "wb")


def die_with_parent(commands: int, is_working: threading.Event) -> None:
    """End this process, and what it started, once nobody holds the other end of the pipe of commands.

    A parent that is killed closes no pipe by itself, but its kernel does, and a worker that is in the middle
    of a command would not look. The thread sleeps in the kernel until then, so that it takes no time from
    what is measured. is_working: unset while the worker reads commands, and sees the end of them itself.
    """

    def watch() -> None:
        poll = select.poll()
        # A hang-up is told whatever is asked for, and commands that lie there are not asked for.
        poll.register(commands, 0)
        poll.poll()
        while not is_working.is_set():
            time.sleep(WATCH_STEP_S)
        own = os.getpid()
        if os.getpgrp() == own:
            os.killpg(own, signal.SIGKILL)
        os.kill(own, signal.SIGKILL)

    if hasattr(select, "poll"):
        threading.Thread(target=watch, name="edgecv-bench-watch", daemon=True).start()


def main() -> int:
    """Serve commands until the parent closes its end."""
    commands, replies = take_pipes()
    worker, is_working = Worker(), threading.Event()
    die_with_parent(commands.fileno(), is_working)
    while line := commands.readline(protocol.MAX_LINE_BYTES + 1):
        try:
            command = protocol.command_from_json(line)
        except msgspec.MsgspecError as error:
            print(f"edgecv bench worker: not a command: {error}", file=sys.stderr)
            return 2
        try:
            is_working.set()
            replies.write(protocol.to_line(worker.answer(command)))
            replies.flush()
        except BrokenPipeError:
            return 1
        finally:
            is_working.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())

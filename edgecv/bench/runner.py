"""The parent of a benchmark: starts a worker for each case, gives the turns, and collects.

All workers live through the whole run and take turns, so that a clock that drifts, a fan that starts
or a neighbor that wakes up meets all of them alike. One works at a time; the others wait in a read.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgecv import child, container, lookup, machine
from edgecv.bench import protocol
from edgecv.bench.report import (
    END_TO_END,
    BenchConfig,
    BenchReport,
    BenchResult,
    FrameInfo,
    MachineLoad,
    Noise,
    Turn,
)
from edgecv.bench.statistics import percentile, summarize
from edgecv.errors import EdgeCVError

Progress = Callable[[int, int], None]
R = TypeVar("R", protocol.Loaded, protocol.WarmedUp, protocol.Measured, protocol.Finished)

# The parent's own search path: with -m or -c alone Python would put the working folder in front.
BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[1:]; from edgecv.bench.worker import main; raise SystemExit(main())"
)
STDERR_TAIL_BYTES = 4096
EXIT_GRACE_S = 5.0
# Makes a network whose outputs nobody has to understand.
ALONE = "edgecv.bench.network:load"


class WorkerError(Exception):
    """A worker failed; error_type as in `BenchResult`."""

    def __init__(self, text: str, error_type: str) -> None:
        super().__init__(text)
        self.error_type = error_type


class WorkerProcess:
    """One child process and the pipes to it."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C reaches the parent alone, which then ends the children.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise WorkerError(f"the worker cannot be started: {error}", "crash") from error
        self._replies = bytearray()
        self._chatter = bytearray()

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def ask(self, command: protocol.Command, expected: type[R], timeout_s: float, doing: str) -> R:
        """Send a command and wait for its reply. doing: what a failure happened at, for the message."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(protocol.to_line(command))
            line = self._read_line(time.monotonic() + timeout_s)
        except BrokenPipeError:
            line = None
        except TimeoutError:
            self.kill()
            raise WorkerError(f"no answer within {timeout_s:g} s {doing}: killed", "timeout") from None
        if line is None:
            raise WorkerError(f"{self._how_it_ended()} {doing}{self._last_words()}", "crash")
        try:
            reply = protocol.reply_from_json(line)
        except msgspec.MsgspecError as error:
            self.kill()
            raise WorkerError(f"the worker's answer {doing} is damaged: {error}", "crash") from error
        if isinstance(reply, protocol.Failed):
            raise WorkerError(reply.error, reply.error_type)
        if not isinstance(reply, expected):
            self.kill()
            raise WorkerError(f"the worker's answer {doing} is a {type(reply).__name__}", "crash")
        return reply

    def kill(self) -> None:
        """End it and what it started, at once; ending it twice is fine."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read_line(self, deadline: float) -> bytes | None:
        """The next line from the worker; None at its end. What it prints is drained meanwhile."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, self._replies)
            selector.register(stderr, selectors.EVENT_READ, self._chatter)
            while True:
                line, feed, rest = self._replies.partition(b"\n")
                if feed:
                    self._replies[:] = rest
                    return bytes(line)
                if len(self._replies) > protocol.MAX_LINE_BYTES:
                    return bytes(self._replies)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                for key, _ in selector.select(remaining):
                    data = os.read(key.fd, 1 << 16)
                    key.data.extend(data)
                    if not data:
                        selector.unregister(key.fileobj)
                        if key.fileobj is stdout:
                            return None
                del self._chatter[:-STDERR_TAIL_BYTES]

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "the worker closed its pipe"
        return f"the worker {child.how_it_ended(code)}"

    def _last_words(self) -> str:
        stderr = self._process.stderr
        assert stderr is not None
        # The pipe's end may never come: a process that the worker started can hold it open.
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(stderr.fileno(), False)
            while data := os.read(stderr.fileno(), 1 << 16):
                self._chatter.extend(data)
        lines = self._chatter.decode(errors="replace").split("\n")
        last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
        return f": {last[:500]}" if last else ""


@dataclass(frozen=True)
class Contender:
    """One case of the benchmark. skipped: why it is not tried, or None."""

    model: str
    backend: str | None
    threads: int | None
    batch: int
    skipped: str | None = None


class Lane:
    """A contender: its worker and what has been collected from it."""

    def __init__(self, config: BenchConfig, contender: Contender) -> None:
        threads = contender.threads
        self.contender = contender
        self._config = config
        self._streams = threads if config.hint == "throughput" and threads is not None else 1
        self._cpus = None if config.pin is None else config.pin[:threads]
        self._worker: WorkerProcess | None = None
        self._failure: WorkerError | None = None
        self._loaded: protocol.Loaded | None = None
        self._first_frame_ms: float | None = None
        self._samples: dict[str, list[float]] = {}
        self._turns: list[Turn] = []
        self._cpu_s = 0.0
        self._waiting_cpu_s = 0.0
        self._spent_s = 0.0
        self._wall_s = 0.0
        self._peak_rss_bytes: int | None = None

    @property
    def frames_done(self) -> int:
        """Samples so far."""
        return len(self._samples.get(END_TO_END, ()))

    @property
    def samples_ms(self) -> tuple[float, ...]:
        """End to end, of each frame; none after a failure: part of a measurement is none."""
        return () if self._failure is not None else tuple(self._samples.get(END_TO_END, ()))

    @property
    def is_open(self) -> bool:
        """Whether it wants another turn."""
        return (
            self._failure is None
            and self.contender.skipped is None
            and self.frames_done < self._config.frames
            and self._spent_s < self._config.seconds
        )

    @property
    def frame(self) -> FrameInfo | None:
        """What the worker looks at, once it has loaded it."""
        if self._loaded is None or self._is_alone:
            return None
        width, height = self._loaded.frame_wh
        return FrameInfo(source=self._config.source, count=self._loaded.frames, width=width, height=height)

    @property
    def is_loaded(self) -> bool:
        """Whether it is ready to be measured."""
        return self._first_frame_ms is not None

    @property
    def _is_alone(self) -> bool:
        return self.contender.model in self._config.alone

    def load(self) -> None:
        """Start the worker, make its detector and warm it up."""
        config, contender = self._config, self.contender
        if contender.skipped is not None:
            return
        with self._recorded_failure():
            options = msgspec.structs.replace(
                config.options,
                backend=contender.backend,
                threads=contender.threads if self._streams == 1 else 1,
                # What the first frame takes is a figure of its own.
                warmup=False,
            )
            self._worker = WorkerProcess()
            self._loaded = self._worker.ask(
                protocol.Load(
                    loader=ALONE if self._is_alone else config.loader,
                    model=contender.model,
                    options=options,
                    settings=self._settings(),
                    batch=contender.batch,
                    streams=self._streams,
                    source=config.source,
                    frame_wh=config.frame_wh,
                    cpus=self._cpus,
                ),
                protocol.Loaded,
                config.timeout_s,
                "while it loaded the model",
            )
            self._first_frame_ms = self._worker.ask(
                protocol.WarmUp(frames=config.warmup, seconds=config.warmup_seconds),
                protocol.WarmedUp,
                config.warmup_seconds + config.timeout_s,
                "while it warmed up",
            ).first_frame_ms

    def _settings(self) -> dict[str, Any]:
        if not self._is_alone:
            return self._config.settings
        return {"batch": self.contender.batch, "shapes": self._config.shapes}

    def take_turn(self) -> None:
        """Measure for one turn."""
        config = self._config
        granted_s = config.seconds - self._spent_s
        with self._recorded_failure():
            assert self._worker is not None
            measured = self._worker.ask(
                protocol.Measure(
                    frames=min(config.turn, config.frames - self.frames_done),
                    seconds=granted_s,
                    settle=config.settle,
                ),
                protocol.Measured,
                granted_s + config.timeout_s,
                "while it was measured",
            )
            for stage, samples in {**measured.stages, END_TO_END: measured.end_to_end}.items():
                self._samples.setdefault(stage, []).extend(samples)
            whole = sorted(measured.end_to_end)
            self._turns.append(Turn(n=len(whole), p50=percentile(whole, 50), min=whole[0]))
            self._cpu_s += measured.cpu_s
            self._waiting_cpu_s += measured.waiting_cpu_s
            self._wall_s += measured.wall_s
            self._spent_s += sum(measured.end_to_end) / 1e3 / self._streams

    def finish(self) -> None:
        """Ask for the last figures and end the worker; one that has failed is gone already."""
        if self._failure is not None or self._worker is None:
            return
        with self._recorded_failure():
            finished = self._worker.ask(
                protocol.Finish(), protocol.Finished, self._config.timeout_s, "at the end"
            )
            self._peak_rss_bytes = finished.peak_rss_bytes
        self.kill()

    def kill(self) -> None:
        """End the worker, whatever it does."""
        if self._worker is not None:
            self._worker.kill()

    def result(self) -> BenchResult:
        """The figures, or the failure alone: part of a measurement is none."""
        placement = None if self._loaded is None else self._loaded.placement
        asked: dict[str, Any] = {
            "model": self.contender.model,
            "backend": self.contender.backend,
            "threads": self.contender.threads or (placement or {}).get("threads"),
            "batch": self.contender.batch,
            "is_alone": self._is_alone,
            "streams": self._streams,
            "cpus": self._cpus,
            "placement": placement,
            "skipped": self.contender.skipped,
        }
        if self.contender.skipped is not None:
            return BenchResult(**asked)
        if self._failure is not None:
            return BenchResult(**asked, error=str(self._failure), error_type=self._failure.error_type)
        assert self._loaded is not None
        stages = [stage for stage in self._samples if stage != END_TO_END]
        frames = self.frames_done * self.contender.batch
        return BenchResult(
            **asked,
            load_ms=self._loaded.load_ms,
            plan_from_cache=self._loaded.plan_from_cache,
            first_frame_ms=self._first_frame_ms,
            latency_ms={stage: summarize(self._samples[stage]) for stage in (*stages, END_TO_END)},
            turns=tuple(self._turns),
            frames_per_s=frames / self._wall_s,
            cpu_ms_per_frame=self._cpu_s / frames * 1e3,
            waiting_cpu_ms=self._waiting_cpu_s * 1e3,
            peak_rss_bytes=self._peak_rss_bytes,
        )

    @contextlib.contextmanager
    def _recorded_failure(self) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self._failure = error
            self.kill()


@dataclass(frozen=True)
class Measurement:
    """A report, and what its figures were taken from.

    samples_ms: for each result, in their order, the end-to-end milliseconds of its frames in the order
    in which they ran, `config.turn` of them in a turn; empty where it failed.
    """

    report: BenchReport
    samples_ms: tuple[tuple[float, ...], ...]


def run(config: BenchConfig, *, progress: Progress | None = None) -> BenchReport:
    """The report of `measure`."""
    return measure(config, progress=progress).report


def measure(config: BenchConfig, *, progress: Progress | None = None) -> Measurement:
    """Measure every contender; one that fails is a line in the report.

    progress: called with the samples taken so far and the samples wanted. Raises InputError for a
    config that makes no sense; an interrupt ends the workers and is raised again.
    """
    config.check()
    load_at_start = _load_average()
    lanes = [Lane(config, contender) for contender in contenders(config)]
    twin, of = None, None
    with contextlib.ExitStack() as stack:
        for lane in lanes:
            stack.callback(lane.kill)
            lane.load()
        of = next((i for i, lane in enumerate(lanes) if lane.is_loaded), None) if config.twin else None
        if of is not None:
            twin = Lane(config, lanes[of].contender)
            stack.callback(twin.kill)
            twin.load()
        running = [*lanes, *([] if twin is None else [twin])]
        _take_turns(running, config, progress)
        for lane in running:
            lane.finish()
    results = tuple(lane.result() for lane in lanes)
    return Measurement(
        report=BenchReport(
            config=config,
            machine=machine.identity(),
            frame=next((lane.frame for lane in lanes if lane.frame is not None), None),
            load=_machine_load(load_at_start, results),
            noise=None if twin is None or of is None else _noise(of, results[of], twin.result()),
            results=results,
        ),
        samples_ms=tuple(lane.samples_ms for lane in lanes),
    )


def contenders(config: BenchConfig) -> list[Contender]:
    """Every model on every backend, with every number of threads and batch size."""
    found = []
    for model in config.models:
        only = _only_backend(model) if config.skip_foreign else None
        for backend in config.backends:
            skipped = None
            if only is not None and only in config.backends and backend != only:
                skipped = f"a plan of {only}, which no other backend runs"
            found += [
                Contender(model, backend, threads, batch, skipped)
                for threads in config.threads
                for batch in config.batches
            ]
    return found


def _only_backend(model: str) -> str | None:
    """Of a plan the backend that it was compiled for."""
    if not Path(model).is_file() or not lookup.is_plan(model):
        return None
    try:
        return container.read(model).backend
    except EdgeCVError:
        # Each worker tells it.
        return None


def _take_turns(lanes: list[Lane], config: BenchConfig, progress: Progress | None) -> None:
    wanted = sum(lane.is_open for lane in lanes) * config.frames
    order = deque(lanes)
    while any(lane.is_open for lane in order):
        for lane in order:
            if lane.is_open:
                lane.take_turn()
                if progress is not None:
                    progress(sum(each.frames_done for each in lanes), wanted)
        # Whoever came first leaves its caches and its heat to another one next time.
        order.rotate(-1)


def _load_average() -> float | None:
    """Of the last minute, or None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _machine_load(start: float | None, results: Sequence[BenchResult]) -> MachineLoad | None:
    end = _load_average()
    if start is None or end is None:
        return None
    own = max((result.streams if result.streams > 1 else result.threads or 1) for result in results)
    return MachineLoad(start=start, end=end, processors=os.cpu_count() or 1, own=own)


def _noise(contender: int, first: BenchResult, again: BenchResult) -> Noise | None:
    if first.latency_ms is None or again.latency_ms is None:
        return None
    one, two = first.latency_ms[END_TO_END], again.latency_ms[END_TO_END]
    return Noise(contender=contender, p50=two.p50 / one.p50, min=two.min / one.min)

"""What a benchmark is asked for and what it returns: plain values, the same in Python and in JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgecv import errors
from edgecv.bench.protocol import MAX_TURN_FRAMES
from edgecv.bench.ratios import Comparison
from edgecv.bench.statistics import PERCENTILE_DEFINITION, Summary
from edgecv.errors import InputError
from edgecv.options import LoadOptions

MAX_BATCH = 1024
HINTS = ("latency", "throughput")
# Of the processors; a machine at rest shows a few hundredths of one.
BUSY_SHARE = 0.25
# What the caller's clock sees of a frame; it stands behind the stages.
END_TO_END = "end_to_end"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BenchConfig(_Struct, frozen=True, kw_only=True):
    """What to measure.

    models, options, settings: as `api.load_with` takes them, but for the options' backend and threads, in
    whose place every model is measured with every backend, number of threads and batch size; None is the
    default of `load`. alone: those of the models of which the network alone is measured, on made-up inputs,
    since nothing says what its outputs mean; `checks.prepared` finds them. shapes: of their inputs by name,
    where the file leaves them open. skip_foreign: whether a plan is skipped on backends that it was not
    compiled for, in place of failing there.

    batches: frames that are handed over at once. source: images or a video, of which the first 64 frames are
    used; None for a synthetic frame of frame_wh. twin: measure the first contender once more beside all
    others, in a process of its own: how far these two equal measurements lie apart is the noise of the run.

    hint: what n threads are for. latency: all work on one frame. throughput: n frames at once, each on one
    thread, by n clones that run side by side in one process, on the same weights; each frame then takes
    longer, and its latency is what it takes while the others run.

    frames: samples of each; of a batch one. seconds: measuring time after which one stops with fewer. warmup:
    frames before the first turn, for at most warmup_seconds. turn: frames that one measures before the next
    takes over. settle: frames at the start of a turn that do not count, since the others have had the caches.
    pin: processors; a worker of n threads stays on the first n of them. timeout_s: longest silence of a
    worker, over what it was granted, before it is killed. loader: module:function that makes the pipeline,
    called as `api.load_with` is.
    """

    models: tuple[str, ...]
    backends: tuple[str | None, ...] = (None,)
    threads: tuple[int | None, ...] = (None,)
    batches: tuple[int, ...] = (1,)
    alone: tuple[str, ...] = ()
    shapes: dict[str, tuple[int, ...]] = {}
    skip_foreign: bool = False
    twin: bool = True
    options: LoadOptions = LoadOptions()
    settings: dict[str, Any] = {}
    hint: Literal["latency", "throughput"] = "latency"
    source: str | None = None
    frame_wh: tuple[int, int] = (1280, 720)
    frames: int = 500
    seconds: float = 60.0
    warmup: int = 50
    warmup_seconds: float = 10.0
    turn: int = 50
    settle: int = 5
    pin: tuple[int, ...] | None = None
    timeout_s: float = 600.0
    loader: str = "edgecv.api:load_with"

    def check(self) -> None:
        """Raises InputError that names the field."""
        for name in ("models", "backends", "threads", "batches"):
            if not getattr(self, name):
                raise InputError(f"{name}: expected at least one, got none")
        if len(self.models) > 1 and self.options.weights is not None:
            raise InputError("weights: of one model alone, and several are to be measured")
        for count in self.threads:
            if count is not None and count < 1:
                raise InputError(f"threads: expected at least 1, got {count}")
        for batch in self.batches:
            if not 1 <= batch <= MAX_BATCH:
                raise InputError(f"batches: expected 1 to {MAX_BATCH}, got {batch}")
        for name in ("backend", "threads"):
            if getattr(self.options, name) is not None:
                raise InputError(
                    f"options.{name}: expected None: `backends` and `threads` say what is measured"
                )
        if self.hint not in HINTS:
            raise InputError(f"hint: expected {' or '.join(HINTS)}, got {self.hint!r}")
        if self.hint == "throughput" and None in self.threads:
            raise InputError("hint: throughput needs a number of threads; give threads too")
        for name in ("frames", "warmup", "turn"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.turn > MAX_TURN_FRAMES:
            raise InputError(f"turn: expected at most {MAX_TURN_FRAMES}, got {self.turn}")
        if self.settle < 0:
            raise InputError(f"settle: expected at least 0, got {self.settle}")
        for name in ("seconds", "warmup_seconds", "timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected more than 0 seconds, got {getattr(self, name)}")
        if not all(1 <= size <= 1 << 15 for size in self.frame_wh):
            raise InputError(f"frame_wh: expected 1 to 32768 pixels, got {self.frame_wh}")
        if self.source == "-":
            raise InputError("source: expected image or video files, got - (stdin)")
        if self.pin is not None:
            most = max(count or 1 for count in self.threads)
            if len(set(self.pin)) != len(self.pin) or any(cpu < 0 for cpu in self.pin):
                raise InputError(f"pin: expected different processors from 0 on, got {list(self.pin)}")
            if len(self.pin) < most:
                raise InputError(f"pin: expected a processor for each of {most} threads, got {len(self.pin)}")


class Turn(_Struct, frozen=True, kw_only=True):
    """Of n samples in a row, end to end: the median and the least, milliseconds."""

    n: int
    p50: float
    min: float


class Noise(_Struct, frozen=True, kw_only=True):
    """How far two equal measurements lay apart in this run.

    contender: the result that was measured twice, by its place. p50, min: the twin's over its own, end to
    end.
    """

    contender: int
    p50: float
    min: float

    @property
    def shares(self) -> tuple[float, float]:
        """What a difference of medians, and of minima, has to exceed, as shares of 1."""
        return max(self.p50, 1 / self.p50) - 1, max(self.min, 1 / self.min) - 1


class MachineLoad(_Struct, frozen=True, kw_only=True):
    """How busy the machine was: the system's load average over the last minute, before the first worker
    started and after the last one ended. processors: all of the machine. own: how many the benchmark
    itself kept busy.
    """

    start: float
    end: float
    processors: int
    own: int

    @property
    def is_busy(self) -> bool:
        """Whether others kept more than a quarter of the processors busy."""
        return max(self.start, self.end - self.own) > BUSY_SHARE * self.processors


class BenchResult(_Struct, frozen=True, kw_only=True):
    """A contender: one model on one backend, with so many threads and frames at once; or what went wrong.

    model, backend, batch: as asked for. threads: as asked for, else those that `load` took; None where it did
    not get that far. `placement` says what ran, of one stream. is_alone: whether it is the network alone.
    streams: frames that were worked on at once. frames_per_s: that all streams finished, per second of their
    turns. cpus: those it was bound to, or None. load_ms: of `load`, imports of the backend's library
    included, without warm-up. plan_from_cache: whether the plan was found in the cache, and not compiled.
    first_frame_ms: the first call. latency_ms: of each stage in order, then `end_to_end`, all of a frame as
    the caller's clock sees it; of a batch all of it. turns: end to end, of each turn in order, for
    comparisons with another run. cpu_ms_per_frame: CPU time of all threads, mean. waiting_cpu_ms: CPU time
    that it took while others were measured; what they lost to it. peak_rss_bytes: of its process. skipped:
    why it was not tried. error: one line; error_type: class of the exception, or "crash" or "timeout"."""

    model: str
    backend: str | None
    threads: int | None
    batch: int = 1
    is_alone: bool = False
    cpus: tuple[int, ...] | None = None
    placement: dict[str, Any] | None = None
    load_ms: float | None = None
    plan_from_cache: bool | None = None
    first_frame_ms: float | None = None
    latency_ms: dict[str, Summary] | None = None
    turns: tuple[Turn, ...] = ()
    streams: int = 1
    frames_per_s: float | None = None
    cpu_ms_per_frame: float | None = None
    waiting_cpu_ms: float | None = None
    peak_rss_bytes: int | None = None
    skipped: str | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def is_bad_input(self) -> bool:
        """Whether it failed because of what was asked for, not of the machine or the backend."""
        return self._is_error(ValueError, FileNotFoundError)

    @property
    def is_unavailable(self) -> bool:
        """Whether it failed because this machine lacks what was asked for."""
        return self._is_error(errors.UnavailableError)

    def _is_error(self, *kinds: type[BaseException]) -> bool:
        kind = getattr(errors, self.error_type or "", None)
        return isinstance(kind, type) and issubclass(kind, kinds)


class FrameInfo(_Struct, frozen=True, kw_only=True):
    """What was looked at. source: None for the synthetic frame. width, height: of the first, pixels."""

    source: str | None
    count: int
    width: int
    height: int


class BenchReport(_Struct, frozen=True, kw_only=True):
    """A whole run. machine: `machine.identity()`. frame: None when nothing that takes one could be loaded.
    load: None where the system tells none. noise: None where nothing was measured twice. comparison: with an
    earlier run, where one was given.
    """

    schema: int = 3
    config: BenchConfig
    machine: dict[str, Any]
    frame: FrameInfo | None
    load: MachineLoad | None = None
    noise: Noise | None = None
    comparison: Comparison | None = None
    percentiles: str = PERCENTILE_DEFINITION
    results: tuple[BenchResult, ...]

    @property
    def exit_code(self) -> int:
        """0 done; 1 something failed, the rest stands; where everything failed, 2 on what was asked for,
        or 3 because it is not available here."""
        failed = [result for result in self.results if result.error is not None]
        if failed and not any(result.latency_ms for result in self.results):
            if all(result.is_bad_input for result in failed):
                return 2
            if all(result.is_unavailable for result in failed):
                return 3
        return 1 if failed else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def turn_of(frames: int) -> int:
    """Frames of a turn: few enough that a comparison has ten of them."""
    return max(1, min(50, frames // 10))


def parse_cpus(text: str) -> tuple[int, ...]:
    """Processors written as "0,2-3". Raises InputError."""
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"pin: expected processors such as 0,2-3, got {text!r}")
        low, high = int(first), int(last or first)
        if high < low or high > 4095:
            raise InputError(f"pin: expected processors such as 0,2-3, got {text!r}")
        cpus.extend(range(low, high + 1))
    return tuple(cpus)

"""What a benchmark is asked for and what it returns: plain values, the same in Python and in JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgecv import errors
from edgecv.bench.protocol import MAX_TURN_FRAMES
from edgecv.bench.statistics import PERCENTILE_DEFINITION, Summary
from edgecv.errors import InputError
from edgecv.options import LoadOptions

HINTS = ("latency", "throughput")
# What the caller's clock sees of a frame; it stands behind the stages.
END_TO_END = "end_to_end"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BenchConfig(_Struct, frozen=True, kw_only=True):
    """What to measure.

    model, options, settings: as `api.load_with` takes them, but for the options' backend and threads, in
    whose place every pair of backends and threads is measured; None is the default of `load`; a name may come
    twice, which shows how far two equal measurements lie apart. source: images or a video, of which the first
    64 frames are used; None for a synthetic frame of frame_wh.

    hint: what n threads are for. latency: all work on one frame. throughput: n frames at once, each on one
    thread, by n clones that run side by side in one process, on the same weights; each frame then takes
    longer, and its latency is what it takes while the others run.

    frames: samples of each. seconds: measuring time after which one stops with fewer. warmup: frames
    before the first turn, for at most warmup_seconds. turn: frames that one measures before the next
    takes over. settle: frames at the start of a turn that do not count, since the others have had the
    caches. pin: processors; a worker of n threads stays on the first n of them. timeout_s: longest
    silence of a worker, over what it was granted, before it is killed.
    loader: module:function that makes the pipeline, called as `api.load_with` is.
    """

    model: str
    backends: tuple[str | None, ...] = (None,)
    threads: tuple[int | None, ...] = (None,)
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
        if not self.backends or not self.threads:
            raise InputError("backends, threads: expected at least one of each, got none")
        for count in self.threads:
            if count is not None and count < 1:
                raise InputError(f"threads: expected at least 1, got {count}")
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
            if None in self.threads:
                raise InputError("pin: needs a number of threads; give threads too")
            if len(self.pin) < most:
                raise InputError(f"pin: expected a processor for each of {most} threads, got {len(self.pin)}")


class BenchResult(_Struct, frozen=True, kw_only=True):
    """One backend at one thread count: figures, or what went wrong.

    backend, threads: as asked for; `placement` says what ran, of one stream. streams: frames that were worked
    on at once. frames_per_s: that all streams finished, per second of their turns. cpus: those it was bound
    to, or None. load_ms: of `load`, imports of the backend's library included, without warm-up.
    plan_from_cache: whether the plan was found in the cache, and not compiled.
    first_frame_ms: the first call. latency_ms: of each stage in order, then `end_to_end`, all of a frame as
    the caller's clock sees it. cpu_ms_per_frame: CPU time of all threads, mean. waiting_cpu_ms: CPU time that
    it took while others were measured; what they lost to it. peak_rss_bytes: of its process. error: one line;
    error_type: class of the exception, or "crash" or "timeout".
    """

    backend: str | None
    threads: int | None
    cpus: tuple[int, ...] | None = None
    placement: dict[str, Any] | None = None
    load_ms: float | None = None
    plan_from_cache: bool | None = None
    first_frame_ms: float | None = None
    latency_ms: dict[str, Summary] | None = None
    streams: int = 1
    frames_per_s: float | None = None
    cpu_ms_per_frame: float | None = None
    waiting_cpu_ms: float | None = None
    peak_rss_bytes: int | None = None
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
    """A whole run. machine: `machine.identity()`. frame: None when nothing could be loaded."""

    schema: int = 2
    config: BenchConfig
    machine: dict[str, Any]
    frame: FrameInfo | None
    percentiles: str = PERCENTILE_DEFINITION
    results: tuple[BenchResult, ...]

    @property
    def exit_code(self) -> int:
        """0 done; 1 something failed, the rest stands; where everything failed, 2 on what was asked for,
        or 3 because it is not available here."""
        failed = [result for result in self.results if result.error is not None]
        if len(failed) == len(self.results):
            if all(result.is_bad_input for result in failed):
                return 2
            if all(result.is_unavailable for result in failed):
                return 3
        return 1 if failed else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


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

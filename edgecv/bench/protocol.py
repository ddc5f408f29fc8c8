"""What the parent and a worker say to each other: one JSON object a line, over two pipes.

The worker does nothing between two commands: it waits in a read, and answers only when its threads
have come to rest, so that it takes no CPU time while another one is measured.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgecv.options import LoadOptions

# A turn of MAX_TURN_FRAMES stays under it with a dozen stages.
MAX_LINE_BYTES = 2 << 20
MAX_TURN_FRAMES = 5000


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    pass


class Load(_Message, frozen=True, kw_only=True):
    """Make the pipelines and the frames.

    options, settings: as `api.load_with` takes them. batch: frames that are handed over at once. streams: how
    many pipelines, of `options.threads` threads each, on the same weights, which run at the same time. cpus:
    processors to stay on, or None.
    """

    loader: str
    model: str
    options: LoadOptions
    settings: dict[str, Any]
    batch: int
    streams: int
    source: str | None
    frame_wh: tuple[int, int]
    cpus: tuple[int, ...] | None


class WarmUp(_Message, frozen=True, kw_only=True):
    """Run `frames` frames on each stream, fewer when `seconds` have passed."""

    frames: int
    seconds: float


class Measure(_Message, frozen=True, kw_only=True):
    """One turn: `settle` frames of each stream that do not count, then `frames` of all that do, fewer after
    `seconds`.
    """

    frames: int
    seconds: float
    settle: int


class Finish(_Message, frozen=True, kw_only=True):
    """Say the last figures."""


class Loaded(_Message, frozen=True, kw_only=True):
    """load_ms: of the loader. plan_from_cache: whether it compiled nothing. frames: how many there are.
    frame_wh: size of the first, pixels."""

    load_ms: float
    plan_from_cache: bool
    placement: dict[str, Any] | None
    frames: int
    frame_wh: tuple[int, int]


class WarmedUp(_Message, frozen=True, kw_only=True):
    """first_frame_ms: of the first call of all."""

    first_frame_ms: float
    frames: int


class Measured(_Message, frozen=True, kw_only=True):
    """Milliseconds of each stage of each frame, or batch, of the turn, and of the whole by the caller's
    clock.

    stages: by name, in order. wall_s: from the first frame's start to the last one's end. cpu_s,
    waiting_cpu_s: CPU time of the process in the turn, and in the wait before it. Seconds.
    """

    stages: dict[str, list[float]]
    end_to_end: list[float]
    wall_s: float
    cpu_s: float
    waiting_cpu_s: float


class Finished(_Message, frozen=True, kw_only=True):
    """peak_rss_bytes: the most memory that the worker ever held."""

    peak_rss_bytes: int


class Failed(_Message, frozen=True, kw_only=True):
    """error: one line. error_type: name of the exception's class."""

    error: str
    error_type: str


Command = Load | WarmUp | Measure | Finish
Reply = Loaded | WarmedUp | Measured | Finished | Failed

command_from_json = msgspec.json.Decoder(Command).decode
reply_from_json = msgspec.json.Decoder(Reply).decode


def to_line(message: Command | Reply) -> bytes:
    """The message as one line, its line feed included."""
    return msgspec.json.encode(message) + b"\n"

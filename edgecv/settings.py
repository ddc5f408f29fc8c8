"""Every EDGECV_* environment variable, declared once.

Values are read when asked for, not at import, so that a test or a launcher can still change them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from edgecv.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

DEFAULT_CACHE_BYTES = 1 << 30

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Setting(msgspec.Struct, Generic[T], frozen=True):
    """One environment variable: its name, how its text is read, and what it means."""

    name: str
    parse: Callable[[str], T]
    help: str

    def get(self) -> T:
        """The parsed value; an unset variable is parsed as the empty string."""
        return self.parse(os.environ.get(self.name, ""))


def _paths(text: str) -> tuple[Path, ...]:
    # Long to import, and the kernels ask for settings of other kinds only.
    from pathlib import Path

    return tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part)


def _flag(text: str) -> bool:
    return text not in ("", "0")


def _cache(text: str) -> Path:
    from pathlib import Path

    if text:
        return Path(text).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "edgecv"


def _cache_bytes(text: str) -> int:
    if not text:
        return DEFAULT_CACHE_BYTES
    # More digits than any disk has bytes would take long to read.
    match = re.fullmatch(r"([0-9]{1,18})([KMG]?)", text.strip().upper())
    if match is None:
        raise InputError(
            "EDGECV_CACHE_BYTES: expected bytes such as 1073741824, 512M or 2G, or 0 for no cache, got "
            f"{text[:40]!r}"
        )
    return int(match[1]) * _UNITS[match[2]]


def _seconds(name: str, default: float, least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = float(text or default)
        except ValueError:
            seconds = -1.0
        # A comparison with NaN is false.
        if not least <= seconds <= most:
            raise InputError(f"{name}: expected seconds, {least:g} to {most:g}, got {text[:40]!r}")
        return seconds

    return parse


MODELS = Setting(
    "EDGECV_MODELS",
    _paths,
    "folders, separated like PATH, that are searched for model files before any download",
)
CACHE = Setting(
    "EDGECV_CACHE",
    _cache,
    "where downloads, file hashes and what was compiled are kept. Default: ~/.cache/edgecv",
)
CACHE_BYTES = Setting(
    "EDGECV_CACHE_BYTES",
    _cache_bytes,
    "most bytes of what was compiled that are kept, such as 512M. Default: 1G; 0 keeps nothing",
)
ISA = Setting(
    "EDGECV_ISA", str, "force the instruction set of the native kernels; an unusable one is an error"
)
STREAM_TIMEOUT = Setting(
    "EDGECV_STREAM_TIMEOUT",
    _seconds("EDGECV_STREAM_TIMEOUT", 5, 0.1, 3600),
    "seconds without a frame after which a camera or stream counts as lost. Default: 5",
)
STREAM_PATIENCE = Setting(
    "EDGECV_STREAM_PATIENCE",
    _seconds("EDGECV_STREAM_PATIENCE", 60, 0, math.inf),
    "seconds without a frame for which a lost camera or stream is opened again and again. Default: 60; inf: "
    "for ever; 0: not at all",
)
CHECK = Setting(
    "EDGECV_CHECK",
    lambda text: text != "0",
    "0: networks on libraries of others are not compared with another backend before they run",
)
TRACEBACK = Setting(
    "EDGECV_TRACEBACK", _flag, "1: the command line shows the traceback of an expected error too"
)

ALL: tuple[Setting[Any], ...] = (
    MODELS,
    CACHE,
    CACHE_BYTES,
    ISA,
    STREAM_TIMEOUT,
    STREAM_PATIENCE,
    CHECK,
    TRACEBACK,
)


def cache_folder(*names: str) -> str | None:
    """A place in the folder of EDGECV_CACHE, which need not exist; None where that is not set and this user
    has no home folder."""
    named = os.environ.get(CACHE.name) or os.environ.get("XDG_CACHE_HOME")
    try:
        # A home that is not there is not made.
        if not named and not os.path.isdir(os.path.expanduser("~")):
            return None
        return os.path.join(CACHE.get(), *names)
    except RuntimeError:
        return None

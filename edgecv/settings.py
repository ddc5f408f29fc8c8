"""Every EDGECV_* environment variable, declared once.

Values are read when asked for, not at import, so that a test or a launcher can still change them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


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


MODELS = Setting(
    "EDGECV_MODELS",
    _paths,
    "folders, separated like PATH, that are searched for model files before any download",
)
CACHE = Setting("EDGECV_CACHE", _cache, "where downloads and file hashes are kept")
ISA = Setting(
    "EDGECV_ISA", str, "force the instruction set of the native kernels; an unusable one is an error"
)
TRACEBACK = Setting(
    "EDGECV_TRACEBACK", _flag, "1: the command line shows the traceback of an expected error too"
)

ALL: tuple[Setting[Any], ...] = (MODELS, CACHE, ISA, TRACEBACK)

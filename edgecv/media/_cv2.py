"""The one door to OpenCV: imported when first needed, and quiet while it opens and decodes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from types import ModuleType

from edgecv import extras

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_FFMPEG_QUIET = "-8"
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_OPTIONS_LOCK = threading.Lock()


def require_cv2() -> ModuleType:
    """The cv2 module (OpenCV 4.8 to 5). Raises MissingExtraError where it cannot be imported."""
    return extras.require("cv2", "opencv")


class _Quiet:
    """OpenCV's log level, and FFmpeg's, are global to the process: a count of users guards them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._level = 0
        self._set_env = False

    def enter(self, cv2: ModuleType) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            log = _log_functions(cv2)
            self._level = log.getLogLevel()
            log.setLogLevel(0)
            # FFmpeg reads its level from the environment when the first video is opened.
            self._set_env = _FFMPEG_LEVEL not in os.environ and "OPENCV_FFMPEG_DEBUG" not in os.environ
            if self._set_env:
                os.environ[_FFMPEG_LEVEL] = _FFMPEG_QUIET

    def leave(self, cv2: ModuleType) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            _log_functions(cv2).setLogLevel(self._level)
            if self._set_env:
                os.environ.pop(_FFMPEG_LEVEL, None)


_QUIET = _Quiet()


@contextlib.contextmanager
def quiet_cv2() -> Iterator[ModuleType]:
    """The cv2 module with its log silent inside the block: what goes wrong there becomes an exception.

    The log level is restored on leaving. FFmpeg's own level stays silent from the first video that is
    opened so, unless OPENCV_FFMPEG_LOGLEVEL or OPENCV_FFMPEG_DEBUG is set. Safe from several threads.
    """
    cv2 = require_cv2()
    _QUIET.enter(cv2)
    try:
        yield cv2
    finally:
        _QUIET.leave(cv2)


@contextlib.contextmanager
def capture_options(options: str) -> Iterator[None]:
    """Options for FFmpeg, `name;value`, of the videos that are opened inside the block; empty for none.

    OpenCV reads them from the environment, so that another thread's would get them too.
    """
    if not options:
        yield
        return
    with _OPTIONS_LOCK:
        before = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = f"{before}|{options}" if before else options
        try:
            yield
        finally:
            if before is None:
                del os.environ[_OPTIONS]
            else:
                os.environ[_OPTIONS] = before


def error_line(error: Exception) -> str:
    """What a cv2.error says, in one line, without the place in OpenCV's sources."""
    text = getattr(error, "err", None) or str(error)
    return " ".join(str(text).split()) or type(error).__name__


def _log_functions(cv2: ModuleType) -> ModuleType:
    """The module that has setLogLevel: cv2 until 4.8, cv2.utils.logging in 5."""
    if hasattr(cv2, "setLogLevel"):
        return cv2
    logging: ModuleType = cv2.utils.logging
    return logging

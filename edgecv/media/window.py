"""A window that shows pictures as they come (`--show`)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from types import ModuleType, TracebackType

from edgecv.errors import MissingExtraError, UnavailableError
from edgecv.media._cv2 import error_line, quiet_cv2
from edgecv.media.items import Picture

_ESCAPE = 27
# A window opens at the size of its first picture, where that fits most screens.
_LARGEST_SIDE = 1280


class Window:
    """A window on the desktop, and a context manager. `q`, Esc or its close button ends it.

    Raises MissingExtraError where OpenCV was built without windows, UnavailableError where there is no
    display.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_open = False
        self._is_sized = False
        with quiet_cv2() as cv2:
            _check_usable(cv2)
            try:
                cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            except cv2.error as error:
                raise UnavailableError(f"--show: no window can be opened: {error_line(error)}") from error
        self._is_open = True

    def show(self, picture: Picture, *, wait_ms: int = 1, stop: Callable[[], bool] = lambda: False) -> bool:
        """Shows a picture and looks at the keyboard; True as long as the window shall stay.

        picture: uint8 (H, W, 3), BGR. wait_ms: how long to wait for a key; 0 waits for one, or until
        `stop()` is true, which is asked ten times a second.
        """
        if not self._is_open:
            return False
        with quiet_cv2() as cv2:
            if not self._is_sized:
                self._is_sized = True
                height, width = picture.shape[:2]
                scale = min(1.0, _LARGEST_SIDE / max(width, height))
                cv2.resizeWindow(self._title, max(int(width * scale), 1), max(int(height * scale), 1))
            cv2.imshow(self._title, picture)
            while True:
                key = cv2.waitKey(wait_ms if wait_ms else 100) & 0xFF
                if key in (ord("q"), ord("Q"), _ESCAPE) or not self._is_visible(cv2):
                    self.close()
                    return False
                if wait_ms or key != 0xFF or stop():
                    return True

    def close(self) -> None:
        """Closes the window. May be called again."""
        if not self._is_open:
            return
        self._is_open = False
        with quiet_cv2() as cv2:
            try:
                cv2.destroyWindow(self._title)
            except cv2.error:
                # The user has closed it.
                return

    def _is_visible(self, cv2: ModuleType) -> bool:
        try:
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)
        except cv2.error:
            return False

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _check_usable(cv2: ModuleType) -> None:
    if re.search(r"^\s*GUI:\s*NONE\s*$", cv2.getBuildInformation(), re.MULTILINE):
        raise MissingExtraError(
            "--show: this OpenCV was built without windows; for one that has them, first: "
            "pip uninstall opencv-contrib-python-headless; then "
            "install it with: pip install 'edgecv[opencv-gui]'"
        )
    # Without a display, Qt ends the whole process instead of reporting an error.
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UnavailableError(
            "--show: there is no display here (DISPLAY is not set); use --out to write to a file instead"
        )

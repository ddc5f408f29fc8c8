from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv.errors import MissingExtraError, UnavailableError
from edgecv.media import JsonLinesSink, Window, class_color, decode_image, draw, open_sink, open_source
from edgecv.media import _cv2 as cv2_module
from edgecv.media._cv2 import quiet_cv2, require_cv2
from edgecv.types import Detections

PICTURE = np.zeros((4, 4, 3), np.uint8)


class FakeGui:
    """An OpenCV with windows; `keys` are what the user presses, 255 is no key."""

    error = cv2.error
    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0
    utils = SimpleNamespace(logging=SimpleNamespace(getLogLevel=lambda: 0, setLogLevel=lambda level: None))

    def __init__(self, *keys: int, is_visible: bool = True, fails: bool = False) -> None:
        self.keys = list(keys)
        self.is_visible = is_visible
        self.fails = fails
        self.waits: list[int] = []
        self.sizes_wh: list[tuple[int, int]] = []
        self.is_destroyed = False

    def getBuildInformation(self) -> str:  # noqa: N802
        return "  GUI:                           QT5\n"

    def namedWindow(self, title: str, flags: int) -> None:  # noqa: N802
        if self.fails:
            raise cv2.error("no window")

    def resizeWindow(self, title: str, width: int, height: int) -> None:  # noqa: N802
        self.sizes_wh.append((width, height))

    def imshow(self, title: str, picture: np.ndarray) -> None:
        pass

    def waitKey(self, wait_ms: int) -> int:  # noqa: N802
        self.waits.append(wait_ms)
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title: str, key: int) -> float:  # noqa: N802
        return float(self.is_visible)

    def destroyWindow(self, title: str) -> None:  # noqa: N802
        self.is_destroyed = True


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(gui: FakeGui) -> FakeGui:
        monkeypatch.setitem(sys.modules, "cv2", gui)  # type: ignore[arg-type]
        monkeypatch.setenv("DISPLAY", ":0")
        return gui

    return use


def test_an_opencv_without_windows_says_what_to_install() -> None:
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    with pytest.raises(MissingExtraError) as raised:
        Window("edgecv")
    assert "uninstall opencv-contrib-python-headless" in str(raised.value)
    assert str(raised.value).endswith("install it with: pip install 'edgecv[opencv-gui]'")
    assert "\n" not in str(raised.value)


def test_no_display(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeGui())
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UnavailableError, match="there is no display here"):
        Window("edgecv")


def test_a_window_that_cannot_be_opened(use: Any) -> None:
    use(FakeGui(fails=True))
    with pytest.raises(UnavailableError, match="no window can be opened: no window"):
        Window("edgecv")


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27], ids=["q", "Q", "Esc"])
def test_keys_end_it(use: Any, key: int) -> None:
    gui = use(FakeGui(-1, ord("x"), key))
    with Window("edgecv") as window:
        assert window.show(PICTURE)
        assert window.show(PICTURE)
        assert not window.show(PICTURE)
        assert gui.is_destroyed
        assert not window.show(PICTURE)


def test_closing_the_window_ends_it(use: Any) -> None:
    use(FakeGui(is_visible=False))
    with Window("edgecv") as window:
        assert not window.show(PICTURE)


def test_it_opens_at_the_size_of_its_first_picture(use: Any) -> None:
    gui = use(FakeGui(-1, -1))
    with Window("edgecv") as window:
        window.show(np.zeros((1000, 2560, 3), np.uint8))
        window.show(np.zeros((10, 10, 3), np.uint8))
    assert gui.sizes_wh == [(1280, 500)]


def test_waiting_for_a_key(use: Any) -> None:
    gui = use(FakeGui(-1, -1, ord("n")))
    with Window("edgecv") as window:
        assert window.show(PICTURE, wait_ms=0)
    assert len(gui.waits) == 3
    assert all(gui.waits)


def test_a_wait_for_a_key_can_be_stopped(use: Any) -> None:
    gui = use(FakeGui(-1, -1, -1, -1))
    answers = iter((False, False, True))
    with Window("edgecv") as window:
        assert window.show(PICTURE, wait_ms=0, stop=lambda: next(answers))
    assert len(gui.waits) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda path: decode_image(b"\0" * 99, "a"),
        lambda path: open_source("0"),
        lambda path: open_source("csi://0"),
        lambda path: open_source("rtsp://host/x"),
        lambda path: open_sink(path / "a.png", kind="image"),
        lambda path: open_sink(path / "out", kind="images"),
        lambda path: open_sink(path / "a.mp4", kind="video"),
        lambda path: Window("edgecv"),
        lambda path: draw(
            np.zeros((99, 99, 3), np.uint8),
            Detections(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.ones(1, np.int32)),
        ),
    ],
    ids=["decode", "camera", "csi", "url", "image out", "folder out", "video out", "window", "draw"],
)
def test_without_opencv_every_door_says_what_to_install(
    call: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError) as raised:
        call(tmp_path)
    assert str(raised.value).endswith("install it with: pip install 'edgecv[opencv]'")
    assert list(tmp_path.iterdir()) == []


def test_without_opencv_the_rest_works(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with JsonLinesSink(tmp_path / "a") as sink:
        sink.write({"color": class_color(3)})
    assert sink.written == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ImportError("libGL.so.1: cannot open shared object file\nmore"),
            "cannot be imported: libGL.so.1: cannot",
        ),
        (
            ModuleNotFoundError("No module named 'numpy.x'", name="numpy.x"),
            "OpenCV needs numpy.x, which is not",
        ),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "OpenCV is not installed"),
    ],
)
def test_an_opencv_that_cannot_be_imported(
    error: ImportError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr("edgecv.extras.import_module", fail)
    with pytest.raises(MissingExtraError, match=reason) as raised:
        require_cv2()
    assert "\n" not in str(raised.value)


def test_quiet_nests_and_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    monkeypatch.delenv("OPENCV_FFMPEG_LOGLEVEL", raising=False)
    before = log.getLogLevel()
    log.setLogLevel(5)
    try:
        with quiet_cv2(), quiet_cv2():
            assert log.getLogLevel() == 0
            assert cv2_module.os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "-8"
        assert log.getLogLevel() == 5
        assert "OPENCV_FFMPEG_LOGLEVEL" not in cv2_module.os.environ
        monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "32")
        with quiet_cv2():
            assert cv2_module.os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "32"
        assert cv2_module.os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "32"
    finally:
        log.setLogLevel(before)


def test_importing_media_loads_no_opencv() -> None:
    script = "import sys, edgecv.media; sys.exit('cv2' in sys.modules)"
    folder = str(cv2_module.__file__).rpartition("/edgecv/")[0]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder)

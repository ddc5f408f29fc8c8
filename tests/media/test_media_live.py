from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import media_files
import numpy as np
import pytest

from edgecv.errors import InputError, MediaError, MediaNotFoundError, UnavailableError
from edgecv.media import Failure, Frame, open_source
from edgecv.media import stream as stream_module
from edgecv.media.live import csi_pipeline, without_password
from edgecv.media.stream import LiveStream, driver_time_ns


class FakeCamera:
    """A cv2.VideoCapture whose frame i has the value i; each frame comes when `ready` allows it."""

    def __init__(
        self, frames: int, ready: Callable[[int], None] = lambda i: None, backend: str = "V4L2"
    ) -> None:
        self.frames = frames
        self.ready = ready
        self.backend = backend
        self.at = -1
        self.stated_ms = 0.0
        self.is_released = threading.Event()

    def grab(self) -> bool:
        self.ready(self.at + 1)
        self.at += 1
        return self.at < self.frames

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((4, 6), self.at, np.uint8)

    def get(self, key: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_POS_MSEC: self.stated_ms, cv2.CAP_PROP_FOURCC: 0.0}[key]

    def getBackendName(self) -> str:  # noqa: N802
        return self.backend

    def release(self) -> None:
        self.is_released.set()


def test_a_slow_receiver_gets_the_newest_frame() -> None:
    is_slow = threading.Event()
    is_done = threading.Event()
    is_over = threading.Event()

    def ready(i: int) -> None:
        if i == 1:
            is_slow.wait()
        if i == 9:
            is_done.set()
            is_over.wait()

    camera = FakeCamera(10, ready)
    source = LiveStream(camera, "0")
    assert (source.kind, source.is_live, source.length, source.fps) == ("stream", True, None, 30.0)
    first = next(source)
    is_slow.set()
    is_done.wait()
    second = next(source)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.index, second.index) == (0, 8)
    np.testing.assert_array_equal(second.image, np.full((4, 6, 3), 8, np.uint8))
    source.stop()
    assert list(source) == []
    is_over.set()
    source.close()
    assert camera.is_released.is_set()


def test_the_end_of_a_stream_is_a_failure() -> None:
    camera = FakeCamera(3, lambda i: time.sleep(0.02))
    with LiveStream(camera, "camera") as source:
        *frames, failure = source
    assert frames
    assert isinstance(failure, Failure)
    assert str(failure.error) == (
        "camera: the stream ended, after 3 frames; check the camera or the connection"
    )
    assert camera.is_released.is_set()


def test_a_stream_without_a_frame_is_an_error() -> None:
    with (
        LiveStream(FakeCamera(0), "camera") as source,
        pytest.raises(MediaError, match="ended, after 0 frames"),
    ):
        next(source)


def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "FIRST_FRAME_S", 0.05)
    silent = threading.Event()
    with (
        LiveStream(FakeCamera(1, lambda i: silent.wait() and None), "camera") as source,
        contextlib.closing(SimpleNamespace(close=silent.set)),
        pytest.raises(MediaError, match=r"camera: no frame for 0\.05 s, after 0 frames"),
    ):
        next(source)


def test_a_camera_that_breaks_is_a_failure() -> None:
    def ready(i: int) -> None:
        time.sleep(0.02)
        if i == 2:
            raise cv2.error("unplugged")

    with LiveStream(FakeCamera(9, ready), "camera") as source:
        *_, failure = source
    assert isinstance(failure, Failure)
    assert "the stream broke (unplugged)" in str(failure.error)


@pytest.mark.parametrize(("backend", "is_used"), [("V4L2", True), ("FFMPEG", False)])
def test_the_drivers_time_is_the_capture_time(backend: str, is_used: bool) -> None:
    camera = FakeCamera(1, backend=backend)
    stated_ns = time.monotonic_ns() - 100_000_000
    camera.stated_ms = stated_ns / 1e6
    with LiveStream(camera, "0") as source:
        frame = next(source)
    assert isinstance(frame, Frame)
    assert (abs(frame.captured_ns - stated_ns) < 1000) is is_used


@pytest.mark.parametrize(
    ("stated_ms", "expected"),
    [
        pytest.param(99_990.0, 99_990_000_000, id="10 ms ago"),
        pytest.param(100_001.0, None, id="in the future"),
        pytest.param(90_000.0, None, id="another clock, behind"),
        pytest.param(1.7e12, None, id="wall clock"),
        pytest.param(0.0, None, id="none"),
        pytest.param(float("nan"), None, id="nan"),
    ],
)
def test_a_drivers_time_must_be_plausible(stated_ms: float, expected: int | None) -> None:
    now_ns = 100_000_000_000
    assert driver_time_ns(stated_ms, now_ns) == (now_ns if expected is None else expected)


def test_close_releases_a_camera_that_nobody_read() -> None:
    camera = FakeCamera(3)
    with LiveStream(camera, "0"):
        pass
    assert camera.is_released.is_set()


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("973", MediaNotFoundError, "camera 973: there is no such camera; "),
        (973, MediaNotFoundError, "camera 973: there is no such camera; "),
        (-1, InputError, "expected a camera number from 0 to 999, got -1"),
        ("99999", InputError, "expected a camera number from 0 to 999, got 99999"),
        ("v4l2:///dev/video973", MediaNotFoundError, "there is no camera /dev/video973; "),
        ("v4l2:///dev/null", MediaError, "/dev/null cannot be opened; check that it is a camera"),
        (
            "rtsp://u:secret@127.0.0.1:1/x",
            MediaError,
            "rtsp://u:***@127.0.0.1:1/x: the stream cannot be opened",
        ),
        (
            "http://127.0.0.1:1/x.mp4",
            MediaError,
            "http://127.0.0.1:1/x.mp4: the stream cannot be opened",
        ),
        ("csi://0", UnavailableError, "csi://0: a CSI camera needs an OpenCV with GStreamer"),
    ],
)
def test_bad_cameras_and_streams_give_one_line(
    source: str | int, kind: type[Exception], message: str
) -> None:
    if "csi" in str(source) and cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(kind) as raised:
        open_source(source)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_csi_pipeline() -> None:
    pipeline = csi_pipeline("csi://1?width=1920&height=1080&fps=60&flip=2")
    assert pipeline == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,format=NV12,"
        "framerate=60/1 ! nvvidconv flip-method=2 ! video/x-raw,format=BGRx ! videoconvert ! "
        "video/x-raw,format=BGR ! appsink max-buffers=1 drop=true sync=false"
    )
    assert "sensor-id=0 " in csi_pipeline("csi://0")
    assert "width=1280,height=720" in csi_pipeline("csi://0")


@pytest.mark.parametrize(
    "url",
    ["csi://", "csi://front", "csi://0/1", "csi://0?width=big", "csi://0?fps=0", "csi://0?size=1", "csi://0?flip=9",
     "csi://0?width=1!fakesink"],
)  # fmt: skip
def test_bad_csi_addresses(url: str) -> None:
    with pytest.raises(InputError, match="expected csi://SENSOR"):
        csi_pipeline(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://host/a", "rtsp://host/a"),
        ("rtsp://user@host/a", "rtsp://user@host/a"),
        ("rtsp://user:p@ss@host:554/a@b:c@d", "rtsp://user:***@host:554/a@b:c@d"),
        ("http://host:80/a", "http://host:80/a"),
    ],
)
def test_passwords_are_hidden(url: str, expected: str) -> None:
    assert without_password(url) == expected


class Server(http.server.BaseHTTPRequestHandler):
    """/video.avi: a video file. /camera: an endless multipart MJPEG stream, as IP cameras send it."""

    video = b""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/video.avi":
            self.send_header("Content-Length", str(len(self.video)))
            self.end_headers()
            self.wfile.write(self.video)
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        image = media_files.encoded(".jpg")
        try:
            while True:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%s\r\n" % (len(image), image))
                time.sleep(0.01)
        except OSError:
            return

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Server.video = media_files.write_video(tmp_path / "a.avi", 12).read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_video_on_a_web_server(server: str) -> None:
    with open_source(f"{server}/video.avi") as source:
        assert (source.kind, source.is_live, source.length) == ("video", False, 12)
        assert [type(item) for item in source] == [Frame] * 12


def test_a_camera_on_the_network(server: str) -> None:
    with open_source(f"{server}/camera", limit=3) as source:
        assert (source.kind, source.is_live) == ("stream", True)
        frames = list(source)
    assert [type(item) for item in frames] == [Frame] * 3
    assert [frame.size_wh for frame in frames if isinstance(frame, Frame)] == [(48, 32)] * 3
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))

"""Streams that stall, drop or send damage: a server that does so, read over HTTP as an IP camera is."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import media_files
import numpy as np
import pytest

from edgecv.errors import MediaError
from edgecv.media import Failure, Frame, Gap, Item, open_source
from edgecv.media import live as live_module
from edgecv.media import stream as stream_module
from edgecv.media.stream import LiveStream

LAST = 12


def level(i: int) -> int:
    return 10 + 15 * i


def jpeg(i: int) -> bytes:
    """Frame i: flat on its left, texture on its right, so that a part of it shows."""
    image = np.random.default_rng(i).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    image[:, :32] = level(i)
    return media_files.encoded(".jpg", image)


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends multipart motion JPEG. Each connection does the next of `script`, the last one again and again.

    A connection is a list: a number for that frame, bytes for a part of that content, a function of the
    handler for anything else. An empty one is refused.
    """

    script: tuple[list[Any], ...] = ()
    connections = 0

    def do_GET(self) -> None:
        actions = self.script[min(Camera.connections, len(self.script) - 1)]
        Camera.connections += 1
        if not actions:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for action in actions:
                if callable(action):
                    action(self)
                else:
                    self.part(action if isinstance(action, bytes) else jpeg(action))
                time.sleep(0.02)
        except OSError:
            return

    def part(self, content: bytes, sent: int | None = None) -> None:
        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
        self.wfile.write(b"Content-Length: %d\r\n\r\n%s" % (len(content), content[:sent]))
        if sent is None:
            self.wfile.write(b"\r\n")
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        pass


def first_half_of(i: int) -> Callable[[Camera], None]:
    return lambda camera: camera.part(jpeg(i), sent=len(jpeg(i)) // 2)


def silence(camera: Camera) -> None:
    time.sleep(1.5)


def hold(camera: Camera) -> None:
    """Frames until the reader leaves."""
    while True:
        camera.part(jpeg(LAST))
        time.sleep(0.02)


def zeros_from_half_of(i: int) -> bytes:
    data = jpeg(i)
    return data[: len(data) // 2].ljust(len(data), b"\0")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    monkeypatch.setenv("EDGECV_STREAM_TIMEOUT", "0.5")
    monkeypatch.setattr(stream_module, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(stream_module, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(live_module, "_OPEN_TIMEOUT_S", 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def run(*script: list[Any]) -> str:
            Camera.script, Camera.connections = script, 0
            return f"http://127.0.0.1:{server.server_address[1]}/camera"

        yield run
        server.shutdown()


def read(url: str) -> list[Item]:
    """What comes until frame `LAST`."""
    items = []
    with open_source(url) as source:
        for item in source:
            items.append(item)
            if isinstance(item, Frame) and number(item) == LAST:
                source.stop()
    return items


def number(frame: Frame) -> int:
    """Which frame of the server's it is, which has to be the whole of one."""
    i = round((float(frame.image[:, 4:24].mean()) - 10) / 15)
    whole = cv2.imdecode(np.frombuffer(jpeg(i), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(frame.image, whole)
    return i


AFTER = [4, 5, hold]
LASTING = {
    "it ends": (([0, 1, 2, 3], AFTER), "the stream ended"),
    "it ends within a frame": (([0, 1, 2, 3, first_half_of(9)], AFTER), "the stream ended"),
    "it stalls": (([0, 1, 2, 3, silence], AFTER), "no frame for "),
    "it stalls within a frame": (([0, 1, 2, 3, first_half_of(9), silence], AFTER), ""),
    "it is refused for a while": (([0, 1, 2, 3], [], [], [], AFTER), "the stream ended"),
    "it ends as it comes back": (([0, 1, 2, 3], [b""], [first_half_of(9)], AFTER), "the stream ended"),
    "it says nothing as it comes back": (([0, 1, 2, 3], [silence], AFTER), ""),
}


@pytest.mark.parametrize(("script", "reason"), LASTING.values(), ids=LASTING.keys())
def test_a_stream_that_is_lost_comes_back(serve: Callable[..., str], script: Any, reason: str) -> None:
    items = read(serve(*script))
    assert not [item for item in items if isinstance(item, Failure)]
    frames = [item for item in items if isinstance(item, Frame)]
    numbers = [number(frame) for frame in frames]
    assert numbers == sorted(set(numbers)), "none twice, none made up"
    assert 9 not in numbers, "none of a part of its data"
    stall, over = (item for item in items if isinstance(item, Gap))
    assert (stall.is_over, over.is_over) == (False, True)
    assert reason in stall.reason
    assert 0 <= stall.seconds <= over.seconds
    after = items[items.index(over) + 1]
    assert isinstance(after, Frame)
    assert over.index == after.index
    assert number(after) >= 4
    before = items[items.index(stall) - 1]
    assert isinstance(before, Frame)
    assert number(before) == 3
    assert over.seconds == pytest.approx((after.captured_ns - before.captured_ns) / 1e9, abs=0.3)


DAMAGED = {
    "zeros": b"\0" * 1000,
    "zeros from the middle on": zeros_from_half_of(9),
    "half of it": jpeg(9)[: len(jpeg(9)) // 2],
    "nothing": b"",
    "text": b"no signal",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_frame_is_a_gap(serve: Callable[..., str], content: bytes) -> None:
    def wait(camera: Camera) -> None:
        time.sleep(0.1)

    items = read(serve([0, 1, 2, 3, wait, content, 4, wait, 5, hold]))
    numbers = [number(item) for item in items if isinstance(item, Frame)]
    assert numbers == sorted(set(numbers))
    assert {4, LAST} <= set(numbers)
    assert 9 not in numbers
    (gap,) = (item for item in items if isinstance(item, Gap))
    assert gap.is_over
    assert gap.reason == "a damaged frame"
    after = items[items.index(gap) + 1]
    assert isinstance(after, Frame)
    assert gap.index == after.index == 5
    assert Camera.connections == 1


def test_frames_of_another_size_keep_it(serve: Callable[..., str]) -> None:
    large = media_files.encoded(".jpg", media_files.picture(128, 96))

    def wait(camera: Camera) -> None:
        time.sleep(0.1)

    url = serve([0, wait, large, wait, hold])
    with open_source(url) as source:
        sizes = {item.size_wh for item, _ in zip(source, range(3), strict=False) if isinstance(item, Frame)}
    assert sizes == {(64, 48), (128, 96)}


def test_a_stream_that_stays_away_is_given_up(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_STREAM_PATIENCE", "1")
    *frames, stall, over, failure = read(serve([0, 1, 2, 3], []))
    assert [number(frame) for frame in frames if isinstance(frame, Frame)][-1] == 3
    assert isinstance(stall, Gap)
    assert isinstance(over, Gap)
    assert (stall.is_over, over.is_over) == (False, True)
    assert over.seconds > 1
    assert isinstance(failure, Failure)
    assert str(failure.error).endswith(
        "/camera: the stream ended, after 4 frames; check the camera or the connection"
    )
    assert Camera.connections > 3, "it was tried"


def test_no_patience_opens_nothing_anew(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_STREAM_PATIENCE", "0")
    *frames, failure = read(serve([0, 1, 2, 3], AFTER))
    assert [number(frame) for frame in frames if isinstance(frame, Frame)][-1] == 3
    assert isinstance(failure, Failure)
    assert Camera.connections == 1


def test_a_stop_in_a_pause_ends_at_once(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "FIRST_PAUSE_S", 1000.0)
    with open_source(serve([0, 1, 2, 3], AFTER)) as source:
        for item in source:
            if isinstance(item, Gap):
                source.stop()
        assert isinstance(item, Gap)
    # A stream that is closed leaves no thread behind.
    assert not [thread for thread in threading.enumerate() if thread.name == f"edgecv {source.name}"]


def test_gaps_do_not_count_towards_the_limit(serve: Callable[..., str]) -> None:
    url = serve([0, lambda camera: time.sleep(0.1)], [4, hold])
    with open_source(url, limit=2) as source:
        items = list(source)
    assert [type(item) for item in items] == [Frame, Gap, Gap, Frame]


def test_a_file_on_a_server_does_not_begin_again(serve: Callable[..., str]) -> None:
    content = b"".join(jpeg(i) for i in range(4))

    class File(Camera):
        asked = 0

        def do_GET(self) -> None:
            File.asked += 1
            self.send_response(200)
            self.send_header("Content-Type", "video/x-motion-jpeg")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), File) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        items = read(f"http://127.0.0.1:{server.server_address[1]}/a.mjpeg")
        server.shutdown()
    indices = [item.index for item in items if isinstance(item, Frame)]
    assert indices == sorted(set(indices))
    assert max(indices) <= 3
    assert isinstance(items[-1], Failure)
    assert "the stream ended" in str(items[-1].error)


class FakeCapture:
    """A cv2.VideoCapture of a driver: each grab does the next of `script`.

    A number is that frame, False a grab that fails, None a frame that cannot be decoded.
    """

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.image = 0

    def grab(self) -> bool:
        time.sleep(0.01)
        self.image = self.script.pop(0) if self.script else False
        if callable(self.image):
            self.image()
            return self.grab()
        return self.image is not False

    def retrieve(self) -> tuple[bool, Any]:
        return self.image is not None, np.full((4, 6, 3), self.image or 0, np.uint8)

    def get(self, key: int) -> float:
        return 30.0 if key == cv2.CAP_PROP_FPS else 0.0

    def getBackendName(self) -> str:  # noqa: N802
        return "GSTREAMER"

    def release(self) -> None:
        self.script = []


def numbers_and_gaps(source: LiveStream) -> list[Any]:
    return [
        int(item.image[0, 0, 0])
        if isinstance(item, Frame)
        else (item.index, item.is_over, item.reason)
        if isinstance(item, Gap)
        else str(item.error)
        for item in source
    ]


def wait() -> None:
    time.sleep(0.05)


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        pytest.param(
            [(1, wait, False, False, 2, wait)], [1, (3, True, "a damaged frame"), 2], id="failed grabs"
        ),
        pytest.param([(1, wait, None, 2, wait)], [1, (2, True, "a damaged frame"), 2], id="not decoded"),
        pytest.param([(None, 1, wait, 2, wait)], [1, 2], id="damaged before the first frame"),
        pytest.param(
            [(1, wait), (2, wait)],
            [1, (1, False, "the stream ended"), (1, True, "the stream ended"), 2],
            id="unplugged",
        ),
        pytest.param(
            [(1, wait), None, None, (2, wait)],
            [1, (1, False, "the stream ended"), (1, True, "the stream ended"), 2],
            id="unplugged for a while",
        ),
    ],
)
def test_a_camera_that_comes_back(
    monkeypatch: pytest.MonkeyPatch, scripts: list[tuple[Any, ...] | None], expected: list[Any]
) -> None:
    monkeypatch.setenv("EDGECV_STREAM_PATIENCE", "0.3")
    monkeypatch.setenv("EDGECV_STREAM_TIMEOUT", "0.3")
    monkeypatch.setattr(stream_module, "FIRST_PAUSE_S", 0.02)
    first, *rest = [FakeCapture(*script) if script else None for script in scripts]
    with LiveStream(first, "camera", reopen=lambda: rest.pop(0) if rest else None) as source:
        got = numbers_and_gaps(source)
    assert got[: len(expected)] == expected
    assert "camera: the stream ended, after" in got[-1]


def test_a_driver_that_hangs_is_a_stall_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_STREAM_PATIENCE", "0.5")
    monkeypatch.setenv("EDGECV_STREAM_TIMEOUT", "0.2")
    woken = threading.Event()
    capture = FakeCapture(1, wait, lambda: woken.wait() and None)
    with LiveStream(capture, "camera", reopen=lambda: None) as source:
        got = numbers_and_gaps(source)
        woken.set()
    reason = "no frame for 0.2 s"
    assert got == [1, (1, False, reason), (1, True, reason), got[-1]]
    assert f"camera: {reason}, after 1 frames" in got[-1]


def test_a_driver_that_goes_on_after_a_pause_is_not_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_STREAM_TIMEOUT", "0.2")
    monkeypatch.setenv("EDGECV_STREAM_PATIENCE", "0.4")

    def fail() -> None:
        raise AssertionError("opened anew")

    capture = FakeCapture(1, lambda: time.sleep(0.7), 2, wait)
    with LiveStream(capture, "camera", limit=2, reopen=fail) as source:
        got = numbers_and_gaps(source)
    # A slow machine gives it up first.
    assert got[:2] == [1, (1, False, "no frame for 0.2 s")]


def test_pauses_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    source = LiveStream(FakeCapture(), "camera", reopen=lambda: opened.append(sum(slept)))
    opened: list[float] = []
    monkeypatch.setattr(stream_module.time, "sleep", sleep)
    monkeypatch.setattr(stream_module.time, "monotonic", lambda: clock[0])
    reopen = source._reopen
    assert reopen is not None

    def counted() -> None:
        reopen()
        if len(opened) == 7:
            source.stop()

    source._reopen = counted
    assert source._open_again() is None
    pauses = np.diff([0.0, *opened])
    np.testing.assert_allclose(pauses, [0.5, 1, 2, 4, 8, 8, 8], atol=1e-6)


def test_a_camera_without_a_whole_frame_is_an_error() -> None:
    with (
        LiveStream(FakeCapture(None, None), "camera", reopen=lambda: None) as source,
        pytest.raises(MediaError, match="camera: the stream ended, after 2 frames; check the camera"),
    ):
        list(source)

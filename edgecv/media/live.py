"""Cameras and network streams: the newest frame, with the time of its capture."""

from __future__ import annotations

import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecv.errors import InputError, MediaError, MediaNotFoundError, UnavailableError
from edgecv.media._cv2 import require_cv2
from edgecv.media.base import Source
from edgecv.media.images import as_bgr
from edgecv.media.items import Failure, Frame, Item
from edgecv.media.video import Video, frame_count, frames_per_second, open_capture

_OPEN_TIMEOUT_S = 10
_SILENCE_S = 15.0
_POLL_S = 0.2
_OLDEST_STAMP_NS = 5 * 10**9


def open_camera(device: int | str, name: str, *, limit: int | None = None) -> Source:
    """Opens a camera by its number, or by its device file (through V4L2).

    Raises MediaNotFoundError where there is no such camera, MediaError where it cannot be opened.
    """
    cv2 = require_cv2()
    if isinstance(device, int) and not 0 <= device < 1000:
        raise InputError(f"source: expected a camera number from 0 to 999, got {device}")
    path = Path(f"/dev/video{device}") if isinstance(device, int) else Path(device)
    if isinstance(device, str) and not path.exists():
        raise MediaNotFoundError(f"{name}: there is no camera {device}; {_cameras_here()}")
    capture = open_capture(device, None if isinstance(device, int) else cv2.CAP_V4L2)
    if capture is None and not path.exists():
        raise MediaNotFoundError(f"camera {name}: there is no such camera; {_cameras_here()}")
    if capture is None:
        raise MediaError(
            f"camera {name}: {path} cannot be opened; check that it is a camera, that no other program "
            "uses it, and that you are in the group 'video'"
        )
    return LiveStream(capture, name, limit=limit)


def open_csi(url: str, *, limit: int | None = None) -> Source:
    """Opens a Jetson's CSI camera: `csi://SENSOR?width=1280&height=720&fps=30&flip=0`.

    The parameters are optional and have these defaults: size in pixels, frames a second, and the flip
    method of nvvidconv (0 none, 2 half a turn, 4 mirrored, 6 upside down). Raises UnavailableError
    where OpenCV was built without GStreamer, as OpenCV from pip is.
    """
    pipeline = csi_pipeline(url)
    cv2 = require_cv2()
    if not _has_backend(cv2.CAP_GSTREAMER):
        raise UnavailableError(
            f"{url}: a CSI camera needs an OpenCV with GStreamer, but cv2 {cv2.__version__} here has "
            "none; use the OpenCV of JetPack, or build it with -DWITH_GSTREAMER=ON"
        )
    capture = open_capture(pipeline, cv2.CAP_GSTREAMER)
    if capture is None:
        raise MediaError(
            f"{url}: the camera cannot be opened; check the cable, that nvargus-daemon runs, that no "
            "other program uses the camera, and that it offers this size and rate"
        )
    return LiveStream(capture, url, limit=limit)


def csi_pipeline(url: str) -> str:
    """The GStreamer pipeline of a csi:// address; see `open_csi`. Raises InputError."""
    parts = urllib.parse.urlsplit(url)
    given = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    values = {"width": "1280", "height": "720", "fps": "30", "flip": "0", **given}
    form = "expected csi://SENSOR?width=1280&height=720&fps=30&flip=0"
    sensor = parts.netloc + parts.path.rstrip("/")
    if not re.fullmatch(r"[0-9]{1,2}", sensor):
        raise InputError(f"{url}: the sensor is a number, got {sensor!r}; {form}")
    for key, value in values.items():
        if key not in ("width", "height", "fps", "flip"):
            raise InputError(f"{url}: {key!r} is not known; {form}")
        if not re.fullmatch(r"[0-9]{1,5}", value) or (key != "flip" and int(value) == 0):
            raise InputError(f"{url}: {key} is a number, got {value!r}; {form}")
    if int(values["flip"]) > 7:
        raise InputError(f"{url}: flip is 0 to 7, got {values['flip']}; {form}")
    size = f"width={int(values['width'])},height={int(values['height'])}"
    return (
        f"nvarguscamerasrc sensor-id={int(sensor)} ! video/x-raw(memory:NVMM),{size},format=NV12,"
        f"framerate={int(values['fps'])}/1 ! nvvidconv flip-method={int(values['flip'])} ! "
        "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink max-buffers=1 drop=true sync=false"
    )


def open_url(url: str, *, limit: int | None = None) -> Source:
    """Opens a network stream; a video of known length on a web server becomes a `Video`."""
    cv2 = require_cv2()
    name = without_password(url)
    timeout_ms = _OPEN_TIMEOUT_S * 1000
    if _has_backend(cv2.CAP_FFMPEG):
        params = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms)
        capture = open_capture(url, cv2.CAP_FFMPEG, params)
    else:
        capture = open_capture(url)
    if capture is None:
        raise MediaError(
            f"{name}: the stream cannot be opened within {_OPEN_TIMEOUT_S} s; check the address, the "
            "password, and that the server runs"
        )
    if url.lower().startswith("http") and frame_count(capture) is not None:
        return Video(capture, name, limit=limit)
    return LiveStream(capture, name, limit=limit)


def without_password(url: str) -> str:
    """The address with *** for the password in it."""
    return re.sub(r"^([^/]+//[^/@:]*):[^/]*@", r"\1:***@", url)


class LiveStream(Source):
    """A camera or a stream that sets the pace.

    A thread reads every frame and keeps the newest, so that a slow receiver gets fresh frames instead
    of a growing backlog: `Frame.index` counts what arrived, and its gaps what was skipped. When the
    stream ends, or is silent for 15 s, a Failure says so.

    capture: an opened cv2.VideoCapture, which now belongs to the stream.
    """

    kind = "stream"
    is_live = True

    def __init__(self, capture: Any, name: str, *, limit: int | None = None) -> None:
        super().__init__(name, limit=limit, fps=frames_per_second(capture))
        self._capture = capture
        self._condition = threading.Condition()
        self._newest: Frame | None = None
        self._ended = ""
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        super().close()
        if self._thread is None:
            self._capture.release()
        else:
            # The thread may sit in a read that OpenCV ends in its own time; it releases the capture.
            self._thread.join(timeout=2.0)

    def _items(self) -> Iterator[Item]:
        self._thread = threading.Thread(target=self._read_all, name=f"edgecv {self.name}", daemon=True)
        self._thread.start()
        next_index = 0
        while not self._stopped:
            frame = self._wait()
            if self._stopped:
                return
            if frame is None:
                reason = self._ended or f"no frame for {_SILENCE_S:g} s"
                error = MediaError(
                    f"{self.name}: {reason}, after {next_index} frames; check the camera or the connection"
                )
                if next_index == 0:
                    raise error
                yield Failure(self.name, next_index, error)
                return
            next_index = frame.index + 1
            yield frame

    def _wait(self) -> Frame | None:
        """The newest frame that nobody had, or None at the end."""
        deadline = time.monotonic() + _SILENCE_S
        with self._condition:
            while self._newest is None and not self._ended and not self._stopped:
                if time.monotonic() > deadline:
                    return None
                self._condition.wait(_POLL_S)
            frame, self._newest = self._newest, None
        return frame

    def _read_all(self) -> None:
        cv2 = require_cv2()
        ended = "the stream ended"
        has_driver_time = _backend_name(self._capture) == "V4L2"
        index = 0
        try:
            while not self._stopped:
                if not self._capture.grab():
                    break
                captured_ns = time.monotonic_ns()
                if has_driver_time:
                    stated_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
                    captured_ns = driver_time_ns(stated_ms, captured_ns)
                ok, image = self._capture.retrieve()
                if not ok:
                    break
                frame = Frame(as_bgr(image, self.name), self.name, index, captured_ns)
                index += 1
                with self._condition:
                    self._newest = frame
                    self._condition.notify()
        except (cv2.error, MediaError) as error:
            ended = f"the stream broke ({error})"
        finally:
            self._capture.release()
            with self._condition:
                self._ended = ended
                self._condition.notify()


def driver_time_ns(stated_ms: float, now_ns: int) -> int:
    """The capture time that V4L2 states for a frame, on the monotonic clock.

    now_ns is returned for a time that cannot be it: in the future, or more than 5 s ago, as from a
    driver that stamps with another clock.
    """
    stated_ns = round(stated_ms * 1e6) if 0 < stated_ms < 1e13 else 0
    return stated_ns if 0 <= now_ns - stated_ns <= _OLDEST_STAMP_NS else now_ns


def _backend_name(capture: Any) -> str:
    try:
        return str(capture.getBackendName())
    except require_cv2().error:
        return ""


def _has_backend(backend: int) -> bool:
    return bool(require_cv2().videoio_registry.hasBackend(backend))


def _cameras_here() -> str:
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    found = ", ".join(str(device) for device in devices)
    return f"cameras here: {found}" if found else "no camera is connected to this machine (/dev/video*)"

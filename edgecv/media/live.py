"""Cameras and network streams: the newest frame, with the time of its capture."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import Any

from edgecv import settings
from edgecv.errors import InputError, MediaError, MediaNotFoundError, UnavailableError
from edgecv.media._cv2 import require_cv2
from edgecv.media.base import Source
from edgecv.media.stream import LiveStream
from edgecv.media.video import Video, frame_count, open_capture

_OPEN_TIMEOUT_S = 10


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

    def open_it() -> Any:
        return open_capture(device, None if isinstance(device, int) else cv2.CAP_V4L2)

    capture = open_it()
    if capture is None and not path.exists():
        raise MediaNotFoundError(f"camera {name}: there is no such camera; {_cameras_here()}")
    if capture is None:
        raise MediaError(
            f"camera {name}: {path} cannot be opened; check that it is a camera, that no other program "
            "uses it, and that you are in the group 'video'"
        )
    return LiveStream(capture, name, limit=limit, reopen=open_it)


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

    def open_it() -> Any:
        return open_capture(pipeline, cv2.CAP_GSTREAMER)

    capture = open_it()
    if capture is None:
        raise MediaError(
            f"{url}: the camera cannot be opened; check the cable, that nvargus-daemon runs, that no "
            "other program uses the camera, and that it offers this size and rate"
        )
    return LiveStream(capture, url, limit=limit, reopen=open_it)


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
    """Opens a network stream; a video of known length on a web server becomes a `Video`.

    A stream is opened anew where it is lost, unless it has an end: one of known length, or a file on a web
    server.
    """
    cv2 = require_cv2()
    name = without_password(url)
    timeout_s = settings.STREAM_TIMEOUT.get()
    is_http = url.lower().startswith("http")

    def open_it() -> Any:
        if not _has_backend(cv2.CAP_FFMPEG):
            return open_capture(url)
        params = (
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_S * 1000),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * timeout_s)),
        )
        return open_capture(url, cv2.CAP_FFMPEG, params)

    def open_again() -> Any:
        if is_http and _is_file(url, timeout_s):
            raise MediaError("the stream ended")
        return open_it()

    capture = open_it()
    if capture is None:
        raise MediaError(
            f"{name}: the stream cannot be opened, tried for at most {_OPEN_TIMEOUT_S} s; check the address, "
            "the password, and that the server runs"
        )
    has_end = frame_count(capture) is not None
    if is_http and has_end:
        return Video(capture, name, limit=limit)
    return LiveStream(capture, name, limit=limit, reopen=None if has_end else open_again)


def _is_file(url: str, timeout_s: float) -> bool:
    """Whether a web server says that there is a file of known size behind the address; False in doubt."""
    # Long to import, and no other source needs it.
    import http.client
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            kind = str(response.headers.get_content_type())
            has_size = response.headers.get("Content-Length") is not None
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return has_size and not kind.startswith("multipart/") and "mpegurl" not in kind


def without_password(url: str) -> str:
    """The address with *** for the password in it."""
    return re.sub(r"^([^/]+//[^/@:]*):[^/]*@", r"\1:***@", url)


def _has_backend(backend: int) -> bool:
    return bool(require_cv2().videoio_registry.hasBackend(backend))


def _cameras_here() -> str:
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    found = ", ".join(str(device) for device in devices)
    return f"cameras here: {found}" if found else "no camera is connected to this machine (/dev/video*)"

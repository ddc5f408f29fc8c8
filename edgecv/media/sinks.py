"""Where pictures and results go: image files, folders, videos and JSON lines.

Files are written under a temporary name and renamed when they are complete, so that what bears the
final name is always whole, and an older file of that name lives until then. (A loss of power may
still cost the newest files.)
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.errors import InputError, OutputError
from edgecv.media._cv2 import error_line, quiet_cv2, require_cv2
from edgecv.media.atomic import (
    Output,
    PendingFile,
    cannot_write,
    check_distinct,
    check_not_input,
    is_same_file,
)
from edgecv.media.containers import Extent, video_extent
from edgecv.media.items import Frame, Kind, Picture
from edgecv.media.video import LEAST_FPS, MOST_FPS, frame_count, open_capture

DEFAULT_FPS = 30.0
_LONGEST_GAP_S = 60.0
IMAGE_OUTPUTS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEO_OUTPUTS = {".avi": "MJPG", ".mov": "mp4v", ".mp4": "mp4v"}
"""Suffix -> FourCC of the codec: those that every build of OpenCV with FFmpeg can encode."""


def open_sink(
    path: str | Path,
    *,
    kind: Kind,
    fps: float | None = None,
    live: bool = False,
    inputs: Iterable[Path] = (),
    beside: Iterable[Path] = (),
) -> Sink:
    """Opens the output for the pictures of a source: pass its `kind`, `fps`, `is_live` and `paths`.

    - a file name with the suffix of an image (`IMAGE_OUTPUTS`): one picture, for kind "image";
    - one with the suffix of a video (`VIDEO_OUTPUTS`): a video, for kinds "video" and "stream"; without
      fps it runs at 30 frames a second. With live, it runs as fast as life: a picture is repeated for
      the frames that were skipped after it;
    - a folder, that is one that exists, or a name without a suffix or with a slash at its end: a
      picture for each frame. It is made where it does not exist. Pictures keep the names of image
      files, numbered where two are the same; the frames of a video or stream are numbered.

    beside: other files that are written at the same time.

    Raises InputError for a suffix that is not known or does not fit, where an input would be replaced, and
    where two outputs are one file; OutputError where nothing can be written; both before any frame.
    """
    text, target, inputs, beside = str(path), Path(path), tuple(inputs), tuple(beside)
    if not text:
        raise InputError("output: expected a file or a folder, got an empty name")
    if text == "-":
        raise InputError("output: expected a file or a folder, got -; pictures do not go to stdout")
    suffix = target.suffix.lower()
    if text.endswith("/") or not suffix or _is_folder(target):
        return FolderSink(target, kind=kind, inputs=inputs, beside=beside)
    fitting = {
        "image": (IMAGE_OUTPUTS, "an image"),
        "images": ((), "a folder, a name without a suffix, for several images"),
    }.get(kind, (tuple(VIDEO_OUTPUTS), "a video"))
    if suffix not in fitting[0]:
        known = f" ({', '.join(fitting[0])})" if fitting[0] else ""
        folder = "" if kind == "images" else ", or a folder"
        raise InputError(f"{target}: expected {fitting[1]}{known}{folder}; got the suffix {suffix!r}")
    check_not_input(target, inputs)
    check_distinct((*beside, target))
    return PictureSink(target) if kind == "image" else VideoSink(target, fps=fps, live=live)


class Sink(Output):
    """An output for pictures; see `Output` for how it ends.

    written: how many pictures were written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.written = 0

    @abstractmethod
    def write(self, frame: Frame, picture: Picture) -> None:
        """frame: what the picture was made of. picture: uint8 (H, W, 3), BGR. Raises OutputError."""


class PictureSink(Sink):
    """One image file; its suffix says the format. A second picture replaces the first."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        require_cv2()
        self._file = PendingFile(target)

    def write(self, frame: Frame, picture: Picture) -> None:
        _write_picture(self._file.path, self.target, picture)
        self.written += 1

    def abort(self) -> None:
        self._file.discard()

    def _finish(self) -> None:
        if self.written:
            self._file.commit()
        self._file.discard()


class FolderSink(Sink):
    """A folder with a picture for each frame, each of which appears when it is complete.

    An image file keeps its name, and its suffix where that format can be written, else it becomes a
    PNG; where a name has been used in this run, the next free number is added. The frames of a video
    or stream are <its name>_<index, 6 digits>.jpg.
    """

    def __init__(
        self, target: Path, *, kind: Kind, inputs: tuple[Path, ...], beside: tuple[Path, ...] = ()
    ) -> None:
        super().__init__(target)
        require_cv2()
        self._has_files = kind in ("image", "images")
        self._inputs = {path.resolve() for path in inputs}
        self._used: set[str] = set()
        self._names: dict[str, str] = {}
        if self._has_files and target.resolve() in {path.parent for path in self._inputs}:
            raise InputError(f"{target}: the outputs would replace the inputs; choose another folder")
        self._check_names(inputs if self._has_files else (), beside)
        self._made = _make_folders(target)
        try:
            PendingFile(target / "probe.png").discard()
        except OutputError:
            self.abort()
            raise

    def write(self, frame: Frame, picture: Picture) -> None:
        name = self._names.get(frame.source) if self._has_files else None
        target = self.target / (name or self._name(frame.source, frame.index))
        check_not_input(target, self._inputs if target.exists() else ())
        file = PendingFile(target)
        try:
            _write_picture(file.path, target, picture)
            file.commit()
        finally:
            file.discard()
        self.written += 1

    def abort(self) -> None:
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:
                return

    def _finish(self) -> None:
        if not self.written:
            self.abort()

    def _check_names(self, inputs: tuple[Path, ...], beside: tuple[Path, ...]) -> None:
        """Gives each input the name of its output, before anything is written."""
        for index, path in enumerate(inputs):
            self._names[str(path)] = self._name(str(path), index)
        targets = [self.target / name for name in self._names.values()]
        try:
            there = set(self.target.iterdir()) if self.target.is_dir() else set()
        except OSError as error:
            raise cannot_write(self.target, error) from error
        taken = [target for target in targets if target in there]
        for target in taken:
            check_not_input(target, self._inputs)
        # New names are distinct, which spares the many of a large folder.
        has_links = any(target.is_symlink() for target in taken)
        if has_links or any(is_same_file(path.parent, self.target) for path in beside):
            check_distinct((*beside, *targets))

    def _name(self, name: str, index: int) -> str:
        source = Path(name)
        if not self._has_files:
            # What follows the ? of an address may be secret, and other signs do not suit a file name.
            stem = re.sub(r"[^\w.-]+", "_", Path(name.partition("?")[0]).stem)
            return f"{stem or 'frame'}_{index:06d}.jpg"
        suffix = source.suffix.lower()
        if suffix not in IMAGE_OUTPUTS:
            suffix = ".png"
        name, number = f"{source.stem}{suffix}", 1
        while name.casefold() in self._used:
            number += 1
            name = f"{source.stem}_{number}{suffix}"
        self._used.add(name.casefold())
        return name


class VideoSink(Sink):
    """A video file; all frames have the size of the first. live: see `open_sink`.

    Video codecs want even sizes: an odd one grows by one row or column, a copy of its neighbor.
    """

    def __init__(self, target: Path, *, fps: float | None = None, live: bool = False) -> None:
        super().__init__(target)
        self._live = live
        self._start_ns = 0
        self._in_file = 0
        self._last: Picture | None = None
        self._fps = encodable_fps(fps)
        self._writer: Any = None
        self._size_wh = (0, 0)
        self._file = PendingFile(target)
        try:
            self._check_codec()
        except BaseException:
            self._file.discard()
            raise

    def write(self, frame: Frame, picture: Picture) -> None:
        picture = _check_picture(picture)
        size_wh = (picture.shape[1], picture.shape[0])
        if self._writer is None:
            self._size_wh = size_wh
            self._writer = self._open(size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        if size_wh != self._size_wh:
            expected, got = ("{} x {}".format(*size) for size in (self._size_wh, size_wh))
            raise OutputError(
                f"{self.target}: expected frames of {expected} pixels as the first, got {got} in frame "
                f"{frame.index}; write to a folder instead"
            )
        with quiet_cv2() as cv2:
            try:
                if size_wh[0] % 2 or size_wh[1] % 2:
                    picture = cv2.copyMakeBorder(
                        picture, 0, size_wh[1] % 2, 0, size_wh[0] % 2, cv2.BORDER_REPLICATE
                    )
                for _ in range(self._skipped(frame)):
                    self._writer.write(self._last)
                    self._in_file += 1
                self._writer.write(picture)
                self._in_file += 1
            except cv2.error as error:
                raise OutputError(f"{self.target}: cannot be written: {error_line(error)}") from error
        if self._live:
            self._last = picture.copy()
        self.written += 1

    def abort(self) -> None:
        self._release()
        self._file.discard()

    def _finish(self) -> None:
        self._release()
        if self.written:
            self._check_file()
            self._file.commit()
        self._file.discard()

    def _skipped(self, frame: Frame) -> int:
        """How many frames are missing before this one, for the video to last as long as the recording."""
        if not self._live:
            return 0
        if not self.written:
            self._start_ns = frame.captured_ns
        place = round((frame.captured_ns - self._start_ns) * self._fps / 1e9)
        return min(max(0, place - self._in_file), round(_LONGEST_GAP_S * self._fps))

    def _open(self, width: int, height: int) -> Any:
        fourcc = VIDEO_OUTPUTS[self.target.suffix.lower()]
        with quiet_cv2() as cv2:
            try:
                code = cv2.VideoWriter_fourcc(*fourcc)
                writer = cv2.VideoWriter(str(self._file.path), code, self._fps, (width, height))
                if writer.isOpened():
                    return writer
            except (cv2.error, AttributeError):
                pass
        raise OutputError(
            f"{self.target}: this OpenCV cannot encode {width} x {height} {fourcc} video at "
            f"{self._fps:g} frames a second; choose another suffix ({', '.join(VIDEO_OUTPUTS)}), or a folder"
        )

    def _check_codec(self) -> None:
        writer = self._open(64, 64)
        writer.write(np.zeros((64, 64, 3), np.uint8))
        writer.release()
        self._check_file()

    def _check_file(self) -> None:
        """OpenCV's writer does not say that the disk is full: the file is asked."""
        if not self._file.path.exists():
            return
        is_whole = video_extent(self._file.path) not in (Extent.CUT, Extent.NO_INDEX)
        capture = open_capture(str(self._file.path)) if is_whole else None
        has_frames = capture is not None and frame_count(capture) is not None
        if capture is not None:
            capture.release()
        if not has_frames:
            self._file.discard()
            raise OutputError(
                f"{self.target}: cannot be written: not all frames arrived in the file; check the free "
                "space, or choose another place"
            )

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None


def encodable_fps(fps: float | None) -> float:
    """The rate nearest to what a source states that encoders take; 30 where that cannot be one.

    MPEG-4's clock counts up to 65535 in a second (ISO/IEC 14496-2, vop_time_increment_resolution), and OpenCV
    hands over thousandths.
    """
    if fps is None or not LEAST_FPS <= fps <= MOST_FPS:
        return DEFAULT_FPS
    rates = (Fraction(round(fps * 10**digits), 10**digits) for digits in (3, 2, 1, 0))
    return float(next(rate for rate in rates if rate.numerator <= 65535))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def _check_picture(picture: Picture) -> Picture:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise InputError(f"picture: expected uint8 (H, W, 3) BGR, got {picture.dtype} {picture.shape}")
    return np.ascontiguousarray(picture)


def _write_picture(path: Path, target: Path, picture: Picture) -> None:
    picture = _check_picture(picture)
    with quiet_cv2() as cv2:
        try:
            ok, data = cv2.imencode(target.suffix.lower(), picture)
        except cv2.error as error:
            raise OutputError(f"{target}: cannot be encoded: {error_line(error)}") from error
    if not ok:
        raise OutputError(
            f"{target}: this picture of {picture.shape[1]} x {picture.shape[0]} cannot be encoded"
        )
    try:
        path.write_bytes(data)
    except OSError as error:
        raise cannot_write(target, error) from error


def _make_folders(target: Path) -> list[Path]:
    """Makes a folder and those above it. Returns what was made, deepest first."""
    made: list[Path] = []
    try:
        for folder in reversed([target, *target.parents]):
            if folder.is_file():
                raise FileExistsError(0, f"{folder} is a file, not a folder")
            if not folder.is_dir():
                folder.mkdir()
                made.insert(0, folder)
    except OSError as error:
        for folder in made:
            folder.rmdir()
        raise cannot_write(target, error) from error
    return made

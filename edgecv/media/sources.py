"""Where frames come from: the text after `edgecv detect MODEL`, turned into a source."""

from __future__ import annotations

import difflib
import glob
import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecv.arguments import told
from edgecv.errors import InputError, MediaError, MediaNotFoundError
from edgecv.media.base import Source
from edgecv.media.formats import HEAD_BYTES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, sniff
from edgecv.media.images import read_image
from edgecv.media.items import Failure, Frame, Item
from edgecv.media.live import open_camera, open_csi, open_url
from edgecv.media.raw import RawFormat, StdinRaw
from edgecv.media.stdin import StdinImages
from edgecv.media.video import open_video

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
URL_SCHEMES = ("http", "https", "rtmp", "rtsp", "rtsps", "tcp", "udp")
_FORMS = (
    "a file, a folder, a glob, a camera index, v4l2:///dev/video0, csi://0, "
    + ", ".join(f"{scheme}://" for scheme in URL_SCHEMES)
    + ", or - for images on stdin"
)


def open_source(
    source: str | int | Path, *, limit: int | None = None, raw: RawFormat | None = None
) -> Source:
    """Opens what `source` names; a `Path` is always a file or a folder.

    - a file: an image or a video, by its content, else by its suffix (an animated GIF is a video);
    - a folder: the images directly in it, by suffix, in natural order (2.jpg before 10.jpg), without
      hidden files;
    - a glob, `**` for any folders: the images that match, in the same order. A file whose name looks
      like a glob is that file;
    - an integer, or its text: the camera of that number; `./0` is the file of that name;
    - `v4l2:///dev/video0`, or `/dev/video0`: that camera; `csi://0`: a Jetson's CSI camera, see
      `open_csi`; `rtsp://...`, `http://...`: a network stream or a video on a server;
    - `-`: JPEG and PNG images on stdin, back to back, see `StdinImages`.

    limit: the most items to hand out. raw: of frames without a header on stdin, see `StdinRaw`. Raises
    MediaNotFoundError, MediaError, InputError, and UnavailableError where OpenCV lacks what the source needs.
    """
    if raw is not None:
        if source != "-":
            raise InputError(f"--raw: of frames on stdin, whose SOURCE is -, got {str(source)!r}")
        return StdinRaw(raw, limit=limit)
    if not isinstance(source, (str, int, os.PathLike)):
        raise InputError(f"source: expected {_FORMS}; got {told(source)}")
    if isinstance(source, int):
        return open_camera(source, str(source), limit=limit)
    if isinstance(source, str):
        if not source:
            raise InputError(f"source: expected {_FORMS}; got an empty text")
        if source == "-":
            return StdinImages(limit=limit)
        if source.isascii() and source.isdigit():
            return open_camera(int(source), source, limit=limit)
        if scheme := _SCHEME.match(source):
            return _open_scheme(source, scheme[1].lower(), limit)
    return _open_path(str(source), is_text=isinstance(source, str), limit=limit)


class ImageFiles(Source):
    """Image files, in the order given. An unreadable one is a Failure; if it is the only one asked
    for, it is raised as MediaError."""

    def __init__(self, name: str, paths: Sequence[Path], *, is_single: bool, limit: int | None) -> None:
        super().__init__(name, limit=limit, length=len(paths), paths=tuple(paths))
        self.kind = "image" if is_single else "images"

    def _items(self) -> Iterator[Item]:
        for index, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except MediaError as error:
                if self.kind == "image":
                    raise
                yield Failure(str(path), index, error)
                continue
            yield Frame(image, str(path), index, time.monotonic_ns())


def natural_key(path: str | Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sorts names as people do: numbers by value, letters without regard to case, folder by folder."""
    return tuple(
        tuple(
            (0, int(part), part) if part.isdigit() else (1, 0, part.casefold())
            for part in re.split(r"(\d+)", name, flags=re.ASCII)
            if part
        )
        for name in Path(path).parts
    )


def _open_scheme(text: str, scheme: str, limit: int | None) -> Source:
    if scheme == "v4l2":
        return open_camera(text[len("v4l2://") :], text, limit=limit)
    if scheme == "csi":
        return open_csi(text, limit=limit)
    if scheme in URL_SCHEMES:
        return open_url(text, limit=limit)
    raise InputError(f"source: {scheme}:// is not known; expected {_FORMS}")


def _open_path(name: str, *, is_text: bool, limit: int | None) -> Source:
    path = Path(name)
    try:
        is_dir, is_file, exists = path.is_dir(), path.is_file(), path.exists()
    except (OSError, ValueError) as error:
        raise MediaError(f"{name!r}: not a usable file name: {error}") from error
    if is_dir:
        return _open_folder(name, limit)
    if is_file:
        return _open_file(name, limit)
    if exists and re.fullmatch(r"/dev/video\d+", name):
        return open_camera(name, name, limit=limit)
    if exists:
        raise MediaError(f"{name}: neither a file nor a folder; for a pipe, use - and redirect it to stdin")
    if is_text and re.search(r"[*?[]", name):
        return _open_glob(name, limit)
    if path.is_symlink():
        raise MediaNotFoundError(f"{name}: a link to {path.readlink()}, which is not there")
    raise MediaNotFoundError(f"{name}: no such file or folder{_suggestion(path)}")


def _open_file(name: str, limit: int | None) -> Source:
    path = Path(name)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror or error}") from error
    suffix = path.suffix.lower()
    content = sniff(head)
    # A file of JPEGs back to back is a video by its suffix only.
    if suffix in (".mjpg", ".mjpeg"):
        content = "video"
    if content is None:
        content = "image" if suffix in IMAGE_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else None
    if content == "image":
        return ImageFiles(name, [path], is_single=True, limit=limit)
    if content == "video" and not head:
        raise MediaError(f"{name}: not a readable video: it is empty")
    if content == "video":
        return open_video(path, limit=limit)
    what = "an empty file" if not head else "a file of another kind"
    raise MediaError(f"{name}: expected an image or a video, got {what}")


def _open_folder(name: str, limit: int | None) -> Source:
    try:
        with os.scandir(name) as entries:
            # A link to nothing stands for a picture that is missing: a failure, not one fewer.
            files = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and (entry.is_file() or _is_dangling(entry.path))
            ]
    except OSError as error:
        raise MediaError(f"{name}: the folder cannot be read: {error.strerror or error}") from error
    images = _images([Path(name, file) for file in files])
    if not images:
        others = f"{len(files)} files of other kinds" if files else "no files"
        raise MediaError(
            f"{name}: expected a folder with images ({', '.join(IMAGE_SUFFIXES)}), got {others}; "
            f"for its subfolders, use '{Path(name) / '**'}'"
        )
    return ImageFiles(name, images, is_single=False, limit=limit)


def _open_glob(pattern: str, limit: int | None) -> Source:
    matches = [Path(match) for match in glob.iglob(pattern, recursive=True)]  # noqa: PTH207
    files = [path for path in matches if path.is_file() or _is_dangling(path)]
    images = _images(files)
    if not images and files:
        raise MediaError(
            f"{pattern}: expected images, got {len(files)} files with other suffixes "
            f"(the first is {min(files, key=natural_key)}); a video is named alone, without a glob"
        )
    if not images:
        raise MediaNotFoundError(f"{pattern}: matches no file; check the folder and the pattern")
    return ImageFiles(pattern, images, is_single=False, limit=limit)


def _is_dangling(path: str | Path) -> bool:
    return Path(path).is_symlink() and not Path(path).exists()


def _images(paths: Sequence[Path]) -> list[Path]:
    images = (path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(images, key=lambda path: (natural_key(path), str(path)))


def _suggestion(path: Path) -> str:
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), 10_000)]
    except OSError:
        return f": there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"; did you mean {path.parent / close[0]}?" if close else "; check the name"

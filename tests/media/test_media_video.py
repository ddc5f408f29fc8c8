from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import media_files
import numpy as np
import pytest

import edgecv
from edgecv.errors import MediaError
from edgecv.media import Failure, Frame, Item, open_source
from edgecv.media.containers import Extent, video_extent
from edgecv.media.video import Video

FRAMES = 30


def read(path: Path) -> list[Item]:
    with open_source(path) as source:
        return list(source)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    made = {
        suffix: media_files.write_video(folder / f"a{suffix}", FRAMES).read_bytes()
        for suffix in (".avi", ".mkv", ".mp4")
    }
    made["index first.mp4"] = media_files.with_index_first(made[".mp4"])
    return made


@pytest.mark.parametrize("name", [".avi", ".mkv", ".mp4", "index first.mp4"])
def test_every_frame_comes_out_in_order(tmp_path: Path, videos: dict[str, bytes], name: str) -> None:
    path = tmp_path / f"grün 100% {name}"
    path.write_bytes(videos[name])
    with open_source(path) as source:
        assert (source.kind, source.is_live, source.fps, source.length) == ("video", False, 25.0, FRAMES)
        assert source.paths == (path,)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert all(isinstance(frame, Frame) for frame in frames)
    assert [frame.pts_ms for frame in frames] == pytest.approx([40.0 * i for i in range(FRAMES)])
    levels = np.array([frame.image[:, 4:24].mean() for frame in frames])
    np.testing.assert_allclose(levels, 4 * np.arange(FRAMES), atol=6)
    stamps = [frame.captured_ns for frame in frames]
    assert stamps == sorted(stamps)
    assert stamps[0] > 0


@pytest.mark.parametrize("name", [".avi", ".mkv", "index first.mp4"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.8])
def test_a_cut_video_gives_its_whole_frames_and_a_failure(
    tmp_path: Path, videos: dict[str, bytes], name: str, part: float
) -> None:
    path = tmp_path / f"cut{Path(name).suffix}"
    path.write_bytes(videos[name][: int(len(videos[name]) * part)])
    *frames, failure = read(path)
    assert isinstance(failure, Failure)
    # The first frame of a predicted codec is the largest.
    assert part * FRAMES - 7 <= len(frames) <= part * FRAMES
    assert failure.index == len(frames)
    assert str(failure.error) == (
        f"{path}: the video is cut off or damaged: {len(frames)} of {FRAMES} frames could be read "
        "whole; copy or record it again"
    )
    levels = [frame.image[:, 4:24].mean() for frame in frames if isinstance(frame, Frame)]
    np.testing.assert_allclose(levels, 4 * np.arange(len(frames)), atol=6)


@pytest.mark.parametrize("missing", [1, 40])
def test_an_mp4_that_lacks_its_last_bytes_only(
    tmp_path: Path, videos: dict[str, bytes], missing: int
) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(videos["index first.mp4"][:-missing])
    *frames, failure = read(path)
    assert len(frames) == FRAMES - 1
    assert isinstance(failure, Failure)


def test_an_avi_that_lacks_its_index_is_whole(tmp_path: Path, videos: dict[str, bytes]) -> None:
    path = tmp_path / "a.avi"
    data = videos[".avi"]
    path.write_bytes(data[: data.rindex(b"idx1")])
    assert len(read(path)) == FRAMES
    assert all(isinstance(item, Frame) for item in read(path))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param(
            "a.mp4", lambda videos: videos[".mp4"][:-200], "its index (moov) is missing", id="cut mp4"
        ),
        pytest.param(
            "a.mp4", lambda videos: videos["index first.mp4"][:300], "(moov)", id="mp4 cut in its index"
        ),
        pytest.param("a.mp4", lambda videos: b"text\n" * 99, "no video stream", id="text"),
        pytest.param("a.mp4", lambda videos: b"", "it is empty", id="empty"),
        pytest.param("a.avi", lambda videos: videos[".avi"][:100], "not a readable video", id="avi header"),
        pytest.param("a.mkv", lambda videos: videos[".mkv"][:300], "not a readable video", id="mkv header"),
        pytest.param("a.gif", lambda videos: b"GIF89a", "not a readable video", id="gif header"),
    ],
)
def test_unreadable_videos_give_one_line(
    tmp_path: Path,
    videos: dict[str, bytes],
    name: str,
    content: Any,
    reason: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content(videos))
    with pytest.raises(MediaError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_opencv_and_ffmpeg_keep_quiet(tmp_path: Path, videos: dict[str, bytes]) -> None:
    (tmp_path / "cut.mp4").write_bytes(videos["index first.mp4"][:-5000])
    (tmp_path / "cut.avi").write_bytes(videos[".avi"][:-5000])
    (tmp_path / "no index.mp4").write_bytes(videos[".mp4"][:-5000])
    (tmp_path / "text.mkv").write_text("text")
    script = (
        "import sys; from edgecv.errors import MediaError; from edgecv.media import open_source\n"
        "for name in [*sys.argv[1:], '973', 'rtsp://127.0.0.1:1/x']:\n"
        "    try: print(type(list(open_source(name))[-1]).__name__)\n"
        "    except MediaError as error: print(type(error).__name__)\n"
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(edgecv.__file__).parents[1])},
    )
    assert run.stdout.split() == [
        "Failure", "Failure", "MediaError", "MediaError", "MediaNotFoundError", "MediaError"
    ]  # fmt: skip
    assert run.stderr == ""


def test_an_animated_gif_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frame = b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\1\0"
    path.write_bytes(b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + 3 * frame + b"\x3b")
    assert [type(item) for item in read(path)] == [Frame] * 3


def test_limit_ends_before_the_cut(tmp_path: Path, videos: dict[str, bytes]) -> None:
    path = tmp_path / "cut.avi"
    path.write_bytes(videos[".avi"][: len(videos[".avi"]) // 2])
    with open_source(path, limit=5) as source:
        assert source.length == 5
        assert [type(item) for item in source] == [Frame] * 5


def test_stop_ends_a_video(tmp_path: Path, videos: dict[str, bytes]) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(videos[".avi"])
    with open_source(path) as source:
        for item in source:
            if item.index == 3:
                source.stop()
        assert item.index == 3


class FakeCapture:
    """A cv2.VideoCapture that states what it is told to, and has `frames` frames."""

    def __init__(self, frames: int, stated: float, fps: float = 25.0, last_s: float | None = None) -> None:
        self.frames = frames
        self.values = {cv2.CAP_PROP_FRAME_COUNT: stated, cv2.CAP_PROP_FPS: fps}
        self.last_s = frames / fps - 1 / fps if last_s is None else last_s
        self.at = 0

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return 1000 * self.last_s * (self.at - 1) / max(1, self.frames - 1)
        return self.values[key]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.at += 1
        if self.at > self.frames:
            return False, None
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("capture", "extent", "fails"),
    [
        pytest.param(FakeCapture(100, 100), Extent.UNKNOWN, False, id="all there"),
        pytest.param(FakeCapture(98, 100), Extent.UNKNOWN, False, id="within the tolerance"),
        pytest.param(FakeCapture(90, 100), Extent.UNKNOWN, True, id="a tenth missing"),
        pytest.param(FakeCapture(90, 100, last_s=3.96), Extent.UNKNOWN, False, id="variable rate"),
        pytest.param(FakeCapture(90, 100, last_s=0.0), Extent.UNKNOWN, True, id="no times"),
        pytest.param(FakeCapture(70, 100), Extent.WHOLE, False, id="edit list"),
        pytest.param(FakeCapture(100, 100), Extent.CUT, True, id="proof of a cut"),
        pytest.param(FakeCapture(120, 100), Extent.UNKNOWN, False, id="more than stated"),
        pytest.param(FakeCapture(9, -9.2e13), Extent.UNKNOWN, False, id="count unknown"),
        pytest.param(
            FakeCapture(9, float("nan"), fps=float("inf"), last_s=1), Extent.UNKNOWN, False, id="nan"
        ),
    ],
)
def test_a_cut_is_reported_only_where_it_is_clear(capture: FakeCapture, extent: Extent, fails: bool) -> None:
    with Video(capture, "a.mkv", extent=extent) as source:
        items = list(source)
    assert isinstance(items[-1], Failure) is fails
    assert len(items) == capture.frames


def test_video_without_a_frame_is_an_error() -> None:
    with (
        Video(FakeCapture(0, 100), "a.mkv") as source,
        pytest.raises(MediaError, match="no frame of it"),
    ):
        list(source)


@pytest.mark.parametrize(
    ("data", "extent"),
    [
        pytest.param(b"", Extent.UNKNOWN, id="empty"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08mdat", Extent.WHOLE, id="whole"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\0mdat....", Extent.WHOLE, id="mdat to the end"),
        pytest.param(
            b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x01mdat\0\0\0\0\0\0\0\x14....",
            Extent.WHOLE,
            id="64-bit size",
        ),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x10mdat...", Extent.CUT, id="mdat is cut"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x20moof...", Extent.CUT, id="fragment is cut"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08mdat", Extent.NO_INDEX, id="no moov"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x09moov", Extent.NO_INDEX, id="moov is cut"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x03abcd....", Extent.UNKNOWN, id="impossible size"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x99free", Extent.WHOLE, id="cut in free space"),
        pytest.param(b"RIFF....AVI LIST\x08\0\0\0movi....", Extent.WHOLE, id="avi"),
        pytest.param(b"RIFF....AVI LIST\0\0\0\0movi00dc\x09\0\0\0....", Extent.CUT, id="cut unfinished avi"),
        pytest.param(b"RIFF....AVI LIST\x09\0\0\0movi....", Extent.CUT, id="cut avi"),
        pytest.param(b"RIFF....AVI LIST\0\0\0\0movi....", Extent.UNKNOWN, id="unfinished avi"),
        pytest.param(
            b"RIFF....AVI LIST\x08\0\0\0movi....RIFF\x10\0\0\0AVIXLIST\x20\0\0\0movi",
            Extent.CUT,
            id="OpenDML",
        ),
        pytest.param(b"\x1a\x45\xdf\xa3" * 9, Extent.UNKNOWN, id="mkv"),
    ],
)
def test_what_a_container_says_about_its_end(tmp_path: Path, data: bytes, extent: Extent) -> None:
    path = tmp_path / "video"
    path.write_bytes(data)
    assert video_extent(path) is extent

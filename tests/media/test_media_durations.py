"""Videos whose containers state wrong durations, rates and counts, or hold packets without a frame."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import media_files
import numpy as np
import pytest

from edgecv.media import Failure, Frame, Item, open_source
from edgecv.media._cv2 import capture_options
from edgecv.media.containers import Extent, video_extent
from edgecv.media.video import Video, count_packets

FRAMES = 30
NAN, INF = float("nan"), float("inf")
Change = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        suffix: media_files.write_video(folder / f"a{suffix}", FRAMES).read_bytes()
        for suffix in (".avi", ".mkv", ".mp4")
    }


def read(path: Path) -> tuple[list[Item], float | None, int | None]:
    with open_source(path) as source:
        return list(source), source.fps, source.length


def check_levels(items: list[Item], expected: list[int]) -> None:
    """Frame i of the writer has the gray level 4 * i in its left half."""
    levels = [item.image[:, 4:24].mean() for item in items if isinstance(item, Frame)]
    np.testing.assert_allclose(levels, 4.0 * np.array(expected), atol=6)


def avi(frames: int | None = None, scale_rate: tuple[int, int] | None = None) -> Change:
    return lambda data: media_files.avi_stating(data, frames, scale_rate)


def mp4(*runs: tuple[int, int]) -> Change:
    return lambda data: media_files.mp4_with_durations(data, *runs)


WRONG: dict[str, tuple[str, Change, float | None]] = {
    **{
        f"avi of {n} frames": (".avi", avi(frames=n), 25.0)
        for n in (0, 1, 10, 31, 1000, 2**31 - 1, 2**32 - 1)
    },
    **{
        f"avi at {rate} in {scale}": (".avi", avi(scale_rate=(scale, rate)), fps)
        for scale, rate, fps in (
            (0, 25, 25.0),
            (1, 0, 25.0),
            (0, 0, 25.0),
            (1, 1000, 1000.0),
            (1, 10**5, None),
        )
    },
    "avi with empty chunks": (".avi", lambda data: media_files.avi_with_empty_chunks(data, 5), 25.0),
    "avi with more empty chunks than frames": (
        ".avi",
        lambda data: media_files.avi_with_empty_chunks(data, 1),
        25.0,
    ),
    **{
        f"mkv of {ms} ms": (".mkv", lambda data, ms=ms: media_files.mkv_stating(data, ms), 25.0)  # type: ignore[misc]
        for ms in (0.0, -5.0, 1.0, 1e5, 1e15, NAN, INF)
    },
    "mkv without a rate": (".mkv", media_files.mkv_without_rate, 25.0),
    **{
        f"mp4 of {ticks} ticks": (
            ".mp4",
            lambda data, ticks=ticks: media_files.mp4_stating(data, ticks),  # type: ignore[misc]
            25.0,
        )
        for ticks in (0, 1, 2**31, 2**32 - 1)
    },
    "mp4 with a long last frame": (".mp4", mp4((29, 512), (1, 512_000)), None),
    "mp4 of a variable rate": (".mp4", mp4((5, 512), (5, 1536), (10, 1), (10, 3584)), None),
    "mp4 without durations": (".mp4", mp4((30, 0)), None),
    "mp4 with a last frame of no duration": (".mp4", mp4((29, 512), (1, 0)), None),
    "mp4 with durations for some": (".mp4", mp4((10, 512)), None),
    "mp4 with durations for more": (".mp4", mp4((300, 512)), None),
    "mp4 with huge durations": (".mp4", mp4((29, 2**31 - 1), (1, 512)), None),
    "mp4 with one negative duration": (".mp4", mp4((10, 512), (1, 2**32 - 5), (19, 512)), None),
    "mp4 whose edits show nothing": (
        ".mp4",
        lambda data: media_files.mp4_stating(data, 0, edits=True),
        25.0,
    ),
    **{
        f"mp4 with {count} empty samples at {at}": (
            ".mp4",
            lambda data, at=at, count=count: media_files.mp4_with_empty_samples(data, at, count),  # type: ignore[misc]
            None,
        )
        for at, count in ((0, 1), (1, 1), (15, 1), (15, 20), (29, 2), (30, 1))
    },
}


@pytest.mark.parametrize(("suffix", "change", "fps"), WRONG.values(), ids=WRONG.keys())
def test_no_frame_is_dropped_and_the_run_does_not_fail(
    tmp_path: Path, videos: dict[str, bytes], suffix: str, change: Change, fps: float | None
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(change(videos[suffix]))
    items, stated_fps, length = read(path)
    assert [type(item) for item in items] == [Frame] * FRAMES
    assert [item.index for item in items] == list(range(FRAMES))
    check_levels(items, list(range(FRAMES)))
    assert stated_fps is None or 0 < stated_fps <= 1000
    assert length is None or length >= 1
    if fps is not None:
        assert stated_fps == pytest.approx(fps)


def test_an_edit_list_hides_frames(tmp_path: Path, videos: dict[str, bytes]) -> None:
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(media_files.mp4_stating(videos[".mp4"], 320, edits=True))
    items, _, _ = read(path)
    assert [type(item) for item in items] == [Frame] * 8
    check_levels(items, list(range(8)))


DAMAGE = {
    "in the middle": [10],
    "at the start": [0],
    "at the end": [29],
    "everywhere": [0, 7, 8, 9, 29],
}


@pytest.mark.parametrize("damaged", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_frame_that_cannot_be_decoded_costs_no_other(
    tmp_path: Path, videos: dict[str, bytes], damaged: list[int]
) -> None:
    data = videos[".avi"]
    places = media_files.avi_frames(data)
    for i in damaged:
        at, size = places[i]
        data = media_files.patched(data, at, bytes(size))
    path = tmp_path / "a.avi"
    path.write_bytes(data)
    (*frames, failure), _, _ = read(path)
    check_levels(frames, [i for i in range(FRAMES) if i not in damaged])
    assert isinstance(failure, Failure)
    assert failure.index == FRAMES - len(damaged)
    assert f"damaged: {FRAMES - len(damaged)} of {FRAMES} frames could be read whole" in str(failure.error)


@pytest.mark.parametrize(
    ("suffix", "fourcc"),
    [
        (".avi", "MPG2"),
        (".mkv", "MPG2"),
        (".mpg", "MPG2"),
        (".ts", "MPG2"),
        (".webm", "VP90"),
        (".flv", "FLV1"),
    ],
)
def test_frames_out_of_order_in_the_file_come_in_order(tmp_path: Path, suffix: str, fourcc: str) -> None:
    path = tmp_path / f"a{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25.0, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV does not write {fourcc} in {suffix}")
    for i in range(FRAMES):
        writer.write(np.full((48, 64, 3), 4 * i, np.uint8))
    writer.release()
    items, _, _ = read(path)
    assert [type(item) for item in items] == [Frame] * FRAMES
    check_levels(items, list(range(FRAMES)))
    assert count_packets(path) == FRAMES


@pytest.mark.parametrize("missing", [1, 9])
def test_a_matroska_that_lacks_its_index_is_whole(
    tmp_path: Path, videos: dict[str, bytes], missing: int
) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(videos[".mkv"][:-missing])
    items, _, _ = read(path)
    assert [type(item) for item in items] == [Frame] * FRAMES


def tag(kind: int, content: bytes) -> bytes:
    """A tag of an FLV, and its size, which stands before the next one."""
    size = len(content)
    return bytes([kind]) + size.to_bytes(3, "big") + bytes(7) + content + struct.pack(">I", 11 + size)


@pytest.mark.parametrize(
    ("tags", "extent"),
    [
        pytest.param(tag(18, b"meta") + tag(9, b"abc"), Extent.WHOLE, id="whole"),
        pytest.param((tag(18, b"meta") + tag(9, b"abc"))[:-4], Extent.WHOLE, id="all but the last size"),
        pytest.param((tag(18, b"meta") + tag(9, b"abc"))[:-5], Extent.CUT, id="cut in a frame"),
        pytest.param(tag(8, b"abc") + b"\x09\0", Extent.CUT, id="cut in a header"),
        pytest.param(tag(9, b"abc") + tag(7, b"abc"), Extent.UNKNOWN, id="of another kind"),
        pytest.param(b"", Extent.WHOLE, id="nothing"),
    ],
)
def test_the_end_of_an_flv(tmp_path: Path, tags: bytes, extent: Extent) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"FLV\x01\x01\0\0\0\x09\0\0\0\0" + tags)
    assert video_extent(path) is extent


def element(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """An EBML element, of a size in 4 bytes, or in 8 where it is -1, which means unknown."""
    if size == -1:
        return kind + b"\x01" + b"\xff" * 7 + content
    return kind + struct.pack(">I", 0x10000000 | (len(content) if size is None else size)) + content


HEAD = element(b"\x1a\x45\xdf\xa3", b"\x42\x86\x81\x01")
CLUSTER, SEGMENT, CUES = b"\x1f\x43\xb6\x75", b"\x18\x53\x80\x67", b"\x1c\x53\xbb\x6b"


@pytest.mark.parametrize(
    ("data", "extent"),
    [
        pytest.param(element(SEGMENT, element(CLUSTER, b"abc")), Extent.WHOLE, id="whole"),
        pytest.param(element(SEGMENT, element(CLUSTER, b"abc", 4)), Extent.CUT, id="cut in a cluster"),
        pytest.param(element(SEGMENT, element(CLUSTER, b"abc"), 99), Extent.CUT, id="cut behind a cluster"),
        pytest.param(
            element(SEGMENT, element(CLUSTER, b"abc") + element(CUES, b"", 9)), Extent.WHOLE, id="cut index"
        ),
        pytest.param(element(SEGMENT, element(CLUSTER, b"abc"), -1), Extent.UNKNOWN, id="not finished"),
        pytest.param(
            element(SEGMENT, element(CLUSTER, b"abc", 4), -1), Extent.CUT, id="not finished, cut in a cluster"
        ),
        pytest.param(
            element(SEGMENT, element(CLUSTER, b"abc", -1), -1), Extent.UNKNOWN, id="clusters of unknown size"
        ),
        pytest.param(element(SEGMENT, b"\0\0"), Extent.WHOLE, id="nonsense"),
        pytest.param(b"", Extent.UNKNOWN, id="nothing"),
    ],
)
def test_the_end_of_a_matroska(tmp_path: Path, data: bytes, extent: Extent) -> None:
    path = tmp_path / "a"
    path.write_bytes(HEAD + data)
    assert video_extent(path) is extent


class FakeCapture:
    """A cv2.VideoCapture that states a rate and a count, and has two frames."""

    def __init__(self, fps: float, stated: float) -> None:
        self.values = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: stated, cv2.CAP_PROP_POS_MSEC: 0.0}
        self.left = 2

    def get(self, key: int) -> float:
        return self.values[key]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return self.left >= 0, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("fps", "is_matroska", "expected"),
    [
        (0.0, False, (None, 2000)),
        (NAN, False, (None, 2000)),
        (-25.0, False, (None, 2000)),
        (90_000.0, False, (None, 2000)),
        (1e-6, False, (None, 2000)),
        (1000.0, False, (1000.0, 2000)),
        (1000.0, True, (None, None)),
        (25.0, True, (25.0, 2000)),
    ],
)
def test_a_rate_that_cannot_be_is_none(
    fps: float, is_matroska: bool, expected: tuple[float | None, int | None]
) -> None:
    with Video(FakeCapture(fps, 2000), "a", is_matroska=is_matroska, extent=Extent.WHOLE) as source:
        assert (source.fps, source.length) == expected
        assert [type(item) for item in source] == [Frame] * 2


def test_options_for_ffmpeg_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    monkeypatch.delenv(name, raising=False)
    with capture_options("a;1"):
        assert os.environ[name] == "a;1"
    assert name not in os.environ
    monkeypatch.setenv(name, "rtsp_transport;udp")
    with capture_options("a;1"):
        assert os.environ[name] == "rtsp_transport;udp|a;1"
    with capture_options(""):
        assert os.environ[name] == "rtsp_transport;udp"
    assert os.environ[name] == "rtsp_transport;udp"

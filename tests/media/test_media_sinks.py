from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import media_files
import numpy as np
import pytest

import edgecv
from edgecv.errors import InputError, OutputError
from edgecv.media import Frame, Kind, Sink, open_sink, open_source, read_image
from edgecv.media import sinks as sinks_module
from edgecv.media.atomic import PendingFile


def frame(source: str = "a.png", index: int = 0, image: np.ndarray | None = None) -> Frame:
    return Frame(media_files.picture() if image is None else image, source, index, 1)


def files(folder: Path) -> list[str]:
    """Everything below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write(sink: Sink, *frames: Frame) -> None:
    for item in frames:
        sink.write(item, item.image)


@contextlib.contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file may grow beyond free_bytes: writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".jpg", ".webp", ".JPG"])
def test_a_picture_appears_when_the_sink_is_closed(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"grün{suffix}"
    with open_sink(target, kind="image") as sink:
        write(sink, frame())
        assert not target.exists()
        assert sink.written == 1
    assert files(tmp_path) == [target.name]
    assert np.abs(read_image(target).astype(int) - media_files.picture()).max() <= 30


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with open_sink(tmp_path / "a.png", kind="image") as sink:
            write(sink, frame())
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("a.mp4", "video"), ("made/here", "images")])
@pytest.mark.parametrize("frames", [0, 1])
def test_an_exception_leaves_nothing_half_written(tmp_path: Path, name: str, kind: Kind, frames: int) -> None:
    def run() -> None:
        with open_sink(tmp_path / name, kind=kind) as sink:
            write(sink, *[frame()] * frames)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    # Pictures in a folder are complete, one by one.
    assert files(tmp_path) == (
        ["made", "made/here", "made/here/a.png"] if frames and kind == "images" else []
    )


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("a.avi", "stream"), ("folder", "images")])
def test_no_frame_no_output(tmp_path: Path, name: str, kind: Kind) -> None:
    with open_sink(tmp_path / name, kind=kind):
        pass
    assert files(tmp_path) == []


def test_an_older_file_lives_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_text("old")
    sink = open_sink(target, kind="video")
    write(sink, frame(), frame())
    assert target.read_text() == "old"
    sink.abort()
    assert target.read_text() == "old"
    with open_sink(target, kind="video") as sink:
        write(sink, frame())
    assert files(tmp_path) == ["a.mp4"]
    with open_source(target) as source:
        assert len(list(source)) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("real.png")
    with open_sink(tmp_path / "link.png", kind="image") as sink:
        write(sink, frame())
    assert (tmp_path / "link.png").is_symlink()
    assert not (tmp_path / "real.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "real.png"), media_files.picture())


@pytest.mark.parametrize("end", ["interrupted", "killed", "exits"])
@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_program_that_ends_in_the_middle(tmp_path: Path, name: str, end: str) -> None:
    script = (
        "import os, signal, sys, numpy as np\n"
        "from edgecv.media import Frame, open_sink\n"
        "name, end = sys.argv[1:]\n"
        "def run():\n"
        "    sink = open_sink(name, kind='stream', fps=10)\n"
        "    with sink if end != 'exits' else open(os.devnull):\n"
        "        for i in range(8):\n"
        "            image = np.full((48, 64, 3), 20 * i, np.uint8)\n"
        "            sink.write(Frame(image, 'camera', i, 1), image)\n"
        "            if i == 4 and end == 'exits': sys.exit(0)\n"
        "            if i == 4: os.kill(os.getpid(), signals[end])\n"
        "signals = {'interrupted': signal.SIGINT, 'killed': signal.SIGKILL}\n"
        "run()\n"
    )
    (tmp_path / name).write_text("old")
    path = str(Path(edgecv.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", script, name, end],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    if end == "interrupted":
        assert run.returncode == -signal.SIGINT
        assert files(tmp_path) == [name]
        with open_source(tmp_path / name) as source:
            assert len(list(source)) == 5
    else:
        assert run.returncode == (-signal.SIGKILL if end == "killed" else 0)
        assert (tmp_path / name).read_text() == "old"
        assert [file for file in files(tmp_path) if not file.startswith(".edgecv-")] == [name]
        if end == "exits":
            assert files(tmp_path) == [name]


def test_a_second_interrupt_does_not_cost_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = PendingFile.commit
    interrupts = iter([KeyboardInterrupt])

    def interrupted(self: PendingFile) -> None:
        commit(self)
        for kind in interrupts:
            raise kind

    monkeypatch.setattr(PendingFile, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / "a.avi", kind="stream") as sink:
        write(sink, frame())
    with open_source(tmp_path / "a.avi") as source:
        assert len(list(source)) == 1
    assert files(tmp_path) == ["a.avi"]


def test_commit_after_an_interrupted_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PendingFile(tmp_path / "a.txt")
    file.path.write_text("new")
    rename = Path.replace

    def interrupted(self: Path, target: Path) -> None:
        rename(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.commit()
    monkeypatch.undo()
    file.commit()
    file.discard()
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("suffix", "fps", "expected"), [
    (".mp4", 25.0, 25.0), (".avi", 29.97, 29.97), (".mov", None, 30.0), (".mp4", float("nan"), 30.0),
    (".mp4", 0, 30.0), (".mp4", 1e-6, 30.0), (".avi", 0.25, 0.25),
    (".mp4", 200 / 3, 66.67), (".mp4", 999.99, 1000.0),
])  # fmt: skip
def test_a_video(tmp_path: Path, suffix: str, fps: float | None, expected: float) -> None:
    target = tmp_path / f"a{suffix}"
    images = [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(12)]
    with open_sink(target, kind="video", fps=fps) as sink:
        write(sink, *(frame(index=i, image=image) for i, image in enumerate(images)))
    with open_source(target) as source:
        assert source.fps == pytest.approx(expected, abs=0.01)
        read = [item.image.mean() for item in source if isinstance(item, Frame)]
    np.testing.assert_allclose(read, [image.mean() for image in images], atol=4)


@pytest.mark.parametrize(
    ("seconds", "live", "frames"),
    [
        pytest.param([0, 0.1, 0.2], True, 3, id="in time"),
        pytest.param([0, 0.5, 0.6, 1.0], True, 11, id="skipped"),
        pytest.param([0, 0.5, 0.6, 1.0], False, 4, id="not live"),
        pytest.param([0, 0.14, 0.19, 0.32, 0.41], True, 5, id="jitter"),
        pytest.param([0, 0.01, 0.02, 0.03], True, 4, id="faster than stated"),
        pytest.param([0, 3600], True, 602, id="a long gap is cut to a minute"),
        pytest.param([1, 0], True, 2, id="backwards"),
    ],
)
def test_a_live_video_lasts_as_long_as_the_recording(
    tmp_path: Path, seconds: list[float], live: bool, frames: int
) -> None:
    with open_sink(tmp_path / "a.avi", kind="stream", fps=10, live=live) as sink:
        for i, second in enumerate(seconds):
            image = np.full((16, 16, 3), 20 * i, np.uint8)
            sink.write(Frame(image, "0", i, 10**12 + round(second * 1e9)), image)
    assert sink.written == len(seconds)
    with open_source(tmp_path / "a.avi") as source:
        levels = [item.image.mean() for item in source if isinstance(item, Frame)]
    assert len(levels) == frames
    if seconds == [0, 0.5, 0.6, 1.0] and live:
        np.testing.assert_allclose(levels, [0] * 5 + [20] + [40] * 4 + [60], atol=3)


@pytest.mark.parametrize("size_wh", [(65, 48), (64, 49), (65, 49), (1, 1)])
def test_odd_sizes_lose_no_pixel(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    image = np.full((height, width, 3), 90, np.uint8)
    image[:, -1] = image[-1] = 200
    with open_sink(tmp_path / "a.avi", kind="video") as sink:
        write(sink, frame(image=image))
    with open_source(tmp_path / "a.avi") as source:
        (item,) = source
    assert isinstance(item, Frame)
    assert item.size_wh == (width + width % 2, height + height % 2)
    np.testing.assert_allclose(item.image[height - 1 :, width - 1 :].mean(), 200, atol=20)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(
            OutputError, match="expected frames of 48 x 32 pixels as the first, got 64 x 48 in frame 7"
        ),
        open_sink(tmp_path / "a.mp4", kind="stream") as sink,
    ):
        write(sink, frame(), frame(index=7, image=np.zeros((48, 64, 3), np.uint8)))
    assert files(tmp_path) == []


def test_a_folder_keeps_names_and_numbers_the_same(tmp_path: Path) -> None:
    sources = ["in/x.jpg", "in/b/x.jpg", "in/c/X.JPG", "in/x.png", "in/x.ppm", "in/grün.webp", "x_2.jpg"]
    with open_sink(tmp_path / "new" / "out", kind="images", inputs=[Path("in/x.jpg")]) as sink:
        write(sink, *(frame(source) for source in sources))
    written = ["X_3.jpg", "grün.webp", "x.jpg", "x.png", "x_2.jpg", "x_2.png", "x_2_2.jpg"]
    assert files(tmp_path / "new/out") == sorted(written)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("video/clip.mp4", "clip_000041.jpg"),
        ("rtsp://user@host/cam1", "cam1_000041.jpg"),
        ("0", "0_000041.jpg"),
        ("rtsp://host:554/", "host_554_000041.jpg"),
        ("http://host/live?token=secret", "live_000041.jpg"),
        ("csi://0?width=640", "0_000041.jpg"),
        ("/", "frame_000041.jpg"),
    ],
)
def test_a_folder_takes_the_frames_of_a_video(tmp_path: Path, source: str, expected: str) -> None:
    with open_sink(tmp_path / "out", kind="video" if "clip" in source else "stream") as sink:
        write(sink, frame(source, 41))
    assert files(tmp_path / "out") == [expected]


@pytest.mark.parametrize("name", ["out", "out.d/", "exists.d"])
def test_what_is_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "exists.d").mkdir()
    with open_sink(f"{tmp_path}/{name}", kind="image") as sink:
        write(sink, frame())
    assert (tmp_path / name / "a.png").is_file()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("", "image", "expected a file or a folder, got an empty name"),
        (
            "a.mp4",
            "image",
            "expected an image (.bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp), or a folder; got",
        ),
        ("a.gif", "image", "got the suffix '.gif'"),
        (
            "a.jpg",
            "images",
            "expected a folder, a name without a suffix, for several images; got the suffix '.jpg'",
        ),
        ("a.webm", "video", "expected a video (.avi, .mov, .mp4), or a folder; got the suffix '.webm'"),
        ("a.png", "stream", "expected a video (.avi, .mov, .mp4)"),
    ],
)
def test_suffix_must_fit(tmp_path: Path, name: str, kind: Kind, message: str) -> None:
    with pytest.raises(InputError) as raised:
        open_sink(f"{tmp_path}/{name}" if name else "", kind=kind)
    assert message in str(raised.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("file/a.png", "image", "Not a directory; choose another place"),
        ("file/out", "images", "/file is a file, not a folder; choose another place"),
        ("file", "images", "/file is a file, not a folder"),
        ("no/where/a.mp4", "video", "No such file or directory; make the folder first: mkdir -p '"),
        ("n" * 300 + ".png", "image", "File name too long"),
        ("loop/a.png", "image", "Symlink loop|Too many levels"),
        ("/proc/a.avi", "stream", "No such file or directory"),
        ("/proc/out", "images", "No such file or directory; choose another place"),
    ],
)
def test_unwritable_places_are_found_before_the_first_frame(
    tmp_path: Path, name: str, kind: Kind, reason: str
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match=reason) as raised:
        open_sink(tmp_path / name, kind=kind)
    assert "\n" not in str(raised.value)
    assert "cannot be written" in str(raised.value)
    assert files(tmp_path) == ["file", "loop"]


def test_a_folder_where_a_file_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is a folder of that name"):
        PendingFile(tmp_path)


@pytest.mark.parametrize(
    ("output", "kind"),
    [("a.png", "image"), ("other/../a.png", "image"), ("link.png", "image"), ("hard.png", "image"),
     (".", "image"), ("v.avi", "video"), (".", "images")],
)  # fmt: skip
def test_an_input_is_never_replaced(tmp_path: Path, output: str, kind: Kind) -> None:
    (tmp_path / "other").mkdir()
    media_files.write_image(tmp_path / "a.png")
    media_files.write_video(tmp_path / "v.avi", 2)
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    before = files(tmp_path)
    with pytest.raises(InputError, match="would replace the input"):
        open_sink(f"{tmp_path}/{output}", kind=kind, inputs=[tmp_path / "a.png", tmp_path / "v.avi"])
    assert files(tmp_path) == before


def test_a_folder_sink_checks_each_name(tmp_path: Path) -> None:
    """The folder is not that of the input, but holds a link to it."""
    media_files.write_image(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to(tmp_path / "a.png")
    with (
        pytest.raises(InputError, match=r"would replace the input .*a\.png"),
        open_sink(tmp_path / "out", kind="images", inputs=[tmp_path / "a.png"]) as sink,
    ):
        write(sink, frame())


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("folder", "images")])
def test_full_disk_pictures(tmp_path: Path, name: str, kind: Kind) -> None:
    with (
        full_disk(1000),
        pytest.raises(OutputError, match="File too large"),
        open_sink(tmp_path / name, kind=kind) as sink,
    ):
        write(sink, frame())
    assert [file for file in files(tmp_path) if file != "folder"] == []


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mov"])
def test_full_disk_video(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 96, 128, 3)).astype(np.uint8)
    (tmp_path / name).write_text("old")
    with (
        full_disk(100_000),
        pytest.raises(OutputError, match="not all frames arrived in the file; check the free space"),
        open_sink(tmp_path / name, kind="video") as sink,
    ):
        write(sink, *(frame(index=i, image=image) for i, image in enumerate(noise)))
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_codec_that_is_missing_is_found_before_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sinks_module.VIDEO_OUTPUTS, ".mp4", "XXXX")
    with pytest.raises(
        OutputError,
        match="this OpenCV cannot encode 64 x 64 XXXX video at 30 frames a second; choose another suffix",
    ):
        open_sink(tmp_path / "a.mp4", kind="video")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((4, 4), np.uint8), id="two axes"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), id="four channels"),
        pytest.param(np.zeros((4, 4, 3), np.float32), id="float"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), id="empty"),
    ],
)
@pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("a.avi", "video"), ("folder", "images")])
def test_pictures_are_checked(tmp_path: Path, picture: Any, name: str, kind: Kind) -> None:
    with (
        pytest.raises(InputError, match="picture: expected uint8"),
        open_sink(tmp_path / name, kind=kind) as sink,
    ):
        sink.write(frame(), picture)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("a.avi", "video"), ("folder", "images")])
def test_strided_pictures(tmp_path: Path, name: str, kind: Kind) -> None:
    image = np.full((64, 96, 3), 77, np.uint8)[::-2, ::2, ::-1]
    with open_sink(tmp_path / name, kind=kind) as sink:
        sink.write(frame(), image)
    assert sink.written == 1


def test_close_and_abort_may_be_repeated(tmp_path: Path) -> None:
    for name, kind in (("a.png", "image"), ("a.avi", "video"), ("folder", "images")):
        sink = open_sink(tmp_path / name, kind=kind)  # type: ignore[arg-type]
        write(sink, frame())
        sink.close()
        sink.close()
        sink.abort()
    assert files(tmp_path) == ["a.avi", "a.png", "folder", "folder/a.png"]
    assert cv2.VideoCapture(str(tmp_path / "a.avi")).isOpened()

from __future__ import annotations

import itertools
import time
from pathlib import Path

import media_files
import numpy as np
import pytest

from edgecv.errors import InputError, MediaError, MediaNotFoundError
from edgecv.media import Failure, Frame, Source, open_source
from edgecv.media.sources import natural_key


def names(source: Source) -> list[str]:
    with source:
        return [Path(item.source).name for item in source]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, one of them damaged, beside what a folder of images may hold."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for name in ("10.jpg", "2.png", "B 1.JPG", "a2.bmp", "a10.bmp", ".hidden.jpg", "more/3.jpg"):
        (root / name).write_bytes(media_files.encoded(Path(name).suffix.lower()))
    (root / "bad.jpg").write_bytes(b"not an image")
    (root / "notes.txt").write_text("text")
    return root


def test_a_single_image(tmp_path: Path) -> None:
    path = media_files.write_image(tmp_path / "a.png")
    before = time.monotonic_ns()
    with open_source(str(path)) as source:
        assert (source.kind, source.length, source.fps, source.is_live) == ("image", 1, None, False)
        assert source.paths == (path,)
        (frame,) = source
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.image, media_files.picture())
    assert (frame.source, frame.index, frame.pts_ms, frame.size_wh) == (str(path), 0, None, (48, 32))
    assert before <= frame.captured_ns <= time.monotonic_ns()


@pytest.mark.parametrize(
    "content", [b"", b"text", media_files.encoded(".jpg")[:-9]], ids=["empty", "text", "cut"]
)
def test_a_single_unreadable_image_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with open_source(path) as source, pytest.raises(MediaError, match=r"a\.jpg: not a readable image: "):
        list(source)


def test_content_goes_before_the_suffix(tmp_path: Path) -> None:
    image = tmp_path / "image.mp4"
    image.write_bytes(media_files.encoded(".png"))
    video = media_files.write_video(tmp_path / "v.avi").rename(tmp_path / "video.jpg")
    assert open_source(image).kind == "image"
    with open_source(video) as source:
        assert source.kind == "video"


def test_a_folder_in_natural_order_with_one_bad_image(folder: Path) -> None:
    with open_source(str(folder)) as source:
        assert (source.kind, source.length) == ("images", 6)
        items = list(source)
    assert [Path(item.source).name for item in items] == [
        "2.png",
        "10.jpg",
        "a2.bmp",
        "a10.bmp",
        "B 1.JPG",
        "bad.jpg",
    ]
    assert [item.index for item in items] == list(range(6))
    failure = items[-1]
    assert isinstance(failure, Failure)
    assert str(failure.error).startswith(f"{folder}/bad.jpg: not a readable image: ")
    assert all(isinstance(item, Frame) for item in items[:-1])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["10.jpg", "bad.jpg"]),
        ("*", ["2.png", "10.jpg", "a2.bmp", "a10.bmp", "B 1.JPG", "bad.jpg"]),
        ("**", ["2.png", "10.jpg", "a2.bmp", "a10.bmp", "B 1.JPG", "bad.jpg", "3.jpg"]),
        ("**/[0-9].*", ["2.png", "3.jpg"]),
        ("more/?.jpg", ["3.jpg"]),
    ],
)
def test_globs(folder: Path, pattern: str, expected: list[str]) -> None:
    source = open_source(f"{folder}/{pattern}")
    assert source.kind == "images"
    assert names(source) == expected


def test_a_file_named_like_a_glob_is_that_file(tmp_path: Path) -> None:
    media_files.write_image(tmp_path / "a[1].png")
    media_files.write_image(tmp_path / "a1.png")
    assert names(open_source(f"{tmp_path}/a[1].png")) == ["a[1].png"]


def test_a_file_named_like_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media_files.write_image(tmp_path / "0.png").rename(tmp_path / "0")
    monkeypatch.chdir(tmp_path)
    assert open_source("./0").kind == "image"
    assert open_source(Path("0")).kind == "image"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", InputError, "got an empty text"),
        ("ftp://host/a.jpg", InputError, "ftp:// is not known; expected a file"),
        ("{}/absent", MediaNotFoundError, "absent: no such file or folder; check the name"),
        ("{}/phto.jpg", MediaNotFoundError, "did you mean {}/photo.jpg?"),
        ("{}/link.jpg", MediaNotFoundError, "link.jpg: a link to gone.jpg, which is not there"),
        ("{}/empty.mp4", MediaError, "empty.mp4: not a readable video: it is empty"),
        ("{}/no/where.jpg", MediaNotFoundError, "there is no folder {}/no either"),
        ("{}/*.webp", MediaNotFoundError, "matches no file"),
        ("{}/*.txt", MediaError, "got 1 files with other suffixes (the first is {}/notes.txt)"),
        ("{}/empty", MediaError, "got no files; for its subfolders, use '{}/empty/**'"),
        ("{}/texts", MediaError, "got 1 files of other kinds"),
        ("{}/notes.txt", MediaError, "expected an image or a video, got a file of another kind"),
        ("{}/nothing.dat", MediaError, "expected an image or a video, got an empty file"),
        ("{}/a\0b", MediaError, "/a\0b"),
        ("/dev/null", MediaError, "neither a file nor a folder; for a pipe, use -"),
    ],
)
def test_bad_sources_give_one_line(tmp_path: Path, text: str, kind: type[Exception], message: str) -> None:
    media_files.write_image(tmp_path / "photo.jpg")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "nothing.dat").touch()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").touch()
    with pytest.raises(kind) as raised:
        open_source(text.replace("{}", str(tmp_path)))
    assert message.replace("{}", str(tmp_path)) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("form", ["{}", "{}/*"])
def test_a_link_to_nothing_is_a_failure(folder: Path, form: str) -> None:
    (folder / "3.jpg").symlink_to("gone.jpg")
    source = open_source(form.format(folder))
    assert source.length == 7
    failure = list(source)[1]
    assert isinstance(failure, Failure)
    assert f"{folder}/3.jpg: a link to gone.jpg, which is not there" in str(failure.error)


def test_an_image_that_vanishes_is_a_failure(folder: Path) -> None:
    with open_source(folder) as source:
        (folder / "10.jpg").unlink()
        items = list(source)
    assert isinstance(items[1], Failure)
    assert isinstance(items[1].error, MediaNotFoundError)


@pytest.mark.parametrize(("limit", "length"), [(1, 1), (3, 3), (99, 6)])
def test_limit(folder: Path, limit: int, length: int) -> None:
    with open_source(folder, limit=limit) as source:
        assert source.length == length
        assert len(list(source)) == length


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_at_least_1(folder: Path, limit: int) -> None:
    with pytest.raises(InputError, match=f"limit: expected a number of frames of at least 1, got {limit}"):
        open_source(folder, limit=limit)


@pytest.mark.parametrize("end", [Source.stop, Source.close])
def test_stop_and_close_end_the_iteration(folder: Path, end: object) -> None:
    with open_source(folder) as source:
        assert len(list(itertools.islice(source, 2))) == 2
        end(source)  # type: ignore[operator]
        assert list(source) == []


def test_a_source_is_run_through_once(folder: Path) -> None:
    with open_source(folder) as source:
        assert len(list(source)) == 6
        assert list(source) == []


def test_natural_order() -> None:
    ordered = ["1.jpg", "02.jpg", "2.jpg", "10.jpg", "A1", "a2", "a10", "b", "b/1", "b/02", "b/10", "ä1"]
    assert sorted(set(ordered), key=lambda name: (natural_key(name), name)) == ordered

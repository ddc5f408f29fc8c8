"""What detect and classify leave behind: exit codes, outputs that collide, events of streams, silence."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edgecv import media, schemas
from edgecv.media import stream as stream_module
from edgecv.media.stream import LiveStream
from tests.cli.conftest import Result
from tests.networks import photo, tiny_classifier, tiny_yolov8

Run = Callable[..., Result]
VERBS = ("detect", "classify")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with networks, pictures and videos of all kinds."""
    (tmp_path / "detect.onnx").write_bytes(tiny_yolov8())
    (tmp_path / "classify.onnx").write_bytes(tiny_classifier(softmax=True, is_map=True))
    card = {
        "schema": 2,
        "name": "colors",
        "task": "classify",
        "format": "onnx",
        "inputs": [{"name": "data", "size_wh": [32, 32], "resize": "stretch", "std": [255, 255, 255]}],
        "head": {"type": "classify", "output": "prob", "is_probability": True},
    }
    (tmp_path / "classify.model.json").write_text(json.dumps(card))
    (tmp_path / "damaged.onnx").write_bytes(tiny_yolov8()[:100])
    cv2.imwrite(str(tmp_path / "photo.png"), photo())
    cv2.imwrite(str(tmp_path / "float.tif"), photo().astype(np.float32))
    for name in ("good", "mixed", "empty"):
        (tmp_path / name).mkdir()
    for i in range(3):
        for name in ("good", "mixed"):
            cv2.imwrite(str(tmp_path / name / f"{i}.jpg"), photo(seed=i))
    (tmp_path / "mixed" / "1.jpg").write_text("not a picture")
    writer = cv2.VideoWriter(str(tmp_path / "belt.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for i in range(6):
        writer.write(photo(96, 64, seed=i))
    writer.release()
    whole = (tmp_path / "belt.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    return tmp_path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, hidden ones too, with what the files hold."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


CODES = {
    "a picture": (["MODEL", "photo.png"], 0, ""),
    "a folder": (["MODEL", "good"], 0, ""),
    "a video": (["MODEL", "belt.avi"], 0, ""),
    "no picture among pictures": (["MODEL", "mixed"], 1, "mixed/1.jpg: not a readable image"),
    "a video that is cut off": (["MODEL", "cut.avi"], 1, "frames could be read"),
    "a missing file": (["MODEL", "none.png"], 2, "none.png: no such file"),
    "a missing model": (["none.onnx", "photo.png"], 2, "none.onnx: no such file"),
    "a damaged model": (["damaged.onnx", "photo.png"], 2, "not an ONNX model"),
    "an empty folder": (["MODEL", "empty"], 2, "empty: expected a folder with images"),
    "a glob without a match": (["MODEL", "*.nef"], 2, "*.nef: matches no file"),
    "a picture of numbers": (["MODEL", "float.tif"], 2, "floating-point"),
    "a full disk": (["MODEL", "photo.png", "--json", "/dev/full"], 2, "cannot be written: No space left"),
    "a backend that is not there": (["MODEL", "photo.png", "--device", "vulkan:7"], 3, "vulkan:7"),
    "a missing extra": (["MODEL", "photo.png", "cv2"], 3, "pip install"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("words", "code", "said"), CODES.values(), ids=CODES.keys())
def test_exit_codes_and_what_quiet_leaves_of_stderr(
    edgecv: Run,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(place)
    if words[-1] == "cv2":
        monkeypatch.setitem(sys.modules, "cv2", None)
        words = words[:-1]
    words = [f"{verb}.onnx" if word == "MODEL" else word for word in words]
    before = tree(place)
    result = edgecv(verb, *words, "--threads", 1, "--quiet")
    assert result.code == code
    assert said in result.err
    # FFmpeg, which the fixture has used before edgecv could silence it, may add its own.
    lines = [line for line in result.err.splitlines() if not line.startswith("[mjpeg @")]
    assert len(lines) == (0 if code == 0 else 1)
    assert tree(place) == before


def test_without_quiet_there_is_a_summary(edgecv: Run, place: Path) -> None:
    result = edgecv("detect", place / "detect.onnx", place / "belt.avi", "--threads", 1)
    assert "6 frames" in result.err


COLLISIONS = {
    "pictures and lines": ("belt.avi", ["--out", "a.mp4", "--json", "a.mp4"], "two outputs of one name"),
    "by another path": ("belt.avi", ["--out", "a.mp4", "--json", "./good/../a.mp4"], "two outputs"),
    "by case": ("photo.png", ["--out", "a.png", "--json", "A.PNG"], "two outputs of one name"),
    "by a link": ("photo.png", ["--out", "link.png", "--json", "there.png"], "two outputs of one name"),
    "lines named like a picture of a folder": (
        "good",
        ["--out", "out", "--json", "out/2.jpg"],
        "two outputs of one name",
    ),
    "two pictures by a link": ("good", ["--out", "links"], "two outputs of one name"),
    "the source": ("photo.png", ["--out", "photo.png"], "would replace the input"),
    "the source by a hard link": ("photo.png", ["--out", "hard.png"], "would replace the input"),
    "the source by a link": ("photo.png", ["--out", "soft.png"], "would replace the input"),
    "the folder of the source": ("good", ["--out", "good"], "would replace the inputs"),
    "a source by a link in a folder": ("good", ["--out", "out"], "would replace the input"),
    "lines over the source": ("belt.avi", ["--json", "belt.avi"], "would replace the input"),
    "lines over the model": ("photo.png", ["--json", "detect.onnx"], "would replace the input"),
    "lines over the labels": (
        "photo.png",
        ["--labels", "names.txt", "--json", "names.txt"],
        "would replace the input",
    ),
}


@pytest.mark.parametrize(("source", "words", "said"), COLLISIONS.values(), ids=COLLISIONS.keys())
def test_outputs_that_collide_are_refused_before_anything_is_written(
    edgecv: Run, place: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: list[str], said: str
) -> None:
    monkeypatch.chdir(place)
    (place / "there.png").touch()
    (place / "names.txt").write_text("nut\nbolt\nwasher\n")
    (place / "link.png").symlink_to("there.png")
    (place / "soft.png").symlink_to("photo.png")
    (place / "hard.png").hardlink_to("photo.png")
    for name in ("links", "out"):
        (place / name).mkdir()
    (place / "links" / "1.jpg").symlink_to("2.jpg")
    if words == ["--out", "out"]:
        (place / "out" / "2.jpg").symlink_to(place / "good" / "2.jpg")
    before = tree(place)
    result = edgecv("detect", "detect.onnx", source, *words, "--threads", 1)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    assert tree(place) == before


def test_files_of_one_name_are_numbered(edgecv: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "mixed" / "1.jpg").unlink()
    result = edgecv("detect", "detect.onnx", "[gm]*/*.jpg", "--out", "out", "--threads", 1, "--quiet")
    assert result.code == 0
    names = sorted(path.name for path in (place / "out").iterdir())
    assert names == ["0.jpg", "0_2.jpg", "1.jpg", "2.jpg", "2_2.jpg"]


class FakeCapture:
    """A cv2.VideoCapture of so many frames."""

    def __init__(self, frames: int) -> None:
        self.left = frames

    def grab(self) -> bool:
        time.sleep(0.05)
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, photo()

    def get(self, key: int) -> float:
        return 10.0 if key == cv2.CAP_PROP_FPS else 0.0

    def getBackendName(self) -> str:  # noqa: N802
        return "GSTREAMER"

    def release(self) -> None:
        self.left = 0


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("quiet", [False, True])
def test_gaps_are_lines_among_the_results(
    edgecv: Run, place: Path, monkeypatch: pytest.MonkeyPatch, verb: str, quiet: bool
) -> None:
    monkeypatch.setattr(stream_module, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(
        media,
        "open_source",
        lambda source, limit, raw: LiveStream(
            FakeCapture(1), "camera", limit=limit, reopen=lambda: FakeCapture(1)
        ),
    )
    more = ["--quiet"] if quiet else []
    result = edgecv(verb, place / f"{verb}.onnx", "0", "--limit", 2, "--json", "-", "--threads", 1, *more)
    assert result.code == 0
    first, stall, gap, second = result.lines
    lines = [msgspec.convert(line, schemas.Event) for line in (stall, gap)]
    assert [line.event for line in lines] == ["stall", "gap"]
    assert [line.reason for line in lines] == ["the stream ended"] * 2
    assert (first["frame"], gap["frame"], second["frame"]) == (0, 1, 1)
    assert lines[0].seconds <= lines[1].seconds
    if quiet:
        assert result.err == ""
    else:
        assert "edgecv: camera: no frames: the stream ended" in result.err
        assert "2 frames, 1 gap" in result.err

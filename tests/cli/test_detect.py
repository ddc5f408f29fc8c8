"""edgecv detect, as a user meets it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecv.media import RawFormat
from tests.cli.conftest import Result

Run = Callable[..., Result]
KEYS = {"source", "frame", "width", "height", "detections", "timing_ms", "age_ms", "placement"}


def test_json_of_one_image(edgecv: Run, network: Path, picture: Path) -> None:
    result = edgecv("detect", network, picture, "--json", "-", "--conf", 0.1, "--threads", 1)
    assert result.code == 0
    (record,) = result.lines
    assert set(record) == KEYS
    assert (record["width"], record["height"], record["frame"]) == (90, 70, 0)
    assert set(record["timing_ms"]) == {"preprocess", "inference", "postprocess"}
    assert record["placement"]["threads"] == 1
    assert record["detections"]
    for detection in record["detections"]:
        assert set(detection) == {"xyxy", "confidence", "class_id", "class_name"}
        assert detection["class_name"] in ("nut", "bolt", "washer")
        assert detection["confidence"] > 0.1


def test_table_and_picture(edgecv: Run, network: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.png"
    result = edgecv("detect", network, picture, "--out", out, "--conf", 0.1, "--threads", 1)
    assert result.code == 0
    assert "confidence" in result.out
    assert "inference" in result.out
    drawn, original = cv2.imread(str(out)), cv2.imread(str(picture))
    assert drawn.shape == original.shape
    assert (drawn != original).any()
    assert str(out) in result.err
    assert "1 thread" in result.err


def test_folder_with_a_bad_image(edgecv: Run, network: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    result = edgecv("detect", network, folder, "--json", "-", "--out", out, "--threads", 1)
    assert result.code == 1
    names = [Path(record["source"]).name for record in result.lines]
    assert names == ["1.jpg", "2.jpg", "3.jpg", "10.jpg"]
    assert "error" in result.lines[2]
    assert result.err.count("3.jpg") == 1
    assert sorted(path.name for path in out.iterdir()) == ["1.jpg", "10.jpg", "2.jpg"]


def test_glob_and_limit(edgecv: Run, network: Path, folder: Path) -> None:
    result = edgecv("detect", network, folder / "1*.jpg", "--json", "-", "--limit", 1, "--threads", 1)
    assert result.code == 0
    assert [Path(record["source"]).name for record in result.lines] == ["1.jpg"]


@pytest.mark.parametrize("raw", ["nv12:90x70", "yuyv:90x70:bt709:full", "bgr24:90x70", "gray8:90x70"])
def test_raw_frames(network: Path, tmp_path: Path, raw: str) -> None:
    """As they come, into lines and pictures."""
    data = np.random.default_rng(0).integers(0, 256, (3, RawFormat.parse(raw).nbytes), np.uint8)
    out = tmp_path / "found"
    command = [
        "detect",
        network,
        "-",
        "--raw",
        raw,
        "--json",
        "-",
        "--out",
        out,
        "--conf",
        1,
        "--threads",
        1,
    ]
    process = subprocess.run(
        [sys.executable, "-m", "edgecv", *map(str, command)],
        input=data.tobytes() + b"rest",
        capture_output=True,
        check=False,
    )
    assert process.returncode == 1  # of the last frame there were four bytes
    *found, failed = [json.loads(line) for line in process.stdout.splitlines()]
    assert [(line["frame"], line["width"], line["height"]) for line in found] == [
        (i, 90, 70) for i in range(3)
    ]
    assert "ends inside it, after 4 of" in failed["error"]
    assert len(list(out.iterdir())) == 3


def test_raw_frames_of_a_file_are_refused(edgecv: Run, network: Path, picture: Path) -> None:
    result = edgecv("detect", network, picture, "--raw", "nv12:90x70")
    assert (result.code, result.out) == (2, "")
    assert "--raw: of frames on stdin" in result.err


def test_video(edgecv: Run, network: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.mp4"
    result = edgecv("detect", network, video, "--json", tmp_path / "found.jsonl", "--out", out)
    assert result.code == 0
    lines = (tmp_path / "found.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(12))
    capture = cv2.VideoCapture(str(out))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    capture.release()


def test_video_that_ends_mid_frame(edgecv: Run, network: Path, video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    content = video.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    result = edgecv("detect", network, cut, "--json", "-", "--threads", 1)
    assert result.code == 1
    frames = [record for record in result.lines if "error" not in record]
    assert 0 < len(frames) < 12
    assert "cut.avi" in result.err
    assert "Traceback" not in result.err


def test_classes_and_max_det(edgecv: Run, network: Path, picture: Path) -> None:
    options = ("--json", "-", "--conf", 0.01, "--classes", "bolt,2", "--max-det", 4, "--threads", 1)
    result = edgecv("detect", network, picture, *options)
    found = result.lines[0]["detections"]
    assert 0 < len(found) <= 4
    assert {d["class_name"] for d in found} <= {"bolt", "washer"}


BAD = {
    "no model": (["detect", "nothing", "PHOTO"], 2, "no such file, and no model of that name"),
    "no model file": (["detect", "no.onnx", "PHOTO"], 2, "no.onnx: no such file"),
    "no image": (["detect", "MODEL", "no.jpg"], 2, "no.jpg"),
    "not an image": (["detect", "MODEL", "TEXT"], 2, "text.jpg"),
    "empty image": (["detect", "MODEL", "EMPTY"], 2, "empty.jpg"),
    "not a model": (["detect", "BADMODEL", "PHOTO"], 2, "not an ONNX model"),
    "unknown backend": (["detect", "MODEL", "PHOTO", "--backend", "abacus"], 2, "expected one of"),
    "absent device": (["detect", "MODEL", "PHOTO", "--device", "vulkan:7"], 3, "vulkan:7"),
    "absent precision": (["detect", "MODEL", "PHOTO", "--precision", "int8"], 3, "int8"),
    "bad imgsz": (["detect", "MODEL", "PHOTO", "--imgsz", "big"], 2, "--imgsz: expected a size"),
    "fixed imgsz": (["detect", "MODEL", "PHOTO", "--imgsz", "96"], 2, "fixed at 64x64"),
    "bad conf": (["detect", "MODEL", "PHOTO", "--conf", "7"], 2, "conf: expected a number from 0 to 1"),
    "unwritable picture": (["detect", "MODEL", "PHOTO", "--out", "PHOTO/x.png"], 2, "x.png"),
    "unknown picture format": (["detect", "MODEL", "PHOTO", "--out", "out.xyz"], 2, "out.xyz"),
    "output is the input": (["detect", "MODEL", "PHOTO", "--out", "PHOTO"], 2, "photo.png"),
    "unwritable json": (["detect", "MODEL", "PHOTO", "--json", "PHOTO/x.json"], 2, "x.json"),
    "unknown card field": (["detect", "CARD:flavor", "PHOTO"], 2, "flavor"),
    "no labels file": (["detect", "CARD:labels", "PHOTO"], 2, "absent.txt: labels cannot be read"),
    "unknown head": (["detect", "CARD:head", "PHOTO"], 2, "crystal-ball"),
    "checksum mismatch": (["detect", "CARD:sha256", "PHOTO"], 2, "expected sha256"),
    "wrong size": (["detect", "CARD:bytes", "PHOTO"], 2, "expected 7 bytes"),
    "classes of no decimal digits": (["detect", "MODEL", "PHOTO", "--classes", "²"], 2, "²"),
    "device of no digit": (["detect", "MODEL", "PHOTO", "--device", "cpu:²"], 2, "--device: expected"),
    "too many threads": (["detect", "MODEL", "PHOTO", "--threads", "300"], 2, "300"),
    "threads of verify": (["verify", "MODEL", "--threads", "300"], 2, "300"),
    "threads of bench": (["bench", "MODEL", "--threads", "300"], 2, "at most 256"),
    "bench of another task": (["bench", "MODEL", "--top", "3"], 2, "takes no top"),
    "bench of a bad card": (["bench", "CARD:flavor"], 2, "flavor"),
    "pictures to stdout": (["detect", "MODEL", "PHOTO", "--out", "-"], 2, "do not go to stdout"),
    "demo to stdout": (["demo", "--out", "-"], 2, "--out: expected"),
    "device of verify": (["verify", "MODEL", "--device", "cuda:9", "--json", "-"], 3, "cuda"),
    "no verb": (["detekt"], 2, "detekt"),
    "no argument": (["detect"], 2, "MODEL"),
}


def broken_card(network: Path, wrong: str) -> str:
    """A card beside the network, with one thing wrong."""
    data = network.read_bytes()
    file = {"path": network.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    card = {
        "schema": 2,
        "name": "tiny",
        "task": "detect",
        "format": "onnx",
        "files": [file],
        "inputs": [{"name": "images", "size_wh": [64, 64]}],
        "head": {"type": "crystal-ball" if wrong == "head" else "yolov8"},
    }
    if wrong == "flavor":
        card["flavor"] = "vanilla"
    if wrong == "labels":
        card["labels"] = "absent.txt"
    if wrong == "sha256":
        file["sha256"] = "0" * 64
    if wrong == "bytes":
        file["bytes"] = 7
    path = network.with_name("model.json")
    path.write_text(json.dumps(card))
    return str(path)


@pytest.mark.parametrize(("args", "code", "named"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_line(
    edgecv: Run, network: Path, picture: Path, tmp_path: Path, args: list[str], code: int, named: str
) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "bad.onnx").write_bytes(network.read_bytes()[:100])
    args = [broken_card(network, arg.removeprefix("CARD:")) if "CARD:" in arg else arg for arg in args]
    before = sorted(tmp_path.rglob("*"))
    names = {
        "MODEL": str(network),
        "PHOTO": str(picture),
        "TEXT": str(tmp_path / "text.jpg"),
        "EMPTY": str(tmp_path / "empty.jpg"),
        "BADMODEL": str(tmp_path / "bad.onnx"),
    }
    filled = [names.get(arg, arg.replace("PHOTO", str(picture))) for arg in args]
    result = edgecv(*filled)
    assert result.code == code
    assert named in result.err
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith(("edgecv: ", "Error: "))]
    assert len(lines) == 1, result.err
    assert result.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgecv", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.slow
def test_interrupt_finishes_the_frame_and_closes(network: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    frame = np.zeros((120, 160, 3), np.uint8)
    for _ in range(6000):
        writer.write(frame)
    writer.release()
    out, lines = tmp_path / "out.avi", tmp_path / "out.jsonl"
    process = start("detect", network, long, "--out", out, "--json", lines, "--threads", 1)
    deadline = time.monotonic() + 30
    partial = lambda: [p for p in tmp_path.iterdir() if p.name.startswith(".") and p.suffix == ".jsonl"]  # noqa: E731
    while time.monotonic() < deadline and not any(p.stat().st_size for p in partial()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "interrupted" in err
    written = lines.read_text().splitlines()
    assert 0 < len(written) < 6000
    assert json.loads(written[-1])["frame"] == len(written) - 1
    capture = cv2.VideoCapture(str(out))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(written)
    capture.release()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "long.avi",
        "out.avi",
        "out.jsonl",
        "tiny.onnx",
    ]


def test_reader_that_leaves(network: Path, folder: Path) -> None:
    process = start("detect", network, folder, "--json", "-", "--threads", 1)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) in (0, 1)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_reader_of_text_that_leaves(network: Path, folder: Path) -> None:
    (folder / "3.jpg").unlink()
    process = start("detect", network, folder, "--threads", 1)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 0
    assert "Traceback" not in err


def test_a_name_that_is_not_utf8(edgecv: Run, network: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "3.jpg").unlink()
    (folder / "2.jpg").rename(folder / os.fsdecode(b"\xff.jpg"))
    out = tmp_path / "lines.jsonl"
    result = edgecv("detect", network, folder, "--json", out, "--threads", 1, "--limit", 3)
    assert result.code == 0, result.err
    names = [Path(json.loads(line)["source"]).name for line in out.read_text().splitlines()]
    assert sorted(names) == ["1.jpg", "10.jpg", "\\xff.jpg"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout() -> None:
    command = [sys.executable, "-m", "edgecv", "backends", "--json", "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("edgecv: stdout: cannot be written")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stdout() -> None:
    command = f"{sys.executable} -m edgecv backends --json - >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "edgecv: --json: stdout is closed\n")

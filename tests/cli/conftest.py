"""A command line in process, a model and pictures to run it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgecv.cli import main
from tests.networks import photo, tiny_yolov8

cv2 = pytest.importorskip("cv2", reason="the command line's pictures need the extra opencv")


@dataclass(frozen=True)
class Result:
    """What a call left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def edgecv(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*args: object) -> Result:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    assert cv2.imwrite(str(path), photo())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, and one that is damaged."""
    path = tmp_path / "pictures"
    path.mkdir()
    for i in (1, 2, 10):
        assert cv2.imwrite(str(path / f"{i}.jpg"), photo(seed=i))
    (path / "3.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "belt.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for i in range(12):
        writer.write(photo(96, 64, seed=i))
    writer.release()
    return path

"""The scripts behind the Makefile say plainly what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks import photo, tiny_yolov8

ROOT = Path(__file__).parent.parent


def demo(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "demo.py", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_demo_without_a_photo(tmp_path: Path) -> None:
    done = demo("--model", "yolox-nano", "--photo", "", "--out", tmp_path)
    assert done.returncode == 2
    assert "make demo PHOTO=" in done.stderr


def test_demo_without_a_model(tmp_path: Path) -> None:
    done = demo("--model", "yolox-nano", "--photo", "street.jpg", "--out", tmp_path)
    assert done.returncode == 2
    assert "EDGECV_MODELS=~/models make demo PHOTO=street.jpg" in done.stderr
    assert "models pull yolox-nano" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the demo's picture needs the extra opencv")
    (tmp_path / "tiny.onnx").write_bytes(tiny_yolov8())
    assert cv2.imwrite(str(tmp_path / "street.png"), photo())
    out = tmp_path / "demo"
    done = demo("--model", tmp_path / "tiny.onnx", "--photo", tmp_path / "street.png", "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "street_detected.png").is_file()
    assert "inference" in done.stdout

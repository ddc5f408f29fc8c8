"""models/parts-nano/train.py, from nothing to two ONNX files, on a handful of scenes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "parts-nano"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("torch") is None, reason="training needs the extra train"),
]


def train(out: Path, epochs: int) -> dict[str, Any]:
    sizes = {"scenes": 16, "batch": 4, "low-epochs": 1, "validation": 2, "held-out": 2, "robustness": 1}
    options = [f"--{name}={value}" for name, value in {**sizes, "epochs": epochs, "threads": 1}.items()]
    done = subprocess.run(
        [sys.executable, FOLDER / "train.py", "--out", out, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads((out / "training.json").read_text())
    return report


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    first = train(folder, 1)
    assert [row["epoch"] for row in first["history"]] == [1]
    return folder


@pytest.fixture(scope="module")
def report(out: Path) -> dict[str, Any]:
    return train(out, 2)


def test_goes_on_from_its_checkpoint(report: dict[str, Any]) -> None:
    history = report["history"]
    assert [(row["epoch"], row["of_epochs"], row["side"]) for row in history] == [(1, 1, 224), (2, 2, 320)]
    assert all(np.isfinite(row["total"]) for row in history)
    assert set(report) >= {"command", "machine", "plan", "held_out", "robustness", "minutes"}
    assert "--out" not in report["command"]


def test_files(out: Path, report: dict[str, Any]) -> None:
    for name in ("parts-nano.onnx", "parts-nano-dynamic.onnx"):
        model = onnx.load(out / name)
        assert model.opset_import[0].version == 13
        with edgecv.load(FOLDER / "model.json", weights=out / name) as detector:
            detector(np.zeros((240, 320, 3), np.uint8))
    for name in ("loss.svg", "accuracy.svg", "training.html"):
        assert (out / name).stat().st_size > 1000


def test_another_plan_is_refused(out: Path, report: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "train.py", "--out", out, "--scenes=16", "--batch=2", "--threads=1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "is of another plan" in done.stderr

"""models/parts-nano/train.py, from nothing to two ONNX files, on a handful of scenes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
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

SIZES = {
    "scenes": 16,
    "batch": 4,
    "low-epochs": 1,
    "validation": 2,
    "held-out": 2,
    "robustness": 1,
    "threads": 1,
}


def start(out: Path, **options: int) -> subprocess.Popen[str]:
    """train.py, its report into a file beside the folder that it writes."""
    arguments = [f"--{name}={value}" for name, value in {**SIZES, **options}.items()]
    with out.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, FOLDER / "train.py", "--out", out, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def end(process: subprocess.Popen[str], out: Path) -> str:
    """What it said, once it has ended."""
    process.wait()
    return out.with_suffix(".log").read_text()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training of one epoch that was killed once it had saved its checkpoint."""
    folder = tmp_path_factory.mktemp("run") / "out"
    process = start(folder, epochs=1)
    while process.poll() is None and not (folder / "checkpoint.pt").exists():
        time.sleep(0.1)
    # With the processes that it started.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    said = end(process, folder)
    assert (folder / "checkpoint.pt").exists(), said
    return folder


@pytest.fixture(scope="module")
def report(out: Path) -> dict[str, Any]:
    process = start(out, epochs=2)
    said = end(process, out)
    assert process.returncode == 0, said
    found: dict[str, Any] = json.loads((out / "training.json").read_text())
    return found


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
    process = start(out, epochs=2, batch=2)
    said = end(process, out)
    assert process.returncode != 0
    assert "is of another plan" in said

"""Keypoints, masks and oriented boxes on their way: single calls, batches, clones, and lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgecv
from edgecv import loop, schemas
from edgecv.heads.masks import PrototypeMasks
from edgecv.media import JsonLinesSink
from edgecv.media.items import Frame
from edgecv.media.synthetic import synthetic_frame
from edgecv.pipelines.detector import Detector
from edgecv.types import Candidates
from tests.networks import tiny_yolov8

F32 = np.float32


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Detector]:
    """One whose candidates have every column, made of what its network found."""
    decoded = Detector.candidates

    def with_columns(self: Detector, outputs: Mapping[str, Any]) -> Candidates:
        found = decoded(self, outputs)
        (x0, y0, x1, y1), confidence = found.xyxy.T, found.confidence
        points = np.stack([x0, (y0 + y1) / 2, confidence, x1, y1, confidence / 2], axis=1)
        prototypes = np.sin(np.arange(2 * 8 * 8, dtype=F32)).reshape(2, 8, 8)
        coefficients = np.stack([confidence, 0.5 - confidence], axis=1)
        angle = confidence * 3
        return msgspec.structs.replace(
            found,
            keypoints=points.reshape(-1, 2, 3).astype(F32),
            masks=PrototypeMasks(coefficients, prototypes, self.blob_wh),
            xywhr=np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, angle], axis=1).astype(F32),
        )

    monkeypatch.setattr(Detector, "candidates", with_columns)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    with edgecv.load(path, backend="simd", threads=1, conf=0.05, imgsz=None) as pipeline:
        assert isinstance(pipeline, Detector)
        yield pipeline


def frames() -> list[Any]:
    return [synthetic_frame(90, 70), synthetic_frame(64, 64)[::-1], synthetic_frame(40, 100)]


def test_batches_and_clones_have_every_column(detector: Detector) -> None:
    alone = [detector(frame) for frame in frames()]
    for found, frame in zip(alone, frames(), strict=True):
        assert len(found)
        assert found.keypoints is not None
        assert found.masks is not None
        assert found.xywhr is not None
        assert found.masks.frame_wh == frame.shape[1::-1]
    assert any(found.masks is not None and found.masks.areas.any() for found in alone)
    assert detector.batch(frames()) == alone
    with detector.clone() as clone:
        assert [clone(frame) for frame in frames()] == alone


def test_lines_of_json_follow_the_schema(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        for i, picture in enumerate(frames()):
            frame = Frame(picture, "a.png", i, captured_ns=1)
            sink.write(loop.record(frame, detector(picture)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        found = msgspec.convert(line, schemas.Detected, strict=True)
        assert json.loads(msgspec.json.encode(found)) == line
        assert line["detections"]
        for each in line["detections"]:
            assert {"keypoints", "mask", "xywhr"} <= set(each)

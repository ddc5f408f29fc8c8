"""Pipelines on frames in YUV and on gray ones of 16 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import edgecv
from edgecv.bench import protocol
from edgecv.bench.worker import Worker
from edgecv.errors import InputError
from edgecv.verify import verify
from tests.networks import model_bytes, tiny_classifier, tiny_yolov8
from tests.yuv_frames import noise_frame, pixels


def put(folder: Path, network: bytes, inputs: dict[str, Any]) -> Path:
    """A classifier with its card beside it."""
    card = {
        "schema": 2,
        "name": "colors",
        "task": "classify",
        "format": "onnx",
        "inputs": [{"name": "data", "size_wh": [32, 32], "resize": "stretch", **inputs}],
        "head": {"type": "classify", "output": "prob"},
    }
    path = folder / "colors.onnx"
    path.write_bytes(network)
    path.with_suffix(".model.json").write_text(json.dumps(card))
    return path


@pytest.mark.parametrize("format", ["nv12", "i420", "yuyv", "uyvy"])
def test_a_detector_finds_what_it_finds_in_the_pixels(tmp_path: Path, format: str) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(batch="batch"))
    frames = [noise_frame(format, 90, 70, seed=i) for i in range(3)]
    with edgecv.load(path, backend="simd", threads=1, cache=False, conf=0.6) as detector:
        expected = [detector(pixels(frame)) for frame in frames]
        assert all(len(found) for found in expected)
        assert [detector(frame) for frame in frames] == expected
        assert detector.batch(frames) == expected


def test_the_card_says_what_the_samples_mean(tmp_path: Path) -> None:
    frame = noise_frame("yuyv", 40, 30)
    stated = {"std": [255] * 3, "yuv_matrix": "bt709", "yuv_range": "full"}
    with edgecv.load(put(tmp_path, tiny_classifier(), stated), threads=1, cache=False) as classifier:
        assert classifier(frame) == classifier(pixels(frame, "bt709", "full"))
        own = edgecv.Frame(frame.planes, "yuyv", "bt601", "limited")
        assert classifier(own) == classifier(pixels(own)) != classifier(frame)


def gray_network() -> bytes:
    """A classifier of two: the mean of a gray picture of 16 bits, and 500."""
    weights = {
        "weight": np.array([1, 0], np.float32).reshape(2, 1, 1, 1),
        "bias": np.array([0, 500], np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Conv", ["mean", "weight", "bias"], ["scores"]),
        helper.make_node("Flatten", ["scores"], ["prob"]),
    ]
    return model_bytes(nodes, inputs=[("data", [1, 1, 32, 32])], outputs=[("prob", [1, 2])], weights=weights)


GRAY_16 = {"channels": 1, "color": "gray", "bits": 16}


def test_a_model_of_16_bits_tells_neighboring_levels_apart(tmp_path: Path) -> None:
    path = put(tmp_path, gray_network(), GRAY_16)
    with edgecv.load(path, backend="simd", threads=1, cache=False) as classifier:
        assert classifier(np.full((48, 64), 501, np.uint16)).class_id[0] == 0
        assert classifier(np.full((48, 64), 499, np.uint16)).class_id[0] == 1
        with pytest.raises(InputError, match=r"expected uint16 \(H, W\).* got uint8"):
            classifier(np.zeros((48, 64), np.uint8))
    assert verify(path, edgecv.LoadOptions(backend="simd", cache=False)).first_divergence is None


def test_a_model_of_16_bits_is_measured_on_a_frame_of_16_bits(tmp_path: Path) -> None:
    load = protocol.Load(
        loader="edgecv.api:load_with",
        model=str(put(tmp_path, gray_network(), GRAY_16)),
        options=edgecv.LoadOptions(backend="simd", threads=1, cache=False),
        settings={},
        batch=1,
        streams=1,
        source=None,
        frame_wh=(64, 48),
        cpus=None,
    )
    measuring = Worker()
    loaded = measuring.answer(load)
    assert isinstance(loaded, protocol.Loaded)
    assert (loaded.frames, loaded.frame_wh) == (1, (64, 48))
    assert isinstance(measuring.answer(protocol.WarmUp(frames=2, seconds=1)), protocol.WarmedUp)


def test_a_card_of_16_bits_is_gray(tmp_path: Path) -> None:
    with pytest.raises(edgecv.errors.CardError, match="`bits` 16 is for `color` gray"):
        edgecv.load(put(tmp_path, tiny_classifier(), {"bits": 16}))

"""Networks of float16: a frame is made float32, rounded, and what comes out is float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import edgecv
from tests.networks import tiny_yolov8


def halved(data: bytes) -> bytes:
    """The network with weights, input and output of float16, as `half=True` exports it."""
    proto = onnx.load_from_string(data)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto.SerializeToString()


@pytest.mark.parametrize("backend", ["simd", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, "batch", 2])
def test_a_network_of_halves_finds_what_it_finds_in_floats(
    tmp_path: Path, backend: str, batch: int | str
) -> None:
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    frames = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(3)]
    found = {}
    for name, change in (("float", bytes), ("half", halved)):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(change(tiny_yolov8(batch=batch)))
        with edgecv.load(path, backend=backend, threads=1, cache=False, conf=0.6, iou=1.0) as detector:
            found[name] = detector.batch(frames)
            assert found[name][0] == detector(frames[0])
    assert all(len(one) for one in found["float"])
    for one, half in zip(found["float"], found["half"], strict=True):
        assert half.xyxy.dtype == half.confidence.dtype == np.float32
        # Those at the threshold may come and go, and equals change places.
        sure = one[one.confidence > 0.61]
        for box, confidence, class_id in zip(sure.xyxy, sure.confidence, sure.class_id, strict=True):
            distance = np.abs(half.xyxy - box).max(axis=1) + 100 * (half.class_id != class_id)
            nearest = int(np.argmin(distance))
            assert distance[nearest] < 0.5
            assert abs(half.confidence[nearest] - confidence) < 0.01

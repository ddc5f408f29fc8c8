"""Small networks with random weights, for tests: the structure is real, what they detect is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
CLASSES = 3


def tiny_yolov8(
    *,
    size: int = 64,
    batch: int | str = 1,
    dynamic: bool = False,
    metadata: Mapping[str, str] | None = None,
    initializers_as_inputs: bool = False,
    seed: int = 0,
) -> bytes:
    """A detector shaped as YOLOv8: (batch, 4 + CLASSES, n), boxes cxcywh in blob pixels.

    Sigmoids of one strided convolution a stride, boxes times the size; dynamic: height and width too.
    """
    rng = np.random.default_rng(seed)
    channels = 4 + CLASSES
    weights: dict[str, np.ndarray] = {
        "scale": np.array([size] * 4 + [1] * CLASSES, np.float32).reshape(1, channels, 1),
        "shape": np.array([0, channels, -1], np.int64),
    }
    nodes = []
    for s in STRIDES:
        kernel = rng.standard_normal((channels, 3, s, s)) / s
        weights[f"weight{s}"] = kernel.astype(np.float32)
        weights[f"bias{s}"] = rng.standard_normal(channels).astype(np.float32)
        nodes += [
            helper.make_node(
                "Conv",
                ["images", f"weight{s}", f"bias{s}"],
                [f"raw{s}"],
                kernel_shape=[s, s],
                strides=[s, s],
            ),
            helper.make_node("Reshape", [f"raw{s}", "shape"], [f"rows{s}"]),
        ]
    nodes += [
        helper.make_node("Concat", [f"rows{s}" for s in STRIDES], ["rows"], axis=2),
        helper.make_node("Sigmoid", ["rows"], ["squashed"]),
        helper.make_node("Mul", ["squashed", "scale"], ["output0"]),
    ]
    side: int | str = "size" if dynamic else size
    cells: int | str = "cells" if dynamic else sum((size // s) ** 2 for s in STRIDES)
    return model_bytes(
        nodes,
        inputs=[("images", [batch, 3, side, side])],
        outputs=[("output0", [batch, channels, cells])],
        weights=weights,
        metadata=metadata or ultralytics_metadata(size),
        initializers_as_inputs=initializers_as_inputs,
    )


def ultralytics_metadata(size: int) -> dict[str, str]:
    """What an export of that project carries."""
    return {
        "task": "detect",
        "stride": str(max(STRIDES)),
        "imgsz": f"[{size}, {size}]",
        "names": "{0: 'nut', 1: 'bolt', 2: 'washer'}",
    }


def model_bytes(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[tuple[str, Sequence[int | str]]],
    outputs: Sequence[tuple[str, Sequence[int | str]]],
    weights: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, str] | None = None,
    initializers_as_inputs: bool = False,
    elem_type: int = TensorProto.FLOAT,
) -> bytes:
    """A checked ONNX file of opset 13."""
    weights = weights or {}
    values = [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in inputs]
    if initializers_as_inputs:
        values += [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in weights.items()
        ]
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        values,
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    return model.SerializeToString()


def photo(width: int = 90, height: int = 70, seed: int = 1) -> np.ndarray:
    """A frame of noise, uint8 (height, width, 3) BGR."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)

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
    classes: int = CLASSES,
    seed: int = 0,
) -> bytes:
    """A detector shaped as YOLOv8: (batch, 4 + classes, n), boxes cxcywh in blob pixels.

    Sigmoids of one strided convolution a stride, boxes times the size; dynamic: height and width too.
    """
    rng = np.random.default_rng(seed)
    channels = 4 + classes
    weights: dict[str, np.ndarray] = {
        "scale": np.array([size] * 4 + [1] * classes, np.float32).reshape(1, channels, 1),
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


def tiny_classifier(
    *, size: int = 32, batch: int | str = 1, softmax: bool = False, is_map: bool = False
) -> bytes:
    """A classifier of four: how much blue, green, red a frame of 0 to 1 has, and a constant 0.5.

    softmax: probabilities, else scores. is_map: (batch, 4, 1, 1), else (batch, 4).
    """
    weights: dict[str, np.ndarray] = {
        "weight": np.eye(4, 3, dtype=np.float32).reshape(4, 3, 1, 1) * 10,
        "bias": np.array([0, 0, 0, 5], np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Conv", ["mean", "weight", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["chances"], axis=1)
        if softmax
        else helper.make_node("Identity", ["scores"], ["chances"]),
        helper.make_node("Identity" if is_map else "Flatten", ["chances"], ["prob"]),
    ]
    return model_bytes(
        nodes,
        inputs=[("data", [batch, 3, size, size])],
        outputs=[("prob", [batch, 4, 1, 1] if is_map else [batch, 4])],
        weights=weights,
    )


def tiny_trunk(
    *,
    size_wh: tuple[int, int] = (96, 80),
    anchors: int = 9,
    channels: int = 20,
    batch: int | str = 1,
    seed: int = 0,
) -> bytes:
    """The first stage of a Faster R-CNN of stride 16: features, `rpn_cls_prob_reshape`, `rpn_bbox_pred`.

    Its input is `data`; one strided convolution, and one over it for scores and one for deltas.
    """
    rng = np.random.default_rng(seed)
    width, height = size_wh
    cells = [height // 16, width // 16]
    weights: dict[str, np.ndarray] = {
        "weight": (rng.standard_normal((channels, 3, 16, 16)) / 1600).astype(np.float32),
        "score_weight": (rng.standard_normal((2 * anchors, channels, 1, 1)) / 4).astype(np.float32),
        "delta_weight": (rng.standard_normal((4 * anchors, channels, 1, 1)) / 30).astype(np.float32),
        "pairs": np.array([0, 2, anchors * cells[0], cells[1]], np.int64),
        "planes": np.array([0, 2 * anchors, *cells], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["data", "weight"], ["sums"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Relu", ["sums"], ["conv5"]),
        helper.make_node("Conv", ["conv5", "score_weight"], ["rpn_cls_score"], kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["rpn_cls_score", "pairs"], ["rpn_cls_score_reshape"]),
        helper.make_node("Softmax", ["rpn_cls_score_reshape"], ["rpn_cls_prob"], axis=1),
        helper.make_node("Reshape", ["rpn_cls_prob", "planes"], ["rpn_cls_prob_reshape"]),
        helper.make_node("Conv", ["conv5", "delta_weight"], ["rpn_bbox_pred"], kernel_shape=[1, 1]),
    ]
    return model_bytes(
        nodes,
        inputs=[("data", [batch, 3, height, width])],
        outputs=[
            ("conv5", [batch, channels, *cells]),
            ("rpn_cls_prob_reshape", [batch, 2 * anchors, *cells]),
            ("rpn_bbox_pred", [batch, 4 * anchors, *cells]),
        ],
        weights=weights,
    )


def tiny_roi(
    *,
    rois: int | str = 30,
    channels: int = 20,
    pooled_wh: tuple[int, int] = (3, 2),
    columns: int = 4 * (CLASSES + 1),
    seed: int = 0,
) -> bytes:
    """The second stage of a Faster R-CNN: `pool5` to `cls_prob` of a background and CLASSES classes, and
    `bbox_pred` of so many columns; a matrix each."""
    rng = np.random.default_rng(seed)
    across, down = pooled_wh
    inputs = channels * down * across
    weights: dict[str, np.ndarray] = {
        "score_weight": (rng.standard_normal((inputs, CLASSES + 1)) / 8).astype(np.float32),
        "delta_weight": (rng.standard_normal((inputs, columns)) / 60).astype(np.float32),
        "score_bias": np.zeros(CLASSES + 1, np.float32),
        "delta_bias": np.zeros(columns, np.float32),
    }
    nodes = [
        helper.make_node("Flatten", ["pool5"], ["flat"]),
        helper.make_node("Gemm", ["flat", "score_weight", "score_bias"], ["cls_score"]),
        helper.make_node("Softmax", ["cls_score"], ["cls_prob"], axis=1),
        helper.make_node("Gemm", ["flat", "delta_weight", "delta_bias"], ["bbox_pred"]),
    ]
    return model_bytes(
        nodes,
        inputs=[("pool5", [rois, channels, down, across])],
        outputs=[("cls_prob", [rois, CLASSES + 1]), ("bbox_pred", [rois, columns])],
        weights=weights,
    )


def quantized(*, weights_only: bool = False) -> bytes:
    """A detector in int8: (1, 3, 64, 96) to (1, 6, 7), rows of a YOLOX head of stride 32.

    weights_only: the weights are stored in integers, and what they multiply is not.
    """
    rng = np.random.default_rng(0)
    weights = {
        "weight": rng.integers(-127, 127, (7, 3, 32, 32)).astype(np.int8),
        "weight_scale": np.float32(1e-4),
        "weight_zero": np.int8(0),
        "scale": np.float32(1),
        "zero": np.uint8(0),
        "scores_scale": np.float32(0.1),
        "scores_zero": np.uint8(128),
        "rows": np.array([0, 7, -1]),
    }
    nodes = [helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["kernel"])]
    image, scores = "images", "raw"
    if not weights_only:
        nodes += _through_integers("images", "image", "scale", "zero")
        image = "image"
    nodes.append(helper.make_node("Conv", [image, "kernel"], ["raw"], strides=[32, 32]))
    if not weights_only:
        nodes += _through_integers("raw", "scores", "scores_scale", "scores_zero")
        scores = "scores"
    nodes += [
        helper.make_node("Reshape", [scores, "rows"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["output"], perm=[0, 2, 1]),
    ]
    return model_bytes(
        nodes, inputs=[("images", [1, 3, 64, 96])], outputs=[("output", [1, 6, 7])], weights=weights
    )


def _through_integers(x: str, y: str, scale: str, zero: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [x, scale, zero], [f"{y}_int8"]),
        helper.make_node("DequantizeLinear", [f"{y}_int8", scale, zero], [y]),
    ]


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

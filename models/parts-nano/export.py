"""From trained weights to ONNX: opset 13, static and dynamic, checked against the network they came from."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from network import PartsNano
from torch import nn

OPSET = 13
MAX_BYTES = 2_000_000
TOLERANCE = 1e-4


def to_onnx(network: nn.Module, path: Path, size_wh: tuple[int, int], *, dynamic: bool) -> None:
    """Write the network with sigmoids applied, batch normalization folded.

    dynamic: batch, height and width are free, in multiples of 32. Raises RuntimeError when the file says
    something else than the network, or is too large.
    """
    exported = copy.deepcopy(network).float().eval().to(memory_format=torch.contiguous_format)
    assert isinstance(exported, PartsNano)
    exported.as_logits = False
    width, height = size_wh
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output": {0: "batch", 1: "cells"}}
    with warnings.catch_warnings():
        # torch.export's exporter, the announced successor, starts at opset 18.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            (torch.zeros(1, 3, height, width),),
            str(path),
            opset_version=OPSET,
            input_names=["images"],
            output_names=["output"],
            dynamic_axes=axes if dynamic else None,
            dynamo=False,
        )
    model = onnx.load(path)
    _plain_reshapes(model.graph)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del model.graph.value_info[:]
    model.graph.name = "parts-nano"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    if path.stat().st_size > MAX_BYTES:
        raise RuntimeError(f"{path}: {path.stat().st_size} bytes, over {MAX_BYTES}")
    _compare(exported, path, (1, 3, height, width))
    if dynamic:
        _compare(exported, path, (2, 3, height + 64, width + 32))


def _plain_reshapes(graph: onnx.GraphProto) -> None:
    """Flattening (N, C, H, W) to (N, C, H * W) without computing its shape in the graph."""
    name = "flat"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 0, -1]), name))
    for node in graph.node:
        if node.op_type == "Reshape":
            node.input[1] = name
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _compare(network: nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    blob = np.random.default_rng(0).random(shape, np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": blob})[0]
    with torch.no_grad():
        expected = network(torch.from_numpy(blob)).numpy()
    error = np.abs(found - expected).max() / np.abs(expected).max()
    if not error <= TOLERANCE:
        raise RuntimeError(f"{path}: differs from the network by {error:.1e} of its largest output")

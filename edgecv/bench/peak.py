"""What the processor's multiply-adds come to at best, measured: the ruler that layers are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgecv import machine
from edgecv.graph.model import OnnxModel

if TYPE_CHECKING:
    from edgecv import _simd

# Channels, size of the window, pixels a side. Their weights and maps lie in the second cache of any processor
# of the last ten years, their channels are whole vectors, and no side is a multiple of one tile for all.
SHAPES = ((64, 3, 14), (128, 1, 14), (192, 1, 14), (64, 3, 28), (128, 1, 28))
RUNS = 40


class Peak:
    """The fastest of a few ideal convolutions, on the engine's own kernels. Use it as a context manager.

    A bound that is reached, not one that is computed from clocks and ports: a clock that changes changes it
    too. threads: that share each convolution.
    """

    def __init__(self, threads: int) -> None:
        from edgecv import _isa, _simd
        from edgecv.engine.compile import compile_model

        self.gflops_per_s = 0.0
        self._pool = _simd.Pool(threads, budget=machine.cpu_budget())
        self._cases: list[tuple[_simd.Context, int, float, np.ndarray, np.ndarray]] = []
        for channels, size, side in SHAPES:
            shape = (1, channels, side, side)
            compiled = compile_model(
                _two_convolutions(shape, size), {"x": shape}, isa=_isa.active(), threads=threads
            )
            # The first reads a picture row by row, the second what the first wrote.
            last = max(i for i, step in enumerate(compiled.steps) if step.op == "conv")
            x = np.random.default_rng(0).random(shape, np.float32)
            context = _simd.Context(compiled.plan)
            case = (context, last, compiled.steps[last].flops, x, np.empty(shape, np.float32))
            self._cases.append(case)

    def __enter__(self) -> Peak:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def measure(self, runs: int = RUNS) -> float:
        """Run each once more; the most GFLOP/s of all measurements so far, also in `gflops_per_s`."""
        for context, step, flops, x, y in self._cases:
            ns = context.step_times(self._pool, (x,), (y,), runs)[step]
            self.gflops_per_s = max(self.gflops_per_s, flops / float(ns))
        return self.gflops_per_s


def _two_convolutions(shape: tuple[int, ...], size: int) -> OnnxModel:
    import onnx

    helper, channels = onnx.helper, shape[1]
    weights = np.random.default_rng(0).standard_normal((channels, channels, size, size))
    tensor = (weights / np.sqrt(weights[0].size)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", [x, "w"], [y], kernel_shape=[size, size], pads=[size // 2] * 4)
        for x, y in (("x", "between"), ("between", "y"))
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], [onnx.numpy_helper.from_array(tensor, "w")])
    opset = [helper.make_opsetid("", 13)]
    return OnnxModel(helper.make_model(graph, opset_imports=opset, ir_version=8), "peak")

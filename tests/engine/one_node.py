"""Small models around one operator, run on every ISA and by onnx.reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecv import _isa, _simd
from edgecv.engine.compile import Compiled, compile_model
from edgecv.graph.model import OnnxModel

Array = NDArray[Any]
OPSET = onnx.defs.onnx_opset_version()
ISAS = _isa.usable()


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Values of a standard normal distribution; whole numbers are of [-100, 100) or [0, 100)."""
    rng = np.random.default_rng([seed, *shape])
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return rng.integers(0 if kind.kind == "u" else -100, 100, shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(kind)
    return np.asarray(rng.standard_normal(shape), kind)


def model_of(
    op: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array | None] | None = None,
    *,
    outputs: int = 1,
    blocked: bool = False,
    expected: Sequence[Array] | None = None,
    **attributes: Any,
) -> tuple[OnnxModel, Sequence[Array]]:
    """A model of one operator whose operands are `feeds`, then `constants` (None: left out); what it gives.

    expected: what it gives, where onnx.reference cannot tell.

    blocked: the first operand comes out of a convolution, so that it lies in blocks.
    """
    nodes, initializers = [], []
    names = list(feeds)
    if blocked:
        first = names[0]
        channels = feeds[first].shape[1]
        kernel = (1,) * (feeds[first].ndim - 2)
        weights = random(channels, channels, *kernel, seed=7)
        initializers.append(numpy_helper.from_array(weights, "mix"))
        nodes.append(helper.make_node("Conv", [first, "mix"], ["mixed"], "mix"))
        names[0] = "mixed"
    for name, value in (constants or {}).items():
        names.append(name if value is not None else "")
        if value is not None:
            initializers.append(numpy_helper.from_array(np.asarray(value), name))
    made = [f"y{i}" for i in range(outputs)]
    nodes.append(helper.make_node(op, names, made, "node", **attributes))
    declared = [_declared(name, x) for name, x in feeds.items()]
    nothing = [helper.make_value_info(name, onnx.TypeProto()) for name in made]
    graph = helper.make_graph(nodes, "one", declared, nothing, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    results = expected
    if results is None:
        with np.errstate(all="ignore"):
            results = [np.asarray(y) for y in ReferenceEvaluator(proto).run(None, dict(feeds))]
    del proto.graph.output[:]
    proto.graph.output.extend(_declared(name, y) for name, y in zip(made, results, strict=True))
    return OnnxModel.from_bytes(proto.SerializeToString(), origin=op), results


def _declared(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def run(compiled: Compiled, feeds: Mapping[str, Array], threads: int = 1) -> list[Array]:
    """The outputs of a run, cut to the rows that it found."""
    arrays = [np.full(out.shape, 99).astype(out.dtype) for out in compiled.outputs]
    pool = _simd.Pool(threads)
    try:
        _simd.Context(compiled.plan).run(
            pool, tuple(np.asarray(x, order="C") for x in feeds.values()), tuple(arrays)
        )
    finally:
        pool.close()
    wanted = [out for out in compiled.outputs if not out.name.endswith("(count)")]
    return [out.cut(arrays, i) for i, out in enumerate(wanted)]


def check(
    op: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array | None] | None = None,
    *,
    outputs: int = 1,
    blocked: bool = False,
    tolerance: float = 2e-6,
    expected: Sequence[Array] | None = None,
    isas: Sequence[str] = ISAS,
    **attributes: Any,
) -> dict[str, Compiled]:
    """Raise AssertionError unless every ISA gives what onnx.reference gives, and two threads the same bits.

    tolerance: of the difference, times the largest expected value. expected: where onnx.reference is wrong.
    """
    model, results = model_of(
        op, feeds, constants, outputs=outputs, blocked=blocked, expected=expected, **attributes
    )
    shapes = {name: x.shape for name, x in feeds.items()}
    programs = {}
    for isa in isas:
        compiled = programs[isa] = compile_model(model, shapes, isa=isa)
        got = run(compiled, feeds)
        for value, wanted in zip(got, results, strict=True):
            assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), isa
            if wanted.dtype.kind == "f":
                finite = np.abs(wanted[np.isfinite(wanted)])
                limit = tolerance * max(float(finite.max(initial=0)), 1e-6)
                np.testing.assert_allclose(value, wanted, rtol=0, atol=limit, err_msg=isa)
            else:
                np.testing.assert_array_equal(value, wanted, err_msg=isa)
    shared = run(compile_model(model, shapes, isa=isas[-1], threads=2), feeds, threads=2)
    for one, two in zip(got, shared, strict=True):
        assert one.tobytes() == two.tobytes(), "two threads"
    return programs


def steps(compiled: Compiled) -> list[str]:
    """The operations of a program, in order."""
    return [step.op for step in compiled.steps]

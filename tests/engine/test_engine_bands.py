"""Bands: the same bits as the steps that they are made of, whatever they are and however they are cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from onnx.numpy_helper import from_array

from edgecv import _isa, _simd
from edgecv.engine.bands import Limits, share_of_turns
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.explain import explain
from edgecv.graph.model import OnnxModel
from edgecv.importers import read_model

Array = NDArray[Any]
# Everything that can be joined is.
ALWAYS = Limits(least=1, strips=1 << 20, steps=8)
FILES = ("yunet_n_640", "ultraface_rfb_640", "yolox_nano_416")


class Sketch:
    """A row of operators on a picture of (channels, h, w)."""

    def __init__(self, channels: int, h: int, w: int) -> None:
        self.rng = np.random.default_rng(channels * h + w)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[str] = []
        self.input = (channels, h, w)
        self.shape, self.value = self.input, "x"

    def conv(
        self,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        pad: int = 0,
        dilation: int = 1,
        *,
        depthwise: bool = False,
        relu: bool = True,
    ) -> Sketch:
        channels, h, w = self.shape
        outputs = channels if depthwise else outputs
        name = f"w{len(self.nodes)}"
        values = self.rng.uniform(-1, 1, (outputs, 1 if depthwise else channels, kernel, kernel))
        self.weights.append(from_array(values.astype(np.float32), name))
        window = {
            "strides": [stride] * 2,
            "pads": [pad] * 4,
            "dilations": [dilation] * 2,
            "kernel_shape": [kernel] * 2,
        }
        self._add("Conv", [self.value, name], group=channels if depthwise else 1, **window)
        reach = (kernel - 1) * dilation + 1
        self.shape = (outputs, *((n + 2 * pad - reach) // stride + 1 for n in (h, w)))
        return self._add("Relu", [self.value]) if relu else self

    def pool(self, op: str, kernel: int, stride: int, pad: int = 0) -> Sketch:
        channels, h, w = self.shape
        self._add(op, [self.value], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        self.shape = (channels, *((n + 2 * pad - kernel) // stride + 1 for n in (h, w)))
        return self

    def keep(self) -> Sketch:
        """Make what there is an output of the network, too."""
        self.outputs.append(self.value)
        return self

    def add(self, other: str) -> Sketch:
        return self._add("Add", [self.value, other])

    def _add(self, op: str, inputs: list[str], **attributes: Any) -> Sketch:
        self.value = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [self.value], f"{op}{len(self.nodes)}", **attributes))
        return self

    def model(self) -> OnnxModel:
        names = dict.fromkeys([*self.outputs, self.value])
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, *self.input))
        ys = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
        graph = helper.make_graph(self.nodes, "row", [x], ys, self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return OnnxModel.from_bytes(proto.SerializeToString(), origin="row.onnx")


def compiled(model: OnnxModel, isa: str, bands: Limits | None, threads: int = 1) -> Compiled:
    shapes = {s.name: tuple(n for n in s.shape if isinstance(n, int)) for s in model.facts.inputs}
    return compile_model(model, shapes, isa=isa, threads=threads, bands=bands)


def run(program: Compiled, model: OnnxModel, threads: int = 1) -> list[bytes]:
    rng = np.random.default_rng(5)
    x = tuple(rng.uniform(-1, 1, s.shape).astype(np.float32) for s in model.facts.inputs)
    y = tuple(np.full(out.shape, 77, out.dtype) for out in program.outputs)
    pool = _simd.Pool(threads)
    try:
        _simd.Context(program.plan).run(pool, x, y)
    finally:
        pool.close()
    return [array.tobytes() for array in y]


def joined(program: Compiled) -> list[list[str]]:
    """The steps of each band."""
    return [[part.op for part in step.members] for step in program.steps if step.members]


def assert_same(model: OnnxModel, isa: str, bands: Limits, threads: int = 1) -> list[list[str]]:
    """Raise AssertionError unless bands change no bit. Returns those that there are."""
    program = compiled(model, isa, bands, threads)
    assert run(program, model, threads) == run(compiled(model, isa, None), model)
    return joined(program)


ROWS: dict[str, tuple[Sketch, list[list[str]]]] = {
    "point, then depthwise": (
        Sketch(5, 23, 19).conv(20).conv(0, 3, pad=1, depthwise=True),
        [["planes"], ["conv", "depthwise"]],
    ),
    "stem, then pool": (
        Sketch(3, 33, 40).conv(18, 3, 2, 1).pool("MaxPool", 3, 2, 1),
        [["conv", "pool"]],
    ),
    "depthwise, then point": (
        Sketch(3, 24, 24).conv(20, 3, 1, 1).conv(0, 5, 2, 2, depthwise=True).conv(40),
        [["conv", "depthwise", "conv"]],
    ),
    "point of every second pixel": (
        Sketch(3, 25, 25).conv(20, 3, 1, 1).conv(9, 1, 2),
        [["conv", "conv"]],
    ),
    "dense windows": (
        Sketch(3, 24, 31).conv(20, 3, 1, 1).conv(20, 3, 1, 1).conv(8, 3, 2, 2, 2),
        [["conv", "conv", "conv"]],
    ),
    "pools": (
        Sketch(3, 30, 30).conv(20, 3, 1, 1).pool("AveragePool", 2, 2).pool("MaxPool", 5, 1, 2),
        [["conv", "pool", "pool"]],
    ),
}


@pytest.mark.parametrize("isa", _isa.usable())
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_steps(name: str, isa: str) -> None:
    sketch, expected = ROWS[name]
    assert assert_same(sketch.model(), isa, ALWAYS) == [band for band in expected if len(band) > 1]


def test_of_a_strip_all_is_gathered() -> None:
    """The first step reads the input itself where it needs no padding, the second one a strip."""
    model = Sketch(3, 66, 66).conv(8, 3, 1, 1).conv(8, 3, 1, 1).model()
    assert_same(model, _isa.usable()[-1], ALWAYS)
    (band,) = [step for step in compiled(model, "avx2", ALWAYS).steps if step.members]
    assert [step.fields["inner_runs"] for step in band.members] == [64, 0]


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 16])
def test_turns_are_shared(threads: int) -> None:
    """As evenly as whole turns can be, and in chunks enough that a slow thread can be helped."""
    for turns in (1, 2, 5, 8, 13, 20, 27, 100):
        chunk = share_of_turns(turns, threads)
        chunks = -(-turns // chunk)
        assert 1 <= chunk <= turns
        assert chunks == 1 if threads == 1 else chunks >= min(turns, 2 * threads)
        assert -(-chunks // threads) * chunk < -(-turns // threads) + chunk


def test_what_others_read_is_no_strip() -> None:
    sketch = Sketch(3, 20, 20).conv(20, 3, 1, 1).keep().conv(0, 3, 1, 1, depthwise=True).conv(9)
    assert assert_same(sketch.model(), _isa.usable()[-1], ALWAYS) == [["depthwise", "conv"]]


def test_a_residual_that_rows_still_need_is_not_overwritten() -> None:
    """y = x + point(depthwise(x)): the depthwise step reads rows of x that are summed already."""
    sketch = Sketch(3, 40, 20).conv(32, 3, 1, 1)
    start = sketch.value
    sketch.conv(0, 5, 1, 2, depthwise=True).conv(32, relu=False).add(start).conv(8, relu=False)
    pairs = Limits(least=1, strips=1 << 14, steps=2, last_rows=(1,), other_rows=(1,))
    for threads in (1, 3):
        found = assert_same(sketch.model(), _isa.usable()[-1], pairs, threads)
        assert ["depthwise", "conv"] in found


@st.composite
def sketches(draw: st.DrawFn) -> Sketch:
    def number(least: int, most: int) -> int:
        return draw(st.integers(least, most))

    sketch = Sketch(number(1, 20), number(12, 40), number(12, 40))
    for _ in range(number(2, 6)):
        kernel, stride = draw(st.sampled_from((1, 2, 3, 5))), number(1, 2)
        pad = number(0, kernel // 2)
        dilation = number(1, 2)
        if min(sketch.shape[1:]) + 2 * pad < (kernel - 1) * dilation + 1:
            break
        kind = draw(st.sampled_from(("conv", "point", "depthwise", "MaxPool", "AveragePool")))
        if kind == "conv":
            sketch.conv(number(1, 40), kernel, stride, pad, dilation)
        elif kind == "point":
            sketch.conv(number(1, 40), 1, stride)
        elif kind == "depthwise":
            sketch.conv(0, kernel, stride, pad, dilation, depthwise=True)
        elif min(sketch.shape[1:]) + 2 * pad >= kernel:
            sketch.pool(kind, kernel, stride, pad)
        if draw(st.integers(0, 5)) == 0:
            sketch.keep()
    if not sketch.nodes:
        sketch.conv(4)
    return sketch


@pytest.mark.parametrize("isa", _isa.usable())
@given(data=st.data())
@settings(max_examples=25)
def test_any_row_however_it_is_cut(isa: str, data: st.DataObject) -> None:
    rows = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda some: (*some, 1))
    limits = Limits(
        least=data.draw(st.sampled_from((1, 1 << 14))),
        strips=data.draw(st.integers(1 << 10, 1 << 18)),
        steps=data.draw(st.integers(2, 8)),
        last_rows=data.draw(rows),
        other_rows=data.draw(rows),
    )
    assert_same(data.draw(sketches()).model(), isa, limits, data.draw(st.integers(1, 4)))


@pytest.mark.parametrize("file", FILES)
def test_trained_networks(file: str, shared: Callable[[str], Path]) -> None:
    model = read_model(shared(f"models/onnx/{file}.onnx"))
    assert assert_same(model, _isa.usable()[-1], Limits(), threads=2)


def test_less_memory_and_less_traffic() -> None:
    model = (
        Sketch(3, 128, 128).conv(32, 3, 1, 1).conv(0, 3, 1, 1, depthwise=True).pool("MaxPool", 2, 2).model()
    )
    isa = _isa.usable()[-1]
    apart, together = compiled(model, isa, None), compiled(model, isa, ALWAYS)
    (band,) = [step for step in together.steps if step.members]
    between = 2 * 32 * 128 * 128 * 4
    assert together.encoded.arena_bytes <= apart.encoded.arena_bytes // 4
    assert sum(s.bytes for s in apart.steps) - sum(s.bytes for s in together.steps) == 2 * between
    assert band.flops == sum(s.flops for s in apart.steps[: len(band.members)])
    assert run(together, model) == run(apart, model)


def test_explanation_names_the_steps_of_a_band() -> None:
    model = Sketch(3, 32, 32).conv(4, 3, 1, 1).conv(0, 3, 1, 1, depthwise=True).model()
    program = compiled(model, _isa.usable()[-1], ALWAYS)
    found = explain(model, program, {"x": (1, 3, 32, 32)}, threads=1, repeats=1)
    (band,) = [step for step in found.steps if step.op == "band"]
    assert band.label == "Conv0 > Conv2"
    assert band.how == "conv 3x3 edges gathered +relu > depthwise 3x3 +relu"
    assert band.result == (1, 4, 32, 32)
    assert band.blocks == found.lanes
    assert band.ns is not None
    assert found.views == {}

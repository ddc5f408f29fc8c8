"""Results that are made where the caller wants them: heads whose convolutions write rows of channels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.engine.bands import Limits
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.explain import COPIES
from edgecv.graph.model import OnnxModel
from tests.engine.one_node import random, run, steps
from tests.engine.written import check, network

Array = NDArray[np.float32]

# Networks on x (batch, 8, 4, 6) and z (batch, 8, 2, 3), and how many copies they need.
HEADS = {
    "nanodet": ("c = Conv(x, w32) s = Sigmoid(c) r = Reshape(s, flat) y = Transpose<perm = [0, 2, 1]>(r)", 0),
    "nanodet, scores and distances of one convolution": (
        "c = Conv(x, w80, b80) p, q = Split<axis = 1>(c, sizes) s = Sigmoid(p) r = Reshape(s, flat)"
        " t = Reshape(q, flat) u = Transpose<perm = [0, 2, 1]>(r) v = Transpose<perm = [0, 2, 1]>(t)"
        " y = Identity(u) k = Identity(v)",
        0,
    ),
    "yolox": (
        "a0 = Conv(x, w5) b0 = Conv(x, w1) c0 = Conv(x, w32) e0 = Sigmoid(b0) d0 = Sigmoid(c0)"
        " a1 = Conv(z, w5) b1 = Conv(z, w1) c1 = Conv(z, w32) e1 = Sigmoid(b1) d1 = Sigmoid(c1)"
        " j0 = Concat<axis = 1>(a0, e0, d0) j1 = Concat<axis = 1>(a1, e1, d1)"
        " r0 = Reshape(j0, flat) r1 = Reshape(j1, flat) r = Concat<axis = 2>(r0, r1)"
        " y = Transpose<perm = [0, 2, 1]>(r)",
        2,
    ),
    "yolox, scores between": (
        "a = Conv(x, w5) b = Conv(x, w1) c = Conv(x, w32) e = Sigmoid(b) d = Sigmoid(c)"
        " j = Concat<axis = 1>(a, d, e) r = Reshape(j, flat) y = Transpose<perm = [0, 2, 1]>(r)",
        2,
    ),
    "two wide parts and none else": (
        "a = Conv(x, w32) b = Conv<pads = [1, 1, 1, 1]>(x, k48) j = Concat<axis = 1>(a, b)"
        " y = Transpose<perm = [0, 2, 3, 1]>(j)",
        0,
    ),
    "retinanet": (
        "a0 = Conv(x, w32) a1 = Conv(z, w32) t0 = Transpose<perm = [0, 2, 3, 1]>(a0)"
        " t1 = Transpose<perm = [0, 2, 3, 1]>(a1) r0 = Reshape(t0, by16) r1 = Reshape(t1, by16)"
        " y = Concat<axis = 1>(r0, r1)",
        0,
    ),
    "anchors": (
        "a = Conv(x, w32) r = Reshape(a, anchors) t = Transpose<perm = [0, 3, 4, 1, 2]>(r)"
        " y = Reshape(t, by16)",
        0,
    ),
    "rows with gaps in the input": ("a = Conv(x, k48) y = Transpose<perm = [0, 2, 3, 1]>(a)", 0),
    "steps of two": ("a = Conv<strides = [2, 2]>(x, w32) y = Transpose<perm = [0, 2, 3, 1]>(a)", 0),
    "groups": ("a = Conv<group = 2>(x, g64) y = Transpose<perm = [0, 2, 3, 1]>(a)", 0),
    "one axis of pixels": ("r = Reshape(x, flat) a = Conv(r, v32) y = Transpose<perm = [0, 2, 1]>(a)", 0),
}


def head(text: str, batch: int = 1) -> OnnxModel:
    """One of HEADS, or one like them."""
    outputs = "float[i, j, k, l] y" if "[0, 2, 3, 1]" in text.split("y =")[1] else "float[i, j, k] y"
    outputs += ", float[m, n, o] k" if " k = " in text else ""
    values = {
        **{f"w{n}": random(n, 8, 1, 1) for n in (1, 5, 32, 80)},
        "b80": random(80),
        "k48": random(48, 8, 3, 3),
        "g64": random(64, 4, 1, 1),
        "v32": random(32, 8, 1),
        "sizes": np.array([48, 32]),
        "flat": np.array([0, 0, -1]),
        "by16": np.array([batch, -1, 16]),
        "anchors": np.array([batch, 2, 16, 4, 6]),
    }
    used = {name: value for name, value in values.items() if name in text.replace(")", ",").replace(" ", "")}
    inputs = f"float[{batch}, 8, 4, 6] x, float[{batch}, 8, 2, 3] z"
    return network(f"({inputs}) => ({outputs}) {{ {text} }}", **used)


def pictures(batch: int = 1) -> dict[str, Array]:
    """What heads read."""
    return {"x": random(batch, 8, 4, 6), "z": random(batch, 8, 2, 3)}


def copies(compiled: Compiled) -> list[str]:
    """What is copied, in order."""
    return [step.label for step in compiled.steps if step.op in COPIES]


def are_blocks(compiled: Compiled, isa: str) -> list[bool]:
    """For each convolution, whether it writes blocks."""
    return [step.fields["y_block"] != _simd.lanes(isa) for step in compiled.steps if step.op == "conv"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", HEADS)
def test_heads_write_rows_of_channels(name: str, batch: int) -> None:
    text, needed = HEADS[name]
    for compiled in check(head(text, batch), pictures(batch)).values():
        assert len(copies(compiled)) == needed
        assert "map" not in steps(compiled)


@pytest.mark.parametrize("channels", [1, 4, 8, 12, 16, 20, 24, 48])
def test_whole_vectors_only(channels: int) -> None:
    model = network(
        "(float[1, 8, 4, 6] x) => (float[i, j, k, l] y)"
        " { c = Conv(x, w) y = Transpose<perm = [0, 2, 3, 1]>(c) }",
        w=random(channels, 8, 1, 1),
    )
    for isa, compiled in check(model, {"x": random(1, 8, 4, 6)}).items():
        is_whole = channels % _simd.lanes(isa) == 0
        assert len(copies(compiled)) == (0 if is_whole else 1)


KEPT = {
    "read elsewhere too": "c = Conv(x, w32) k = GlobalMaxPool(c) y = Transpose<perm = [0, 2, 3, 1]>(c)",
    "given out too": "k = Conv(x, w32) y = Transpose<perm = [0, 2, 3, 1]>(k)",
    "a residual": "c = Conv(x, w8) a = Add(c, x) y = Transpose<perm = [0, 2, 3, 1]>(a)",
    "another convolution reads it": (
        "c = Conv(x, w32) d = Conv(c, u3) y = Transpose<perm = [0, 2, 3, 1]>(d)"
    ),
    "of no known weights": "c = Conv(x, m) y = Transpose<perm = [0, 2, 3, 1]>(c)",
    "depthwise": "c = Conv<group = 8>(x, d8) y = Transpose<perm = [0, 2, 3, 1]>(c)",
    "a row alone": "c = Conv(x, w32) y = Transpose<perm = [0, 3, 2, 1]>(c)",
    "the rows are read on": "c = Conv(x, w32) t = Transpose<perm = [0, 2, 3, 1]>(c) y = Softmax<axis = 1>(t)",
}


@pytest.mark.parametrize("name", KEPT)
def test_those_that_keep_their_blocks(name: str) -> None:
    text = KEPT[name]
    shapes = {"k": "float[p, q, r, s] k"}
    outputs = ", ".join(["float[i, j, l, n] y", *(shapes[k] for k in shapes if f"{k} =" in text)])
    weights = {"w32": (32, 8, 1, 1), "w8": (8, 8, 1, 1), "u3": (3, 32, 1, 1), "d8": (8, 1, 1, 1)}
    model = network(
        f"(float[1, 8, 4, 6] x, float[32, 8, 1, 1] m) => ({outputs}) {{ {text} }}",
        **{key: random(*shape) for key, shape in weights.items() if key in text},
    )
    for isa, compiled in check(model, {"x": random(1, 8, 4, 6), "m": random(32, 8, 1, 1)}).items():
        first = are_blocks(compiled, isa)[:1]
        assert first == ([] if name == "depthwise" else [True])


def test_single_pixels_stay_as_they_are() -> None:
    model = network(
        "(float[2, 8, 1, 1] x) => (float[2, 32] y) { c = Conv(x, w) y = Flatten(c) }",
        w=random(32, 8, 1, 1),
    )
    check(model, {"x": random(2, 8, 1, 1)})


@pytest.mark.parametrize("isa", _isa.usable())
def test_the_same_bits_in_a_band_and_by_two_threads(isa: str) -> None:
    model = network(
        "(float[1, 8, 40, 48] x) => (float[i, j, k] y)"
        " { a = Conv<pads = [1, 1, 1, 1]>(x, v) b = Relu(a) c = Conv(b, w) r = Reshape(c, flat)"
        " y = Transpose<perm = [0, 2, 1]>(r) }",
        v=random(16, 8, 3, 3),
        w=random(80, 16, 1, 1),
        flat=np.array([0, 80, -1]),
    )
    inputs = {"x": random(1, 8, 40, 48)}
    shapes = {"x": (1, 8, 40, 48)}
    plain = compile_model(model, shapes, isa=isa, bands=None)
    banded = compile_model(model, shapes, isa=isa, bands=Limits(least=1))
    shared = compile_model(model, shapes, isa=isa, threads=2)
    assert (steps(plain), steps(banded)) == (["conv", "conv"], ["band"])
    (expected,) = run(plain, inputs)
    assert run(banded, inputs)[0].tobytes() == expected.tobytes()
    assert run(shared, inputs, threads=2)[0].tobytes() == expected.tobytes()

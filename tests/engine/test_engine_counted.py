"""Values of which data decide the length, through everything that takes them, against ONNX Runtime."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgecv
from edgecv.engine import claims
from edgecv.engine.counted.rules import RULES
from edgecv.engine.counted.size import Count, Size, Unproven, greater, lesser
from edgecv.errors import UnsupportedOperatorError
from edgecv.explain import explain_model
from edgecv.graph.model import OnnxModel
from tests.backends.simd_sessions import Array, opened
from tests.engine.written import network

# Of 8 rows of 6 numbers those whose fifth is over a half: `rows` (n, 6); `i` (n), which they are; `count`
# and `n`, how many, as int64 (1) and ().
FOUND = """
    s = Gather<axis=1>(x, c4)  m = Greater(s, half)  p = NonZero(m)  t = Transpose(p)  rows = GatherND(x, t)
    i = Squeeze(p, i0)  shape = Shape(rows)  count = Slice(shape, i0, i1)  n = Squeeze(count, i0)
"""
WEIGHTS: dict[str, Array] = {
    **{f"i{k}": np.array([k]) for k in range(9)},
    **{f"c{k}": np.array(k) for k in range(9)},
    "last": np.array([-1]),
    "second_last": np.array([-2]),
    "end": np.array([2**62]),
    "start": np.array([-(2**62)]),
    "half": np.array(0.5, np.float32),
    "zero": np.array(0, np.float32),
    "c86": np.array([8, 6]),
    "four": np.array(4, np.float32),
    "image": np.array([1, 2, 4, 6]),
    "zd": np.zeros((1, 1), np.int64),
    "row": np.arange(6, dtype=np.float32)[None],
    "square": np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32),
    "kernel": np.random.default_rng(0).standard_normal((4, 2, 1, 1)).astype(np.float32),
    "yes_no": np.array([0, 1], np.float32),
    "odd": np.array([False, True, False, True, False, True, False, True]),
}
# How many rows the pictures have that the cases are run on.
COUNTS = (3, 0, 8, 1, 5)

CASES: dict[str, tuple[str, str]] = {
    "rows": ("float[n, 6]", "y = Identity(rows)"),
    "columns of coordinates": ("int64[1, n]", "y = NonZero(m)"),
    "of a matrix": ("int64[2, n]", "y = NonZero(x)"),
    "compress": ("float[n, 6]", "y = Compress<axis=0>(x, m)"),
    "of nothing": ("int64[2, n]", "a = Slice(x, i8, end) y = NonZero(a)"),
    "compress less": ("float[8, n]", "f = Slice(odd, i0, i5) y = Compress<axis=1>(x, f)"),
    "compress flat": ("float[n]", "a = Expand(m, i8) y = Compress(x, a)"),
    "compress rows": ("float[n, 6]", """
        a = Gather<axis=1>(rows, c0) b = Greater(a, zero) y = Compress<axis=0>(rows, b)"""),
    "found among the found": ("float[n, 6]", """
        a = Gather<axis=1>(rows, c0) b = Greater(a, zero) c = NonZero(b) d = Squeeze(c, i0)
        y = Gather(rows, d)"""),
    "sigmoid and others": ("float[n, 6]", """
        a = Sigmoid(rows) b = Add(a, row) c = Sub(b, rows) y = Clip(c, zero, half)"""),
    "compared": ("bool[n]", "a = Gather<axis=1>(rows, c0) b = Gather<axis=1>(rows, c1) y = Less(a, b)"),
    "where": ("float[n, 6]", "a = Less(rows, zero) y = Where(a, row, rows)"),
    "remainders": ("int64[n]", "a = Add(i, c1) y = Mod(c7, a)"),
    "quotients": ("int64[n]", "a = Add(i, i1) b = Div(a, a) c = Cast<to=6>(b) y = Cast<to=7>(c)"),
    "labels beside rows": ("float[n, 7]", """
        a = ArgMax<axis=1, keepdims=1>(rows) b = Cast<to=1>(a) y = Concat<axis=1>(rows, b)"""),
    "columns": ("float[n, 2]", "y = Slice(rows, i1, i3, i1)"),
    "first three": ("float[n, 6]", "y = Slice(rows, i0, i3)"),
    "all but the first two": ("float[n, 6]", "y = Slice(rows, i2, end)"),
    "all but the last": ("float[n, 6]", "y = Slice(rows, i0, last)"),
    "as many as rows": ("float[n, 6]", "y = Slice(x, i0, count)"),
    "twice as many at most": ("float[n, 6]", "a = Add(count, count) y = Slice(x, i0, a)"),
    "transposed": ("float[6, n]", "y = Transpose(rows)"),
    "split": ("float[n, 4]", """
        a = Concat<axis=0>(i1, i2, i3) b, c, d = Split<axis=1>(rows, a) y = Concat<axis=1>(d, b)"""),
    "flat": ("float[n]", "y = Reshape(rows, last)"),
    "unsqueezed": ("float[1, n, 6, 1]", "a = Concat<axis=0>(i0, i3) y = Unsqueeze(rows, a)"),
    "flattened": ("float[n, 12]", "a = Concat<axis=1>(rows, rows) b = Unsqueeze(a, i1) y = Flatten(b)"),
    "reshaped by its shape": ("float[n, 2, 3]", "a = Concat<axis=0>(count, i2, i3) y = Reshape(rows, a)"),
    "reshaped by numbers of it": ("float[1, n, 3]", """
        a = Gather(shape, c0) b = Gather(shape, c1) d = Mul(a, b) e = Div(d, c3) f = Unsqueeze(e, i0)
        g = Concat<axis=0>(i1, f, i3) y = Reshape(rows, g)"""),
    "reshaped with zeros": ("float[n, 3, 2]", "a = Concat<axis=0>(i0, i3, i2) y = Reshape(rows, a)"),
    "expanded": ("float[n, 6]", "a = Concat<axis=0>(count, i6) y = Expand(row, a)"),
    "expanded as exporters do": ("float[n, 6]", """
        a = Concat<axis=0>(count, i6) b = ConstantOfShape<value=int64[1] {1}>(i2) c = Mul(b, last)
        d = Equal(a, c) e = Where(d, b, a) y = Expand(row, e)"""),
    "repeated": ("float[n, 6]", "a = Concat<axis=0>(count, i1) y = Tile(row, a)"),
    "tiled": ("float[n, 12]", "a = Concat<axis=0>(i1, i2) y = Tile(rows, a)"),
    "zeros": ("float[n, 2]", "a = Concat<axis=0>(count, i2) y = ConstantOfShape(a)"),
    "zeros added": ("float[n, 6]", "a = ConstantOfShape<value=float[1] {2.5}>(shape) y = Add(rows, a)"),
    "range": ("int64[n]", "y = Range(c0, n, c1)"),
    "range from the count on": ("int64[n]", "a = Add(n, c3) y = Range(n, a, c1)"),
    "how many": ("int64[1]", "y = Add(count, count)"),
    "size": ("int64", "a = Size(rows) y = Sub(a, n)"),
    "whether any": ("bool", "y = Greater(n, c0)"),
    "a share of them": ("float", "a = Cast<to=1>(n) b = Cast<to=1>(c8) y = Div(a, b)"),
    "best three": ("float[n]", """
        a = Gather<axis=1>(rows, c4) k = Min(count, i3) y, j = TopK(a, k)"""),
    "rows of the best three": ("float[n, 6]", """
        a = Gather<axis=1>(rows, c4) b = Concat<axis=0>(i3, count) k = ReduceMin<keepdims=1>(b)
        v, j = TopK<largest=1>(a, k) y = Gather(rows, j)"""),
    "all in order": ("float[n, 6]", "y, j = TopK<axis=0, largest=0>(rows, count)"),
    "numbers in order": ("int64[n]", "a = Mul(i, last) y, j = TopK<axis=0>(a, count)"),
    "best column": ("float[n, 2]", "y, j = TopK(rows, i2)"),
    "last row": ("float[1, 6]", "a = Concat<axis=0>(row, rows) y = Gather(a, last)"),
    "rows from the end": ("float[n, 6]", """
        a = Cast<to=6>(i) b = Neg(a) c = Concat<axis=0>(row, x) y = Gather(c, b)"""),
    "elements": ("float[n, 2]", """
        a = ArgMax<axis=1>(rows) b = Concat<axis=1>(a, a) y = GatherElements<axis=1>(rows, b)"""),
    "in batches": ("float[n]", "a = ArgMax<axis=1>(rows) y = GatherND<batch_dims=1>(rows, a)"),
    "sum": ("float[6]", "y = ReduceSum<keepdims=0>(rows, i0)"),
    "sum of all": ("float", "y = ReduceSum<keepdims=0>(rows)"),
    "mean": ("float[1, 6]", "a = Concat<axis=0>(row, rows) y = ReduceMean(a, i0)"),
    "mean of all": ("float", "a = Concat<axis=0>(row, rows) y = ReduceMean<keepdims=0>(a)"),
    "largest": ("float[1, 6]", "a = Concat<axis=0>(row, rows) y = ReduceMax(a, i0)"),
    "smallest of whole numbers": ("int64[1]", "a = Concat<axis=0>(i, i7) y = ReduceMin(a, i0)"),
    "product": ("float[6]", "y = ReduceProd<keepdims=0>(rows, i0)"),
    "norm": ("float[6]", "y = ReduceL2<keepdims=0>(rows, i0)"),
    "logarithm of sums": ("float[1, 6]", "a = Concat<axis=0>(row, rows) y = ReduceLogSumExp(a, i0)"),
    "of each row": ("float[n]", "y = ReduceMax<keepdims=0>(rows, i1)"),
    "where the largest is": ("int64[6]", "a = Concat<axis=0>(row, rows) y = ArgMax<axis=0, keepdims=0>(a)"),
    "where the smallest is": ("int64[1, 6]", "a = Concat<axis=0>(row, rows) y = ArgMin<axis=0>(a)"),
    "softmax": ("float[n, 6]", "y = Softmax(rows)"),
    "softmax over the rows": ("float[n, 6]", "y = Softmax<axis=0>(rows)"),
    "sums up to each": ("float[n, 6]", "y = CumSum(rows, c0)"),
    "sums from each on": ("float[n, 6]", "y = CumSum<reverse=1>(rows, c0)"),
    "a known row in front": ("float[n, 6]", "y = Concat<axis=0>(row, rows)"),
    "known rows behind": ("float[n, 6]", "y = Concat<axis=0>(rows, row, x)"),
    "several counts": ("float[n, 6]", """
        a = Not(m) b = Compress<axis=0>(x, a) c = Slice(rows, i0, i2) y = Concat<axis=0>(c, b, row, rows)"""),
    "columns after one another": ("float[6, n]", "a = Transpose(rows) y = Concat<axis=1>(a, a)"),
    "padded to eight": ("float[8, 6]", """
        a = Sub(i8, count) b = Concat<axis=0>(i0, i0, a, i0) y = Pad(rows, b)"""),
    "padded to four": ("float[4, 6]", """
        a = Sub(i4, count) b = Concat<axis=0>(i0, i0, a, i0) y = Pad(rows, b, half)"""),
    "padded as exporters do": ("float[1, 8, 6]", """
        a = Sub(c8, n) b = Unsqueeze(a, i0) c = Concat<axis=0>(i0, i0, i0, b)
        d = ConstantOfShape<value=int64[1] {0}>(i0) e = Concat<axis=0>(c, d) f = Concat<axis=0>(last, i2)
        g = Reshape(e, f) h = Slice(g, last, start, i0, last) j = Transpose<perm=[1, 0]>(h)
        k = Reshape(j, last) l = Cast<to=7>(k) o = Pad(rows, l, zero)
        q = Shape(o) r = Gather(q, c1) u = Unsqueeze(r, i0) v = Concat<axis=0>(i1, i8, u)
        w = ConstantOfShape(v)
        z = Shape(o) za = Concat<axis=0>(i1, z) zb = Reshape(o, za) zc = Expand(i0, i1)
        y = ScatterND(w, zd, zb)"""),
    "a border": ("float[n, 8]", "b = Concat<axis=0>(i1, i1, i2, i1) y = Pad(rows, b, half)"),
    "zeros up to eight": ("float[8, 6]", """
        a = Sub(i8, count) b = Concat<axis=0>(a, i6) c = ConstantOfShape(b) y = Concat<axis=0>(rows, c)"""),
    "written at places": ("float[8, 6]", """
        a = ConstantOfShape(c86) b = Concat<axis=0>(last, i1) d = Reshape(i, b) e = Concat<axis=0>(count, i6)
        f = Expand(d, e) y = ScatterElements<axis=0>(a, f, rows)"""),
    "written among the found": ("float[n, 6]", """
        a = Gather<axis=1>(rows, c0) b = Less(a, zero) c = NonZero(b) d = Transpose(c) e = GatherND(rows, d)
        f = Neg(e) y = ScatterND(rows, d, f)"""),
    "written from the end": ("float[8, 6]", """
        a = Neg(i) b = Add(a, last) c = Unsqueeze(b, i1) y = ScatterND<reduction="add">(x, c, rows)"""),
    "regions": ("float[n, 2, 2, 2]", """
        a = Abs(rows) b = Slice(a, i0, i4, i1) e = Mul(b, four) f = Sub(i, i) g = Reshape(x, image)
        y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(g, e, f)"""),
    "one hot": ("float[n, 8]", "y = OneHot(i, i8, yes_no)"),
    "products of rows": ("float[n, 5]", "y = MatMul(rows, square)"),
    "gemm": ("float[n, 5]", "y = Gemm(rows, square)"),
    "convolved": ("float[n, 4, 1, 3]", """
        a = Concat<axis=0>(last, i2, i1, i3) b = Reshape(rows, a) y = Conv(b, kernel)"""),
    "pooled": ("float[n, 2, 1, 1]", """
        a = Concat<axis=0>(last, i2, i1, i3) b = Reshape(rows, a) c = MaxPool<kernel_shape=[1, 2]>(b)
        y = AveragePool<kernel_shape=[1, 2]>(c)"""),
    "a branch": ("float[n, 6]", """
        a = Gather(shape, c1) b = Equal(a, c6)
        y = If(b) <then_branch = g () => (float[n, 6] u) { u = Neg(rows) },
                   else_branch = h () => (float[n, 6] v) { v = Squeeze(rows, i0) }>"""),
    "a branch for no rows": ("float[n, 6]", """
        a = Size(rows) b = Equal(a, c0)
        y = If(b) <then_branch = g () => (float[0, 6] u) { e = Concat<axis=0>(i0, i6)
                       u = ConstantOfShape(e) },
                   else_branch = h () => (float[n, 6] v) {
                       j = Constant<value_ints=[-1, 6]>()
                       c = Gather<axis=1>(rows, c0) d = Greater(c, zero) o = Compress<axis=0>(rows, d)
                       f = Flatten(o) v = Reshape(f, j) }>"""),
    "a branch for rows of two kinds": ("int64[n]", """
        k = Min(count, i3)  a = Slice(rows, i0, k)  b = Slice(rows, i4, end)  c = Concat<axis=0>(a, b)
        d = Shape(c) e = ReduceProd<keepdims=0>(d) f = Equal(e, c0)
        y = If(f) <then_branch = g () => (int64[0] u) { u = Slice(i8, i0, i0) },
                   else_branch = h () => (int64[n] v) { w = ReduceMax<keepdims=0>(c, i1)
                       r = Greater(w, zero) q = NonZero(r) v = Squeeze(q, i0) }>"""),
    "a branch for rows": ("int64[n]", """
        a = Greater(n, c0)
        y = If(a) <then_branch = g () => (int64[n] u) { u = Mul(i, i) },
                   else_branch = h () => (int64[0] v) { v = Slice(i8, i0, i0) }>"""),
}  # fmt: skip


def picture(count: int, seed: int = 0) -> Array:
    """Rows of which so many are found."""
    rng = np.random.default_rng([seed, count])
    x = rng.uniform(-1, 1, (8, 6)).astype(np.float32)
    x[:, 4] = rng.uniform(-1, 0.5, 8)
    x[rng.permutation(8)[:count], 4] = rng.uniform(0.6, 1, count)
    return x


def of_runtime(model: OnnxModel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])


def compare(model: OnnxModel, pictures: list[Any]) -> list[Array]:
    """Raise AssertionError unless a session gives what ONNX Runtime does for each of the inputs, in turn.

    Returns the first output for each.
    """
    truth = of_runtime(model)
    names = [spec.name for spec in model.facts.outputs]
    first: list[Array] = []
    with opened(model) as session:
        for inputs in pictures:
            expected = truth.run(names, inputs)
            first.append(expected[0])
            for name, want in zip(names, expected, strict=True):
                got = session.run(inputs)[name]
                assert (got.dtype, got.shape) == (want.dtype, want.shape), name
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=name)
    return first


@pytest.mark.parametrize("case", CASES)
def test_what_takes_counted_values(case: str) -> None:
    made, body = CASES[case]
    model = network(f"(float[8, 6] x) => ({made} y) {{ {FOUND} {body} }}", **WEIGHTS)
    compare(model, [{"x": picture(count)} for count in COUNTS])


def test_every_rule_is_claimed() -> None:
    assert set(RULES) == set(claims.COUNTED)


def test_every_rule_has_a_case() -> None:
    text = " ".join([FOUND, *(body for _, body in CASES.values())])
    each = {op for op, how in claims.COUNTED.items() if how in (claims.BY_ELEMENT, claims.BY_IMAGE)}
    tried = {op for op in claims.COUNTED if f" {op}(" in text or f" {op}<" in text}
    missing = set(claims.COUNTED) - each - tried
    assert missing == {
        "NonMaxSuppression", "LogSoftmax", "Hardmax", "ReduceL1", "ReduceSumSquare",
        "ReduceLogSum", "MaxRoiPool",
    }  # fmt: skip


REFUSED: dict[str, tuple[str, str]] = {
    "an operator without a rule": ('y = Einsum<equation="ij->ji">(rows)', r"Einsum.*'rows' depends on data"),
    "axes that mix": (
        "a = Transpose(rows) y = Reshape(a, last)",
        r"cannot tell where the elements of \(6, n1\)",
    ),
    "another count": (
        "a = NonZero(x) b = Gather(a, c0) c = Add(i, b) y = Cast<to=1>(c)",
        "Add.*whether n1 and n2 of one axis",
    ),
    "a known size": (
        "a = Gather<axis=1>(x, c0) b = Cast<to=1>(i) y = Add(b, a)",
        "whether 8 and n1 of one axis",
    ),
    "the last rows": ("y = Slice(rows, second_last, end)", "Slice.*from -2 on"),
    "a walk backwards": ("y = Slice(rows, last, start, i0, last)", "Slice.*in steps of -1"),
    "an end that may be below 0": (
        "a = Sub(count, i3) y = Slice(x, i0, a)",
        "whether its end n1 . -3 counts",
    ),
    "a known shape": ("a = Concat<axis=0>(i4, i6) y = Reshape(rows, a)", "where the elements of"),
    "a size that data are": (
        "a = ReduceMax<keepdims=0>(i) b = Unsqueeze(a, i0) c = Concat<axis=0>(b, i6) y = Expand(row, c)",
        "shape depends on data",
    ),
    "an axis that may be of size 1": ("y = Squeeze(rows)", "which axes it takes away"),
    "sums over a count": ("a = Transpose(rows) y = MatMul(a, rows)", "sums over n1"),
    "parts of a count": ("y, z = Split<axis=0, num_outputs=2>(rows)", "where it splits n1"),
    "two counts of one output": ("a = Transpose(rows) y = MatMul(rows, a)", "2 sizes of one output"),
    "a border that repeats": (
        'a = Concat<axis=0>(i1, i0, i1, i0) y = Pad<mode="reflect">(rows, a)',
        "repeats",
    ),
    "a branch that data tell": (
        "a = Greater(n, c3) y = If(a) <then_branch = g () => (float[n, 6] u) { u = Neg(rows) },"
        " else_branch = h () => (float[n, 6] v) { v = Abs(rows) }>",
        "If.*'rows' depends on data",
    ),
    "a branch that gives another thing": (
        "a = Equal(n, c0) y = If(a) <then_branch = g () => (float[0] u) { u = Slice(row1, i0, i0) },"
        " else_branch = h () => (float[6] v) { v = ReduceMax<keepdims=0>(rows, i0) }>",
        "whether its branches agree where n1 is 0",
    ),
    "suppression of so many": (
        "a = Unsqueeze(rows, i0) b = Slice(a, i0, i4, i2) c = Slice(a, i4, i5, i2)"
        " d = Transpose<perm=[0, 2, 1]>(c) e = Sub(count, i1) f = NonMaxSuppression(b, d, e)"
        " y = Cast<to=1>(f)",
        "how many boxes of a class it keeps",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_refused(case: str) -> None:
    body, message = REFUSED[case]
    weights = WEIGHTS | {"row1": np.zeros(1, np.float32)}
    model = network(f"(float[8, 6] x) => (float[a] y) {{ {FOUND} {body} }}", **weights)
    with pytest.raises(UnsupportedOperatorError, match=message) as raised:
        opened(model).__enter__()
    assert raised.value.reason == "data-dependent shape"


def test_a_count_may_be_given_out_twice_and_along_another_axis(tmp_path: Path) -> None:
    body = f"{FOUND} y = Transpose(rows) z = Neg(rows) same = Identity(rows)"
    outputs = "float[6, n] y, float[n, 6] rows, float[n, 6] z, float[n, 6] same"
    model = network(f"(float[8, 6] x) => ({outputs}) {{ {body} }}", **WEIGHTS)
    compare(model, [{"x": picture(count)} for count in COUNTS])
    file = tmp_path / "counted.onnx"
    file.write_bytes(model.data)
    explain_model(str(file), out=tmp_path / "counted.ecv")
    with edgecv.compile(tmp_path / "counted.ecv") as session:
        assert [spec.shape for spec in session.outputs] == [(6, None), *[(None, 6)] * 3]
        for count in COUNTS:
            got = session.run({"x": picture(count)})
            assert [array.shape for array in got.values()] == [(6, count), *[(count, 6)] * 3]
            np.testing.assert_array_equal(got["y"], -got["z"].T)


# ---- Sizes

A, B = (Size(0, ((Count(0, most, index), 1),)) for index, most in ((1, 5), (2, 7)))


def values(size: Size, a: int, b: int) -> int:
    """The number that a size of A and B is where they are these."""
    total = size.constant
    for count, factor in size.terms:
        if count.kind == "found":
            total += factor * (a if count.index == 1 else b)
        else:
            total += factor * {"min": min, "max": max}[count.kind](values(part, a, b) for part in count.of)
    return total


operations = st.lists(
    st.tuples(
        st.sampled_from(["+", "-", "*", "min", "max"]), st.sampled_from([A, B, Size(3), Size(-1), Size(6)])
    ),
    max_size=5,
)


@given(operations, operations, st.integers(0, 5), st.integers(0, 7))
def test_sizes_are_what_they_say(first: Any, second: Any, a: int, b: int) -> None:
    made = []
    for steps in (first, second):
        size, number = A, a
        for op, other in steps:
            if op == "*" and not (size.is_known or other.is_known):
                continue
            by = values(other, a, b)
            size, number = {
                "+": lambda s, o, n, m: (s + o, n + m),
                "-": lambda s, o, n, m: (s - o, n - m),
                "*": lambda s, o, n, m: (s * o, n * m),
                "min": lambda s, o, n, m: (lesser(s, o), min(n, m)),
                "max": lambda s, o, n, m: (greater(s, o), max(n, m)),
            }[op](size, other, number, by)
        assert values(size, a, b) == number
        assert size.least <= number <= size.most
        made.append((size, number))
    (one, x), (two, y) = made
    if one.is_at_most(two):
        assert x <= y
    if one == two:
        assert x == y
    if one.vanishes_with(two) and y == 0:
        assert x == 0
    with suppress(Unproven):
        assert (one // two) * two == one or (one.is_known and two.is_known)

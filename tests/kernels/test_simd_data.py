"""The steps of ext/simd that data direct, against NumPy and ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _isa
from edgecv.errors import BackendError, InputError, ModelFileError
from tests.kernels.simd_program import Program
from tests.kernels.strided_operands import FLOATS, INTEGERS, NAMES

Array = NDArray[Any]
# Baseline code: the same for all ISAs.
ISA = _isa.built()[0]


def reference(op: str, inputs: list[Array], version: int = 18, **attributes: Any) -> list[Array]:
    """What onnx.reference answers."""
    pytest.importorskip("onnx.reference", reason="onnx, whose reference this compares with, is not installed")
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    names = [f"i{k}" for k in range(len(inputs))]
    outputs = ["y", "i"] if op == "TopK" else ["y"]
    node = helper.make_node(op, names, outputs, **attributes)
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, inputs, strict=True)
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
    graph = helper.make_graph([node], "one", values, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True))))


def run(
    op: str, inputs: dict[str, Array], outputs: dict[str, Array], threads: int = 1, **fields: Any
) -> list[Array]:
    """One step; outputs are examples of what it writes."""
    program = Program(ISA)
    places = {name: program.input(array) for name, array in inputs.items()}
    places |= {name: program.output(array.shape, array.dtype) for name, array in outputs.items()}
    program.step(op, **(places | fields))
    return program.run(threads)


# ---- Gather


def index_dtype(rng: np.random.Generator) -> tuple[Any, str]:
    return (np.int32, "i32") if rng.random() < 0.5 else (np.int64, "i64")


@pytest.mark.parametrize("dtype", NAMES)
def test_gather_takes_entries_of_an_axis(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for shape, axis, indices_shape in [
        ((5,), 0, (3,)),
        ((4, 6, 3), 1, (2, 5)),
        ((2, 3, 4), 2, ()),
        ((7, 2), 0, (0,)),
    ]:
        x: Array = rng.integers(0, 2, shape).astype(NAMES[dtype])
        numpy_dtype, name = index_dtype(rng)
        indices = rng.integers(-shape[axis], shape[axis], indices_shape).astype(numpy_dtype)
        (expected,) = reference("Gather", [x, indices], axis=axis)
        fields: dict[str, Any] = {
            "kind": "take",
            "size": x.itemsize,
            "index_dtype": name,
            "outer": int(np.prod(shape[:axis])),
            "axis": shape[axis],
            "inner": int(np.prod(shape[axis + 1 :])),
            "n": indices.size,
        }
        (got,) = run("gather_nd", {"x": x, "indices": indices}, {"y": expected}, **fields)
        np.testing.assert_array_equal(got, expected)


def test_gather_elements() -> None:
    rng = np.random.default_rng(1)
    for shape, axis, y_shape in [
        ((5,), 0, (9,)),
        ((4, 6, 3), 1, (4, 2, 2)),
        ((3, 4), 0, (6, 4)),
        ((2, 3), 1, (2, 0)),
    ]:
        x: Array = rng.standard_normal(shape).astype(np.float32)
        numpy_dtype, name = index_dtype(rng)
        indices = rng.integers(-shape[axis], shape[axis], y_shape).astype(numpy_dtype)
        expected = np.take_along_axis(
            x[tuple(slice(side) for side in _but(y_shape, axis, shape))], indices, axis
        )
        fields: dict[str, Any] = {
            "kind": "elements",
            "size": 4,
            "index_dtype": name,
            "axis": axis,
            "rank": len(shape),
            "x_shape": np.array(shape),
            "y_shape": np.array(y_shape),
        }
        (got,) = run("gather_nd", {"x": x, "indices": indices}, {"y": expected}, **fields)
        np.testing.assert_array_equal(got, expected)


def _but(y_shape: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> list[int]:
    """The sides of y, but along the axis the operand's."""
    return [shape[i] if i == axis else side for i, side in enumerate(y_shape)]


@pytest.mark.parametrize(
    ("shape", "batch_dims", "depth", "n"),
    [
        ((5, 3), 0, 1, 4),
        ((5, 3, 2), 0, 2, 7),
        ((2, 5, 3), 1, 2, 3),
        ((2, 2, 4, 3), 2, 1, 2),
        ((3, 4), 0, 2, 0),
    ],
    ids=str,
)
def test_gather_nd(shape: tuple[int, ...], batch_dims: int, depth: int, n: int) -> None:
    rng = np.random.default_rng(2)
    x: Array = rng.standard_normal(shape).astype(np.float64)
    sides = np.array(shape[batch_dims : batch_dims + depth])
    indices = rng.integers(-sides, sides, (*shape[:batch_dims], n, depth))
    (expected,) = reference("GatherND", [x, indices % sides], batch_dims=batch_dims)
    fields: dict[str, Any] = {
        "kind": "nd",
        "size": 8,
        "index_dtype": "i64",
        "outer": int(np.prod(shape[:batch_dims])),
        "n": n,
        "depth": depth,
        "rank": len(shape) - batch_dims,
        "x_shape": np.array(shape[batch_dims:]),
    }
    (got,) = run("gather_nd", {"x": x, "indices": indices}, {"y": expected}, **fields)
    np.testing.assert_array_equal(got, expected)


# ---- Scatter

REDUCTIONS = ["none", "add", "mul", "max", "min"]
COMBINED = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scattered(x: Array, places: list[tuple[Any, ...]], updates: Array, reduction: str) -> Array:
    """In the order of the updates."""
    y = x.copy()
    with np.errstate(over="ignore"):
        for place, update in zip(places, updates, strict=True):
            y[place] = update if reduction == "none" else COMBINED[reduction](y[place], update)
    return y


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", NAMES)
def test_scatter_elements_and_tuples(dtype: str, reduction: str) -> None:
    rng = np.random.default_rng(3)
    shape = (4, 5, 3)
    x: Array = rng.integers(0, 5, shape).astype(NAMES[dtype])
    sides = (4, 9, 2)
    indices = rng.integers(-5, 5, sides).astype(np.int32)
    updates: Array = rng.integers(0, 3, sides).astype(NAMES[dtype])
    places = [(i, indices[i, j, k], k) for i, j, k in np.ndindex(*sides)]
    common: dict[str, Any] = {"reduction": reduction, "dtype": dtype, "rank": 3, "x_shape": np.array(shape)}
    fields: dict[str, Any] = {
        "kind": "elements",
        "index_dtype": "i32",
        "axis": 1,
        "indices_shape": np.array(sides),
    }
    operands: dict[str, Any] = {"x": x, "indices": indices, "updates": updates}
    (got,) = run("scatter_nd", operands, {"y": x}, **common, **fields)
    np.testing.assert_array_equal(got, scattered(x, places, updates.reshape(-1), reduction))

    for depth in (1, 2, 3):
        tuples = rng.integers(-3, 3, (6, depth))
        rows: Array = rng.integers(0, 3, (6, *shape[depth:])).astype(NAMES[dtype])
        fields = {"kind": "nd", "index_dtype": "i64", "n": 6, "depth": depth}
        operands = {"x": x, "indices": tuples, "updates": rows}
        (got,) = run("scatter_nd", operands, {"y": x}, **common, **fields)
        np.testing.assert_array_equal(got, scattered(x, [tuple(t) for t in tuples], rows, reduction))


def test_scatter_in_place() -> None:
    program = Program(ISA)
    x = program.input(np.arange(4, dtype=np.float32))
    indices, updates = program.constant(np.array([[2], [0]])), program.constant(np.array([9, 8], np.float32))
    y = program.output((4,))
    line: dict[str, Any] = {"rank": 1, "shape": np.array([4]), "strides": np.array([1, 1]), "chunk_outer": 4}
    program.step("copy", x=x, y=y, size=4, **line)
    fields: dict[str, Any] = {
        "kind": "nd",
        "dtype": "f32",
        "index_dtype": "i64",
        "n": 2,
        "depth": 1,
        "rank": 1,
    }
    program.step("scatter_nd", x=y, indices=indices, updates=updates, y=y, x_shape=np.array([4]), **fields)
    np.testing.assert_array_equal(program.run()[0], [8, 1, 9, 3])


@pytest.mark.parametrize("index", [4, -5, 2**31, -(2**63)])
def test_an_index_outside_is_an_error(index: int) -> None:
    x = np.zeros((4, 3), np.float32)
    wide = np.array([[0], [index]])
    shapes: dict[str, Any] = {"rank": 2, "x_shape": np.array([4, 3]), "index_dtype": "i64"}
    gathers: list[tuple[dict[str, Any], Array]] = [
        ({"kind": "take", "outer": 1, "axis": 4, "inner": 3, "n": 2}, np.zeros((2, 3), np.float32)),
        ({"kind": "elements", "axis": 0, "y_shape": np.array([2, 1])}, np.zeros((2, 1), np.float32)),
        ({"kind": "nd", "outer": 1, "n": 2, "depth": 1}, np.zeros((2, 3), np.float32)),
    ]
    for fields, y in gathers:
        with pytest.raises(InputError, match="index lies outside"):
            run("gather_nd", {"x": x, "indices": wide}, {"y": y}, size=4, **shapes, **fields)
    operands: dict[str, Any] = {"x": x, "indices": wide, "updates": np.zeros((2, 3), np.float32)}
    scatters: list[dict[str, Any]] = [
        {"kind": "elements", "axis": 0, "indices_shape": np.array([2, 1])},
        {"kind": "nd", "n": 2, "depth": 1},
    ]
    for fields in scatters:
        with pytest.raises(InputError, match="index lies outside"):
            run("scatter_nd", operands, {"y": x}, dtype="f32", **shapes, **fields)
    with pytest.raises(InputError, match="index lies outside"):
        run("unpool", {"x": x[:2, :1], "indices": wide}, {"y": x[:, 0]}, n=2, y_n=4)


# ---- TopK


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("largest", [0, 1])
def test_topk(dtype: str, largest: int) -> None:
    """Of equals the first; NaN above all, as NumPy sorts."""
    rng = np.random.default_rng(4)
    for outer, n, k in [(1, 1, 1), (3, 10, 4), (2, 700, 700), (4, 300, 7), (2, 5, 0), (0, 5, 2)]:
        x: Array = rng.integers(-3 if dtype[0] != "u" else 0, 4, (outer, n)).astype(NAMES[dtype])
        if dtype in FLOATS and x.size:
            x.reshape(-1)[rng.integers(0, x.size, n // 10)] = np.nan
            x[x == 0] *= -1  # of 0 and -0, both
        else:
            x.reshape(-1)[: n // 4] = np.iinfo(NAMES[dtype]).max if dtype not in FLOATS else 1
        order = np.argsort(-x.astype(object) if largest and dtype not in FLOATS else x, axis=1, kind="stable")
        if largest and dtype in FLOATS:
            keys = np.where(np.isnan(x), -np.inf, -x)
            order = np.argsort(keys, axis=1, kind="stable")
        indices = order[:, :k].astype(np.int64)
        values = np.take_along_axis(x, indices, 1)
        got = run(
            "topk",
            {"x": x},
            {"values": values, "indices": indices},
            threads=2,
            dtype=dtype,
            outer=outer,
            n=n,
            k=k,
            largest=largest,
            sorted=1,
        )
        np.testing.assert_array_equal(got[1], indices)
        np.testing.assert_array_equal(got[0], values)


@pytest.mark.parametrize("largest", [0, 1])
def test_topk_as_onnx_has_it(largest: int) -> None:
    x = np.random.default_rng(5).integers(0, 9, (6, 40)).astype(np.float32)
    values, indices = reference("TopK", [x, np.array([7])], largest=largest)
    got = run(
        "topk",
        {"x": x},
        {"values": values, "indices": indices},
        dtype="f32",
        outer=6,
        n=40,
        k=7,
        largest=largest,
        sorted=1,
    )
    np.testing.assert_array_equal(got[0], values)
    np.testing.assert_array_equal(got[1], indices)


# ---- NonMaxSuppression


def nms(
    boxes: Array, scores: Array, most: int, iou: float, score: float | None, center: int, capacity: int
) -> Array:
    batches, classes, n = scores.shape
    fields: dict[str, Any] = {
        "batches": batches,
        "classes": classes,
        "n": n,
        "most": most,
        "capacity": capacity,
    }
    fields |= {"iou": iou, "score": score or 0.0, "has_score": int(score is not None), "center": center}
    outputs = {"y": np.zeros((capacity, 3), np.int64), "count": np.zeros(1, np.int64)}
    y, count = run("nms", {"boxes": boxes, "scores": scores}, outputs, **fields)
    assert not y[count[0] :].any()
    return y[: count[0]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("center", [0, 1])
def test_nms_as_onnx_has_it(seed: int, center: int) -> None:
    rng = np.random.default_rng(seed)
    batches, classes, n = (int(side) for side in rng.integers(1, (3, 4, 60)))
    places = rng.integers(0, 12, (batches, n, 2))
    sizes = rng.integers(0 if seed % 3 else -4, 9, (batches, n, 2))
    # Corners that face each other, in any order; of centers, sides that may be empty.
    boxes = np.concatenate([places, sizes if center else places + sizes], -1).astype(np.float32)
    scores = (rng.integers(0, 12, (batches, classes, n)) / 12).astype(np.float32)
    for most, iou, score in [
        (3, 0.5, 0.4),
        (100, 0.25, None),
        (100, 0.0, 0.0),
        (0, 0.5, 0.1),
        (5, 1.0, None),
    ]:
        thresholds = [np.array([most]), np.array([iou], np.float32)]
        thresholds += [] if score is None else [np.array([score], np.float32)]
        (expected,) = reference("NonMaxSuppression", [boxes, scores, *thresholds], center_point_box=center)
        capacity = batches * classes * min(n, most)
        got = nms(boxes, scores, most, iou, score, center, capacity)
        np.testing.assert_array_equal(got, expected.reshape(-1, 3))


def test_nms_without_room_is_an_error() -> None:
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.5, 0.6]]], np.float32)
    np.testing.assert_array_equal(nms(boxes, scores, 2, 0.5, None, 0, 2), [[0, 0, 1], [0, 0, 0]])
    with pytest.raises(BackendError, match="room"):
        nms(boxes, scores, 2, 0.5, None, 0, 1)


def test_nms_never_takes_a_score_that_is_nan() -> None:
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 6, 6], [8, 8, 9, 9]]], np.float32)
    scores = np.array([[[np.nan, 0.6, np.inf]]], np.float32)
    for score in (None, 0.1):
        np.testing.assert_array_equal(nms(boxes, scores, 3, 0.5, score, 0, 3), [[0, 0, 2], [0, 0, 1]])


# ---- NonZero


def nonzero(x: Array, capacity: int) -> Array:
    fields: dict[str, Any] = {"rank": x.ndim, "shape": np.array(x.shape), "capacity": capacity}
    outputs = {"y": np.zeros((x.ndim, capacity), np.int64), "count": np.zeros(1, np.int64)}
    y, count = run("nonzero", {"x": x}, outputs, **fields)
    assert not y[:, count[0] :].any()
    return y[:, : count[0]]


@pytest.mark.parametrize(
    "shape", [(1,), (7,), (8,), (9,), (41,), (3, 0), (4, 5), (3, 8, 7), (2, 1, 3, 5, 2)], ids=str
)
def test_nonzero(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    for share in (0.0, 0.1, 0.5, 1.0):
        x = rng.random(shape) < share
        expected = np.array(np.nonzero(x))
        for capacity in (expected.shape[1], x.size):
            np.testing.assert_array_equal(nonzero(x, capacity), expected)


def test_nonzero_without_room_is_an_error() -> None:
    with pytest.raises(BackendError, match="room"):
        nonzero(np.array([True, False, True]), 1)


# ---- Unpooling, normalization, sums


def test_unpool() -> None:
    x = np.array([1, 2, 3, 4], np.float32)
    (got,) = run(
        "unpool", {"x": x, "indices": np.array([5, 0, 3, 5])}, {"y": np.zeros(7, np.float32)}, n=4, y_n=7
    )
    np.testing.assert_array_equal(got, [2, 0, 0, 3, 0, 4, 0])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.6])
def test_lrn(size: int, beta: float) -> None:
    """By its definition: onnx.reference walks over batches where it means channels."""
    rng = np.random.default_rng(6)
    for outer, channels, inner in [(1, 3, 5), (2, 7, 520), (3, 1, 2)]:
        x: Array = rng.normal(0, 3, (outer, channels, inner)).astype(np.float32)
        squares = x.astype(float) ** 2
        sums = np.stack(
            [squares[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1].sum(1) for c in range(channels)], 1
        )
        expected = x / (1.5 + 0.3 / size * sums) ** beta
        fields: dict[str, Any] = {"outer": outer, "channels": channels, "inner": inner, "size": size}
        (got,) = run("lrn", {"x": x}, {"y": x}, threads=2, alpha=0.3, beta=beta, bias=1.5, **fields)
        np.testing.assert_allclose(got, expected, rtol=3e-6)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64", "u32", "u64"])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumsum(dtype: str, exclusive: int, reverse: int) -> None:
    rng = np.random.default_rng(7)
    for shape in [(3, 5, 4), (2, 6, 1), (1, 1, 3), (2, 0, 3)]:
        x: Array = rng.integers(0, 2**31 if dtype[0] != "f" else 9, shape).astype(NAMES[dtype])
        (expected,) = reference("CumSum", [x, np.array(1)], exclusive=exclusive, reverse=reverse)
        fields: dict[str, Any] = {
            "outer": shape[0],
            "n": shape[1],
            "inner": shape[2],
            "exclusive": exclusive,
            "reverse": reverse,
        }
        (got,) = run("cumsum", {"x": x}, {"y": x}, dtype=dtype, **fields)
        np.testing.assert_array_equal(got, expected)


# ---- Programs that are not sound

HUGE = 2**62
SOUND: dict[str, dict[str, Any]] = {
    "gather_nd": {"kind": "take", "size": 4, "index_dtype": "i64", "outer": 1, "axis": 8, "inner": 1, "n": 8},
    "scatter_nd": {"kind": "nd", "dtype": "f32", "index_dtype": "i64", "n": 8, "depth": 1, "rank": 1},
    "topk": {"dtype": "f32", "outer": 1, "n": 8, "k": 4, "largest": 1},
    "nms": {"batches": 1, "classes": 1, "n": 2, "most": 1, "capacity": 1},
    "nonzero": {"rank": 1, "shape": np.array([32]), "capacity": 8},
    "unpool": {"n": 8, "y_n": 8},
    "lrn": {"outer": 2, "channels": 2, "inner": 2, "size": 3},
    "cumsum": {"dtype": "f32", "outer": 2, "n": 2, "inner": 2},
}
UNSOUND: list[tuple[str, dict[str, Any]]] = [
    ("gather_nd", {"kind": 3}),
    ("gather_nd", {"size": 3}),
    ("gather_nd", {"index_dtype": "f32"}),
    ("gather_nd", {"outer": -1}),
    ("gather_nd", {"outer": 2}),
    ("gather_nd", {"axis": 9}),
    ("gather_nd", {"inner": HUGE, "n": 0, "axis": 0, "outer": HUGE}),
    ("gather_nd", {"n": 9}),
    ("gather_nd", {"kind": "elements", "rank": 1}),
    ("gather_nd", {"kind": "elements", "rank": 0, "x_shape": np.array([8]), "y_shape": np.array([8])}),
    (
        "gather_nd",
        {"kind": "elements", "rank": 1, "axis": 1, "x_shape": np.array([8]), "y_shape": np.array([8])},
    ),
    (
        "gather_nd",
        {"kind": "elements", "rank": 2, "axis": 0, "x_shape": np.array([8, 1]), "y_shape": np.array([4, 2])},
    ),
    ("gather_nd", {"kind": "nd", "rank": 1, "depth": 2, "x_shape": np.array([8])}),
    ("gather_nd", {"kind": "nd", "rank": 1, "depth": 0, "x_shape": np.array([8])}),
    ("gather_nd", {"kind": "nd", "rank": 3, "depth": 2, "x_shape": np.array([2**40, 2**40, 0])}),
    ("scatter_nd", {"kind": "take"}),
    ("scatter_nd", {"reduction": 5}),
    ("scatter_nd", {"dtype": 12}),
    ("scatter_nd", {"index_dtype": "u64"}),
    ("scatter_nd", {"n": 9}),
    ("scatter_nd", {"n": HUGE}),
    ("scatter_nd", {"x_shape": np.array([9])}),
    ("scatter_nd", {"x_shape": np.array([-8])}),
    ("scatter_nd", {"rank": 9}),
    ("topk", {"dtype": 12}),
    ("topk", {"k": 9}),
    ("topk", {"k": -1}),
    ("topk", {"outer": 3}),
    ("topk", {"outer": HUGE}),
    ("nms", {"n": 3}),
    ("nms", {"most": -1}),
    ("nms", {"capacity": 9}),
    ("nms", {"batches": HUGE}),
    ("nms", {"classes": -1}),
    ("nonzero", {"rank": 0}),
    ("nonzero", {"rank": 9}),
    ("nonzero", {"shape": np.array([33])}),
    ("nonzero", {"shape": np.array([-1])}),
    ("nonzero", {"rank": 3, "shape": np.array([2**40, 2**40, 0])}),
    ("nonzero", {"capacity": 9}),
    ("nonzero", {"capacity": -1}),
    ("nonzero", {"capacity": HUGE}),
    ("unpool", {"n": 9}),
    ("unpool", {"y_n": 9}),
    ("unpool", {"y_n": -1}),
    ("lrn", {"size": 0}),
    ("lrn", {"inner": 3}),
    ("lrn", {"channels": -2, "outer": -1}),
    ("cumsum", {"dtype": "f16"}),
    ("cumsum", {"dtype": 99}),
    ("cumsum", {"n": 3}),
]


def unsound_program(op: str, change: dict[str, Any]) -> Program:
    program = Program(ISA)
    x = program.input(np.zeros(8, np.float32))
    indices = program.input(np.zeros(8, np.int64))
    y, wide = program.output((8,)), program.output((8,), np.int64)
    fields: dict[str, Any] = {"x": x, "indices": indices, "y": y, "updates": x, "x_shape": np.array([8])}
    if op == "topk":
        fields = {"x": x, "values": y, "indices": wide}
    elif op == "nms":
        fields = {"boxes": x, "scores": x, "y": wide, "count": wide}
    elif op == "nonzero":
        fields = {"x": x, "y": wide, "count": wide}
    elif op in ("lrn", "cumsum"):
        fields = {"x": x, "y": y}
    elif op == "unpool":
        fields = {"x": x, "indices": indices, "y": y}
    elif op == "gather_nd":
        fields.pop("updates")
    program.step(op, **(fields | SOUND[op] | change))
    return program


@pytest.mark.parametrize("op", SOUND)
def test_the_sound_steps_are_sound(op: str) -> None:
    unsound_program(op, {}).plan()


@pytest.mark.parametrize(("op", "change"), UNSOUND, ids=str)
def test_unsound_steps_are_refused(op: str, change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="step 0"):
        unsound_program(op, change).plan()


@pytest.mark.parametrize("op", ["lrn", "cumsum"])
def test_a_step_that_reads_what_it_wrote_is_refused(op: str) -> None:
    program = Program(ISA)
    y = program.output((8,))
    program.step(op, x=y, y=y, **SOUND[op])
    with pytest.raises(ModelFileError, match="reads what it writes"):
        program.plan()

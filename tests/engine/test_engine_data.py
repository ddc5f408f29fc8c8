"""Gathering, scattering and finding at places that the run tells, against onnx.reference, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import _simd
from edgecv.engine.compile import compile_model
from edgecv.errors import InputError
from tests.engine.one_node import ISAS, check, model_of, random, run


def indices(shape: tuple[int, ...], size: int, dtype: Any = np.int64) -> np.ndarray:
    """Places along an axis, from both of its ends."""
    return np.random.default_rng(3).integers(-size, size, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(axis: int, dtype: Any) -> None:
    x = random(4, 5, 6, dtype=dtype)
    check("Gather", {"x": x, "i": indices((2, 3), x.shape[axis])}, axis=axis)
    check("Gather", {"x": x, "i": indices((), x.shape[axis], np.int32)}, axis=axis)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(axis: int) -> None:
    x = random(4, 5, 6)
    shape = [4, 5, 6]
    shape[axis] = 7
    places = indices(tuple(shape), x.shape[axis])
    expected = np.take_along_axis(x, places, axis)
    check("GatherElements", {"x": x, "i": places}, expected=[expected], axis=axis)


@pytest.mark.parametrize(
    ("shape", "places", "batch"),
    [((4, 5), (3, 2), 0), ((4, 5, 6), (2, 3, 1), 0), ((2, 4, 5), (2, 3, 2), 1), ((2, 4, 5, 3), (2, 1), 1)],
    ids=str,
)
def test_gather_nd(shape: tuple[int, ...], places: tuple[int, ...], batch: int) -> None:
    check("GatherND", {"x": random(*shape), "i": indices(places, 4)}, batch_dims=batch)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_elements(axis: int, reduction: str) -> None:
    x = random(5, 6)
    # Where nothing is added, no place is written twice.
    places = (
        np.argsort(random(5, 6, seed=4), axis)[:3, :4] if axis == 0 else np.argsort(random(5, 6), 1)[:, :4]
    )
    feeds = {"x": x, "i": places.astype(np.int64), "u": random(*places.shape, seed=1)}
    check("ScatterElements", feeds, axis=axis, reduction=reduction)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(reduction: str) -> None:
    feeds = {"x": random(4, 5, 3), "i": np.array([[0, 1], [3, 4], [-1, 0]]), "u": random(3, 3, seed=1)}
    check("ScatterND", feeds, reduction=reduction)


def test_an_index_outside_ends_the_run() -> None:
    x, places = random(4, 5), np.array([0, 3])
    model, _ = model_of("Gather", {"x": x, "i": places})
    compiled = compile_model(model, {"x": (4, 5), "i": (2,)}, isa=ISAS[0])
    with pytest.raises(InputError, match="an index lies outside"):
        run(compiled, {"x": x, "i": places + 1})


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    places = np.array([[1, -2, 9], [0, 3, -7]])
    feeds = {"i": places}
    operands = {"depth": np.array(5), "values": np.array([2, 7], np.float32)}
    check("OneHot", feeds, operands, axis=axis)


@pytest.mark.parametrize("k", [-2, 0, 1, 5])
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles(upper: int, k: int) -> None:
    check("Trilu", {"x": random(2, 4, 5)}, {"k": np.array(k)}, upper=upper)


def test_eye() -> None:
    check("EyeLike", {"x": random(3, 5)}, k=1, dtype=6)


@pytest.mark.parametrize("center", [0, 1])
def test_non_max_suppression(center: int) -> None:
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 1, (2, 30, 2))
    sides = rng.uniform(0.05, 0.5, (2, 30, 2))
    boxes = np.concatenate([corner, sides if center else corner + sides], 2).astype(np.float32)
    scores = rng.uniform(0, 1, (2, 3, 30)).astype(np.float32)
    operands = {
        "most": np.array([6]),
        "iou": np.array([0.4], np.float32),
        "score": np.array([0.3], np.float32),
    }
    check("NonMaxSuppression", {"boxes": boxes, "scores": scores}, operands, center_point_box=center)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint64, np.bool_])
def test_nonzero(dtype: Any) -> None:
    x = np.array([[0, 1, 0, 2], [-0.0, 0, 3, 0]]).astype(dtype)
    if x.dtype.kind == "f":
        x[1, 3] = np.nan
        x[1, 1] = np.finfo(dtype).tiny
    check("NonZero", {"x": x})
    check("NonZero", {"x": np.zeros((3, 2), dtype)})


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_compress(axis: int | None) -> None:
    flags = np.array([False, True, True])
    check("Compress", {"x": random(4, 5), "flags": flags}, **({} if axis is None else {"axis": axis}))


def test_every_kind_of_gather_and_scatter_has_a_test() -> None:
    assert _simd.CHOICES["gather_kind"] == ("take", "elements", "nd")
    assert _simd.CHOICES["scatter_reduction"] == ("none", "add", "mul", "max", "min")

"""Resize in every mode against onnx.reference, and the tables it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.engine.interpolation import Axis, Rules, taps_of
from tests.engine.one_node import check, random, steps

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SCALES = {"up": (2.0, 2.0), "down": (0.6, 0.5), "both": (1.7, 0.8), "rows": (3.0, 1.0)}


def scales_of(rank: int, pixels: tuple[float, ...]) -> dict[str, Any]:
    """The constant operands of a Resize by scales."""
    scales = np.array((1.0,) * (rank - len(pixels)) + pixels, np.float32)
    return {"roi": None, "scales": scales}


def sizes_of(*sizes: int) -> dict[str, Any]:
    """The constant operands of a Resize to sizes."""
    return {"roi": None, "scales": None, "sizes": np.array(sizes, np.int64)}


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_weighted(coordinates: str, mode: str, scales: tuple[float, float]) -> None:
    check(
        "Resize",
        {"x": random(1, 5, 6, 8)},
        scales_of(4, scales),
        mode=mode,
        coordinate_transformation_mode=coordinates,
    )


@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates: str, nearest: str) -> None:
    for scales in SCALES.values():
        check(
            "Resize",
            {"x": random(1, 3, 6, 8)},
            scales_of(4, scales),
            mode="nearest",
            nearest_mode=nearest,
            coordinate_transformation_mode=coordinates,
        )


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1},
        {"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "linear", "exclude_outside": 1},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
    ],
    ids=lambda attributes: " ".join(f"{k}={v}" for k, v in attributes.items()),
)
def test_filters(attributes: dict[str, Any]) -> None:
    check("Resize", {"x": random(1, 4, 11, 9)}, scales_of(4, (0.45, 0.7)), tolerance=8e-6, **attributes)
    check("Resize", {"x": random(1, 4, 5, 6)}, sizes_of(1, 4, 9, 3), tolerance=8e-6, **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_part_of_the_picture(mode: str) -> None:
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    for start, end in ((0.4, 0.8), (-0.3, 1.2)):
        roi = np.array([0, 0, start, start, 1, 1, end, end], np.float32)
        operands = {"roi": roi, "scales": None, "sizes": np.array([1, 2, 5, 3])}
        check("Resize", {"x": random(1, 2, 6, 7)}, operands, mode=mode, **crop)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_policies(policy: str) -> None:
    check(
        "Resize",
        {"x": random(1, 3, 6, 9)},
        {"roi": None, "scales": None, "sizes": np.array([13, 11])},
        axes=[2, 3],
        mode="linear",
        keep_aspect_ratio_policy=policy,
    )


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((7,), (12,)),
        ((5, 6), (9, 4)),
        ((2, 3, 8), (2, 3, 5)),
        ((2, 3, 4, 5), (3, 5, 6, 4)),
        ((1, 4, 3, 5, 6), (1, 4, 5, 7, 3)),
        ((2, 6, 4, 5), (2, 3, 4, 5)),
    ],
    ids=str,
)
def test_any_axes(shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    for mode in ("linear", "nearest"):
        check("Resize", {"x": random(*shape)}, sizes_of(*sizes), mode=mode)


def test_blocks_are_resized_in_one_step() -> None:
    operands = scales_of(4, (2.0, 2.0))
    programs = check("Resize", {"x": random(1, 20, 6, 7)}, operands, blocked=True, mode="nearest")
    for isa, compiled in programs.items():
        assert steps(compiled)[-2:] == ["resize", "planes"], isa


@given(
    size=st.integers(1, 12),
    made=st.integers(1, 24),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    coordinates=st.sampled_from(COORDINATES),
    antialias=st.booleans(),
    exclude=st.booleans(),
)
def test_tables_are_means_of_what_there_is(
    size: int, made: int, mode: str, coordinates: str, antialias: bool, exclude: bool
) -> None:
    rules = Rules(mode, coordinates, antialias=antialias, exclude_outside=exclude)
    taps = taps_of(Axis(size, made, made / size), rules)
    assert taps.index.dtype == np.int32
    assert taps.index.shape == taps.weight.shape
    assert taps.index.min() >= 0
    assert taps.index.max() < size
    np.testing.assert_allclose(taps.weight.sum(1, dtype=np.float64), 1, atol=1e-6)
    assert not taps.outside.any()


@given(size=st.integers(1, 40), mode=st.sampled_from(["nearest", "linear", "cubic"]))
def test_the_same_size_is_a_copy(size: int, mode: str) -> None:
    assert taps_of(Axis(size, size, 1.0), Rules(mode)).copies(size)

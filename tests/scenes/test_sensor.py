"""Faults of a camera do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.scenes import degrade

GRAY = np.full((200, 220, 3), 120, np.uint8)


def linear(code: np.ndarray) -> np.ndarray:
    share = code / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def test_nothing_asked_for_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    result = degrade(image)
    np.testing.assert_array_equal(result, image)
    assert result is not image


@pytest.mark.parametrize("sigma", [3.0, 12.0, 25.0])
def test_noise_has_its_sigma(sigma: float) -> None:
    noisy = degrade(GRAY, noise=sigma, seed=3).astype(float) - 120
    assert noisy.std() == pytest.approx(sigma, rel=0.03)
    assert abs(noisy.mean()) < sigma / 50
    # Independent between neighbors and channels.
    assert abs(np.corrcoef(noisy[:, 1:].ravel(), noisy[:, :-1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 2].ravel())[0, 1]) < 0.02


def test_noise_is_decided_by_its_seed() -> None:
    first = degrade(GRAY, noise=5, seed=1)
    np.testing.assert_array_equal(first, degrade(GRAY, noise=5, seed=1))
    assert (first != degrade(GRAY, noise=5, seed=2)).any()


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_blur_spreads_a_point_by_its_sigma(sigma: float) -> None:
    image = np.zeros((61, 61, 3), np.uint8)
    image[26:35, 26:35] = 250
    before, after = (i[..., 0].astype(float) for i in (image, degrade(image, blur=sigma)))
    offset = np.arange(61) - 30

    def variance(values: np.ndarray) -> float:
        return float((values.sum(axis=0) * offset**2).sum() / values.sum())

    assert variance(after) - variance(before) == pytest.approx(sigma**2, rel=0.08)
    assert after.sum() == pytest.approx(before.sum(), rel=0.02)


@pytest.mark.parametrize("gain", [0.1, 0.4, 1.0, 1.7])
def test_gain_scales_linear_light(gain: float) -> None:
    image = np.full((4, 4, 3), 0, np.uint8) + np.arange(60, 76, dtype=np.uint8).reshape(4, 4, 1)
    ratio = linear(degrade(image, gain=gain)) / linear(image)
    np.testing.assert_allclose(ratio, gain, rtol=0.06)


def test_gain_saturates() -> None:
    assert (degrade(GRAY, gain=16) == 255).all()
    assert (degrade(GRAY, gain=0) == 0).all()


WRONG: dict[str, tuple[Any, dict[str, float], str]] = {
    "gray": (np.zeros((4, 4), np.uint8), {}, r"image: expected uint8 \(H, W, 3\)"),
    "float": (np.zeros((4, 4, 3)), {}, "image: .*float64"),
    "no array": ([1, 2], {}, "image: .*list"),
    "empty": (np.zeros((0, 4, 3), np.uint8), {}, "image: expected at least one pixel"),
    "noise": (GRAY, {"noise": -1}, "noise: expected a number from 0 to 255"),
    "blur": (GRAY, {"blur": float("nan")}, "blur: "),
    "gain": (GRAY, {"gain": -0.1}, "gain: "),
    "seed": (GRAY, {"seed": -1}, "seed: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name: str) -> None:
    image, options, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        degrade(image, **options)  # type: ignore[arg-type]

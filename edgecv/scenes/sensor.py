"""From scene radiance to the bytes of a camera, and the faults that robustness is measured with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.media._cv2 import require_cv2
from edgecv.scenes.world import check_range, check_seed, stream

Array = NDArray[np.float32]
Image = NDArray[np.uint8]
_STEPS = 4096
# What `degrade` takes: gray levels, pixels, a factor.
NOISE, BLUR, GAIN = (0, 255), (0, 50), (0, 16)


@dataclass(frozen=True)
class Sensor:
    """One camera's settings.

    exposure: factor on linear light. balance: BGR factors. vignette: light lost in the corners, 0 to 1.
    blur_px: sigma of the defocus. motion_px, motion_angle: length and direction of the smear, radians.
    noise, shot: standard deviations of read noise, and of shot noise at full scale, as shares of full
    scale. sharpen: amount of unsharp masking. jpeg: quality, or None for no compression.
    """

    exposure: float = 1.0
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.0
    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_angle: float = 0.0
    noise: float = 0.0
    shot: float = 0.0
    sharpen: float = 0.0
    jpeg: int | None = None


def make_sensor(rng: np.random.Generator, radiance: Array, smallest_px: float, *, ideal: bool) -> Sensor:
    """Settings for a picture like this linear one. smallest_px: of the parts; blur keeps well below."""
    target = float(np.exp(rng.uniform(np.log(0.07), np.log(0.36))))
    ceiling = float(np.exp(rng.uniform(np.log(0.75), np.log(3.0))))
    levels = radiance[::4, ::4].mean(axis=2)
    # Metering that spares the highlights, as far as the picture stays visible.
    exposure = min(
        target / max(float(np.median(levels)), 1e-4), ceiling / max(float(np.quantile(levels, 0.97)), 1e-4)
    )
    exposure = max(exposure, 0.035 / max(float(np.median(levels)), 1e-4))
    warm = float(rng.normal(0, 0.07))
    balance = (1 - warm, 1 + float(rng.normal(0, 0.02)), 1 + warm)
    vignette = float(rng.uniform(0, 0.45))
    blur = float(min(rng.gamma(2.0, 0.28), smallest_px / 16))
    motion = float(rng.uniform(1, 5)) if rng.random() < 0.15 else 0.0
    motion_angle = float(rng.uniform(0, np.pi))
    noise = float(rng.gamma(2.0, 0.0016))
    shot = float(rng.gamma(2.0, 0.006))
    sharpen = float(rng.uniform(0.15, 0.6)) if rng.random() < 0.4 else 0.0
    jpeg = int(rng.integers(55, 95)) if rng.random() < 0.3 else None
    if ideal:
        return Sensor(exposure, balance)
    return Sensor(
        exposure,
        balance,
        vignette,
        blur,
        min(motion, smallest_px / 8),
        motion_angle,
        noise,
        shot,
        sharpen,
        jpeg,
    )


def expose(radiance: Array, sensor: Sensor, rng: np.random.Generator) -> Image:
    """radiance: linear BGR, float32 (H, W, 3). Returns uint8 (H, W, 3), sRGB. rng: for the noise."""
    cv2 = require_cv2()
    height, width = radiance.shape[:2]
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / width * 2 - 1
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / height * 2 - 1
    gain = np.float32(sensor.exposure) * (1 - np.float32(sensor.vignette / 2) * (x * x + (y * y)[:, None]))
    light = radiance * cv2.merge([gain * np.float32(share) for share in sensor.balance])
    if sensor.blur_px > 0.15:
        light = cv2.GaussianBlur(light, (0, 0), sensor.blur_px)
    if sensor.motion_px > 1:
        light = cv2.filter2D(light, -1, _smear(sensor.motion_px, sensor.motion_angle))
    if sensor.noise or sensor.shot:
        level = np.sqrt(np.maximum(light, 0) * np.float32(sensor.shot**2) + np.float32(sensor.noise**2))
        light += level * _grain(light.shape, rng)
    if sensor.sharpen:
        # A camera sharpens what its converter clipped; unclipped highlights would get black rims.
        np.minimum(light, np.float32(1.3), out=light)
        light += np.float32(sensor.sharpen) * (light - cv2.GaussianBlur(light, (0, 0), 1.0))
    light *= np.float32(_STEPS / 4)
    index = np.clip(light, np.float32(0), np.float32(_STEPS - 1), out=light).astype(np.intp)
    image: Image = np.take(_tone_curve(), index)
    if sensor.jpeg is not None:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


@lru_cache(maxsize=1)
def _grain_pool() -> Array:
    return np.random.Generator(np.random.PCG64(3)).standard_normal(1 << 21, dtype=np.float32)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Normal noise: a random stretch of a constant pool, or drawn anew where the pool is too short."""
    count = int(np.prod(shape))
    room = len(_grain_pool()) - count
    if room < 1 << 18:
        return rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(room))
    return _grain_pool()[start : start + count].reshape(shape)


@lru_cache(maxsize=1)
def _tone_curve() -> Image:
    """Linear light 0 to 4 in _STEPS steps to sRGB codes, with a shoulder above 0.7 (IEC 61966-2-1 below)."""
    x = (np.arange(_STEPS) + 0.5) * (4 / _STEPS)
    x = np.where(x < 0.7, x, 0.7 + 0.3 * np.tanh((x - 0.7) / 0.55))
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    result: Image = np.clip(np.rint(srgb * 255), 0, 255).astype(np.uint8)
    return result


def _smear(length: float, angle: float) -> Array:
    cv2 = require_cv2()
    side = 2 * int(np.ceil(length / 2)) + 3
    kernel = np.zeros((side, side), np.float32)
    middle, reach = (side - 1) / 2, (length - 1) / 2
    ends = [
        (int((middle + t * reach * np.cos(angle)) * 256), int((middle + t * reach * np.sin(angle)) * 256))
        for t in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 8)
    kernel /= kernel.sum()
    return kernel


def degrade(
    image: Image, *, noise: float = 0.0, blur: float = 0.0, gain: float = 1.0, seed: int = 0
) -> Image:
    """A picture as a worse camera or worse light would give it. The image itself is left alone.

    image: uint8 (H, W, 3) BGR, sRGB. blur: sigma of a Gaussian, pixels, 0 to 50. gain: factor on linear
    light, 0 to 16: below 1 is darker. noise: sigma of independent Gaussian noise, gray levels, 0 to 255,
    added last. seed: of the noise. Raises InputError for anything else.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image: expected uint8 (H, W, 3) BGR, got {got}")
    if not image.size:
        raise InputError(f"image: expected at least one pixel, got shape {image.shape}")
    check_range("noise", noise, *NOISE)
    check_range("blur", blur, *BLUR)
    check_range("gain", gain, *GAIN)
    check_seed(seed)
    result = image.astype(np.float32)
    if blur:
        result = require_cv2().GaussianBlur(result, (0, 0), float(blur))
    if gain != 1:
        code = result / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4) * np.float32(gain)
        linear = np.clip(linear, 0, 1)
        result = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    if noise:
        result = result + np.float32(noise) * stream(seed, 77).standard_normal(result.shape, dtype=np.float32)
    final: Image = np.clip(np.rint(result), 0, 255).astype(np.uint8)
    return final

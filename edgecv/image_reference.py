"""The truth of preprocessing: plain NumPy that states every rounding, and shares no code with the kernels.

The native path gives the same bits on every ISA. All arithmetic up to the pixel is in integers:

linear: source = (i + 1/2) * in / out - 1/2, clamped to the first and the last pixel (OpenCV's
    INTER_LINEAR). Rows are blended first, with weights of 15 bits, each product cut to 7 fractional bits.
    Columns follow, with weights of 14 bits, their sum cut to 7 fractional bits, and rounded half up to
    the pixel.
area: the average over the exact footprint of the blob's pixel (OpenCV's INTER_AREA), rows first.
    Weights are integers that add up to S, the denominator scaled into [2^14, 2^15); a sum is cut to 16
    bits and multiplied by the 16-bit reciprocal of S, into 7 fractional bits. Where either axis is
    enlarged, both take the two-tap rule that OpenCV has for that case, with the arithmetic of linear.
nearest: source = floor(i * in / out) (OpenCV's INTER_NEAREST, without its rounding errors).
gray from color: after the resize, BT.601 in 15 bits, rounded half up (OpenCV's constants).
16 bits: the same weights, unrounded: their sum over the pixels is exact, and its quotient by the weights' own
    sum is taken in double and rounded once to float32. There is no level to round to.
YUV: pixels first, before any resize, each from its own luma and the nearest chroma, by `edgecv.frame`'s
    formula in integers: a weight has 13 fractional bits, its product with a sample less 128 is rounded half
    up to 6 of them, and the sum is rounded half up to the level. Gray from YUV is the luma, by the same
    formula.

A float32 value is (pixel - mean) * (1 / std): one subtraction and one multiplication, each rounded to
float32, with 1 / std rounded once from double.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, gcd
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

GRAY_WEIGHTS = {"b": 3735, "g": 19235, "r": 9798}
CHANNELS_BY_COUNT = {1: "gray", 3: "bgr", 4: "bgra"}

Pixels = NDArray[np.int64]
# The first tap's index and the weights of it and its followers, for one output.
Taps = tuple[int, list[int]]


class Spec(Protocol):
    """The fields of `edgecv.image.BlobSpec`."""

    @property
    def size_wh(self) -> tuple[int, int]: ...
    @property
    def color(self) -> str: ...
    @property
    def resize(self) -> str: ...
    @property
    def anchor(self) -> str: ...
    @property
    def rounding(self) -> str: ...
    @property
    def interpolation(self) -> str: ...
    @property
    def pad_values(self) -> tuple[float, ...]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def layout(self) -> str: ...
    @property
    def bits(self) -> int: ...


def to_blob(frame: NDArray[Any], spec: Spec, *, frame_color: str | None = None) -> NDArray[Any]:
    """The blob of a frame.

    frame: uint8 (H, W) or (H, W, 1, 3 or 4), or uint16 (H, W) for a spec of 16 bits. frame_color: as in
    `edgecv.image.to_blob`.
    Returns float32 or uint8 (1, C, H, W) or (1, H, W, C), as the spec says.
    """
    source = np.asarray(frame, np.int64)
    source = source[..., None] if source.ndim == 2 else source
    resized_wh, offset_xy = resized_and_offset((source.shape[1], source.shape[0]), spec)
    ranges = [
        range(max(0, -offset), min(resized, blob - offset))
        for resized, blob, offset in zip(resized_wh, spec.size_wh, offset_xy, strict=True)
    ]
    pixels: NDArray[Any]
    if spec.bits == 16:
        pixels = resize_exactly(source, resized_wh, spec.interpolation, ranges[0], ranges[1])
    else:
        pixels = resize(source, resized_wh, spec.interpolation, ranges[0], ranges[1])
    pixels = to_color(pixels, frame_color or CHANNELS_BY_COUNT[source.shape[2]], spec.color)

    channels = pixels.shape[2]
    mean = np.array(spec.mean, np.float32).reshape(channels, 1, 1)
    scale = np.array([1.0 / s for s in spec.std], np.float32).reshape(channels, 1, 1)
    width, height = spec.size_wh
    left, top = (max(0, offset) for offset in offset_xy)
    blob = np.empty((channels, height, width), np.float32)
    blob[:] = np.array(spec.pad_values, np.float32).reshape(channels, 1, 1)
    blob[:, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels.transpose(2, 0, 1)
    blob = blob.astype(np.uint8) if spec.dtype == "uint8" else (blob - mean) * scale
    return np.ascontiguousarray(blob.transpose(1, 2, 0) if spec.layout == "nhwc" else blob)[None]


def resized_and_offset(frame_wh: tuple[int, int], spec: Spec) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of the whole resized frame, and where it lies in the blob, both (x, y) in pixels."""
    ratios = [Fraction(blob, frame) for blob, frame in zip(spec.size_wh, frame_wh, strict=True)]
    if spec.resize == "stretch":
        return spec.size_wh, (0, 0)
    ratio = min(ratios) if spec.resize == "letterbox" else max(ratios)
    half = Fraction(1, 2) if spec.rounding == "nearest" else Fraction(0)
    width, height = (max(1, floor(frame * ratio + half)) for frame in frame_wh)
    gap_x, gap_y = spec.size_wh[0] - width, spec.size_wh[1] - height
    if spec.anchor == "top-left":
        return (width, height), (0, 0)
    if spec.resize == "letterbox":
        return (width, height), (gap_x // 2, gap_y // 2)
    return (width, height), (-(-gap_x // 2), -(-gap_y // 2))


def resize(
    source: Pixels, resized_wh: tuple[int, int], interpolation: str, columns: range, rows: range
) -> Pixels:
    """source: (H, W, C), 0 to 255. Returns the given rows and columns of the resized image."""
    height, width = source.shape[:2]
    new_width, new_height = resized_wh
    if (width, height) == resized_wh:
        return source[rows.start : rows.stop, columns.start : columns.stop]
    if interpolation == "nearest":
        y = [i * height // new_height for i in rows]
        x = [i * width // new_width for i in columns]
        return source[y][:, x]
    if interpolation == "area" and new_width <= width and new_height <= height:
        half = _average_rows(
            source, [area_taps(i, height, new_height) for i in rows], fraction_bits=0
        ).swapaxes(0, 1)
        across = _average_rows(half, [area_taps(i, width, new_width) for i in columns], fraction_bits=7)
        return across.swapaxes(0, 1) + 64 >> 7
    taps = enlarging_area_taps if interpolation == "area" else linear_taps
    half = _blend_rows(source, [taps(i, height, new_height, 1 << 15) for i in rows])
    return _blend_columns(half, [taps(i, width, new_width, 1 << 14) for i in columns])


def resize_exactly(
    source: Pixels, resized_wh: tuple[int, int], interpolation: str, columns: range, rows: range
) -> NDArray[np.float32]:
    """source: (H, W, C), 0 to 65535. Returns the given rows and columns of the resized image."""
    height, width = source.shape[:2]
    new_width, new_height = resized_wh
    if (width, height) == resized_wh or interpolation == "nearest":
        return resize(source, resized_wh, interpolation, columns, rows).astype(np.float32)
    down: list[Taps]
    if interpolation == "area" and new_width <= width and new_height <= height:
        down = [area_taps(i, height, new_height) for i in rows]
        across = [area_taps(i, width, new_width) for i in columns]
    else:
        taps = enlarging_area_taps if interpolation == "area" else linear_taps
        down = [taps(i, height, new_height, 1 << 15) for i in rows]
        across = [taps(i, width, new_width, 1 << 14) for i in columns]
    total = sum(down[0][1]) * sum(across[0][1])
    half = _sum_rows(source, down).swapaxes(0, 1)
    sums = _sum_rows(half, across).swapaxes(0, 1)
    return (sums / np.float64(total)).astype(np.float32)


def yuv_to_bgr(luma: Pixels, cb: Pixels, cr: Pixels, matrix: str, range_: str) -> NDArray[np.uint8]:
    """The pixels of a YUV picture, uint8 (H, W, 3) BGR.

    luma: (H, W). cb, cr: (H / 2, W / 2), or (H, W / 2) where rows do not share them; all 0 to 255.
    """
    y_weight, bias, blue, red, green_of_cb, green_of_cr = _yuv_weights(matrix, range_)
    height, width = luma.shape
    tall = height // cb.shape[0]
    pixels = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            u, v = int(cb[y // tall, x // 2]) - 128, int(cr[y // tall, x // 2]) - 128
            base = _yuv_term(int(luma[y, x]) - 128, y_weight) + bias
            sums = (
                base + _yuv_term(u, blue),
                base + _yuv_term(u, green_of_cb) + _yuv_term(v, green_of_cr),
                base + _yuv_term(v, red),
            )
            pixels[y, x] = [min(max(total >> 6, 0), 255) for total in sums]
    return pixels


def luma_to_gray(luma: Pixels, range_: str) -> NDArray[np.uint8]:
    """The gray of a YUV picture: uint8 of the shape of `luma`, which is 0 to 255."""
    y_weight, bias, *_ = _yuv_weights("bt601", range_)
    levels = [min(max(_yuv_term(y - 128, y_weight) + bias >> 6, 0), 255) for y in range(256)]
    return np.array(levels, np.uint8)[luma]


def linear_taps(i: int, size_in: int, size_out: int, one: int) -> Taps:
    """Two taps at the pixel's center; weights add up to `one`."""
    return _two_taps((i + Fraction(1, 2)) * Fraction(size_in, size_out) - Fraction(1, 2), size_in, one)


def enlarging_area_taps(i: int, size_in: int, size_out: int, one: int) -> Taps:
    """The two taps of OpenCV's INTER_AREA where an axis is enlarged; weights add up to `one`."""
    first = i * size_in // size_out
    fraction = i + 1 - (first + 1) * Fraction(size_out, size_in)
    return _two_taps(first + max(fraction, Fraction(0)), size_in, one)


def area_taps(i: int, size_in: int, size_out: int) -> Taps:
    """Taps over the footprint [i, i + 1) * in / out; weights are the overlaps, scaled to integers."""
    unit = gcd(size_in, size_out)
    total, step = size_in // unit, size_out // unit
    factor = 1
    while total * factor * 2 < 1 << 15:
        factor *= 2
    low, high = i * total, (i + 1) * total
    first, last = low // step, -(-high // step)
    return first, [(min(high, (j + 1) * step) - max(low, j * step)) * factor for j in range(first, last)]


def to_color(pixels: NDArray[Any], frame_color: str, color: str) -> NDArray[Any]:
    """pixels: (H, W, channels of frame_color). Returns (H, W, channels of color)."""
    if frame_color == color:
        return pixels
    if color == "gray":
        weighted = sum(GRAY_WEIGHTS[c] * pixels[..., frame_color.index(c)] for c in "bgr")
        return (np.asarray(weighted) + (1 << 14) >> 15)[..., None]
    if frame_color == "gray":
        return np.repeat(pixels, len(color), axis=2)
    fourth = frame_color[3:]
    return pixels[..., [frame_color.index(fourth if c == "d" else c) for c in color]]


def _yuv_weights(matrix: str, range_: str) -> list[int]:
    """Of luma, then the bias, of blue, of red, of green from Cb and from Cr."""
    kr, kb = {
        "bt601": (Fraction(299, 1000), Fraction(114, 1000)),
        "bt709": (Fraction(2126, 10000), Fraction(722, 10000)),
    }[matrix]
    one = Fraction(1)
    luma, chroma, black = {
        "limited": (Fraction(255, 219), Fraction(255, 224), 16),
        "full": (one, one, 0),
    }[range_]
    blue, red = 2 * (1 - kb) * chroma, 2 * (1 - kr) * chroma
    green_of_cb, green_of_cr = -blue * kb / (1 - kr - kb), -red * kr / (1 - kr - kb)
    half = Fraction(1, 2)
    y_weight, *rest = (floor(w * 8192 + half) for w in (luma, blue, red, green_of_cb, green_of_cr))
    return [y_weight, floor((128 - black) * luma * 64 + half) + 32, *rest]


def _yuv_term(sample: int, weight: int) -> int:
    return sample * weight + 64 >> 7


def _sum_rows(source: Pixels, taps: list[Taps]) -> Pixels:
    """Weighted sums of rows, exactly."""
    last = len(source) - 1
    return np.stack(
        [sum(w * source[min(first + j, last)] for j, w in enumerate(weights)) for first, weights in taps]
    )


def _two_taps(position: Fraction, size_in: int, one: int) -> Taps:
    position = min(max(position, Fraction(0)), Fraction(size_in - 1))
    first = floor(position)
    weight = floor((position - first) * one + Fraction(1, 2))
    if weight == one:
        first, weight = first + 1, 0
    return first, [one - weight, weight]


def _blend_rows(source: Pixels, taps: list[Taps]) -> Pixels:
    """8 bits to 7 fractional bits."""
    first = np.array([t[0] for t in taps])
    weights = np.array([t[1] for t in taps]).reshape(-1, 2, 1, 1)
    a, b = source[first], source[np.minimum(first + 1, len(source) - 1)]
    half: Pixels = (a * weights[:, 0] >> 8) + (b * weights[:, 1] >> 8)
    return half


def _blend_columns(half: Pixels, taps: list[Taps]) -> Pixels:
    """7 fractional bits to the pixel."""
    first = np.array([t[0] for t in taps])
    weights = np.array([t[1] for t in taps]).reshape(-1, 2, 1)
    p, q = half[:, first], half[:, np.minimum(first + 1, half.shape[1] - 1)]
    pixels: Pixels = (p * weights[:, 0] + q * weights[:, 1] >> 14) + 64 >> 7
    return pixels


def _average_rows(source: Pixels, taps: list[Taps], *, fraction_bits: int) -> Pixels:
    """Weighted averages of rows that have so many fractional bits, in 7 fractional bits."""
    total = sum(taps[0][1])
    shift = (255 * total).bit_length() - 16
    reciprocal = ((1 << shift + 24) // total + 1) // 2
    sums = np.stack([np.tensordot(np.array(weights), source[i : i + len(weights)], 1) for i, weights in taps])
    return (sums >> shift + fraction_bits) * reciprocal >> 16

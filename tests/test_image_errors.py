"""Preprocessing: every bad argument is one clear line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.image import BlobSpec, Preprocessor, to_blob


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"frame: expected uint8 .* got float32 \(4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int8), r"got int8 \(4, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), r"1, 3 or 4 channels last, got shape \(4, 4, 2\)"),
        (np.zeros((3, 4, 4, 3), np.uint8), r"got uint8 \(3, 4, 4, 3\)"),
        (np.zeros(4, np.uint8), r"got uint8 \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"1 to 32767 pixels a side, got shape \(0, 4, 3\)"),
        (np.zeros((1, 40000), np.uint8), r"1 to 32767 pixels a side"),
        (None, r"frame: expected uint8 .* got NoneType"),
        ([[1, 2], [3, 4]], r"got list"),
        (b"abc", r"got bytes"),
    ],
    ids=str,
)
def test_bad_frames(frame: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_blob(frame, BlobSpec((8, 8)))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((3, 8, 8), np.float64), r"out: expected a writable C-contiguous float32 array \(3, 8, 8\)"),
        (np.zeros((3, 8, 8), np.uint8), r"out: expected .* got the format 'B'"),
        (np.zeros((3, 8, 9), np.float32), r"\(3, 8, 9\)"),
        (np.zeros((1, 3, 8, 8), np.float32), r"\(1, 3, 8, 8\)"),
        (np.zeros((3, 8, 16), np.float32)[:, :, ::2], "out: expected a writable C-contiguous"),
        (np.zeros((8, 8, 3), np.float32).transpose(2, 0, 1), "out: expected a writable C-contiguous"),
        (np.broadcast_to(np.float32(0), (3, 8, 8)), "out: expected a writable"),
        (np.zeros((3, 8, 8), ">f4"), "out: expected .* got the format '>f'"),
        (
            np.zeros(769, np.uint8)[1:].view(np.float32).reshape(3, 8, 8),
            "out: expected .* got the format '=f'",
        ),
        (np.zeros(769, np.uint8)[1:].data.cast("f", (3, 8, 8)), "out: expected an aligned array"),
        (None, "out: expected .* got NoneType"),
    ],
    ids=[
        "float64",
        "uint8",
        "size",
        "batch",
        "strided",
        "transposed",
        "read-only",
        "big-endian",
        "misaligned",
        "misaligned memory",
        "none",
    ],
)
def test_bad_outputs(out: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessor(BlobSpec((8, 8)))(noise(4, 4, 3), out)


def test_out_may_not_be_the_frame() -> None:
    memory = np.zeros(8 * 8 * 3, np.uint8)
    frame = memory.reshape(8, 8, 3)
    with pytest.raises(InputError, match="memory of its own"):
        Preprocessor(BlobSpec((8, 8), dtype="uint8"))(frame[::-1], memory.reshape(3, 8, 8))


def test_to_blob_checks_the_shape_of_out() -> None:
    with pytest.raises(InputError, match=r"out: expected float32 \(1, 3, 8, 8\), got float32 \(3, 8, 8\)"):
        to_blob(noise(4, 4, 3), BlobSpec((8, 8)), out=np.zeros((3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("channels", "frame_color", "color", "message"),
    [
        (3, "gray", "bgr", "expected 1 channels for frame_color 'gray', got 3"),
        (3, "bgra", "bgr", "expected 4 channels"),
        (3, "cmyk", "bgr", "frame_color: expected one of gray, bgr"),
        (3, None, "bgrd", r"expected 4 channels for a blob of color 'bgrd', got 3"),
        (1, None, "rgbd", r"got 1 \(gray\)"),
    ],
)
def test_colors_that_do_not_fit(channels: int, frame_color: Any, color: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_blob(noise(4, 4, channels), BlobSpec((8, 8), color), frame_color=frame_color)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size_wh": (0, 8)}, r"size_wh: expected \(width, height\), 1 to 32767"),
        ({"size_wh": (8, 40000)}, "size_wh"),
        ({"size_wh": (8.5, 8)}, "size_wh"),
        ({"size_wh": (8, 8, 8)}, "size_wh"),
        ({"size_wh": 8}, "size_wh"),
        ({"color": "brg"}, "BlobSpec.color: expected one of bgr, rgb, gray, bgrd, rgbd, got 'brg'"),
        ({"resize": "fit"}, "BlobSpec.resize"),
        ({"anchor": "bottom"}, "BlobSpec.anchor"),
        ({"rounding": "ceil"}, "BlobSpec.rounding: expected one of"),
        ({"interpolation": "cubic"}, "BlobSpec.interpolation: expected one of nearest, linear, area"),
        ({"dtype": "float16"}, "BlobSpec.dtype"),
        ({"mean": (1.0, 2.0)}, "BlobSpec.mean: expected 1 or 3 finite numbers"),
        ({"mean": (float("nan"),)}, "BlobSpec.mean"),
        ({"mean": ("a",)}, "BlobSpec.mean"),
        ({"mean": (1e300,)}, "BlobSpec.mean"),
        ({"std": (1.0, 0.0, 1.0)}, "BlobSpec.std: expected no zero"),
        ({"std": (1e-300,)}, "BlobSpec.std"),
        ({"pad_value": (1.0, 2.0)}, "BlobSpec.pad_value: expected 1 or 3"),
        ({"dtype": "uint8", "std": (255.0,)}, "dtype uint8 expects mean 0 and std 1"),
        ({"dtype": "uint8", "pad_value": 114.5}, "whole numbers from 0 to 255"),
        ({"dtype": "uint8", "pad_value": 256}, "whole numbers from 0 to 255"),
    ],
    ids=str,
)
def test_bad_specs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlobSpec(**{"size_wh": (8, 8), **fields})


def test_a_spec_fills_in_its_channels() -> None:
    spec = BlobSpec((8, 8), "bgrd", pad_value=114, std=(255,))
    assert spec.channels == 4
    assert spec.mean == (0.0,) * 4
    assert spec.std == (255.0,) * 4
    assert spec.pad_values == (114.0,) * 4
    assert spec == BlobSpec([8, 8], "bgrd", pad_value=114, std=[255] * 4)  # type: ignore[arg-type]

"""Every kernel of ext/image on every built ISA: the same bits as the reference, around the lane counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _image, _isa, image, image_reference
from edgecv.frame import FORMATS, Frame
from edgecv.image import BlobSpec, Preprocessor
from tests.kernels.isas import forced
from tests.yuv_frames import expected_blob, noise_frame, pixels

Case = tuple[NDArray[np.uint8] | Frame, BlobSpec]

# Kernels take bytes, shorts or integers: these surround 1 to 4 vectors of any ISA.
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 65, 98, 127, 129]


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def stretch(
    frame: NDArray[np.uint8] | Frame, size_wh: tuple[int, int], color: str, interpolation: str = "linear"
) -> Case:
    return frame, BlobSpec(size_wh, color, "stretch", interpolation=interpolation, dtype="uint8")


# What makes each kernel work on n elements.
CASES: dict[str, list[Callable[[int], Case]]] = {
    "s16_blend_rows": [
        lambda n: stretch(noise(5, n, 3), (n, 7), "bgr"),
        lambda n: stretch(noise(5, n, 4), (n + 1, 7), "rgbd"),
        lambda n: stretch(noise(5, n, 3), (n, 7), "bgr", "area"),
    ],
    "u8x4_blend_blocks": [
        lambda n: stretch(noise(3, 2 * n + 6, 3), (n, 2), "rgb"),
        lambda n: stretch(noise(3, 3 * n, 3), (n, 2), "bgr"),
        lambda n: stretch(noise(3, 9 * n, 3), (n, 2), "rgb"),
        lambda n: stretch(noise(3, 2 * n + 1, 4), (n, 2), "rgbd"),
        lambda n: stretch(noise(3, 5 * n, 4), (n, 4), "rgb"),
        lambda n: stretch(noise(5, 2 * n, 3)[:, ::2], (2 * n, 7), "bgr"),
    ],
    "u8x4_blend_gray": [
        lambda n: stretch(noise(3, 2 * n + 1), (n, 2), "gray"),
        lambda n: stretch(noise(3, 20), (n, 4), "gray"),
        lambda n: stretch(noise(3, 9 * n), (n, 2), "gray"),
        lambda n: stretch(noise(5, n), (n, 7), "gray"),
    ],
    "s16_average_rows": [
        lambda n: stretch(noise(9, n), (n, 4), "gray", "area"),
        lambda n: stretch(noise(40, n, 3), (n, 3), "bgr", "area"),
    ],
    "u8x4_resample_c1": [
        lambda n: stretch(noise(6, 5 * n + 2), (n, 3), "gray", "area"),
    ],
    "u8x4_resample_c3": [
        lambda n: stretch(noise(3, 20, 3), (n + 12, 4), "rgb"),
        lambda n: stretch(noise(6, 2 * n, 3), (n, 3), "rgb", "area"),
        lambda n: stretch(noise(6, 5 * n + 2, 3), (n, 3), "rgb", "area"),
    ],
    "u8x4_resample_c4": [
        lambda n: stretch(noise(3, 20, 4), (n + 12, 4), "rgb"),
        lambda n: stretch(noise(6, 2 * n, 4), (n, 3), "rgb", "area"),
        lambda n: stretch(noise(6, 5 * n + 2, 4), (n, 3), "rgbd", "area"),
    ],
    "u8x3_of_yuv": [
        *(lambda n, f=f: stretch(noise_frame(f, 2 * n, 2), (2 * n, 2), "rgb") for f in FORMATS),  # type: ignore[misc]
        lambda n: stretch(noise_frame("nv12", 2 * n, 6), (n, 3), "bgr", "area"),
        lambda n: (
            noise_frame("uyvy", 2 * n + 160, 4, matrix="bt709", range="full"),
            BlobSpec((20, 4), "bgr", "crop"),
        ),
    ],
    "u8_of_luma": [
        *(lambda n, f=f: stretch(noise_frame(f, 2 * n, 2), (2 * n, 2), "gray") for f in FORMATS),  # type: ignore[misc]
        lambda n: stretch(noise_frame("yuyv", 2 * n, 5), (n + 1, 4), "gray"),
    ],
    "u8x4_to_gray": [
        lambda n: stretch(noise(2, n, 3), (n, 2), "gray"),
        lambda n: stretch(noise(2, n, 4), (n, 2), "gray"),
    ],
    "f32_plane": [
        lambda n: (noise(2, n, 3), BlobSpec((n, 2), "rgb", mean=(1.1, 2.2, 3.3), std=(0.3, 57.1, 255))),
        lambda n: (noise(2, n, 4), BlobSpec((n, 2), "rgbd", mean=(99.7,), std=(57.1,))),
    ],
    "u8_plane": [
        lambda n: stretch(noise(2, n, 4), (n, 2), "rgbd"),
        lambda n: (noise(2, 2, 3), BlobSpec((n + 2, 2), pad_value=114, dtype="uint8")),
    ],
    "interleave": [lambda n: (noise(2, n, 3), BlobSpec((n, 2), "rgb", mean=(1, 2, 3), layout="nhwc"))],
    "f32_pixels": [
        lambda n: (
            noise(2, n, 3),
            BlobSpec((n, 2), "rgb", mean=(1.1, 2.2, 3.3), std=(0.3, 57.1, 255), layout="nhwc"),
        ),
        lambda n: (
            noise(2, n, 4),
            BlobSpec((n + 3, 4), "rgbd", pad_value=(1, 2, 3, 4.5), std=(57.1,), layout="nhwc"),
        ),
        lambda n: (noise(2, n), BlobSpec((n, 3), "bgr", pad_value=114.25, layout="nhwc")),
    ],
    "u8_pixels": [
        lambda n: (
            noise(2, n, 3),
            BlobSpec((n, 3), "rgb", pad_value=(1, 2, 3), dtype="uint8", layout="nhwc"),
        ),
        lambda n: (
            noise(2, n, 4),
            BlobSpec((n + 3, 2), "rgbd", pad_value=114, dtype="uint8", layout="nhwc"),
        ),
    ],
    "f32_fill": [
        lambda n: (noise(2, 2, 3), BlobSpec((n + 2, 2), pad_value=(1, 2, 3), mean=(0.7,))),
        lambda n: (noise(2, 2), BlobSpec((2, n + 2), "gray", anchor="top-left", pad_value=114.25)),
    ],
}


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernels of one ISA, for one test."""
    yield from forced(_image, request.param)


each_isa = pytest.mark.parametrize("isa", _isa.built(), indirect=True)


def test_every_kernel_is_tested() -> None:
    assert set(CASES) == set(_image.kernels()) - {"memory_floor"}


@each_isa
@pytest.mark.parametrize("kernel", CASES)
@pytest.mark.parametrize("n", LENGTHS, ids=[f"n{n}" for n in LENGTHS])
def test_kernel(isa: str, kernel: str, n: int) -> None:
    for make in CASES[kernel]:
        frame, spec = make(n)
        out = np.empty(spec.shape, spec.dtype)
        preprocess = Preprocessor(spec)
        preprocess(frame, out)
        expected = expected_blob if isinstance(frame, Frame) else image_reference.to_blob
        np.testing.assert_array_equal(out, expected(frame, spec)[0])


@each_isa
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n", LENGTHS, ids=[f"n{n}" for n in LENGTHS])
def test_bgr(isa: str, format: str, n: int) -> None:
    frame = noise_frame(format, 2 * n, 2)
    np.testing.assert_array_equal(frame.bgr(), pixels(frame))


@pytest.mark.parametrize("kernel", CASES)
def test_the_cases_reach_their_kernel(kernel: str) -> None:
    for make in CASES[kernel]:
        frame, spec = make(33)
        plan, _ = Preprocessor(spec)._prepare(frame)
        assert kernel in plan.kernels


@each_isa
@pytest.mark.parametrize("layout", image.BLOB_LAYOUTS)
@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("size_wh", [(640, 640), (97, 61)], ids=str)
def test_whole_frames(isa: str, interpolation: str, size_wh: tuple[int, int], layout: str) -> None:
    frame = noise(360, 640, 3)
    spec = BlobSpec(
        size_wh,
        "rgb",
        pad_value=114,
        interpolation=interpolation,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        layout=layout,
    )
    out = np.empty(spec.shape, np.float32)
    Preprocessor(spec)(frame, out)
    assert out.tobytes() == image_reference.to_blob(frame, spec).tobytes()


@each_isa
@pytest.mark.parametrize("read", [1, 31, 4096, 10_007])
@pytest.mark.parametrize("written", [1, 63, 4096, 10_001])
def test_memory_floor_writes_every_byte_of_out(isa: str, read: int, written: int) -> None:
    frame, guarded = np.full(read, 255, np.uint8), np.zeros(written + 2, np.uint8)
    _image.memory_floor(frame, guarded[1:-1])
    assert guarded[0] == 0
    assert guarded[-1] == 0
    assert guarded[-2] == 255  # the last write has seen the frame


def test_an_unknown_isa_is_refused() -> None:
    before = _image.isa()
    with pytest.raises(ValueError, match="not built in"):
        _image.use_isa("avx9")
    assert _image.isa() == before

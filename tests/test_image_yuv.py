"""Preprocessing of YUV frames, and of gray ones of 16 bits: the same bits as the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import image, image_reference
from edgecv.errors import InputError
from edgecv.frame import FORMATS, MATRICES, RANGES, Frame
from edgecv.image import BlobSpec, Preprocessor, to_blob
from tests.test_image import GuardedMemory
from tests.yuv_frames import expected_blob, noise_frame

evens = st.integers(1, 40).map(lambda n: 2 * n)
sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(
    format=st.sampled_from(FORMATS),
    frame_wh=st.tuples(evens, evens),
    size_wh=sizes,
    resize=st.sampled_from(image.RESIZES),
    anchor=st.sampled_from(image.ANCHORS),
    interpolation=st.sampled_from(image.INTERPOLATIONS),
    color=st.sampled_from(["bgr", "rgb", "gray"]),
    dtype=st.sampled_from(image.DTYPES),
    matrix=st.sampled_from(MATRICES),
    range_=st.sampled_from(RANGES),
)
def test_as_the_reference(
    format: str,
    frame_wh: tuple[int, int],
    size_wh: tuple[int, int],
    resize: str,
    anchor: str,
    interpolation: str,
    color: str,
    dtype: str,
    matrix: str,
    range_: str,
) -> None:
    spec = BlobSpec(
        size_wh,
        color,
        resize,
        anchor,
        pad_value=114,
        interpolation=interpolation,
        mean=(100.5,) if dtype == "float32" else (0.0,),
        std=(57.1,) if dtype == "float32" else (1.0,),
        dtype=dtype,
        yuv_matrix=matrix,
        yuv_range=range_,
    )
    frame = noise_frame(format, *frame_wh)
    np.testing.assert_array_equal(to_blob(frame, spec)[0], expected_blob(frame, spec))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize(
    ("frame_wh", "size_wh"),
    [
        ((1280, 720), (640, 640)),
        ((1920, 1080), (416, 416)),
        ((640, 480), (800, 800)),
        ((258, 130), (258, 130)),
    ],
    ids=str,
)
def test_whole_frames_are_those_of_their_pixels(
    format: str, interpolation: str, frame_wh: tuple[int, int], size_wh: tuple[int, int]
) -> None:
    """Not converted by plain loops, which would take a minute: `bgr` is held against them elsewhere."""
    frame = noise_frame(format, *frame_wh)
    for resize in image.RESIZES:
        spec = BlobSpec(size_wh, "rgb", resize, pad_value=114, interpolation=interpolation, std=(255,))
        np.testing.assert_array_equal(to_blob(frame, spec)[0], to_blob(frame.bgr(), spec)[0])


def test_a_frame_overrides_the_spec() -> None:
    spec = BlobSpec((8, 8), yuv_matrix="bt709", yuv_range="full")
    for fields in ({}, {"matrix": "bt601"}, {"range": "limited"}, {"matrix": "bt601", "range": "limited"}):
        frame = noise_frame("nv12", 16, 16, **fields)
        np.testing.assert_array_equal(to_blob(frame, spec)[0], expected_blob(frame, spec))


def test_one_preprocessor_takes_frames_of_all_kinds() -> None:
    """Plans are told apart by all that they depend on."""
    preprocess = Preprocessor(BlobSpec((20, 20)))
    out = np.empty((3, 20, 20), np.float32)
    for frame in (
        noise_frame("yuyv", 32, 16),
        noise_frame("uyvy", 32, 16),
        noise_frame("yuyv", 32, 16, range="full"),
        noise_frame("yuyv", 32, 16, matrix="bt709"),
        noise_frame("nv12", 32, 16),
        noise_frame("i420", 32, 16),
    ):
        for _ in range(2):
            transform = preprocess(frame, out)
            assert transform.frame_wh == (32, 16)
            np.testing.assert_array_equal(out, expected_blob(frame, preprocess.spec)[0])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("color", ["bgr", "gray"])
def test_reads_stay_inside_the_planes(format: str, color: str) -> None:
    """A byte beyond a plane would kill the test's process."""
    guarded = [GuardedMemory() for _ in range(3)]
    for width in (2, 6, 16, 30, 34, 62, 64, 66, 130):
        model = noise_frame(format, width, 6)
        for place in ("at_start", "at_end"):
            planes = []
            for memory, plane in zip(guarded, model.planes, strict=False):
                planes.append(getattr(memory, place)(*plane.shape))
                planes[-1][:] = plane
            frame = Frame(tuple(planes), format)
            for size_wh in ((1, 1), (width, 6), (width * 2 + 1, 9), (max(1, width // 5), 2)):
                for interpolation in image.INTERPOLATIONS:
                    spec = BlobSpec(size_wh, color, "stretch", interpolation=interpolation)
                    np.testing.assert_array_equal(to_blob(frame, spec)[0], to_blob(model, spec)[0])
            np.testing.assert_array_equal(frame.bgr(), model.bgr())


@pytest.mark.parametrize(
    ("frame", "spec", "message"),
    [
        (
            noise_frame("nv12", 8, 8),
            BlobSpec((8, 8), "bgrd"),
            r"expected 4 channels for a blob of color 'bgrd'",
        ),
        (noise_frame("nv12", 8, 8), BlobSpec((8, 8), "gray", bits=16), "expected uint16 .* got nv12"),
        (
            np.zeros((8, 8), np.uint8),
            BlobSpec((8, 8), "gray", bits=16),
            r"expected uint16 .* got uint8 \(8, 8\); image files and cameras give 8 bits: .* --raw gray16le",
        ),
        (np.zeros((8, 8, 3), np.uint16), BlobSpec((8, 8), "gray", bits=16), r"got uint16 \(8, 8, 3\)"),
        (np.zeros((8, 8), np.uint16), BlobSpec((8, 8), "gray"), r"expected uint8 .* got uint16 \(8, 8\)"),
        (None, BlobSpec((8, 8), "gray", bits=16), "got NoneType"),
    ],
    ids=str,
)
def test_frames_that_do_not_fit(frame: Any, spec: BlobSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_blob(frame, spec)


def test_out_may_not_be_a_plane() -> None:
    memory = np.zeros((12, 8), np.uint8)
    out = memory.reshape(-1)[64:96].reshape(1, 4, 8)
    with pytest.raises(InputError, match="memory of its own"):
        Preprocessor(BlobSpec((8, 4), "gray", dtype="uint8"))(Frame(memory, "nv12"), out)


# ---- 16 bits

VIEWS_16 = {
    "whole": lambda f: f,
    "upside down": lambda f: f[::-1],
    "every other column": lambda f: f[:, ::2],
    "transposed": lambda f: f.T,
    "one channel": lambda f: f[..., None],
    "misaligned": lambda f: np.frombuffer(b"\0" + f.tobytes(), np.uint16, offset=1).reshape(f.shape),
}


def deep_noise(height: int, width: int) -> np.ndarray:
    frame = np.random.default_rng(height + width).integers(0, 65536, (height, width), dtype=np.uint16)
    frame[::4] = np.where(frame[::4] > 32767, 65535, 0)
    return frame


@given(
    view=st.sampled_from(sorted(VIEWS_16)),
    frame_wh=sizes,
    size_wh=sizes,
    resize=st.sampled_from(image.RESIZES),
    interpolation=st.sampled_from(image.INTERPOLATIONS),
)
def test_16_bits_as_the_reference(
    view: str, frame_wh: tuple[int, int], size_wh: tuple[int, int], resize: str, interpolation: str
) -> None:
    frame = VIEWS_16[view](deep_noise(frame_wh[1], frame_wh[0]))
    spec = BlobSpec(
        size_wh,
        "gray",
        resize,
        pad_value=500,
        interpolation=interpolation,
        mean=(1234.5,),
        std=(321.7,),
        bits=16,
    )
    np.testing.assert_array_equal(to_blob(frame, spec)[0], image_reference.to_blob(frame, spec))


@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("size_wh", [(5, 3), (97, 61), (300, 200)], ids=str)
def test_16_bits_of_a_flat_frame_stay(interpolation: str, size_wh: tuple[int, int]) -> None:
    spec = BlobSpec(size_wh, "gray", "stretch", interpolation=interpolation, bits=16)
    for level in (0, 1, 255, 256, 40_001, 65_535):
        assert (to_blob(np.full((61, 97), level, np.uint16), spec)[0] == level).all()


def test_16_bits_lose_none() -> None:
    frame = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(to_blob(frame, BlobSpec((256, 256), "gray", bits=16))[0][0, 0], frame)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 12}, "BlobSpec.bits: expected one of 8, 16, got 12"),
        ({"bits": 16}, "BlobSpec.bits: 16 is for color gray and dtype float32, got color bgr"),
        ({"bits": 16, "color": "gray", "dtype": "uint8"}, "got color gray and dtype uint8"),
        ({"yuv_matrix": "bt2020"}, "BlobSpec.yuv_matrix: expected one of bt601, bt709"),
        ({"yuv_range": "video"}, "BlobSpec.yuv_range: expected one of limited, full"),
    ],
    ids=str,
)
def test_bad_specs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlobSpec(**{"size_wh": (8, 8), **fields})

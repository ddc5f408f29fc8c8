"""Preprocessing: geometry, pixels against OpenCV and the reference, views and memory."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv import image, image_reference
from edgecv.errors import SessionBusyError
from edgecv.image import BlobSpec, Preprocessor, plan_transform, to_blob

Frame = NDArray[np.uint8]

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(*shape: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def assert_as_reference(frame: Frame, spec: BlobSpec, frame_color: str | None = None) -> None:
    blob, _ = to_blob(frame, spec, frame_color=frame_color)
    expected = image_reference.to_blob(frame, spec, frame_color=frame_color)
    assert blob.dtype == expected.dtype
    np.testing.assert_array_equal(blob, expected)


# ---- geometry


@pytest.mark.parametrize(
    ("frame_wh", "resize", "anchor", "resized_wh", "offset_xy"),
    [
        ((1280, 720), "letterbox", "center", (640, 360), (0, 140)),
        ((1280, 720), "letterbox", "top-left", (640, 360), (0, 0)),
        ((720, 1280), "letterbox", "center", (360, 640), (140, 0)),
        ((640, 640), "letterbox", "center", (640, 640), (0, 0)),
        ((641, 481), "letterbox", "center", (640, 480), (0, 80)),
        ((333, 500), "letterbox", "center", (426, 640), (107, 0)),
        ((1, 1), "letterbox", "center", (640, 640), (0, 0)),
        ((1, 32767), "letterbox", "center", (1, 640), (319, 0)),
        ((32767, 1), "letterbox", "top-left", (640, 1), (0, 0)),
        ((1280, 720), "stretch", "center", (640, 640), (0, 0)),
        ((1280, 720), "crop", "center", (1138, 640), (-249, 0)),
        ((1280, 720), "crop", "top-left", (1138, 640), (0, 0)),
        ((720, 1280), "crop", "center", (640, 1138), (0, -249)),
        ((641, 640), "crop", "center", (641, 640), (0, 0)),
        ((32767, 1), "crop", "center", (20970880, 640), (-10485120, 0)),
    ],
)
def test_geometry(
    frame_wh: tuple[int, int], resize: str, anchor: str, resized_wh: Any, offset_xy: Any
) -> None:
    transform = plan_transform(frame_wh, BlobSpec((640, 640), resize=resize, anchor=anchor))
    assert (transform.resized_wh, transform.offset_xy) == (resized_wh, offset_xy)
    assert (transform.frame_wh, transform.blob_wh) == (frame_wh, (640, 640))


@pytest.mark.parametrize(
    ("frame_wh", "resize", "rounding", "resized_wh"),
    [
        ((1280, 3), "letterbox", "nearest", (640, 2)),
        ((1280, 3), "letterbox", "floor", (640, 1)),
        ((1280, 1), "letterbox", "floor", (640, 1)),
        ((333, 500), "letterbox", "floor", (426, 640)),
        ((500, 333), "letterbox", "floor", (640, 426)),
        ((481, 640), "crop", "floor", (640, 851)),
        ((481, 640), "crop", "nearest", (640, 852)),
    ],
)
def test_rounding(frame_wh: tuple[int, int], resize: str, rounding: str, resized_wh: Any) -> None:
    transform = plan_transform(frame_wh, BlobSpec((640, 640), resize=resize, rounding=rounding))
    assert transform.resized_wh == resized_wh


@given(
    sizes,
    sizes,
    st.sampled_from(image.RESIZES),
    st.sampled_from(image.ANCHORS),
    st.sampled_from(image.ROUNDINGS),
)
def test_geometry_fits_or_covers(
    frame_wh: tuple[int, int], blob_wh: tuple[int, int], resize: str, anchor: str, rounding: str
) -> None:
    spec = BlobSpec(blob_wh, resize=resize, anchor=anchor, rounding=rounding)
    transform = plan_transform(frame_wh, spec)
    assert (transform.resized_wh, transform.offset_xy) == image_reference.resized_and_offset(frame_wh, spec)
    for resized, blob, offset in zip(transform.resized_wh, blob_wh, transform.offset_xy, strict=True):
        if resize == "crop":
            assert offset <= 0
            assert offset + resized >= blob
        else:
            assert offset >= 0
            assert resized >= 1
            assert offset + resized <= blob


@given(sizes, sizes, st.sampled_from(image.RESIZES))
def test_corners_map_to_the_resized_frame_and_back(
    frame_wh: tuple[int, int], blob_wh: tuple[int, int], resize: str
) -> None:
    transform = plan_transform(frame_wh, BlobSpec(blob_wh, resize=resize))
    whole = np.array([[0, 0, *frame_wh]], np.float32)
    (x1, y1), (width, height) = transform.offset_xy, transform.resized_wh
    np.testing.assert_allclose(transform.boxes_to_blob(whole), [[x1, y1, x1 + width, y1 + height]], rtol=1e-6)
    np.testing.assert_allclose(
        transform.boxes_to_frame(transform.boxes_to_blob(whole), clip=False), whole, atol=1e-3, rtol=1e-5
    )


# ---- pixels, against OpenCV

OPENCV_SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (5, 3)),
    ((7, 1), (3, 4)),
    ((1, 9), (4, 2)),
    ((2, 2), (7, 7)),
    ((33, 47), (64, 31)),
    ((64, 64), (32, 32)),
    ((100, 37), (31, 17)),
    ((129, 255), (128, 127)),
    ((255, 129), (401, 640)),
    ((320, 240), (640, 480)),
    ((641, 481), (640, 480)),
    ((1280, 720), (640, 360)),
    ((1920, 1080), (416, 234)),
    ((3840, 2160), (320, 180)),
]


def exact_columns(size_in: int, size_out: int) -> Any:
    """Outputs whose left edge falls on a source pixel's: OpenCV's floor() of a float may miss it."""
    return np.arange(size_out) * size_in % size_out == 0


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "area"])
@pytest.mark.parametrize(
    ("frame_wh", "blob_wh"), OPENCV_SIZES, ids=[f"{a}x{b}-{c}x{d}" for (a, b), (c, d) in OPENCV_SIZES]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_within_one_level_of_opencv(
    interpolation: str, frame_wh: tuple[int, int], blob_wh: tuple[int, int], channels: int
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the other side of this comparison")
    frame = noise(frame_wh[1], frame_wh[0], channels)
    frame[::3] = np.where(frame[::3] > 127, 255, 0)
    color = {1: "gray", 3: "bgr", 4: "bgrd"}[channels]
    spec = BlobSpec(blob_wh, color, "stretch", interpolation=interpolation, dtype="uint8")
    blob, _ = to_blob(frame, spec)
    flag = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
    resized = cv2.resize(frame, blob_wh, interpolation=flag[interpolation])
    expected = resized.reshape(blob_wh[1], blob_wh[0], channels).transpose(2, 0, 1)
    difference = np.abs(blob[0].astype(int) - expected)
    enlarges = blob_wh[0] > frame_wh[0] or blob_wh[1] > frame_wh[1]
    if interpolation == "nearest" or (interpolation == "area" and enlarges):
        # Only at a jump of the rule does a rounding error of OpenCV's choose another pixel.
        for axis, column in ((2, 0), (1, 1)):
            exact = exact_columns(frame_wh[column], blob_wh[column])
            exact[0] = False
            difference = np.delete(difference, np.flatnonzero(exact), axis)
    assert difference.max(initial=0) <= (0 if interpolation == "nearest" else 1)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_linear_is_the_nearest_level(size_in: int, size_out: int, seed: int) -> None:
    """The pixel differs from the exact value by half a level and the error of its weights."""
    frame = noise(1, size_in, 1, seed=seed)
    spec = BlobSpec((size_out, 1), "gray", "stretch", interpolation="linear", dtype="uint8")
    got = to_blob(frame, spec)[0].ravel()
    for i in range(size_out):
        position = (i + Fraction(1, 2)) * Fraction(size_in, size_out) - Fraction(1, 2)
        position = min(max(position, Fraction(0)), Fraction(size_in - 1))
        left = int(position)
        a, b = int(frame[0, left, 0]), int(frame[0, min(left + 1, size_in - 1), 0])
        assert abs(got[i] - float(a + (b - a) * (position - left))) <= 0.5 + 0.03


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 3))
def test_area_is_the_average_of_its_footprint(a: int, b: int, seed: int) -> None:
    size_in, size_out = max(a, b), min(a, b)
    frame = noise(1, size_in, 1, seed=seed)
    spec = BlobSpec((size_out, 1), "gray", "stretch", interpolation="area", dtype="uint8")
    got = to_blob(frame, spec)[0].ravel()
    # Every source pixel as size_out equal parts: a footprint is size_in whole parts.
    parts = np.repeat(frame.ravel().astype(np.float64), size_out).reshape(size_out, size_in)
    assert np.abs(got - parts.mean(axis=1)).max() <= 0.5 + 0.05


@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("blob_wh", [(5, 3), (97, 61), (640, 480)], ids=str)
def test_a_flat_frame_stays_flat(interpolation: str, level: int, blob_wh: tuple[int, int]) -> None:
    frame = np.full((61, 97, 3), level, np.uint8)
    spec = BlobSpec(blob_wh, resize="stretch", interpolation=interpolation, dtype="uint8")
    assert (to_blob(frame, spec)[0] == level).all()


# ---- values


def test_values_padding_and_channel_order() -> None:
    frame = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    spec = BlobSpec((2, 3), "rgb", pad_value=(114.0, 115.0, 116.0), mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    blob, transform = to_blob(frame, spec)
    assert transform.offset_xy == (0, 1)
    assert blob.dtype == np.float32
    assert blob.tolist() == [
        [
            [[56.5, 56.5], [14.5, 29.5], [56.5, 56.5]],
            [[28.25, 28.25], [4.5, 12.0], [28.25, 28.25]],
            [[14.125, 14.125], [0.875, 4.625], [14.125, 14.125]],
        ]
    ]


def test_the_value_is_a_subtraction_and_a_multiplication_in_float32() -> None:
    frame = np.arange(256, dtype=np.uint8).reshape(1, 256)
    mean, std = 103.53, 57.375
    blob, _ = to_blob(frame, BlobSpec((256, 1), "gray", mean=(mean,), std=(std,)))
    expected = (np.arange(256, dtype=np.float32) - np.float32(mean)) * np.float32(1 / std)
    assert blob.ravel().tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("frame_color", "color", "pixel", "expected"),
    [
        ("bgr", "rgb", [1, 2, 3], [3, 2, 1]),
        ("bgr", "bgr", [1, 2, 3], [1, 2, 3]),
        ("rgb", "bgr", [1, 2, 3], [3, 2, 1]),
        (None, "rgb", [1, 2, 3], [3, 2, 1]),
        (None, "rgb", [1, 2, 3, 4], [3, 2, 1]),
        ("rgba", "rgb", [1, 2, 3, 4], [1, 2, 3]),
        ("bgrd", "rgbd", [1, 2, 3, 4], [3, 2, 1, 4]),
        ("bgra", "bgrd", [1, 2, 3, 4], [1, 2, 3, 4]),
        ("rgba", "bgrd", [1, 2, 3, 4], [3, 2, 1, 4]),
        ("gray", "rgb", [7], [7, 7, 7]),
        ("gray", "gray", [7], [7]),
        ("bgr", "gray", [255, 0, 0], [29]),
        ("rgb", "gray", [255, 0, 0], [76]),
        ("bgra", "gray", [0, 255, 0, 99], [150]),
        ("bgr", "gray", [255, 255, 255], [255]),
    ],
)
def test_colors(frame_color: str | None, color: str, pixel: list[int], expected: list[int]) -> None:
    frame = np.array([[pixel] * 3] * 2, np.uint8)
    blob, _ = to_blob(frame, BlobSpec((3, 2), color, dtype="uint8"), frame_color=frame_color)
    assert blob[0, :, 1, 1].tolist() == expected


# ---- the same bits as the reference


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Frames of any channels, contiguous or as a view."""
    channels = draw(st.sampled_from([0, 1, 3, 4]))
    height, width = draw(sizes)
    frame = noise(height, width, *([channels] if channels else []), seed=draw(st.integers(0, 9)))
    name = draw(st.sampled_from(sorted(VIEWS)))
    return VIEWS[name](frame)


VIEWS: dict[str, Callable[[Frame], Frame]] = {
    "whole": lambda f: f,
    "upside down": lambda f: f[::-1],
    "mirrored": lambda f: f[:, ::-1],
    "turned": lambda f: f[::-1, ::-1],
    "other channel order": lambda f: f[..., ::-1] if f.ndim == 3 else f,
    "every other column": lambda f: f[:, ::2],
    "every third row": lambda f: f[::3],
    "part": lambda f: f[len(f) // 3 :, f.shape[1] // 4 : f.shape[1] // 4 + 50],
    "transposed": lambda f: f.swapaxes(0, 1),
    "planar": lambda f: np.moveaxis(np.ascontiguousarray(np.moveaxis(f, -1, 0)), 0, -1) if f.ndim == 3 else f,
    "repeated row": lambda f: np.broadcast_to(f[:1], f.shape),
    "read-only": lambda f: np.frombuffer(f.tobytes(), np.uint8).reshape(f.shape),
}


@given(
    frame=frames(),
    size_wh=sizes,
    resize=st.sampled_from(image.RESIZES),
    anchor=st.sampled_from(image.ANCHORS),
    interpolation=st.sampled_from(image.INTERPOLATIONS),
    color=st.sampled_from(image.COLORS),
    as_float=st.booleans(),
    layout=st.sampled_from(image.BLOB_LAYOUTS),
)
def test_as_the_reference(
    frame: Frame,
    size_wh: tuple[int, int],
    resize: str,
    anchor: str,
    interpolation: str,
    color: str,
    as_float: bool,
    layout: str,
) -> None:
    if "d" in color and (frame.ndim == 2 or frame.shape[2] != 4):
        color = color[:3]
    channels = 1 if color == "gray" else len(color)
    normalization = {
        "pad_value": tuple(range(110, 110 + channels)),
        "mean": tuple(100.5 + 3.3 * c for c in range(channels)),
        "std": tuple(57.1 + 1.7 * c for c in range(channels)),
    }
    plain = {"pad_value": normalization["pad_value"], "dtype": "uint8"}
    kept = {"interpolation": interpolation, "layout": layout}
    spec = BlobSpec(size_wh, color, resize, anchor, **kept, **(normalization if as_float else plain))
    assert_as_reference(frame, spec)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("size_wh", [(19, 23), (160, 90)], ids=str)
def test_a_view_is_its_copy(name: str, interpolation: str, size_wh: tuple[int, int]) -> None:
    view = VIEWS[name](noise(75, 101, 3))
    spec = BlobSpec(size_wh, interpolation=interpolation)
    np.testing.assert_array_equal(to_blob(view, spec)[0], to_blob(view.copy(), spec)[0])


@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("resize", image.RESIZES)
@pytest.mark.parametrize("frame_wh", [(32767, 1), (1, 32767), (9000, 2), (3, 9000)], ids=str)
def test_extreme_sizes(interpolation: str, resize: str, frame_wh: tuple[int, int]) -> None:
    frame = noise(frame_wh[1], frame_wh[0], 3)
    assert_as_reference(frame, BlobSpec((33, 17), resize=resize, interpolation=interpolation))


# ---- memory


class GuardedMemory:
    """Bytes between two pages that may not be touched."""

    def __init__(self, pages: int = 8) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        page = mmap.PAGESIZE
        self.size = pages * page
        self.map = mmap.mmap(-1, self.size + 2 * page)
        whole = np.frombuffer(self.map, np.uint8)
        for guard in (0, self.size + page):
            status = libc.mprotect(ctypes.c_void_p(whole.ctypes.data + guard), ctypes.c_size_t(page), 0)
            assert status == 0, ctypes.get_errno()
        self.bytes = whole[page : page + self.size]

    def at_end(self, *shape: int) -> Frame:
        return self.bytes[self.size - int(np.prod(shape)) :].reshape(shape)

    def at_start(self, *shape: int) -> Frame:
        return self.bytes[: int(np.prod(shape))].reshape(shape)


@pytest.mark.parametrize("interpolation", image.INTERPOLATIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_reads_and_writes_stay_inside(interpolation: str, channels: int) -> None:
    """A byte beyond the frame or the blob would kill the test's process."""
    guarded, written = GuardedMemory(), GuardedMemory()
    guarded.bytes[:] = noise(guarded.size)
    color = "gray" if channels == 1 else "bgr"
    for width in (1, 2, 3, 5, 8, 11, 17, 31, 32, 33, 50):
        for target in ((1, 1), (width, 5), (width * 3 + 1, 9), (max(1, width // 5), 2)):
            for dtype in ("float32", "uint8"):
                spec = BlobSpec(target, color, "stretch", interpolation=interpolation, dtype=dtype)
                blob_shape = (spec.channels, target[1], target[0])
                item = np.dtype(dtype).itemsize
                shape = (7, width, channels)
                for frame, raw in (
                    (guarded.at_end(*shape), written.at_end(int(np.prod(blob_shape)) * item)),
                    (guarded.at_start(*shape)[::-1, ::-1], written.at_start(int(np.prod(blob_shape)) * item)),
                    (guarded.at_end(*shape)[:, ::2], written.at_end(int(np.prod(blob_shape)) * item)),
                ):
                    out = raw.view(dtype).reshape(blob_shape)
                    Preprocessor(spec)(frame, out)
                    np.testing.assert_array_equal(out, image_reference.to_blob(frame, spec)[0])


def test_only_the_blob_is_written() -> None:
    batch = np.full((3, 3, 21, 37), 7.0, np.float32)
    Preprocessor(BlobSpec((37, 21)))(noise(50, 60, 3), batch[1])
    assert (batch[0] == 7).all()
    assert (batch[2] == 7).all()
    assert not (batch[1] == 7).all()


@pytest.mark.alone
def test_a_warm_preprocessor_allocates_nothing_natively() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("this C library does not count its allocations (mallinfo2)")

    class Counters(ctypes.Structure):
        _fields_ = [(f"field{i}", ctypes.c_size_t) for i in range(10)]

    libc.mallinfo2.restype = Counters
    preprocess = Preprocessor(BlobSpec((64, 64)))
    frame, out = noise(75, 101, 3), np.empty((3, 64, 64), np.float32)
    preprocess(frame, out)
    before = libc.mallinfo2().field7  # bytes in use
    for _ in range(50):
        preprocess(frame, out)
    assert libc.mallinfo2().field7 == before


def test_plans_are_few() -> None:
    preprocess = Preprocessor(BlobSpec((8, 8)))
    out = np.empty((3, 8, 8), np.float32)
    for width in range(1, 40):
        frame = noise(5, width, 3)
        preprocess(frame, out)
        np.testing.assert_array_equal(out, image_reference.to_blob(frame, preprocess.spec)[0])
    assert len(preprocess._plans) <= 8


def test_to_blob_writes_into_out() -> None:
    out = np.empty((1, 3, 8, 8), np.float32)
    blob, _ = to_blob(noise(5, 5, 3), BlobSpec((8, 8)), out=out)
    assert blob is out


def test_one_thread_at_a_time() -> None:
    preprocess = Preprocessor(BlobSpec((2000, 2000)))
    frame = noise(1500, 1500, 3)
    refused: list[str] = []

    def keep_busy() -> None:
        out = np.empty((3, 2000, 2000), np.float32)
        for _ in range(1000):
            if refused:
                return
            try:
                preprocess(frame, out)
            except SessionBusyError as error:
                refused.append(str(error))

    # One of two that never pause soon comes while the other is at it.
    threads = [threading.Thread(target=keep_busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert "another thread" in refused[0]

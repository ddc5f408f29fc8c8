"""Frames in YUV: their planes, their pixels by the stated formula, and what is no frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.frame import FORMATS, MATRICES, RANGES, Frame
from tests.yuv_frames import noise_frame, pixels, samples


def plane(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def exact(y: float, cb: float, cr: float, matrix: str, range_: str) -> list[float]:
    """b, g and r of a pixel in real numbers, 0 to 255: the standards' own equations, solved."""
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    low, span, chroma_span = {"limited": (16, 219, 224), "full": (0, 255, 255)}[range_]
    luma, blue, red = (y - low) / span, (cb - 128) / chroma_span, (cr - 128) / chroma_span
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return [min(max(255 * value, 0.0), 255.0) for value in (b, g, r)]


@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_level_is_the_nearest_to_the_exact_value(matrix: str, range_: str) -> None:
    levels = [0, 1, 15, 16, 17, 100, 127, 128, 129, 200, 234, 235, 236, 240, 254, 255]
    quadruples = [(y, cb, y, cr) for y in levels for cb in levels for cr in levels]
    frame = Frame(np.array([quadruples], np.uint8).reshape(1, -1), "yuyv", matrix, range_)
    got = frame.bgr()[0, ::2].astype(float)
    expected = [exact(y, cb, cr, matrix, range_) for y, cb, _, cr in quadruples]
    assert np.abs(got - expected).max() <= 0.55


@pytest.mark.parametrize(
    ("y", "cb", "cr", "range_", "expected"),
    [
        (16, 128, 128, "limited", [0, 0, 0]),
        (235, 128, 128, "limited", [255, 255, 255]),
        (255, 128, 128, "limited", [255, 255, 255]),
        (0, 128, 128, "limited", [0, 0, 0]),
        (126, 128, 128, "limited", [128, 128, 128]),
        (81, 90, 240, "limited", [0, 0, 255]),
        (145, 54, 34, "limited", [0, 255, 0]),
        (41, 240, 110, "limited", [255, 0, 0]),
        (0, 128, 128, "full", [0, 0, 0]),
        (77, 128, 128, "full", [77, 77, 77]),
        (255, 128, 128, "full", [255, 255, 255]),
        (76, 85, 255, "full", [0, 0, 254]),
    ],
)
def test_known_colors(y: int, cb: int, cr: int, range_: str, expected: list[int]) -> None:
    """Black, white and gray exactly; the colors of BT.601's bars within a level."""
    got = Frame(np.array([[y, cb, y, cr]], np.uint8), "yuyv", range=range_).bgr().astype(int)
    assert np.abs(got - expected).max() <= (0 if cb == cr == 128 else 1)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("matrix", "range_"), [(None, None), ("bt709", "full"), ("bt709", None)], ids=str)
@pytest.mark.parametrize("size", [(2, 2), (34, 6), (130, 10)], ids=str)
def test_bgr_is_the_references(
    format: str, matrix: str | None, range_: str | None, size: tuple[int, int]
) -> None:
    frame = noise_frame(format, *size, matrix=matrix, range=range_)
    assert frame.size_wh == (frame.width, frame.height) == size
    np.testing.assert_array_equal(frame.bgr(), pixels(frame))


@pytest.mark.parametrize(
    ("format", "name"),
    [("nv12", "NV12"), ("i420", "I420"), ("yuyv", "YUY2"), ("uyvy", "UYVY")],
)
def test_within_one_level_of_opencv(format: str, name: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the other side of this comparison")
    shape = (72, 98, 2) if format in ("yuyv", "uyvy") else (108, 98)
    # OpenCV holds a luma to 16 before the conversion, not the channel to 0 after it.
    data = np.maximum(plane(*shape), 16)
    converted = cv2.cvtColor(data, getattr(cv2, f"COLOR_YUV2BGR_{name}"))
    assert np.abs(Frame(data, format).bgr().astype(int) - converted).max() <= 1


def of_planes(format: str) -> dict[str, Any]:
    """The same picture in every form that its format takes."""
    width, height = 38, 6
    whole = noise_frame(format, width, height).planes
    if format in ("yuyv", "uyvy"):
        rows = whole[0]
        padded = np.zeros((height, 2 * width + 9), np.uint8)
        padded[:, 3 : 3 + 2 * width] = rows
        inner = padded[:, 3 : 3 + 2 * width]
        return {
            "rows": rows,
            "pairs": rows.reshape(height, width, 2),
            "a tuple": (rows,),
            "padded": inner,
            "padded pairs": inner.reshape(height, width, 2),
            "upside down": np.ascontiguousarray(rows[::-1])[::-1],
        }
    padded = [np.zeros((len(p), p.shape[1] + 21), np.uint8) for p in whole]
    for target, source in zip(padded, whole, strict=True):
        target[:, 5 : 5 + source.shape[1]] = source
    inner = [p[:, 5 : 5 + source.shape[1]] for p, source in zip(padded, whole, strict=True)]
    packed = np.concatenate([p.reshape(-1) for p in whole]).reshape(height * 3 // 2, width)
    forms = {
        "packed": packed,
        "planes": tuple(p.copy() for p in whole),
        "padded": tuple(inner),
        "upside down": tuple(np.ascontiguousarray(p[::-1])[::-1] for p in whole),
        "read-only": np.frombuffer(packed.tobytes(), np.uint8).reshape(packed.shape),
    }
    if format == "nv12":
        rows = np.zeros((len(packed), width + 10), np.uint8)
        rows[:, :width] = packed
        forms["padded rows"] = rows[:, :width]
        forms["pairs"] = (whole[0], inner[1].reshape(height // 2, width // 2, 2))
    return forms


@pytest.mark.parametrize("format", FORMATS)
def test_every_form_of_the_planes_is_the_same_picture(format: str) -> None:
    expected = pixels(noise_frame(format, 38, 6))
    for name, planes in of_planes(format).items():
        np.testing.assert_array_equal(Frame(planes, format).bgr(), expected, err_msg=name)


def test_planes_are_not_copied() -> None:
    memory = np.zeros((6, 4), np.uint8)
    frame = Frame(memory, "nv12")
    memory[:] = 99
    assert (samples(frame)[0] == 99).all()


@pytest.mark.parametrize(
    ("planes", "format", "message"),
    [
        (plane(6, 4), "NV12", "Frame.format: expected one of nv12, i420, yuyv, uyvy, got 'NV12'"),
        (plane(6, 4), None, "Frame.format: expected one of"),
        (plane(6, 4).astype(np.uint16), "nv12", r"expected uint8 arrays for nv12, got uint16 \(6, 4\)"),
        (b"\0" * 24, "nv12", "expected uint8 arrays for nv12, got bytes"),
        ([plane(4, 4), plane(2, 4)], "nv12", "got list"),
        ((), "nv12", "got no planes"),
        (plane(6, 5), "nv12", r"nv12 has an even width and height, got uint8 \(6, 5\)"),
        (plane(9, 5), "i420", "i420 has an even width and height"),
        (plane(7, 4), "nv12", r"one array \(H \* 3 / 2, W\) for nv12, .* got uint8 \(7, 4\)"),
        (plane(0, 4), "nv12", r"got uint8 \(0, 4\)"),
        (plane(6, 4, 3), "i420", r"got uint8 \(6, 4, 3\)"),
        ((plane(5, 4), plane(2, 4)), "nv12", "nv12 has an even width and height, got 4 x 5; cut off"),
        ((plane(4, 5), plane(2, 4)), "nv12", "nv12 has an even width and height, got 5 x 4"),
        ((plane(4, 4), plane(3, 4)), "nv12", r"got uint8 \(4, 4\) and uint8 \(3, 4\)"),
        ((plane(4, 4), plane(2, 2)), "nv12", "expected Y"),
        ((plane(4, 4), plane(2, 2), plane(2, 2)), "nv12", r"expected Y \(H, W\) and CbCr"),
        ((plane(4, 4), plane(2, 4)), "i420", r"expected Y \(H, W\), Cb and Cr \(H / 2, W / 2\) for i420"),
        ((plane(4, 4), plane(2, 2), plane(2, 3)), "i420", r"and uint8 \(2, 3\)"),
        (plane(6, 8)[:, :4], "i420", r"C-contiguous array for i420, got strides \(8, 1\); pass a tuple"),
        (
            plane(6, 8)[:, ::2],
            "nv12",
            r"Frame.planes\[0\]: .* side by side, got strides \(8, 2\); pass a copy",
        ),
        (
            (plane(4, 4), plane(2, 4)[:, ::-1]),
            "nv12",
            r"Frame.planes\[1\]: .* side by side, got strides \(4, -1\)",
        ),
        (plane(4, 3, 2), "yuyv", "yuyv has an even width, got 3 x 4; cut off"),
        (plane(4, 6), "uyvy", "uyvy has an even width, got 3 x 4"),
        (plane(4, 7), "uyvy", r"one array \(H, W, 2\).* got uint8 \(4, 7\)"),
        (plane(4, 4, 3), "yuyv", r"got uint8 \(4, 4, 3\)"),
        (plane(4, 8, 2)[:, ::2], "yuyv", r"one array \(H, W, 2\), the bytes of a row side by side"),
        ((plane(4, 4), plane(2, 2)), "yuyv", "expected one array"),
        (plane(0, 8), "yuyv", "expected 2 to 32767 pixels a side, got 4 x 0"),
        (np.zeros((1, 4 * 20_000), np.uint8), "yuyv", "got 40000 x 1"),
    ],
    ids=str,
)
def test_bad_planes(planes: Any, format: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Frame(planes, format)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"matrix": "bt2020"}, "Frame.matrix: expected one of bt601, bt709, got 'bt2020'"),
        ({"range": "tv"}, "Frame.range: expected one of limited, full, got 'tv'"),
    ],
)
def test_bad_meanings(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Frame(plane(6, 4), "nv12", **fields)

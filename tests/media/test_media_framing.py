from __future__ import annotations

import media_files
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import MediaError
from edgecv.media.framing import check_whole, split_images

JPEG = media_files.encoded(".jpg")
PNG = media_files.encoded(".png")
PROGRESSIVE = media_files.jpeg_turned(1)


def chunked(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


@given(
    images=st.lists(st.sampled_from([JPEG, PNG, PROGRESSIVE]), max_size=4),
    gap=st.sampled_from([b"", b"\n", b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n", b"\xff", b"\0" * 9]),
    sizes=st.lists(st.integers(0, 900), max_size=30),
)
def test_images_come_out_as_they_went_in(images: list[bytes], gap: bytes, sizes: list[int]) -> None:
    stream = gap + b"".join(image + gap for image in images)
    assert list(split_images(chunked(stream, sizes))) == images


@given(cut=st.integers(3, len(JPEG) - 1), first=st.sampled_from([b"", JPEG, PNG]))
def test_unfinished_image_is_reported_at_the_end(cut: int, first: bytes) -> None:
    *whole, last = split_images([first + JPEG[:cut]])
    assert whole == ([first] if first else [])
    assert isinstance(last, MediaError)
    assert f"ends inside an image, after {cut} of its bytes" in str(last)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(
            JPEG[:-50] + JPEG + PNG,
            ["another image starts inside", JPEG, PNG],
            id="JPEG cut by the next",
        ),
        pytest.param(
            PNG[:60] + b"\0\0" + PNG[62:] + JPEG,
            ["checksum of its IDAT chunk", JPEG],
            id="PNG with a flipped byte",
        ),
        pytest.param(
            PNG[:8] + b"\xff" * 20 + JPEG, ["chunk header is damaged", JPEG], id="PNG without a header"
        ),
        pytest.param(
            b"\xff\xd8\xff\xe0\0\x01" + JPEG,
            ["shorter than its own header", JPEG],
            id="JPEG segment of 1",
        ),
    ],
)
def test_damaged_image_is_reported_and_the_next_follows(stream: bytes, expected: list[bytes | str]) -> None:
    got = list(split_images([stream]))
    assert len(got) == len(expected)
    for item, want in zip(got, expected, strict=True):
        assert item == want if isinstance(want, bytes) else want in str(item)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(
            [JPEG[:300]] + [b"\0" * 500] * 20, "an image of more than 5000 bytes", id="endless image"
        ),
        pytest.param([b"text\n" * 100] * 20, "5000 bytes without an image", id="no image"),
    ],
)
def test_memory_is_bounded(stream: list[bytes], reason: str) -> None:
    (error,) = split_images(stream, max_bytes=5000)
    assert reason in str(error)


def test_an_image_of_one_byte_at_a_time_takes_linear_work() -> None:
    stream = [bytes([byte]) for byte in JPEG + PNG]
    assert list(split_images(stream)) == [JPEG, PNG]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG, id="JPEG"),
        pytest.param(JPEG + b"trailing bytes of a camera", id="JPEG and more"),
        pytest.param(PNG, id="PNG"),
        pytest.param(b"anything else", id="another format"),
    ],
)
def test_whole_files_pass(data: bytes) -> None:
    check_whole(data)


@given(part=st.floats(0.01, 0.99))
def test_any_cut_in_a_jpeg_or_png_is_noticed(part: float) -> None:
    for data in (JPEG, PNG):
        with pytest.raises(ValueError, match="cut off"):
            check_whole(data[: max(9, int(len(data) * part))])

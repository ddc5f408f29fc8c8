from __future__ import annotations

import re
from pathlib import Path

import cv2
import media_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import MediaError, MediaNotFoundError
from edgecv.media import decode_image, open_source, read_image
from edgecv.media.formats import HEAD_BYTES, picture_size_wh, sniff
from edgecv.media.images import MAX_PIXELS, as_bgr

LOSSLESS = [".bmp", ".png", ".ppm", ".tif"]
FORMATS = [*LOSSLESS, ".jpg", ".webp", ".jp2"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_as_bgr(tmp_path: Path, suffix: str) -> None:
    path = media_files.write_image(tmp_path / f"a{suffix}")
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    worst = 0 if suffix in LOSSLESS else 30
    assert np.abs(image.astype(int) - media_files.picture()).max() <= worst


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(media_files.picture()[:, :, 0], id="gray"),
        pytest.param(np.dstack([media_files.picture(), np.full((32, 48), 7, np.uint8)]), id="alpha"),
        pytest.param(media_files.picture().astype(np.uint16) * 257, id="16-bit"),
        pytest.param(media_files.picture()[:, :, 0].astype(np.uint16) * 257, id="16-bit gray"),
    ],
)
def test_other_depths_and_channels_become_8_bit_bgr(original: np.ndarray) -> None:
    image = decode_image(media_files.encoded(".png", original), "a.png")
    eight_bits = original if original.dtype == np.uint8 else (original // 257).astype(np.uint8)
    expected = np.dstack([eight_bits] * 3) if original.ndim == 2 else eight_bits[:, :, :3]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    upright = decode_image(media_files.encoded(".jpg"), "a.jpg")
    image = decode_image(media_files.jpeg_turned(orientation), "a.jpg")
    np.testing.assert_array_equal(image, np.rot90(upright, turns))


PALETTE = bytes([10, 20, 30, 200, 100, 50, 0, 255, 0, 9, 9, 9])


@pytest.mark.parametrize(
    ("data", "bgr"),
    [
        pytest.param(media_files.flat_jpeg((100,)), [[100, 100, 100]], id="gray JPEG"),
        pytest.param(media_files.flat_jpeg((10, 60, 200), adobe=0), [[200, 60, 10]], id="RGB JPEG"),
        pytest.param(media_files.flat_jpeg((255, 255, 255, 255), adobe=0), [[255, 255, 255]], id="no ink"),
        pytest.param(media_files.flat_jpeg((0, 255, 255, 255), adobe=0), [[255, 255, 0]], id="cyan ink"),
        pytest.param(media_files.flat_jpeg((255, 255, 255, 0), adobe=0), [[0, 0, 0]], id="black ink"),
        pytest.param(media_files.flat_jpeg((255, 128, 128, 255), adobe=2), [[0, 0, 0]], id="YCCK"),
        pytest.param(
            media_files.png((4, 1), 2, 3, b"\0\x1b", (b"PLTE", PALETTE), (b"tRNS", b"\0\x80")),
            [[30, 20, 10], [50, 100, 200], [0, 255, 0], [9, 9, 9]],
            id="palette with transparent entries",
        ),
        pytest.param(
            media_files.png((2, 1), 8, 4, b"\0\x32\0\x5a\xff"), [[50] * 3, [90] * 3], id="gray and alpha"
        ),
        pytest.param(
            media_files.png((2, 1), 8, 6, b"\0\1\2\3\0\4\5\6\xff"), [[3, 2, 1], [6, 5, 4]], id="alpha"
        ),
        pytest.param(media_files.png((2, 1), 1, 0, b"\0\x80"), [[255] * 3, [0] * 3], id="one bit"),
        pytest.param(
            media_files.png((2, 1), 16, 0, b"\0\x0f\xff\xff\xff"), [[15] * 3, [255] * 3], id="16-bit gray"
        ),
        pytest.param(b"P5 2 1 65535\n\x0f\xff\xff\xff", [[15] * 3, [255] * 3], id="16-bit PGM"),
        pytest.param(b"P4 8 1\n\x7f", [[255] * 3] + [[0] * 3] * 7, id="PBM"),
    ],
)
def test_what_color_becomes(data: bytes, bgr: list[list[int]]) -> None:
    image = decode_image(data, "a")
    np.testing.assert_allclose(image[0, : len(bgr)].astype(int), bgr, atol=1)


REFUSED = {
    "radiance": (media_files.encoded(".hdr", media_files.picture().astype(np.float32)), "floating-point"),
    "radiance, old": (b"#?RGBE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\x80\x80\x80\x80", "floating-point"),
    "pfm": (media_files.encoded(".pfm", media_files.picture().astype(np.float32)), "floating-point"),
    "gray pfm": (b"Pf\n1 1\n-1.0\n\0\0\x80\x3f", "floating-point"),
    "openexr": (b"\x76\x2f\x31\x01\x02\0\0\0channels\0chlist\0", "floating-point"),
    "float tiff": (
        media_files.encoded(".tif", media_files.picture().astype(np.float32)),
        "floating-point, of 32 bits",
    ),
    "double tiff": (
        media_files.encoded(".tif", media_files.picture()[:, :, 0].astype(np.float64)),
        "floating-point, of 64 bits",
    ),
    "half tiff, big-endian": (
        media_files.tiff((256, 3, 1), (257, 3, 1), (258, 3, 16), (339, 3, 3), order=">"),
        "floating-point, of 16 bits",
    ),
    "float bigtiff": (
        media_files.tiff((256, 4, 1), (257, 4, 1), (258, 3, 32), (339, 3, 3), big=True),
        "floating-point, of 32 bits",
    ),
    "signed tiff": (
        media_files.encoded(".tif", media_files.picture().astype(np.int16)),
        "signed, of 16 bits",
    ),
    "complex tiff": (media_files.tiff((256, 3, 1), (257, 3, 1), (258, 3, 64), (339, 3, 6)), "complex"),
    "32-bit tiff": (media_files.tiff((256, 3, 1), (257, 3, 1), (258, 3, 32)), "its samples have 32 bits"),
    "10-bit pgm": (b"P5 1 1 1023\n\x03\xff", "brightest value is 1023"),
    "4-bit pgm": (b"P5 # dark\n1 1\n15\n\x0f", "brightest value is 15"),
    "text ppm": (b"P3\n1 1\n1000\n1 2 3\n", "brightest value is 1000"),
    "gif": (b"GIF89a\1\0\1\0\x80\0\0", "read as a video"),
    "animated webp": (
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02" + b"\0" * 9,
        "animated WebP",
    ),
    "animated png": (
        media_files.png((1, 1), 8, 0, b"\0\0", (b"acTL", b"\0\0\0\x03\0\0\0\0")),
        "animated PNG of 3 frames",
    ),
    "avif sequence": (b"\0\0\0\x18ftypavis\0\0\0\0avifavis", "animated AVIF"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_picture_of_8_or_16_bits_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match="expected a picture of 8- or 16-bit samples, but") as raised:
        decode_image(data, "a.tif")
    text = str(raised.value)
    assert text.startswith("a.tif: ")
    assert reason in text
    assert "\n" not in text
    path = tmp_path / "named alone.bin"
    path.write_bytes(data)
    if sniff(data[:HEAD_BYTES]) == "image":
        with open_source(path) as source, pytest.raises(MediaError, match=re.escape(reason)):
            next(source)


@pytest.mark.skipif(not hasattr(cv2, "imencodeanimation"), reason="this OpenCV writes no animations")
@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif"])
def test_animations_as_opencv_writes_them_are_refused(suffix: str) -> None:
    with pytest.raises(MediaError, match="it is an animated"):
        decode_image(media_files.animated(suffix), "a")


def test_an_animated_png_of_one_frame_is_a_picture() -> None:
    data = media_files.png((1, 1), 8, 0, b"\0\7", (b"acTL", b"\0\0\0\x01\0\0\0\0"))
    assert decode_image(data, "a").tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("size", [*range(9, 60)])
def test_a_tiff_that_ends_in_its_directory_is_no_crash(size: int) -> None:
    with pytest.raises(MediaError):
        decode_image(media_files.tiff((256, 3, 1), (258, 3, 32), (339, 3, 3))[:size], "a")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"hello, this is text\n" * 20, "no image format", id="text"),
        pytest.param(b"\xff\xd8\xff", "cut off after 3 bytes", id="three bytes of a JPEG"),
        pytest.param(media_files.encoded(".jpg")[:-2], "cut off", id="JPEG without its end"),
        pytest.param(media_files.encoded(".jpg")[:400], "cut off", id="JPEG cut in a table"),
        pytest.param(media_files.encoded(".png")[:-5], "cut off", id="PNG without its end"),
        pytest.param(
            media_files.encoded(".png")[:100] + b"\0\0\0\0" + media_files.encoded(".png")[104:],
            "checksum of its IDAT chunk",
            id="damaged PNG",
        ),
        pytest.param(media_files.png_header(8, 8), "it is damaged, or", id="PNG with too little data"),
        pytest.param(media_files.png_header(0, 5), "size of 0 x 5", id="PNG of no width"),
        pytest.param(media_files.png_header(100_000, 100_000), "at most", id="huge PNG"),
        pytest.param(media_files.png_header(2**31 - 1, 2**31 - 1), "at most", id="absurd PNG"),
        pytest.param(media_files.jpeg_of_size(65_500, 65_500), "at most", id="huge JPEG"),
        pytest.param(b"P6 99999 99999 255\n", "at most", id="huge PPM"),
        pytest.param(media_files.png_header(40_000, 3), "at most 32767 pixels a side", id="wide PNG"),
        pytest.param(b"II*\0\x40\x42\x0f\0" + bytes(99), "it is damaged, or", id="TIFF without its end"),
        pytest.param(
            media_files.encoded(".bmp")[:18] + b"\x40\x0d\x03\0" * 2 + media_files.encoded(".bmp")[26:],
            "at most",
            id="huge BMP",
        ),
    ],
)
def test_bad_data_gives_one_line(data: bytes, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MediaError, match=re.escape(reason)) as raised:
        decode_image(data, "photo.jpg")
    text = str(raised.value)
    assert text.startswith("photo.jpg: ")
    assert "\n" not in text
    assert "[ERROR" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", FORMATS)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_cut_image_is_never_read(suffix: str, part: float) -> None:
    data = media_files.encoded(suffix)
    # The tags after the pixel data of a TIFF are padded: its last byte may go.
    size = min(int(len(data) * part), len(data) - 4)
    with pytest.raises(MediaError):
        decode_image(data[:size], "cut")


@given(data=st.binary(max_size=2000), start=st.sampled_from(["", *FORMATS]))
def test_any_bytes_are_an_image_or_a_media_error(data: bytes, start: str) -> None:
    data = media_files.encoded(start)[:60] + data if start else data
    try:
        image = decode_image(data, "any")
    except MediaError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_size_is_read_from_the_header(suffix: str) -> None:
    data = media_files.encoded(suffix, media_files.picture(67, 43))
    assert picture_size_wh(data) == (67, 43)
    assert sniff(data[:HEAD_BYTES]) == "image"


@pytest.mark.parametrize(
    ("header", "size_wh"),
    [
        pytest.param(b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x63\0\0\x31\0\0", (100, 50), id="VP8X"),
        pytest.param(
            b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (99 | 49 << 14).to_bytes(4, "little"),
            (100, 50),
            id="VP8L",
        ),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + b"\x64\0\x32\0", (100, 50), id="VP8"),
        pytest.param(b"BM" + b"\0" * 12 + b"\x0c\0\0\0\x64\0\x32\0", (100, 50), id="OS/2 BMP"),
        pytest.param(b"P5 # a comment\n# and another\n100\t50\n255\n", (100, 50), id="PNM with comments"),
        pytest.param(
            b"MM\0*\0\0\0\x08\0\x02"
            + b"\x01\0\0\x03\0\0\0\x01\0\x64\0\0"
            + b"\x01\x01\0\x04\0\0\0\x01\0\0\0\x32",
            (100, 50),
            id="big-endian TIFF",
        ),
        pytest.param(media_files.tiff((256, 4, 100), (257, 3, 50), big=True), (100, 50), id="BigTIFF"),
        pytest.param(
            b"\xff\x4f\xff\x51\0\x29\0\0" + b"\0\0\0\x68\0\0\0\x36" + b"\0\0\0\x04" * 2,
            (100, 50),
            id="J2K",
        ),
        pytest.param(
            b"\0\0\0\x1cftypavif" + b"\0" * 40 + b"ispe\0\0\0\0\0\0\0\x64\0\0\0\x32",
            (100, 50),
            id="AVIF",
        ),
        pytest.param(
            b"\xff\xd8\xff\xff\xff\xe0\0\x02\xff\xc2\0\x0b\x08\0\x32\0\x64", (100, 50), id="filled JPEG"
        ),
        pytest.param(b"\xff\xd8\xff\xe0\xff\xff", None, id="JPEG without a frame"),
        pytest.param(b"II*\0\xff\xff\xff\x7f", None, id="TIFF that points outside"),
        pytest.param(b"RIFF\0\0\0\0WEBPABCD", None, id="unknown WebP"),
    ],
)
def test_size_of_rarer_headers(header: bytes, size_wh: tuple[int, int] | None) -> None:
    assert picture_size_wh(header) == size_wh


def test_the_largest_picture_is_a_documented_limit() -> None:
    side = int(MAX_PIXELS**0.5)
    with pytest.raises(MediaError, match="cut off"):
        decode_image(media_files.jpeg_of_size(32_767, 1)[:-2], "a.jpg")
    with pytest.raises(MediaError, match=f"at most {MAX_PIXELS} pixels, got {side + 1} x {side}"):
        decode_image(media_files.png_header(side + 1, side), "a.png")


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    path = media_files.write_image(tmp_path / "grün 日本 photo.png")
    np.testing.assert_array_equal(read_image(path), media_files.picture())


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("absent.jpg", MediaNotFoundError, "no such file"),
        ("folder", MediaError, "Is a directory"),
        ("file/a.jpg", MediaError, "Not a directory"),
        ("a\0b.jpg", MediaError, "not a usable file name"),
        ("n" * 300 + ".jpg", MediaError, "cannot be read"),
    ],
    ids=["absent", "folder", "below a file", "zero byte", "too long"],
)
def test_unreadable_paths(tmp_path: Path, name: str, kind: type[MediaError], reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(kind, match=reason):
        read_image(tmp_path / name)


def test_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(MediaError, match="at most 1024 MiB, got 1024 MiB; cut it into tiles"):
        read_image(path)


def test_decoders_output_must_be_8_bit() -> None:
    with pytest.raises(MediaError, match="expected 8-bit pictures, got uint16"):
        as_bgr(np.zeros((4, 4), np.uint16), "camera 0")


def test_log_level_of_opencv_is_restored() -> None:
    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(4)
    try:
        with pytest.raises(MediaError):
            decode_image(b"text", "a.jpg")
        assert log.getLogLevel() == 4
    finally:
        log.setLogLevel(before)

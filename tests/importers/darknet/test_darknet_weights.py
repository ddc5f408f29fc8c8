"""Weights files: every version of the header, and what is said of those that do not fit."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgecv.errors import ModelFileError, ModelNotFoundError
from edgecv.importers import darknet
from edgecv.importers.darknet import weights as weights_file
from tests.importers.darknet import reference
from tests.importers.darknet.structures import conv, maxpool, net, section
from tests.importers.darknet.test_darknet_layers import assert_same, imported, picture_for, run

CFG = net() + conv(4) + maxpool() + conv(6) + section("connected", output=5, activation="linear")
# Numbers of the three layers: 4 * (4 + 27), 6 * (4 + 36), 5 * (1 + 384).
COUNTS = (124, 240, 1925)
BODY = reference.random_weights(CFG)[20:]

VERSIONS = {
    "0.1": ((0, 1, 0), 16),
    "0.0": ((0, 0, 7), 16),
    "0.2": ((0, 2, 0), 20),
    "0.2.5": ((0, 2, 5), 20),
    "1.0": ((1, 0, 0), 20),
}


@pytest.mark.parametrize(("version", "size"), VERSIONS.values(), ids=VERSIONS)
def test_the_header_has_32_or_64_bits_of_seen_pictures(
    version: tuple[int, int, int], size: int, tmp_path: Path
) -> None:
    head = reference.header(version)
    assert len(head) == size
    result = imported(tmp_path, CFG, head + BODY)
    picture = picture_for(result.networks["network"])
    expected = reference.run(CFG, bytes(20) + BODY, picture)
    assert_same(run(result.networks["network"], picture), expected)
    assert result.remarks == ()


def test_files_without_a_version_are_transposed(tmp_path: Path) -> None:
    rates = struct.pack("<3fi", 0.01, 0.9, 0.0005, 64000)
    first, second = sum(COUNTS[:2]) * 4, (sum(COUNTS[:2]) + 5) * 4
    matrix = np.frombuffer(BODY[second:], "<f4").reshape(5, 384)
    old = rates + BODY[:first] + BODY[first:second] + matrix.T.tobytes()
    model = imported(tmp_path, CFG, old).networks["network"]
    picture = picture_for(model)
    assert_same(run(model, picture), reference.run(CFG, bytes(20) + BODY, picture))


def test_batchnorm_without_bias(tmp_path: Path) -> None:
    cfg = net() + conv(4) + section("batchnorm")
    whole = reference.random_weights(cfg)
    bias = 20 + 4 * COUNTS[0]
    without = whole[:bias] + whole[bias + 16 :]
    zeroed = whole[:bias] + bytes(16) + whole[bias + 16 :]
    result = imported(tmp_path, cfg, without)
    picture = picture_for(result.networks["network"])
    assert_same(run(result.networks["network"], picture), reference.run(cfg, zeroed, picture))
    assert result.remarks == ("[batchnorm] has no bias in this weights file: 0",)


HEADERS = {
    "empty": (b"", r"not Darknet weights: 0 bytes"),
    "text": (b"[net]\nwidth=416\nheight=416\n" * 40, r"not Darknet weights, or damaged: its header says"),
    "negative": (struct.pack("<3i", -1, 2, 5) + BODY, r".* its header says version -1\.2\.5"),
    "not-a-rate": (struct.pack("<3f", 1e9, 0.9, 0.1) + BODY, r"not Darknet weights, or damaged"),
    "nan-rate": (b"\xff\xff\xff\x7f" * 3 + BODY, r"not Darknet weights, or damaged"),
    "cut-in-the-header": (struct.pack("<4i", 0, 2, 5, 0), r"cut short in its header: 16 bytes of 20"),
    "header-alone": (
        reference.header((0, 2, 5)),
        r"ends in layer 0 \[convolutional\] \(cfg line 7\): expected 124 numbers, found 0; 2289 in all",
    ),
}


@pytest.mark.parametrize(("content", "message"), HEADERS.values(), ids=HEADERS)
def test_other_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"net\.weights: {message}"):
        imported(tmp_path, CFG, content)


CUTS = {
    "in-the-first-layer": (
        100,
        r"layer 0 \[convolutional\] \(cfg line 7\): expected 124 numbers, found 100;",
    ),
    "after-the-first": (
        124,
        r"layer 2 \[convolutional\] .* expected 240 .* found 0; .*: it is a partial file",
    ),
    "in-the-second": (
        200,
        r"layer 2 \[convolutional\] .* expected 240 numbers, found 76; .* it is cut short",
    ),
    "one-number-short": (2288, r"layer 3 \[connected\] .* expected 1925 numbers, found 1924; 2289 in all"),
}


@pytest.mark.parametrize(("count", "message"), CUTS.values(), ids=CUTS)
def test_a_short_file_names_the_layer(count: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=message):
        imported(tmp_path, CFG, reference.header((0, 2, 5)) + BODY[: 4 * count])


@pytest.mark.parametrize("extra", [1, 4, 400])
def test_bytes_left_over_are_doubtful(extra: int, tmp_path: Path) -> None:
    result = imported(tmp_path, CFG, reference.header((0, 2, 5)) + BODY + bytes(extra))
    said, _ = result.assumptions
    assert f"these weights belong to this cfg, though {extra} bytes follow the last one" in said


def test_weights_that_are_no_numbers_are_doubtful(tmp_path: Path) -> None:
    numbers = np.frombuffer(BODY, "<f4").copy()
    numbers[[0, 5]] = np.nan
    numbers[130] = np.inf
    result = imported(tmp_path, CFG, reference.header((0, 2, 5)) + numbers.tobytes())
    assert result.assumptions == (
        "layer 0 [convolutional]: 2 of its weights are infinite or not a number",
        "layer 2 [convolutional]: 1 of its weights are infinite or not a number",
        "task: connected_3 is a row of 5 numbers that no softmax makes: taken as scores of 5 classes, of "
        "which a softmax is made",
    )


def test_weights_are_not_copied_when_they_are_read() -> None:
    data = reference.header((0, 2, 5)) + BODY
    numbers = weights_file.parse(data, origin="net.weights").numbers
    assert not numbers.flags.owndata
    assert not numbers.flags.writeable


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_text(CFG)
    with pytest.raises(ModelNotFoundError, match=r"net\.weights: no such file"):
        darknet.read(tmp_path / "net.cfg", tmp_path / "net.weights")
    with pytest.raises(ModelNotFoundError, match=r"none\.cfg: no such file"):
        darknet.read(tmp_path / "none.cfg", tmp_path / "net.weights")


HUGE = {
    "filters": net() + conv(1 << 20) + conv(1 << 20),
    "connected": net(4096) + section("connected", output=1 << 20, activation="linear"),
    "local": net(1024) + section("local", filters=1000, size=3, pad=1, activation="linear"),
}


@pytest.mark.parametrize("cfg", HUGE.values(), ids=HUGE)
def test_what_the_weights_cannot_hold_is_not_allocated(cfg: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"net\.weights: ends in layer 0 .*: expected \d{8,} numbers"):
        imported(tmp_path, cfg, reference.header((0, 2, 5)) + BODY)

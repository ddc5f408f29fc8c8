"""A model of an open size looks at frames at the size that was prepared last, and keeps those before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv import zoo
from edgecv.backends.session import MAX_PLANS
from edgecv.errors import InputError
from edgecv.scenes import make_belt

FRAME = next(iter(make_belt(seed=5, frames=1))).image
SIZES = ((320, 320), (416, 320), (256, 256))


@pytest.fixture(scope="module")
def network() -> Path:
    return zoo.files_of(zoo.find("parts-nano"))[0].parent / "parts-nano-dynamic.onnx"


def alone(network: Path, size: tuple[int, int], backend: str) -> Any:
    with edgecv.load(network, backend=backend, threads=1, imgsz=size) as detector:
        return detector(FRAME)


@pytest.mark.parametrize("backend", ["simd", "onnxruntime", "opencv"])
def test_each_size_finds_what_it_does_alone(network: Path, backend: str) -> None:
    expected = {size: alone(network, size, backend) for size in SIZES}
    assert len({found.xyxy.tobytes() for found in expected.values()}) == len(SIZES)
    with edgecv.load(network, backend=backend, threads=1, task="detect") as detector:
        for size in (*SIZES, *SIZES[::-1]):
            detector.prepare(size)
            assert detector.blob_wh == size
            assert detector(FRAME) == expected[size]
            assert detector.batch([FRAME, FRAME]) == [expected[size]] * 2


def test_one_number_is_both_sides(network: Path) -> None:
    with edgecv.load(network, backend="simd", threads=1, task="detect") as detector:
        detector.prepare(256)
        assert detector.blob_wh == (256, 256)


def test_a_size_that_was_prepared_compiles_nothing(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edgecv.load(network, backend="simd", threads=1, task="detect") as detector:
        detector.prepare(256)
        monkeypatch.setattr(type(detector.session), "_make_plan", lambda *_: pytest.fail("compiled again"))
        for size in (320, 256, 320):
            detector.prepare(size)
            detector(FRAME)


def test_a_clone_has_the_size_that_is_in_use(network: Path) -> None:
    with edgecv.load(network, backend="simd", threads=1, task="detect") as detector:
        detector.prepare(256)
        with detector.clone() as twin:
            assert twin.blob_wh == (256, 256)
            assert twin(FRAME) == detector(FRAME)


def test_only_so_many_sizes_are_kept(network: Path) -> None:
    with edgecv.load(network, backend="simd", threads=1, task="detect") as detector:
        for i in range(MAX_PLANS + 2):
            detector.prepare(32 * (i + 1))
        assert len(detector._sizes) == MAX_PLANS
        detector.prepare(32)
        assert detector(FRAME).xyxy.dtype == np.float32


@pytest.mark.parametrize(
    ("imgsz", "message"),
    [
        ((320, 321), "parts-nano-dynamic: imgsz asks for 320x321, and the network does not take it: "),
        (0, "imgsz: expected a size or (width, height) of at least 1, got 0"),
        ("320", "imgsz: expected a size or (width, height) of at least 1, got '320'"),
    ],
)
def test_a_size_that_does_not_fit_changes_nothing(network: Path, imgsz: Any, message: str) -> None:
    with edgecv.load(network, backend="simd", threads=1, task="detect") as detector:
        expected = detector(FRAME)
        with pytest.raises(InputError) as raised:
            detector.prepare(imgsz)
        assert message in str(raised.value)
        assert detector.blob_wh == (320, 320)
        assert detector(FRAME) == expected


def test_a_fixed_model_says_so() -> None:
    with edgecv.load("parts-nano", backend="simd", threads=1, task="detect") as detector:
        detector.prepare(320)
        with pytest.raises(InputError, match="the network's input is fixed at 320x320; export it with"):
            detector.prepare(416)
        assert detector.blob_wh == (320, 320)

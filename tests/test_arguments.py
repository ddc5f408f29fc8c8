"""Arguments of a wrong type are one line: what, expected, got, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv import arguments, media
from edgecv.backends import usable
from edgecv.errors import InputError, ModelNotFoundError
from tests.networks import tiny_yolov8

FRAME = np.zeros((48, 64, 3), np.uint8)


class Alien:
    """What another library has in place of a frame."""

    def __init__(self, module: str, **attributes: Any) -> None:
        self.__class__ = type("Picture", (), {"__module__": module})
        self.__dict__.update(attributes)


LOADED: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": 5}, "model: expected a card's name or the path of a file, got 5; name the file"),
    "no model": ({"model": None}, "model: .* got None; was the variable ever set"),
    "bytes": ({"model": b"abc"}, "model: .* got bytes of 3; edgecv.compile takes the bytes"),
    "a network": ({"model": onnx.ModelProto()}, "model: .* got ModelProto; onnx.save writes it"),
    "threads": ({"threads": "2"}, "threads: expected a whole number from 1 to 256, got '2'"),
    "conf": ({"conf": "0.3"}, "conf: expected a number from 0 to 1, or one a class, got '0.3'"),
    "conf of a class": ({"conf": ["0.3"]}, r"conf: .* got \['0.3'\]"),
    "conf that is true": ({"conf": True}, "conf: .* got True"),
    "iou": ({"iou": "0.3"}, "iou: expected a number from 0 to 1, got '0.3'"),
    "max_det": ({"max_det": 3.5}, "max_det: expected a whole number of at least 1, got 3.5"),
    "multi_label": ({"multi_label": "yes"}, "multi_label: expected True or False, got 'yes'"),
    "agnostic": ({"agnostic": 1}, "agnostic: expected True or False, got 1"),
    "classes": ({"classes": 5}, "classes: expected a list of ids or names, got 5"),
    "cache": ({"cache": "no"}, "cache: expected True or False, got 'no'"),
    "warmup": ({"warmup": 1}, "warmup: expected True or False, got 1"),
    "weights": ({"weights": 3}, "weights: expected the path of a file, got 3"),
    "labels": ({"labels": ["a", "b"]}, "labels: expected the path of a file, got list of 2"),
    "mean": ({"mean": object()}, "mean: expected a number for each channel, or a file, got"),
    "imgsz": ({"imgsz": "640"}, "imgsz: expected a size or .*, got '640'"),
    "backend": ({"backend": ["simd"]}, r"backend: expected a word or None, got \['simd'\]; several are one"),
    "device": ({"device": 0}, 'device: expected a word or None, got 0; as "cpu" or "cuda:0"'),
    "precision": ({"precision": 16}, 'precision: expected a word or None, got 16; as "fp16"'),
    "an empty name": ({"model": ""}, "model: .* got ''; was the variable ever set"),
    "iou of classes": ({"iou": [0.3, 0.4]}, r"iou: expected a number from 0 to 1, got \[0.3, 0.4\]"),
    "conf of none": ({"conf": []}, "conf: "),
    "pool": ({"pool": 2}, r"pool: expected an edgecv.Pool, got 2; edgecv.Pool\(2\)"),
    "task": ({"task": "detection"}, "task: expected classify or detect, got 'detection'"),
}


@pytest.mark.parametrize(("given", "line"), LOADED.values(), ids=LOADED)
def test_load(given: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        edgecv.load(**({"model": "parts-nano"} | given))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given", [{"conf": 0}, {"conf": np.float32(0.5)}, {"conf": np.array(0.5)}, {"conf": [0.1, 0.2, 0.3]}]
)
def test_numbers_of_any_kind_are_thresholds(given: dict[str, Any]) -> None:
    edgecv.load("parts-nano", **given).close()


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if "simd" not in usable():
        pytest.skip("simd is not usable here")
    path: Path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    with edgecv.load(path, backend="simd", threads=1) as made:
        yield made


FRAMES: dict[str, tuple[Any, str]] = {
    "a name": ("file.jpg", "got str; read it first, as cv2.imread does"),
    "a path": (Path("file.jpg"), "got PosixPath; read it first"),
    "a file's bytes": (b"abc", "got bytes; decode it first"),
    "nothing": (None, "got NoneType; cv2.imread gives None for a file that it cannot read"),
    "floats": (FRAME.astype(np.float32), r"got float32 \(48, 64, 3\); \(frame \* 255\).astype"),
    "wide": (FRAME.astype(np.int64), "got int64 .*; scale other dtypes to 0..255"),
    "channels first": (FRAME.transpose(2, 0, 1).copy(), r"got shape \(3, 48, 64\); frame.transpose"),
    "a batch": (FRAME[None], r"got uint8 \(1, 48, 64, 3\); one frame a call, and several to batch\(\)"),
    "a list": ([FRAME], r"got list; several frames go to batch\(\)"),
    "Pillow's": (Alien("PIL.Image", size=(1, 1)), r"got Picture; numpy.asarray\(image.convert"),
    "a tensor": (Alien("torch", shape=(3, 4, 4)), "got Picture; tensor.permute"),
}


@pytest.mark.parametrize(("frame", "line"), FRAMES.values(), ids=FRAMES)
def test_a_frame(detector: Any, frame: Any, line: str) -> None:
    with pytest.raises(InputError, match=f"frame: expected .*{line}"):
        detector(frame)


def test_a_frame_with_alpha_is_one(detector: Any) -> None:
    assert detector(np.dstack([FRAME, FRAME[..., :1]])) == detector(FRAME)


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "one frame": (
        lambda d: d.batch(FRAME),
        r"frames: .* got uint8 \(48, 64, 3\); one alone goes in brackets",
    ),
    "a folder": (lambda d: d.batch("pictures"), "frames: expected a list of frames, got 'pictures'"),
    "no frames": (lambda d: d.batch(None), "frames: expected a list of frames, got None"),
    "capture": (lambda d: d(FRAME, "now"), "captured_ns: expected whole nanoseconds"),
    "deadline": (lambda d: d(FRAME, None, 0.5), "deadline_ns: expected whole nanoseconds"),
    "run of a list": (
        lambda d: d.session.run([FRAME]),
        "inputs: expected arrays by the names of inputs.*list of 1",
    ),
    "run of an array": (
        lambda d: d.session.run(FRAME),
        r"inputs: expected arrays .* got uint8 \(48, 64, 3\)",
    ),
    "prepare": (
        lambda d: d.session.prepare((1, 3, 8, 8)),
        "shapes: expected shapes by the names .* tuple of 4",
    ),
    "a size": (
        lambda d: d.session.prepare({"images": 64}),
        "shapes: images: expected whole numbers, .* got 64",
    ),
    "compile": (lambda d: edgecv.compile(onnx.ModelProto()), "model: .* takes model.SerializeToString"),
    "compile nothing": (lambda d: edgecv.compile(None), "model: expected the path of a file, or its bytes"),
    "compile a name": (
        lambda d: edgecv.compile("parts-nano"),
        "there is a card of that name, for edgecv.load",
    ),
    "clone": (lambda d: d.clone(2), r"pool: expected an edgecv.Pool, got 2; edgecv.Pool\(2\)"),
    "clone of a session": (lambda d: d.session.clone(2), "pool: expected an edgecv.Pool, got 2"),
    "a pool": (lambda d: edgecv.Pool("2"), "threads: expected a whole number from 1 to 256, got '2'"),
    "a pool of a processor": (lambda d: edgecv.Pool(2, cpus=3), r"cpus: expected numbers .* \(2, 3\), got 3"),
    "no source": (lambda d: media.open_source(None), "source: expected a file, .*; got None"),
    "limit": (lambda d: media.open_source("-", limit="3"), "limit: expected a number of frames .* got '3'"),
    "no picture": (lambda d: media.read_image(None), "path: expected the path of a file, got None"),
}


@pytest.mark.parametrize(("call", "line"), CALLS.values(), ids=CALLS)
def test_calls(detector: Any, call: Callable[[Any], Any], line: str) -> None:
    with pytest.raises((InputError, ModelNotFoundError), match=line):
        call(detector)


@pytest.mark.parametrize("name", ["conf", "threads", "imgsz"])
def test_settings_are_of_load(detector: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"it is of the whole model: edgecv.load\(…, {name}=…\)"):
        setattr(detector, name, 1)


def test_an_array_of_frames_is_several(detector: Any) -> None:
    assert detector.batch(np.stack([FRAME, FRAME])) == detector.batch([FRAME, FRAME])


def test_long_values_are_cut() -> None:
    assert len(arguments.told("x" * 1000)) == arguments.MOST_CHARS

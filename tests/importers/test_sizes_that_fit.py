"""Sizes that a network cannot take, told before it is compiled; and batch axes that inference proves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import edgecv
from edgecv.drafts import draft
from edgecv.errors import InputError
from edgecv.graph.model import OnnxModel
from edgecv.importers.sizes import with_batches
from tests.networks import model_bytes, photo, tiny_yolov8, ultralytics_metadata


def pyramid(levels: int, layout: str = "nchw") -> bytes:
    """A detector that halves the picture so often, and joins each map with the one below, twice as large."""
    weights: dict[str, np.ndarray] = {
        "halve": np.full((7, 3, 2, 2), 0.1, np.float32),
        "deeper": np.full((7, 7, 2, 2), 0.1, np.float32),
        "twice": np.float32([1, 1, 2, 2]),
        "shape": np.int64([0, 7, -1]),
    }
    nodes = [helper.make_node("Conv", ["picture", "halve"], ["map1"], strides=[2, 2])]
    for i in range(1, levels):
        nodes.append(helper.make_node("Conv", [f"map{i}", "deeper"], [f"map{i + 1}"], strides=[2, 2]))
    below = f"map{levels}"
    for i in range(levels - 1, 0, -1):
        nodes.append(helper.make_node("Resize", [below, "", "twice"], [f"up{i}"], mode="nearest"))
        nodes.append(helper.make_node("Add", [f"up{i}", f"map{i}"], [f"sum{i}"]))
        below = f"sum{i}"
    nodes += [
        helper.make_node("Reshape", [below, "shape"], ["rows"]),
        helper.make_node("Sigmoid", ["rows"], ["output0"]),
    ]
    perm = [0, 3, 1, 2] if layout == "nhwc" else [0, 1, 2, 3]
    nodes.insert(0, helper.make_node("Transpose", ["images"], ["picture"], perm=perm))
    sizes = {"n": 1, "c": 3, "h": "height", "w": "width"}
    return model_bytes(
        nodes,
        inputs=[("images", [sizes[axis] for axis in layout])],
        outputs=[("output0", [1, 7, "cells"])],
        weights=weights,
        metadata=ultralytics_metadata(64),
    )


SIZES: dict[str, tuple[int, str, Any, str]] = {
    "multiples of 32": (5, "nchw", 100, "100x100, .* multiples of 32; the nearest are 96x96 or 128x128"),
    "multiples of 8": (3, "nchw", 100, "multiples of 8; the nearest are 96x96 or 104x104"),
    "channels last": (5, "nhwc", 100, "multiples of 32; the nearest are 96x96 or 128x128"),
    "one side": (5, "nchw", (96, 100), "96x100, .* the nearest are 96x96 or 96x128"),
    "smaller than one": (5, "nchw", 20, "the nearest are 32x32$"),
}


@pytest.mark.parametrize(("levels", "layout", "imgsz", "message"), SIZES.values(), ids=SIZES)
def test_the_nearest_sizes_are_named(
    tmp_path: Path, levels: int, layout: str, imgsz: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(pyramid(levels, layout))
    wh = imgsz if isinstance(imgsz, tuple) else (imgsz, imgsz)

    def compiled(*_: Any, **__: Any) -> None:
        raise AssertionError("compiled before the size was looked at")

    monkeypatch.setattr("edgecv.backends.compile_model", compiled)
    for look in (lambda: edgecv.load(path, imgsz=imgsz, cache=False), lambda: draft(path, imgsz=wh)):
        with pytest.raises(InputError, match=message) as caught:
            look()
        assert "\n" not in str(caught.value)


def test_a_size_that_fits_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(pyramid(5))
    with edgecv.load(path, imgsz=96, backend="simd", threads=1, cache=False) as detector:
        assert detector.blob_wh == (96, 96)
        # The first reason of all that follow from it.
        with pytest.raises(InputError, match=r"asks for 100x100, .*\(op_type:Add.*Incompatible dimensions"):
            detector.prepare(100)
        assert detector(photo()) == detector(photo())


def test_a_picture_without_pixels(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(renamed(tiny_yolov8(batch="batch"), images=0, output0=0))
    with pytest.raises(
        InputError, match=r"input images: float32 \(0, 3, 64, 64\): a size that is declared 0"
    ):
        edgecv.load(path, cache=False)


def renamed(data: bytes, **axes: str | int | None) -> bytes:
    """The network with other names of its batch axes; None: none."""
    proto = onnx.load_from_string(data)
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name in axes:
            dim, name = value.type.tensor_type.shape.dim[0], axes[value.name]
            dim.Clear()
            if isinstance(name, int):
                dim.dim_value = name
            elif name is not None:
                dim.dim_param = name
    return proto.SerializeToString()


@pytest.mark.parametrize("backend", ["simd", "onnxruntime", "opencv"])
@pytest.mark.parametrize(
    ("given", "told"),
    [("unk__0", "unk__7"), ("batch", 1), (None, None), ("batch", None)],
    ids=["other names", "a stale one", "no names", "no name"],
)
def test_batches_are_proven_by_inference(tmp_path: Path, given: Any, told: Any, backend: str) -> None:
    if backend != "simd":
        pytest.importorskip("cv2" if backend == "opencv" else backend)
    data = renamed(tiny_yolov8(batch="batch"), images=given, output0=told)
    known = with_batches(OnnxModel.from_bytes(data, origin="net"), (64, 64)).facts
    assert known.outputs[0].shape[0] == known.inputs[0].shape[0] == (given or "batch")
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    frames = [photo(seed=seed) for seed in range(3)]
    with edgecv.load(path, backend=backend, threads=1, cache=False, conf=0.6) as detector:
        calls = []
        run = detector.session.run
        detector.session.run = lambda *args, **kw: calls.append(1) or run(*args, **kw)
        found = detector.batch(frames)
        assert len(calls) == 1
        del detector.session.run
        assert found == [detector(frame) for frame in frames]

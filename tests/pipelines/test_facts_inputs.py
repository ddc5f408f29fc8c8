"""Networks that take facts of where the frame lies in the picture: their values, shapes and types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import edgecv
from edgecv import inputs
from edgecv.drafts import draft
from edgecv.errors import CardError, HeadError, InputError
from edgecv.image import BlobSpec, plan_transform
from edgecv.types import TensorSpec
from tests.networks import photo, tiny_yolov8

# Of a frame of 100x50 in a blob of 64x64.
FACTS: dict[str, dict[str, list[float]]] = {
    "letterbox": {"resized": [64, 32], "place": [0, 16], "scale": [0.64, 0.64]},
    "stretch": {"resized": [64, 64], "place": [0, 0], "scale": [0.64, 1.28]},
    "crop": {"resized": [128, 64], "place": [-32, 0], "scale": [1.28, 1.28]},
}


def with_facts(data: bytes, name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> bytes:
    """The network with an input that comes out as the output `told`."""
    proto = onnx.load_from_string(data)
    proto.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    proto.graph.node.append(helper.make_node("Identity", [name], ["told"]))
    proto.graph.output.append(helper.make_tensor_value_info("told", kind, shape))
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def write(folder: Path, data: bytes, *entries: dict[str, Any], **fields: Any) -> Path:
    """The network with a card beside it."""
    (folder / "net.onnx").write_bytes(data)
    picture = {"name": "images", "size_wh": [64, 64], "color": "rgb", "std": [255] * 3, **fields}
    card = {
        "schema": 2,
        "name": "net",
        "task": "detect",
        "format": "onnx",
        "inputs": [*entries, picture],
        "head": {"type": "yolov8"},
    }
    (folder / "net.model.json").write_text(json.dumps(card))
    return folder / "net.onnx"


def told(path: Path, *frames: np.ndarray, backend: str = "simd") -> np.ndarray:
    """What the network was given, for frames one at a time."""
    with edgecv.load(path, backend=backend, threads=1, cache=False) as detector:
        rows = [np.array(detector.inspect(frame).outputs["told"]) for frame in frames]
    return rows[0] if len(rows) == 1 else np.stack(rows)


@pytest.mark.parametrize("backend", ["simd", "onnxruntime", "opencv"])
@pytest.mark.parametrize("resize", FACTS)
def test_each_fact_has_its_value(tmp_path: Path, resize: str, backend: str) -> None:
    if backend != "simd":
        pytest.importorskip("cv2" if backend == "opencv" else backend)
    names = list(inputs.FACTS)
    data = with_facts(tiny_yolov8(), "facts", [1, len(names) + 1])
    path = write(tmp_path, data, {"name": "facts", "facts": [*names, 0.5]}, resize=resize)
    known = FACTS[resize]
    expected = [100, 50, *known["resized"], 64, 64, *known["place"], *known["scale"], 0.5]
    np.testing.assert_array_equal(told(path, photo(100, 50), backend=backend), [np.float32(expected)])


SHAPES: dict[str, tuple[list[int | str], int, list[int]]] = {
    "batch": ([1, 2], 2, [1, 2]),
    "open batch": (["n", 2], 2, [1, 2]),
    "open numbers": (["n", "numbers"], 3, [1, 3]),
    "numbers alone": ([2], 2, [2]),
    "open vector": (["n"], 1, [1]),
    "column": (["n", 2, 1], 2, [1, 2, 1]),
    "scalar": ([], 1, []),
}


@pytest.mark.parametrize(("shape", "count", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes_are_the_networks(
    tmp_path: Path, shape: list[int | str], count: int, expected: list[int]
) -> None:
    facts: list[Any] = ["frame_height", "frame_width", "scale_y"][:count]
    data = with_facts(tiny_yolov8(batch="n" if "n" in shape else 1), "facts", shape, TensorProto.DOUBLE)
    found = told(write(tmp_path, data, {"name": "facts", "facts": facts}), photo(100, 50))
    assert list(found.shape) == expected
    assert found.dtype == np.float64
    assert found.ravel().tolist() == [50, 100, 0.64][:count]


def test_whole_numbers_are_given_as_such(tmp_path: Path) -> None:
    data = with_facts(tiny_yolov8(), "size", [1, 2], TensorProto.INT64)
    found = told(
        write(tmp_path, data, {"name": "size", "facts": ["blob_width", "frame_height"]}), photo(9, 7)
    )
    assert (found.dtype, found.tolist()) == (np.int64, [[64, 7]])


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_each_frame_of_a_batch_has_its_own(tmp_path: Path, batch: int | str) -> None:
    """Boxes that the network divides by the frame's size tell whose facts it was given."""
    proto = onnx.load_from_string(with_facts(tiny_yolov8(batch=batch), "size", [batch, 2]))
    (last,) = (node for node in proto.graph.node if "output0" in node.output)
    last.output[:] = ["plain"]
    proto.graph.node.append(helper.make_node("ReduceSum", ["size", "axis"], ["sum"]))
    proto.graph.node.append(helper.make_node("Unsqueeze", ["sum", "axis"], ["factor"]))
    proto.graph.node.append(helper.make_node("Div", ["plain", "factor"], ["shrunk"]))
    proto.graph.node.append(helper.make_node("Slice", ["shrunk", "zero", "four", "axis"], ["boxes"]))
    proto.graph.node.append(helper.make_node("Slice", ["plain", "four", "most", "axis"], ["scores"]))
    proto.graph.node.append(helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1))
    for name, value in (("axis", 1), ("zero", 0), ("four", 4), ("most", 99)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.int64([value]), name))
    path = write(
        tmp_path,
        proto.SerializeToString(),
        {"name": "size", "facts": ["frame_width", "frame_height"]},
        resize="stretch",
    )
    frames = [photo(20 + 10 * i, 30, i) for i in range(3)]
    with edgecv.load(path, backend="simd", threads=1, cache=False, conf=0.6, iou=1.0) as detector:
        singles = [detector(frame) for frame in frames]
        assert detector.batch(frames) == singles
        assert all(map(len, singles))


WRONG: dict[str, tuple[dict[str, Any] | None, str]] = {
    "not stated": (None, r"states no `facts` for facts: float32 \(1, 2\)"),
    "unknown": (
        {"name": "facts", "facts": ["depth"]},
        "`facts` has 'depth': expected numbers, and of frame_width",
    ),
    "too many": ({"name": "facts", "facts": [1, 1, 1]}, r"facts: float32 \(1, 2\) does not take 3 numbers"),
    "with a picture": ({"name": "facts", "facts": [1, 1], "mean": [1, 2, 3]}, "`mean` and `facts` are both"),
    "neither": ({"name": "facts"}, "missing required field `size_wh`, or `facts`"),
    "elsewhere": ({"name": "other", "facts": [1, 1]}, "`inputs` names 'other', and the model's inputs are"),
}


@pytest.mark.parametrize(("entry", "message"), WRONG.values(), ids=WRONG)
def test_facts_that_cannot_be(tmp_path: Path, entry: dict[str, Any] | None, message: str) -> None:
    data = with_facts(tiny_yolov8(), "facts", [1, 2])
    with pytest.raises(CardError, match=message):
        edgecv.load(write(tmp_path, data, *([entry] if entry else [])), threads=1, cache=False)


def test_fractions_are_not_whole(tmp_path: Path) -> None:
    data = with_facts(tiny_yolov8(), "facts", [1, 2], TensorProto.INT32)
    with pytest.raises(CardError, match=r"`facts` are scale_x, 1.0, .* whole numbers"):
        edgecv.load(write(tmp_path, data, {"name": "facts", "facts": ["scale_x", 1]}), cache=False)


def test_frames_that_differ_need_facts_of_their_own(tmp_path: Path) -> None:
    data = with_facts(tiny_yolov8(batch=2), "size", [2])
    path = write(tmp_path, data, {"name": "size", "facts": ["frame_height", "frame_width"]})
    with edgecv.load(path, backend="simd", threads=1, cache=False) as detector:
        assert len(detector.batch([photo(30, 20), photo(30, 20, 2)])) == 2
        with pytest.raises(InputError, match="once for all frames, and these differ"):
            detector.batch([photo(30, 20), photo(40, 20)])


DRAFTED: dict[str, tuple[list[int | str], int, list[Any]]] = {
    "scale_factor": ([1, 2], TensorProto.FLOAT, [1, 1]),
    "im_shape": ([1, 2], TensorProto.FLOAT, ["blob_height", "blob_width"]),
    "image_shape": ([1, 2], TensorProto.FLOAT, ["blob_height", "blob_width"]),
    "orig_target_sizes": (["N", 2], TensorProto.INT64, ["blob_width", "blob_height"]),
    "im_info": ([1, 3], TensorProto.FLOAT, ["blob_height", "blob_width", 1]),
    "image_info": ([1, 6], TensorProto.FLOAT, ["blob_height", "blob_width", 1, 1, 1, 1]),
}


@pytest.mark.parametrize(("name", "case"), DRAFTED.items(), ids=DRAFTED)
def test_drafts_know_facts_by_their_names(tmp_path: Path, name: str, case: Any) -> None:
    shape, kind, facts = case
    (tmp_path / "net.onnx").write_bytes(with_facts(tiny_yolov8(), name, shape, kind))
    drafted = draft(tmp_path / "net.onnx", "boxes")
    assert list(drafted.card.facts_inputs[0].facts) == facts
    assert any(line.startswith(f"input {name} takes ") for line in drafted.assumptions)
    told(tmp_path / "net.onnx", photo())


def test_drafts_count_the_pictures_of_a_batch(tmp_path: Path) -> None:
    data = with_facts(tiny_yolov8(batch=4), "orig_target_sizes", [4, 2], TensorProto.INT64)
    (tmp_path / "net.onnx").write_bytes(data)
    draft(tmp_path / "net.onnx", "boxes")
    assert told(tmp_path / "net.onnx", photo()).tolist() == [[64, 64]] * 4


def test_a_draft_does_not_guess_at_other_inputs(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(with_facts(tiny_yolov8(), "temperature", [1, 2]))
    with pytest.raises(HeadError, match=r"temperature: float32 \(1, 2\) .* `facts` for temperature under"):
        draft(tmp_path / "net.onnx", "boxes")


sides = st.integers(1, 400)


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.sampled_from(list(FACTS)))
def test_facts_map_the_frame_to_the_blob(
    frame_wh: tuple[int, int], blob_wh: tuple[int, int], resize: str
) -> None:
    place = plan_transform(frame_wh, BlobSpec(blob_wh, resize=resize))
    told = dict(zip(inputs.FACTS, inputs.values_of(inputs.FACTS, place), strict=True))
    corner = place.points_to_blob(np.array([frame_wh], np.float32))[0]
    for axis, (side, start, scale) in enumerate((("width", "left", "scale_x"), ("height", "top", "scale_y"))):
        assert told[f"frame_{side}"] * told[scale] == pytest.approx(told[f"resized_{side}"])
        assert told[start] + told[f"resized_{side}"] == pytest.approx(corner[axis], rel=1e-5, abs=1e-3)
        assert told[f"blob_{side}"] == blob_wh[axis]


@given(st.integers(1, 4), st.integers(1, 6), st.permutations(["n", "count", 1]), st.booleans())
def test_shapes_hold_the_numbers_of_every_picture(
    batch: int, count: int, axes: list[Any], is_open: bool
) -> None:
    rest = [count if axis == "count" else axis for axis in axes if axis != "n"]
    spec = TensorSpec("facts", np.dtype("f4"), ("n" if is_open else batch, *rest))
    shape = inputs.facts_shape(count, spec, batch)
    assert shape == (batch, *rest)

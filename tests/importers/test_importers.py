"""Model files of others: what is read from good ones, and one clear line for the rest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import edgecv
from edgecv import backends
from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.importers import read_model
from tests.networks import STRIDES, model_bytes, tiny_yolov8

REAL = [
    "fastestdet_352",
    "nanodet_m_416",
    "ultraface_rfb_320",
    "ultraface_rfb_640",
    "yolox_nano_416",
    "yunet_n_640",
]


def test_facts() -> None:
    model = read_model(tiny_yolov8(size=64))
    assert [str(spec) for spec in model.facts.inputs] == ["images: float32 (1, 3, 64, 64)"]
    assert [str(spec) for spec in model.facts.outputs] == ["output0: float32 (1, 7, 84)"]
    assert model.facts.image_wh == (64, 64)
    assert model.facts.metadata["task"] == "detect"
    assert (model.opset, model.precision) == (13, "fp32")
    assert model.weight_bytes == 4 * (7 * 3 * (8 * 8 + 16 * 16 + 32 * 32) + 3 * 7 + 7) + 8 * 3


def test_dynamic_facts() -> None:
    facts = read_model(tiny_yolov8(batch="batch", dynamic=True)).facts
    assert facts.inputs[0].shape == ("batch", 3, "size", "size")
    assert facts.image_wh is None


def test_initializers_among_the_inputs_are_not_inputs() -> None:
    model = read_model(tiny_yolov8(initializers_as_inputs=True))
    assert [spec.name for spec in model.facts.inputs] == ["images"]
    written = onnx.load_from_string(model.data)
    onnx.checker.check_model(written)
    assert [value.name for value in written.graph.input] == ["images"]


@pytest.mark.parametrize(
    ("declared", "expected"), [(["a", 4], None), (None, None)], ids=["declared", "nowhere"]
)
def test_output_whose_rank_inference_cannot_tell(declared: list[str | int] | None, expected: None) -> None:
    """The new shape comes in from outside, so that nothing about it is known beforehand."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "reshape",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, ["rank"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, declared)],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model = read_model(data.SerializeToString())
    assert model.output_shapes({"x": (2, 8), "shape": (2,)}) == {"y": expected}
    if "onnxruntime" in backends.usable():
        with edgecv.compile(data.SerializeToString(), backend="onnxruntime") as session:
            shape = np.array([4, 4])
            found = session.run({"x": np.ones((2, 8), np.float32), "shape": shape}, replan=True)["y"]
        assert found.shape == (4, 4)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [32, 96])
def test_output_shapes_of_a_dynamic_model(batch: int, size: int) -> None:
    model = read_model(tiny_yolov8(batch="batch", dynamic=True))
    shapes = model.output_shapes({"images": (batch, 3, size, size)})
    assert shapes == {"output0": (batch, 7, sum((size // s) ** 2 for s in STRIDES))}


def test_data_dependent_output_has_no_size() -> None:
    nodes = [helper.make_node("NonZero", ["images"], ["found"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("found", TensorProto.INT64, [4, "n"])],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    assert read_model(data).output_shapes({"images": (1, 3, 4, 4)}) == {"found": (4, None)}


@pytest.mark.parametrize(
    ("dtype", "precision"), [(np.float32, "fp32"), (np.float16, "fp16")], ids=["fp32", "fp16"]
)
def test_precision_is_that_of_the_weights(dtype: type, precision: str) -> None:
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    data = model_bytes(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        inputs=[("x", [1, 4])],
        outputs=[("y", [1, 4])],
        weights={"w": np.ones((1, 4), dtype)},
        elem_type=elem,
    )
    assert read_model(data).precision == precision


def test_truncated_file(tmp_path: Path) -> None:
    whole = tiny_yolov8()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"cut\.onnx: not an ONNX model, or a damaged one"):
        read_model(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"hello, this is text", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"PK\x03\x04rest"]
)
def test_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"foreign\.onnx: not an ONNX model"):
        read_model(path)


FORMATS = {
    "model.pt": "runs code when it is read",
    "model.engine": "give the ONNX file",
    "model.xyz": "expected one of .onnx, .prototxt, .caffemodel, .cfg, .weights",
}


@pytest.mark.parametrize(("name", "advice"), FORMATS.items(), ids=FORMATS.keys())
def test_other_formats(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=advice):
        read_model(tmp_path / name)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        read_model(tmp_path / "nothing.onnx")
    with pytest.raises(InputError, match="expected a model file, or a folder that holds a card"):
        read_model(tmp_path)


def with_external(location: str, offset: Any = 0, length: int = 16) -> bytes:
    model = onnx.load_from_string(
        model_bytes(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            inputs=[("x", [1, 4])],
            outputs=[("y", [1, 4])],
            weights={"w": np.zeros((1, 4), np.float32)},
        )
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return model.SerializeToString()


def test_external_weights_beside_the_model(tmp_path: Path) -> None:
    values = np.arange(4, dtype=np.float32)
    (tmp_path / "model.data").write_bytes(b"\0" * 16 + values.tobytes())
    (tmp_path / "model.onnx").write_bytes(with_external("model.data", offset=16))
    model = read_model(tmp_path / "model.onnx")
    again = read_model(model.data)
    np.testing.assert_array_equal(numpy_helper.to_array(again.proto.graph.initializer[0])[0], values)


HOSTILE = {
    "upward": ("../secret.data", 0, 16, "outside the model's folder"),
    "upward in the middle": ("deep/../../secret.data", 0, 16, "outside the model's folder"),
    "back into the folder": ("../model/model.data", 0, 16, "outside the model's folder"),
    "absolute": ("/etc/passwd", 0, 16, "outside the model's folder"),
    "two slashes": ("//etc/passwd", 0, 16, "outside the model's folder"),
    "backslashes": ("..\\secret.data", 0, 16, "outside the model's folder"),
    "a zero byte": ("model.data\0.x", 0, 16, "outside the model's folder"),
    "no name": ("", 0, 16, "outside the model's folder"),
    "a long name": ("x" * 5000, 0, 16, "missing beside the model"),
    "a link to a device": ("device", 0, 0, "expected a file, got what is none"),
    "a link to a pipe": ("pipe", 0, 16, "expected a file, got what is none"),
    "a link to a folder": ("up", 0, 16, "expected a file, got what is none"),
    "a link to itself": ("ring", 0, 16, "missing beside the model"),
    "a link to nothing": ("dangling", 0, 16, "missing beside the model"),
    "a link to a short file": ("short", 0, 16, "reaches byte 16 of 'short', which has 8"),
    "more than there is": ("model.data", 8, 0, "reaches byte 24 of 'model.data', which has 16"),
    "less than is needed": ("model.data", 0, 8, "takes 16 bytes, and 8 of 'model.data' are named"),
    "no number": ("model.data", "x", 16, "damaged reference"),
    "missing": ("nothing.data", 0, 16, "missing beside the model"),
    "past the end": ("model.data", 8, 1 << 40, "reaches byte"),
    "negative": ("model.data", -8, 16, "reaches byte"),
    "folder": (".", 0, 16, "expected a file, got what is none"),
}


@pytest.mark.parametrize(("location", "offset", "length", "named"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_external_weights(
    tmp_path: Path, location: str, offset: Any, length: int, named: str
) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret.data").write_bytes(b"\0" * 16)
    (tmp_path / "short.data").write_bytes(b"\0" * 8)
    os.mkfifo(tmp_path / "a pipe")
    links = {"device": "/dev/zero", "pipe": "../a pipe", "up": "..", "ring": "ring", "dangling": "nothing"}
    for link, target in {**links, "short": "../short.data"}.items():
        (folder / link).symlink_to(target)
    (folder / "model.data").write_bytes(b"\0" * 16)
    (folder / "model.onnx").write_bytes(with_external(location, offset, length))
    with pytest.raises(ModelFileError, match=named):
        read_model(folder / "model.onnx")


LINKS: dict[str, tuple[dict[str, str], str, str]] = {
    # As caches of downloads lie: links by name in a folder of each version, files by their hash in another.
    "cache": (
        {"snapshots/1/net.onnx": "../../blobs/m", "snapshots/1/net.data": "../../blobs/w"},
        "snapshots/1/net.onnx",
        "net.data",
    ),
    "weights alone": ({"net.onnx": "", "net.data": "blobs/w"}, "net.onnx", "net.data"),
    "out of the folder": ({"here/net.onnx": "", "here/net.data": "../blobs/w"}, "here/net.onnx", "net.data"),
    "of links": (
        {"net.onnx": "one.onnx", "one.onnx": "blobs/m", "net.data": "one.data", "one.data": "blobs/w"},
        "net.onnx",
        "net.data",
    ),
    "a folder": ({"here/net.onnx": "", "here/deep": "../blobs"}, "here/net.onnx", "deep/w"),
    "beside the target": ({"here/net.onnx": "../blobs/m"}, "here/net.onnx", "w"),
}


@pytest.mark.parametrize(("links", "model", "location"), LINKS.values(), ids=LINKS)
def test_weights_behind_links(tmp_path: Path, links: dict[str, str], model: str, location: str) -> None:
    values = np.arange(4, dtype=np.float32)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / "w").write_bytes(values.tobytes())
    (blobs / "m").write_bytes(with_external(location))
    for name, target in links.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        else:
            path.write_bytes(with_external(location))
    read = read_model(tmp_path / model)
    np.testing.assert_array_equal(numpy_helper.to_array(read.proto.graph.initializer[0])[0], values)


def test_weights_beside_the_link_come_before_those_beside_its_target(tmp_path: Path) -> None:
    for folder, value in (("here", 1), ("there", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.data").write_bytes(np.full(4, value, np.float32).tobytes())
    (tmp_path / "there/net.onnx").write_bytes(with_external("w.data"))
    (tmp_path / "here/net.onnx").symlink_to("../there/net.onnx")
    weight = read_model(tmp_path / "here/net.onnx").proto.graph.initializer[0]
    assert numpy_helper.to_array(weight).max() == 1


def test_external_weights_of_bytes_in_memory() -> None:
    with pytest.raises(ModelFileError, match="give the model's path"):
        read_model(with_external("model.data"))


@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(tiny_yolov8(size=32))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    with contextlib.suppress(ModelFileError):
        assert read_model(bytes(content)).facts.outputs


@pytest.mark.parametrize("name", REAL)
def test_real_models(shared: Callable[[str], Path], name: str) -> None:
    model = read_model(shared(f"models/onnx/{name}.onnx"))
    assert len(model.facts.inputs) == 1
    assert model.facts.image_wh is not None
    assert model.precision == "fp32"


def test_precision_is_that_of_most_weights() -> None:
    """One small layer in integers does not make a network of int8, nor one float layer one of fp32."""
    weights = {
        "many": np.ones((4, 100), np.float32),
        "few": np.ones((100, 2), np.int8),
        "scale": np.float32(1),
        "zero": np.int8(0),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "many"], ["wide"]),
        helper.make_node("DequantizeLinear", ["few", "scale", "zero"], ["narrow"]),
        helper.make_node("MatMul", ["wide", "narrow"], ["y"]),
    ]
    mostly_float = model_bytes(nodes, inputs=[("x", [1, 4])], outputs=[("y", [1, 2])], weights=weights)
    assert read_model(mostly_float).precision == "fp32"
    weights["many"], weights["few"] = np.ones((4, 2), np.float32), np.ones((2, 100), np.int8)
    mostly_int8 = model_bytes(nodes, inputs=[("x", [1, 4])], outputs=[("y", [1, 100])], weights=weights)
    assert read_model(mostly_int8).precision == "int8"


def test_weights_of_a_branch_count() -> None:
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT16, [4, 4], np.ones(16, np.float16))
    branches = {
        name: helper.make_graph(
            [helper.make_node("MatMul", ["x", "kernel"], ["made"])],
            name,
            [],
            [helper.make_tensor_value_info("made", TensorProto.FLOAT16, [1, 4])],
            [kernel],
        )
        for name in ("then_branch", "else_branch")
    }
    data = model_bytes(
        [helper.make_node("If", ["which"], ["y"], **branches)],
        inputs=[("x", [1, 4])],
        outputs=[("y", [1, 4])],
        weights={"which": np.array(True)},
        elem_type=TensorProto.FLOAT16,
    )
    assert read_model(data).precision == "fp16"

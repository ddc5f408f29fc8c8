"""Pictures in every layout and type find what their (batch, channels, height, width) twin of floats finds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgecv
from edgecv.errors import CardError
from edgecv.explain import explain_model
from edgecv.options import LoadOptions
from edgecv.verify import golden_tensors, verify
from tests.networks import photo, tiny_yolov8

SIDE = 64
CONF = 0.6
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}
PERM = {"nchw": None, "nhwc": [0, 3, 1, 2], "chw": None, "hwc": [2, 0, 1]}


def fed_as(data: bytes, layout: str, dtype: str, batch: int | str = 1) -> bytes:
    """The network, taking its picture in another layout and type; bytes are divided by 255 in it."""
    proto = onnx.load_from_string(data)
    graph, (given,) = proto.graph, proto.graph.input
    first, last = given.name, f"{given.name}_as_it_was"
    for node in graph.node:
        node.input[:] = [last if name == first else name for name in node.input]
    nodes, name = [], first
    steps: list[tuple[str, dict[str, Any], list[str]]] = []
    if dtype != "float32":
        steps.append(("Cast", {"to": TensorProto.FLOAT}, []))
    if dtype == "uint8":
        steps.append(("Div", {}, ["full"]))
    if PERM[layout]:
        steps.append(("Transpose", {"perm": PERM[layout]}, []))
    if "n" not in layout:
        steps.append(("Unsqueeze", {}, ["front"]))
    for i, (kind, attributes, operands) in enumerate(steps):
        result = last if i + 1 == len(steps) else f"step{i}"
        nodes.append(helper.make_node(kind, [name, *operands], [result], **attributes))
        name = result
    if not steps:
        nodes.append(helper.make_node("Identity", [first], [last]))
    graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.float32(255), "full"),
            onnx.numpy_helper.from_array(np.int64([0]), "front"),
        ]
    )
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    sizes = {"n": batch, "c": 3, "h": SIDE, "w": SIDE}
    given.CopyFrom(helper.make_tensor_value_info(first, TYPES[dtype], [sizes[axis] for axis in layout]))
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def write(folder: Path, data: bytes, **fields: Any) -> Path:
    """The network with a card beside it."""
    folder.mkdir()
    (folder / "net.onnx").write_bytes(data)
    is_bytes = fields.get("dtype") == "uint8"
    entry = {
        "name": "images",
        "size_wh": [SIDE, SIDE],
        "color": "rgb",
        **({} if is_bytes else {"std": [255] * 3}),
    }
    card = {
        "schema": 2,
        "name": "net",
        "task": "detect",
        "format": "onnx",
        "inputs": [{**entry, **fields}],
        "head": {"type": "yolov8"},
    }
    (folder / "net.model.json").write_text(json.dumps(card))
    return folder / "net.onnx"


LAYOUTS = ["nhwc", "chw", "hwc"]


@pytest.mark.parametrize("backend", ["simd", "onnxruntime", "opencv"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["nchw", *LAYOUTS])
def test_any_layout_and_type_finds_the_same(tmp_path: Path, layout: str, dtype: str, backend: str) -> None:
    if backend != "simd":
        pytest.importorskip("cv2" if backend == "opencv" else backend)
    if backend == "opencv" and ("n" not in layout or dtype not in ("float32", "uint8")):
        pytest.skip("opencv: no such input")
    frames = [photo(90, 70, seed) for seed in range(3)]
    asked: dict[str, Any] = {"threads": 1, "cache": False, "conf": CONF, "iou": 1.0}
    with edgecv.load(write(tmp_path / "twin", tiny_yolov8()), backend=backend, **asked) as detector:
        expected = detector.batch(frames)
        blob = np.array(detector.eye.blob)
    path = write(tmp_path / "net", fed_as(tiny_yolov8(), layout, dtype), layout=layout, dtype=dtype)
    with edgecv.load(path, backend=backend, **asked) as detector:
        found = detector.batch(frames)
        assert found[0] == detector(frames[0])
        detector.preprocess(frames[-1])
        laid = np.array(detector.eye.blob)
    if dtype == "float32":
        turned = laid if layout.endswith("w") else laid.transpose(0, 3, 1, 2)
        assert turned.tobytes() == blob.tobytes()
    if dtype == "float32" and layout.endswith("w"):
        assert found == expected
        return
    # Other roundings, of turned operands too: some at the threshold come and go, and equals change places.
    for one, other in zip(expected, found, strict=True):
        sure = one[one.confidence > CONF + 0.01]
        assert len(sure)
        for box, confidence, class_id in zip(sure.xyxy, sure.confidence, sure.class_id, strict=True):
            distance = np.abs(other.xyxy - box).max(axis=1) + 100 * (other.class_id != class_id)
            nearest = int(np.argmin(distance))
            assert distance[nearest] < 0.5
            assert abs(other.confidence[nearest] - confidence) < 0.01


WRONG = {
    "layout": ({"layout": "chw"}, r"\(1, 3, 64, 64\); the card states float32 chw \(3, height, width\)"),
    "type": ({"dtype": "uint8"}, r"float32 \(1, 3, 64, 64\); the card states uint8 nchw"),
    "shorter type": ({"dtype": "float16"}, r"float32 \(1, 3, 64, 64\); the card states float16"),
    "channels": (
        {"channels": 1, "color": "gray", "std": []},
        r"states float32 nchw \(batch, 1, height, width\)",
    ),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_a_card_that_states_another_input(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "net", tiny_yolov8(), **fields)
    with pytest.raises(CardError, match=message):
        edgecv.load(path, backend="simd", threads=1, cache=False)


@pytest.mark.parametrize("layout", ["nchw", *LAYOUTS])
def test_verify_compares_any_layout(tmp_path: Path, layout: str) -> None:
    path = write(tmp_path / "net", fed_as(tiny_yolov8(), layout, "float32"), layout=layout)
    card = path.with_name("net.model.json")
    with edgecv.load(path, backend="simd", threads=1, cache=False) as detector:
        frame, blob = photo(), detector.new_blob()
        detector.preprocess(frame, blob[0])
        np.savez(tmp_path / "net" / "golden.npz", **golden_tensors(frame, detector.infer(blob), values=100))
    data = (tmp_path / "net" / "golden.npz").read_bytes()
    stated = json.loads(card.read_text())
    file = {"path": "golden.npz", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    stated["golden"] = {"file": file, "blob_sha256": hashlib.sha256(blob.tobytes()).hexdigest()}
    card.write_text(json.dumps(stated))
    report = verify(path, LoadOptions(backend="simd"))
    assert [check.status for check in report.checks[:3]] == ["ok"] * 3, report.checks


ASSUMED = {
    "channels last": ("nhwc", "float32", "has its channels last, told by its shape"),
    "no batch axis": ("chw", "float32", "has no batch axis, told by its shape"),
    "bytes": ("nchw", "uint8", "takes bytes, the pixels as they are"),
}


@pytest.mark.parametrize(("layout", "dtype", "line"), ASSUMED.values(), ids=ASSUMED)
def test_what_a_draft_assumes_is_told_wherever_it_comes_from(
    tmp_path: Path, layout: str, dtype: str, line: str, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    path, plan = tmp_path / "net.onnx", tmp_path / "net.ecv"
    path.write_bytes(fed_as(tiny_yolov8(), layout, dtype))
    explain_model(str(path), LoadOptions(threads=1), out=plan)
    found = []
    for source, is_cached in ((path, False), (path, True), (plan, False)):
        caplog.clear()
        with edgecv.load(source, backend="simd", threads=1) as detector:
            assert detector.is_from_cache == is_cached
            found.append(detector(photo()))
        (told,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        assert line in told
    assert found[0] == found[1] == found[2]

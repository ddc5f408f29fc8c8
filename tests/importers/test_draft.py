"""Networks without a card: sizes are found before anyone guesses, and doubt is said in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv.drafts import draft
from edgecv.errors import CardError, HeadError, OutputError
from edgecv.graph.model import OnnxModel
from edgecv.importers import Asked
from edgecv.importers.sizes import known_facts
from tests.networks import model_bytes, tiny_classifier, tiny_yolov8

Shape = list[int | str | None]


def with_output(data: bytes, shape: Shape | None) -> bytes:
    """The network with another word on the size of its output."""
    proto = onnx.load_from_string(data)
    tensor = proto.graph.output[0].type.tensor_type
    tensor.ClearField("shape")
    for size in shape or ():
        dim = tensor.shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size is not None:
            dim.dim_param = size
    return proto.SerializeToString()


def reshaped(declared: Shape) -> bytes:
    """A network whose rows inference cannot tell: they hang on what a Reshape is given at run time."""
    nodes = [
        onnx.helper.make_node("Conv", ["images", "weight"], ["map"], kernel_shape=[8, 8], strides=[8, 8]),
        onnx.helper.make_node("ReduceMax", ["images"], ["largest"], keepdims=0),
        onnx.helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
        onnx.helper.make_node("Add", ["nothing", "columns"], ["number"]),
        onnx.helper.make_node("Cast", ["number"], ["whole"], to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Concat", ["one", "whole", "rest"], ["shape"], axis=0),
        onnx.helper.make_node("Reshape", ["map", "shape"], ["output0"]),
    ]
    weights = {
        "weight": np.zeros((7, 3, 8, 8), np.float32),
        "zero": np.float32([0]),
        "columns": np.float32([7]),
        "one": np.int64([1]),
        "rest": np.int64([-1]),
    }
    return model_bytes(
        nodes, inputs=[("images", [1, 3, 64, 64])], outputs=[("output0", list(declared))], weights=weights
    )


KNOWN: dict[str, tuple[bytes, Asked, tuple[int | str | None, ...]]] = {
    "declared": (tiny_yolov8(), Asked(), (1, 7, 84)),
    "names": (with_output(tiny_yolov8(), [1, "Concatoutput0_dim_1", "anchors"]), Asked(), (1, 7, 84)),
    "no-shape": (with_output(tiny_yolov8(), None), Asked(), (1, 7, 84)),
    "size-from-metadata": (
        tiny_yolov8(
            batch="batch", dynamic=True, metadata={"names": "{}", "stride": "32", "imgsz": "[96, 64]"}
        ),
        Asked(),
        ("batch", 7, 126),
    ),
    "size-asked-for": (
        tiny_yolov8(dynamic=True, metadata={"author": "me"}),
        Asked(imgsz=(128, 64)),
        (1, 7, 168),
    ),
    "no-size": (tiny_yolov8(dynamic=True, metadata={"author": "me"}), Asked(), (1, 7, "cells")),
}


@pytest.mark.parametrize(("data", "asked", "shape"), KNOWN.values(), ids=KNOWN)
def test_sizes_that_the_file_leaves_open_are_inferred(
    data: bytes, asked: Asked, shape: tuple[int | str | None, ...]
) -> None:
    facts = known_facts(OnnxModel.from_bytes(data, origin="net"), asked)
    assert facts.outputs[0].shape == shape


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        pytest.param([(1, 7, 64), (1, 7, 64)], (1, 7, 64), id="alike"),
        pytest.param([(1, 7, 64), (1, 7, 9)], (1, 7, "anchors"), id="hangs-on-data"),
        pytest.param([(1, 7, 0), (1, 7, 0)], (1, 7, "anchors"), id="nothing-found"),
    ],
)
def test_sizes_that_inference_cannot_tell_are_run(
    shapes: list[tuple[int, ...]], expected: tuple[Any, ...]
) -> None:
    data = reshaped([1, "rows", "anchors"])
    given = iter(shapes)

    def run(_: OnnxModel, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert {name: array.shape for name, array in feeds.items()} == {"images": (1, 3, 64, 64)}
        return {"output0": np.zeros(next(given), np.float32)}

    facts = known_facts(OnnxModel.from_bytes(data, origin="net"), Asked(run=run))
    assert facts.outputs[0].shape == expected


def save(folder: Path, data: bytes) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(data)
    return path


def with_task(data: bytes, task: str) -> bytes:
    proto = onnx.load_from_string(data)
    onnx.helper.set_model_props(proto, {"names": "{0: 'a', 1: 'b', 2: 'c'}", "stride": "32", "task": task})
    return proto.SerializeToString()


def test_a_network_that_no_head_fits_names_the_nearest_two(tmp_path: Path) -> None:
    path = save(tmp_path, with_task(tiny_classifier(), "depth"))
    with pytest.raises(HeadError) as raised:
        edgecv.load(path)
    text = str(raised.value)
    assert "the file says that its task is depth" in text
    assert "no head fits; nearest: " in text
    assert f"edgecv models draft {path} --head " in text
    assert "\n" not in text


def test_a_classifier_loads_where_the_caller_says_so(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_classifier())
    with edgecv.load(path, task="classify", backend="simd", threads=1, cache=False) as classifier:
        assert classifier.card.head is not None
        assert classifier.card.head.type == "classify"
        assert len(classifier(np.zeros((48, 64, 3), np.uint8))) == 4
    with pytest.raises(HeadError):
        edgecv.load(path, threads=1, cache=False)


def test_channels_last_are_not_guessed_at(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Conv", ["turned", "weight"], ["map"], strides=[8, 8]),
        onnx.helper.make_node("Reshape", ["map", "shape"], ["output0"]),
    ]
    weights = {"weight": np.zeros((7, 3, 8, 8), np.float32), "shape": np.int64([1, 7, -1])}
    data = model_bytes(
        nodes, inputs=[("image", [1, 64, 64, 3])], outputs=[("output0", [1, 7, 64])], weights=weights
    )
    with pytest.raises(HeadError, match=r"takes its channels last, .* --inputs-as-nchw image\)"):
        draft(save(tmp_path, data), "boxes")


def test_a_size_that_is_asked_for_settles_an_open_one(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_yolov8(dynamic=True))
    with edgecv.load(path, imgsz=96, backend="simd", threads=1, cache=False) as detector:
        assert detector.blob_wh == (96, 96)


def test_draft_writes_a_card_that_is_read_from_then_on(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_classifier())
    drafted = draft(path, "classify")
    assert drafted.path == str(tmp_path / "net.model.json")
    assert any("guessed" in line for line in drafted.assumptions)
    with edgecv.load(path, backend="simd", threads=1, cache=False) as classifier:
        assert classifier.card == drafted.card
    with pytest.raises(OutputError, match="is there already: --force"):
        draft(path, "classify")
    assert draft(path, "classify", force=True) == drafted
    assert draft(path, "classify", out=tmp_path / "other.json").card == drafted.card


def test_draft_refuses_what_cannot_be(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_yolov8())
    with pytest.raises(HeadError, match=r"classify head: outputs output0: .* expected one of"):
        draft(path, "classify")
    with pytest.raises(CardError, match="unknown head 'yolo99'"):
        draft(path, "yolo99")
    assert sorted(tmp_path.iterdir()) == [path]

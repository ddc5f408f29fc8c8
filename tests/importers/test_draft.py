"""Networks without a card: sizes are found before anyone guesses, and doubt is said in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv import heads
from edgecv.drafts import draft
from edgecv.errors import CardError, HeadError, OutputError
from edgecv.graph.model import OnnxModel
from edgecv.heads import boxes, queries, rows
from edgecv.heads.nearest import nearest
from edgecv.importers import Asked
from edgecv.importers.sizes import known_facts
from edgecv.types import ModelFacts, TensorSpec
from tests.networks import model_bytes, tiny_classifier, tiny_yolov8

Shape = list[int | str | None]
XYXY: Any = ("x1", "y1", "x2", "y2")


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

    def run(_: OnnxModel, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        for one in feeds:
            assert {name: array.shape for name, array in one.items()} == {"images": (1, 3, 64, 64)}
        return [{"output0": np.zeros(shape, np.float32)} for shape in shapes]

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


def test_channels_last_are_told_by_the_shape(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Conv", ["turned", "weight"], ["map"], strides=[8, 8]),
        onnx.helper.make_node("Reshape", ["map", "shape"], ["output0"]),
    ]
    weights = {"weight": np.zeros((7, 3, 8, 8), np.float32), "shape": np.int64([1, 7, -1])}
    data = model_bytes(
        nodes, inputs=[("image", [1, 64, 96, 3])], outputs=[("output0", [1, 7, 96])], weights=weights
    )
    drafted = draft(save(tmp_path, data), "boxes")
    entry = drafted.card.image_input
    assert (entry.layout, entry.size_wh, entry.channels) == ("nhwc", (96, 64), 3)
    assert any("channels last, told by its shape" in line for line in drafted.assumptions)


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


def of_shapes(
    outputs: Mapping[str, tuple[int, ...]],
    image_wh: tuple[int, int] | None = (640, 640),
    metadata: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
    **ends: str,
) -> ModelFacts:
    return ModelFacts(
        (TensorSpec("image", np.dtype(np.float32), (1, 3, *(image_wh or (None, None))[::-1])),),
        tuple(
            TensorSpec(name, np.dtype((types or {}).get(name, "float32")), shape)
            for name, shape in outputs.items()
        ),
        metadata or {},
        image_wh,
        ends=ends,
    )


def said(task: str, names: int) -> dict[str, str]:
    return {"names": str({i: f"class{i}" for i in range(names)}), "stride": "32", "task": task}


MAPS = {f"p{stride}": (640 // stride, 640 // stride) for stride in (8, 16, 32)}
# Outputs, and the two decodings that come nearest, each with a word of why it does not fit.
NEAREST: dict[str, tuple[ModelFacts, list[tuple[str, str]]]] = {
    "final-rows-with-keypoints": (
        of_shapes({"o": (1, 300, 57)}),
        [("rows", "nothing says"), ("queries", "nothing says")],
    ),
    "final-rows-with-masks": (
        of_shapes({"o": (1, 300, 38), "p": (1, 32, 160, 160)}),
        [("rows", "nothing says"), ("boxes", "300 rows do not count the cells")],
    ),
    "priors": (
        of_shapes({"r": (1, 49104, 4), "c": (1, 49104, 90)}, (512, 512)),
        [("anchors", "nothing says"), ("boxes", "49104 rows do not count the cells")],
    ),
    "maps-of-anchors": (
        of_shapes({name: (1, 255, *size) for name, size in MAPS.items()}),
        [("grid", "nothing says"), ("distances", "nothing says")],
    ),
    "maps-of-no-anchors": (
        of_shapes({name: (1, 67, *size) for name, size in MAPS.items()}),
        [("distances", "nothing says"), ("boxes", "no output is a table of rows")],
    ),
    "a-table-of-cells": (
        of_shapes({"o": (1, 2100, 112)}, (320, 320)),
        [("boxes", "nothing says"), ("distances", "nothing says")],
    ),
    "names-of-another-number": (
        of_shapes({"o": (1, 7, 8400)}, metadata=said("detect", 4)),
        [("boxes", "4 names in the metadata make 8 columns, and there are 7"), ("distances", "nothing says")],
    ),
    "pose-without-its-shape": (
        of_shapes({"o": (1, 56, 8400)}, metadata=said("pose", 1)),
        [("boxes", "the metadata has no kpt_shape"), ("distances", "nothing says")],
    ),
    "segments-without-prototypes": (
        of_shapes({"o": (1, 39, 8400)}, metadata=said("segment", 3)),
        [("boxes", "no second output has prototypes"), ("distances", "nothing says")],
    ),
    "another-task": (
        of_shapes({"o": (1, 7, 8400)}, metadata=said("depth", 3)),
        [("boxes", "that task is not of boxes: depth"), ("distances", "nothing says")],
    ),
    "a-vector": (
        of_shapes({"o": (1, 12)}),
        [("boxes", "no output is a table"), ("rows", "is no list of final boxes")],
    ),
}


@pytest.mark.parametrize(("facts", "expected"), NEAREST.values(), ids=NEAREST)
def test_the_nearest_decodings_and_why_they_do_not_fit(
    facts: ModelFacts, expected: list[tuple[str, str]]
) -> None:
    found = nearest(facts)
    assert [type for type, _ in found] == [type for type, _ in expected]
    for (_, why), (_, part) in zip(found, expected, strict=True):
        assert part in why


DRAFTS: dict[str, tuple[str, ModelFacts, Any]] = {
    "rows-with-keypoints": (
        "rows",
        of_shapes({"o": (1, 300, 16)}),
        rows.Params(output="o", columns=(*XYXY, "confidence", "class", "keypoints"), keypoint_values=2),
    ),
    "rows-with-masks": (
        "rows",
        of_shapes({"o": (1, 300, 38), "p": (1, 32, 160, 160)}),
        rows.Params(output="o", columns=(*XYXY, "confidence", "class", "masks"), prototypes="p"),
    ),
    "oriented-rows": (
        "rows",
        of_shapes({"o": (1, 300, 7)}),
        rows.Params(output="o", columns=("cx", "cy", "w", "h", "confidence", "class", "angle")),
    ),
    "rows-apart-by-their-types": (
        "rows",
        of_shapes({"25": (100, 4), "26": (100,), "27": (100,)}, types={"26": "int64"}),
        rows.Params(boxes="25", labels="26", scores="27"),
    ),
    "queries-of-probabilities": (
        "queries",
        of_shapes({"s": (1, 100, 5), "b": (1, 100, 4)}, s="Sigmoid"),
        queries.Params(boxes="b", scores="s", activation="none"),
    ),
    "boxes-beside-four-classes": (
        "boxes",
        of_shapes({"logits": (1, 100, 4), "pred_boxes": (1, 100, 4)}),
        boxes.Params(boxes="pred_boxes", scores="logits", format="xyxy"),
    ),
}


@pytest.mark.parametrize(("type", "facts", "params"), DRAFTS.values(), ids=DRAFTS)
def test_drafts_are_what_is_likeliest(type: str, facts: ModelFacts, params: Any) -> None:
    assert heads.get(type).draft(facts) == params


@pytest.mark.parametrize("type", ["rows", "queries"])
def test_cells_are_drafted_neither_as_final_rows_nor_as_queries(type: str) -> None:
    with pytest.raises(HeadError, match="at most 1000"):
        heads.get(type).draft(of_shapes({"o": (1, 8400, 84)}))


def test_a_draft_of_several_readings_says_what_the_others_are(tmp_path: Path) -> None:
    """56 columns are those of 52 classes, and of a person with 17 keypoints."""
    path = save(tmp_path, tiny_yolov8(classes=52, metadata={"author": "me"}))
    with pytest.raises(HeadError, match="it could be yolov8 or yolov8-pose"):
        edgecv.load(path, threads=1, cache=False)
    (assumed,) = draft(path, "boxes").assumptions
    assert assumed == (
        "head boxes: yolov8's parameters; those of yolov8-pose have "
        'columns ["box","classes","keypoints"], classes 1, keypoints 17'
    )


def test_the_command_of_the_error_drafts_a_card(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_classifier())
    with pytest.raises(HeadError, match="--head classify;"):
        edgecv.load(path, threads=1, cache=False)
    assert draft(path, "classify").head == "classify"


def test_draft_refuses_what_cannot_be(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_yolov8())
    with pytest.raises(HeadError, match=r"classify head: outputs output0: .* expected one of"):
        draft(path, "classify")
    with pytest.raises(CardError, match="unknown head 'yolo99'"):
        draft(path, "yolo99")
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("shape", "metadata", "iou"),
    [
        pytest.param((1, 7, 84), said("detect", 3), 0.7, id="of Ultralytics"),
        pytest.param((1, 7, 84), {}, 0.7, id="told by its columns"),
        pytest.param((1, 252, 8), {"stride": "32", "names": "['a', 'b', 'c']"}, 0.45, id="yolov5 repository"),
    ],
)
def test_thresholds_are_those_of_the_package(
    tmp_path: Path, shape: tuple[int, ...], metadata: dict[str, str], iou: float
) -> None:
    entry = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    found = onnx.helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, shape)
    zeros = onnx.numpy_helper.from_array(np.zeros(shape, np.float32))
    node = onnx.helper.make_node("Constant", [], ["output0"], value=zeros)
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [entry], [found]))
    onnx.helper.set_model_props(proto, metadata)
    path = save(tmp_path, proto.SerializeToString())
    thresholds = edgecv.api.resolve(path).card.thresholds
    assert (thresholds.conf, thresholds.iou, thresholds.max_det) == (0.25, iou, 300)

"""Networks with an NMS of their own: read bare, cut before it, and run on every backend as on the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import edgecv
from edgecv.drafts import draft
from edgecv.errors import CardError, HeadError
from edgecv.explain import explain_model
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import Found, find_tail
from tests.graph import tail_levels as levels
from tests.graph import tail_structures as tails

FRAME = np.full((tails.SIDE, tails.SIDE, 3), 90, np.uint8)
NAMES = {i: f"class{i}" for i in range(tails.CLASSES)}


def of_a_picture(model: OnnxModel, raw: np.ndarray, task: str = "detect") -> bytes:
    """The network on a picture, whatever it shows: its raw predictions are these. As Ultralytics names it."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    kept = [value for value in graph.input if value.name != "raw"]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(
        [numpy_helper.from_array(raw, "table"), numpy_helper.from_array(np.float32(0), "nothing")]
    )
    before = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Slice", ["flat", "one_from", "one_to", "one_axis"], ["first"]),
        helper.make_node("Mul", ["first", "nothing"], ["silent"]),
        helper.make_node("Reshape", ["silent", "ones"], ["level"]),
        helper.make_node("Add", ["table", "level"], ["raw"]),
    ]
    for name, number in (("one_from", 0), ("one_to", 1), ("one_axis", 1)):
        graph.initializer.append(numpy_helper.from_array(np.int64([number]), name))
    graph.initializer.append(numpy_helper.from_array(np.int64([1, 1, 1]), "ones"))
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    helper.set_model_props(
        proto,
        {
            "names": str(NAMES),
            "stride": "32",
            "task": task,
            "imgsz": str([tails.SIDE] * 2),
            "args": "{'nms': True}",
            **({"kpt_shape": "[2, 3]"} if task == "pose" else {}),
        },
    )
    data: bytes = proto.SerializeToString()
    return data


def raw_boxes(seed: int, extra: int = 0, *, none: bool = False) -> np.ndarray:
    """(1, 4 + classes + extra, N): boxes about three places, each of them some times, xyxy."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(10, 40, (3, 2))[rng.integers(0, 3, tails.N)] + rng.normal(0, 1.5, (tails.N, 2))
    size = rng.uniform(8, 14, (tails.N, 2))
    logits = rng.normal(-25 if none else -2, 1.5, (tails.N, tails.CLASSES))
    others = rng.uniform(0.1, 0.9, (tails.N, extra)) * tails.SIDE
    return np.concatenate([place, place + size, logits, others], axis=1, dtype=np.float32).T[None].copy()


def whole(data: bytes, score: int = 4) -> list[list[float]]:
    """Rows of the file as ONNX Runtime runs it all, those of a confidence over 0. score: its column."""
    runtime = pytest.importorskip("onnxruntime", reason="the whole graph is run by the extra onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    picture = np.zeros((1, 3, tails.SIDE, tails.SIDE), np.float32)
    rows = session.run(None, {"images": picture})[0]
    rows = rows.reshape(-1, rows.shape[-1])
    found: list[list[float]] = rows[rows[:, score] > 0].tolist()
    return found


Make = Callable[[], OnnxModel]
CASES: dict[str, tuple[Make, int, str]] = {
    "ultralytics": (tails.ultralytics, 0, "detect"),
    "ultralytics-agnostic": (lambda: tails.ultralytics(agnostic=True), 0, "detect"),
    "ultralytics-traced": (lambda: tails.ultralytics(traced=True, opset=18), 0, "detect"),
    "ultralytics-opset-11": (lambda: tails.ultralytics(opset=11), 0, "detect"),
    "ultralytics-pose": (lambda: tails.ultralytics(extra=6), 6, "pose"),
    "ultralytics-masks": (lambda: tails.ultralytics(extra=3, masks=True), 3, "segment"),
}


@pytest.mark.parametrize("seed", [0, 1, None], ids=["some", "others", "none"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["simd", "onnxruntime"])
def test_rows_are_those_of_the_whole_graph(case: str, seed: int | None, backend: str, tmp_path: Path) -> None:
    make, extra, task = CASES[case]
    data = of_a_picture(make(), raw_boxes(seed or 0, extra, none=seed is None), task)
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    expected = sorted(whole(data), key=lambda row: -row[4])
    with edgecv.load(path, backend=backend, threads=1, cache=False) as detector:
        found = detector(FRAME)
        assert detector.placement.tail.startswith("the network's own NonMaxSuppression is replaced")
    assert (len(found) > 0) == (seed is not None)
    assert found.placement is not None
    assert found.as_dict()["placement"]["tail"] == found.placement.tail
    np.testing.assert_allclose(found.confidence, [row[4] for row in expected], rtol=1e-5)
    np.testing.assert_allclose(
        found.xyxy.reshape(-1, 4), np.reshape([r[:4] for r in expected], (-1, 4)), 1e-4
    )
    assert found.class_id.tolist() == [int(row[5]) for row in expected]
    assert (found.masks is not None) == (task == "segment")
    if task == "pose" and expected:
        assert found.keypoints is not None
        points = np.reshape([row[6:] for row in expected], (-1, 2, 3))
        np.testing.assert_allclose(found.keypoints, points, 1e-4)


@pytest.mark.parametrize("kind", ["many", "none"])
@pytest.mark.parametrize("sides", [False, True], ids=["retinanet", "fcos"])
@pytest.mark.parametrize("backend", ["simd", "onnxruntime"])
def test_the_background_of_torchvision_is_no_class(
    sides: bool, kind: str, backend: str, tmp_path: Path
) -> None:
    """It has a score as the others, is label 0 of the rows, and no class of torchvision's detectors."""
    runtime = pytest.importorskip("onnxruntime", reason="the whole graph is run by the extra onnxruntime")
    model = levels.retinanet(sides=sides, candidates=8, most=40)
    raw = tails.raw_of(model, "sides" if sides else "offsets", kind, 0)["raw"]
    proto = onnx.load_from_string(of_a_picture(model, raw))
    del proto.metadata_props[:]
    named = {"boxes": ("n", 4), "scores": ("n",), "labels": ("n",)}
    for value, (name, shape) in zip(proto.graph.output, named.items(), strict=True):
        for node in proto.graph.node:
            node.output[:] = [name if one == value.name else one for one in node.output]
        element = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(name, element, shape))
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    picture = np.zeros((1, 3, tails.SIDE, tails.SIDE), np.float32)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    box, score, label = session.run(None, {"images": picture})
    objects = label > 0
    assert {bool(np.any(objects)), bool(np.any(~objects))} == {kind == "many"}
    with edgecv.load(path, backend=backend, threads=1, cache=False) as detector:
        found = detector(FRAME)
        assert detector.placement.tail.startswith("the network's own NonMaxSuppression is replaced")
    np.testing.assert_allclose(found.confidence, score[objects], rtol=1e-5)
    np.testing.assert_allclose(found.xyxy, box[objects], rtol=1e-4, atol=1e-4)
    assert found.class_id.tolist() == (label[objects] - 1).tolist()
    for type in (None, "rows"):
        assumed = draft(path, type, force=True).assumptions
        assert any(line.startswith("head torchvision, told by the outputs") for line in assumed)
        assert "class 0 is the background, as torchvision has it" in assumed


def test_what_is_advised_can_be_done(tmp_path: Path) -> None:
    """A tail that cannot be cut: the error says why, and names a head that drafts a card."""
    model = tails.yolov7()
    proto = onnx.load_from_string(of_a_picture(model, tails.raw_of(model, "centers", "some", 0)["raw"]))
    del proto.metadata_props[:]
    for node in proto.graph.node:
        if node.op_type == "NonMaxSuppression":
            # A threshold that the picture decides.
            node.input[3] = "level"
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    with pytest.raises(HeadError, match=r"its own NMS stays in the network: .* draft a card") as caught:
        edgecv.load(path, threads=1, cache=False)
    draft(path, str(caught.value).partition("--head ")[2].partition(";")[0])
    with pytest.raises(HeadError, match=r"boxes head: no output is a table .* its own NMS stays"):
        draft(path, "boxes", force=True)


def test_a_drafted_card_cuts_its_network_too(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    with edgecv.load(path, backend="simd", threads=1, cache=False) as detector:
        bare = detector(FRAME)
    drafted = draft(path)
    assert drafted.head == "boxes"
    with edgecv.load(path, backend="simd", threads=1, cache=False) as detector:
        assert detector(FRAME) == bare


def test_a_plan_that_was_kept_says_so_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "net.onnx"
    path.write_bytes(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    for is_from_cache in (False, True):
        with edgecv.load(path, backend="simd", threads=1) as detector:
            assert detector.is_from_cache == is_from_cache
            assert detector.placement.tail


def test_what_is_converted_stays_cut(tmp_path: Path) -> None:
    from edgecv.convert import convert

    path = tmp_path / "net.onnx"
    path.write_bytes(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    converted = convert(path, tmp_path / "cut.onnx")
    assert any("is replaced by edgecv's" in line for line in converted.remarks)
    assert "NonMaxSuppression" not in {node.op_type for node in onnx.load(tmp_path / "cut.onnx").graph.node}
    with edgecv.load(tmp_path / "cut.onnx", backend="simd", threads=1, cache=False) as detector:
        assert len(detector(FRAME)) > 0


def test_a_card_that_wants_a_cut_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    card = Path(draft(path).path)
    whole_of_it = onnx.load(path)
    for node in whole_of_it.graph.node:
        if node.op_type == "Greater":
            node.op_type = "Less"
    onnx.save(whole_of_it, path)
    assert card.is_file()
    with pytest.raises(CardError, match=r"`head\.tail` says that the network's own NMS is cut off: "):
        edgecv.load(path, backend="simd", threads=1, cache=False)


def test_what_cannot_be_cut_runs_whole(tmp_path: Path) -> None:
    """A tail with another mask: its NMS stays where it is, and simd runs it there."""
    proto = onnx.load_from_string(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    for node in proto.graph.node:
        if node.op_type == "Greater":
            node.op_type = "Less"
    data = proto.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with edgecv.load(path, backend="simd", threads=1, cache=False, conf=0.0) as detector:
        found = detector(FRAME)
        assert detector.placement.tail == ""
    np.testing.assert_allclose(found.confidence, sorted((r[4] for r in whole(data)), reverse=True), rtol=1e-5)


def test_what_was_cut_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(of_a_picture(tails.ultralytics(), raw_boxes(0)))
    (told,) = explain_model(str(path)).values()
    assert any("NonMaxSuppression is replaced by edgecv's: IoU 0.45" in line for line in told.remarks)
    assert told.as_dict()["remarks"] == list(told.remarks)


def test_every_class_of_a_box_counts_where_the_tail_has_it_so(tmp_path: Path) -> None:
    """YOLOX's: each class is a column of NonMaxSuppression, so that one box can be of several classes."""
    model = tails.yolox(score=0.1)
    raw = tails.raw_of(model, "centers", "some", 0)["raw"]
    data = of_a_picture(model, raw)
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    found = find_tail(OnnxModel.from_bytes(data, origin="net"))
    assert isinstance(found, Found)
    (told,) = found.tail.outputs
    columns = told.partition(": ")[2].split(", ")
    rows = np.array(whole(data, columns.index("score")))
    assert len(rows) > 0
    card = draft(path, "boxes", force=True).card
    assert card.thresholds.multi_label
    assert card.thresholds.max_per_class == found.tail.max_per_class == 8
    assert found.tail.max_det is None
    assert card.thresholds.max_det == 8 * tails.CLASSES
    with edgecv.load(path, backend="simd", threads=1, cache=False) as detector:
        got = detector(FRAME)
    order = np.argsort(-rows[:, columns.index("score")], kind="stable")
    np.testing.assert_allclose(got.confidence, rows[order, columns.index("score")], rtol=1e-5)
    assert got.class_id.tolist() == rows[order, columns.index("class")].astype(int).tolist()

"""Every layer and topology: the imported network's numbers against NumPy's, from the format's definition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecv.graph.model import OnnxModel
from edgecv.importers import darknet
from tests.importers.darknet import reference
from tests.importers.darknet.structures import (
    CASES,
    Structure,
    conv,
    net,
    raw,
    route,
    section,
    shortcut,
    tiny_yolo_v3,
    yolo,
)

ort = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5


def imported(folder: Path, cfg: str, weights: bytes, **more: Any) -> Any:
    """What `darknet.read` makes of a network."""
    (folder / "net.cfg").write_text(cfg)
    (folder / "net.weights").write_bytes(weights)
    return darknet.read(folder / "net.cfg", folder / "net.weights", **more)


def run(model: OnnxModel, picture: NDArray[Any]) -> dict[str, NDArray[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in model.facts.outputs]
    return dict(zip(names, session.run(names, {"data": picture[None]}), strict=True))


def picture_for(model: OnnxModel) -> NDArray[Any]:
    shape = model.facts.inputs[0].shape[1:]
    return np.random.default_rng(1).uniform(size=shape).astype(np.float32)


def assert_same(got: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].size == value.size
        worst = np.abs(got[name].reshape(-1) - value.reshape(-1)).max()
        assert worst <= TOLERANCE * np.abs(value).max(), name


def marked(case: Structure) -> Any:
    return pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.is_slow else [])


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_the_numbers_of_the_definition(case: Structure, tmp_path: Path) -> None:
    cfg, weights = case.cfg(), case.weights()
    model = imported(tmp_path, cfg, weights).networks["network"]
    onnx.checker.check_model(model.proto, full_check=True)
    assert model.opset <= 13
    picture = picture_for(model)
    assert_same(run(model, picture), reference.run(cfg, weights, picture))


def test_the_table_names_each_network_once() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.truth for case in CASES} == {"opencv", "numpy"}


def test_detection_layers_end_the_graph(tmp_path: Path) -> None:
    cfg = tiny_yolo_v3(16, 64)
    model = imported(tmp_path, cfg, reference.random_weights(cfg)).networks["network"]
    assert [str(spec) for spec in model.facts.inputs] == ["data: float32 (1, 3, 64, 64)"]
    assert [str(spec) for spec in model.facts.outputs] == [
        "yolo_16: float32 (1, 75, 2, 2)",
        "yolo_23: float32 (1, 75, 4, 4)",
    ]
    operators = [node.op_type for node in model.proto.graph.node]
    assert operators.count("BatchNormalization") == 11
    assert "Identity" not in operators
    epsilons = {
        attribute.f
        for node in model.proto.graph.node
        if node.op_type == "BatchNormalization"
        for attribute in node.attribute
        if attribute.name == "epsilon"
    }
    assert epsilons == {np.float32(1e-6)}


def test_a_detection_layer_may_read_what_others_read_too(tmp_path: Path) -> None:
    cfg = net() + raw(75) + yolo("0,1,2") + route("0") + raw(75) + yolo("3,4,5") + route("0,3")
    weights = reference.random_weights(cfg)
    model = imported(tmp_path, cfg, weights).networks["network"]
    picture = picture_for(model)
    got = run(model, picture)
    assert list(got) == ["yolo_1", "yolo_4"]
    assert_same(got, reference.run(cfg, weights, picture))


def test_weights_of_layers_without_use_are_still_counted(tmp_path: Path) -> None:
    cfg = net() + conv(4) + conv(8) + route("0") + conv(4)
    weights = reference.random_weights(cfg)
    imported_ = imported(tmp_path, cfg, weights)
    model = imported_.networks["network"]
    assert imported_.remarks == (
        "dropped, for no output of the network comes of them: layer 1 [convolutional]",
    )
    assert not any(tensor.name.startswith("convolutional_1") for tensor in model.proto.graph.initializer)
    picture = picture_for(model)
    assert_same(run(model, picture), reference.run(cfg, weights, picture))


LATE: dict[str, tuple[str, str]] = {
    "dropout-last": (conv(4) + section("dropout"), "convolutional_0"),
    "empty-last": (conv(4) + section("empty"), "empty_1"),
    "cost-last": (conv(4) + section("avgpool") + section("softmax") + section("cost"), "softmax_2"),
}


@pytest.mark.parametrize(("layers", "name"), LATE.values(), ids=LATE)
def test_the_last_layer_that_acts_is_the_output(layers: str, name: str, tmp_path: Path) -> None:
    cfg = net() + layers
    model = imported(tmp_path, cfg, reference.random_weights(cfg)).networks["network"]
    assert [spec.name for spec in model.facts.outputs] == [name]


@pytest.mark.parametrize("source", ["-2", "1"])
def test_layers_are_counted_back_or_from_the_first(source: str, tmp_path: Path) -> None:
    cfg = net() + conv(4) + conv(4) + conv(4) + shortcut(source)
    weights = reference.random_weights(cfg)
    model = imported(tmp_path, cfg, weights).networks["network"]
    picture = picture_for(model)
    expected = reference.run(net() + conv(4) + conv(4) + conv(4) + shortcut("1"), weights, picture)
    assert_same(run(model, picture), expected)


REAL = ("yolo_fastest_1.1_coco", "mobilenetv2_yolov3_nano_voc")


@pytest.mark.parametrize("stem", REAL)
def test_real_networks(stem: str, shared: Callable[[str], Path]) -> None:
    cfg, weights = (shared(f"models/darknet/{stem}.{suffix}") for suffix in ("cfg", "weights"))
    model = darknet.read(cfg, weights).networks["network"]
    picture = picture_for(model)
    assert_same(run(model, picture), reference.run(cfg.read_text(), weights.read_bytes(), picture))

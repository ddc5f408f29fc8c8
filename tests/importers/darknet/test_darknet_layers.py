"""Every layer and topology as an ONNX network: its numbers against OpenCV's, or NumPy's where it lacks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.graph.model import OnnxModel
from edgecv.importers import darknet
from edgecv.importers.darknet import activations, network
from tests.importers import conformance
from tests.importers.conformance import NUMPY, OPENCV, TOLERANCE, Compared, deviation
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
from tests.oracle import Oracle, OracleError


def imported(folder: Path, cfg: str, weights: bytes, **more: Any) -> Any:
    """What `darknet.read` makes of a network."""
    (folder / "net.cfg").write_text(cfg)
    (folder / "net.weights").write_bytes(weights)
    return darknet.read(folder / "net.cfg", folder / "net.weights", **more)


def run(model: OnnxModel, picture: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return conformance.run(model, {"data": picture[None]})


def picture_for(model: OnnxModel) -> NDArray[Any]:
    shape = model.facts.inputs[0].shape[1:]
    return np.random.default_rng(1).uniform(size=shape).astype(np.float32)


def assert_same(got: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert deviation(got[name], value) <= TOLERANCE[NUMPY], name


def asked(oracle: Oracle, folder: Path, case: Structure, picture: NDArray[Any], names: list[str]) -> Any:
    """What OpenCV makes of the network in the folder."""
    (folder / "opencv.cfg").write_text(case.opencv_cfg)
    outputs = dict.fromkeys(names, ("", 0))
    return oracle.run(folder / "opencv.cfg", folder / "net.weights", {"data": picture[None]}, outputs)


def marked(truth: str) -> list[Any]:
    return [
        pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.is_slow else [])
        for case in CASES
        if case.truth == truth
    ]


@pytest.mark.parametrize("case", marked(OPENCV))
def test_numbers_are_those_of_opencv(case: Structure, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    compared = Compared(case.truth, request.node.user_properties.append)
    oracle: Oracle = request.getfixturevalue("oracle")
    cfg, weights = case.cfg(), case.weights()
    read = imported(tmp_path, cfg, weights)
    picture = picture_for(read.networks["network"])
    got = conformance.run_all(read, {"data": picture[None]})
    expected = asked(oracle, tmp_path, case, picture, list(got))
    compared.assert_same(got, expected)
    if not case.is_topology:
        # So that the definitions can be trusted for what OpenCV lacks.
        defined = reference.run(cfg, weights, picture)
        assert max(deviation(defined[name], expected[name]) for name in got) <= TOLERANCE[case.truth]


@pytest.mark.parametrize("case", marked(NUMPY))
def test_numbers_are_those_of_the_definition(
    case: Structure, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    compared = Compared(case.truth, request.node.user_properties.append)
    cfg, weights = case.cfg(), case.weights()
    read = imported(tmp_path, cfg, weights)
    picture = picture_for(read.networks["network"])
    got, expected = conformance.run_all(read, {"data": picture[None]}), reference.run(cfg, weights, picture)
    assert list(got) == list(expected)
    compared.assert_same(got, expected)


@pytest.mark.parametrize("case", marked(NUMPY))
def test_numpy_stands_in_only_for_what_opencv_lacks(oracle: Oracle, case: Structure, tmp_path: Path) -> None:
    cfg, weights = case.cfg(), case.weights()
    picture = picture_for(imported(tmp_path, cfg, weights).networks["network"])
    expected = reference.run(cfg, weights, picture)
    try:
        theirs = asked(oracle, tmp_path, case, picture, list(expected))
    except OracleError:
        return
    assert not conformance.agree(theirs, expected)


def test_every_layer_and_activation_has_a_row() -> None:
    cfgs = [reference.sections(case.cfg()) for case in CASES]
    kinds = {kind for layers in cfgs for kind, _ in layers}
    # What only hands its input on is tested by the names of the last layers, below.
    assert network._PLANNERS.keys() - {"empty", "contrastive"} <= kinds
    stated = {options["activation"] for layers in cfgs for _, options in layers if "activation" in options}
    assert activations._ACTIVATIONS.keys() <= stated


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

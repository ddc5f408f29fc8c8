"""Every structure as an ONNX network: its numbers against OpenCV's, or NumPy's where that lacks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgecv.graph.model import OnnxModel
from edgecv.importers import NETWORK, caffe
from edgecv.importers.caffe.layers import CONVERTERS
from tests.importers.caffe import reference, structures
from tests.importers.caffe.nets import Net
from tests.importers.caffe.structures import Case
from tests.importers.conformance import NUMPY, TOLERANCE, Compared, agree, deviation, run, run_all
from tests.oracle import Oracle, OracleError


def network(net: Net, folder: Path) -> OnnxModel:
    model = caffe.read(*net.write(folder)).networks[NETWORK]
    onnx.checker.check_model(model.proto, full_check=True)
    return model


def marked(case: Case) -> Any:
    return pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.slow else [])


@pytest.mark.parametrize(
    "case", [marked(case) for case in structures.CASES if case.truth == structures.OPENCV]
)
def test_numbers_are_those_of_opencv(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    net = case.build()
    inputs = net.random_inputs()
    compared = Compared(case.truth, request.node.user_properties.append)
    oracle: Oracle = request.getfixturevalue("oracle")
    paths = net.write(tmp_path)
    imported = caffe.read(*paths)
    names = [spec.name for model in imported.networks.values() for spec in model.facts.outputs]
    # A second network takes what is pooled from each proposal.
    between = [spec.name for model in imported.networks.values() for spec in model.facts.inputs]
    between = [name for name in between if name not in inputs]
    expected = oracle.run(*paths, inputs, {name: net.made_by(name) for name in (*names, *between)})
    compared.assert_same(run_all(imported, {**inputs, **expected}), expected)
    if not case.topology:
        # So that the definitions can be trusted for what OpenCV lacks.
        defined = reference.run(net, inputs)
        assert max(deviation(defined[name], expected[name]) for name in names) <= TOLERANCE[case.truth]


@pytest.mark.parametrize(
    "case", [marked(case) for case in structures.CASES if case.truth == structures.NUMPY]
)
def test_numbers_are_those_of_the_definition(
    case: Case, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    net = case.build()
    inputs = net.random_inputs()
    compared = Compared(case.truth, request.node.user_properties.append)
    expected = reference.run(net, inputs)
    got = run_all(caffe.read(*net.write(tmp_path)), inputs)
    assert {name: value.shape for name, value in got.items()} == {name: expected[name].shape for name in got}
    compared.assert_same(got, expected)


@pytest.mark.parametrize(
    "case", [marked(case) for case in structures.CASES if case.truth == structures.NUMPY and not case.slow]
)
def test_numpy_stands_in_only_for_what_opencv_lacks(oracle: Oracle, case: Case, tmp_path: Path) -> None:
    net = case.build()
    inputs = net.random_inputs()
    paths = net.write(tmp_path)
    names = [spec.name for spec in caffe.read(*paths).networks[NETWORK].facts.outputs]
    try:
        theirs = oracle.run(*paths, inputs, {name: net.made_by(name) for name in names})
    except OracleError:
        return
    defined = reference.run(net, inputs)
    assert not agree(theirs, {name: defined[name] for name in names})


def test_every_layer_has_a_row() -> None:
    """Of those that are converted to nodes or to a head; python layers and clustering: `test_caffe_cards`."""
    kinds = {layer.type for case in structures.CASES if not case.slow for layer in case.build().layers}
    assert CONVERTERS.keys() - {"Python"} <= kinds
    assert all(case.why for case in structures.CASES if case.truth == structures.NUMPY)


def test_names_are_those_of_the_blobs(tmp_path: Path) -> None:
    """An output that several layers overwrite in place is named as its blob, not as the last layer."""
    net = Net("names")
    x = net.conv(net.input(1, 3, 8, 8, name="picture"), 4, 3, name="conv", tops="blob")
    net.relu(net.batch_norm(x))
    net.add("Dropout", x, tops=x)
    model = network(net, tmp_path)
    assert [spec.name for spec in model.facts.inputs] == ["picture"]
    assert [spec.name for spec in model.facts.outputs] == ["blob"]
    assert [node.op_type for node in model.proto.graph.node] == [
        "Conv",
        "BatchNormalization",
        "Mul",
        "Add",
        "Relu",
    ]


def test_names_never_collide(tmp_path: Path) -> None:
    """Layers and blobs named as the values inside of other layers would be."""
    net = Net("collisions")
    x = net.conv(net.input(1, 3, 8, 8), 4, 3, name="a")
    net.add("Power", x, {"scale": 2.0, "shift": 1.0}, name="b", tops="b")
    net.add("Power", "b", {"scale": 3.0, "shift": 1.0}, name="c", tops="b/mul")
    net.add("Power", "b/mul", {"scale": 3.0, "shift": 1.0}, name="a/weights", tops="a/weights")
    net.add("Power", "a/weights", {"scale": 0.5, "shift": 1.0}, name="b/mul.by", tops="b/mul.by")
    model = network(net, tmp_path)
    inputs = net.random_inputs()
    ((name, value),) = run(model, inputs).items()
    expected = reference.run(net, inputs)[name]
    assert np.abs(value - expected).max() <= TOLERANCE[NUMPY] * np.abs(expected).max()


def test_a_batch_becomes_one_image(tmp_path: Path) -> None:
    net = Net("batch")
    net.conv(net.input(10, 3, 8, 8), 4, 3)
    imported = caffe.read(*net.write(tmp_path))
    assert imported.networks[NETWORK].facts.inputs[0].shape == (1, 3, 8, 8)
    assert any("10 images" in remark for remark in imported.remarks)


def test_what_no_output_needs_is_left_out(tmp_path: Path) -> None:
    net = Net("silent")
    x = net.conv(net.input(1, 3, 8, 8), 4, 3, name="kept")
    net.input(1, 5, name="unused")
    net.conv("data", 4, 1, name="silenced")
    net.add("Silence", "silenced", tops=())
    net.relu(x)
    model = network(net, tmp_path)
    assert [spec.name for spec in model.facts.inputs] == ["data"]
    assert [spec.name for spec in model.facts.outputs] == ["kept"]

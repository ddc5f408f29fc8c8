"""Every structure as an ONNX network against the definitions of Caffe's layers in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecv.graph.model import OnnxModel
from edgecv.importers import NETWORK, caffe
from tests.importers.caffe import reference, structures
from tests.importers.caffe.nets import Net
from tests.importers.caffe.structures import Case

EPS = 1e-4
# Of the topologies those that NumPy runs in a second or two; the others are the oracle's.
SMALL = {"alexnet-1/8", "squeezenet-1/8", "resnet18-1/8", "segnet-1/8"}
CASES = [*structures.LAYERS, *(case for case in structures.TOPOLOGIES if case.id in SMALL)]


def run(model: OnnxModel, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in session.get_outputs()]
    values = session.run(names, {spec.name: inputs[spec.name] for spec in session.get_inputs()})
    return dict(zip(names, values, strict=True))


def network(net: Net, folder: Path) -> OnnxModel:
    model = caffe.read(*net.write(folder)).networks[NETWORK]
    onnx.checker.check_model(model.proto, full_check=True)
    return model


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_numbers_are_those_of_caffe(case: Case, tmp_path: Path) -> None:
    net = case.build()
    inputs = net.random_inputs()
    model = network(net, tmp_path)
    blobs = reference.run(net, inputs)
    got = run(model, inputs)
    assert got
    assert model.opset <= 13
    for name, value in got.items():
        expected = blobs[name]
        assert value.shape == expected.shape
        assert np.abs(expected).max() > 0
        assert np.abs(value - expected).max() <= EPS * np.abs(expected).max()


@pytest.mark.parametrize(
    "case", [case for case in structures.TOPOLOGIES if not case.slow], ids=lambda case: case.id
)
def test_every_topology_is_read(case: Case, tmp_path: Path) -> None:
    imported = caffe.read(*case.build().write(tmp_path))
    for model in imported.networks.values():
        onnx.checker.check_model(model.proto, full_check=True)
        assert model.facts.outputs


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
    assert np.abs(value - expected).max() <= EPS * np.abs(expected).max()


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

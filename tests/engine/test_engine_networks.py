"""Whole networks on the engine: those that users bring, and every structure that the importers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.engine.compile import compile_model
from edgecv.graph.model import OnnxModel
from edgecv.importers import caffe, darknet
from tests.engine.topologies import TOPOLOGIES
from tests.importers.caffe import structures as caffe_structures
from tests.importers.darknet import structures as darknet_structures

ort = pytest.importorskip("onnxruntime")

Array = NDArray[Any]
# Sums of some hundred float32 products in another order, through some tens of layers.
TOLERANCE = 2e-5


def shapes_of(model: OnnxModel) -> dict[str, tuple[int, ...]]:
    return {s.name: tuple(n for n in s.shape if isinstance(n, int)) for s in model.facts.inputs}


def pictures(model: OnnxModel, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(size=shape).astype(np.float32) for name, shape in shapes_of(model).items()}


def run(model: OnnxModel, inputs: Mapping[str, Array], isa: str, threads: int = 1) -> dict[str, Array]:
    """The engine's answer."""
    compiled = compile_model(model, shapes_of(model), isa=isa, threads=threads)
    outputs = [np.full(o.shape, 77, o.dtype) for o in compiled.outputs]
    pool = _simd.Pool(threads)
    try:
        _simd.Context(compiled.plan).run(
            pool, tuple(inputs[s.name] for s in model.facts.inputs), tuple(outputs)
        )
    finally:
        pool.close()
    return {o.name: array for o, array in zip(compiled.outputs, outputs, strict=True)}


def truth(model: OnnxModel, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """ONNX Runtime's answer."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in model.facts.outputs]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def assert_close(got: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].shape == value.shape
        assert got[name].dtype == value.dtype
        largest = np.abs(value).max()
        assert largest > 0, name
        assert np.abs(got[name] - value).max() <= TOLERANCE * largest, name


@pytest.mark.parametrize("isa", _isa.built())
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_networks_that_users_bring(name: str, isa: str) -> None:
    if isa not in _isa.usable():
        pytest.skip(f"{isa}: not supported by this CPU, which has {', '.join(_isa.usable())}")
    model = TOPOLOGIES[name]()
    inputs = pictures(model)
    assert_close(run(model, inputs, isa), truth(model, inputs))


@pytest.mark.parametrize("name", ["yolov8", "shufflenet_v1", "segnet", "ssd"])
def test_the_same_bits_for_any_number_of_threads(name: str) -> None:
    model = TOPOLOGIES[name]()
    inputs = pictures(model)
    alone = run(model, inputs, _isa.active())
    for threads in (2, 3, 4):
        together = run(model, inputs, _isa.active(), threads)
        for output, value in alone.items():
            assert np.array_equal(value, together[output]), (output, threads)


DARKNET = [case for case in darknet_structures.CASES if not case.is_slow]


@pytest.mark.parametrize("case", DARKNET, ids=lambda case: case.id)
def test_what_darknet_brings(case: darknet_structures.Structure, tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_text(case.cfg())
    (tmp_path / "net.weights").write_bytes(case.weights())
    model = darknet.read(tmp_path / "net.cfg", tmp_path / "net.weights").networks["network"]
    inputs = pictures(model)
    assert_close(run(model, inputs, _isa.active()), truth(model, inputs))


CAFFE = [*caffe_structures.LAYERS, *(case for case in caffe_structures.TOPOLOGIES if not case.slow)]


@pytest.mark.parametrize("case", CAFFE, ids=lambda case: case.id)
def test_what_caffe_brings(case: caffe_structures.Case, tmp_path: Path) -> None:
    net = case.build()
    for model in caffe.read(*net.write(tmp_path)).networks.values():
        known = net.random_inputs()
        inputs = {k: known.get(k, v) for k, v in pictures(model).items()}
        assert_close(run(model, inputs, _isa.active()), truth(model, inputs))

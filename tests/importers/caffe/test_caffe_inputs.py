"""Networks that no picture can feed: they run and are converted as they are; only a task wants a picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgecv
from edgecv.backends import BACKENDS
from edgecv.convert import convert
from edgecv.errors import InputError, NoPictureError
from edgecv.importers import locate, read_networks
from edgecv.options import LoadOptions
from tests.importers.caffe import reference
from tests.importers.caffe.nets import Net


def map_of(channels: int) -> Callable[[], Net]:
    def build() -> Net:
        net = Net("map")
        net.relu(net.conv(net.input(1, channels, 6, 8), 4, 3))
        return net

    return build


def vector(batch: int = 1) -> Net:
    net = Net("vector")
    net.relu(net.fc(net.input(batch, 10), 3))
    return net


def two_maps() -> Net:
    net = Net("two")
    net.input(1, 2, 6, 8, name="left")
    net.input(1, 2, 6, 8, name="right")
    net.conv(net.add("Eltwise", ["left", "right"], shape=(1, 2, 6, 8), name="sum"), 4, 3)
    return net


def row_and_vector() -> Net:
    net = Net("both")
    net.input(1, 10, name="a")
    net.input(1, 10, name="b")
    net.add("Eltwise", ["a", "b"], shape=(1, 10), name="sum")
    return net


CASES: dict[str, Callable[[], Net]] = {
    **{f"{n} channels": map_of(n) for n in (2, 5, 6, 13)},
    "a vector": vector,
    "two maps": two_maps,
    "two vectors": row_and_vector,
}
each_case = pytest.mark.parametrize("build", CASES.values(), ids=CASES)


@each_case
@pytest.mark.parametrize("backend", ["simd", "onnxruntime"])
def test_they_run(build: Callable[[], Net], backend: str, tmp_path: Path) -> None:
    if BACKENDS[backend].unavailable():
        pytest.skip(str(BACKENDS[backend].unavailable()))
    net = build()
    structure, _ = net.write(tmp_path)
    rng = np.random.default_rng(0)
    feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in net.inputs.items()}
    expected = reference.run(net, feed)
    done = convert(structure, tmp_path / "out.onnx")
    for path in (structure, structure.with_suffix(".caffemodel"), tmp_path / "out.onnx"):
        with edgecv.compile(path, backend=backend, threads=1, cache=False) as session:
            assert {spec.name: spec.shape for spec in session.inputs} == net.inputs
            found = session.run(feed)
        assert found
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)
    assert (done.card, done.card_path, done.assumptions) == (None, None, ())
    assert "no card: " in done.remarks[0]
    assert json.dumps(done.as_dict()["card"]) == "null"
    assert not (tmp_path / "out.model.json").exists()


@each_case
def test_a_task_wants_a_picture(build: Callable[[], Net], tmp_path: Path) -> None:
    structure, _ = build().write(tmp_path)
    with pytest.raises(NoPictureError, match=r"expected one that a picture can feed.*edgecv\.compile"):
        edgecv.load(structure)
    with pytest.raises(InputError, match=r"mean: .*expected one that a picture can feed"):
        convert(structure, tmp_path / "out.onnx", LoadOptions.of(mean=(1, 2, 3)))
    assert not (tmp_path / "out.onnx").exists()


def test_a_batch_of_vectors_becomes_one(tmp_path: Path) -> None:
    (model,) = read_networks(locate(vector(8).write(tmp_path)[0])).values()
    assert [str(spec) for spec in model.facts.inputs] == ["data: float32 (1, 10)"]


def test_what_is_assumed_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net("scores")
    net.fc(net.input(1, 3, 4, 4), 5, name="fc")
    structure, _ = net.write(tmp_path)
    with caplog.at_level(logging.WARNING, "edgecv"), edgecv.load(structure, threads=1) as classifier:
        classifier(np.zeros((4, 4, 3), np.uint8))
        classifier.clone().close()
    (told,) = [record.getMessage() for record in caplog.records]
    for part in (
        "fc is a row of 5 numbers that no softmax makes",
        "not scaled",
        "mean: none",
        "labels: none",
    ):
        assert told.count(f"{part}") == 1

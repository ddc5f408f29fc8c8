"""Networks that were trained, as OpenCV 4 runs their files; and one of them from both formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import edgecv
from edgecv import card as cards
from edgecv.card import HeadSpec
from edgecv.heads import grid
from edgecv.importers import NETWORK, Imported, caffe, darknet
from edgecv.importers.caffe import prototxt
from tests.importers.caffe import nets, reference
from tests.importers.conformance import NUMPY, OPENCV, REAL_MODELS, Compared, deviation, run, run_all
from tests.oracle import Oracle

Shared = Callable[[str], Path]
PAIR = "mobilenetv2_yolov3_nano_voc"


# OpenCV lacks its Upsample.
OF_NUMPY = f"caffe-{PAIR}"


def imported(structure: Path, weights: Path) -> tuple[Imported, dict[str, NDArray[np.float32]]]:
    """A network, and pictures for its inputs."""
    read = (darknet.read if structure.suffix == ".cfg" else caffe.read)(structure, weights)
    random = np.random.default_rng(1)
    (spec,) = read.networks[NETWORK].facts.inputs
    return read, {spec.name: random.uniform(size=spec.shape).astype(np.float32)}


@pytest.mark.parametrize("stem", [stem for stem in REAL_MODELS if stem != OF_NUMPY])
def test_numbers_are_those_of_opencv(stem: str, shared: Shared, request: pytest.FixtureRequest) -> None:
    compared = Compared(OPENCV, request.node.user_properties.append)
    files = [shared(f"models/{path}") for path in REAL_MODELS[stem]]
    oracle: Oracle = request.getfixturevalue("oracle")
    read, inputs = imported(*files)
    layers = {} if files[0].suffix == ".cfg" else made_by(files[0])
    outputs = {spec.name: (layers.get(spec.name, ""), 0) for spec in read.networks[NETWORK].facts.outputs}
    compared.assert_same(run_all(read, inputs), oracle.run(*files, inputs, outputs))


def test_numbers_are_those_of_the_definition(shared: Shared, request: pytest.FixtureRequest) -> None:
    compared = Compared(NUMPY, request.node.user_properties.append)
    files = [shared(f"models/{path}") for path in REAL_MODELS[OF_NUMPY]]
    read, inputs = imported(*files)
    compared.assert_same(run_all(read, inputs), reference.run(nets.of_files(*files), inputs))


def made_by(structure: Path) -> dict[str, str]:
    """Blob -> the layer that writes it last."""
    return {top: layer.name for layer in prototxt.read(structure).layers for top in layer.tops}


@pytest.fixture
def photo(shared: Shared) -> NDArray[np.uint8]:
    cv2 = pytest.importorskip("cv2", reason="photos need the extra opencv")
    image = cv2.imread(str(shared("data/photos/dog.jpg")))
    assert image is not None
    return np.asarray(image)


def of_both(shared: Shared, folder: Path, epsilon: str = "") -> dict[str, Imported]:
    """The network as it is imported from each format. epsilon: for Caffe's batch normalization."""
    text = shared(f"models/caffe/{PAIR}.prototxt").read_text()
    if epsilon:
        text = text.replace("use_global_stats: true", f"use_global_stats: true eps: {epsilon}")
        assert epsilon in text
    structure = folder / f"{PAIR}.prototxt"
    structure.write_text(text)
    cfg, weights = (shared(f"models/darknet/{PAIR}.{suffix}") for suffix in ("cfg", "weights"))
    return {
        "caffe": caffe.read(structure, shared(f"models/caffe/{PAIR}.caffemodel")),
        "darknet": darknet.read(cfg, weights),
    }


def by_shape(
    imported: Imported, blob: NDArray[np.float32]
) -> dict[tuple[int, ...], tuple[str, NDArray[Any]]]:
    """The two raw maps, of different sizes: shape -> (name, values)."""
    model = imported.networks[NETWORK]
    (spec,) = model.facts.inputs
    outputs = run(model, {spec.name: blob})
    assert len(outputs) == 2
    return {value.shape: (name, value) for name, value in outputs.items()}


@pytest.mark.parametrize(("epsilon", "tolerance"), [("", 2e-3), ("1e-6", 1e-5)], ids=["own", "the same"])
def test_one_network_of_two_formats_has_the_same_outputs(
    epsilon: str, tolerance: float, shared: Shared, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Caffe adds 1e-5 to the variance unless it is told otherwise, OpenCV's reading of Darknet 1e-6."""
    both = of_both(shared, tmp_path, epsilon)
    width, height = both["darknet"].card.image_input.size_wh
    rows = np.linspace(0, photo.shape[0] - 1, height).astype(int)
    columns = np.linspace(0, photo.shape[1] - 1, width).astype(int)
    blob = np.ascontiguousarray(photo[rows][:, columns, ::-1].transpose(2, 0, 1)[None] / np.float32(255))
    got, expected = (by_shape(both[name], blob) for name in ("caffe", "darknet"))
    assert got.keys() == expected.keys()
    worst = max(deviation(value, expected[shape][1]) for shape, (_, value) in got.items())
    assert worst <= tolerance
    # With its own epsilon it is the file's: were it not read, both would be the same.
    assert (worst > 1e-5) == (not epsilon)


def test_one_network_of_two_formats_detects_the_same(
    shared: Shared, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The prototxt ends with the raw maps, so that its card says what the cfg does, by its names."""
    both = of_both(shared, tmp_path)
    maps = [by_shape(both[name], np.zeros((1, 3, 320, 320), np.float32)) for name in ("darknet", "caffe")]
    names = {theirs: maps[1][shape][0] for shape, (theirs, _) in maps[0].items()}
    stated = both["darknet"].card
    assert stated.head
    assert isinstance(stated.head.params, grid.Params)
    layers = tuple(
        msgspec.structs.replace(layer, output=names[layer.output]) for layer in stated.head.params.layers
    )
    head = HeadSpec(grid.TYPE, msgspec.structs.replace(stated.head.params, layers=layers))
    card = msgspec.structs.replace(
        stated.with_head(head),
        format="caffe",
        labels=cards.read_labels(shared("models/caffe/voc.names")),
    )
    (tmp_path / f"{PAIR}.model.json").write_text(cards.dumps(card))
    weights = shared(f"models/caffe/{PAIR}.caffemodel")
    options: dict[str, Any] = {"conf": 0.3, "threads": 1, "warmup": False}
    with (
        edgecv.load(tmp_path / f"{PAIR}.prototxt", weights=weights, **options) as ours,
        edgecv.load(
            shared(f"models/darknet/{PAIR}.cfg"), labels=shared("models/caffe/voc.names"), **options
        ) as theirs,
    ):
        got, expected = ours(photo), theirs(photo)
    assert len(expected) >= 2
    np.testing.assert_array_equal(got.class_id, expected.class_id)
    np.testing.assert_allclose(got.confidence, expected.confidence, atol=5e-3)
    np.testing.assert_allclose(got.xyxy, expected.xyxy, atol=1)
    assert got.names == expected.names


def test_a_mean_that_is_given_leaves_the_rest_of_what_is_usual(shared: Shared) -> None:
    paths = [shared(f"models/caffe/ultraface_rfb_320.{suffix}") for suffix in ("prototxt", "caffemodel")]
    usual = caffe.read(*paths).card.image_input
    given = caffe.read(*paths, mean=(1.0, 2.0, 3.0))
    assert given.card.image_input == msgspec.structs.replace(usual, mean=(1.0, 2.0, 3.0))
    assert any("but for the mean as is usual" in line for line in given.assumptions)

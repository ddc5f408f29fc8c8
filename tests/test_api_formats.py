"""What a user may name beside ONNX: pairs of files, cards of them, models of several networks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv import api
from edgecv.convert import convert
from edgecv.errors import CardError, ChecksumError, EdgeCVError, InputError, ModelNotFoundError
from edgecv.importers import caffe
from edgecv.options import LoadOptions
from edgecv.pipelines.detector import Detector
from edgecv.pipelines.region_proposal import RegionProposal
from edgecv.verify import verify
from tests.model_files import CLASSIFIER_CFG, COLORS, imported_classifier, write_darknet
from tests.networks import photo, tiny_roi, tiny_trunk

INPUT = {"name": "data", "size_wh": [64, 64], "color": "rgb", "resize": "stretch", "std": [255, 255, 255]}
HEAD = {
    "type": "yolo",
    "layers": [{"output": "yolo_1", "anchors": [[10, 14], [23, 27], [37, 58]]}],
    "classes": 3,
}


def entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"path": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def put_card(folder: Path, *files: Path, **changes: Any) -> Path:
    """A card of a Darknet network in a folder of its own."""
    card: dict[str, Any] = {
        "schema": 2,
        "name": "parts",
        "task": "detect",
        "format": "darknet",
        "files": [entry(file) for file in files],
        "inputs": [INPUT],
        "head": HEAD,
        "labels": ["nut", "bolt", "washer"],
        **changes,
    }
    folder.mkdir(exist_ok=True)
    path = folder / "model.json"
    path.write_text(json.dumps(card))
    return path


def outputs(model: Path, **options: Any) -> np.ndarray:
    with edgecv.load(model, threads=1, warmup=False, **options) as detector:
        return np.array(detector.infer(np.ones((1, 3, 64, 64), np.float32))["yolo_1"])


def test_either_file_names_the_network(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    with edgecv.compile(cfg, threads=1) as session:
        expected = session.run({"data": np.ones((1, 3, 64, 64), np.float32)})["yolo_1"]
    np.testing.assert_array_equal(outputs(cfg), expected)
    np.testing.assert_array_equal(outputs(cfg.with_suffix(".weights")), expected)


def test_weights_of_another_name(tmp_path: Path) -> None:
    cfg, other = write_darknet(tmp_path, "net"), write_darknet(tmp_path, "other", seed=1)
    given = outputs(cfg, weights=other.with_suffix(".weights"))
    np.testing.assert_array_equal(given, outputs(other))
    assert not np.array_equal(given, outputs(cfg))
    with edgecv.compile(cfg, threads=1, weights=other.with_suffix(".weights")) as session:
        run = session.run({"data": np.ones((1, 3, 64, 64), np.float32)})["yolo_1"]
    np.testing.assert_array_equal(run, given)


def test_a_card_lists_structure_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = write_darknet(tmp_path, "net")
    card = put_card(tmp_path / "card", cfg, cfg.with_suffix(".weights"))
    with pytest.raises(ModelNotFoundError, match=r"its file net\.cfg .* is not on this machine"):
        edgecv.load(card)
    monkeypatch.setenv("EDGECV_MODELS", str(tmp_path))
    np.testing.assert_array_equal(outputs(card), outputs(cfg))
    # Files count by their contents, whatever they are called.
    cfg.with_suffix(".weights").rename(tmp_path / "0f3a")
    np.testing.assert_array_equal(outputs(card), outputs(cfg, weights=tmp_path / "0f3a"))


def test_other_weights_for_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, other = write_darknet(tmp_path, "net"), write_darknet(tmp_path, "other", seed=1)
    card = put_card(tmp_path / "card", cfg, cfg.with_suffix(".weights"))
    # Its own weights need not be there for that.
    cfg.with_suffix(".weights").unlink()
    monkeypatch.setenv("EDGECV_MODELS", str(tmp_path))
    backup = other.with_suffix(".weights").rename(tmp_path / "other.backup")
    expected = outputs(cfg, weights=backup)
    np.testing.assert_array_equal(outputs(card, weights=backup), expected)
    backup.rename(other.with_suffix(".weights"))
    np.testing.assert_array_equal(outputs(card, weights=other), expected)
    convert(other, tmp_path / "other.onnx")
    np.testing.assert_array_equal(outputs(card, weights=tmp_path / "other.onnx"), expected)
    bare = put_card(tmp_path / "bare")
    np.testing.assert_array_equal(outputs(bare, weights=other.with_suffix(".weights")), expected)


def test_a_card_beside_the_pair_wins(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    put_card(tmp_path, thresholds={"conf": 0.875}).rename(tmp_path / "net.model.json")
    for path in (cfg, cfg.with_suffix(".weights")):
        with edgecv.load(path, threads=1) as detector:
            assert (detector.card.name, detector.settings.conf) == ("parts", 0.875)


def test_a_draft_warns_of_what_it_assumes_and_a_card_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = write_darknet(tmp_path, "net")
    caplog.set_level("INFO", logger="edgecv")
    edgecv.load(cfg, threads=1).close()
    (said,) = [record for record in caplog.records if "no card" in record.message]
    assert said.levelno == logging.WARNING
    assert "input 64x64 rgb stretch, mean 0, std 255; assumed: labels: none" in said.message
    (tmp_path / "net.names").write_text("nut\nbolt\nwasher\n")
    caplog.clear()
    with edgecv.load(cfg, threads=1) as detector:
        assert detector.names == ("nut", "bolt", "washer")
    assert [record.levelno for record in caplog.records if "no card" in record.message] == [logging.INFO]
    convert(cfg, tmp_path / "net.onnx")
    caplog.clear()
    edgecv.load(cfg, threads=1).close()
    assert not caplog.records


def test_verify_reads_the_files_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from edgecv.importers import darknet

    calls = []
    read = darknet.read
    monkeypatch.setattr(darknet, "read", lambda *a, **k: (calls.append(a), read(*a, **k))[1])
    report = verify(write_darknet(tmp_path, "net"))
    assert report.first_divergence is None
    assert len(calls) == 1
    assert sum("no card" in record.message for record in caplog.records) == 1


def test_labels_and_mean_come_before_the_card(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    put_card(tmp_path).rename(tmp_path / "net.model.json")
    (tmp_path / "others.txt").write_text("a\nb\nc\n")
    with edgecv.load(cfg, threads=1, labels=tmp_path / "others.txt", mean=[1, 2, 3]) as detector:
        assert detector.names == ("a", "b", "c")
        assert detector.card.image_input.mean == (3, 2, 1)


def test_a_digits_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tmp_path / "20160101-120000-abcd"
    job.mkdir()
    (job / "deploy.prototxt").touch()
    given: list[Any] = []

    def read_digits(folder: Path, **options: Any) -> Any:
        given.append(options)
        return imported_classifier(folder.name, labels=COLORS)

    monkeypatch.setattr(caffe, "read_digits", read_digits)
    with edgecv.load(job, threads=1) as classifier:
        assert (classifier.card.name, classifier.names) == (job.name, COLORS)
    (tmp_path / "mean.npy").touch()
    (tmp_path / "names.txt").write_text("\n".join(COLORS))
    api.resolve(job, LoadOptions.of(mean=tmp_path / "mean.npy", labels=tmp_path / "names.txt"))
    assert given == [
        {"mean": None, "labels": None},
        {"mean": tmp_path / "mean.npy", "labels": tmp_path / "names.txt"},
    ]


def test_caffe_takes_a_mean_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.prototxt", "net.caffemodel", "mean.binaryproto"):
        (tmp_path / name).touch()
    given: list[Any] = []

    def read(*paths: Path, **options: Any) -> Any:
        given.append((paths, options))
        return imported_classifier()

    monkeypatch.setattr(caffe, "read", read)
    found = api.resolve(tmp_path / "net.caffemodel", LoadOptions.of(mean=tmp_path / "mean.binaryproto"))
    pair = (tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert given == [(pair, {"mean": tmp_path / "mean.binaryproto", "labels": None})]
    assert found.paths == (pair[1], pair[0], tmp_path / "mean.binaryproto")
    assert found.assumptions[0] == "no mean: 0"
    assert found.remarks == ("drop left out",)


FASTER = {
    "type": "faster_rcnn",
    "features": "conv5",
    "anchors": [[-8, -8, 23, 23], [-24, -24, 39, 39], [-56, -56, 71, 71]],
    "pre_nms": 50,
    "post_nms": 30,
    "min_size": 4.0,
    "pooled_wh": [3, 2],
}


def put_stages(folder: Path, head: dict[str, Any] = FASTER) -> Path:
    """A card of two networks, called as `convert` calls them."""
    for stage, data in (("trunk", tiny_trunk(anchors=3)), ("roi", tiny_roi())):
        (folder / f"two.{stage}.onnx").write_bytes(data)
    trunk, roi = ([entry(folder / f"two.{stage}.onnx")] for stage in ("trunk", "roi"))
    entries = [{"name": "data", "size_wh": [96, 80], "resize": "stretch"}]
    stages = {"trunk": {"files": trunk, "inputs": entries}, "roi": {"files": roi, "head": head}}
    card = put_card(folder, format="onnx", stages=stages, inputs=[], head=None)
    return card.rename(folder / "two.model.json")


def without_files(card: Path, stage: str) -> Path:
    """The card with no files for one stage."""
    fields = json.loads(card.read_text())
    fields["stages"][stage]["files"] = []
    card.write_text(json.dumps(fields))
    return card


def test_a_model_of_two_networks_runs_by_its_card(tmp_path: Path) -> None:
    card = put_stages(tmp_path)
    results = []
    # There is no two.onnx: its card stands for it.
    for model in (card, tmp_path / "two.onnx"):
        with edgecv.load(model, threads=1, conf=0.01) as detector:
            assert isinstance(detector, RegionProposal)
            results.append(detector(photo()))
    assert len(results[0]) > 0
    np.testing.assert_array_equal(results[0].xyxy, results[1].xyxy)
    assert verify(card).first_divergence is None


def test_two_networks_of_a_pair_in_one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv.importers import darknet

    cfg = write_darknet(tmp_path, "net")
    stages = api.resolve(put_stages(tmp_path))
    two = replace(imported_classifier(), networks=stages.networks)
    monkeypatch.setattr(darknet, "read", lambda *_, **__: two)
    card = put_card(tmp_path, cfg, cfg.with_suffix(".weights"))
    found = api.resolve(card)
    assert list(found.networks) == list(found.card.stages) == ["trunk", "roi"]
    assert found.card.image_input.name == INPUT["name"]


def test_a_sole_stage_keeps_its_name(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    weights = cfg.with_suffix(".weights")
    stage = {"inputs": [INPUT], "head": HEAD, "files": [entry(cfg), entry(weights)]}
    changes = {"inputs": [], "head": None, "stages": {"finder": stage}}
    card = put_card(tmp_path, **changes)
    beside = card.with_name("net.model.json")
    beside.write_bytes(card.read_bytes())
    for found in (
        api.resolve(card),
        api.resolve(card, LoadOptions.of(weights=weights)),
        api.resolve(cfg),
        api.resolve(card, LoadOptions.of(weights=cfg)),
    ):
        assert list(found.networks) == list(found.card.stages) == ["finder"]


WRONG: dict[str, tuple[Callable[[Path], tuple[Path, dict[str, Any]]], type[EdgeCVError], str]] = {
    "no such weights": (
        lambda f: (put_card(f, f / "net.cfg", f / "net.weights"), {"weights": f / "no.weights"}),
        ModelNotFoundError,
        r"no\.weights: no such file",
    ),
    "no such weights for onnx": (
        lambda f: (put_card(f, format="onnx"), {"weights": f / "no.onnx"}),
        ModelNotFoundError,
        r"no\.onnx: no such file",
    ),
    "one file of a pair": (
        lambda f: (put_card(f, f / "net.cfg"), {}),
        CardError,
        "needs a structure file and a weights file, and the card names 1",
    ),
    "no files": (lambda f: (put_card(f), {}), ModelNotFoundError, "names no files; give weights"),
    "changed file": (
        lambda f: (
            put_card(f, f / "net.cfg", f / "net.weights", files=[{**entry(f / "net.cfg"), "bytes": 3}]),
            {},
        ),
        ChecksumError,
        "expected 3 bytes",
    ),
    "weights for stages": (
        lambda f: (put_stages(f), {"weights": f / "net.weights"}),
        InputError,
        r"parts runs as 2 networks \(trunk, roi\); one file cannot stand",
    ),
    "a head that reads one network": (
        lambda f: (put_stages(f, HEAD), {}),
        CardError,
        r"its head grid reads one network, and it has trunk, roi",
    ),
    "a stage without files": (
        lambda f: (without_files(put_stages(f), "roi"), {}),
        CardError,
        r"parts, stage roi: a network of format onnx needs a network file, and the card names 0",
    ),
    "stages of a network alone": (
        lambda f: (put_stages(f).rename(f / "net.model.json").with_name("net.cfg"), {}),
        CardError,
        r"its card states the stages trunk, roi, and its files hold network: name the files of each stage",
    ),
    "a task without a pipeline": (
        lambda f: (put_card(f, f / "net.cfg", f / "net.weights", task="segment"), {}),
        InputError,
        "parts: a model for the task segment, which this version does not run",
    ),
    "one of two networks": (
        lambda f: (put_stages(f).with_name("two.trunk.onnx"), {}),
        InputError,
        r"two\.trunk\.onnx: one of several networks of a model, .*: name .*two\.model\.json",
    ),
    "no such mean": (
        lambda f: (f / "net.cfg", {"mean": "104;117;123"}),
        ModelNotFoundError,
        "mean: 104;117;123: no such file; give a mean file of Caffe, or numbers such as 104,117,123",
    ),
    "a mean of two channels": (
        lambda f: (f / "net.cfg", {"mean": [104, 117]}),
        InputError,
        "mean: 2 values for 3 channels: expected 1 or 3",
    ),
    "another task": (
        lambda f: (f / "net.cfg", {"task": "classify"}),
        InputError,
        "net: a model to detect, not to classify; `edgecv detect` runs it",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_models(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], tuple[Path, dict[str, Any]]],
    error: type[EdgeCVError],
    message: str,
) -> None:
    write_darknet(tmp_path, "net")
    model, options = make(tmp_path)
    with pytest.raises(error, match=message) as caught:
        edgecv.load(model, **options)
    assert "\n" not in str(caught.value)
    # What a draft assumes is of no interest where the model does not run.
    assert not caplog.records


def test_a_detector_counts_its_classes_without_names(tmp_path: Path) -> None:
    with edgecv.load(write_darknet(tmp_path, "net"), threads=1) as detector:
        assert detector.names == ()
        assert isinstance(detector, Detector)
        assert detector.class_count == 3


def test_weights_that_are_longer_than_the_network_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are those of another network, more often than not, and what is found with them is nonsense."""
    cfg = write_darknet(tmp_path, "net")
    (tmp_path / "net.names").write_text("nut\nbolt\nwasher\n")
    with cfg.with_suffix(".weights").open("ab") as file:
        file.write(bytes(400))
    edgecv.load(cfg, threads=1).close()
    (said,) = caplog.messages
    assert "net.weights: these weights belong to this cfg, though 400 bytes follow the last one" in said


def test_a_network_whose_outputs_say_nothing(tmp_path: Path) -> None:
    """A map of features is no class and no box; the message says what is missing."""
    cfg = CLASSIFIER_CFG.replace("[avgpool]\n\n[softmax]\n", "")
    from tests.model_files import KERNELS

    KERNELS[cfg] = KERNELS[CLASSIFIER_CFG]
    path = write_darknet(tmp_path, "net", cfg)
    with pytest.raises(InputError, match=r"put a card beside it as net\.model\.json that states its task"):
        edgecv.load(path)
    assert convert(path, tmp_path / "out.onnx").card.task == "features"

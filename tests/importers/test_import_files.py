"""Which files make up a model, and which labels belong to it: what is found, and that nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv import importers
from edgecv.card import HeadSpec, InputEntry, ModelCard, Stage
from edgecv.errors import CardError, EdgeCVError, HeadError, InputError, ModelNotFoundError
from edgecv.heads import anchors, boxes, grid, rows, two_stages
from edgecv.heads.priors import PriorMap
from edgecv.importers import NETWORK, ModelFiles, import_model, locate, of_card, read_model, relabel
from edgecv.importers.labels import class_count, find_labels
from tests.model_files import CLASSIFIER_CFG, COLORS, imported_classifier, write_darknet
from tests.networks import tiny_classifier, tiny_yolov8

PRESENT = ("net.cfg", "net.weights", "a.prototxt", "a.caffemodel", "b.prototxt", "b_1.caffemodel", "one.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*PRESENT, "alone.weights", "net.backup", "UPPER.CFG", "UPPER.weights"):
        (tmp_path / name).touch()
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "deploy.prototxt").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


FOUND: dict[str, tuple[str, str | None, str, tuple[str, ...]]] = {
    "structure": ("net.cfg", None, "darknet", ("net.cfg", "net.weights")),
    "weights": ("net.weights", None, "darknet", ("net.cfg", "net.weights")),
    "upper case": ("UPPER.CFG", None, "darknet", ("UPPER.CFG", "UPPER.weights")),
    "prototxt": ("a.prototxt", None, "caffe", ("a.prototxt", "a.caffemodel")),
    "caffemodel": ("a.caffemodel", None, "caffe", ("a.prototxt", "a.caffemodel")),
    "weights given": ("b.prototxt", "b_1.caffemodel", "caffe", ("b.prototxt", "b_1.caffemodel")),
    "structure given": ("b_1.caffemodel", "b.prototxt", "caffe", ("b.prototxt", "b_1.caffemodel")),
    "weights of another name": ("net.cfg", "net.backup", "darknet", ("net.cfg", "net.backup")),
    "onnx": ("one.onnx", None, "onnx", ("one.onnx",)),
    "digits": ("job", None, "digits", ("job",)),
}


@pytest.mark.parametrize(("source", "weights", "format", "paths"), FOUND.values(), ids=FOUND)
def test_files_of_a_model(
    folder: Path, source: str, weights: str | None, format: str, paths: tuple[str, ...]
) -> None:
    files = locate(folder / source, folder / weights if weights else None)
    assert files == ModelFiles(format, tuple(folder / path for path in paths))


WRONG: dict[str, tuple[str, str | None, type[EdgeCVError], str]] = {
    "nothing there": ("no.cfg", None, ModelNotFoundError, r"no\.cfg: no such file"),
    "no weights beside": (
        "b.prototxt",
        None,
        ModelNotFoundError,
        r"not beside it as b\.caffemodel \(there: a\.caffemodel, b_1\.caffemodel\): name it with --weights",
    ),
    "no structure beside": ("alone.weights", None, ModelNotFoundError, r"not beside it as alone\.cfg"),
    "weights are missing": ("net.cfg", "no.weights", ModelNotFoundError, r"no\.weights: no such file"),
    "weights are a structure": (
        "net.cfg",
        "net.cfg",
        InputError,
        r"expected the \.weights file that belongs",
    ),
    "weights of another format": ("net.cfg", "a.caffemodel", InputError, r"expected the \.weights file"),
    "weights are a folder": ("net.cfg", "empty", InputError, r"expected the \.weights file"),
    "two weights": ("net.weights", "alone.weights", InputError, r"expected the \.cfg file"),
    "weights of onnx": ("one.onnx", "net.weights", InputError, "is a whole network already"),
    "weights of digits": ("job", "a.caffemodel", InputError, r"name .*deploy\.prototxt to give it others"),
    "empty folder": ("empty", None, InputError, "or a folder that holds a card"),
}


@pytest.mark.parametrize(("source", "weights", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_not_there_is_not_guessed(
    folder: Path, source: str, weights: str | None, error: type[EdgeCVError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        locate(folder / source, folder / weights if weights else None)
    assert "\n" not in str(caught.value)


def test_files_of_a_card_have_any_name() -> None:
    paths = [Path("structure"), Path("numbers"), Path("mean")]
    assert of_card("net", "darknet", paths) == ModelFiles("darknet", tuple(paths[:2]))
    assert of_card("net", "onnx", paths[:1]) == ModelFiles("onnx", (Path("structure"),))
    with pytest.raises(CardError, match="needs a structure file and a weights file, and the card names 1"):
        of_card("net", "caffe", paths[:1])
    with pytest.raises(CardError, match="needs a network file, and the card names 0"):
        of_card("net", "onnx", [])


def test_one_network_of_any_format(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    other = cfg.with_suffix(".weights").rename(tmp_path / "net.backup")
    model = read_model(cfg, other)
    assert [str(spec) for spec in model.facts.inputs] == ["data: float32 (1, 3, 64, 64)"]
    with pytest.raises(InputError, match="bytes are one whole ONNX file"):
        read_model(tiny_yolov8(), other)


def test_several_networks_are_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from edgecv.importers import darknet

    one = imported_classifier()
    network = one.networks[NETWORK]
    two = replace(one, networks={"trunk": network, "roi": network})
    monkeypatch.setattr(darknet, "read", lambda *_, **__: two)
    with pytest.raises(InputError, match=r"runs as 2 networks \(trunk, roi\), and one is wanted"):
        read_model(write_darknet(tmp_path, "net"))


def named(folder: Path, **files: int) -> None:
    """Label files with so many names; `_` stands for a dot."""
    for name, count in files.items():
        (folder / name.replace("_", ".")).write_text("".join(f"{name}{i}\n" for i in range(count)))


LABELS: dict[str, tuple[dict[str, int], str | None, str | None]] = {
    "own": ({"net_names": 4, "labels_txt": 4}, "net_names", None),
    "own text": ({"net_txt": 4}, "net_txt", None),
    "labels.txt": ({"labels_txt": 4, "coco_names": 4}, "labels_txt", None),
    "own of another number": ({"net_names": 5, "labels_txt": 4}, "labels_txt", None),
    "the only ones that fit": (
        {"coco_names": 80, "colors_names": 4},
        "colors_names",
        "those of colors.names",
    ),
    "two fit": ({"a_names": 4, "b_names": 4}, None, "none, a.names, b.names fit alike"),
    "none fits": ({"coco_names": 80}, None, "none, no file beside it has 4 names"),
    "nothing there": ({}, None, "none, no file beside it has 4 names"),
}


@pytest.mark.parametrize(("files", "taken", "assumed"), LABELS.values(), ids=LABELS)
def test_labels_beside_the_network(
    tmp_path: Path, files: dict[str, int], taken: str | None, assumed: str | None
) -> None:
    named(tmp_path, **files)
    imported = imported_classifier()
    card, said = find_labels(imported.card, imported.networks, tmp_path / "net.cfg")
    assert card.labels == (tuple(f"{taken}{i}" for i in range(4)) if taken else ())
    assert (said is None) == (assumed is None)
    assert (assumed or "") in (said or "")


def test_labels_that_the_file_states_stay(tmp_path: Path) -> None:
    named(tmp_path, labels_txt=4)
    imported = imported_classifier(labels=COLORS)
    card, said = find_labels(imported.card, imported.networks, tmp_path / "net.cfg")
    assert (card.labels, said) == (COLORS, None)


@pytest.mark.parametrize("background", ["background", "dontcare"])
def test_labels_of_a_file_with_the_background(background: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"{background}\n" + "\n".join(COLORS))
    imported = imported_classifier()
    assert relabel(imported.card, imported.networks, tmp_path / "labels.txt").labels == COLORS


BAD_LABELS: dict[str, tuple[bytes | None, type[EdgeCVError], str]] = {
    "missing": (None, ModelNotFoundError, "no such file"),
    "too few": (b"a\nb\n", InputError, "expected 4 names, one for each class of the network, got 2"),
    "too many": (b"a\nb\nc\nd\ne\n", InputError, "expected 4 names, .*got 5"),
    "none": (b"", InputError, "expected 4 names, .*got 0"),
    "not text": (b"\xff\xfe\x00\n", InputError, "not UTF-8"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_label_files(
    tmp_path: Path, content: bytes | None, error: type[EdgeCVError], message: str
) -> None:
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    imported = imported_classifier()
    with pytest.raises(error, match=message) as caught:
        relabel(imported.card, imported.networks, path)
    assert str(caught.value).count(str(path)) == 1


def test_a_folder_is_no_label_file(tmp_path: Path) -> None:
    imported = imported_classifier()
    with pytest.raises(InputError, match="expected a file, got a folder"):
        relabel(imported.card, imported.networks, tmp_path)


def card_of(head: HeadSpec) -> ModelCard:
    stage = Stage(inputs=(InputEntry(name="data", size_wh=(32, 32)),), head=head)
    return ModelCard(name="net", task="detect", format="caffe", stages={NETWORK: stage})


PRIORS = (PriorMap(stride=8, sizes=(4,)),)
COUNTS: dict[str, tuple[HeadSpec, int | None]] = {
    "stated": (HeadSpec("grid", grid.Params(layers=(grid.Layer("y", ((1.0, 2.0),)),), classes=7)), 7),
    "scores with the background": (
        HeadSpec("anchors", anchors.Params(priors=PRIORS, scores="prob", background="first")),
        3,
    ),
    "scores without": (HeadSpec("anchors", anchors.Params(priors=PRIORS, scores="prob")), 4),
    "no such output": (HeadSpec("anchors", anchors.Params(priors=PRIORS, scores="scores")), None),
    "confidences of rows": (HeadSpec("rows", rows.Params(boxes="boxes", scores="prob")), None),
    "a row of scores": (HeadSpec("boxes", boxes.Params(boxes="boxes", scores="prob")), 4),
    "scores by columns": (
        HeadSpec("boxes", boxes.Params(boxes="boxes", scores="output0", layout="columns")),
        7,
    ),
}


@pytest.mark.parametrize(("head", "count"), COUNTS.values(), ids=COUNTS)
def test_number_of_classes(head: HeadSpec, count: int | None) -> None:
    networks = {"other": read_model(tiny_yolov8()), NETWORK: read_model(tiny_classifier())}
    assert class_count(card_of(head), networks) == count


def test_number_of_classes_of_a_second_stage() -> None:
    head = HeadSpec("two_stages", two_stages.Params(features="f", anchors=((0, 0, 9, 9),), scores="prob"))
    network = read_model(tiny_classifier())
    assert class_count(card_of(head), {"trunk": read_model(tiny_yolov8()), "roi": network}) == 3


def test_a_network_is_imported_with_what_the_caller_adds(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net", CLASSIFIER_CFG)
    (tmp_path / "colors.txt").write_text("\n".join(COLORS))
    imported = import_model(locate(cfg), labels=tmp_path / "colors.txt", mean=(1.0, 2.0, 3.0))
    assert imported.card.labels == COLORS
    # Darknet feeds red first, and a mean is given blue first.
    assert imported.card.image_input.mean == (3.0, 2.0, 1.0)
    assert not imported.is_stated


def test_a_bare_classifier_is_in_doubt(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(tiny_classifier())
    with pytest.raises(HeadError, match="which head reads its outputs"):
        import_model(locate(tmp_path / "net.onnx"))


MEANS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "bgr": ({"color": "bgr"}, (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    "rgb": ({"color": "rgb"}, (1.0, 2.0, 3.0), (3.0, 2.0, 1.0)),
    "depth": ({"color": "rgbd", "channels": 4}, (1.0, 2.0, 3.0, 4.0), (3.0, 2.0, 1.0, 4.0)),
    "gray": ({"color": "gray", "channels": 1}, (5.0,), (5.0,)),
    "one for all": ({"color": "rgb"}, (127.5,), (127.5, 127.5, 127.5)),
}


@pytest.mark.parametrize(("entry", "given", "stated"), MEANS.values(), ids=MEANS)
def test_a_mean_is_given_as_a_frame_has_its_channels(entry: dict[str, Any], given: Any, stated: Any) -> None:
    card = imported_classifier().card.with_input(InputEntry(name="data", size_wh=(8, 8), **entry))
    assert importers.with_mean(card, given).image_input.mean == stated


@pytest.mark.parametrize("reader", ["caffe", "darknet"])
def test_readers_are_imported_when_they_are_needed(reader: str) -> None:
    import subprocess
    import sys

    code = f"import edgecv.api, sys; sys.exit('edgecv.importers.{reader}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_real_folders_leave_no_doubt(shared: Callable[[str], Path]) -> None:
    imported = import_model(locate(shared("models/darknet/yolo_fastest_1.1_coco.weights")))
    assert imported.card.labels[:2] == ("person", "bicycle")
    assert any("coco.names" in line for line in imported.assumptions)
    other = import_model(locate(shared("models/darknet/mobilenetv2_yolov3_nano_voc.cfg")))
    assert other.card.labels == ()
    assert any("no file beside it has 20 names" in line for line in other.assumptions)

"""The files that say what a model is: all that `resolve` opens, and all that would change what it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv import card as cards
from edgecv import importers, lookup, zoo
from edgecv.convert import convert
from edgecv.errors import EdgeCVError
from edgecv.graph.model import OnnxModel
from edgecv.lookup import given
from edgecv.lookup.given import ABSENT, Given, files_read, fingerprint, network_files
from edgecv.options import LoadOptions
from tests.importers.caffe.test_caffe_cards import classifier, job, write_mean
from tests.importers.test_importers import with_external
from tests.model_files import CLASSIFIER_CFG, write_darknet
from tests.networks import tiny_yolov8
from tests.test_api_formats import entry, put_card, put_stages

ROOT = Path(__file__).parents[2]
LABELS = "nut\nbolt\nwasher\n"
FOUR = "a\nb\nc\nd\n"
Arguments = dict[str, Any]
Build = Callable[[Path], Arguments]

DATA = 'layer {{ name: "d" type: "Data" top: "data" include {{ phase: TRAIN }} transform_param {{ {} }} }}\n'
MEAN_FILE = DATA.format('mean_file: "/data/the_mean.binaryproto"')


def put(path: Path, data: bytes = b"") -> Path:
    path.write_bytes(data)
    return path


def of_onnx(folder: Path) -> Arguments:
    return {"model": put(folder / "net.onnx", tiny_yolov8())}


def of_onnx_with_a_card(folder: Path) -> Arguments:
    path = put(folder / "net.onnx", tiny_yolov8())
    inputs = [{"name": "images", "size_wh": [64, 64]}]
    card = put_card(folder, format="onnx", inputs=inputs, head={"type": "yolov8"}, labels="classes.txt")
    card.rename(folder / "net.model.json")
    (folder / "classes.txt").write_text(LABELS)
    return {"model": path}


def of_onnx_beside_the_card_of_others(folder: Path) -> Arguments:
    put_stages(folder)
    return {**of_onnx(folder), "model": (folder / "net.onnx").rename(folder / "two.third.onnx")}


def of_stages(folder: Path) -> Arguments:
    return {"model": put_stages(folder)}


def of_stages_by_their_name(folder: Path) -> Arguments:
    put_stages(folder)
    return {"model": folder / "two.onnx"}


def of_darknet(folder: Path) -> Arguments:
    path = write_darknet(folder, "net")
    (folder / "other.names").write_text(LABELS)
    return {"model": path}


def of_darknet_weights(folder: Path) -> Arguments:
    return {"model": write_darknet(folder, "net").with_suffix(".weights")}


def of_darknet_with_all(folder: Path) -> Arguments:
    path = write_darknet(folder, "net")
    other = write_darknet(folder, "other", seed=1).with_suffix(".weights").rename(folder / "x.backup")
    (folder / "mine.txt").write_text(LABELS)
    (folder / "net.names").write_text("x\ny\nz\n")
    return {"model": path, "weights": other, "labels": folder / "mine.txt", "mean": [1, 2, 3]}


def of_darknet_classifier(folder: Path) -> Arguments:
    path = write_darknet(folder, "net", CLASSIFIER_CFG)
    (folder / "labels.txt").write_text(FOUR)
    return {"model": path}


def of_darknet_with_a_card(folder: Path) -> Arguments:
    path = write_darknet(folder, "net")
    put_card(folder).rename(folder / "net.model.json")
    return {"model": path.with_suffix(".weights")}


def of_a_card(folder: Path) -> Arguments:
    cfg = write_darknet(folder, "net")
    return {"model": put_card(folder, cfg, cfg.with_suffix(".weights"))}


def of_a_folder_with_a_card(folder: Path) -> Arguments:
    return {**of_a_card(folder), "model": folder}


def of_a_card_with_files_elsewhere(folder: Path) -> Arguments:
    """In the folder of EDGECV_MODELS, by their contents."""
    cfg = write_darknet(folder, "net")
    card = put_card(folder / "card", cfg, cfg.with_suffix(".weights"))
    (folder / "found").mkdir()
    cfg.rename(folder / "found" / "a")
    cfg.with_suffix(".weights").rename(folder / "found" / "b")
    return {"model": card}


def of_a_card_with_weights(folder: Path) -> Arguments:
    cfg = write_darknet(folder, "net")
    card = put_card(folder, cfg, cfg.with_suffix(".weights"))
    other = write_darknet(folder, "other", seed=1).with_suffix(".weights")
    return {"model": card, "weights": other.rename(folder / "other.backup"), "mean": (7.0,)}


def of_a_card_with_another_network(folder: Path) -> Arguments:
    cfg = write_darknet(folder, "net")
    card = put_card(folder, cfg, cfg.with_suffix(".weights"))
    write_darknet(folder, "other", seed=1)
    convert(folder / "other.cfg", folder / "other.onnx")
    return {"model": card, "weights": folder / "other.onnx"}


def of_caffe(folder: Path) -> Arguments:
    return {"model": classifier().write(folder)[0]}


def of_caffe_with_a_mean_file(folder: Path) -> Arguments:
    structure, weights = classifier().write(folder)
    structure.write_text(MEAN_FILE + structure.read_text())
    write_mean(folder / "the_mean.binaryproto", np.full((3, 4, 5), 7.5, np.float32))
    return {"model": weights}


def of_caffe_with_all(folder: Path) -> Arguments:
    structure, weights = classifier().write(folder)
    other = weights.rename(folder / "other.caffemodel")
    np.save(folder / "given.npy", np.full((3, 4, 5), 2.5, np.float32))
    (folder / "names.txt").write_text(FOUR)
    return {
        "model": structure,
        "weights": other,
        "labels": folder / "names.txt",
        "mean": str(folder / "given.npy"),
    }


def of_a_caffe_card(folder: Path) -> Arguments:
    """Whose network names a mean file, which is read and then not needed."""
    structure, weights = classifier().write(folder)
    structure.write_text(MEAN_FILE + structure.read_text())
    write_mean(folder / "the_mean.binaryproto", np.full((3, 4, 5), 7.5, np.float32))
    head = {"type": "classify", "output": "prob"}
    inputs = [{"name": "data", "size_wh": [16, 20], "resize": "stretch"}]
    return {
        "model": put_card(
            folder, structure, weights, format="caffe", task="classify", head=head, inputs=inputs, labels=[]
        )
    }


def of_a_job(folder: Path) -> Arguments:
    path = folder / "20160101-120000-abcd"
    path.mkdir()
    job(path, classifier(), 30, 1000)
    write_mean(path / "mean.binaryproto", np.full((3, 9, 9), 12.5, np.float32))
    (path / "labels.txt").write_text(FOUR)
    (path / "info.json").write_text(json.dumps({"name": "Parts 7", "image resize mode": "crop"}))
    return {"model": path}


def of_a_bare_job(folder: Path) -> Arguments:
    path = folder / "my.job"
    path.mkdir()
    job(path, classifier(), 5)
    return {"model": path}


def linked(folder: Path, *names: str) -> Path:
    """A folder beside one of files, with links to some of them."""
    (folder / "links").mkdir()
    for name in names:
        (folder / "links" / name).symlink_to(f"../files/{name}")
    return folder / "links" / names[0]


def of_a_linked_structure(folder: Path) -> Arguments:
    """Its weights and names lie beside the file that it leads to."""
    (folder / "files").mkdir()
    of_darknet_classifier(folder / "files")
    return {"model": linked(folder, "net.cfg")}


def of_linked_files(folder: Path) -> Arguments:
    (folder / "files").mkdir()
    of_darknet_with_all(folder / "files")
    return {"model": linked(folder, "net.cfg", "net.weights", "net.names")}


def of_a_link_with_a_card_behind_it(folder: Path) -> Arguments:
    (folder / "files").mkdir()
    of_onnx_with_a_card(folder / "files")
    return {"model": linked(folder, "net.onnx")}


def of_a_link_with_a_card_beside_it(folder: Path) -> Arguments:
    (folder / "files").mkdir()
    of_onnx_with_a_card(folder / "files")
    path = linked(folder, "net.onnx")
    for name in ("net.model.json", "classes.txt"):
        shutil.copy(folder / "files" / name, path.parent)
    return {"model": path}


CASES: dict[str, Build] = {
    name.removeprefix("of_"): build for name, build in list(globals().items()) if name.startswith("of_")
}
each_case = pytest.mark.parametrize("build", CASES.values(), ids=CASES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "here"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def search_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_MODELS", str(folder / "found"))


def resolve(arguments: Arguments) -> lookup.Loaded:
    options = {name: value for name, value in arguments.items() if name != "model"}
    return lookup.resolve(arguments["model"], LoadOptions.of(**options))


def found(arguments: Arguments) -> Given:
    listed = files_read(**arguments)
    assert listed is not None
    return listed


def printed(arguments: Arguments) -> list[tuple[str, str]] | None:
    listed = files_read(**arguments)
    return None if listed is None else fingerprint(listed)


def outcome(arguments: Arguments) -> Any:
    """What `resolve` makes of it, without the folder in which it lies."""
    try:
        loaded = resolve(arguments)
    except EdgeCVError as error:
        return type(error)
    return (
        cards.dumps(loaded.card),
        {stage: network.data for stage, network in loaded.networks.items()},
        loaded.is_drafted,
        loaded.remarks,
        loaded.assumptions,
    )


def report_opened(folder: Path) -> dict[str, list[str]]:
    """For each case in a folder of its own, the files that are opened while it is resolved.

    To be run in a process of its own: a hook of this kind stays for good.
    """
    opened: list[str] = []

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(values[0], (str, bytes, os.PathLike)):
            opened.append(os.path.realpath(os.fsdecode(values[0])))

    sys.addaudithook(note)
    report = {}
    for name, build in CASES.items():
        (folder / name).mkdir()
        arguments = build(folder / name)
        os.environ["EDGECV_MODELS"] = str(folder / name / "found")
        opened.clear()
        resolve(arguments)
        report[name] = sorted(set(opened))
    opened.clear()
    lookup.resolve("parts-nano")
    return {**report, "parts-nano": sorted(set(opened))}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """The folder of `report_opened`, and what it returns."""
    folder = tmp_path_factory.mktemp("opened")
    code = (
        "import json, sys; from pathlib import Path; from tests.lookup import test_given;"
        "print(json.dumps(test_given.report_opened(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_opened_that_is_not_listed(
    name: str, opened: tuple[Path, dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, report = opened[0] / name, opened[1][name]
    monkeypatch.setenv("EDGECV_MODELS", str(folder / "found"))
    (tmp_path / "again").mkdir()
    arguments = CASES[name](tmp_path / "again")
    moved = {key: moved_to(value, tmp_path / "again", folder) for key, value in arguments.items()}
    below = {path for path in report if Path(path).is_relative_to(folder)}
    assert below
    assert below <= {os.path.realpath(path) for path in found(moved).paths}


def test_nothing_is_opened_for_a_name_that_is_not_listed(
    opened: tuple[Path, dict[str, list[str]]],
) -> None:
    folder = zoo.models_folder() / "parts-nano"
    below = {path for path in opened[1]["parts-nano"] if Path(path).is_relative_to(folder)}
    assert below
    assert below <= {os.path.realpath(path) for path in found({"model": "parts-nano"}).paths}


@each_case
def test_every_listed_file_counts(build: Build, folder: Path) -> None:
    arguments = build(folder)
    listed, before = found(arguments), printed(arguments)
    for role, path in dict(listed.files).items():
        file = Path(path).resolve()
        data = file.read_bytes() if file.is_file() else None
        file.write_bytes((data or b"") + b"\n ")
        assert printed(arguments) != before, role
        if data is not None:
            file.unlink()
            assert printed(arguments) != before, role
            file.write_bytes(data)
        else:
            file.unlink()
        assert printed(arguments) == before, role


@each_case
def test_the_same_files_elsewhere(
    build: Build, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = build(folder)
    before = printed(arguments)
    there = tmp_path / "there"
    shutil.copytree(folder, there, symlinks=True)
    shutil.rmtree(folder)
    monkeypatch.setenv("EDGECV_MODELS", str(there / "found"))
    moved = {name: moved_to(value, folder, there) for name, value in arguments.items()}
    assert printed(moved) == before is not None


def moved_to(value: Any, folder: Path, there: Path) -> Any:
    if isinstance(value, (str, Path)):
        text = str(value).replace(str(folder), str(there))
        return text if isinstance(value, str) else Path(text)
    return value


ADDED = {
    "net.names": LABELS,
    "net.txt": LABELS,
    "net.labels": FOUR,
    "labels.txt": LABELS,
    "a.names": LABELS,
    "b.names": FOUR,
    ".names": LABELS,
    "my.names": FOUR,
    "20160101-120000-abcd.txt": FOUR,
    "net.model.json": "{",
    "two.model.json": "{",
    "my.model.json": "{",
    "my.job.model.json": "{",
    "model.json": "{",
    "mean.binaryproto": "",
    "the_mean.binaryproto": "x",
    "info.json": "{}",
    "snapshot_iter_7.caffemodel": "",
    "snapshot_iter_2000.caffemodel": "",
    "net.weights": "",
    "net.caffemodel": "",
    "README.md": "nothing to do with it",
}


@each_case
def test_what_changes_the_outcome_changes_the_fingerprint(build: Build, folder: Path) -> None:
    arguments = build(folder)
    before, made = printed(arguments), outcome(arguments)
    folders = [path for path in (folder, *folder.iterdir()) if path.is_dir()]
    every = [path for place in folders for path in place.iterdir()]
    present = [path for path in every if path.is_file() and not path.is_symlink()]
    for path in present:
        data = path.read_bytes()
        for changed in (None, data + b"\n", data[: len(data) // 2]):
            path.unlink() if changed is None else path.write_bytes(changed)
            assert printed(arguments) != before or outcome(arguments) == made, path
            path.write_bytes(data)
    for place in folders:
        for name, text in ADDED.items():
            path = place / name
            if not path.exists():
                path.write_text(text)
                assert printed(arguments) != before or outcome(arguments) == made, path
                path.unlink()
    assert (printed(arguments), outcome(arguments)) == (before, made)


def test_a_file_that_has_nothing_to_do_with_it(folder: Path) -> None:
    arguments = of_darknet(folder)
    before = printed(arguments)
    for name in ("README.md", "other.cfg", "the_mean.binaryproto", "data.txt"):
        (folder / name).write_text("text")
    assert printed(arguments) == before


def test_what_is_given_beside_files_counts(folder: Path) -> None:
    arguments = of_darknet(folder)
    different = [{}, {"mean": (1, 2, 3)}, {"mean": (1, 2, 4)}, {"mean": [1]}]
    prints = [printed({**arguments, **more}) for more in different]
    assert len({str(each) for each in prints}) == len(different)
    assert printed({**arguments, "mean": [1.0, 2.0, 3.0]}) == prints[1]


def test_the_name_of_a_network_counts(folder: Path) -> None:
    """Its card is drafted under that name."""
    first = of_onnx(folder)
    before = printed(first)
    renamed = first["model"].rename(folder / "other.onnx")
    assert printed({"model": renamed}) != before


def test_either_file_of_a_pair_names_the_same_model(folder: Path) -> None:
    path = of_darknet(folder)["model"]
    assert printed({"model": path}) == printed({"model": str(path.with_suffix(".weights"))})


@pytest.mark.parametrize("name", ["parts-nano", "yolox-nano"])
def test_names_and_aliases(name: str) -> None:
    listed = found({"model": name})
    (role, path), *_ = listed.files
    assert role == "card"
    assert cards.read(Path(path)).name.startswith(name)
    digests = dict(fingerprint(listed))
    network = next(role for role in digests if role.startswith("network "))
    assert (digests[network] != ABSENT) == (name == "parts-nano")
    assert any(role == "card's labels" for role in digests)


REFUSED: dict[str, Build] = {
    "nothing": lambda f: {"model": f / "nothing.onnx"},
    "no such name": lambda f: {"model": "nothing-like-it"},
    "an empty folder": lambda f: {"model": f},
    "no format": lambda f: {"model": put(f / "net.pt")},
    "half of a pair": lambda f: {"model": put(f / "net.cfg")},
    "weights of onnx": lambda f: {**of_onnx(f), "weights": put(f / "w.bin")},
    "weights of another format": lambda f: {**of_darknet(f), "weights": put(f / "w.caffemodel")},
    "no such weights": lambda f: {**of_a_card(f), "weights": f / "nothing.weights"},
    "weights of stages": lambda f: {**of_stages(f), "weights": put(f / "w.weights")},
    "no card": lambda f: {"model": f / "nothing.json"},
    "a damaged card": lambda f: {"model": put(f / "model.json", b"{")},
    "a deep card": lambda f: {"model": put(f / "model.json", b'{"x":' + b"[" * 100_000)},
    "a large card": lambda f: {"model": put(f / "model.json", b" " * (cards.MAX_CARD_BYTES + 1))},
    "a card that leads out": lambda f: {
        "model": put_card(f / "card", files=[{**entry(put(f / "x", b"x")), "path": "../x"}])
    },
    "no number": lambda f: {**of_darknet(f), "mean": ["a"]},
    "a plan": lambda f: {"model": put(f / "plan.ecv")},
}


@pytest.mark.parametrize("build", REFUSED.values(), ids=REFUSED)
def test_what_resolve_refuses_is_not_listed(build: Build, folder: Path) -> None:
    arguments = build(folder)
    assert files_read(**arguments) is None
    with pytest.raises((EdgeCVError, ValueError)):
        resolve(arguments)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("scale: 0.5", []),
        ('# mean_file: "a"\nscale: 0.5', []),
        ('mean_file: "deep/a.binaryproto"', ["a.binaryproto"]),
        ("mean_file :# a comment\n 'a.b' 'inary'\n\"proto\"", ["a.binaryproto"]),
        ('mean_file: "#1.npy" scale: 0.5 # "\n', ["#1.npy"]),
        (
            "mean_value: 1 } } layer { name: \"mean_file: 'x'\" type: 'Data' transform_param { mirror: true",
            [],
        ),
    ],
)
def test_mean_files_of_a_prototxt(folder: Path, fields: str, names: list[str]) -> None:
    structure, _ = classifier().write(folder)
    structure.write_text(DATA.format(fields) + structure.read_text())
    listed = found({"model": structure})
    assert [Path(path).name for role, path in listed.files if role.startswith("mean ")] == names
    # As protobuf reads it.
    from edgecv.importers.caffe import prototxt

    read = [t.mean_file for t in prototxt.read(structure).transforms if t.mean_file]
    assert [Path(name).name for name in read] == names


@pytest.mark.parametrize(
    "field", [r'mean_file: "a\x2fb.npy"', r'mean_file: "a\"b"', 'mean_file: "/"', 'mean_file: "a/.."']
)
def test_mean_files_that_only_a_reader_can_tell(folder: Path, field: str) -> None:
    structure, _ = classifier().write(folder)
    structure.write_text(DATA.format(field) + structure.read_text())
    assert files_read(structure) is None


def test_external_weights_are_told_once_the_network_is_read(folder: Path) -> None:
    put(folder / "model.data", bytes(32))
    put(folder / "model.onnx", with_external("model.data", offset=16))
    put(folder / "whole.onnx", tiny_yolov8())
    assert not importers.read_model(folder / "model.onnx").is_self_contained
    assert importers.read_model(folder / "whole.onnx").is_self_contained
    assert importers.read_model(write_darknet(folder, "net")).is_self_contained
    assert OnnxModel.from_bytes(tiny_yolov8(), origin="test").is_self_contained


def test_too_many_files_of_names(folder: Path) -> None:
    arguments = of_darknet(folder)
    for n in range(given.MAX_LABEL_FILES):
        put(folder / f"{n}.names")
    assert files_read(**arguments) is None


def test_a_network_alone(folder: Path) -> None:
    """Neither cards nor names belong to it."""
    path = of_darknet_with_all(folder)["model"]
    listed = network_files(path, folder / "x.backup")
    assert listed is not None
    assert [Path(p).name for p in listed.paths] == ["net.cfg", "x.backup"]
    assert network_files(folder / "nothing.cfg") is None
    assert network_files(put(folder / "net.pt")) is None
    structure = of_caffe_with_a_mean_file(folder)["model"]
    caffe = network_files(structure)
    assert caffe is not None
    assert [Path(p).name for p in caffe.paths] == ["net.prototxt", "net.caffemodel", "the_mean.binaryproto"]


def test_names_that_are_not_unicode(folder: Path) -> None:
    path = put(folder / os.fsdecode(b"\xff.onnx"), tiny_yolov8())
    prints = printed({"model": path})
    assert prints is not None
    assert prints[0][0] == r"network \udcff.onnx"
    json.dumps(prints).encode()


def test_what_cannot_be_read_is_told_from_what_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = of_darknet(folder)
    before = found(arguments)
    original = given.digest_of

    def digest_of(path: str) -> str:
        if path.endswith("labels.txt"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(given, "digest_of", digest_of)
    assert dict(fingerprint(before))["beside labels.txt"] == given.UNREADABLE


def test_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = of_darknet(folder)
    monkeypatch.chdir(folder)
    assert printed({"model": "net.cfg"}) == printed({"model": "./net.cfg"}) == printed(arguments)
    shutil.copytree(folder, folder / "my.job")
    job(folder / "my.job", classifier(), 5)
    assert printed({"model": "my.job/"}) == printed({"model": folder / "my.job"}) is not None


def test_it_is_light(folder: Path) -> None:
    of_darknet(folder)
    code = f"""
import sys
import numpy
before = set(sys.modules)
from edgecv.lookup.given import files_read, fingerprint
fingerprint(files_read({str(folder / "net.cfg")!r}))
heavy = {{"pathlib", "threading", "onnx", "logging", "zipfile", "json", "edgecv.zoo", "edgecv.importers"}}
sys.exit(", ".join(heavy & (set(sys.modules) - before)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("ending", ["/", "//", "/."])
def test_a_slash_behind_the_name_of_a_network(folder: Path, ending: str) -> None:
    """pathlib drops it, and so the network is read; it is no file's name to the system."""
    path = of_onnx_with_a_card(folder)["model"]
    found = files_read(f"{path}{ending}")
    assert found == files_read(path)
    assert found is not None
    assert str(path) in found.paths

"""edgecv classify, and what the other verbs make of a classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.conftest import Result
from tests.model_files import CLASSIFIER_CFG, COLORS, write_darknet
from tests.networks import tiny_classifier

Run = Callable[..., Result]
KEYS = ["source", "frame", "width", "height", "classes", "timing_ms", "age_ms", "placement"]


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A classifier of colors with its card."""
    path = tmp_path / "colors.onnx"
    path.write_bytes(tiny_classifier(softmax=True, is_map=True))
    card = {
        "schema": 2,
        "name": "colors",
        "task": "classify",
        "format": "onnx",
        "inputs": [{"name": "data", "size_wh": [32, 32], "resize": "stretch", "std": [255, 255, 255]}],
        "head": {"type": "classify", "output": "prob", "is_probability": True},
        "labels": list(COLORS),
    }
    path.with_name("colors.model.json").write_text(json.dumps(card))
    return path


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    assert cv2.imwrite(str(path), np.full((300, 400, 3), (0, 0, 250), np.uint8))
    return path


def test_json_of_one_image(edgecv: Run, classifier: Path, red: Path) -> None:
    result = edgecv("classify", classifier, red, "--json", "-", "--top", 2, "--threads", 1)
    assert result.code == 0
    (record,) = result.lines
    assert list(record) == KEYS
    assert (record["width"], record["height"], record["frame"]) == (400, 300, 0)
    assert [row["class_name"] for row in record["classes"]] == ["red", "gray"]
    assert [row["class_id"] for row in record["classes"]] == [2, 3]
    assert record["classes"][0]["confidence"] == pytest.approx(0.9915, abs=1e-3)
    assert set(record["timing_ms"]) == {"preprocess", "inference", "postprocess"}
    assert record["placement"]["threads"] == 1


def test_table_and_picture(edgecv: Run, classifier: Path, red: Path, tmp_path: Path) -> None:
    out = tmp_path / "said.png"
    result = edgecv("classify", classifier, red, "--out", out, "--threads", 1)
    assert result.code == 0
    assert "red.png, 400x300: red; preprocess" in result.out
    assert all(name in result.out for name in COLORS)
    drawn, before = cv2.imread(str(out)), cv2.imread(str(red))
    assert drawn.shape == before.shape
    assert (drawn != before).any()
    assert "1 frame; wrote" in result.err


def test_folder_with_a_bad_image(edgecv: Run, classifier: Path, folder: Path) -> None:
    result = edgecv("classify", classifier, folder, "--json", "-", "--threads", 1)
    assert result.code == 1
    assert ["error" in record for record in result.lines] == [False, False, True, False]


def test_video_and_limit(edgecv: Run, classifier: Path, video: Path, tmp_path: Path) -> None:
    out, lines = tmp_path / "said.avi", tmp_path / "said.jsonl"
    result = edgecv("classify", classifier, video, "--out", out, "--json", lines, "--limit", 3)
    assert result.code == 0
    assert [json.loads(line)["frame"] for line in lines.read_text().splitlines()] == [0, 1, 2]
    assert out.exists()


def test_a_network_without_a_card(edgecv: Run, tmp_path: Path, red: Path) -> None:
    cfg = write_darknet(tmp_path, "net", CLASSIFIER_CFG)
    (tmp_path / "colors.txt").write_text("\n".join(COLORS))
    result = edgecv("classify", cfg, red, "--labels", tmp_path / "colors.txt", "--json", "-")
    assert result.code == 0
    assert {row["class_name"] for row in result.lines[0]["classes"]} == set(COLORS)
    assert "assumed" not in result.err
    bare = edgecv("classify", cfg, red, "--json", "-")
    assert bare.code == 0
    assert {row["class_name"] for row in bare.lines[0]["classes"]} == {"0", "1", "2", "3"}
    assert bare.err.count("assumed: labels: none") == 1


BAD = {
    "a detector": (
        ["classify", "DETECTOR", "PHOTO"],
        2,
        "tiny: a model to detect, not to classify; `edgecv detect`",
    ),
    "detect a classifier": (["detect", "MODEL", "PHOTO"], 2, "colors: a model to classify, not to detect"),
    "evaluate a classifier": (["eval", "MODEL", "DATA"], 2, "colors: a model to classify, not to detect"),
    "another task": (["classify", "SEGMENTER", "PHOTO"], 2, "roads: a model for the task segment"),
    "another task to detect": (["detect", "SEGMENTER", "PHOTO"], 2, "roads: a model for the task segment"),
    "another task to verify": (["verify", "SEGMENTER"], 2, "roads: a model for the task segment"),
    "no classes asked for": (["classify", "MODEL", "PHOTO", "--top", "0"], 2, "--top"),
    "no model": (["classify", "nothing", "PHOTO"], 2, "no such file, and no model of that name"),
    "no image": (["classify", "MODEL", "no.jpg"], 2, "no.jpg"),
    "not an image": (["classify", "MODEL", "TEXT"], 2, "text.jpg"),
    "no weights": (["classify", "CFG", "PHOTO"], 2, "not beside it as net.weights: name it with --weights"),
    "weights that do not fit": (["classify", "CFG", "PHOTO", "--weights", "TEXT"], 2, "text.jpg"),
    "weights of a network": (
        ["classify", "MODEL", "PHOTO", "--weights", "TEXT"],
        2,
        "colors.onnx is a whole network",
    ),
    "no labels": (["classify", "MODEL", "PHOTO", "--labels", "no.txt"], 2, "labels: no.txt: no such file"),
    "labels that do not fit": (
        ["classify", "MODEL", "PHOTO", "--labels", "TEXT"],
        2,
        "expected 4 names, one for each",
    ),
    "mean of two": (["classify", "MODEL", "PHOTO", "--mean", "1,2"], 2, "2 values for 3 channels"),
    "mean of a card": (
        ["classify", "MODEL", "PHOTO", "--mean", "TEXT"],
        2,
        "a file is read for a Caffe network without",
    ),
    "mean not a number": (
        ["classify", "MODEL", "PHOTO", "--mean", "nan,0,0"],
        2,
        "mean: expected a number for each",
    ),
    "folder of nothing": (["classify", "EMPTY", "PHOTO"], 2, "or a folder that holds a card"),
    "unknown backend": (["classify", "MODEL", "PHOTO", "--backend", "abacus"], 2, "expected one of"),
    "absent device": (["classify", "MODEL", "PHOTO", "--device", "vulkan:7"], 3, "vulkan:7"),
    "unwritable picture": (["classify", "MODEL", "PHOTO", "--out", "PHOTO/x.png"], 2, "x.png"),
    "output is the input": (["classify", "MODEL", "PHOTO", "--out", "PHOTO"], 2, "red.png"),
    "no argument": (["classify", "MODEL"], 2, "SOURCE"),
}


@pytest.mark.parametrize(("args", "code", "named"), BAD.values(), ids=BAD)
def test_wrong_use_is_one_clear_line(
    edgecv: Run,
    classifier: Path,
    network: Path,
    red: Path,
    tmp_path: Path,
    args: list[str],
    code: int,
    named: str,
) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty").mkdir()
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    red.with_name("1.png").write_bytes(red.read_bytes())
    (tmp_path / "1.png").rename(data / "images" / "1.png")
    annotations = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [], "categories": []}
    (data / "instances.json").write_text(
        json.dumps({**annotations, "categories": [{"id": 1, "name": "red"}]})
    )
    write_darknet(tmp_path, "net", CLASSIFIER_CFG).with_suffix(".weights").unlink()
    card = json.loads(classifier.with_name("colors.model.json").read_text())
    classifier.with_name("roads.model.json").write_text(
        json.dumps({**card, "name": "roads", "task": "segment", "head": None})
    )
    classifier.with_name("roads.onnx").write_bytes(classifier.read_bytes())
    names = {
        "MODEL": classifier,
        "DETECTOR": network,
        "SEGMENTER": tmp_path / "roads.onnx",
        "CFG": tmp_path / "net.cfg",
        "PHOTO": red,
        "TEXT": tmp_path / "text.jpg",
        "EMPTY": tmp_path / "empty",
        "DATA": data,
    }
    before = sorted(tmp_path.rglob("*"))
    result = edgecv(*[names.get(arg, arg.replace("PHOTO", str(red))) for arg in args])
    assert result.code == code, result.err
    assert named in result.err
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith(("edgecv: ", "Error: "))]
    assert len(lines) == 1, result.err
    assert result.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_verify(edgecv: Run, classifier: Path) -> None:
    result = edgecv("verify", classifier, "--json", "-")
    assert result.code == 0, result.out
    assert {check["stage"] for check in result.json["checks"]} == {"blob", "outputs", "classes"}
    assert result.json["first_divergence"] is None


def test_bench(edgecv: Run, classifier: Path) -> None:
    result = edgecv("bench", classifier, "--frames", 20, "--warmup", 2, "--threads", "1", "--json", "-")
    assert result.code == 0, result.err
    assert all(row["latency_ms"]["inference"]["n"] == 20 for row in result.json["results"])


def test_squeezenet_on_photos(edgecv: Run, shared: Callable[[str], Path], tmp_path: Path) -> None:
    """Top-1 as an independent evaluation of the same file found it."""
    folder, data = shared("models/deep_compression"), shared("data/imagenet")
    reference = json.loads(shared("reference/accuracy.json").read_text())
    expected = reference["squeezenet_v1.0 (deep_compression/)"]["top1_on_data/imagenet"]
    result = edgecv(
        *("classify", folder / "squeezenet_v1.0_deploy.prototxt", data),
        *("--weights", folder / "squeezenet_v1.0.caffemodel", "--mean", "104,117,123"),
        *("--labels", data / "labels.txt", "--top", 1, "--json", "-"),
    )
    assert result.code == 0, result.err
    said = {Path(record["source"]).stem: record["classes"][0]["class_name"] for record in result.lines}
    assert len(said) == 18
    assert {name: said[name].split(", ")[0] for name in expected} == expected

"""edgecv convert: files in, ONNX and a card out, and what runs of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result
from tests.model_files import write_darknet

Run = Callable[..., Result]


def test_what_was_written_runs_as_the_source_does(edgecv: Run, tmp_path: Path, picture: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    (tmp_path / "net.names").write_text("nut\nbolt\nwasher\n")
    out = tmp_path / "out.onnx"
    result = edgecv("convert", cfg, "--to", out)
    assert result.code == 0, result.err
    for part in (
        "input: data: float32 (1, 3, 64, 64)",
        "head: grid, to detect",
        "labels: 3",
        "4,632",
        f"wrote {out}, {tmp_path / 'out.model.json'}",
    ):
        assert part in result.out
    found = []
    for model in (cfg, cfg.with_suffix(".weights"), out, tmp_path / "out.model.json"):
        result = edgecv("detect", model, picture, "--json", "-", "--conf", 0.1, "--threads", 1)
        assert result.code == 0, result.err
        found.append(result.lines[0]["detections"])
    assert found[0]
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0][0]["class_name"] in ("nut", "bolt", "washer")


def test_json(edgecv: Run, tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    result = edgecv("convert", cfg, "--to", tmp_path / "out.onnx", "--json", "-")
    assert result.code == 0
    assert set(result.json) == {"source", "card_path", "card", "networks", "remarks", "assumptions"}
    (network,) = result.json["networks"]
    assert network["path"] == str(tmp_path / "out.onnx")
    assert network["parameters"] == 24 + 24 * 3 * 64
    assert network["opset"] <= 13
    assert result.json["card"]["files"][0]["sha256"] == network["sha256"]
    assert result.json["card"] == json.loads((tmp_path / "out.model.json").read_text())
    assert result.json["assumptions"] == [
        "labels: none, no file beside it has 3 names; give a file with --labels"
    ]


BAD = {
    "nowhere to": (["convert", "CFG"], 2, "--to"),
    "not onnx": (["convert", "CFG", "--to", "out.pt"], 2, "to: expected a file name that ends in .onnx"),
    "no such folder": (["convert", "CFG", "--to", "FOLDER/no/out.onnx"], 2, "make the folder first"),
    "onto itself": (["convert", "ONNX", "--to", "ONNX"], 2, "would replace the input"),
    "no network": (["convert", "no.cfg", "--to", "out.onnx"], 2, "no.cfg: no such file"),
    "no name": (["convert", "nothing", "--to", "out.onnx"], 2, "no model of that name"),
    "unknown format": (["convert", "PHOTO", "--to", "out.onnx"], 2, "not a model format that edgecv reads"),
    "no weights": (["convert", "ALONE", "--to", "out.onnx"], 2, "not beside it as alone.weights"),
    "weights of another": (
        ["convert", "CFG", "--weights", "ONNX", "--to", "out.onnx"],
        2,
        "expected the .weights",
    ),
    "weights of nothing": (
        ["convert", "CFG", "--weights", "no.weights", "--to", "out.onnx"],
        2,
        "no such file",
    ),
    "damaged weights": (["convert", "CFG", "--weights", "PHOTO", "--to", "out.onnx"], 2, "photo.png"),
    "damaged cfg": (["convert", "TEXT", "--to", "out.onnx"], 2, "text.cfg"),
    "labels that do not fit": (["convert", "CFG", "--labels", "CFG", "--to", "out.onnx"], 2, "labels: "),
    "mean file of Darknet": (
        ["convert", "CFG", "--mean", "PHOTO", "--to", "out.onnx"],
        2,
        "for a Caffe network",
    ),
}


@pytest.mark.parametrize(("args", "code", "named"), BAD.values(), ids=BAD)
def test_wrong_use_is_one_clear_line(
    edgecv: Run, network: Path, picture: Path, tmp_path: Path, args: list[str], code: int, named: str
) -> None:
    cfg = write_darknet(tmp_path, "net")
    (tmp_path / "alone.cfg").write_text(cfg.read_text())
    (tmp_path / "text.cfg").write_text("hello")
    (tmp_path / "text.weights").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    names = {
        "CFG": str(cfg),
        "ONNX": str(network),
        "PHOTO": str(picture),
        "ALONE": str(tmp_path / "alone.cfg"),
        "TEXT": str(tmp_path / "text.cfg"),
    }
    filled = [names.get(arg, arg.replace("FOLDER", str(tmp_path))) for arg in args]
    result = edgecv(*[arg.replace("PHOTO", str(picture)) for arg in filled])
    assert result.code == code, result.err
    assert named in result.err
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith(("edgecv: ", "Error: "))]
    assert len(lines) == 1, result.err
    assert result.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_draft_that_is_completed(edgecv: Run, shared: Callable[[str], Path], tmp_path: Path) -> None:
    """A prototxt without detection layers: its card is drafted without a head, and gets it by hand."""
    source = shared("models/caffe/mobilenetv2_yolov3_nano_voc.prototxt")
    photo, out = shared("data/photos/bus.jpg"), tmp_path / "nano.onnx"
    bare = edgecv("detect", source, photo)
    assert bare.code == 2
    assert "what its outputs mean cannot be read from its files" in bare.err
    assert edgecv("convert", source, "--to", out).code == 0
    twin = edgecv(
        *("convert", shared("models/darknet/mobilenetv2_yolov3_nano_voc.cfg"), "--json", "-"),
        *("--labels", shared("models/caffe/voc.names"), "--to", tmp_path / "twin.onnx"),
    )
    assert twin.code == 0, twin.err
    card = json.loads((tmp_path / "nano.model.json").read_text())
    card.update({key: twin.json["card"][key] for key in ("task", "head", "labels")})
    for layer, output in zip(card["head"]["layers"], ("layer69-conv", "layer79-conv"), strict=True):
        layer["output"] = output
    card["inputs"] = [{**twin.json["card"]["inputs"][0], "name": card["inputs"][0]["name"]}]
    (tmp_path / "nano.model.json").write_text(json.dumps(card))
    found = []
    for model in (out, tmp_path / "twin.onnx"):
        result = edgecv("detect", model, photo, "--json", "-", "--threads", 1)
        assert result.code == 0, result.err
        found.append(result.lines[0]["detections"])
    assert [row["class_name"] for row in found[0]] == ["bus", *["person"] * 5]
    for one, other in zip(*found, strict=True):
        assert one["class_name"] == other["class_name"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=2e-3)
        assert one["xyxy"] == pytest.approx(other["xyxy"], abs=0.2)

"""What users of other tools type gets a line that names ours."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from edgecv import cli
from edgecv.cli import habits
from tests.cli.conftest import Result

Run = Callable[..., Result]

LINES = {
    "detect m s --conf-thres 0.3": "--conf-thres: here that is --conf",
    "detect m s --iou-thres=0.3": "--iou-thres: here that is --iou",
    "detect m s --conf_thres 0.3": "--conf_thres: here that is --conf",
    "detect m s --img-size 640": "--img-size: here that is --imgsz",
    "detect m --source bus.jpg": "--source: here that is the word after the model",
    "detect m s --nosave": "--nosave: here that is the default: nothing is written",
    "detect m s --save-txt": "--save-txt: here that is --json FILE",
    "eval m --data coco.yaml": "--data: here that is the word after the model: edgecv eval",
    "eval m d --batch-size 8": "--batch-size: here that is --batch of edgecv bench",
    "detect --weights yolov5s.onnx bus.jpg": "--weights: here that is the other file of a Caffe",
    "detect --weights=v5.onnx": "first word after the verb: edgecv detect MODEL SOURCE: got v5.onnx",
    "detect model=yolov8n.onnx source=bus.jpg": "model=yolov8n.onnx: here model is the first word",
    "detect yolov8n.onnx source=bus.jpg": "source=bus.jpg: here source is the word after the model",
    "detect m s conf=0.3": "conf=0.3: here conf is --conf",
    "predict model=m": "model=m: here model is the first word",
    "predict m s": "predict: no verb of edgecv; here that is edgecv detect",
    "val m d": "val: no verb of edgecv; here that is edgecv eval",
    "export m": "export: no verb of edgecv; here that is edgecv convert",
    "export model=m.pt format=onnx": "first word after the verb: edgecv convert NET --to FILE",
    "bench model=m": "first word after the verb: edgecv bench MODEL",
    "bench --model m": "first word after the verb: edgecv bench MODEL",
    "classify m --source bus.jpg": "the word after the model: edgecv classify MODEL SOURCE",
    "yolo predict model=m": "first word after the verb: edgecv detect MODEL SOURCE",
    "eval data=coco8.yaml": "the word after the model: edgecv eval MODEL DATASET",
    "detect m s --classes 0 1 2": "--classes: several have commas between them, as in --classes 0,1",
    "detect m s --save-conf": "--save-conf: here that is part of what --json FILE writes",
    "detect m s --augment": "--augment: here that is not there: each frame is looked at once",
    "detect m s --line-thickness 2": "--line-thickness: here that is not there",
    "eval m d --task val": "--task: here that is the verb",
    "bench m --iterations 10": "--iterations: here that is --frames",
    "list": "list: no verb of edgecv; here that is edgecv models list",
    "train": "train: no verb of edgecv; here that is nothing: edgecv runs",
    "version": "version: no verb of edgecv; here that is edgecv --version",
}


@pytest.mark.parametrize(("typed", "line"), LINES.items())
def test_a_line_names_ours(edgecv: Run, typed: str, line: str) -> None:
    result = edgecv(*typed.split())
    assert result.code == 2
    assert result.err.startswith("edgecv: ")
    assert line in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.mark.parametrize("typed", ["detect m s --colors red", "fly m s", "detect"])
def test_other_mistakes_are_clicks(edgecv: Run, typed: str) -> None:
    result = edgecv(*typed.split())
    assert result.code == 2
    assert "Usage: edgecv" in result.err


@pytest.mark.parametrize(("typed", "verb"), {"detct m s": "detect", "backend": "backends"}.items())
def test_a_misspelled_verb(edgecv: Run, typed: str, verb: str) -> None:
    result = edgecv(*typed.split())
    assert result.code == 2
    assert f"Did you mean '{verb}'?" in result.err


def test_no_habit_is_an_option_everywhere_or_a_verb() -> None:
    assert not habits.VERBS.keys() & cli.VERBS.keys()
    taken = [
        {name for option in import_module(f"edgecv.cli.{verb}").command.params for name in option.opts}
        for verb in ("detect", "classify", "eval", "bench")
    ]
    assert not habits.OPTIONS.keys() & set.intersection(*taken)


def test_a_file_may_be_called_so(edgecv: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model=a.onnx").write_bytes(b"no network")
    assert "here model is" not in edgecv("detect", "model=a.onnx", "s.png").err

"""What users of other tools type: a line that names ours, in place of "no such option"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

# Of YOLOv5's scripts and Ultralytics' command line, and what goes by it here.
_CONF = "--conf"
_IOU = "--iou"
_SIZE = "--imgsz, 640 or 640x480: width first"
_MODEL = "the first word after the verb: edgecv detect MODEL SOURCE"
_SOURCE = "the word after the model: edgecv detect MODEL SOURCE"
_DATASET = "the word after the model: edgecv eval MODEL DATASET"
_OUT = "--out, a file or a folder"
_NOT_SAVED = "the default: nothing is written unless --out names where"
_HALF = "--precision fp16"
_LINES = "--json FILE, a line of JSON for each frame"

OPTIONS = {
    "--conf-thres": _CONF,
    "--conf-threshold": _CONF,
    "--confidence": _CONF,
    "--iou-thres": _IOU,
    "--iou-threshold": _IOU,
    "--nms": _IOU,
    "--nms-thres": _IOU,
    "--img": _SIZE,
    "--img-size": _SIZE,
    "--imgsize": _SIZE,
    "--input-size": _SIZE,
    "--model": _MODEL,
    "--source": _SOURCE,
    "--input": _SOURCE,
    "--data": _DATASET,
    "--nosave": _NOT_SAVED,
    "--save": _OUT,
    "--output": _OUT,
    "--project": _OUT,
    "--save-dir": _OUT,
    "--save-txt": _LINES,
    "--save-json": _LINES,
    "--view-img": "--show",
    "--half": _HALF,
    "--fp16": _HALF,
    "--int8": "--precision int8",
    "--agnostic-nms": "--agnostic",
    "--class": "--classes",
    "--names": "--labels FILE",
    "--batch-size": "--batch of edgecv bench; other verbs look at one frame at a time",
    "--vid-stride": "not there: every frame of a video is looked at",
    "--nproc": "--threads",
    "--provider": "--backend and --device",
}
# Of `yolo detect model=… source=…`.
ASSIGNMENTS = {
    "model": _MODEL,
    "source": _SOURCE,
    "data": _DATASET,
    "conf": _CONF,
    "iou": _IOU,
    "imgsz": _SIZE,
    "device": "--device",
    "classes": "--classes",
    "max_det": "--max-det",
    "half": _HALF,
    "save": _OUT,
    "show": "--show",
    "project": _OUT,
    "batch": "--batch of edgecv bench",
    "task": "the verb: edgecv detect, edgecv classify",
    "mode": "the verb: edgecv detect, edgecv eval, edgecv convert, edgecv bench",
}
VERBS = {
    "predict": "edgecv detect, or edgecv classify",
    "infer": "edgecv detect, or edgecv classify",
    "run": "edgecv detect, or edgecv classify",
    "val": "edgecv eval",
    "test": "edgecv eval, of accuracy, or edgecv verify, of agreement",
    "export": "edgecv convert",
    "benchmark": "edgecv bench",
    "download": "edgecv models pull",
    "info": "edgecv models show",
}


def hint(error: click.ClickException, words: Sequence[str]) -> str | None:
    """One line on a mistake that is a habit, or None. words: all that was typed."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if ours := OPTIONS.get(name.replace("_", "-")):
            return f"{name}: here that is {ours}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        given = _value_of("--weights", words)
        if given is not None and error.param.name in ("model", "source", "dataset"):
            return (
                f"--weights: here that is the other file of a Caffe or Darknet network; a model is {_MODEL}: "
                f"got {given}"
            )
    if isinstance(error, click.UsageError) and words and (ours := VERBS.get(words[0])):
        return f"{words[0]}: no verb of edgecv; here that is {ours}"
    return None


def assignment(words: Sequence[str]) -> str | None:
    """One line on the first word such as model=yolov8n.onnx that is no file, or None."""
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name in ASSIGNMENTS and not Path(word).exists():
            return f"{word}: here {name} is {ASSIGNMENTS[name]}"
    return None


def _value_of(option: str, words: Sequence[str]) -> str | None:
    for word, after in zip(words, [*words[1:], None], strict=True):
        if word == option:
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None

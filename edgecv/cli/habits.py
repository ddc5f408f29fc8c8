"""What users of other tools type: a line that names ours, in place of "no such option"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

# Of YOLOv5's scripts and Ultralytics' command line, and what goes by it here.
_CONF = "--conf"
_IOU = "--iou"
_SIZE = "--imgsz, 640 or 640x480: width first"
# What stands behind the colon is told by the verb that was typed.
_MODEL = "the first word after the verb: "
_SOURCE = "the word after the model: "
_DATASET = _SOURCE
_OUT = "--out, a file or a folder"
_NOT_SAVED = "the default: nothing is written unless --out names where"
_HALF = "--precision fp16"
_LINES = "--json FILE, a line of JSON for each frame"
_IN_JSON = "part of what --json FILE writes"
_NOT_DRAWN = "not there: labels and lines are drawn by the size of the picture"
_ONCE = "not there: each frame is looked at once, as it is"
_FRAMES = "--frames"
_SHAPE = {
    "detect": "edgecv detect MODEL SOURCE",
    "classify": "edgecv classify MODEL SOURCE",
    "eval": "edgecv eval MODEL DATASET",
    "bench": "edgecv bench MODEL",
    "verify": "edgecv verify MODEL",
    "convert": "edgecv convert NET --to FILE",
    "compile": "edgecv compile MODEL",
}

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
    "--name": _OUT,
    "--exist-ok": "the default: what is named is replaced",
    "--save-dir": _OUT,
    "--save-txt": _LINES,
    "--save-json": _LINES,
    "--save-conf": _IN_JSON,
    "--save-hybrid": _LINES,
    "--save-crop": "not there: --json FILE has the boxes",
    "--hide-labels": _NOT_DRAWN,
    "--hide-conf": _NOT_DRAWN,
    "--line-thickness": _NOT_DRAWN,
    "--line-width": _NOT_DRAWN,
    "--augment": _ONCE,
    "--visualize": _ONCE,
    "--dnn": "--backend opencv",
    "--task": "the verb: edgecv detect, edgecv classify",
    "--mode": "the verb: edgecv detect, edgecv eval, edgecv convert, edgecv bench",
    "--iterations": _FRAMES,
    "--iters": _FRAMES,
    "--runs": _FRAMES,
    "--num-runs": _FRAMES,
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
    "format": "not there: edgecv convert NET --to FILE writes ONNX",
}
# What is typed as a verb: ours, and what to say of it. Where the first is "", there is none.
VERBS = {
    "predict": ("detect", "edgecv detect, or edgecv classify"),
    "infer": ("detect", "edgecv detect, or edgecv classify"),
    "run": ("detect", "edgecv detect, or edgecv classify"),
    "yolo": ("detect", "edgecv detect, or edgecv classify"),
    "track": ("detect", "edgecv detect, whose boxes a tracker takes: edgecv has none"),
    "segment": ("detect", "edgecv detect, which tells masks where the model has them"),
    "pose": ("detect", "edgecv detect, which tells keypoints where the model has them"),
    "obb": ("detect", "edgecv detect, which tells oriented boxes where the model has them"),
    "val": ("eval", "edgecv eval"),
    "test": ("eval", "edgecv eval, of accuracy, or edgecv verify, of agreement"),
    "export": ("convert", "edgecv convert"),
    "benchmark": ("bench", "edgecv bench"),
    "profile": ("bench", "edgecv bench, with --layers of each layer"),
    "download": ("", "edgecv models pull"),
    "pull": ("", "edgecv models pull"),
    "info": ("", "edgecv models show"),
    "show": ("", "edgecv models show"),
    "list": ("", "edgecv models list"),
    "draft": ("", "edgecv models draft"),
    "version": ("", "edgecv --version"),
    "checks": ("", "edgecv backends"),
    "help": ("", "edgecv --help, and edgecv VERB --help"),
    "train": ("", "nothing: edgecv runs networks that are trained; export yours to ONNX"),
}


def hint(error: click.ClickException, words: Sequence[str]) -> str | None:
    """One line on a mistake that is a habit, or None. words: all that was typed."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if ours := OPTIONS.get(name.replace("_", "-")):
            return f"{name}: here that is {_whole(ours, words, name.lstrip('-'))}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        given = _value_of("--weights", words)
        if given is not None and error.param.name in ("model", "source", "dataset"):
            return (
                "--weights: here that is the other file of a Caffe or Darknet network; a model is "
                f"{_whole(_MODEL, words, 'model')}: got {given}"
            )
    if not isinstance(error, click.UsageError) or not words:
        return None
    if words[0] in VERBS:
        return f"{words[0]}: no verb of edgecv; here that is {VERBS[words[0]][1]}"
    if error.ctx is not None and error.ctx.command.name in ("detect", "classify", "bench"):
        classes = _value_of("--classes", words)
        extra = words[words.index("--classes") + 2 :] if "--classes" in words else []
        if classes is not None and extra and extra[0].isdigit():
            return f"--classes: several have commas between them, as in --classes {classes},{extra[0]}"
    return None


def assignment(words: Sequence[str]) -> str | None:
    """One line on the first word such as model=yolov8n.onnx that is no file, or None."""
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name in ASSIGNMENTS and not Path(word).exists():
            return f"{word}: here {name} is {_whole(ASSIGNMENTS[name], words, name)}"
    return None


def _whole(line: str, words: Sequence[str], name: str) -> str:
    """A line, and behind a colon at its end the verb that was typed, with its words."""
    if not line.endswith(": "):
        return line
    verb = words[0] if words else ""
    verb = VERBS.get(verb, (verb,))[0]
    shape = _SHAPE.get(verb, _SHAPE["eval" if name == "data" else "detect"])
    return line + shape


def _value_of(option: str, words: Sequence[str]) -> str | None:
    for word, after in zip(words, [*words[1:], None], strict=True):
        if word == option:
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None

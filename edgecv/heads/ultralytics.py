"""The metadata that the exporters of Ultralytics (YOLOv8 and later) and YOLOv5 write into a file.

Keys and formats: `Exporter.metadata` of the ultralytics package and `export_onnx` of the yolov5
repository. Every value is text; containers are Python literals. A file comes from anywhere, so what
cannot be read counts as absent.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Names of 10,000 classes fit; a literal of this size is read in milliseconds.
MAX_LITERAL_CHARS = 1 << 19
MAX_NAME_CHARS = 200
MAX_PIXELS = 1 << 16
MAX_KEYPOINTS = 1 << 12

# How the packages' own predictors feed a network of a fixed size (`LetterBox`).
ULTRALYTICS_INPUT: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "letterbox",
    "anchor": "center",
    "pad_value": 114.0,
    "std": (255.0,) * 3,
}

# The package's own defaults of `predict` where they are not a card's (ultralytics/cfg/default.yaml).
ULTRALYTICS_THRESHOLDS: Mapping[str, Any] = {"iou": 0.7}


@dataclass(frozen=True)
class UltralyticsFacts:
    """What the metadata says; what it does not say, or says unreadably, is None or empty.

    names: of the classes, by number. stride: the largest, pixels. task: "detect", "pose", …; None in
    files of the yolov5 repository. imgsz_wh: the size of the export, pixels.
    end2end: whether the network itself leaves one box an object. kpt_shape: of a pose network the number of
    keypoints, and of values of each: 2, or 3 with a confidence.
    """

    names: tuple[str, ...] = ()
    stride: int | None = None
    task: str | None = None
    imgsz_wh: tuple[int, int] | None = None
    end2end: bool = False
    kpt_shape: tuple[int, int] | None = None

    @property
    def is_detector(self) -> bool:
        """Whether nothing says that it does more than find boxes."""
        return self.task in (None, "detect")


def parse_metadata(metadata: Mapping[str, str]) -> UltralyticsFacts | None:
    """The facts, or None for a file of another exporter. Never raises."""
    if not {"names", "stride"} <= metadata.keys():
        return None
    task = metadata.get("task")
    args = _literal(metadata.get("args"))
    return UltralyticsFacts(
        names=_names(_literal(metadata["names"])),
        stride=_pixels(_literal(metadata["stride"])),
        task=task if isinstance(task, str) else None,
        imgsz_wh=_size_wh(_literal(metadata.get("imgsz"))),
        end2end=_literal(metadata.get("end2end")) is True
        or (isinstance(args, dict) and args.get("nms") is True),
        kpt_shape=_keypoints(_literal(metadata.get("kpt_shape"))),
    )


def described(metadata: Mapping[str, str], family: str) -> bool:
    """Whether the description, "Ultralytics YOLO11n model trained on …", names a model of this family."""
    model = str(metadata.get("description", "")).partition(" model")[0]
    return family in model.lower()


def _literal(text: object) -> Any:
    """The value of a Python literal, or None."""
    if not isinstance(text, str) or len(text) > MAX_LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...]:
    """Class names from a list, or from a dict whose keys are exactly 0 to n - 1."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or any(type(key) is not int for key in value):
        return ()
    if sorted(value) != list(range(len(value))):
        return ()
    if not all(isinstance(name, str | int) for name in value.values()):
        return ()
    return tuple(_printable(str(value[number])) for number in range(len(value)))


def _printable(name: str) -> str:
    """A name that cannot move a terminal's cursor or flood it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name[:MAX_NAME_CHARS])


def _pixels(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= MAX_PIXELS else None


def _keypoints(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(n) is not int for n in value):
        return None
    number, values = value
    return (number, values) if 1 <= number <= MAX_KEYPOINTS and values in (2, 3) else None


def _size_wh(value: Any) -> tuple[int, int] | None:
    """Width and height from [height, width], or from the side of a square."""
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    height, width = map(_pixels, sides)
    return None if width is None or height is None else (width, height)

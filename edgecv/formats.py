"""File names of the model formats that are read: what belongs together, and what is looked for beside it.

Here and not with the readers, since a model's files are named before any reader is needed.
"""

from __future__ import annotations

import os
import re
import stat

# Format -> suffixes of its structure and its weights.
PAIRS = {"caffe": (".prototxt", ".caffemodel"), "darknet": (".cfg", ".weights")}
SUFFIXES = {".onnx": "onnx", **{suffix: name for name, pair in PAIRS.items() for suffix in pair}}

# A card's, in the folder of its own.
CARD = "model.json"

# The class names of a network lie beside it in `<stem><suffix>` or LABELS, else in any file of LABELS_SUFFIX.
LABELS_SUFFIXES = (".names", ".txt", ".labels")
LABELS = "labels.txt"
LABELS_SUFFIX = ".names"

# A job of NVIDIA DIGITS is a folder; its structure tells it from any other.
DIGITS_STRUCTURE = "deploy.prototxt"
DIGITS_MEAN = "mean.binaryproto"
DIGITS_INFO = "info.json"
DIGITS_SNAPSHOT = re.compile(r"snapshot_iter_(\d+)\.caffemodel")

# The text of a Caffe network.
MAX_PROTOTXT_BYTES = 4 << 20


def with_target(path: str) -> tuple[str, ...]:
    """A path, and that of the file itself where the path is a link: what belongs to it lies beside either."""
    try:
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        is_link = False
    return (path, os.path.realpath(path)) if is_link else (path,)


def can_be_weights(suffix: str, format: str) -> bool:
    """Whether a file of that suffix can hold nothing but the weights for a structure of that format.

    They go by many names; what is named as a structure or as another format is none.
    """
    return format in PAIRS and suffix.lower() not in SUFFIXES.keys() - {PAIRS[format][1]}

"""python server.py: runs networks of Caffe and Darknet by OpenCV 4, whose importers OpenCV 5 has not.

Needs OpenCV 4 and NumPy, nothing of edgecv. Says its version in a line of JSON. Then each line that comes in
is a request: {"structure", "weights", "inputs", "outputs", "results"}, paths of the network's files (weights
"": none), of a npz of its inputs by name, what is wanted of it, and where the npz of that goes. The answer is
a line, {} or {"error"}. outputs: name -> [layer, number of its top]; layer "": see `darknet_layer`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import cv2
import numpy as np


def darknet_layer(net: Any, name: str) -> str:
    """The layer of OpenCV's whose value is `yolo_16` or such, a layer and its number in the cfg.

    Of a detection layer it is what it reads: OpenCV turns that around first, and squashes it. Of others it
    is the value at the end of the network.
    """
    kind, _, number = name.rpartition("_")
    layers = list(net.getLayerNames())
    if kind in ("yolo", "region"):
        return str(layers[layers.index(f"permute_{number}") - 1])
    return str(layers[-1])


def answer(request: dict[str, Any]) -> dict[str, str]:
    structure, weights = request["structure"], request["weights"]
    try:
        if structure.endswith(".cfg"):
            net = cv2.dnn.readNetFromDarknet(structure, weights)
        else:
            net = cv2.dnn.readNetFromCaffe(structure, *([weights] if weights else []))
        wanted = {
            name: (layer or darknet_layer(net, name), top)
            for name, (layer, top) in request["outputs"].items()
        }
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        for name, value in np.load(request["inputs"]).items():
            net.setInput(value, name)
        values = net.forwardAndRetrieve([layer for layer, _ in wanted.values()])
    except (cv2.error, ValueError) as error:
        return {"error": " ".join(str(error).split())}
    found = {name: tops[top] for (name, (_, top)), tops in zip(wanted.items(), values, strict=True)}
    np.savez(request["results"], **found)
    return {}


def main() -> None:
    # Answers have the descriptor to themselves: OpenCV prints where it likes.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        cv2.setNumThreads(1)
        print(json.dumps({"version": cv2.__version__}), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()

"""Detection layers: what the head of the draft card reads from raw outputs, against OpenCV's own layers.

Both read the values that OpenCV gives: that the networks give the same is tested beside their structures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import boxes, heads
from edgecv.heads.base import Query
from edgecv.importers import NETWORK, Imported, caffe, darknet
from tests.importers.caffe import topologies
from tests.importers.caffe.nets import Net
from tests.importers.conformance import OPENCV, TOLERANCE
from tests.importers.darknet import reference, structures
from tests.importers.darknet.structures import conv, net, raw, yolo
from tests.oracle import Oracle

Rows = NDArray[np.float64]
# More than there are.
ALL = 100_000
OUTPUT = {
    "num_classes": 4,
    "share_location": True,
    "background_label_id": 0,
    "code_type": "CENTER_SIZE",
    "nms_param": {"nms_threshold": 0.45, "top_k": ALL},
    "keep_top_k": ALL,
}


def found(imported: Imported, outputs: Mapping[str, NDArray[Any]], confidence: float, iou: float) -> Rows:
    """Class, confidence, and corners as parts of the blob; one row each. iou: 1, without suppression."""
    card = imported.card
    assert card.head
    outputs = {name: outputs[name][0] for name in names_of(imported)}
    width, height = card.image_input.size_wh
    query = Query((width, height), confidence, multi_label=True, max_candidates=10**6)
    all_ = heads.HEADS[card.head.type].decode(outputs, card.head.params, query)
    keep = np.arange(len(all_.confidence))
    if iou < 1:
        keep = boxes.nms(all_.xyxy, all_.confidence, all_.class_id, iou=iou, max_det=len(keep))
    corners = all_.xyxy[keep] / (width, height, width, height)
    return np.column_stack([all_.class_id[keep], all_.confidence[keep], corners])


def names_of(imported: Imported) -> list[str]:
    return [spec.name for spec in imported.networks[NETWORK].facts.outputs]


def unlike(got: Rows, expected: Rows) -> float:
    """How far the farthest row of one set is from the other set; large boxes in parts of their size."""
    worst = 0.0
    for ours, theirs in ((got, expected), (expected, got)):
        for row in ours:
            alike = theirs[theirs[:, 0] == row[0]]
            apart = np.abs(alike - row).max(axis=1) if len(alike) else np.array([np.inf])
            worst = max(worst, apart.min() / max(np.abs(row[1:]).max(), 1))
    return worst


def assert_same(got: Rows, expected: Rows) -> None:
    assert len(expected) > 20
    assert len(got) == len(expected)
    assert unlike(got, expected) <= TOLERANCE[OPENCV]


def small_ssd(prior: Mapping[str, Any], output: Mapping[str, Any], second: Mapping[str, Any] = {}) -> Net:
    """Two maps of priors, in a picture that is not square."""
    made = Net("small-ssd")
    x = made.relu(made.conv(made.input(1, 3, 48, 64), 8, 3, stride=8, pad=1, name="first"))
    y = made.relu(made.conv(x, 8, 3, stride=2, pad=1, name="second"))
    settings = {**OUTPUT, **output}
    each = settings["num_classes"]
    sets = 1 if settings["share_location"] else each
    parts: dict[str, list[str]] = {"loc": [], "conf": [], "prior": []}
    for feature, params in ((x, prior), (y, {**prior, **second})):
        made.add("PriorBox", (feature, "data"), params, name=f"{feature}_prior")
        parts["prior"].append(f"{feature}_prior")
        n, _, height, width = made.shapes[feature]
        for what, values in (("loc", 4 * sets), ("conf", each)):
            z = made.conv(feature, priors_of_a_cell(params) * values, 1, name=f"{feature}_{what}")
            z = made.add("Permute", z, {"order": [0, 2, 3, 1]}, shape=(n, height, width, made.shapes[z][1]))
            parts[what].append(made.add("Flatten", z, shape=(n, int(np.prod(made.shapes[z])))))
    for what, names in parts.items():
        total = sum(made.shapes[name][1] for name in names)
        made.add("Concat", names, {"axis": 2 if what == "prior" else 1}, name=what, shape=(1, total))
    rows = made.add("Reshape", "conf", {"shape": {"dim": [0, -1, each]}}, name="rows")
    flat = made.add("Flatten", made.add("Softmax", rows, {"axis": 2}), name="flat")
    made.add("DetectionOutput", ("loc", flat, "prior"), settings, name="detection_out")
    return made


def priors_of_a_cell(params: Mapping[str, Any]) -> int:
    sizes = np.atleast_1d(params["min_size"]).size
    return int(
        sizes * (1 + ("max_size" in params) + len(params["aspect_ratio"]) * (1 + params.get("flip", True)))
    )


# All that OpenCV takes otherwise than Caffe where it is not stated.
PLAIN: dict[str, Any] = {
    "min_size": 12.0,
    "aspect_ratio": [2.0],
    "flip": True,
    "clip": False,
    "variance": [0.1, 0.1, 0.2, 0.2],
}
SMALL_SSDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (PLAIN, {}),
    "max-size": ({**PLAIN, "max_size": 20.0, "aspect_ratio": [2.0, 3.0]}, {}),
    "several-sizes": ({**PLAIN, "min_size": [6.0, 12.0], "max_size": [10.0, 20.0]}, {}),
    "no-flip": ({**PLAIN, "flip": False}, {}),
    "clip": ({**PLAIN, "min_size": 30.0, "clip": True}, {}),
    "offset": ({**PLAIN, "offset": 0.25}, {}),
    "step": ({**PLAIN, "step": 9.0}, {}),
    "steps": ({**PLAIN, "step_h": 7.0, "step_w": 9.5}, {}),
    "one-variance": ({**PLAIN, "variance": [0.1]}, {}),
    "corner": (PLAIN, {"code_type": "CORNER"}),
    "own-locations": (PLAIN, {"share_location": False}),
    "many-overlap": ({**PLAIN, "min_size": 30.0}, {"nms_param": {"nms_threshold": 0.2, "top_k": ALL}}),
}
SSDS: dict[str, Callable[[], Net]] = {
    **{name: (lambda case=case: small_ssd(*case)) for name, case in SMALL_SSDS.items()},
    "mobilenet-ssd-1/8": lambda: topologies.mobilenet_ssd(8),
    "vgg-ssd-1/8": lambda: topologies.vgg_ssd(8),
}


@pytest.mark.parametrize("build", SSDS.values(), ids=SSDS)
def test_detection_output(build: Callable[[], Net], oracle: Oracle, tmp_path: Path) -> None:
    """Priors, offsets, scores and suppression; of random scores as many count as make a crowd."""
    built = build()
    last = built.layers[-1]
    params = {**last.params, "confidence_threshold": 0.3, "keep_top_k": ALL}
    params["nms_param"] = {**params["nms_param"], "top_k": ALL}
    built.layers[-1] = replace(last, params=params)
    paths = built.write(tmp_path)
    inputs = built.random_inputs()
    imported = caffe.read(*paths)
    wanted = ("detection_out", *names_of(imported))
    theirs = oracle.run(*paths, inputs, {name: built.made_by(name) for name in wanted})
    expected = theirs["detection_out"].reshape(-1, 7)[:, 1:].astype(np.float64)
    # It has as many rows as may be kept, and boxes whose corners are exchanged, which ours leaves out.
    expected = expected[(expected[:, 1] > 0) & (expected[:, 2:4] < expected[:, 4:]).all(axis=1)]
    # OpenCV counts the background as class 0.
    expected[:, 0] -= 1
    got = found(imported, theirs, imported.card.thresholds.conf, imported.card.thresholds.iou)
    assert_same(got, expected)


def of_cfg(text: str, threshold: float) -> str:
    """The cfg with what of a detection layer's confidences OpenCV keeps; Darknet takes it from its user."""
    return text.replace("[yolo]\n", f"[yolo]\nthresh={threshold}\n").replace(
        "[region]\n", f"[region]\nthresh={threshold}\n"
    )


# What OpenCV does of it in a [region] by itself; in a [yolo] none.
REGION_NMS = 0.4
CFGS: dict[str, tuple[str, float]] = {
    "tiny-yolo-v2-eighth": (structures.tiny_yolo_v2(8), 0.1),
    "yolo-v2-eighth": (structures.yolo_v2(8), 0.1),
    "tiny-yolo-v3-eighth": (structures.tiny_yolo_v3(8), 0.5),
    "tiny-yolo-v4-eighth": (structures.tiny_yolo_v4(8), 0.8),
    "yolo": (net(32, 24) + conv(8) + raw(75) + yolo("1,3,4"), 0.5),
    "yolo-scaled": (net(32, 24) + conv(8) + raw(75) + yolo("0,1,2", scale_x_y=1.2), 0.5),
    "yolo-new-coords": (
        net(32, 24)
        + conv(8)
        + conv(75, 1, activation="logistic", batch_normalize=0)
        + yolo("0,1,2", scale_x_y=2.0, new_coords=1),
        0.5,
    ),
    "region-not-square": (net(32, 24) + conv(8) + raw(125) + structures.region(), 0.2),
}


@pytest.mark.parametrize(("text", "threshold"), CFGS.values(), ids=CFGS)
def test_yolo_and_region(text: str, threshold: float, oracle: Oracle, tmp_path: Path) -> None:
    paths = tmp_path / "net.cfg", tmp_path / "net.weights"
    paths[0].write_text(of_cfg(text, threshold))
    paths[1].write_bytes(reference.random_weights(text))
    imported = darknet.read(*paths)
    (spec,) = imported.networks[NETWORK].facts.inputs
    inputs = {spec.name: np.random.default_rng(1).uniform(size=spec.shape).astype(np.float32)}
    # What OpenCV calls the values of a [yolo] and a [region].
    ends = {name: "detection_out" if "[region]" in text else name for name in names_of(imported)}
    wanted = {f"end of {name}": (layer, 0) for name, layer in ends.items()}
    theirs = oracle.run(*paths, inputs, {**wanted, **dict.fromkeys(ends, ("", 0))})
    read = [theirs[name].astype(np.float64) for name in wanted]
    rows = np.concatenate([value.reshape(-1, value.shape[-1]) for value in read])
    row, class_id = np.nonzero(rows[:, 5:])
    center, size = rows[row, :2], rows[row, 2:4]
    confidence = rows[row, 5 + class_id]
    expected = np.column_stack([class_id, confidence, center - size / 2, center + size / 2])
    iou = REGION_NMS if "[region]" in text else 1
    assert_same(found(imported, theirs, threshold, iou), expected)

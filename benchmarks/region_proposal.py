"""Proposals and ROI pooling of a Faster R-CNN: edgecv against NumPy and OpenCV, on one core.

    python benchmarks/region_proposal.py --opencv4 PYTHON

The trunk is VGG-16's at 800 x 600: 38 x 50 cells of 9 anchors make 300 proposals, and of 512 channels
7 x 7 bins are pooled from each. OpenCV 5 has neither layer; its NMS is measured behind NumPy, and
--opencv4 names a Python with OpenCV 4, whose own layers then run in a process of their own. Contenders take
turns, one call each, so that a slow phase of the machine hits all of them. Before that, all must agree on
the proposals and on what is pooled. Writes a table, and benchmarks/results/region_proposal.json.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import record

from edgecv import _rois, boxes, machine, rois

STRIDE, ROWS, COLUMNS, CHANNELS, BINS = 16, 38, 50, 512, 7
WIDTH, HEIGHT = 800, 600
PRE_NMS, POST_NMS, IOU, MIN_SIZE = 6000, 300, 0.7, 16
OBJECTS = 40

FloatArray = NDArray[np.float32]
# Runs once and returns its nanoseconds.
Timed = Callable[[], int]


def synthetic_trunk(seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores, deltas and features; anchors over an object are sure, and move to it."""
    rng = np.random.default_rng(seed)
    anchors = shifted_anchors()
    size = rng.uniform(40, 360, (OBJECTS, 2))
    corner = rng.uniform(size=(OBJECTS, 2)) * ((WIDTH, HEIGHT) - size)
    objects = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    overlap = boxes.iou(anchors, objects)
    nearest = objects[overlap.argmax(axis=1)]
    sure = 10 * (overlap.max(axis=1) - 0.5) + rng.normal(0, 1, len(anchors))
    scores = 1 / (1 + np.exp(-sure))
    anchor_size, object_size = anchors[:, 2:] - anchors[:, :2] + 1, nearest[:, 2:] - nearest[:, :2] + 1
    move = (nearest[:, :2] + object_size / 2 - anchors[:, :2] - anchor_size / 2) / anchor_size
    deltas = np.concatenate([move, np.log(object_size / anchor_size)], axis=1)
    deltas = np.where(overlap.max(axis=1, keepdims=True) > 0.3, deltas, 0) + rng.normal(0, 0.1, deltas.shape)
    planes = deltas.reshape(ROWS, COLUMNS, 36).transpose(2, 0, 1)
    features = np.maximum(rng.standard_normal((CHANNELS, ROWS, COLUMNS)), 0)
    return (
        np.ascontiguousarray(scores.reshape(ROWS, COLUMNS, 9).transpose(2, 0, 1), np.float32),
        np.ascontiguousarray(planes, np.float32),
        features.astype(np.float32),
    )


def shifted_anchors() -> FloatArray:
    """Every anchor of every cell, (17100, 4), cell by cell."""
    y, x = np.mgrid[:ROWS, :COLUMNS] * STRIDE
    cells = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(np.float32)
    return (cells + rois.anchors()[None]).reshape(-1, 4)


def numpy_candidates(
    scores: FloatArray, deltas: FloatArray, anchors: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What NMS sees, most confident first: the usual array code of a proposal layer."""
    delta = deltas.transpose(1, 2, 0).reshape(-1, 4)
    score = scores.transpose(1, 2, 0).reshape(-1)
    size = anchors[:, 2:] - anchors[:, :2] + 1
    center = delta[:, :2] * size + anchors[:, :2] + np.float32(0.5) * size
    half = np.float32(0.5) * np.exp(delta[:, 2:]) * size
    xyxy = np.concatenate([center - half, center + half], axis=1)
    np.clip(xyxy, 0, np.array([WIDTH - 1, HEIGHT - 1] * 2, np.float32), out=xyxy)
    large = ((xyxy[:, 2:] - xyxy[:, :2] + 1) >= MIN_SIZE).all(axis=1)
    xyxy, score = xyxy[large], score[large]
    order = np.argsort(-score, kind="stable")[:PRE_NMS]
    return xyxy[order], score[order]


def numpy_nms(xyxy: FloatArray, score: FloatArray) -> FloatArray:
    """Greedy suppression, a kept box against all that are left."""
    x1, y1, x2, y2 = xyxy.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    left, kept = np.arange(len(xyxy)), []
    while len(left) and len(kept) < POST_NMS:
        best, left = left[0], left[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[left]) - np.maximum(x1[best], x1[left]) + 1
        height = np.minimum(y2[best], y2[left]) - np.maximum(y1[best], y1[left]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        left = left[shared <= IOU * (area[best] + area[left] - shared)]
    return xyxy[kept]


def opencv_nms(xyxy: FloatArray, score: FloatArray) -> FloatArray:
    import cv2

    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2] + 1], axis=1)
    suppress: Any = cv2.dnn.NMSBoxes  # takes arrays too, which its type stub does not know
    return xyxy[suppress(xywh, score, 0.0, IOU)[:POST_NMS]]


def bin_edges(first: NDArray[Any], last: NDArray[Any], cells: int) -> NDArray[Any]:
    """(n, 14): where each of 7 bins begins and ends."""
    length = (np.maximum(last - first + 1, 1) / BINS).astype(np.float32)
    number = np.arange(BINS, dtype=np.float32)
    begin = np.floor(number * length[:, None]) + first[:, None]
    end = np.ceil((number + 1) * length[:, None]) + first[:, None]
    return np.clip(np.stack([begin, end], axis=2), 0, cells).astype(int).reshape(len(first), -1)


def all_edges(xyxy: FloatArray) -> tuple[NDArray[Any], NDArray[Any]]:
    cell = np.floor(xyxy / STRIDE + 0.5)
    return bin_edges(cell[:, 0], cell[:, 2], COLUMNS), bin_edges(cell[:, 1], cell[:, 3], ROWS)


def numpy_pool(features: FloatArray, xyxy: FloatArray, out: FloatArray) -> FloatArray:
    """The usual loop: the largest of a slice for each bin, all channels at once."""
    x, y = all_edges(xyxy)
    for i in range(len(xyxy)):
        for j in range(BINS):
            rows = features[:, y[i, 2 * j] : y[i, 2 * j + 1]]
            for k in range(BINS):
                out[i, :, j, k] = rows[:, :, x[i, 2 * k] : x[i, 2 * k + 1]].max(axis=(1, 2), initial=0)
    return out


def numpy_tuned_pool(by_cell: FloatArray, xyxy: FloatArray, out: FloatArray) -> FloatArray:
    """Rows before columns, channels last: every step is a maximum of whole vectors.

    by_cell: (38, 50, 512).
    """
    x, y = all_edges(xyxy)
    for i in range(len(xyxy)):
        left, right = x[i, 0], x[i, -1]
        for j in range(BINS):
            row = by_cell[y[i, 2 * j] : y[i, 2 * j + 1], left:right].max(axis=0, initial=0)
            for k in range(BINS):
                out[i, :, j, k] = row[x[i, 2 * k] - left : x[i, 2 * k + 1] - left].max(axis=0, initial=0)
    return out


class OpenCV4:
    """Its layers, in a process of their own."""

    def __init__(self, python: str, case: dict[str, NDArray[Any]], folder: Path) -> None:
        path = folder / "case.npz"
        np.savez(path, **case)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("opencv4_regions.py")), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.version, results = self._read().split()
        self.results = dict(np.load(results))

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("region_proposal: the process of OpenCV 4 ended")
        return line

    def timed(self, name: str) -> Timed:
        """One call of its layer `propose` or `pool`."""

        def run() -> int:
            assert self._process.stdin is not None
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
            return int(self._read())

        return run

    def close(self) -> None:
        self._process.communicate()


def timed(run: Callable[[], Any]) -> Timed:
    def once() -> int:
        started = time.perf_counter_ns()
        run()
        return time.perf_counter_ns() - started

    return once


def measure(contenders: dict[str, Timed], rounds: int) -> dict[str, dict[str, float]]:
    """Minimum and median, microseconds, and both over those of the first contender; one call each in turn."""
    took: dict[str, list[int]] = {name: [] for name in contenders}
    for turn in range(rounds + math.ceil(rounds / 10)):
        for name, once in contenders.items():
            nanoseconds = once()
            if turn >= math.ceil(rounds / 10):
                took[name].append(nanoseconds)
    first = np.array(next(iter(took.values())))
    return {
        name: {
            "min_us": round(min(values) / 1e3, 1),
            "median_us": round(float(np.median(values)) / 1e3, 1),
            "min_ratio": round(min(values) / float(first.min()), 2),
            "median_ratio": round(float(np.median(values) / np.median(first)), 2),
        }
        for name, values in took.items()
    }


def agree(name: str, ours: FloatArray, theirs: FloatArray, tolerance: float) -> None:
    if ours.shape != theirs.shape or not np.abs(ours - theirs).max() <= tolerance:
        sys.exit(f"region_proposal: {name} does not agree with edgecv")


def print_table(title: str, figures: dict[str, dict[str, float]]) -> None:
    print(f"\n{title:44}{'min us':>10}{'median us':>12}{'ratio':>16}")
    for name, of in figures.items():
        ratio = f"{of['min_ratio']:.1f} / {of['median_ratio']:.1f}"
        print(f"{name:44}{of['min_us']:10.1f}{of['median_us']:12.1f}{ratio:>16}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Proposals and ROI pooling: edgecv against NumPy + OpenCV.")
    parser.add_argument("--rounds", type=int, default=100, help="calls of each contender (default: 100)")
    parser.add_argument("--core", type=int, default=None, help="processor to run on (default: the last one)")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic outputs (default: 0)")
    parser.add_argument("--opencv4", help="a Python that has OpenCV 4 (default: its layers are left out)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/region_proposal.json)")
    args = parser.parse_args()

    try:
        import cv2
    except ImportError:
        sys.exit("region_proposal: cv2 is not installed; install it with: pip install 'edgecv[opencv]'")
    core = max(os.sched_getaffinity(0)) if args.core is None else args.core
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)

    scores, deltas, features = synthetic_trunk(args.seed)
    anchors, shifted = rois.anchors(), shifted_anchors()
    image = (0, 0, WIDTH, HEIGHT)
    xyxy, _ = rois.propose(scores, deltas, anchors, image_xyxy=image)
    out, other = (np.zeros((len(xyxy), CHANNELS, BINS, BINS), np.float32) for _ in range(2))
    by_cell = np.ascontiguousarray(features.transpose(1, 2, 0))
    rois.pool(features, xyxy, out=out)
    agree("NumPy", xyxy, numpy_nms(*numpy_candidates(scores, deltas, shifted)), 1e-3)
    agree("NMSBoxes", xyxy, opencv_nms(*numpy_candidates(scores, deltas, shifted)), 1e-3)
    agree("NumPy, pooling", out, numpy_pool(features, xyxy, other), 0)
    agree("NumPy, tuned pooling", out, numpy_tuned_pool(by_cell, xyxy, other), 0)

    propose: dict[str, Timed] = {
        "edgecv": timed(lambda: rois.propose(scores, deltas, anchors, image_xyxy=image)),
        "NumPy": timed(lambda: numpy_nms(*numpy_candidates(scores, deltas, shifted))),
        "NumPy + NMSBoxes": timed(lambda: opencv_nms(*numpy_candidates(scores, deltas, shifted))),
    }
    pool: dict[str, Timed] = {
        "edgecv": timed(lambda: rois.pool(features, xyxy, out=out)),
        "NumPy": timed(lambda: numpy_pool(features, xyxy, other)),
        "NumPy, channels last": timed(lambda: numpy_tuned_pool(by_cell, xyxy, other)),
        "floor: write every bin once": timed(lambda: other.fill(0)),
    }
    with tempfile.TemporaryDirectory() as folder:
        opencv4 = None
        if args.opencv4:
            case = {
                "scores": np.concatenate([1 - scores, scores])[None],
                "deltas": deltas[None],
                "im_info": np.array([[HEIGHT, WIDTH, 1]], np.float32),
                "features": features[None],
                "rois": np.concatenate([np.zeros((len(xyxy), 1), np.float32), xyxy], axis=1),
            }
            opencv4 = OpenCV4(args.opencv4, case, Path(folder))
            agree("OpenCV 4, Proposal", xyxy, opencv4.results["xyxy"], 1e-3)
            agree("OpenCV 4, ROIPooling", out, opencv4.results["pooled"], 0)
            propose[f"OpenCV {opencv4.version} Proposal"] = opencv4.timed("propose")
            pool[f"OpenCV {opencv4.version} ROIPooling"] = opencv4.timed("pool")

        print(machine.describe(machine.identity()))
        title = f"{len(shifted)} anchors to {len(xyxy)} proposals"
        proposed = measure(propose, args.rounds)
        print_table(title, proposed)
        pool_title = f"{len(xyxy)} x {CHANNELS} x {BINS} x {BINS} bins"
        pooled = measure(pool, max(args.rounds // 5, 1))
        print_table(pool_title, pooled)
        if opencv4:
            opencv4.close()

    report = {
        "isa": _rois.isa(),
        "core": core,
        "rounds": {"propose": args.rounds, "pool": max(args.rounds // 5, 1)},
        "cells": [ROWS, COLUMNS],
        "anchors": len(anchors),
        "proposals": len(xyxy),
        "channels": CHANNELS,
        "propose": proposed,
        "pool": pooled,
    }
    print(f"\nwritten: {record('region_proposal', report, args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

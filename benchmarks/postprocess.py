"""Decode and NMS of a YOLOv8 output (84, 8400): edgecv against NumPy and OpenCV, on one core.

    python benchmarks/postprocess.py

Contenders take turns, one call each, so that a slow phase of the machine hits all of them; before each
call the output is written anew, untimed, as a network would leave it in the caches. Before that, all must
keep the same boxes. OpenCV computes IoU in float64 and edgecv in float32, so a pair whose IoU lies
within 1e-5 of the threshold may be judged differently; such a difference is counted and reported, any
other one ends the run. Writes a table, and benchmarks/results/postprocess.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import record

from edgecv import _boxes, boxes, heads, machine
from edgecv.heads.base import Query

CLASSES, SIZE, STRIDES = 80, 640, (8, 16, 32)
OBJECTS, CELLS_OF_EACH = 60, 10
CONFIDENCE, LOW_CONFIDENCE, IOU = 0.25, 0.01, 0.45

FloatArray = NDArray[np.float32]
Kept = tuple[FloatArray, FloatArray, NDArray[Any]]  # xyxy, confidence, class_id; best first
Contender = Callable[[], Kept]


def cells() -> tuple[FloatArray, FloatArray]:
    """Centers (8400, 2) and strides (8400,) of the network's cells, pixels."""
    centers, strides = [], []
    for stride in STRIDES:
        axis = (np.arange(SIZE // stride) + 0.5) * stride
        centers.append(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(centers[-1]), stride))
    return np.concatenate(centers).astype(np.float32), np.concatenate(strides).astype(np.float32)


def synthetic_output(seed: int) -> FloatArray:
    """(84, 8400): 60 objects that ten cells each report, and a background of small scores."""
    rng = np.random.default_rng(seed)
    centers, strides = cells()
    pred = np.empty((4 + CLASSES, len(centers)), np.float32)
    pred[:2] = centers.T + rng.normal(0, 4, (2, len(centers)))
    pred[2:4] = strides * rng.uniform(2, 8, (2, len(centers)))
    pred[4:] = 1 / (1 + np.exp(rng.normal(9, 1.2, (CLASSES, len(centers)))))
    free = np.ones(len(centers), bool)
    for stride in rng.choice(STRIDES, OBJECTS, p=(0.5, 0.3, 0.2)):
        center, size = rng.uniform(40, SIZE - 40, 2), stride * rng.uniform(3, 7, 2)
        distance = np.abs(centers - center).max(axis=1) + np.where(free & (strides == stride), 0, np.inf)
        members = np.argsort(distance, kind="stable")[:CELLS_OF_EACH]
        free[members] = False
        pred[:2, members] = (center + rng.normal(0, 0.04 * size, (CELLS_OF_EACH, 2))).T
        pred[2:4, members] = (size * rng.normal(1, 0.04, (CELLS_OF_EACH, 2))).T
        first, second, third = rng.choice(CLASSES, 3, replace=False)
        pred[4 + first, members] = rng.uniform(0.3, 0.95, CELLS_OF_EACH)
        pred[4 + second, members] = rng.uniform(0.02, 0.2, CELLS_OF_EACH)
        pred[4 + third, members] = rng.uniform(0.005, 0.05, CELLS_OF_EACH)
    return pred


def edgecv_detector(pred: FloatArray, confidence: float, multi_label: bool) -> Contender:
    """edgecv: the YOLOv8 head and NMS, as a pipeline holds them between frames."""
    head, params = heads.params_from({"type": "yolov8"})
    query = Query((SIZE, SIZE), confidence, multi_label=multi_label)

    def detect() -> Kept:
        found = head.decode({"output0": pred}, params, query)
        keep = boxes.nms(found.xyxy, found.confidence, found.class_id, iou=IOU)
        return found.xyxy[keep], found.confidence[keep], found.class_id[keep]

    return detect


def finish_with_opencv(
    cxcywh: FloatArray, confidence: FloatArray, class_id: NDArray[Any], over: float
) -> Kept:
    import cv2

    suppress: Any = cv2.dnn.NMSBoxesBatched  # takes arrays too, which its type stub does not know
    half = cxcywh[:, 2:] / 2
    left_top = cxcywh[:, :2] - half
    xywh = np.concatenate([left_top, cxcywh[:, 2:]], axis=1)
    keep = suppress(xywh, confidence, class_id.astype(np.int32), over, IOU)
    xyxy = np.concatenate([left_top, cxcywh[:, :2] + half], axis=1)
    return xyxy[keep], confidence[keep], class_id[keep]


def usual_detect(pred: FloatArray, over: float) -> Kept:
    """The usual chain: transpose, best class of each row, mask, cxcywh to xyxy, NMSBoxesBatched."""
    rows = np.ascontiguousarray(pred.T)
    scores = rows[:, 4:]
    class_id = scores.argmax(axis=1)
    confidence = scores.max(axis=1)
    mask = confidence > over
    return finish_with_opencv(rows[mask, :4], confidence[mask], class_id[mask], over)


def tuned_detect(pred: FloatArray, over: float) -> Kept:
    """The same without the transpose, and the class only of what passes."""
    confidence = pred[4:].max(axis=0)
    cell = np.flatnonzero(confidence > over)
    class_id = pred[4:, cell].argmax(axis=0)
    return finish_with_opencv(np.ascontiguousarray(pred[:4, cell].T), confidence[cell], class_id, over)


def usual_multi_label(pred: FloatArray, over: float) -> Kept:
    """The usual chain of an evaluation: every class over the threshold."""
    rows = np.ascontiguousarray(pred.T)
    cell, class_id = np.nonzero(rows[:, 4:] > over)
    return finish_with_opencv(rows[cell, :4], rows[cell, 4 + class_id], class_id, over)


@dataclass(frozen=True)
class Case:
    """What is measured side by side; the first contender is edgecv."""

    name: str
    candidates: int
    contenders: dict[str, Contender]


def make_cases(pred: FloatArray) -> list[Case]:
    best = int((pred[4:].max(axis=0) > CONFIDENCE).sum())
    every = int((pred[4:] > LOW_CONFIDENCE).sum())
    return [
        Case(
            f"best class over {CONFIDENCE}",
            best,
            {
                "edgecv": edgecv_detector(pred, CONFIDENCE, multi_label=False),
                "NumPy, usual + NMSBoxesBatched": lambda: usual_detect(pred, CONFIDENCE),
                "NumPy, tuned + NMSBoxesBatched": lambda: tuned_detect(pred, CONFIDENCE),
            },
        ),
        Case(
            f"every class over {LOW_CONFIDENCE}",
            every,
            {
                "edgecv": edgecv_detector(pred, LOW_CONFIDENCE, multi_label=True),
                "NumPy, usual + NMSBoxesBatched": lambda: usual_multi_label(pred, LOW_CONFIDENCE),
            },
        ),
    ]


def as_rows(kept: Kept) -> set[tuple[float, ...]]:
    """(x1, y1, x2, y2, confidence, class) of each box."""
    xyxy, confidence, class_id = kept
    return {
        (*box, score, float(c))
        for box, score, c in zip(xyxy.tolist(), confidence.tolist(), class_id.tolist(), strict=True)
    }


def differences(ours: Kept, theirs: Kept) -> int:
    """How many boxes only one side kept; raises SystemExit unless each is a matter of rounding."""
    rows_of_ours, rows_of_theirs = as_rows(ours), as_rows(theirs)
    only = rows_of_ours ^ rows_of_theirs
    for row in only:
        other = theirs if row in rows_of_ours else ours
        same_class = other[0][other[2] == row[5]]
        overlap = boxes.iou(np.array([row[:4]], np.float32), same_class)
        if not (np.abs(overlap - IOU) < 1e-5).any():
            sys.exit(f"postprocess: the contenders keep different boxes: {row}")
    return len(only)


def check(case: Case) -> dict[str, Any]:
    """Boxes kept, and by how many each contender differs from edgecv."""
    results = {name: run() for name, run in case.contenders.items()}
    ours = results.pop("edgecv")
    return {
        "kept": len(ours[1]),
        "differs_by_rounding": {name: differences(ours, kept) for name, kept in results.items()},
    }


def measure(
    contenders: dict[str, Callable[[], Any]], pred: FloatArray, rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Microseconds of each call, by contender; one call each in turn."""
    took: dict[str, list[int]] = {name: [] for name in contenders}
    original = pred.copy()
    for turn in range(rounds + rounds // 10):
        for name, run in contenders.items():
            np.copyto(pred, original)
            started = time.perf_counter_ns()
            run()
            ended = time.perf_counter_ns()
            if turn >= rounds // 10:
                took[name].append(ended - started)
    return {name: np.array(values) / 1e3 for name, values in took.items()}


def parts(pred: FloatArray) -> dict[str, Callable[[], Any]]:
    """edgecv's own stages, and the floor: one read of the scores by the same vector loads."""
    scores = pred[4:].reshape(-1)
    row, class_id, confidence = boxes.select(pred[4:].T, CONFIDENCE)
    xyxy = boxes.cxcywh_to_xyxy(pred[:4].T, row)
    return {
        "floor: read 80 x 8400 scores once": lambda: _boxes.largest(scores),
        "boxes.select": lambda: boxes.select(pred[4:].T, CONFIDENCE),
        "boxes.cxcywh_to_xyxy": lambda: boxes.cxcywh_to_xyxy(pred[:4].T, row),
        "boxes.nms": lambda: boxes.nms(xyxy, confidence, class_id, iou=IOU),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Decode and NMS: edgecv against NumPy + OpenCV.")
    parser.add_argument("--rounds", type=int, default=300, help="calls of each contender (default: 300)")
    parser.add_argument("--core", type=int, default=None, help="processor to run on (default: the last one)")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic output (default: 0)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/postprocess.json)")
    args = parser.parse_args()

    try:
        import cv2
    except ImportError:
        sys.exit("postprocess: cv2 is not installed; install it with: pip install 'edgecv[opencv]'")
    core = max(os.sched_getaffinity(0)) if args.core is None else args.core
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    pred = synthetic_output(args.seed)

    print(machine.describe(machine.identity()))
    report: dict[str, Any] = {
        "isa": _boxes.isa(),
        "core": core,
        "rounds": args.rounds,
        "shape": list(pred.shape),
        "iou": IOU,
        "cases": [],
    }
    for case in make_cases(pred):
        checked = check(case)
        took = measure(dict(case.contenders), pred, args.rounds)
        report["cases"].append(
            {"name": case.name, "candidates": case.candidates, **checked, "contenders": figures(took)}
        )
        print(f"\n{case.name}: {case.candidates} candidates, {checked['kept']} kept by all contenders")
        print_table(took)
        print(f"differences by rounding: {checked['differs_by_rounding']}")
    took = measure(parts(pred), pred, args.rounds)
    report["parts"] = figures(took)
    print("\nparts of edgecv")
    print_table(took)

    print(f"\nwritten: {record('postprocess', report, args.out)}")
    return 0


def figures(took: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Minimum and median, microseconds, and both over those of the first contender."""
    first = next(iter(took.values()))
    return {
        name: {
            "min_us": round(float(values.min()), 1),
            "median_us": round(float(np.median(values)), 1),
            "min_ratio": round(float(values.min() / first.min()), 2),
            "median_ratio": round(float(np.median(values) / np.median(first)), 2),
        }
        for name, values in took.items()
    }


def print_table(took: dict[str, NDArray[np.float64]]) -> None:
    print(f"{'':36}{'min us':>10}{'median us':>12}{'ratio':>16}")
    for name, of in figures(took).items():
        ratio = f"{of['min_ratio']:.1f} / {of['median_ratio']:.1f}"
        print(f"{name:36}{of['min_us']:10.1f}{of['median_us']:12.1f}{ratio:>16}")


if __name__ == "__main__":
    sys.exit(main())

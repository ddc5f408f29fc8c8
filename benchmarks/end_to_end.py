"""A photo in memory to boxes: edgecv on simd, and the same model as one runs it today, in one process.

    EDGECV_MODELS=~/models python benchmarks/end_to_end.py PHOTO [PHOTO ...] [--threads 1,2] [--pin 0,1]

- usual: what the models' own samples do: OpenCV and NumPy before, ONNX Runtime, NumPy after, OpenCV's NMS.
- ultralytics-style: the chain of that library's predictor for ONNX files: its letterbox with its own copies,
  ONNX Runtime, and its non_max_suppression, written with NumPy in place of torch.

Both scale, pad and normalize as the model's card says, or they would not find what it can. All take turns of
a few frames, and rest between. Before that, all have to find the same boxes in every photo: each box that is
0.02 over the threshold has a partner of the same class, with an IoU of at least 0.95 and a confidence within
0.02. OpenCV scales with other roundings than edgecv, so the boxes are not the same bit for bit. Writes a
table, and benchmarks/results/end_to_end.json. Ends with 1 where the boxes differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recording import record

import edgecv
from edgecv import api, bench, machine
from edgecv.bench.statistics import summarize
from edgecv.bench.worker import come_to_rest, pin

Array = NDArray[Any]
# xyxy float32 (n, 4) in pixels of the photo, confidence (n,), class_id (n,).
Found = tuple[Array, Array, Array]
Contender = Callable[[Array], Found]

MODELS = ("yolox-nano-416", "nanodet-m-416")
EDGECV, USUAL, ULTRALYTICS = "edgecv", "usual", "ultralytics-style"
STRIDES = (8, 16, 32)
MOST = 300
MARGIN, LEAST_IOU, CONFIDENCE_GAP = 0.02, 0.95, 0.02
TURN, SETTLE = 10, 2


@dataclass(frozen=True)
class Recipe:
    """What one reads off a model's sample code. size: of its input, a square."""

    size: int
    confidence: float
    iou: float
    mean: Array | None
    std: Array | None
    is_letterbox: bool


def recipe_of(card: Any) -> Recipe:
    """The card's, in the terms of the samples."""
    blob = card.image_input
    is_plain = not any(blob.mean) and all(each == 1 for each in blob.std)
    return Recipe(
        size=blob.size_wh[0],
        confidence=card.thresholds.conf,
        iou=card.thresholds.iou,
        mean=None if is_plain else np.array(blob.mean, np.float32),
        std=None if is_plain else np.array(blob.std, np.float32),
        is_letterbox=blob.resize == "letterbox",
    )


def cells(size: int) -> tuple[Array, Array]:
    """Places (n, 2) and strides (n, 1) of all cells."""
    places, strides = [], []
    for stride in STRIDES:
        n = size // stride
        xs, ys = np.meshgrid(np.arange(n), np.arange(n))
        places.append(np.stack([xs, ys], -1).reshape(-1, 2))
        strides.append(np.full((n * n, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


def yolox_rows(outputs: list[Array], places: Array, strides: Array) -> tuple[Array, Array]:
    """cxcywh (n, 4) in blob pixels and scores (n, classes) of all cells, as YOLOX's demo decodes them."""
    rows = outputs[0][0]
    center = (rows[:, :2] + places) * strides
    size = np.exp(rows[:, 2:4]) * strides
    return np.concatenate([center, size], 1), rows[:, 4:5] * rows[:, 5:]


def nanodet_rows(outputs: list[Array], places: Array, strides: Array) -> tuple[Array, Array]:
    """The same of NanoDet, as its OpenCV sample decodes them: all cells, a softmax over the bins."""
    scores = np.concatenate([y.reshape(-1, y.shape[-1]) for y in outputs if y.shape[-1] != 32])
    bins = np.concatenate([y.reshape(-1, 4, 8) for y in outputs if y.shape[-1] == 32])
    weights = np.exp(bins - bins.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    distance = (weights @ np.arange(8, dtype=np.float32)) * strides
    center = (places + 0.5) * strides
    low, high = center - distance[:, :2], center + distance[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], 1), scores


ROWS = {"yolox": yolox_rows, "nanodet": nanodet_rows}


class Chain:
    """The parts that both chains of today share: ONNX Runtime and the head's decoding of all cells."""

    def __init__(self, model: str, threads: int) -> None:
        import onnxruntime as ort

        loaded = api.resolve(model)
        (network,) = loaded.networks.values()
        given = ort.SessionOptions()
        given.intra_op_num_threads = threads
        self.session = ort.InferenceSession(network.data, given, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.recipe = recipe_of(loaded.card)
        self.rows = ROWS[loaded.card.head.type]
        self.places, self.strides = cells(self.recipe.size)

    def predict(self, blob: Array) -> tuple[Array, Array]:
        """cxcywh and scores of all cells."""
        return self.rows(self.session.run(None, {self.name: blob}), self.places, self.strides)


def usual(model: str, threads: int) -> Contender:
    """As the models' samples do it."""
    chain = Chain(model, threads)
    recipe, size = chain.recipe, chain.recipe.size

    def detect(photo: Array) -> Found:
        height, width = photo.shape[:2]
        if recipe.is_letterbox:
            ratio = min(size / height, size / width)
            scale = np.array([ratio, ratio] * 2, np.float32)
            resized = cv2.resize(photo, (int(width * ratio), int(height * ratio)))
            padded = np.full((size, size, 3), 114, np.uint8)
            padded[: resized.shape[0], : resized.shape[1]] = resized
        else:
            scale = np.array([size / width, size / height] * 2, np.float32)
            padded = cv2.resize(photo, (size, size))
        image = padded.astype(np.float32)
        if recipe.mean is not None:
            image = (image - recipe.mean) / recipe.std
        blob = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        boxes, scores = chain.predict(blob)
        class_id = scores.argmax(1)
        confidence = scores.max(1)
        mask = confidence > recipe.confidence
        boxes, confidence, class_id = boxes[mask], confidence[mask], class_id[mask]
        if not len(boxes):
            return boxes, confidence, class_id
        suppress: Any = cv2.dnn.NMSBoxesBatched  # takes arrays too, which its type stub does not know
        corner = boxes[:, :2] - boxes[:, 2:] / 2
        xywh = np.concatenate([corner, boxes[:, 2:]], 1)
        keep = suppress(xywh, confidence, class_id.astype(np.int32), recipe.confidence, recipe.iou)
        xyxy = np.concatenate([corner, corner + boxes[:, 2:]], 1)[keep] / scale
        xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, width)
        xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, height)
        return xyxy, confidence[keep], class_id[keep]

    return detect


def ultralytics_style(model: str, threads: int) -> Contender:
    """As a predictor does it that serves every model: lists of images, steps that each make a new array."""
    chain = Chain(model, threads)
    recipe, size = chain.recipe, chain.recipe.size

    def letterbox(photo: Array) -> tuple[Array, Array]:
        height, width = photo.shape[:2]
        ratio = min(size / height, size / width)
        new_wh = (int(width * ratio), int(height * ratio)) if recipe.is_letterbox else (size, size)
        scale = np.array([ratio, ratio] if recipe.is_letterbox else [size / width, size / height], np.float32)
        image = cv2.resize(photo, new_wh, interpolation=cv2.INTER_LINEAR)
        bottom, right = size - new_wh[1], size - new_wh[0]
        gray = (114, 114, 114)
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=gray)
        return image, np.tile(scale, 2)

    def detect(photo: Array) -> Found:
        image, scale = letterbox(photo)
        stacked = np.ascontiguousarray(np.stack([image]).transpose(0, 3, 1, 2))
        blob = stacked.astype(np.float32)
        if recipe.mean is not None and recipe.std is not None:
            blob = (blob - recipe.mean[:, None, None]) / recipe.std[:, None, None]
        boxes, scores = chain.predict(blob)
        prediction = np.concatenate([boxes, scores], 1)
        prediction = prediction[prediction[:, 4:].max(1) > recipe.confidence]
        xyxy = prediction[:, :4].copy()
        xyxy[:, :2] -= prediction[:, 2:4] / 2
        xyxy[:, 2:] = xyxy[:, :2] + prediction[:, 2:4]
        class_id = prediction[:, 4:].argmax(1)
        confidence = prediction[:, 4:].max(1)
        order = confidence.argsort()[::-1]
        xyxy, confidence, class_id = xyxy[order], confidence[order], class_id[order]
        # Boxes of each class are moved to a place of their own, so that one NMS serves all.
        keep = greedy_nms(xyxy + class_id[:, None] * np.float32(7680), recipe.iou)[:MOST]
        xyxy = xyxy[keep] / scale
        xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, photo.shape[1])
        xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, photo.shape[0])
        return xyxy, confidence[keep], class_id[keep]

    return detect


def greedy_nms(xyxy: Array, over: float) -> list[int]:
    """Indices that are kept of boxes that are sorted, best first."""
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    left, keep = np.arange(len(xyxy)), []
    while len(left):
        first, left = left[0], left[1:]
        keep.append(int(first))
        low = np.maximum(xyxy[first, :2], xyxy[left, :2])
        high = np.minimum(xyxy[first, 2:], xyxy[left, 2:])
        shared = (high - low).clip(0).prod(1)
        left = left[shared / (area[first] + area[left] - shared) <= over]
    return keep


def own(model: str, threads: int) -> Contender:
    """edgecv, one call."""
    detector = edgecv.load(model, backend="simd", threads=threads)

    def detect(photo: Array) -> Found:
        found = detector(photo)
        return found.xyxy, found.confidence, found.class_id

    return detect


CONTENDERS = {EDGECV: own, USUAL: usual, ULTRALYTICS: ultralytics_style}


def unmatched(found: Found, expected: Found, threshold: float) -> int:
    """Boxes of either that are sure enough, and that the other does not have."""
    return sum(
        not has_partner(a, i, b)
        for a, b in ((found, expected), (expected, found))
        for i in range(len(a[0]))
        if a[1][i] > threshold + MARGIN
    )


def has_partner(a: Found, i: int, b: Found) -> bool:
    """Whether b has box i of a."""
    box = a[0][i]
    shared = (np.minimum(box[2:], b[0][:, 2:]) - np.maximum(box[:2], b[0][:, :2])).clip(0).prod(1)
    union = (box[2:] - box[:2]).prod() + (b[0][:, 2:] - b[0][:, :2]).prod(1) - shared
    is_near = (shared >= LEAST_IOU * union) & (np.abs(b[1] - a[1][i]) <= CONFIDENCE_GAP)
    return bool((is_near & (b[2] == a[2][i])).any())


def measure(model: str, threads: int, photos: list[Array], args: argparse.Namespace) -> dict[str, Any]:
    """All ways of one model: their boxes, then their times."""
    cv2.setNumThreads(threads)
    ways = {name: make(model, threads) for name, make in CONTENDERS.items()}
    threshold = recipe_of(api.resolve(model).card).confidence
    expected = [ways[EDGECV](photo) for photo in photos]
    differences = {
        name: sum(unmatched(way(p), e, threshold) for p, e in zip(photos, expected, strict=True))
        for name, way in ways.items()
    }
    ms: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    while len(ms[EDGECV]) < args.frames:
        for name in names:
            for i in range(SETTLE + TURN):
                photo = photos[(len(ms[name]) + i) % len(photos)]
                before = time.perf_counter_ns()
                ways[name](photo)
                if i >= SETTLE:
                    ms[name].append((time.perf_counter_ns() - before) / 1e6)
            come_to_rest()
        names.append(names.pop(0))
    found = {name: summarize(times) for name, times in ms.items()}
    best = found[EDGECV]
    return {
        "model": model,
        "threads": threads,
        "boxes": sum(len(each[0]) for each in expected),
        "results": [
            {
                "way": name,
                "n": each.n,
                "min_ms": each.min,
                "p50_ms": each.p50,
                "ratio_min": each.min / best.min,
                "ratio_p50": each.p50 / best.p50,
                "boxes_that_differ": differences[name],
            }
            for name, each in found.items()
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A photo in memory to boxes, against today's chains.")
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--threads", type=lambda text: tuple(map(int, text.split(","))), default=(1, 2))
    parser.add_argument("--frames", type=int, default=300, help="samples of each (default: 300)")
    parser.add_argument("--pin", type=bench.parse_cpus, metavar="CPUS", help="processors to stay on")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/end_to_end.json)")
    args = parser.parse_args()
    photos = [cv2.imread(path) for path in args.photos]
    if unread := [path for path, photo in zip(args.photos, photos, strict=True) if photo is None]:
        parser.error(f"cannot read {', '.join(unread)}")
    print(machine.describe(machine.identity()))
    print(f"{'model':18}{'threads':>8} {'way':20}{'min ms':>9}{'p50 ms':>9}{'ratio':>7}{'p50':>6}  boxes")
    models = []
    for model in MODELS:
        for threads in args.threads:
            if args.pin is not None:
                pin(args.pin[:threads])
            models.append(measure(model, threads, photos, args))
            for row in models[-1]["results"]:
                wrong = row["boxes_that_differ"]
                print(
                    f"{model:18}{threads:>8} {row['way']:20}{row['min_ms']:9.2f}{row['p50_ms']:9.2f}"
                    f"{row['ratio_min']:7.2f}{row['ratio_p50']:6.2f}  "
                    + (f"{wrong} differ" if wrong else f"{models[-1]['boxes']}, the same")
                )
    sizes = [[photo.shape[1], photo.shape[0]] for photo in photos if photo is not None]
    settings = {"frames": args.frames, "pin": args.pin, "photo_sizes_wh": sizes}
    print(f"written: {record('end_to_end', {'settings': settings, 'models': models}, args.out)}")
    return 1 if any(row["boxes_that_differ"] for found in models for row in found["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())

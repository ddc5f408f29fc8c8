"""A camera frame to a float32 RGB blob: edgecv against OpenCV, and against memory itself, on one core.

    python benchmarks/preprocess.py

Letterbox by linear interpolation, padding 114, value / 255. "floor" reads every byte of the frame and
stores every byte of the blob, with the widest vectors of each ISA, and does nothing else: the ratio of
each contender is to the best floor of its case. Contenders take turns, each with a few untimed and a few
timed calls, so that a slow phase of the machine hits all of them and none finds the caches as another
left them. Before that all blobs are compared: edgecv's must be the same bit for bit on every ISA, and
within one level of 255 of OpenCV's. Writes a table, and benchmarks/results/preprocess.json.
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

from edgecv import _image, _isa, machine
from edgecv.image import BlobSpec, Preprocessor

CASES = (
    ((1280, 720), (640, 640)),
    ((1920, 1080), (640, 640)),
    ((640, 480), (416, 416)),
    ((320, 240), (640, 480)),
)
PADDING = 114
# The caches have settled after four calls.
UNTIMED_CALLS, TIMED_CALLS = 4, 3
LEVEL = 1 / 255

Frame = NDArray[np.uint8]
Blob = NDArray[np.float32]


@dataclass(frozen=True)
class Contender:
    """prepare: before each turn, untimed. run: returns what it wrote."""

    name: str
    run: Callable[[], Blob]
    prepare: Callable[[], None] = lambda: None


def edgecv_contenders(frame: Any, blob_wh: tuple[int, int], name: str = "edgecv") -> list[Contender]:
    """Preprocessor on every usable ISA, into the same blob each time. frame: an array, or a Frame in YUV."""
    spec = BlobSpec(blob_wh, "rgb", pad_value=PADDING, std=(255.0,))
    preprocess = Preprocessor(spec)
    out = np.zeros((3, blob_wh[1], blob_wh[0]), np.float32)

    def run() -> Blob:
        preprocess(frame, out)
        return out

    return [
        Contender(f"{name} {isa}", run, lambda isa=isa: _image.use_isa(isa))  # type: ignore[misc]
        for isa in reversed(_isa.usable())
    ]


def floor_contenders(frame: Frame, blob_wh: tuple[int, int]) -> list[Contender]:
    out = np.zeros((3, blob_wh[1], blob_wh[0]), np.float32)

    def run() -> Blob:
        _image.memory_floor(frame, out)
        return out

    return [
        Contender(f"floor {isa}", run, lambda isa=isa: _image.use_isa(isa))  # type: ignore[misc]
        for isa in reversed(_isa.usable())
    ]


def opencv_contenders(frame: Frame, blob_wh: tuple[int, int]) -> list[Contender]:
    import cv2

    height, width = frame.shape[:2]
    ratio = min(blob_wh[0] / width, blob_wh[1] / height)
    size = (round(width * ratio), round(height * ratio))
    left, top = (blob_wh[0] - size[0]) // 2, (blob_wh[1] - size[1]) // 2
    right, bottom = blob_wh[0] - size[0] - left, blob_wh[1] - size[1] - top

    def usual() -> Blob:
        image = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
        planes = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1), dtype=np.float32)
        blob: Blob = planes / np.float32(255)
        return blob

    canvas = np.full((blob_wh[1], blob_wh[0], 3), PADDING, np.uint8)
    out = np.zeros((3, blob_wh[1], blob_wh[0]), np.float32)
    inside = canvas[top : top + size[1], left : left + size[0]]
    scale = np.float32(LEVEL)

    def tuned() -> Blob:
        inside[:] = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        for c in range(3):
            np.multiply(canvas[..., 2 - c], scale, out=out[c])
        return out

    parameters = cv2.dnn.Image2BlobParams()
    parameters.scalefactor = (LEVEL,) * 4
    parameters.size = blob_wh
    parameters.swapRB = True
    parameters.paddingmode = cv2.dnn.DNN_PMODE_LETTERBOX
    parameters.borderValue = (PADDING,) * 4

    def dnn() -> Blob:
        blob: Blob = cv2.dnn.blobFromImageWithParams(frame, parameters)[0]
        return blob

    return [
        Contender("resize + copyMakeBorder + transpose + /255", usual),
        Contender("the same, tuned, without allocation", tuned),
        Contender("blobFromImageWithParams", dnn),
    ]


def check(ours: list[Contender], others: list[Contender]) -> dict[str, float]:
    """Largest difference of each of OpenCV's blobs to edgecv's, in levels of 255."""
    blobs = []
    for contender in ours:
        contender.prepare()
        blobs.append(contender.run().copy())
    if any(blob.tobytes() != blobs[0].tobytes() for blob in blobs):
        sys.exit("preprocess: the ISAs differ in their bits")
    differences = {}
    for contender in others:
        levels = float(np.abs(contender.run() - blobs[0]).max()) / LEVEL
        differences[contender.name] = round(levels, 3)
        if levels > 1.001:
            sys.exit(f"preprocess: {contender.name} differs by {levels:.2f} levels")
    return differences


def measure(contenders: list[Contender], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds of a call, one entry for each round, by contender."""
    took: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds + rounds // 10):
        for contender in contenders:
            contender.prepare()
            for _ in range(UNTIMED_CALLS):
                contender.run()
            started = time.perf_counter_ns()
            for _ in range(TIMED_CALLS):
                contender.run()
            elapsed = time.perf_counter_ns() - started
            if turn >= rounds // 10:
                took[contender.name].append(elapsed / TIMED_CALLS / 1e3)
    return {name: np.array(values) for name, values in took.items()}


def figures(took: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Minimum and median, microseconds, and both over the best floor's."""
    floors = [values for name, values in took.items() if name.startswith("floor")]
    floor_min = min(float(values.min()) for values in floors)
    floor_median = min(float(np.median(values)) for values in floors)
    return {
        name: {
            "min_us": round(float(values.min()), 1),
            "median_us": round(float(np.median(values)), 1),
            "min_over_floor": round(float(values.min()) / floor_min, 2),
            "median_over_floor": round(float(np.median(values)) / floor_median, 2),
        }
        for name, values in took.items()
    }


def print_table(rows: dict[str, dict[str, float]]) -> None:
    print(f"{'':44}{'min us':>10}{'median us':>12}{'x floor':>16}")
    for name, of in rows.items():
        ratio = f"{of['min_over_floor']:.2f} / {of['median_over_floor']:.2f}"
        print(f"{name:44}{of['min_us']:10.1f}{of['median_us']:12.1f}{ratio:>16}")


def begin(name: str, description: str) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options, and the report to fill, of the benchmark of this name; the process is on one core then."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=100, help="turns of each contender (default: 100)")
    parser.add_argument("--core", type=int, default=None, help="processor to run on (default: the last one)")
    parser.add_argument("--out", type=Path, help=f"JSON file (default: results/{name}.json)")
    args = parser.parse_args()

    try:
        import cv2
    except ImportError:
        sys.exit(f"{name}: cv2 is not installed; install it with: pip install 'edgecv[opencv]'")
    core = max(os.sched_getaffinity(0)) if args.core is None else args.core
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)

    print(machine.describe(machine.identity()))
    report: dict[str, Any] = {
        "core": core,
        "rounds": args.rounds,
        "calls_of_a_round": TIMED_CALLS,
        "cases": [],
    }
    return args, report


def main() -> int:
    args, report = begin("preprocess", "Frame to blob: edgecv against OpenCV and memory.")
    for frame_wh, blob_wh in CASES:
        frame = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
        theirs, ours = opencv_contenders(frame, blob_wh), edgecv_contenders(frame, blob_wh)
        differences = check(ours, theirs)
        # After OpenCV, whose vector code may leave registers in a state that slows SSE, come the ISAs
        # that clear it, widest first.
        rows = figures(measure([*theirs, *ours, *floor_contenders(frame, blob_wh)], args.rounds))
        report["cases"].append(
            {
                "frame_wh": frame_wh,
                "blob_wh": blob_wh,
                "bytes_read": frame.nbytes,
                "bytes_written": 3 * 4 * blob_wh[0] * blob_wh[1],
                "levels_from_opencv": differences,
                "contenders": rows,
            }
        )
        print(f"\n{frame_wh[0]} x {frame_wh[1]} to {blob_wh[0]} x {blob_wh[1]}")
        print_table(rows)

    print(f"\nwritten: {record('preprocess', report, args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

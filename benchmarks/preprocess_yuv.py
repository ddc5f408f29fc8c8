"""A camera's YUV frame to a float32 RGB blob: read as it is, and converted first, on one core.

    python benchmarks/preprocess_yuv.py

The cases and rules of preprocess.py: letterbox, linear, padding 114, value / 255, contenders in turns.
"edgecv nv12" reads the frame where it lies. "edgecv on BGR" is the same picture that somebody has converted
already, as a measure for it. "cvtColor, then …" is what one would do without: the conversion by OpenCV into a
buffer that is kept, and preprocess.py's contenders behind it. "floor" reads every byte of the YUV frame and
stores every byte of the blob; "BGR floor" reads the bytes of BGR. The ratio of each is to the best floor of
YUV. Before that the blobs are compared: edgecv's on YUV and on its own BGR must be the same bit for bit on
every ISA. Writes a table, and benchmarks/results/preprocess_yuv.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from preprocess import (
    PADDING,
    TIMED_CALLS,
    Blob,
    Contender,
    figures,
    floor_contenders,
    measure,
    opencv_contenders,
    print_table,
)
from recording import record

from edgecv import _image, _isa, machine
from edgecv.frame import Frame
from edgecv.image import BlobSpec, Preprocessor

CASES = (
    ((1280, 720), (640, 640)),
    ((1920, 1080), (640, 640)),
    ((640, 480), (416, 416)),
)
# Name of the format -> OpenCV's name for the conversion.
FORMATS = {"nv12": "COLOR_YUV2BGR_NV12", "i420": "COLOR_YUV2BGR_I420", "yuyv": "COLOR_YUV2BGR_YUY2"}


def edgecv_contenders(name: str, frame: Any, blob_wh: tuple[int, int]) -> list[Contender]:
    """Preprocessor on every usable ISA, into the same blob each time."""
    preprocess = Preprocessor(BlobSpec(blob_wh, "rgb", pad_value=PADDING, std=(255.0,)))
    out = np.zeros((3, blob_wh[1], blob_wh[0]), np.float32)

    def run() -> Blob:
        preprocess(frame, out)
        return out

    return [
        Contender(f"edgecv {name} {isa}", run, lambda isa=isa: _image.use_isa(isa))  # type: ignore[misc]
        for isa in reversed(_isa.usable())
    ]


def converting_contenders(data: Any, conversion: int, bgr: Any, blob_wh: tuple[int, int]) -> list[Contender]:
    """cvtColor into `bgr`, then each of the others on that."""
    import cv2

    def behind(run: Callable[[], Blob]) -> Callable[[], Blob]:
        def both() -> Blob:
            cv2.cvtColor(data, conversion, dst=bgr)
            return run()

        return both

    widest = edgecv_contenders("on BGR", bgr, blob_wh)[0]
    others = [*opencv_contenders(bgr, blob_wh), widest]
    return [Contender(f"cvtColor, then {one.name}", behind(one.run), one.prepare) for one in others]


def check(contenders: list[Contender]) -> None:
    """Exit unless all blobs are the same."""
    blobs = []
    for contender in contenders:
        contender.prepare()
        blobs.append(contender.run().tobytes())
    if any(blob != blobs[0] for blob in blobs):
        sys.exit("preprocess_yuv: the blobs of YUV and of its pixels, or of the ISAs, differ")


def main() -> int:
    parser = argparse.ArgumentParser(description="YUV frame to blob: edgecv against OpenCV and memory.")
    parser.add_argument("--rounds", type=int, default=100, help="turns of each contender (default: 100)")
    parser.add_argument("--core", type=int, default=None, help="processor to run on (default: the last one)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/preprocess_yuv.json)")
    args = parser.parse_args()

    try:
        import cv2
    except ImportError:
        sys.exit("preprocess_yuv: cv2 is not installed; install it with: pip install 'edgecv[opencv]'")
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
    for frame_wh, blob_wh in CASES:
        for name, conversion in FORMATS.items():
            width, height = frame_wh
            shape = (height, width, 2) if name == "yuyv" else (height * 3 // 2, width)
            data = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            frame = Frame(data, name)
            bgr = frame.bgr()
            on_yuv = edgecv_contenders(name, frame, blob_wh)
            on_bgr = edgecv_contenders("on BGR", bgr, blob_wh)
            check([*on_yuv, *on_bgr])
            converting = converting_contenders(data, getattr(cv2, conversion), bgr.copy(), blob_wh)
            floors = floor_contenders(data, blob_wh)
            bgr_floor = floor_contenders(bgr, blob_wh)[0]
            others = [Contender(f"BGR {bgr_floor.name}", bgr_floor.run, bgr_floor.prepare)]
            rows = figures(measure([*converting, *on_yuv, *on_bgr, *floors, *others], args.rounds))
            report["cases"].append(
                {
                    "format": name,
                    "frame_wh": frame_wh,
                    "blob_wh": blob_wh,
                    "bytes_read": data.nbytes,
                    "bytes_read_of_bgr": bgr.nbytes,
                    "bytes_written": 3 * 4 * blob_wh[0] * blob_wh[1],
                    "contenders": rows,
                }
            )
            print(f"\n{name}, {width} x {height} to {blob_wh[0]} x {blob_wh[1]}")
            print_table(rows)

    print(f"\nwritten: {record('preprocess_yuv', report, args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

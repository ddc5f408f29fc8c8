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

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from preprocess import (
    Blob,
    Contender,
    begin,
    edgecv_contenders,
    figures,
    floor_contenders,
    measure,
    opencv_contenders,
    print_table,
)
from recording import record

from edgecv.frame import Frame

CASES = (
    ((1280, 720), (640, 640)),
    ((1920, 1080), (640, 640)),
    ((640, 480), (416, 416)),
)
# Name of the format -> OpenCV's name for the conversion.
FORMATS = {"nv12": "COLOR_YUV2BGR_NV12", "i420": "COLOR_YUV2BGR_I420", "yuyv": "COLOR_YUV2BGR_YUY2"}


def converting_contenders(data: Any, conversion: int, bgr: Any, blob_wh: tuple[int, int]) -> list[Contender]:
    """cvtColor into `bgr`, then each of the others on that."""
    import cv2

    def behind(run: Callable[[], Blob]) -> Callable[[], Blob]:
        def both() -> Blob:
            cv2.cvtColor(data, conversion, dst=bgr)
            return run()

        return both

    widest = edgecv_contenders(bgr, blob_wh, "edgecv on BGR")[0]
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
    args, report = begin("preprocess_yuv", "YUV frame to blob: edgecv against OpenCV and memory.")
    import cv2

    for frame_wh, blob_wh in CASES:
        for name, conversion in FORMATS.items():
            width, height = frame_wh
            shape = (height, width, 2) if name == "yuyv" else (height * 3 // 2, width)
            data = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            frame = Frame(data, name)
            bgr = frame.bgr()
            on_yuv = edgecv_contenders(frame, blob_wh, f"edgecv {name}")
            on_bgr = edgecv_contenders(bgr, blob_wh, "edgecv on BGR")
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

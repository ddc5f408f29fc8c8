"""AP of the zoo's COCO detectors on every usable backend, beside a reference.

    EDGECV_MODELS=~/models python benchmarks/accuracy.py DATASET [--reference accuracy.json]
        [--also net.cfg] [--also net.cfg@0.2]

DATASET is what `edgecv eval` takes. The reference is JSON: {"models": {"<file>": {"AP": …}}}, where the
card's file has that name, or one of --also without its suffix. @ states another least confidence than that
of `edgecv eval`. Writes a table, and benchmarks/results/accuracy.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recording import record

import edgecv
from edgecv import backends, evaluate, zoo

MODELS = ("yolox-nano-416", "nanodet-m-416", "fastestdet-352")


def reference_of(file: str, path: Path | None) -> float | None:
    if path is None:
        return None
    models = json.loads(path.read_text())["models"]
    return next((float(m["AP"]) for key, m in models.items() if Path(key).name == file), None)


def main() -> int:
    parser = argparse.ArgumentParser(description="AP of the zoo's COCO detectors.")
    parser.add_argument("dataset")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--also", action="append", default=[], metavar="FILE[@CONF]", help="a model file")
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    dataset = evaluate.open_dataset(args.dataset)
    rows: list[dict[str, Any]] = []
    models = [(name, zoo.find(name).card.files[0].path, evaluate.SETTINGS) for name in MODELS]
    for also in args.also:
        path, _, conf = also.partition("@")
        options = {**evaluate.SETTINGS, **({"conf": float(conf)} if conf else {})}
        models.append((path, Path(path).stem, options))
    for name, file, options in models:
        expected = reference_of(file, args.reference)
        for backend in backends.usable():
            with edgecv.load(name, backend=backend, **options) as detector:
                report = evaluate.evaluate(detector, dataset)
            assert report.AP is not None
            assert report.AP50 is not None
            rows.append(
                {
                    "model": Path(name).name,
                    "backend": backend,
                    "conf": options["conf"],
                    "AP": round(report.AP, 4),
                    "AP50": round(report.AP50, 4),
                    "reference_AP": expected,
                    "difference": None if expected is None else round(report.AP - expected, 4),
                    "images": report.images,
                    "failures": len(report.failures),
                }
            )
            print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ")
    path = record("accuracy", {"thresholds": evaluate.SETTINGS, "results": rows}, args.out)
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

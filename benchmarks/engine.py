"""The simd engine against ONNX Runtime and OpenCV: latency of the network, and that its numbers are right.

    EDGECV_MODELS=~/models python benchmarks/engine.py [MODEL ...] [--seconds 20] [--threads 1,2] [--pin 0,1]

MODEL: cards or files, by default those of the zoo that are here. Each is measured by `edgecv.bench`: a
process for each backend and number of threads, which take turns. Times are of the stage inference. The error
is the largest max|a - b| / max|b| of any output, b that of ONNX Runtime, on the frame that is measured.
Writes a table, and benchmarks/results/engine.json. Ends with 1 where something failed or an error is above
1e-3.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recording import record

import edgecv
from edgecv import bench, machine, zoo
from edgecv.errors import EdgeCVError
from edgecv.media.synthetic import synthetic_frame

ENGINE, REFERENCE = "simd", "onnxruntime"
BACKENDS = (ENGINE, REFERENCE, "opencv")
TOLERANCE = 1e-3


def models_here() -> list[str]:
    """The cards of the zoo whose files are here; nothing is downloaded."""
    found = []
    for name, entry in sorted(zoo.entries().items()):
        with contextlib.suppress(EdgeCVError):
            zoo.files_of(entry)
            found.append(name)
    return found


def error_of(model: str) -> float:
    """The largest relative error of an output of the engine."""
    outputs = {}
    frame = synthetic_frame(*bench.BenchConfig(models=(model,)).frame_wh)
    for backend in (ENGINE, REFERENCE):
        with edgecv.load(model, backend=backend, threads=1, warmup=False) as detector:
            outputs[backend] = detector.inspect(frame).outputs
    expected = outputs[REFERENCE]
    gaps = [
        float(np.abs(outputs[ENGINE][name] - b).max() / max(np.abs(b).max(), 1e-30))
        for name, b in expected.items()
    ]
    return max(gaps)


def measure(model: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model."""
    report = bench.run(
        bench.BenchConfig(
            models=(model,),
            twin=False,
            backends=BACKENDS,
            threads=args.threads,
            frames=args.frames,
            seconds=args.seconds,
            warmup_seconds=min(args.seconds, 10.0),
            pin=args.pin,
        )
    )
    rows: list[dict[str, Any]] = []
    for result in report.results:
        row: dict[str, Any] = {"backend": result.backend, "threads": result.threads}
        if result.latency_ms is None:
            row["error"] = result.error
        else:
            inference = result.latency_ms["inference"]
            row |= {
                "n": inference.n,
                "min_ms": inference.min,
                "p50_ms": inference.p50,
                "p99_ms": inference.p99,
            }
            row |= {"load_ms": result.load_ms, "peak_rss_bytes": result.peak_rss_bytes}
        rows.append(row)
    return {"model": Path(model).name, "error": error_of(model), "results": rows}


def print_rows(found: dict[str, Any]) -> None:
    """A line for each number of threads: minimum / median of each backend, and its ratio to the engine's."""
    times = {(row["backend"], row["threads"]): row for row in found["results"]}
    for threads in sorted({row["threads"] for row in found["results"]}):
        print(f"{found['model']:20}{threads:>3}", end="")
        own = times[ENGINE, threads]
        for backend in BACKENDS:
            row = times[backend, threads]
            if "error" in row:
                print(f"{'failed':>17}" + ("" if backend == ENGINE else f"{'':>12}"), end="")
                continue
            print(f"{row['min_ms']:8.2f} /{row['p50_ms']:7.2f}", end="")
            if backend != ENGINE:
                ratios = [row[key] / own[key] if key in own else float("nan") for key in ("min_ms", "p50_ms")]
                print(f"{ratios[0]:6.2f}/{ratios[1]:5.2f}", end="")
        print(f"{found['error']:10.1e}")
    for row in found["results"]:
        if "error" in row:
            print(f"  {row['backend']}, threads {row['threads']}: {row['error']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="The simd engine against ONNX Runtime and OpenCV.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--threads", type=lambda text: tuple(map(int, text.split(","))), default=(1, 2))
    parser.add_argument("--frames", type=int, default=300, help="samples of each (default: 300)")
    parser.add_argument("--seconds", type=float, default=20.0, help="longest measuring time of each")
    parser.add_argument("--pin", type=bench.parse_cpus, metavar="CPUS", help="processors to stay on")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/engine.json)")
    args = parser.parse_args()
    print(machine.describe(machine.identity()))
    print("ms: minimum / median; behind it, times that of simd")
    heads = "".join(f"{b:>17}" + ("" if b == ENGINE else f"{'ratio':>12}") for b in BACKENDS)
    print(f"{'model':20}{'n':>3}{heads}{'error':>10}")
    models = []
    for model in args.models or models_here():
        models.append(measure(model, args))
        print_rows(models[-1])
    settings = {
        "frames": args.frames,
        "seconds": args.seconds,
        "pin": args.pin,
        "isa": os.environ.get("EDGECV_ISA"),
    }
    path = record("engine", {"settings": settings, "models": models}, args.out)
    print(f"written: {path}")
    is_good = all(
        found["error"] <= TOLERANCE and not any("error" in row for row in found["results"])
        for found in models
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

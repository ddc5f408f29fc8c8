"""What `import edgecv` costs over `import numpy`: fresh interpreters, in turns.

    python benchmarks/imports.py

Writes a table, and benchmarks/results/imports.json.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from recording import record

CONTENDERS = {
    "python": "pass",
    "numpy": "import numpy",
    "edgecv": "import numpy, edgecv",
    "edgecv.load": "import numpy, edgecv; edgecv.load",
}
HEAVY = ("onnx", "onnx_ir", "onnxruntime", "cv2")


def milliseconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - started) * 1e3


def heavy_after(code: str) -> list[str]:
    """Which of the heavy libraries a piece of code loads."""
    probe = f"{code}\nimport sys; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    return done.stdout.split()


def main() -> int:
    parser = argparse.ArgumentParser(description="What importing edgecv costs.")
    parser.add_argument("--rounds", type=int, default=20, help="interpreters of each (default: 20)")
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    took: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(args.rounds + 1):
        for name, code in CONTENDERS.items():
            elapsed = milliseconds(code)
            if turn:
                took[name].append(elapsed)
    figures = {
        name: {
            "min_ms": round(min(values), 1),
            "median_ms": round(statistics.median(values), 1),
            "over_numpy_min_ms": round(min(values) - min(took["numpy"]), 1),
            "over_numpy_median_ms": round(statistics.median(values) - statistics.median(took["numpy"]), 1),
            "loads": heavy_after(CONTENDERS[name]),
        }
        for name, values in took.items()
    }
    for name, of in figures.items():
        print(f"{name:12} min {of['min_ms']:7.1f} ms  median {of['median_ms']:7.1f} ms  loads {of['loads']}")
    path = record("imports", {"rounds": args.rounds, "imports": figures}, args.out)
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

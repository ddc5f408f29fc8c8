"""How long a start takes: from an ONNX file for the first time, for the second time, and from a plan.

    python benchmarks/second_start.py yolox-nano-416

Fresh interpreters, in turns, each with one thread: NumPy alone; the model with an empty cache, which compiles
it; the model once the cache has it; the plan that `edgecv compile --out` wrote of it. Each notes when it has
the boxes of a first picture, in milliseconds from the start of the process. Modules are compiled to bytecode
beforehand, as pip does.

Writes a table, and benchmarks/results/second_start.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from footprint import NUMPY, first_result
from recording import record

RUN = f"""{NUMPY}
import edgecv
detector = edgecv.load(model, backend="simd", threads=1, warmup=False)
detector(np.zeros((720, 1280, 3), np.uint8))"""
FIRST, SECOND, PLAN = "first start", "second start", "plan"


def figures(took: list[tuple[float, float]]) -> dict[str, float]:
    """Minimum and median of milliseconds and megabytes."""
    ms, mb = zip(*took, strict=True)
    return {
        "min_ms": round(min(ms), 1),
        "median_ms": round(statistics.median(ms), 1),
        "min_mb": round(min(mb), 1),
        "median_mb": round(statistics.median(mb), 1),
    }


def measure(model: str, rounds: int) -> dict[str, Any]:
    """Figures of each kind of start, and what the second one takes over the plan."""
    with tempfile.TemporaryDirectory() as folder:
        plan, cache = Path(folder) / "model.ecv", Path(folder) / "cache"
        # Hashes and plans lie apart: a first start is one without plans.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "EDGECV_CACHE": str(cache)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "edgecv", "compile", model, "--threads", "1", "--out", str(plan)]
        subprocess.run(command, check=True, capture_output=True, env=env)
        codes = {
            "numpy": NUMPY,
            FIRST: f"model = {model!r}\n{RUN}",
            SECOND: f"model = {model!r}\n{RUN}",
            PLAN: f"model = {str(plan)!r}\n{RUN}",
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in codes}
        for turn in range(rounds + 1):
            for name, code in codes.items():
                if name == FIRST:
                    shutil.rmtree(cache / "compiled", ignore_errors=True)
                found = first_result(sys.executable, code, env)
                if turn:
                    took[name].append(found)
    starts = {name: figures(each) for name, each in took.items()}
    over = {
        key: round(starts[SECOND][key] - starts[PLAN][key], 1)
        for key in ("min_ms", "median_ms", "min_mb", "median_mb")
    }
    return {"model": model, "rounds": rounds, "starts": starts, "second_over_plan": over}


def main() -> int:
    parser = argparse.ArgumentParser(description="The second start of a model against its plan.")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a card's name, or a network file")
    parser.add_argument("--rounds", type=int, default=30, help="interpreters of each (default: 30)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/second_start.json)")
    args = parser.parse_args()
    results = []
    for model in args.models:
        results.append(measure(model, args.rounds))
        for name, of in results[-1]["starts"].items():
            print(f"{model:20} {name:14} min {of['min_ms']:7.1f} median {of['median_ms']:7.1f} ms")
        over = results[-1]["second_over_plan"]
        print(f"{'':20} second over plan: {over['min_ms']:+.1f} / {over['median_ms']:+.1f} ms")
    print(f"written: {record('second_start', {'results': results}, args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

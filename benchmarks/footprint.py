"""What the first result costs: time and memory from interpreter start, over `import numpy` alone.

    edgecv compile fastestdet-352 --threads 1 --out fastestdet.ecv
    python benchmarks/footprint.py --plan fastestdet.ecv --onnx fastestdet.onnx

Fresh interpreters, in turns, each with one thread: NumPy alone; edgecv with the plan, a picture to boxes;
ONNX Runtime, OpenVINO and ncnn, those that are installed, with the network, a blob to raw outputs. Each notes
when it has its result: what a process needs to end is not counted. Modules are compiled to bytecode
beforehand, as pip does. Memory is the most that was resident, private and mapped.

Writes a table, and benchmarks/results/footprint.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import record

NUMPY = "import numpy as np"
# Of each, by the module that it needs: how the first result comes about.
CONTENDERS = {
    "numpy": NUMPY,
    "edgecv": f"""{NUMPY}
import edgecv
detector = edgecv.load(plan, threads=1, warmup=False)
detector(np.zeros((480, 640, 3), np.uint8))""",
    "onnxruntime": f"""{NUMPY}
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
session.run(None, {{entry.name: np.zeros(entry.shape, np.float32)}})""",
    "openvino": f"""{NUMPY}
import openvino
core = openvino.Core()
model = core.compile_model(onnx, "CPU", {{"INFERENCE_NUM_THREADS": 1}})
model(np.zeros(tuple(model.input(0).shape), np.float32))""",
    "ncnn": f"""{NUMPY}
import ncnn
net = ncnn.Net()
net.opt.num_threads = 1
net.load_param(param)
net.load_model(param.replace(".param", ".bin"))
extractor = net.create_extractor()
extractor.input(net.input_names()[0], ncnn.Mat(np.zeros(shape, np.float32)))
extractor.extract(net.output_names()[0])""",
}
# CLOCK_MONOTONIC is the same clock in every process.
REPORT = """
import time
at = time.monotonic_ns()
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(at, peak)
import os
os._exit(0)"""


def first_result(python: str, code: str, env: dict[str, str]) -> tuple[float, float]:
    """Milliseconds from the start of the process to its result, and megabytes at most resident."""
    started = time.monotonic_ns()
    done = subprocess.run([python, "-c", code + REPORT], check=True, capture_output=True, text=True, env=env)
    at, peak = done.stdout.split()[-2:]
    return (int(at) - started) / 1e6, int(peak) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description="What the first result costs over importing NumPy.")
    parser.add_argument("--plan", required=True, help="what `edgecv compile --out` wrote")
    parser.add_argument("--onnx", help="the same network, for the others")
    parser.add_argument("--ncnn", help="its .param, the .bin beside it")
    parser.add_argument("--shape", default="3,352,352", help="of ncnn's input (default: 3,352,352)")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the others")
    parser.add_argument("--rounds", type=int, default=30, help="interpreters of each (default: 30)")
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    shape = tuple(int(side) for side in args.shape.split(","))
    given = f"plan, onnx, param, shape = {args.plan!r}, {args.onnx!r}, {args.ncnn!r}, {shape!r}\n"
    names = [name for name in CONTENDERS if is_here(name, args)]
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as bytecode:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(args.rounds + 1):
            for name in names:
                figures = first_result(args.python, given + CONTENDERS[name], env)
                if turn:
                    took[name].append(figures)
    result = {}
    for name in names:
        result[name] = {}
        for k, unit in enumerate(("ms", "mb")):
            mine = [figures[k] for figures in took[name]]
            numpys = [figures[k] for figures in took["numpy"]]
            result[name] |= {
                f"min_{unit}": round(min(mine), 1),
                f"median_{unit}": round(statistics.median(mine), 1),
                f"over_numpy_min_{unit}": round(min(mine) - min(numpys), 1),
                f"over_numpy_median_{unit}": round(statistics.median(mine) - statistics.median(numpys), 1),
            }
        of = result[name]
        print(
            f"{name:12} min {of['min_ms']:7.1f} ms {of['min_mb']:6.1f} MB   over numpy: min "
            f"{of['over_numpy_min_ms']:+7.1f} ms {of['over_numpy_min_mb']:+6.1f} MB, median "
            f"{of['over_numpy_median_ms']:+7.1f} ms"
        )
    path = record("footprint", {"rounds": args.rounds, "first_result": result}, args.out)
    print(f"written: {path}")
    return 0


def is_here(name: str, args: argparse.Namespace) -> bool:
    """Whether a contender can take part."""
    if name in ("numpy", "edgecv"):
        return True
    file = args.ncnn if name == "ncnn" else args.onnx
    if file is None:
        return False
    if args.python == sys.executable:
        return importlib.util.find_spec(name) is not None
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([args.python, "-c", probe], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

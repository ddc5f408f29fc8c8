"""What it costs to import networks of Caffe and Darknet: time, and the most memory that it takes.

    python benchmarks/importers.py

The networks are made here, with random weights: GoogLeNet, ResNet-18, AlexNet, Tiny YOLO v3 and v4. Each
import runs in a fresh process, networks in turns, and then the bytes of the ONNX network are made, which a
backend takes. The libraries are loaded before, the files are in the system's cache. Memory is the peak of
the resident set over what it was before, over the size of the weights file; it is of the first import of a
process, which leaves some 13 MB of the libraries behind whatever the network. Linux. Writes a table, and
benchmarks/results/importers.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import record

from edgecv import importers, machine

ROOT = Path(__file__).parents[1]


def write_networks(folder: Path) -> dict[str, Path]:
    """The files, by the networks' names."""
    sys.path.insert(0, str(ROOT))
    from tests.importers.caffe import topologies
    from tests.importers.darknet import reference, structures

    caffe = {
        "GoogLeNet": topologies.googlenet,
        "ResNet-18": topologies.resnet18,
        "AlexNet": topologies.alexnet,
    }
    darknet = {"Tiny YOLO v3": structures.tiny_yolo_v3, "Tiny YOLO v4": structures.tiny_yolo_v4}
    paths = {name: make().write(folder, f"caffe{i}")[0] for i, (name, make) in enumerate(caffe.items())}
    for i, (name, make_cfg) in enumerate(darknet.items()):
        paths[name] = folder / f"darknet{i}.cfg"
        cfg = make_cfg()
        paths[name].write_text(cfg)
        paths[name].with_suffix(".weights").write_bytes(reference.random_weights(cfg))
    return paths


def resident(field: str) -> int:
    """Bytes: VmRSS, what is resident now; VmHWM, the most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def import_once(path: Path) -> dict[str, float]:
    """In this process, which has imported nothing yet."""
    import edgecv.importers.caffe
    import edgecv.importers.darknet  # noqa: F401

    files = importers.locate(path)
    for file in files.paths:
        file.read_bytes()
    # Resets VmHWM, see proc(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    started = time.perf_counter()
    imported = importers.import_model(files)
    read, import_peak = time.perf_counter(), resident("VmHWM")
    assert all(network.data for network in imported.networks.values())
    done, onnx_peak = time.perf_counter(), resident("VmHWM")
    return {
        "import_ms": (read - started) * 1e3,
        "onnx_ms": (done - started) * 1e3,
        "import_peak": import_peak - before,
        "onnx_peak": onnx_peak - before,
    }


def measure(paths: dict[str, Path], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Each in a process of its own, in turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, path in paths.items():
            command = [sys.executable, __file__, "--import", str(path)]
            child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(child.stdout))
    return found


def summary(path: Path, found: list[dict[str, float]]) -> dict[str, float]:
    weights = importers.locate(path).paths[1].stat().st_size
    figures: dict[str, float] = {"weights_mb": round(weights / 1e6, 2)}
    for step in ("import", "onnx"):
        times, peaks = ([one[f"{step}_{key}"] for one in found] for key in ("ms", "peak"))
        figures |= {
            f"{step}_min_ms": round(min(times), 1),
            f"{step}_median_ms": round(statistics.median(times), 1),
            f"{step}_min_peak_ratio": round(min(peaks) / weights, 2),
            f"{step}_median_peak_ratio": round(statistics.median(peaks) / weights, 2),
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="Time and memory of importing Caffe and Darknet networks.")
    parser.add_argument("--rounds", type=int, default=9, help="processes for each network (default: 9)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/importers.json)")
    parser.add_argument("--import", dest="path", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.path:
        print(json.dumps(import_once(args.path)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = write_networks(Path(folder))
        found = measure(paths, args.rounds)
        figures = {name: summary(path, found[name]) for name, path in paths.items()}
    print(machine.describe(machine.identity()))
    columns = ("import ms", "peak / file", "to ONNX ms", "peak / file")
    print(f"{'network':14}{'weights MB':>12}" + "".join(f"{column:>16}" for column in columns))
    for name, of in figures.items():
        print(f"{name:14}{of['weights_mb']:12.1f}", end="")
        for step in ("import", "onnx"):
            took = f"{of[f'{step}_min_ms']:.0f} / {of[f'{step}_median_ms']:.0f}"
            print(f"{took:>16}{of[f'{step}_median_peak_ratio']:16.2f}", end="")
        print()
    path = record("importers", {"rounds": args.rounds, "networks": figures}, args.out)
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

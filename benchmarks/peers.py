"""The simd engine against other inference engines, each at its best setting, in one run.

    EDGECV_MODELS=~/models python benchmarks/peers.py [MODEL ...] [--threads 1,2] [--pin 0,1] [--jitter]

MODEL: cards of the zoo, files, or the structures resnet50-640, yolov5s-640 and yolov8s-640, which get random
weights; by default all. An engine that cannot be imported is a row with the reason. Install those to compare
with into an environment of their own:

    pip install 'edgecv[models]' onnxruntime openvino ncnn MNN ai-edge-litert opencv-contrib-python-headless
    pip install --no-deps pnnx    # its program is enough, without torch
    LiteRT reads .tflite files, which --tflite FOLDER has to hold as MODEL.tflite.

Each engine, number of threads and setting gets a process of its own. All wait in a read until the parent
grants them a turn, one at a time, and give it back when their threads sleep. First each setting of an engine
takes a few short turns; the fastest goes on. Then all engines take turns, in an order that changes. What is
timed is a run: from an input that lies in memory to arrays of the outputs.

The outputs of every process are held against those of ONNX Runtime without optimizations: max|a - b| / max|b|
of the worst output. One above 1e-3 is wrong, and counts for nothing. The floor is the time that the network's
multiply-adds would take at the most GFLOP/s that simd's own kernels reached in the same run. With --jitter
each takes 3,000 samples and p99.9 / p50 is told.

EDGECV_ISA=avx2 takes the widest vectors from simd, and leaves the others what they have.

Writes tables, and benchmarks/results/peers.json. Ends with 1 where simd failed or is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from peer_engines import ENGINES, OWN, Reference
from peer_models import ALL, ASKED, find
from peer_turns import Lane, Plan
from peer_worker import PEAK
from recording import record

from edgecv import bench, machine
from edgecv.explain import explain_model
from edgecv.options import LoadOptions

TOLERANCE = 1e-3
JITTER_FRAMES = 3000


def prepare(name: str, folder: Path, tflite: Path | None) -> Plan:
    """Write what the processes of one network read, and what their outputs are held against."""
    network, x = find(name)
    stem = Path(name).stem.replace("-", "_")
    (folder / f"{stem}.onnx").write_bytes(network.data)
    np.save(folder / "x.npy", x)
    found = None if tflite is None else tflite / f"{Path(name).stem}.tflite"
    return Plan(
        network={
            "onnx": str(folder / f"{stem}.onnx"),
            "outputs": [spec.name for spec in network.facts.outputs],
            "folder": str(folder),
            "tflite": str(found) if found is not None and found.exists() else None,
        },
        folder=folder,
    )


def choose(plan: Plan, engine: str, threads: int, args: argparse.Namespace) -> Lane | dict[str, Any]:
    """The process of the engine's fastest right setting, or a row that says why there is none."""
    settings = ENGINES[engine].settings(threads)
    lanes: list[Lane] = []
    tried: dict[str, float | str] = {}
    with contextlib.ExitStack() as stack:
        for setting in settings:
            lane = Lane(plan, engine, setting, threads, args.pin)
            stack.callback(lane.kill)
            lane.load(args.warmup_seconds)
            if lane.failure is None and not lane.gap <= TOLERANCE:
                lane.fail(f"wrong: its outputs are {lane.gap:.1e} off")
            if lane.failure is None:
                lanes.append(lane)
            else:
                tried[setting] = lane.failure
            if lane.is_absent:
                break
        for _ in range(3 if len(lanes) > 1 else 0):
            for lane in lanes:
                lane.take_turn(args.turn, args.tune_seconds)
        lanes = [lane for lane in lanes if lane.failure is None]
        tried |= {lane.setting: min(lane.ms, default=0.0) for lane in lanes}
        if not lanes:
            reasons = [str(reason) for reason in tried.values()]
            row = {"engine": engine, "threads": threads, "failure": reasons[0], "tried": tried}
            return row | {"is_wrong": any(reason.startswith("wrong") for reason in reasons)}
        best = min(lanes, key=lambda lane: tried[lane.setting])
        best.tried = tried
        best.ms.clear()
        for lane in lanes:
            if lane is not best:
                lane.kill()
        stack.pop_all()
    return best


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one network on all engines."""
    rows: list[dict[str, Any]] = []
    lanes: list[Lane] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan = prepare(name, folder, args.tflite)
        reference = Lane(plan, Reference.name, "", 1, args.pin)
        stack.callback(reference.kill)
        reference.load(0.0)
        if reference.failure:
            raise SystemExit(f"{name}: ONNX Runtime, which the others are held against: {reference.failure}")
        plan.expected = reference.outputs
        reference.kill()
        for threads in args.threads:
            for engine in args.engines:
                tell(f"{name}: {engine}, {threads} threads")
                found = choose(plan, engine, threads, args)
                if isinstance(found, Lane):
                    lanes.append(found)
                    stack.callback(found.kill)
                else:
                    rows.append(found)
        peaks = [Lane(plan, PEAK, "", threads, args.pin) for threads in args.threads]
        for lane in peaks:
            stack.callback(lane.kill)
            lane.load(0.0)
        take_turns(lanes, peaks, args)
        flops = sum(
            each.flops for each in explain_model(plan.network["onnx"], LoadOptions(threads=1)).values()
        )
        rows += [lane.row() for lane in lanes]
    best = {lane.threads: max(lane.ms, default=0.0) for lane in peaks}  # of GFLOP/s, there
    rows.sort(key=lambda row: (row["threads"], args.engines.index(row["engine"])))
    floors = [
        {"threads": n, "peak_gflops_per_s": peak, "floor_ms": flops / peak / 1e6}
        for n, peak in best.items()
        if peak
    ]
    return {"model": Path(name).stem, "gflop": flops / 1e9, "floors": floors, "results": rows}


def take_turns(lanes: list[Lane], peaks: list[Lane], args: argparse.Namespace) -> None:
    """Until each has its samples, or has used up its time."""
    order = deque(lanes)
    while any(lane.is_open(args.frames, args.seconds) for lane in order):
        for lane in peaks:
            lane.take_turn(1, 0.0)
        for lane in order:
            if lane.is_open(args.frames, args.seconds):
                lane.take_turn(min(args.turn, args.frames - len(lane.ms)), args.turn_seconds)
        order.rotate(-1)
        done = sum(len(lane.ms) for lane in lanes)
        tell(f"{done} of {len(lanes) * args.frames} samples")
    tell("")


def tell(what: str) -> None:
    """Where a run is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{what}\033[K", end="", file=sys.stderr, flush=True)


def compare(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each number of threads: simd's time, the best peer's, and how they stand."""
    compared = []
    for threads in sorted({row["threads"] for row in found["results"]}):
        good = [r for r in found["results"] if r["threads"] == threads and "min_ms" in r]
        own = next((row for row in good if row["engine"] == OWN), None)
        peers = [row for row in good if row["engine"] != OWN]
        if own is None:
            continue
        line: dict[str, Any] = {
            "threads": threads,
            "simd_min_ms": own["min_ms"],
            "simd_p50_ms": own["p50_ms"],
        }
        for key in ("min", "p50") if peers else ():
            best = min(peers, key=lambda row: row[f"{key}_ms"])
            line |= {
                f"best_{key}": best["engine"],
                f"best_{key}_ms": best[f"{key}_ms"],
                f"ratio_{key}": best[f"{key}_ms"] / own[f"{key}_ms"],
            }
        steady = {row["engine"]: row["p99.9_ms"] / row["p50_ms"] for row in good if row["p99.9_ms"]}
        if OWN in steady:
            line["jitter"] = dict(sorted(steady.items(), key=lambda item: item[1]))
        if asked := ASKED.get(found["model"]):
            line |= {"must": asked[0 if threads == 1 else 1], "aim": asked[2] if threads == 1 else None}
        floor = next((f for f in found["floors"] if f["threads"] == threads), None)
        if floor is not None:
            line |= {"floor_ms": floor["floor_ms"], "over_floor": own["min_ms"] / floor["floor_ms"]}
        compared.append(line)
    return compared


def print_model(found: dict[str, Any], is_jitter: bool) -> None:
    """All engines of a network."""
    for floor in found["floors"]:
        print(
            f"{found['model']}: {found['gflop']:.3f} GFLOP, at {floor['peak_gflops_per_s']:.1f} GFLOP/s on "
            f"{floor['threads']} threads {floor['floor_ms']:.2f} ms"
        )
    for row in found["results"]:
        head = f"  {row['engine']:12}{row['threads']:>2}"
        if "failure" in row:
            print(f"{head}  {row['failure']}")
            continue
        jitter = f"{row['p99.9_ms'] / row['p50_ms']:7.2f}" if is_jitter and row.get("p99.9_ms") else ""
        figures = f"{row['min_ms']:9.3f}{row['p50_ms']:9.3f}{row['p99_ms']:9.3f}{jitter}"
        print(f"{head}{figures}  {row['error']:.1e}  {row['setting']} (n {row['n']})")


def print_comparison(models: list[dict[str, Any]]) -> None:
    """The table that is asked for: the best peer's time over that of simd."""
    print(
        f"\n{'model':20}{'threads':>8}{'simd':>8}{'best peer':>10} {'':12}{'min':>6}{'p50':>6}"
        f"{'must':>6}{'aim':>6}{'/floor':>8}"
    )
    for found in models:
        for line in found["compared"]:
            best = " " * 35
            if "best_min" in line:
                best = f"{line['best_min_ms']:10.2f} {line['best_min']:12}"
                best += f"{line['ratio_min']:6.2f}{line['ratio_p50']:6.2f}"
            asked = f"{line.get('must') or '-':>6}{line.get('aim') or '-':>6}"
            floor = f"{line['over_floor']:8.2f}" if "over_floor" in line else ""
            head = f"{found['model']:20}{line['threads']:>8}{line['simd_min_ms']:8.2f}"
            print(f"{head}{best}{asked}{floor}")
            if "jitter" in line:
                each = ", ".join(f"{engine} {ratio:.2f}" for engine, ratio in line["jitter"].items())
                print(f"{'':20}p99.9 / p50: {each}")


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="The simd engine against other inference engines.")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=ALL)
    parser.add_argument("--engines", type=lambda text: tuple(text.split(",")), default=tuple(ENGINES))
    parser.add_argument("--threads", type=lambda text: tuple(map(int, text.split(","))), default=(1, 2))
    parser.add_argument("--frames", type=int, help=f"samples of each (300, with --jitter {JITTER_FRAMES})")
    parser.add_argument("--seconds", type=float, help="longest measuring time of each (20, --jitter 600)")
    parser.add_argument("--turn", type=int, default=25, help="samples before the next one's turn")
    parser.add_argument("--turn-seconds", type=float, default=2.0, help="longest turn")
    parser.add_argument("--tune-seconds", type=float, default=0.5, help="longest turn of a setting")
    parser.add_argument("--warmup-seconds", type=float, default=0.5)
    parser.add_argument("--pin", type=bench.parse_cpus, metavar="CPUS", help="processors to stay on")
    parser.add_argument("--jitter", action="store_true", help="enough samples for p99.9, which is told")
    parser.add_argument("--tflite", type=Path, metavar="FOLDER", help="networks for LiteRT, MODEL.tflite")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/peers.json)")
    args = parser.parse_args()
    if unknown := [engine for engine in args.engines if engine not in ENGINES]:
        parser.error(f"--engines: expected some of {', '.join(ENGINES)}, got {', '.join(unknown)}")
    args.seconds = args.seconds or (600.0 if args.jitter else 20.0)
    args.frames = args.frames or (JITTER_FRAMES if args.jitter else 300)
    return args


def main() -> int:
    args = parse()
    # A run takes long, and what is known is shown, into a file too.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(machine.describe(machine.identity()))
    print("ms of a run: min, p50, p99" + (", p99.9 / p50" if args.jitter else "") + "; error; best setting")
    models = []
    for name in args.models:
        models.append(measure(name, args))
        models[-1]["compared"] = compare(models[-1])
        print_model(models[-1], args.jitter)
    print_comparison(models)
    settings = {
        "frames": args.frames,
        "seconds": args.seconds,
        "turn": args.turn,
        "pin": args.pin,
        "isa": os.environ.get("EDGECV_ISA"),
        "tolerance": TOLERANCE,
    }
    path = record("peers", {"settings": settings, "models": models}, args.out)
    print(f"written: {path}")
    own = [row for found in models for row in found["results"] if row["engine"] == OWN]
    return 1 if any("failure" in row for row in own) else 0


if __name__ == "__main__":
    sys.exit(main())

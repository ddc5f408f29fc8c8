"""Decode and NMS of every kind of head: against another checkout's heads, and against NumPy on whole outputs.

    python benchmarks/decoders.py --against ../before
    python benchmarks/decoders.py

The outputs are those of the tests' table of heads (tests/heads/literal_decode.py) for 640 x 640 and at most
80 classes: random, with the threshold that leaves 300 candidates, as many as a picture of a street has. Each
case is decoded and suppressed by this checkout, and with --against by another one whose native modules are
built, in processes that take turns of a few calls each; what the other one cannot read is left out there. Of
each kind one case stands beside NumPy on every row (decoders_numpy.py), followed by the same NMS, in the
process of this checkout; both must keep the same boxes. Writes a table, and
benchmarks/results/decoders.json: microseconds, and the ratios of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from decoders_numpy import DECODERS
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
SIDE, CLASSES, CANDIDATES = 640, 80, 300
IOU = 0.45
CALLS = 10
# glibc else decides by what came before whether arrays of some 100 KB are new pages at each call, and a
# process stays with what it decided: twice the time for the same code.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}

Outputs = dict[str, NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, built")
    parser.add_argument("--turns", type=int, default=60, help="turns of each process, by default 60")
    parser.add_argument("--only", default="", help="cases whose name has this")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.only)
        checkouts = {"here": ROOT}
        if arguments.against:
            checkouts["against"] = arguments.against.resolve()
        workers = {name: start(root, folder) for name, root in checkouts.items()}
        known = {name: json.loads(read(worker)) for name, worker in workers.items()}
        rows = []
        for case in known["here"]:
            asked = {name: worker for name, worker in workers.items() if case in known[name]}
            rows.append(compare(case, asked, arguments.turns))
            print(line(rows[-1]), flush=True)
        for worker in workers.values():
            worker.kill()
            worker.wait()
    from recording import record

    print("recorded in", record("decoders", {"candidates": CANDIDATES, "blob": [SIDE, SIDE], "cases": rows}))


# ---- What is decoded


def prepare(folder: Path, only: str) -> None:
    """Outputs, card and threshold of each case, as files that every process reads."""
    sys.path.insert(0, str(ROOT))
    from edgecv import heads
    from tests.heads.literal_decode import CASES

    for number, case in enumerate(case for case in CASES if only in case.id):
        classes = max(n for n in case.classes if n <= CLASSES)
        outputs = case.make(np.random.default_rng(number), (SIDE, SIDE), classes)
        card = {"type": case.type, **case.params}
        module, params = heads.params_from(card)
        confidence = np.sort(decode(module, params, outputs, 1e-6).confidence)
        threshold = float(confidence[-CANDIDATES]) if len(confidence) > CANDIDATES else 1e-6
        np.savez(folder / f"{number:03}.npz", **outputs)  # type: ignore[arg-type]
        about = {"case": case.id, "head": module.TYPE, "card": card, "threshold": threshold}
        (folder / f"{number:03}.json").write_text(json.dumps(about))


def decode(module: Any, params: Any, outputs: Mapping[str, Any], threshold: float) -> Any:
    from edgecv.heads.base import Query

    return module.decode(outputs, params, Query((SIDE, SIDE), threshold))


# ---- The processes


def work(folder: Path) -> None:
    """Tells which cases it can read, then for each that is asked for the microseconds of some calls."""
    from edgecv import heads
    from edgecv.errors import EdgeCVError

    contenders: dict[str, dict[str, Callable[[], Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        about = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as file:
            outputs = dict(file)
        try:
            module, params = heads.params_from(about["card"])
            decode(module, params, outputs, about["threshold"])
        except EdgeCVError:
            continue
        contenders[about["case"]] = beside(about["case"], module, params, outputs, about["threshold"])
    print(json.dumps({case: list(each) for case, each in contenders.items()}), flush=True)
    for asked in sys.stdin:
        took: dict[str, list[float]] = {}
        for name, run in contenders[asked.strip()].items():
            times = []
            for _ in range(CALLS):
                started = time.perf_counter_ns()
                run()
                times.append((time.perf_counter_ns() - started) / 1e3)
            # The first call finds the outputs of another case in the caches.
            took[name] = times[1:]
        print(json.dumps(took), flush=True)


def beside(
    case: str, module: Any, params: Any, outputs: Outputs, threshold: float
) -> dict[str, Callable[[], Any]]:
    """The head and, where there is one, NumPy; each gives the confidences of what it keeps."""
    from edgecv import boxes

    def head() -> Any:
        found = decode(module, params, outputs, threshold)
        if not found.needs_nms:
            return np.sort(found.confidence)
        kept = boxes.nms(found.xyxy, found.confidence, found.class_id, iou=IOU)
        return found.confidence[kept]

    contenders: dict[str, Callable[[], Any]] = {"edgecv": head}
    plain = DECODERS.get(case)
    if plain is None:
        return contenders
    suppresses = decode(module, params, outputs, threshold).needs_nms

    def numpy() -> Any:
        xyxy, confidence, class_id = plain(outputs, threshold)
        if not suppresses:
            return np.sort(confidence)
        kept = boxes.nms(
            xyxy.astype(np.float32), confidence.astype(np.float32), class_id.astype(np.int32), iou=IOU
        )
        return confidence[kept]

    ours, theirs = head(), numpy()
    if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=1e-4):
        sys.exit(f"decoders: {case}: edgecv keeps {len(ours)} boxes and NumPy {len(theirs)}, or others")
    return {**contenders, "numpy": numpy}


def start(root: Path, folder: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--work", folder]
    environment = {**os.environ, "PYTHONPATH": str(root), **ALLOCATOR}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    text = worker.stdout.readline()
    if not text:
        sys.exit("decoders: a process ended before it was asked to; see above")
    return text


def compare(case: str, workers: Mapping[str, subprocess.Popen[str]], turns: int) -> dict[str, Any]:
    took: dict[str, list[float]] = {}
    for turn in range(turns):
        for name in list(workers) if turn % 2 else list(workers)[::-1]:
            stdin = workers[name].stdin
            assert stdin is not None
            stdin.write(case + "\n")
            stdin.flush()
            for contender, times in json.loads(read(workers[name])).items():
                if contender == "edgecv" or name == "here":
                    took.setdefault(name if contender == "edgecv" else contender, []).extend(times)
    row: dict[str, Any] = {"case": case, "n": len(took["here"])}
    for name, values in took.items():
        row[name] = {"min_us": round(min(values), 1), "median_us": round(float(np.median(values)), 1)}
    for name in took.keys() - {"here"}:
        row[f"of_{name}"] = round(row["here"]["median_us"] / row[name]["median_us"], 3)
    return row


def line(row: dict[str, Any]) -> str:
    text = f"{row['case']:34} here {row['here']['min_us']:8.1f} {row['here']['median_us']:8.1f} us"
    for name in ("against", "numpy"):
        if name in row:
            other = row[name]
            text += f"  {name} {other['min_us']:8.1f} {other['median_us']:8.1f} us {row[f'of_{name}']:.3f}"
    return text


if __name__ == "__main__":
    main()

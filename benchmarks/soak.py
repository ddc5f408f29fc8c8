"""A million frames of a tiny network on the simd engine, without a byte of growth.

    python benchmarks/soak.py [--frames 1000000] [--threads 1]

The network is a convolution, a depthwise one, a pool and a softmax on 3 x 16 x 16 values; every run's outputs
are held against the first one's now and then. After a first tenth, in which Python and the C library take
what they keep, the process's resident memory, its heap as malloc counts it, and the blocks that Python counts
are looked at after each further tenth: the last of them may not be above that of the second. Writes
benchmarks/results/soak.json. Ends with 1 where memory grew or an output changed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from recording import record

import edgecv
from edgecv import machine

PARTS = 10
# What Python counts goes up and down by a few; a block for each frame would be many thousands.
BLOCKS = 50
MARKS = ("resident", "malloced", "python_blocks")
SIZE = 16


def tiny_network() -> bytes:
    """An ONNX file."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Conv", ["p", "b"], ["q"], kernel_shape=[3, 3], pads=[1] * 4, group=8),
        helper.make_node("GlobalAveragePool", ["q"], ["r"]),
        helper.make_node("Flatten", ["r"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [weights("a", 8, 3, 3, 3), weights("b", 8, 1, 3, 3)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


class _Mallinfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in "abcdefghij")


def held() -> tuple[int, int, int]:
    """Of this process, in the order of MARKS; 0 where the C library does not tell."""
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    malloced = 0
    if mallinfo is not None:
        mallinfo.restype = _Mallinfo
        found = mallinfo()
        # uordblks and hblkhd: of the heap, and of maps of their own.
        malloced = found.h + found.e
    return resident, malloced, sys.getallocatedblocks()


def soak(frames: int, threads: int) -> dict[str, Any]:
    """Run, and look at memory after each tenth."""
    x = np.random.default_rng(1).random((1, 3, SIZE, SIZE), np.float32)
    # Room for all that is looked at, so that looking takes none.
    marks = np.zeros((PARTS, len(MARKS)), np.int64)
    changed = 0
    part = max(frames // PARTS, 1)
    with edgecv.compile(tiny_network(), backend="simd", threads=threads) as session:
        inputs, out = {"x": x}, session.empty_outputs()
        first = {name: array.copy() for name, array in session.run(inputs).items()}
        start = time.perf_counter()
        for mark in marks:
            for _ in range(part):
                session.run(inputs, out=out)
            changed += any(not np.array_equal(out[name], array) for name, array in first.items())
            gc.collect()
            mark[:] = held()
        seconds = time.perf_counter() - start
    growth = dict(zip(MARKS, (int(n) for n in marks[-1] - marks[1]), strict=True))
    return {
        "frames": part * PARTS,
        "threads": threads,
        "us_per_frame": seconds / (part * PARTS) * 1e6,
        "marks": {name: [int(n) for n in column] for name, column in zip(MARKS, marks.T, strict=True)},
        "growth": growth,
        "tenths_with_other_outputs": changed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A million frames without a byte of growth.")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file (default: results/soak.json)")
    args = parser.parse_args()
    print(machine.describe(machine.identity()))
    found = soak(args.frames, args.threads)
    print(f"{found['frames']} frames, {found['us_per_frame']:.1f} us each, threads {found['threads']}")
    for key, values in found["marks"].items():
        print(f"  {key}: {' '.join(map(str, values))}")
    print("growth: " + ", ".join(f"{key} {value}" for key, value in found["growth"].items()))
    print(f"written: {record('soak', found, args.out)}")
    limits = {"python_blocks": BLOCKS}
    is_steady = all(value <= limits.get(key, 0) for key, value in found["growth"].items())
    return 0 if is_steady and not found["tenths_with_other_outputs"] else 1


if __name__ == "__main__":
    sys.exit(main())

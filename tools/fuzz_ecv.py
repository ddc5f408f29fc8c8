"""Feeds edgecv plans that were changed at random, with an eye to their structure: none may crash it.

    python tools/fuzz_ecv.py --files 100000 --processes 1

Plans of a few small networks, for each instruction set that runs here, one of them in two stages, are changed
in their bytes, in the zip's headers, in the manifest, and, with every checksum right again, in their facts,
their card and remarks, the names and the order of their members, the words of their programs, their tables
and their weights. Each is opened, examined, and where it passes run once, in a process that may not have more
than --memory of address space. A file ends well where it runs or is refused with an EdgeCVError of one line.
Anything else, a signal, another exception, more than --seconds, is reported with the number that makes the
same file again: --first NUMBER --files 1 --keep FILE.ecv.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from edgecv.engine.refs import ref_to

ROOT = Path(__file__).resolve().parent.parent
# Of operators that the detector beside it does not have: lookups, sorting, sums, strided copies, places that
# data tell.
GRAPH = """
<ir_version: 8, opset_import: ["" : 16]>
g (float[1, 4, 6, 6] x, int64[2, 3] where, float[1, 3, 5, 2] grid, float[2, 4] regions, int64[2] images) =>
   (float[1, 4, 12, 12] big, float[2, 3, 6] rows,
    float[1, 4, 6, 3] best, int64[1, 4, 6, 3] places, float[1, 4, 6, 6] sums, float[1, 4, 6, 6] soft,
    float[1, 4, 1, 1] mean,
    float[1, 4, 6, 6] lrn, float[1, 4, 3, 3] pooled, int64[n, 3] kept, float[4, 6, 6] scattered,
    float[1, 4, 3, 5] seen, float[2, 4, 2, 2] aligned)
<int64[3] flat = {4, 6, 6}, int64[2] table = {24, 6}, int64[1] k = {3}, int64[1] most = {4},
 float[4] scales = {1.0, 1.0, 2.0, 2.0}, int64[3] spread = {1, 36, 4}, int64[3] classes = {1, 1, 36},
 int64[2] one = {1, 2}, int64[2, 1] points = {1, 3}, int64[1] zero = {0}, int64[1] first = {1},
 int64[1] ones = {1}>
{
  big = Resize <mode = "linear"> (x, , scales)
  lines = Reshape (x, table)
  rows = Gather <axis = 0> (lines, where)
  best, places = TopK (x, k)
  at = Constant <value_int = 2> ()
  sums = CumSum (x, at)
  soft = Softmax <axis = 1> (x)
  mean = ReduceMean <axes = [2, 3], keepdims = 1> (x)
  lrn = LRN <size = 3> (x)
  pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
  boxes = Reshape (x, spread)
  part = Slice (x, zero, first, ones)
  scores = Reshape (part, classes)
  kept = NonMaxSuppression (boxes, scores, most)
  map = Reshape (x, flat)
  pair = Gather <axis = 0> (map, one)
  scattered = ScatterND (map, points, pair)
  seen = GridSample <mode = "bicubic", padding_mode = "reflection"> (x, grid)
  aligned = RoiAlign <output_height = 2, output_width = 2> (x, regions, images)
}
"""
TRUNK = """
<ir_version: 8, opset_import: ["" : 13]>
g (float[1, 3, 32, 32] data) => (float[1, 3, 2, 2] conv5, float[1, 2, 2, 2] scores, float[1, 4, 2, 2] moves)
<float[2, 3, 1, 1] two = {1.0, 0.5, 0.1, -0.5, 0.2, 0.3}, float[4, 3, 1, 1] four =
 {0.1, 0.2, 0.3, -0.1, -0.2, -0.3, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0}>
{
  conv5 = AveragePool <kernel_shape = [16, 16], strides = [16, 16]> (data)
  sums = Conv (conv5, two)
  scores = Softmax <axis = 1> (sums)
  moves = Conv (conv5, four)
}
"""
ROI = """
<ir_version: 8, opset_import: ["" : 13]>
g (float[2, 3, 1, 1] pool5) => (float[2, 3] classes, float[2, 4] moved)
<float[3, 3] three = {1.0, 0.5, 0.1, -0.5, 0.2, 0.3, 0.4, 0.7, 0.9}, float[3, 4] four =
 {0.1, 0.2, 0.3, -0.1, -0.2, -0.3, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0}>
{
  rows = Flatten (pool5)
  sums = MatMul (rows, three)
  classes = Softmax <axis = 1> (sums)
  moved = MatMul (rows, four)
}
"""
STAGED: dict[str, Any] = {
    "schema": 1,
    "name": "staged",
    "task": "detect",
    "format": "onnx",
    "inputs": [{"name": "data", "size_wh": [32, 32], "resize": "stretch"}],
    "head": {
        "type": "faster_rcnn",
        "features": "conv5",
        "rpn_scores": "scores",
        "rpn_deltas": "moves",
        "anchors": [[0.0, 0.0, 15.0, 15.0]],
        "pooled_wh": [1, 1],
        "min_size": 1.0,
        "scores": "classes",
        "deltas": "moved",
        "class_agnostic": True,
    },
}
# Sizes and places that arithmetic goes wrong at.
NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 63, 64, 65, 127, 255, 256, 4095, 4096, 65535, 65536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**47, 2**48 - 1, 2**48, 2**62, 2**63 - 1),
    *(ref_to(slot, address) for slot in range(10) for address in (0, 4, 64, 4096)),
)
TEXTS = ("", "x", "../../x", "\0", "ü" * 50, "float32", "int64", "object", "a" * 1000)


def seeds() -> list[bytes]:
    """The plans that are changed."""
    import onnx

    from edgecv import _isa
    from edgecv.explain import explain_model
    from edgecv.options import LoadOptions

    found = []
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "graph.onnx")
        model = onnx.parser.parse_model(GRAPH)
        network.write_bytes(model.SerializeToString())
        detector = ROOT / "models" / "parts-nano" / "parts-nano-dynamic.onnx"
        out = Path(folder, "plan.ecv")
        for isa in _isa.usable():
            for source, size in ((network, None), (detector, 32), (staged(Path(folder)), None)):
                options = LoadOptions(imgsz=None if size is None else (size, size), threads=2)
                explain_model(str(source), options, isa=isa, out=out)
                found.append(out.read_bytes())
    # What an importer tells of files of others.
    manifest, members = parts_of(found[-1])
    told = json.dumps({"remarks": ["one", "two"], "assumptions": ["three"]}).encode()
    card = members.pop("card.json")
    found[-1] = packed(manifest, {"card.json": card, "remarks.json": told, **members})
    return found


def staged(folder: Path) -> Path:
    """The card of a model of two networks, which lie beside it."""
    import onnx

    stages = {}
    for stage, text in (("trunk", TRUNK), ("roi", ROI)):
        data = onnx.parser.parse_model(text).SerializeToString()
        (folder / f"{stage}.onnx").write_bytes(data)
        sums = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        stages[stage] = [{"path": f"{stage}.onnx", **sums}]
    path = folder / "staged.json"
    path.write_text(json.dumps({**STAGED, "stages": stages}))
    return path


def parts_of(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a plan's manifest says, and its other members."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("manifest.json")), members


def packed(manifest: dict[str, Any], members: dict[str, bytes]) -> bytes:
    from edgecv import container

    return container.to_bytes(manifest["kind"], members, manifest["about"], manifest["backend"])


class Mutation:
    """One changed plan: all of its choices follow from its number."""

    def __init__(self, number: int, seeds: list[bytes]) -> None:
        self.random = random.Random(number)
        self.data = self.random.choice(seeds)

    def make(self) -> tuple[str, bytes]:
        """What was changed, and the file."""
        kinds: tuple[tuple[int, Callable[[], bytes]], ...] = (
            (2, self.raw), (2, self.headers), (2, self.manifest), (3, self.facts), (2, self.card),
            (1, self.members), (6, self.program), (4, self.tables), (1, self.weights),
        )  # fmt: skip
        (change,) = self.random.choices([k for _, k in kinds], [w for w, _ in kinds])
        return change.__name__, change()

    def raw(self) -> bytes:
        """Bytes of the file, or its length."""
        data = bytearray(self.data)
        for _ in range(self.random.randint(1, 8)):
            place = self.random.randrange(len(data))
            choice = self.random.random()
            if choice < 0.6:
                data[place] = self.random.randrange(256)
            elif choice < 0.75:
                del data[place : place + self.random.randint(1, 4096)]
            elif choice < 0.9:
                data[place:place] = self.random.randbytes(self.random.randint(1, 256))
            else:
                data = data[:place]
            if not data:
                break
        return bytes(data)

    def headers(self) -> bytes:
        """Fields of the zip's headers and directory."""
        data = bytearray(self.data)
        marks = [i for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for i in _places(data, mark)]
        for _ in range(self.random.randint(1, 3)):
            place = self.random.choice(marks) + self.random.randrange(4, 46, 2)
            width = self.random.choice((2, 4))
            value = (self.random.choice(NUMBERS) + self.random.randint(-1, 1)) % (1 << 8 * width)
            if place + width <= len(data):
                data[place : place + width] = value.to_bytes(width, "little")
        return bytes(data)

    def manifest(self) -> bytes:
        """What the manifest says; the zip is laid out for that, or for the members as they are."""
        import msgspec

        from edgecv import container

        manifest, members = parts_of(self.data)
        text = self._json(json.dumps(manifest).encode())
        sums = {name: container.Member(len(data), zlib.crc32(data)) for name, data in members.items()}
        if self.random.random() < 0.5:
            with suppress(KeyError, TypeError, ValueError):
                sums = msgspec.convert(json.loads(text)["members"], dict[str, container.Member])
        own = container.Member(len(text), zlib.crc32(text))
        try:
            headers, tail = container.layout({"manifest.json": own, **sums}, "")
        except ValueError:
            return self.data.replace(json.dumps(manifest, indent=1).encode(), text)
        contents = (text, *(members.get(name, b"") for name in sums))
        return b"".join(part for pair in zip(headers, contents, strict=False) for part in pair) + tail

    def facts(self) -> bytes:
        """The facts of the plan."""
        return self._with(".plan.json", self._json)

    def card(self) -> bytes:
        """The card or the remarks; the facts where there are none."""
        name = self.random.choice(("card.json", "remarks.json"))
        return self._with(name if name.encode() in self.data else ".plan.json", self._json)

    def members(self) -> bytes:
        """Which members there are, under which names, and in which order."""
        manifest, members = parts_of(self.data)
        names = list(members)
        name = self.random.choice(names)
        choice = self.random.random()
        if choice < 0.25:
            del members[name]
        elif choice < 0.5:
            members[self.random.choice(("more", "x.plan.json", "card.json", f"x.{name}"))] = members[name]
        elif choice < 0.75:
            other = self.random.choice(names)
            members[name], members[other] = members[other], members[name]
        else:
            self.random.shuffle(names)
            members = {n: members[n] for n in names}
        return packed(manifest, members)

    def program(self) -> bytes:
        """Words of the program: other numbers, other words, whole stretches."""

        def change(data: bytes) -> bytes:
            words = list(struct.unpack(f"<{len(data) // 8}q", data))
            for _ in range(self.random.choice((1, 1, 1, 2, 4))):
                place = self.random.randrange(len(words))
                choice = self.random.random()
                if choice < 0.3:
                    words[place] += self.random.choice((-64, -16, -8, -4, -1, 1, 2, 4, 8, 16, 64, 4096))
                elif choice < 0.6:
                    words[place] = self.random.choice(NUMBERS) * self.random.choice((1, 1, 1, -1))
                elif choice < 0.75:
                    words[place] = self.random.choice(words)
                elif choice < 0.85:
                    words[place] ^= 1 << self.random.randrange(63)
                elif choice < 0.92:
                    del words[place : place + self.random.randint(1, 40)]
                else:
                    words[place:place] = words[: self.random.randint(1, 60)]
                if not words:
                    break
            return struct.pack(f"<{len(words)}q", *(max(-(2**63), min(w, 2**63 - 1)) for w in words))

        return self._with(".program", change)

    def tables(self) -> bytes:
        """Words of the tables among the constants."""
        return self._with(".constants", self._numbers)

    def weights(self) -> bytes:
        """Weights: they may be any number."""
        return self._with(".weights", self._numbers)

    def _numbers(self, data: bytes) -> bytes:
        room = bytearray(data or self.random.randbytes(64))
        for _ in range(self.random.choice((1, 1, 2, 8))):
            width = self.random.choice((4, 8))
            if len(room) < width:
                break
            place = self.random.randrange(len(room) // width) * width
            old = int.from_bytes(room[place : place + width], "little")
            value = self.random.choice((self.random.choice(NUMBERS), old + self.random.randint(-70, 70), -1))
            room[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        return bytes(room[: self.random.randrange(len(room))] if self.random.random() < 0.05 else room)

    def _with(self, ending: str, change: Callable[[bytes], bytes]) -> bytes:
        """With another content of one of the members whose names end so."""
        manifest, members = parts_of(self.data)
        name = self.random.choice([name for name in members if name.endswith(ending)])
        members[name] = change(members[name])
        return packed(manifest, members)

    def _json(self, text: bytes) -> bytes:
        value = json.loads(text)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            parent, key = self._spot(value)
            if parent is not None:
                self._change(parent, key)
        return json.dumps(value, indent=1).encode("utf-8", "surrogatepass")

    def _spot(self, value: Any) -> tuple[Any, Any]:
        parent, key = None, None
        while isinstance(value, (dict, list)) and value and (parent is None or self.random.random() < 0.85):
            parent = value
            key = (
                self.random.choice(list(value))
                if isinstance(value, dict)
                else self.random.randrange(len(value))
            )
            value = parent[key]
        return parent, key

    def _change(self, parent: Any, key: Any) -> None:
        old = parent[key]
        choice = self.random.random()
        if isinstance(old, int) and choice < 0.4:
            parent[key] = old + self.random.choice((-1, 1, 4, -4, 64, 1 << 20))
        elif choice < 0.6:
            parent[key] = self.random.choice(NUMBERS) * self.random.choice((1, -1))
        elif choice < 0.75:
            parent[key] = self.random.choice(TEXTS)
        elif choice < 0.85:
            parent[key] = self.random.choice((None, True, [], {}, [[[]]], 1.5, [old] * 3))
        elif choice < 0.95:
            parent.pop(key)
        elif isinstance(parent, list):
            parent.extend(parent)
        else:
            parent[self.random.choice(TEXTS) or "more"] = old


def _places(data: bytearray, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


def attempt(path: Path, number: int) -> str:
    """How a file ends: "runs", or the error that refuses it. Any other exception goes up."""
    import numpy as np

    import edgecv
    from edgecv.errors import EdgeCVError

    try:
        data = path.read_bytes()
        # Of several networks none runs alone, and without a card nothing is detected.
        if b"trunk.plan.json" in data or (number % 4 == 0 and b"card.json" in data):
            with edgecv.load(path) as pipeline:
                pipeline(np.zeros((24, 40, 3), np.uint8))
        else:
            with edgecv.compile(path, threads=1 + number % 2) as session:
                session.run(
                    {
                        s.name: np.zeros([n for n in s.shape if isinstance(n, int)], s.dtype)
                        for s in session.inputs
                    },
                    deadline_ns=time.monotonic_ns() + 10**9,
                )
    except EdgeCVError as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"a message of several lines: {error}") from error
        return type(error).__name__
    except MemoryError:
        # Of arrays that would be there without the limit.
        return "MemoryError"
    return "runs"


def child(args: argparse.Namespace) -> int:
    """Try files one by one; stdout tells what is under way and how it ended."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (args.memory << 20, args.memory << 20))
    folder = Path(args.child)
    originals = [path.read_bytes() for path in sorted(folder.glob("seed-*.ecv"))]
    path = folder / f"file-{args.first}.ecv"
    for number in range(args.first, args.first + args.files):
        kind, data = Mutation(number, originals).make()
        path.write_bytes(data)
        print(f"{number} {kind}", flush=True)
        signal.alarm(args.seconds)
        how = attempt(path, number)
        signal.alarm(0)
        print(f"= {how}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {peak}", flush=True)
    return 0


class Tally:
    """What came of all files so far."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[str, str]] = Counter()
        self.findings: list[str] = []
        self.peak_kb = 0

    def take(self, process: subprocess.Popen[str], output: str, errors: str, first: int) -> int | None:
        """Count what a child said; the number at which it died, if it did. first: that it began with."""
        number, kind, is_open = first, "", False
        for line in output.splitlines():
            word, _, rest = line.partition(" ")
            if word == "=":
                self.ends[kind, rest] += 1
                is_open = False
            elif word == "peak":
                self.peak_kb = max(self.peak_kb, int(rest))
            else:
                number, kind, is_open = int(word), rest, True
        if not is_open and process.returncode == 0:
            return None
        reason = errors.strip().splitlines()[-1] if errors.strip() else ""
        self.findings.append(f"file {number} ({kind}): exit {process.returncode}: {reason}")
        print(self.findings[-1], file=sys.stderr, flush=True)
        return number


def main() -> int:
    """Prints how many files ended how; 1 where one did not end well."""
    parser = argparse.ArgumentParser(description="Feed edgecv plans that were changed at random.")
    parser.add_argument("--files", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--processes", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--memory", type=int, default=2048, help="MB of address space (default: 2048)")
    parser.add_argument("--seconds", type=int, default=20, help="that a file may take (default: 20)")
    parser.add_argument("--chunk", type=int, default=500, help="files of a process (default: 500)")
    parser.add_argument("--keep", type=Path, help="write the first file here and run nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args)
    tally = Tally()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, data in enumerate(seeds()):
            (folder / f"seed-{i:02}.ecv").write_bytes(data)
        if args.keep:
            originals = [path.read_bytes() for path in sorted(folder.glob("seed-*.ecv"))]
            args.keep.write_bytes(Mutation(args.first, originals).make()[1])
            return 0
        end = args.first + args.files
        todo = [(first, min(args.chunk, end - first)) for first in range(args.first, end, args.chunk)]
        running: list[tuple[int, int, subprocess.Popen[str]]] = []
        while todo or running:
            while todo and len(running) < args.processes:
                first, count = todo.pop(0)
                command = [
                    sys.executable,
                    __file__,
                    "--child",
                    name,
                    "--first",
                    str(first),
                    "--files",
                    str(count),
                ]
                limits = ["--memory", str(args.memory), "--seconds", str(args.seconds)]
                process = subprocess.Popen(
                    [*command, *limits], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                running.append((first, count, process))
            first, count, process = running.pop(0)
            output, errors = process.communicate()
            died = tally.take(process, output, errors, first)
            if died is not None and died + 1 < first + count:
                todo.insert(0, (died + 1, first + count - died - 1))
    for (kind, how), n in sorted(tally.ends.items()):
        print(f"{kind:9} {how:26} {n:7}")
    seconds = time.monotonic() - started
    print(f"{sum(tally.ends.values())} files in {seconds:.0f} s, at most {tally.peak_kb >> 10} MB resident")
    for line in tally.findings:
        print(line)
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())

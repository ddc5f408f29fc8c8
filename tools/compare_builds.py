"""Compares what two checkouts of edgecv compile and compute: the same programs and results, bit for bit.

    python tools/compare_builds.py OLD NEW
    python tools/compare_builds.py OLD NEW --only nanodet --isa avx2 --threads 1

OLD and NEW are checkouts whose native modules are built. Each works in a process of its own, on the same
networks: those of tests/engine/topologies.py and tests/networks.py, structures of the importers' tests, the
ONNX project's cases of single operators, and the models that are here: in models/, and in the folders of
EDGECV_MODELS. Networks and inputs are made once, by the checkout that this file lies in. Each is compiled and
run for every instruction set that runs here and for each number of threads; what is compared is the encoded
program, field by field, the passes' report, and every output. A network that is refused has to be refused in
the same words. What differs is printed, and the exit code is 1; 2 where a checkout could not be used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
LIST = "networks.json"
# Of sizes that a network leaves open: the first axis counts pictures, others are pixels.
OPEN_FIRST, OPEN_OTHER = 1, 64
# Differences that are printed.
SHOWN = 40

Array = NDArray[Any]
Parts = dict[str, str]


# ---- Networks, made once


def write_networks(folder: Path, only: str) -> int:
    """Each network whose name has `only` in it as an ONNX file with its inputs; returns how many."""
    from edgecv.engine.planned import shape_operands

    listed = []
    for name, make, given in networks():
        if only not in name:
            continue
        model = make()
        feeds = noise(model) if given is None else given
        file = f"{len(listed)}"
        (folder / f"{file}.onnx").write_bytes(model.data)
        np.savez(folder / f"{file}.npz", **{str(i): array for i, array in enumerate(feeds.values())})
        operands = list(shape_operands(model))
        listed.append({"name": name, "file": file, "inputs": list(feeds), "operands": operands})
    (folder / LIST).write_text(json.dumps(listed))
    return len(listed)


def networks() -> Iterator[tuple[str, Callable[[], Any], Mapping[str, Array] | None]]:
    """(name, what makes the OnnxModel, inputs or None for noise)."""
    from edgecv.graph.model import OnnxModel
    from tests import networks as tiny
    from tests.engine.topologies import TOPOLOGIES

    for name, build in TOPOLOGIES.items():
        yield f"topologies/{name}", build, None
    little: dict[str, Callable[[], bytes]] = {
        "yolov8": tiny.tiny_yolov8,
        "yolov8_dynamic": lambda: tiny.tiny_yolov8(batch="n", dynamic=True),
        "classifier": tiny.tiny_classifier,
        "classifier_softmax": lambda: tiny.tiny_classifier(softmax=True, is_map=True),
        "trunk": tiny.tiny_trunk,
        "roi": tiny.tiny_roi,
        "quantized": tiny.quantized,
        "quantized_weights": lambda: tiny.quantized(weights_only=True),
    }
    for name, write in little.items():
        yield f"networks/{name}", lambda w=write, n=name: OnnxModel.from_bytes(w(), origin=n), None
    yield from imported()
    yield from operators()
    yield from models()


def imported() -> Iterator[tuple[str, Callable[[], Any], None]]:
    """Structures that the tests of the importers draw, small ones."""
    from edgecv.importers import caffe, darknet
    from tests.importers.caffe import structures as caffe_structures
    from tests.importers.darknet import structures as darknet_structures

    for of_darknet in darknet_structures.CASES:
        if not of_darknet.is_slow:
            with tempfile.TemporaryDirectory() as name:
                cfg, weights = Path(name, "net.cfg"), Path(name, "net.weights")
                cfg.write_text(of_darknet.cfg())
                weights.write_bytes(of_darknet.weights())
                read = darknet.read(cfg, weights).networks
            yield from named(f"darknet/{of_darknet.id}", read)
    for of_caffe in (*caffe_structures.LAYERS, *caffe_structures.TOPOLOGIES):
        if not of_caffe.slow:
            with tempfile.TemporaryDirectory() as name:
                read = caffe.read(*of_caffe.build().write(Path(name))).networks
            yield from named(f"caffe/{of_caffe.id}", read)


def named(name: str, read: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any], None]]:
    """Each network of a model, without its stage where there is one."""
    for stage, model in read.items():
        yield (name if len(read) == 1 else f"{name}/{stage}"), lambda m=model: m, None


def operators() -> Iterator[tuple[str, Callable[[], Any], Mapping[str, Array]]]:
    """The ONNX project's cases whose inputs are all tensors of numbers that NumPy has."""
    import onnx

    from edgecv.graph.model import OnnxModel
    from tests.onnx_cases import node_cases

    for case in node_cases():
        values = (*case.model.graph.input, *case.model.graph.output)
        kinds = [value.type for value in values]
        if not case.data_sets or not case.data_sets[0][0] or not case.model.graph.input:
            continue
        if any(kind.tensor_type.elem_type in (0, onnx.TensorProto.STRING) for kind in kinds):
            continue
        given = [
            onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x)
            for x in case.data_sets[0][0]
        ]
        if any(array.dtype.isbuiltin != 1 for array in given):
            continue
        names = [value.name for value in case.model.graph.input]
        data = case.model.SerializeToString()
        make = lambda d=data, n=case.name: OnnxModel.from_bytes(d, origin=n)  # noqa: E731
        yield f"operators/{case.name}", make, dict(zip(names, given, strict=True))


def models() -> Iterator[tuple[str, Callable[[], Any], None]]:
    """Whole files: those in models/, and those of the folders that EDGECV_MODELS lists."""
    from edgecv.errors import EdgeCVError
    from edgecv.importers import locate, read_networks

    folders = [
        ROOT / "models",
        *map(Path, filter(None, os.environ.get("EDGECV_MODELS", "").split(os.pathsep))),
    ]
    for folder in folders:
        for path in sorted(p for kind in ("onnx", "prototxt", "cfg") for p in folder.rglob(f"*.{kind}")):
            try:
                read = read_networks(locate(path, None))
            except EdgeCVError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            yield from named(f"models/{path.relative_to(folder)}", read)


def noise(model: Any) -> dict[str, Array]:
    """Inputs between 0 and 1, or zeros of other types than floats."""
    rng = np.random.default_rng(1)
    feeds = {}
    for spec in model.facts.inputs:
        shape = tuple(
            n if isinstance(n, int) else OPEN_OTHER if axis else OPEN_FIRST
            for axis, n in enumerate(spec.shape)
        )
        made = rng.uniform(size=shape) if spec.dtype.kind == "f" else np.zeros(shape)
        feeds[spec.name] = made.astype(spec.dtype)
    return feeds


# ---- One checkout, in a process of its own


def work(root: Path, folder: Path, isas: Sequence[str], threads: Sequence[int]) -> None:
    """Compile and run every network with the edgecv of `root`; a line of JSON for each build of it."""
    import edgecv
    from edgecv import _isa, _simd
    from edgecv.graph.model import OnnxModel

    at = Path(edgecv.__file__).resolve().parent.parent
    if at != root:
        raise SystemExit(f"edgecv is imported from {at}: expected {root}")
    pools = {count: _simd.Pool(count) for count in threads}
    for network in json.loads((folder / LIST).read_text()):
        data = (folder / f"{network['file']}.onnx").read_bytes()
        model = OnnxModel.from_bytes(data, origin=network["name"])
        arrays = np.load(folder / f"{network['file']}.npz")
        feeds = {name: np.asarray(arrays[str(i)], order="C") for i, name in enumerate(network["inputs"])}
        operands = {name: feeds[name] for name in network["operands"]}
        for isa in isas or _isa.usable():
            for count, pool in pools.items():
                parts = build(model, feeds, operands, isa, pool)
                print(json.dumps({"build": f"{network['name']} {isa} {count}", "parts": parts}), flush=True)


def build(
    model: Any, feeds: Mapping[str, Array], operands: Mapping[str, Array], isa: str, pool: Any
) -> Parts:
    """What a network became: digests of the program's fields, of the report and of the outputs."""
    from edgecv import _simd
    from edgecv.engine import claims
    from edgecv.engine.compile import compile_model
    from edgecv.errors import EdgeCVError

    shapes = {name: array.shape for name, array in feeds.items()}
    parts: Parts = {}
    try:
        claims.check_model(model)
        compiled = compile_model(model, shapes, isa=isa, threads=pool.threads, operands=operands)
        parts |= {f"program.{name}": digest(value) for name, value in fields(compiled.encoded)}
        parts["report"] = digest(
            {name: [dict(fields(one)) for one in told] for name, told in fields(compiled.report)}
        )
        outputs = tuple(np.full(out.shape, 77, out.dtype) for out in compiled.outputs)
        given = tuple(feeds[spec.name] for spec in model.facts.inputs)
        _simd.Context(compiled.plan).run(pool, given, outputs)
    except EdgeCVError as error:
        return parts | {"refused": f"{type(error).__name__}: {error}"}
    found = zip(compiled.outputs, outputs, strict=True)
    return parts | {f"output {out.name}": digest(array) for out, array in found}


def fields(record: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of a record, which is a dataclass in one checkout and a msgspec.Struct in another."""
    for name in getattr(record, "__struct_fields__", None) or vars(record):
        yield name, getattr(record, name)


def digest(value: Any) -> str:
    """Of an array its type, shape and bytes; of anything else how it is written."""
    if isinstance(value, np.ndarray):
        kind = f"{value.dtype} {value.shape} "
        return hashlib.sha256(kind.encode() + value.tobytes()).hexdigest()
    return hashlib.sha256(repr(value).encode()).hexdigest()


# ---- Two of them


def builds(root: Path, folder: Path, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    """The process that works with a checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), str(root), str(root), "--work", str(folder)]
    command += ["--threads", arguments.threads, "--isa", arguments.isa]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def collect(process: subprocess.Popen[str]) -> dict[str, Parts]:
    """Its lines. Raises SystemExit where it did not come to its end."""
    assert process.stdout is not None
    found = {line["build"]: line["parts"] for line in map(json.loads, process.stdout)}
    if process.wait():
        print(f"{process.args[2]}: ended with {process.returncode}", file=sys.stderr)  # type: ignore[index]
        raise SystemExit(2)
    return found


def differences(old: Mapping[str, Parts], new: Mapping[str, Parts]) -> list[str]:
    """A line for each build that is not the same in both."""
    lines = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name, {}), new.get(name, {})
        parts = [part for part in dict.fromkeys((*a, *b)) if a.get(part) != b.get(part)]
        if not parts:
            continue
        told = [
            f"{part} ({a.get(part, 'none')} -> {b.get(part, 'none')})" if len(parts) < 3 else part
            for part in parts
        ]
        lines.append(f"{name}: {', '.join(told)}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--isa", default="", help="a,b; default: all that run here")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    roots = [arguments.old.resolve(), arguments.new.resolve()]
    for root in roots:
        if not any(root.glob("edgecv/_simd.*.so")):
            parser.error(f"{root}: expected a checkout whose native modules are built")
    if arguments.work is not None:
        isas = [isa for isa in arguments.isa.split(",") if isa]
        work(roots[0], arguments.work, isas, [int(n) for n in arguments.threads.split(",")])
        return 0
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as name:
        count = write_networks(Path(name), arguments.only)
        processes = [builds(root, Path(name), arguments) for root in roots]
        with ThreadPoolExecutor() as both:
            old, new = both.map(collect, processes)
    lines = differences(old, new)
    for line in lines[:SHOWN] + [f"{len(lines) - SHOWN} more differ"] * (len(lines) > SHOWN):
        print(line)
    refused = sum("refused" in parts for parts in new.values())
    print(f"{count} networks, {len(new)} builds, {refused} of them refused: {len(lines)} differ")
    return 1 if lines or not new else 0


if __name__ == "__main__":
    sys.exit(main())

"""Models x backends x threads x batches: networks alone, plans, twins, a busy machine, and a parent that is
killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecv import bench
from edgecv.backends import usable
from edgecv.bench import END_TO_END, network, runner
from edgecv.bench.report import MachineLoad
from edgecv.errors import EdgeCVError
from edgecv.explain import explain_model
from edgecv.options import LoadOptions
from edgecv.types import TensorSpec
from tests.bench import bench_fakes
from tests.bench.test_bench_run import config, log, read
from tests.networks import tiny_yolov8

__all__ = ["log"]

ROOT = Path(__file__).parent.parent.parent
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def test_a_row_for_each(log: Path) -> None:
    report = bench.run(config("fake", "four", models=("a", "b"), batches=(1, 3)))
    rows = [(each.model, each.backend, each.threads, each.batch) for each in report.results]
    assert rows == [(m, b, 1, n) for m in "ab" for b in ("fake", "four") for n in (1, 3)]
    names = bench.names_of(report)
    assert names[:2] == ["a, fake, 1 thread", "a, fake, 1 thread, batch 3"]
    assert bench.tables.short_names(("x/a.onnx", "y/a.onnx"))["x/a.onnx"] == "x/a.onnx"
    assert bench.tables.short_names(("x/a.onnx", "b"))["x/a.onnx"] == "a.onnx"
    assert len(set(names)) == len(rows)
    for each in report.results:
        assert each.latency_ms is not None
        assert each.latency_ms[END_TO_END].n == 6
        if each.backend == "four":
            assert each.latency_ms["find_regions"].p50 == bench_fakes.FOUR["find_regions"] * each.batch
    table = bench.to_table(report)
    assert [column.header for column in table.columns][1:] == [
        "batch", "min", "p50", "p90", "p99", "frames/s"
    ]  # fmt: skip
    assert table.row_count == len(rows)


def test_a_crash_leaves_the_other_rows(log: Path) -> None:
    report = bench.run(config("crash", "fake", models=("a", "b")))
    lines = "\n".join(bench.to_lines(report))
    assert "a, crash, 1 thread and 1 more: the worker was ended by signal SIGABRT" in lines
    assert [each.latency_ms is None for each in report.results] == [True, False, True, False]
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("backends", "measured_twice"),
    [(("fake", "four"), 0), (("unavailable", "fake"), 1), (("unavailable",), None), (("raise",), None)],
)
def test_the_twin_is_the_first_that_loads(
    log: Path, backends: tuple[str, ...], measured_twice: int | None
) -> None:
    report = bench.run(config(*backends, twin=True))
    assert len(report.results) == len(backends)
    if measured_twice is None:
        assert report.noise is None
        return
    assert report.noise is not None
    assert report.noise.contender == measured_twice
    loads = [line[0] for line in read(log, "load")]
    assert loads == [*backends, backends[measured_twice]]
    assert report.noise.p50 > 0
    assert "measured once more" in "\n".join(bench.to_lines(report))


@pytest.mark.parametrize(
    ("start", "end", "is_busy"),
    [(0.1, 1.2, False), (0.1, 3.5, True), (1.5, 1.5, True), (0.0, 2.9, False)],
    ids=["at rest", "busy at the end", "busy at the start", "with its own threads"],
)
def test_a_busy_machine(start: float, end: float, is_busy: bool) -> None:
    load = MachineLoad(start=start, end=end, processors=4, own=2)
    assert load.is_busy == is_busy
    assert ("busy with other work" in bench.tables.load_line(load)) == is_busy


def test_the_load_of_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([(0.25, 0, 0), (9.0, 0, 0)])
    monkeypatch.setattr(os, "getloadavg", lambda: next(loads))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    report = bench.run(config("fake", threads=(2,)))
    assert report.load == MachineLoad(start=0.25, end=9.0, processors=4, own=2)
    monkeypatch.delattr(os, "getloadavg")
    assert runner._load_average() is None


def test_threads_are_those_that_load_takes(log: Path) -> None:
    (result,) = bench.run(config("fake", threads=(None,))).results
    assert "('threads', None)" in " ".join(read(log, "load")[0])
    assert result.threads == 0, "as the fake is placed"


def headless(path: Path, *inputs: tuple[str, int, list[Any]]) -> Path:
    """A network whose output nobody reads: the sum of all sums of its inputs."""
    values = [helper.make_tensor_value_info(*one) for one in inputs]
    nodes = [helper.make_node("Cast", [name], [f"{name}_f"], to=FLOAT) for name, _, _ in inputs]
    sums = [f"{name}_s" for name, _, _ in inputs]
    nodes += [
        helper.make_node("ReduceSum", [f"{name}_f"], [f"{name}_s"], keepdims=0) for name, _, _ in inputs
    ]
    while len(sums) > 1:
        nodes.append(helper.make_node("Add", sums[:2], [f"{sums[0]}+"]))
        sums = [f"{sums[0]}+", *sums[2:]]
    nodes.append(helper.make_node("Identity", sums, ["total"]))
    outputs = [helper.make_tensor_value_info("total", FLOAT, [])]
    graph = helper.make_graph(nodes, "headless", values, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


IMAGE = ("images", FLOAT, [1, 3, 8, 8])
NETWORKS = [
    pytest.param([IMAGE], {}, id="static"),
    pytest.param([IMAGE, ("sizes", INT64, [1, 2])], {}, id="two inputs"),
    pytest.param([("x", FLOAT, ["n", 7])], {}, id="an open batch"),
    pytest.param([("images", FLOAT, [1, 3, "h", "w"])], {"options": LoadOptions(imgsz=8)}, id="imgsz"),
    pytest.param([("audio", FLOAT, [1, "t"])], {"shapes": {"audio": (1, 160)}}, id="a shape"),
    pytest.param([("x", FLOAT, ["n", 7])], {"batches": (1, 2)}, id="batches"),
    pytest.param([("images", FLOAT, [2, 3, 8, 8])], {"batches": (2,)}, id="a fixed batch"),
]


@pytest.mark.skipif("onnxruntime" not in usable(), reason="onnxruntime is not usable here")
@pytest.mark.parametrize(("inputs", "changes"), NETWORKS)
def test_a_network_alone(tmp_path: Path, inputs: list[Any], changes: dict[str, Any]) -> None:
    path = headless(tmp_path / "net.onnx", *inputs)
    loader = bench.BenchConfig(models=("x",)).loader
    asked = bench.prepared(config("onnxruntime", models=(str(path),), loader=loader, **changes))
    assert asked.alone == (str(path),)
    report = bench.run(asked)
    result = report.results[-1]
    assert result.error is None
    assert result.is_alone
    assert result.latency_ms is not None
    assert list(result.latency_ms) == ["inference", END_TO_END]
    assert report.frame is None
    assert "inference alone" in "\n".join(bench.to_lines(report))


@pytest.mark.parametrize(
    ("inputs", "changes", "text"),
    [
        pytest.param([("a", FLOAT, [1, "t"])], {}, "--shape a=", id="an open axis"),
        pytest.param([IMAGE], {"shapes": {"b": (1,)}}, "has no input 'b'; it has images", id="no such input"),
        pytest.param([IMAGE], {"batches": (2,)}, "no first axis is 2", id="a fixed batch"),
    ],
)
def test_a_network_that_cannot_be_fed(
    tmp_path: Path, inputs: list[Any], changes: dict[str, Any], text: str
) -> None:
    path = headless(tmp_path / "net.onnx", *inputs)
    given = {"models": (str(path),), "alone": (str(path),), "backends": (None,)} | changes
    report = bench.run(config(**given))
    assert text in (report.results[0].error or "")
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"settings": {"conf": 0.5}}, "conf: 0.5 was asked for, and nothing says", id="settings"),
        pytest.param({"models": ("no such model",)}, "no such model", id="no such model"),
        pytest.param(
            {"models": ("parts-nano",), "shapes": {"images": (1,)}}, "--imgsz gives the size", id="shapes"
        ),
        pytest.param({"models": ("parts-nano",), "settings": {"top": 3}}, "takes no top", id="another task"),
    ],
)
def test_what_is_wrong_is_told_before(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    path = headless(tmp_path / "net.onnx", IMAGE)
    with pytest.raises(EdgeCVError, match=text):
        bench.prepared(config("simd", **({"models": (str(path),)} | changes)))


def test_of_several_models_one_may_be_wrong() -> None:
    asked = config("simd", models=("parts-nano", "no such model"))
    assert bench.prepared(asked) == asked


@pytest.mark.parametrize(
    ("dtype", "shape", "is_noise"),
    [
        ("float32", (1, 3, 4, 4), True),
        ("float16", (1, 3, 4), True),
        ("uint8", (1, 4, 4, 3), True),
        ("float32", (1, 2), False),
        ("int64", (1, 2), False),
        ("bool", (1,), False),
    ],
)
def test_inputs_are_made_up(dtype: str, shape: tuple[int, ...], is_noise: bool) -> None:
    found = network.made_up(TensorSpec("x", np.dtype(dtype), shape), shape)
    assert found.shape == shape
    assert found.dtype == dtype
    assert (len(np.unique(found)) > 1) == is_noise
    if not is_noise:
        assert (found == 1).all()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "simd" not in usable():
        pytest.skip("simd is not usable here")
    folder = tmp_path_factory.mktemp("plan")
    (folder / "tiny.onnx").write_bytes(tiny_yolov8())
    explain_model(str(folder / "tiny.onnx"), LoadOptions(threads=1), out=folder / "tiny.ecv")
    return folder / "tiny.ecv"


@pytest.mark.parametrize(
    ("names", "skip", "code"),
    [
        pytest.param(("simd", "opencv"), True, 0, id="every usable one"),
        pytest.param(("simd", "opencv"), False, 1, id="named"),
        pytest.param(("opencv",), True, 2, id="without its own"),
    ],
)
def test_a_plan_on_other_backends(plan: Path, names: tuple[str, ...], skip: bool, code: int) -> None:
    loader = bench.BenchConfig(models=("x",)).loader
    report = bench.run(config(*names, models=(str(plan),), skip_foreign=skip, loader=loader))
    assert report.exit_code in (code, 3 if code == 2 else code)
    other = report.results[-1]
    assert (other.skipped is not None) == (code == 0)
    assert (other.error is not None) == (code != 0)
    assert "simd" in (other.skipped or other.error or "")
    assert f"opencv, 1 thread: {'skipped: ' if other.skipped else ''}" in "\n".join(bench.to_lines(report))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
@pytest.mark.parametrize("backend", ["hang", "hang-at-load"])
def test_workers_end_with_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, end: signal.Signals
) -> None:
    # Not the fixture, which waits for process numbers that nobody frees where process 1 does not.
    log = tmp_path / "log"
    monkeypatch.setenv(bench_fakes.LOG, str(log))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from edgecv import bench\n"
        f"bench.run(bench.BenchConfig(models=('m',), backends=('fake', {backend!r}), threads=(1,), "
        "twin=False, frame_wh=(8, 4), warmup=1, loader='tests.bench.bench_fakes:load'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not log.exists() or len(read(log, "load")) < 2 or not read(log, "frame"):
        assert time.monotonic() < limit
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(end)
    parent.wait(60)
    pids = [int(line[1]) for line in read(log, "load")]
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < limit, "a worker outlives its parent"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    """Whether it is more than an entry that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"

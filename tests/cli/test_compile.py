"""edgecv compile: what the simd engine makes of a model, for people and for machines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from rich.console import Console

from edgecv import _isa
from edgecv.cli.compile import to_table
from edgecv.explain import explain_model
from edgecv.options import LoadOptions
from tests.cli.conftest import Result
from tests.engine.test_engine_saved_stages import write_staged
from tests.model_files import write_darknet
from tests.networks import model_bytes, tiny_trunk, tiny_yolov8

Run = Callable[..., Result]

NETWORK_KEYS = {
    "remarks",
    *("stage", "file", "isa", "lanes", "threads", "inputs", "outputs", "operators", "changes", "missed"),
    *("steps", "flops", "moved_bytes", "memory", "graph"),
}


def test_summary(edgecv: Run, network: Path) -> None:
    result = edgecv("compile", network, "--threads", 1)
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == [str(network)]
    assert [words[0] for words in lines[1:9]] == [
        *("network", "engine", "work", "operators", "views", "steps", "copies", "memory"),
    ]
    assert "images 1x3x64x64 -> output0 1x7x84" in result.out
    assert f"{_isa.active()}, " in result.out
    assert ", 1 thread\n" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_explanation_in_order(edgecv: Run, network: Path) -> None:
    result = edgecv("compile", network, "--explain")
    assert result.code == 0, result.err
    parts = (
        "memory",
        "passes, and how often",
        "not done",
        "of work",
        "the graph before:",
        "the graph after:",
    )
    places = [result.out.index(part) for part in parts]
    assert places == sorted(places)
    assert "conv 8x8/8" in result.out
    assert "= Conv(images, weight8: 7x3x8x8, [" in result.out
    assert "] strides=[8, 8]\n" in result.out.replace(")", "")


def test_json(edgecv: Run, network: Path, tmp_path: Path) -> None:
    result = edgecv("compile", network, "--threads", 2, "--json", "-")
    assert result.code == 0, result.err
    assert set(result.json) == {"model", "networks"}
    (found,) = result.json["networks"]
    assert set(found) == NETWORK_KEYS
    assert (found["isa"], found["threads"]) == (_isa.active(), 2)
    assert found["inputs"] == {"images": [1, 3, 64, 64]}
    assert found["outputs"] == {"output0": [1, 7, 84]}
    assert sum(found["operators"]["before"].values()) == 9
    assert found["flops"] == math.fsum(step["flops"] for step in found["steps"])
    # Three convolutions of 3 channels to 7, each input pixel used once, and the last two operators.
    assert 3 * 2 * 3 * 7 * 64 * 64 <= found["flops"] < 3 * 2 * 3 * 7 * 64 * 64 + 10 * 7 * 84
    assert found["moved_bytes"] == sum(step["bytes"] for step in found["steps"])
    assert set(found["memory"]) == {"weights", "arena", "arena_side_by_side", "scratch"}
    assert found["memory"]["arena"] <= found["memory"]["arena_side_by_side"]
    assert found["graph"]["before"][0] == "input images: 1x3x64x64"
    assert found["graph"]["after"][-1] == "output output0"
    path = tmp_path / "told.json"
    told = edgecv("compile", network, "--threads", 2, "--json", path)
    assert "memory" in told.out
    assert path.read_text() == result.out


@pytest.mark.parametrize("columns", [80, 120], ids=str)
def test_the_table_fits(columns: int) -> None:
    (explanation,) = explain_model("parts-nano", LoadOptions(threads=1)).values()
    console = Console(width=columns)
    with console.capture() as captured:
        console.print(to_table(explanation, columns))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if line[:4].strip().isdigit()]
    assert len(rows) == len(explanation.steps)
    for row, step in zip(rows, explanation.steps, strict=True):
        assert step.label[-8:] in row
        assert f"{step.flops / 1e6:.2f}" in row
        assert f"{step.bytes / 1e3:.1f}" in row


@pytest.mark.parametrize("isa", _isa.usable())
def test_the_forced_isa(edgecv: Run, network: Path, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_ISA", isa)
    (found,) = edgecv("compile", network, "--json", "-").json["networks"]
    assert found["isa"] == isa
    assert {step["blocks"] for step in found["steps"]} <= {0, found["lanes"]}


def test_dynamic_inputs(edgecv: Run, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.onnx"
    path.write_bytes(tiny_yolov8(dynamic=True, batch="batch"))
    # Its metadata say 64 x 64.
    (found,) = edgecv("compile", path, "--json", "-").json["networks"]
    assert found["inputs"] == {"images": [1, 3, 64, 64]}
    (found,) = edgecv("compile", path, "--imgsz", "128x96", "--json", "-").json["networks"]
    assert found["inputs"] == {"images": [1, 3, 96, 128]}


def test_a_network_that_nobody_can_read(edgecv: Run, tmp_path: Path) -> None:
    path = tmp_path / "trunk.onnx"
    path.write_bytes(tiny_trunk())
    result = edgecv("compile", path)
    assert result.code == 0, result.err
    assert "conv5 1x20x5x6" in result.out


def test_darknet(edgecv: Run, tmp_path: Path) -> None:
    result = edgecv("compile", write_darknet(tmp_path, "net"))
    assert result.code == 0, result.err
    assert "data 1x3x64x64" in result.out


def write_networks(folder: Path) -> None:
    """Networks that the engine refuses, and files that are none."""
    sides: list[int | str] = ["n", 3, "h", "w"]
    weights = {"w": np.ones((4, 3, 3, 3), np.float32)}
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="first")
    networks = {
        "size": model_bytes(
            [conv], inputs=[("x", sides)], outputs=[("y", ["n", 4, "h2", "w2"])], weights=weights
        ),
        "axis": model_bytes(
            [helper.make_node("Relu", ["x"], ["y"])],
            inputs=[("x", [1, "k"])],
            outputs=[("y", [1, "k"])],
        ),
        "operator": model_bytes(
            [
                helper.make_node("Det", ["x"], ["y"], name="volume"),
            ],
            inputs=[("x", [1, 3, 8, 8])],
            outputs=[("y", [1, 3])],
        ),
        "form": model_bytes(
            [helper.make_node("Conv", ["x", "w"], ["y"], name="deep", kernel_shape=[3, 3, 3])],
            inputs=[("x", [1, 3, 8, 8, 8])],
            outputs=[("y", [1, 4, 6, 6, 6])],
            weights={"w": np.ones((4, 3, 3, 3, 3), np.float32)},
        ),
    }
    for name, data in networks.items():
        (folder / f"{name}.onnx").write_bytes(data)
    (folder / "cut.onnx").write_bytes(networks["form"][:300])
    (folder / "text.onnx").write_text("hello")


BAD = {
    "nothing": (["no.onnx"], "no.onnx: no such file"),
    "no name": (["abacus"], "no model of that name; known: "),
    "cut": (["cut.onnx"], "not an ONNX model, or a damaged one (300 bytes)"),
    "text": (["text.onnx"], "not an ONNX model"),
    "size not known": (["size.onnx"], "input x: float32 (n, 3, h, w) takes any size: name one with --imgsz"),
    "size of nothing": (
        ["size.onnx", "--imgsz", "0"],
        "imgsz: expected a size or (width, height) of at least 1, got (0, 0)",
    ),
    "size that leaves nothing": (
        ["size.onnx", "--imgsz", "2"],
        "node 'first' (Conv): its input of (1, 3, 2, 2)",
    ),
    "size beyond reason": (["size.onnx", "--imgsz", "100000"], "over the 1024 MiB that one input may take"),
    "size of a fixed one": (["parts-nano", "--imgsz", "640"], "the network's input is fixed at 320x320"),
    "size in words": (["parts-nano", "--imgsz", "large"], "--imgsz: expected a size such as 416 or 640x480"),
    "half a size": (["parts-nano", "--imgsz", "640x"], "--imgsz: expected a size such as 416 or 640x480"),
    "axis not known": (["axis.onnx"], "input x: float32 (1, k): the size of axis 1 is not known"),
    "threads": (["parts-nano", "--threads", "5000"], "threads: expected a whole number from 1 to"),
    "operator": (
        ["operator.onnx"],
        "node 'volume' (Det): an operator that it does not have; backends that",
    ),
    "form": (
        ["form.onnx"],
        "node 'deep' (Conv): expected 1 to 2 axes of pixels, got input 0 (1, 3, 8, 8, 8)",
    ),
}


@pytest.mark.parametrize(("args", "named"), BAD.values(), ids=BAD)
def test_wrong_use_is_one_clear_line(
    edgecv: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], named: str
) -> None:
    write_networks(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = edgecv("compile", *args)
    assert result.code == 2, result.err
    assert named in result.err
    assert len(result.err.splitlines()) == 1
    assert result.out == ""


def test_the_backends_that_can_run_it(edgecv: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="it is the one that can")
    write_networks(tmp_path)
    result = edgecv("compile", tmp_path / "operator.onnx")
    assert "; backends that can run it: onnxruntime" in result.err


def test_an_isa_that_is_none(edgecv: Run, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_ISA", "abacus")
    result = edgecv("compile", network)
    assert result.code == 2
    assert result.err.startswith("edgecv: EDGECV_ISA=abacus: not built in; one of ")
    rows = {row["backend"]: row for row in edgecv("backends", "--json", "-").json["backends"]}
    assert not rows["simd"]["usable"]
    assert "EDGECV_ISA=abacus" in rows["simd"]["reason"]


def test_plan_is_kept_and_runs(edgecv: Run, network: Path, picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.ecv"
    result = edgecv("compile", network, "--threads", 1, "--out", path)
    assert result.code == 0, result.err
    assert f"wrote {path}, " in result.err
    detected = edgecv("detect", path, picture, "--json", "-")
    assert detected.code == 0, detected.err
    assert detected.lines[0]["placement"]["backend"] == "simd"
    refused = edgecv("detect", path, picture, "--backend", "onnxruntime")
    assert (refused.code, len(refused.err.splitlines())) == (3, 1)
    path.write_bytes(path.read_bytes()[:-1])
    damaged = edgecv("detect", path, picture)
    assert (damaged.code, len(damaged.err.splitlines())) == (2, 1)
    assert "expected a container of edgecv" in damaged.err


def test_plan_of_two_networks(edgecv: Run, picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.ecv"
    card = write_staged(tmp_path)
    result = edgecv("compile", card, "--threads", 1, "--out", path)
    assert result.code == 0, result.err
    assert f"{card}, roi\n" in result.out
    expected, found = (
        edgecv("detect", model, picture, "--backend", "simd", "--threads", 1, "--json", "-").lines[0]
        for model in (card, path)
    )
    assert found["detections"] == expected["detections"]
    assert found["placement"] == expected["placement"]


def test_plan_that_is_refused(edgecv: Run, network: Path, picture: Path, tmp_path: Path) -> None:
    foreign = next(isa for isa in ("neon", "avx512", "avx2") if isa not in _isa.usable())
    path = tmp_path / "plan.ecv"
    result = edgecv("compile", network, "--isa", foreign, "--out", path)
    assert result.code == 0, result.err
    assert f"scratch not known for {foreign} here" in result.out
    assert edgecv("detect", path, picture).code == 3
    for wrong in (("--isa", "mmx"), ("--out", "plan.zip"), ("--out", tmp_path / "none" / "plan.ecv")):
        result = edgecv("compile", network, *wrong)
        assert (result.code, len(result.err.splitlines())) == (2, 1)

"""edgecv bench --layers and --hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result
from tests.report.html_reader import check_self_contained

Run = Callable[..., Result]
LAYERS = ("--layers", "--threads", 1, "--threads", 1, "--frames", 2)


def test_layers(edgecv: Run, network: Path, tmp_path: Path) -> None:
    svg, page = tmp_path / "layers.svg", tmp_path / "layers.html"
    result = edgecv("bench", network, *LAYERS, "--json", "-", "--out", svg, "--html", page)
    assert result.code == 0, result.err
    (found,) = result.json["networks"]
    assert found["threads"] == 1
    assert found["peak_gflops_per_s"] > 0
    assert {"ms", "gflops_per_s", "gbytes_per_s", "of_peak"} <= found["layers"][0].keys()
    assert svg.read_text(encoding="utf-8").startswith("<svg ")
    assert "GFLOP/s" in page.read_text(encoding="utf-8")
    check_self_contained(page.read_text(encoding="utf-8"))


def test_layers_as_text(edgecv: Run, network: Path) -> None:
    result = edgecv("bench", network, *LAYERS, "--backend", "simd", "--threads", "1,2")
    assert result.code == 0, result.err
    assert result.out.count("of peak") == 2
    assert "1 thread, the least of 2 runs" in result.out
    assert "2 threads, the least of 2 runs" in result.out


@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param((*LAYERS, "--backend", "onnxruntime"), "expected --backend simd", id="another backend"),
        pytest.param((*LAYERS, "--hint", "throughput"), "--hint: does not go", id="hint"),
        pytest.param((*LAYERS, "--precision", "fp16"), "--precision: does not go", id="precision"),
        pytest.param((*LAYERS, "--source", "x.jpg"), "--source: does not go", id="source"),
        pytest.param((*LAYERS, "--no-cache"), "--cache: does not go", id="cache"),
        pytest.param((*LAYERS, "--warmup", 3), "--warmup: does not go", id="warmup"),
        pytest.param((*LAYERS, "--seconds", 3), "--seconds: does not go", id="seconds"),
        pytest.param((*LAYERS, "--out", "layers.png"), "expected the name of an .svg file", id="png"),
        pytest.param((*LAYERS, "--out", "a.svg", "--threads", "1,2"), "--out: one chart", id="two charts"),
        pytest.param(("--out", "a.svg"), "--out: writes the chart of --layers", id="out without layers"),
    ],
)
def test_what_does_not_go_together(
    edgecv: Run, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgecv("bench", network, *given)
    assert result.code == 2
    assert text in result.err
    assert not list(tmp_path.glob("*.svg"))


def test_throughput(edgecv: Run, network: Path) -> None:
    given = ("--backend", "simd", "--frames", 8, "--warmup", 2, "--threads", "2", "--hint", "throughput")
    result = edgecv("bench", network, *given, "--json", "-")
    assert result.code == 0, result.err
    (row,) = result.json["results"]
    assert (row["threads"], row["streams"]) == (2, 2)
    assert row["placement"]["threads"] == 1, "of each stream"
    assert row["frames_per_s"] > 0
    assert result.json["config"]["hint"] == "throughput"

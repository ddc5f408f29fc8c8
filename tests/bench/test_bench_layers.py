"""Where a network's time goes: rates of layers, what they are held against, and how they are shown."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edgecv.bench.layer_views import MOST_BARS, layers_chart, layers_lines, layers_page, layers_table, name_of
from edgecv.bench.layers import Layer, LayersReport, NetworkLayers, measure_layers
from edgecv.bench.peak import Peak
from edgecv.errors import EdgeCVError, InputError
from edgecv.options import LoadOptions
from edgecv.report import to_html, to_svg
from tests.networks import tiny_yolov8
from tests.report.html_reader import check_self_contained


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    return path


def test_rates_of_each_layer(network: Path) -> None:
    report = measure_layers(str(network), threads=(1, 2), runs=3)
    assert [each.threads for each in report.networks] == [1, 2]
    for each in report.networks:
        assert each.peak_gflops_per_s > 0
        assert each.floor_ms == pytest.approx(each.flops / each.peak_gflops_per_s / 1e6)
        assert each.ms == pytest.approx(sum(layer.ms for layer in each.layers))
        assert each.flops == pytest.approx(sum(layer.flops for layer in each.layers))
        assert sum(layer.of_time for layer in each.layers) == pytest.approx(1)
        assert any(layer.op == "conv" for layer in each.layers)
        for layer in each.layers:
            assert layer.gflops_per_s == pytest.approx(layer.flops / layer.ms / 1e6)
            assert layer.gbytes_per_s == pytest.approx(layer.bytes / layer.ms / 1e6)
            assert layer.of_peak == pytest.approx(layer.gflops_per_s / each.peak_gflops_per_s)
    assert report.as_dict()["networks"][0]["layers"][0]["label"]


def test_options_reach_the_engine_but_for_threads(tmp_path: Path) -> None:
    path = tmp_path / "any_size.onnx"
    path.write_bytes(tiny_yolov8(dynamic=True))
    flops = {}
    for size in (64, 128):
        (found,) = measure_layers(
            str(path), LoadOptions(imgsz=size, threads=7), threads=(1,), runs=1
        ).networks
        assert found.threads == 1, "which are measured one by one"
        flops[size] = found.flops
    assert flops[128] == pytest.approx(4 * flops[64])


def test_ctrl_c_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def budget() -> int:
        # Asked right before the steps are timed.
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return 1

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    monkeypatch.setattr("edgecv.engine.explain.machine.cpu_budget", budget)
    monkeypatch.setattr(Peak, "measure", lambda _: 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            measure_layers("parts-nano", runs=1 << 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_peak_is_the_most_so_far() -> None:
    with Peak(1) as peak:
        first = peak.measure(1)
        assert first > 0
        assert peak.measure(2) >= first
        assert peak.gflops_per_s >= first


def test_the_process_is_put_back_on_its_processors(network: Path) -> None:
    before = os.sched_getaffinity(0)
    report = measure_layers(str(network), runs=1, pin=(min(before),))
    assert report.pin == (min(before),)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"runs": 0}, "frames: expected 1", id="no runs"),
        pytest.param({"threads": ()}, "threads", id="no thread count"),
        pytest.param({"threads": (0,)}, "threads: expected at least 1", id="no threads"),
        pytest.param({"pin": (4095,)}, "cannot run on processors", id="no such processor"),
        pytest.param({"pin": (0,), "threads": (2,)}, "a processor for each", id="too few processors"),
    ],
)
def test_what_makes_no_sense(network: Path, changes: dict[str, object], text: str) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(InputError, match=text):
        measure_layers(str(network), **changes)  # type: ignore[arg-type]
    assert os.sched_getaffinity(0) == before


def test_a_network_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgeCVError, match="nowhere"):
        measure_layers(str(tmp_path / "nowhere.onnx"))


def layer(ms: float, flops: float = 1e6, label: str = "node") -> Layer:
    return Layer(
        op="conv",
        label=label,
        how="3x3",
        result=(1, 8, 4, 4),
        flops=flops,
        bytes=1000,
        ms=ms,
        gflops_per_s=flops / ms / 1e6,
        gbytes_per_s=1e-3 / ms,
        of_peak=flops / ms / 1e6 / 100,
        of_time=0.5,
    )


def report_of(*networks: tuple[str, list[Layer]]) -> LayersReport:
    return LayersReport(
        model="some",
        runs=7,
        pin=None,
        machine={},
        networks=tuple(
            NetworkLayers(
                stage=stage,
                isa="sse42",
                threads=1,
                peak_gflops_per_s=100.0,
                flops=sum(each.flops for each in layers),
                bytes=1,
                ms=sum(each.ms for each in layers),
                floor_ms=0.02,
                layers=tuple(layers),
            )
            for stage, layers in networks
        ),
    )


def test_table_and_lines() -> None:
    report = report_of(("network", [layer(0.02), layer(0.02, label="a/very/long/name/of/a/node" * 5)]))
    table = layers_table(report.networks[0], 100)
    assert table.row_count == 2
    cells = [list(column.cells) for column in table.columns]
    assert cells[3] == ["8x4x4", "8x4x4"]
    assert cells[4] == ["20.0", "20.0"]
    assert cells[8] == ["50%", "50%"]
    assert str(cells[1][1]).startswith("…")
    text = " ".join(layers_lines(report, report.networks[0]))
    assert "together 0.040 ms, 50.0 GFLOP/s" in text
    assert "peak of 100.0 GFLOP/s" in text
    assert text.endswith("0.020 ms: 50%")


def test_the_chart_is_slowest_first_and_sums_up_the_rest() -> None:
    layers = [layer(0.01 * (i + 1), label=f"n{i}") for i in range(MOST_BARS + 3)]
    svg = to_svg(layers_chart(report := report_of(("network", layers)), report.networks[0]))
    assert svg.index(f"{MOST_BARS + 2} conv 3x3") < svg.index(f"{MOST_BARS + 1} conv 3x3")
    assert "3 more" in svg
    assert "multiply-adds at the peak" in svg


def test_the_page() -> None:
    report = report_of(("trunk", [layer(0.01)]), ("roi", [layer(0.02)]))
    assert [name_of(report, each) for each in report.networks] == ["some, trunk", "some, roi"]
    page = check_self_contained(to_html(layers_page(report, command="edgecv bench some --layers")))
    heads = [element.text.strip() for element in page.all("h2")]
    assert heads[:2] == ["some, trunk, 1 thread", "some, roi, 1 thread"]

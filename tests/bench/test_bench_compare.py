"""Ratios with their uncertainty, and a run against an earlier one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from edgecv import bench, machine
from edgecv.bench import ratios
from edgecv.bench.report import BenchResult, MachineLoad, Noise, Turn
from edgecv.errors import InputError

MACHINE = machine.identity()
STEADY = (1.00, 1.01, 0.99, 1.02, 0.98, 1.00)


def scaled(factor: float) -> list[float]:
    return [factor * turn for turn in STEADY]


@pytest.mark.parametrize(
    ("after", "noise", "ratio", "verdict"),
    [
        pytest.param(scaled(0.8), 0.0, 0.8, "faster", id="a gain"),
        pytest.param(scaled(1.3), 0.0, 1.3, "slower", id="a loss"),
        pytest.param(scaled(1.0), 0.0, 1.0, "no difference", id="the same"),
        pytest.param(scaled(0.99), 0.0, 0.99, "no difference", id="less than turns differ"),
        pytest.param(scaled(0.8), 0.3, 0.8, "no difference", id="less than equal runs differ"),
        pytest.param(scaled(1.3), 0.1, 1.3, "slower", id="more than equal runs differ"),
        pytest.param([0.5, 0.5, 3.0, 3.0, 0.5], 0.0, 0.5, "no difference", id="turns that jump"),
        pytest.param([0.8] * 4, 0.0, 0.8, "too few turns", id="four turns"),
    ],
)
def test_noise_is_no_gain(after: list[float], noise: float, ratio: float, verdict: str) -> None:
    found = ratios.ratio(STEADY, after, noise)
    assert found.ratio == pytest.approx(ratio)
    assert found.verdict == verdict
    if found.low is None or found.high is None:
        assert verdict == "too few turns"
    else:
        assert found.low <= found.ratio <= found.high


def test_the_interval_is_that_of_all_resamples() -> None:
    """Of five turns all 3,125 resamples can be listed."""
    turns = [3.0, 1.0, 2.0, 5.0, 4.0]
    medians = sorted(np.median(drawn) for drawn in itertools.product(turns, repeat=5))
    low, high = (medians[round(share * len(medians))] for share in (0.025, 0.975))
    found = ratios.ratio([1.0] * 5, turns)
    assert (found.low, found.high) == (low, high)


def test_equal_runs_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(3)
    verdicts = [
        ratios.ratio(rng.normal(10, 1, 10).tolist(), rng.normal(10, 1, 10).tolist()).verdict
        for _ in range(100)
    ]
    assert verdicts.count("no difference") >= 90


def report(*results: BenchResult, **changes: Any) -> bench.BenchReport:
    config = bench.BenchConfig(models=tuple(dict.fromkeys(result.model for result in results)))
    return bench.BenchReport(
        **{"config": config, "machine": MACHINE, "frame": None, "results": results, **changes}
    )


def result(ms: float = 10.0, **changes: Any) -> BenchResult:
    turns = tuple(Turn(n=50, p50=ms * turn, min=ms * turn * 0.9) for turn in STEADY)
    return BenchResult(**{"model": "a.onnx", "backend": "simd", "threads": 1, "turns": turns, **changes})


FAILED = {"turns": (), "error": "it broke", "error_type": "BackendError"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(result(), result(5.0), "faster", id="the same contender"),
        pytest.param(result(model="old/a.onnx"), result(5.0), "faster", id="one model that moved"),
        pytest.param(
            result(backend=None, placement={"backend": "simd"}), result(), "no difference", id="by placement"
        ),
        pytest.param(result(threads=2), result(), "no such contender", id="other threads"),
        pytest.param(result(batch=4), result(), "no such contender", id="another batch"),
        pytest.param(result(streams=2), result(), "no such contender", id="other streams"),
        pytest.param(result(backend="opencv"), result(), "no such contender", id="another backend"),
        pytest.param(result(**FAILED), result(), "earlier run: it broke", id="failed before"),
        pytest.param(result(), result(**FAILED), "this run: it broke", id="fails now"),
        pytest.param(result(), result(turns=(), skipped="a plan"), "this run: a plan", id="skipped now"),
        pytest.param(result(is_alone=True), result(), "network alone in one run", id="other stages"),
    ],
)
def test_contenders_of_two_runs(before: BenchResult, after: BenchResult, expected: str) -> None:
    found = bench.compare(report(before), report(after), origin="before.json")
    (one,) = found.contenders
    if one.error is not None:
        assert expected in one.error
        assert one.p50 is one.min is None
        return
    assert {each.verdict for each in (one.p50, one.min) if each is not None} == {expected}


def test_of_several_models_each_has_its_own() -> None:
    before = report(result(10, model="a"), result(20, model="b"))
    after = report(result(20, model="b"), result(5, model="a"))
    found = bench.compare(before, after, origin="x")
    assert [each.p50.ratio for each in found.contenders if each.p50] == [1.0, 0.5]


def test_noise_of_either_run_widens() -> None:
    noise = Noise(contender=0, p50=1 / 1.2, min=1.0)
    for before, after in ((noise, None), (None, noise)):
        found = bench.compare(report(result(), noise=before), report(result(9.0), noise=after), origin="x")
        assert (found.noise_p50, found.noise_min) == pytest.approx((0.2, 0.0))
        assert found.contenders[0].p50 is not None
        assert found.contenders[0].p50.verdict == "no difference"


def test_other_conditions_are_told() -> None:
    busy = MachineLoad(start=3.0, end=3.0, processors=4, own=1)
    elsewhere = {**MACHINE, "cpu": {**MACHINE["cpu"], "model": "another"}}
    before = report(result(), load=busy, machine=elsewhere)
    after = report(result(), frame=bench.FrameInfo(source=None, count=1, width=8, height=4))
    told = "\n".join(bench.compare(before, after, origin="x").differences)
    for text in ('processor: "another" before, ', "frame: none before", "busy during earlier run"):
        assert text in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read"),
        ("no json", "got another file"),
        ("[]", "got another file"),
        ("{}", "of schema 3, got None"),
        ('{"schema": 2}', "of schema 3, got 2: measure it anew"),
        ('{"schema": 3}', "expected JSON of edgecv bench"),
    ],
)
def test_what_is_no_report(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "before.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"compare: .*before\.json") as error:
        bench.read_report(str(path))
    assert expected in str(error.value)


def test_a_report_comes_back_from_its_file_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_bytes(msgspec.json.encode(report(result()).as_dict()))
    before = bench.read_report(str(path))
    assert before == report(result())
    after = replace(report(result(5.0)), noise=Noise(contender=0, p50=1.01, min=1.0))
    compared = bench.with_comparison(after, before, str(path))
    lines = "\n".join(bench.to_lines(compared))
    for text in (f"against {path}", "p50 0.500 (0.4", "), faster; min 0.500", "p50 1.0%, min 0.0%"):
        assert text in lines
    assert msgspec.convert(compared.as_dict(), bench.BenchReport) == compared

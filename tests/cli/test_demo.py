"""edgecv demo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edgecv import backends, child
from edgecv.demo import cell
from tests.children import call_here
from tests.cli.conftest import Result

Run = Callable[..., Result]

pytestmark = pytest.mark.skipif(not backends.usable(), reason="no backend is usable here")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured for a moment: what is told of it counts here. What is changed cannot be sent."""
    monkeypatch.setattr(child, "call", call_here)
    monkeypatch.setattr(cell, "DemoConfig", partial(cell.DemoConfig, seconds=0.2))


def test_demo(edgecv: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = edgecv("demo", "--out", out, "--frames", 2, "--threads", 1)
    assert result.code == 0, result.out + result.err
    assert all(name in result.out for name in (*backends.usable(), "found", "p50", "report.html"))
    assert {path.name for path in out.iterdir()} == {"annotated", "belt", "latency.svg", "report.html"}
    assert f"edgecv demo --out {out} --frames 2" in (out / "report.html").read_text()


def test_demo_as_json(edgecv: Run, tmp_path: Path) -> None:
    backend = backends.usable()[0]
    result = edgecv("demo", "--out", tmp_path, "--frames", 1, "--backend", backend, "--json", "-")
    assert result.code == 0, result.err
    assert [outcome["backend"] for outcome in result.json["outcomes"]] == [backend]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--frames", 0), "frames: expected 1 to 1000, got 0"),
        (("--backend", "nothing"), "expected one of"),
        (("--seed", -1), "seed"),
    ],
)
def test_wrong_use(edgecv: Run, tmp_path: Path, args: tuple[object, ...], message: str) -> None:
    result = edgecv("demo", "--out", tmp_path / "out", *args)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_folder_that_cannot_be_written(edgecv: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = edgecv("demo", "--out", tmp_path / "file" / "out", "--frames", 1)
    assert result.code == 2
    assert "file" in result.err
    assert "Traceback" not in result.err


def test_an_absent_device(edgecv: Run, tmp_path: Path) -> None:
    result = edgecv("demo", "--out", tmp_path / "out", "--frames", 1, "--device", "cuda:9", "--json", "-")
    assert result.code == 3
    assert "cuda:9" in result.err

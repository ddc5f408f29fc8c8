"""The process that other tests compare with, where it fails; and the line about what was compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.oracle import Oracle, OracleError, tally


def fake(folder: Path, script: str) -> Oracle:
    """A process that does what a script of the shell says."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return Oracle(python, folder)


def ask(oracle: Oracle, name: str) -> None:
    oracle.run(Path(name), None, {}, {})


def test_a_death_names_the_network_and_the_next_one_is_asked_again(tmp_path: Path) -> None:
    oracle = fake(tmp_path, """echo '{"version": "4"}'; read request; exit 3""")
    for name in ("first.cfg", "second.cfg"):
        with pytest.raises(OracleError, match=rf"^OpenCV 4 died of {name}: exit status 3$"):
            ask(oracle, name)


def test_a_refusal_is_told(tmp_path: Path) -> None:
    oracle = fake(tmp_path, """echo '{"version": "4"}'; read request; echo '{"error": "no such layer"}'""")
    with pytest.raises(OracleError, match=r"^OpenCV 4 does not run net\.cfg: no such layer$"):
        ask(oracle, "net.cfg")
    oracle.close()


def test_an_environment_without_opencv(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="run `make oracle` again"):
        ask(fake(tmp_path, "exit 1"), "net.cfg")


def report(truth: str | None, deviation: float | None = None, longrepr: Any = None) -> SimpleNamespace:
    noted = [(tally.TRUTH, truth)] if truth else []
    noted += [(tally.DEVIATION, deviation)] if deviation is not None else []
    return SimpleNamespace(user_properties=noted, longrepr=longrepr)


ABSENT = ("conftest.py", 1, "Skipped: OpenCV 4 is not here")


@pytest.mark.parametrize(
    ("stats", "line"),
    [
        ({"passed": [report(None)], "": [report("opencv")]}, ""),
        (
            {"passed": [report("opencv", 2e-6), report("opencv", 1e-7), report("numpy", 0.0)]},
            "imported structures and models: 2 compared with OpenCV 4 (worst 2.0e-06 of the largest), "
            "1 compared with the NumPy reference (worst 0.0e+00 of the largest), 0 not compared",
        ),
        (
            {"skipped": [report("opencv", longrepr=ABSENT)] * 2, "failed": [report("numpy"), report(None)]},
            "imported structures and models: 0 compared with OpenCV 4, 0 compared with the NumPy reference, "
            "3 not compared (2 OpenCV 4 is not here; 1 failed)",
        ),
    ],
    ids=["nothing", "all", "lacking"],
)
def test_the_line_at_the_end(stats: dict[str, Any], line: str) -> None:
    assert tally.summary(stats) == line


ROOT = Path(__file__).parents[1]
COUNTED = ["tests/engine/test_node_tests.py", "tests/importers/darknet/test_darknet_layers.py"]


@pytest.mark.slow
def test_workers_counts_are_summed() -> None:
    """Of several workers the summary says what it says of one process."""
    lines = []
    for options in (["-n", "0"], ["-n", "2", "--dist", "load"]):
        command = [sys.executable, "-m", "pytest", *COUNTED, "-k", "cast or convolutional", *options]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"EDGECV_ORACLE": "absent"}, capture_output=True, text=True
        )
        lines.append(
            [line for line in done.stdout.splitlines() if line.startswith(("ONNX node", "imported"))]
        )
        assert done.returncode == 0, done.stdout
        assert lines[-1][-1] == done.stdout.splitlines()[-2], "right above the closing line"
    assert lines[0] == lines[1]
    assert len(lines[0]) == 2

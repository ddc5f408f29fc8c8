"""Figures of the README are those of benchmarks/results."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.places import ROOT


def test_latencies_of_the_readme() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tables.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") > 2
    assert done.stdout in (ROOT / "README.md").read_text()

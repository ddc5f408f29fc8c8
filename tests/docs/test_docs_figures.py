"""Figures of the documentation are those of benchmarks/results."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.places import ROOT


@pytest.mark.parametrize(("table", "page"), [("peers", "README.md"), ("engine", "docs/benchmarks.md")])
def test_latencies(table: str, page: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tables.py", table],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") > 2
    assert done.stdout in (ROOT / page).read_text()

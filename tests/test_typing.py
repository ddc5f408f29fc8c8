"""What a type checker sees of the public API."""

from __future__ import annotations

from pathlib import Path

import pytest

SEEN = """
from edgecv import load

reveal_type(load("net.onnx", task="detect"))
reveal_type(load("net.onnx", task="classify", top=3))
reveal_type(load("net.onnx"))
"""


@pytest.mark.slow
def test_load_is_typed_by_its_task(tmp_path: Path) -> None:
    checker = pytest.importorskip("mypy.api", reason="the type checker comes with the extra dev")
    (tmp_path / "seen.py").write_text(SEEN)
    options = ["--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    told, problems, _ = checker.run([*options, str(tmp_path / "seen.py")])
    assert problems == ""
    lines = [line.partition("seen.py:")[2] for line in told.splitlines()]
    revealed = [line.rpartition("Revealed type is ")[2] for line in lines if "Revealed type" in line]
    assert revealed == [
        '"edgecv.pipelines.base.Pipeline[edgecv.types.Detections]"',
        '"edgecv.pipelines.base.Pipeline[edgecv.types.Classification]"',
        '"edgecv.pipelines.base.Pipeline[Any]"',
    ]
    assert not [line for line in lines if "error" in line]

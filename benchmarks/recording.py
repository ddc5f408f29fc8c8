"""How benchmarks record what they measured: with the machine, the command and the versions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgecv import machine

RESULTS = Path(__file__).parent / "results"


def record(name: str, result: dict[str, Any], out: Path | None = None) -> Path:
    """Write results/<name>.json, or `out`. result: plain types. Returns the path."""
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    report = {"command": command, "machine": machine.identity(), **result}
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path

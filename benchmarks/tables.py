"""The README's table of latencies, in Markdown, from benchmarks/results/engine.json.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BACKENDS = {"simd": "`simd`", "onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}


def latency_table(record: dict[str, Any]) -> str:
    """Milliseconds of the network alone, minimum / median, and how many times longer others take."""
    heads = ["Model", "Threads", *BACKENDS.values()]
    lines = [heads, ["---"] * len(heads)]
    for found in record["models"]:
        times = {(row["backend"], row["threads"]): row for row in found["results"]}
        for threads in sorted({row["threads"] for row in found["results"]}):
            own = times["simd", threads]
            cells = [f"`{found['model']}`", str(threads)]
            for backend in BACKENDS:
                row = times[backend, threads]
                cell = f"{row['min_ms']:.2f} / {row['p50_ms']:.2f}"
                if backend != "simd":
                    ratios = [row[key] / own[key] for key in ("min_ms", "p50_ms")]
                    cell += f" ({ratios[0]:.2f} / {ratios[1]:.2f})"
                cells.append(cell)
            lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    print(latency_table(json.loads((RESULTS / "engine.json").read_text())), end="")

"""Tables of the documentation, in Markdown, from benchmarks/results.

python benchmarks/tables.py peers|engine
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Of each table: the field that tells who ran, and who they are, edgecv's own first.
COLUMNS = {
    "engine": ("backend", {"simd": "`simd`", "onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}),
    "peers": (
        "engine",
        {
            "simd": "`simd`",
            "onnxruntime": "ONNX Runtime",
            "openvino": "OpenVINO",
            "ncnn": "ncnn",
            "mnn": "MNN",
            "opencv": "OpenCV 5",
        },
    ),
}


def latency_table(record: Mapping[str, Any], field: str, names: Mapping[str, str]) -> str:
    """Milliseconds of the network alone, minimum / median, and how many times longer others take."""
    heads = ["Model", "Threads", *names.values()]
    lines = [heads, ["---"] * len(heads)]
    for found in record["models"]:
        rows = {(row[field], row["threads"]): row for row in found["results"]}
        for threads in sorted({row["threads"] for row in found["results"]}):
            of_each = [rows.get((name, threads), {}) for name in names]
            lines.append([f"`{found['model']}`", str(threads), *_cells(of_each)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    own = rows[0]
    cells = []
    for row in rows:
        if "min_ms" not in row:
            cells.append("-")
            continue
        cell = f"{row['min_ms']:.2f} / {row['p50_ms']:.2f}"
        if row is not own:
            cell += f" ({row['min_ms'] / own['min_ms']:.2f} / {row['p50_ms'] / own['p50_ms']:.2f})"
        cells.append(cell)
    return cells


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A table of the documentation.")
    parser.add_argument("name", choices=COLUMNS)
    wanted = parser.parse_args().name
    print(latency_table(json.loads((RESULTS / f"{wanted}.json").read_text()), *COLUMNS[wanted]), end="")

"""What the numbers of imported networks were compared with, counted from the tests that ran.

A test that compares them records the property TRUTH when it begins and DEVIATION when it ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

TRUTH = "truth"
DEVIATION = "deviation"
OPENCV = "opencv"
NUMPY = "numpy"

_NAMES = {OPENCV: "OpenCV 4", NUMPY: "the NumPy reference"}


def summary(stats: Mapping[str, Iterable[Any]]) -> str:
    """One line about the reports of a run by outcome; "" where none of them compared numbers."""
    found: dict[str, list[float]] = {truth: [] for truth in _NAMES}
    lacking: Counter[str] = Counter()
    for outcome, reports in stats.items():
        for report in reports:
            noted = dict(getattr(report, "user_properties", ()))
            if TRUTH not in noted:
                continue
            if outcome == "passed":
                found[noted[TRUTH]].append(noted[DEVIATION])
            elif outcome == "skipped":
                lacking[report.longrepr[2].removeprefix("Skipped: ")] += 1
            elif outcome in ("failed", "error"):
                lacking["failed"] += 1
    if not any(found.values()) and not lacking:
        return ""
    parts = [
        f"{len(deviations)} compared with {_NAMES[truth]}"
        + (f" (worst {max(deviations):.1e} of the largest)" if deviations else "")
        for truth, deviations in found.items()
    ]
    reasons = "; ".join(f"{count} {reason}" for reason, count in lacking.most_common())
    parts.append(f"{lacking.total()} not compared" + (f" ({reasons})" if reasons else ""))
    return f"imported structures and models: {', '.join(parts)}"

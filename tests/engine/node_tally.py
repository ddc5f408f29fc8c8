"""What the tests of ONNX's own cases have run, counted from their reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# Properties of a test: how many of its cases ran, right and wrong; and how many did not, by reason.
RAN = "node-tests-ran"
OUTSIDE = "node-tests-outside"


def summary(stats: Mapping[str, Iterable[Any]]) -> str:
    """One line about the reports of a run by outcome; "" where none of them ran such cases."""
    ran: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for reports in stats.values():
        for report in reports:
            # Each phase of a test carries the properties of all.
            if getattr(report, "when", None) == "call":
                noted = dict(report.user_properties)
                ran.update(noted.get(RAN, {}))
                outside.update(noted.get(OUTSIDE, {}))
    if not ran:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in outside.most_common())
    return (
        f"ONNX node tests: {ran.total()} ran, {ran['right']} right; "
        f"{outside.total()} outside the claimed set: {reasons or 'none'}"
    )

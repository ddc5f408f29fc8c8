"""What the tests of ONNX's own cases have run, in one line of the summary."""

from __future__ import annotations

from collections import Counter

import pytest

# Properties of a test: how many of its cases ran, right and wrong; and how many did not, by reason.
RAN = "node-tests-ran"
OUTSIDE = "node-tests-outside"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            # Each phase of a test carries the properties of all.
            if getattr(report, "when", None) == "call":
                noted = dict(report.user_properties)
                ran.update(noted.get(RAN, {}))
                outside.update(noted.get(OUTSIDE, {}))
    if ran:
        reasons = ", ".join(f"{count} {reason}" for reason, count in outside.most_common())
        terminalreporter.write_line(
            f"ONNX node tests: {ran.total()} ran, {ran['right']} right; "
            f"{outside.total()} outside the claimed set: {reasons or 'none'}"
        )

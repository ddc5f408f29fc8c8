"""What the tests of ONNX's own cases have run, in one line of the summary."""

from __future__ import annotations

from collections import Counter

import pytest

RAN = pytest.StashKey[Counter[str]]()
OUTSIDE = pytest.StashKey[Counter[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[RAN] = Counter()
    config.stash[OUTSIDE] = Counter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran, outside = config.stash.get(RAN, Counter()), config.stash.get(OUTSIDE, Counter())
    if ran:
        reasons = ", ".join(f"{count} {reason}" for reason, count in outside.most_common())
        terminalreporter.write_line(
            f"ONNX node tests: {ran.total()} ran, {ran['right']} right; "
            f"{outside.total()} outside the claimed set: {reasons or 'none'}"
        )

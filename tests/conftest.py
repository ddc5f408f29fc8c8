"""Fixtures of the whole suite."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from edgecv import machine
from tests.engine import node_tally
from tests.oracle import Oracle, interpreter, tally

ROOT = Path(__file__).parent.parent
# Of a large machine: each worker imports everything, and the longest file alone takes more than a minute.
MAX_WORKERS = 8
LONGEST = ROOT / "tests" / "test_docs.py"

# Before anything is collected: no test, and no process that one starts, reads or writes the user's cache.
_CACHES = Path(tempfile.mkdtemp(prefix="edgecv-tests-"))
_numbers = itertools.count()
os.environ["EDGECV_CACHE"] = str(_CACHES / "session")
os.environ.pop("EDGECV_CACHE_BYTES", None)
# Two processes a network would be most of the time that the suite takes; the tests of checks switch them on.
os.environ["EDGECV_CHECK"] = "0"

# A runner that starts in the background hands down an ignored Ctrl-C, which the tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples are drawn the same way on every run; an emulated machine takes fewer of them.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile(
    "emulated",
    deadline=None,
    derandomize=True,
    max_examples=8,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("EDGECV_TEST_PROFILE", "default"))


def shared_folder() -> Path | None:
    """Third-party models and data, where a development machine has them beside the checkout."""
    folder = Path(os.environ.get("EDGECV_SHARED", ROOT.parent / "shared"))
    return folder if folder.is_dir() else None


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """A path among the third-party models and data; skips the test where it is absent."""

    def path(relative: str) -> Path:
        folder = shared_folder()
        if folder is None or not (folder / relative).exists():
            pytest.skip(f"third-party file {relative} is not here (EDGECV_SHARED)")
        return folder / relative

    return path


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """OpenCV 4, one process of it for all tests; skips the test where it is absent."""
    python = interpreter()
    if python is None:
        pytest.skip("OpenCV 4 is not here: run `make oracle`, or name a Python that has it in EDGECV_ORACLE")
    process = Oracle(python, tmp_path_factory.mktemp("oracle"))
    yield process
    process.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: a worker for each processor that this process may use; with one, none."""
    count = min(machine.cpu_budget(), MAX_WORKERS)
    return count if count > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker of pytest-xdist takes the longest file first, so that none is left with it in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path != LONGEST)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """Right above pytest's closing line. Workers of pytest-xdist send their reports with these properties."""
    yield
    for line in (node_tally.summary(terminalreporter.stats), tally.summary(terminalreporter.stats)):
        if line:
            terminalreporter.write_line(line)


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test finds what another one put into the cache, or models by the user's search path."""
    for name in ("EDGECV_ISA", "EDGECV_MODELS", "EDGECV_TRACEBACK"):
        if name == "EDGECV_ISA" and name in os.environ:
            continue  # the whole suite may be run under one forced ISA
        monkeypatch.delenv(name, raising=False)
    folder = _CACHES / str(next(_numbers))
    monkeypatch.setenv("EDGECV_CACHE", str(folder))
    yield
    # What is compiled of full-size networks would add up.
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def third_party_models(shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """EDGECV_MODELS at the third-party models; skips where they are absent."""
    folder = shared("models")
    monkeypatch.setenv("EDGECV_MODELS", str(folder))
    return folder

"""Real files with flipped bytes and cut short: read, or refused by name, in bounded memory and time."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import ModelFileError
from edgecv.importers import caffe, darknet
from tests.importers.conformance import REAL_MODELS

# What a read may take beside copies of the file; and when one counts as hanging, far over what any takes.
MEMORY = 128 << 20
SECONDS = 60.0
ROUNDS = 10
STATUS = Path("/proc/self/status")


@contextmanager
def bounded(memory: int) -> Iterator[None]:
    """Raise MemoryError where this process would grow by more bytes, TimeoutError after SECONDS."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"over {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    size = next(int(line.split()[1]) << 10 for line in STATUS.read_text().splitlines() if "VmSize" in line)
    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def attempt(structure: bytes, weights: bytes, paths: tuple[Path, Path]) -> bool:
    """Whether the files are read; anything but an error that names one of them is a failure."""
    for path, data in zip(paths, (structure, weights), strict=True):
        path.write_bytes(data)
    reader = darknet if paths[0].suffix == ".cfg" else caffe
    try:
        with bounded(6 * len(weights) + MEMORY):
            reader.read(*paths)
    except ModelFileError as error:
        message = str(error)
        assert any(str(path) in message for path in paths)
        assert "\n" not in message
        assert len(message) < 2000
        return False
    return True


@pytest.fixture(params=REAL_MODELS)
def files(request: pytest.FixtureRequest, shared: Callable[[str], Path], tmp_path: Path) -> Any:
    """Bytes of a structure and of its weights, and where damaged ones of their kind may lie."""
    if not STATUS.exists():
        pytest.skip("the size of this process is read from /proc")
    given = [shared(f"models/{path}") for path in REAL_MODELS[request.param]]
    structure, weights = (path.read_bytes() for path in given)
    paths = (tmp_path / f"net{given[0].suffix}", tmp_path / f"net{given[1].suffix}")
    assert attempt(structure, weights, paths)
    return structure, weights, paths


def flipped(data: bytes, places: int | NDArray[Any], random: np.random.Generator) -> bytes:
    """The data with another byte at three of the places; a number: of so many from the first."""
    changed = bytearray(data)
    for place in random.choice(places, 3):
        changed[place] ^= int(random.integers(1, 256))
    return bytes(changed)


def test_flipped_bytes_of_the_structure(files: Any) -> None:
    structure, weights, paths = files
    random = np.random.default_rng(0)
    read = sum(attempt(flipped(structure, len(structure), random), weights, paths) for _ in range(ROUNDS))
    assert read < ROUNDS


def test_flipped_bytes_of_the_weights(files: Any) -> None:
    """At the beginning, and where a layer of a caffemodel begins: elsewhere they are numbers."""
    structure, weights, paths = files
    random = np.random.default_rng(1)
    starts = [0, *(match.start() for match in re.finditer(rb"\xa2\x06", weights[:-64]))][:200]
    for _ in range(ROUNDS):
        attempt(structure, flipped(weights, random.choice(starts) + np.arange(24), random), paths)


def test_truncated_structure(files: Any) -> None:
    """What is left is a network of its own only where a layer ends."""
    structure, weights, paths = files
    cuts = np.linspace(0, len(structure) - 2, ROUNDS).astype(int)
    read = [attempt(structure[:cut], weights, paths) for cut in cuts]
    assert not read[0]


def test_truncated_weights(files: Any) -> None:
    structure, weights, paths = files
    for cut in np.linspace(0, len(weights) - 1, ROUNDS).astype(int):
        assert not attempt(structure, weights[:cut], paths)


def test_a_file_of_another_kind(files: Any) -> None:
    structure, weights, paths = files
    assert not attempt(weights[:100_000], weights, paths)
    assert not attempt(structure, structure, paths)

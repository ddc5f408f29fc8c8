"""Nothing about time fails open: on every backend, of one frame and of several, of every pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.backends import BACKENDS
from edgecv.errors import DeadlineError, InputError
from edgecv.pipelines.base import Pipeline
from tests.model_files import CLASSIFIER_CFG, write_darknet
from tests.networks import photo

FRAME = photo()
SECOND = 10**9


@pytest.fixture(scope="module", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    reason = BACKENDS[request.param].unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


@pytest.fixture(scope="module", params=["detect", "classify"])
def pipeline(request: pytest.FixtureRequest, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("net")
    cfg = [CLASSIFIER_CFG] if request.param == "classify" else []
    with edgecv.load(write_darknet(folder, "net", *cfg), backend=backend, threads=1, cache=False) as made:
        yield made


def now() -> int:
    return time.monotonic_ns()


Call = Callable[[Pipeline[Any]], Any]
CLOCK = r"captured_ns: expected a time\.monotonic_ns\(\) that has been"
WHOLE = "expected whole nanoseconds of time.monotonic_ns"
REFUSED: dict[str, tuple[Call, type[Exception], str]] = {
    "capture by the wall clock": (lambda p: p(FRAME, captured_ns=time.time_ns()), InputError, CLOCK),
    "capture by the wall clock, long ago": (
        lambda p: p(FRAME, captured_ns=time.time_ns() - 10 * SECOND),
        InputError,
        r"time\.time_ns\(\) and stamps of other machines are other clocks",
    ),
    "capture in a second": (lambda p: p(FRAME, now() + SECOND), InputError, CLOCK),
    "capture of numpy in a second": (lambda p: p(FRAME, np.int64(now() + SECOND)), InputError, CLOCK),
    "capture of a batch": (
        lambda p: p.batch([FRAME] * 2, captured_ns=[now(), now() + SECOND]),
        InputError,
        CLOCK,
    ),
    "captures for other frames": (
        lambda p: p.batch([FRAME] * 2, captured_ns=[now()]),
        InputError,
        "captured_ns: expected 2 values, got 1",
    ),
    "one capture for a batch": (
        lambda p: p.batch([FRAME] * 2, captured_ns=1),
        InputError,
        "captured_ns: expected 2 values, one for each frame, got 1",
    ),
    "a capture of float": (lambda p: p(FRAME, captured_ns=1e9), InputError, WHOLE),
    "a deadline of float": (lambda p: p(FRAME, deadline_ns=float(now() + SECOND)), InputError, WHOLE),
    "a past deadline of float": (lambda p: p(FRAME, deadline_ns=5.0), InputError, WHOLE),
    "a negative capture": (lambda p: p(FRAME, captured_ns=-1), InputError, f"captured_ns: {WHOLE}"),
    "a capture in seconds": (lambda p: p(FRAME, captured_ns=time.monotonic()), InputError, WHOLE),
    "a capture in words": (lambda p: p(FRAME, captured_ns="5"), InputError, WHOLE),
    "a negative deadline": (lambda p: p(FRAME, deadline_ns=-1), InputError, f"deadline_ns: {WHOLE}"),
    "a deadline of None": (lambda p: p(FRAME, deadline_ns=None), InputError, WHOLE),
    "a deadline that is true": (lambda p: p(FRAME, deadline_ns=True), InputError, WHOLE),
    "a deadline that is no number": (lambda p: p(FRAME, deadline_ns=float("nan")), InputError, WHOLE),
    "an endless deadline": (lambda p: p(FRAME, deadline_ns=float("inf")), InputError, WHOLE),
    "half a nanosecond": (lambda p: p(FRAME, deadline_ns=now() + 0.5), InputError, WHOLE),
    "a deadline by the wall clock": (
        lambda p: p(FRAME, deadline_ns=time.time_ns() + SECOND),
        InputError,
        r"time\.time_ns\(\) is another clock",
    ),
    "a deadline that is past": (lambda p: p(FRAME, deadline_ns=now() - SECOND), DeadlineError, "not begun"),
    "a deadline that is past, of numpy": (
        lambda p: p(FRAME, deadline_ns=np.uint64(now() - SECOND)),
        DeadlineError,
        "not begun",
    ),
    "a deadline of a batch": (lambda p: p.batch([FRAME] * 2, None, -5), InputError, WHOLE),
    "a deadline of a batch that is past": (
        lambda p: p.batch([FRAME] * 2, deadline_ns=now() - SECOND),
        DeadlineError,
        "not begun",
    ),
    "a deadline of no frames": (lambda p: p.batch([], deadline_ns=-5), InputError, WHOLE),
    "an attribute": (
        lambda p: setattr(p, "deadline_ns", now()),
        AttributeError,
        r"deadline_ns: no attribute of a (Detector|Classifier).*of one call: \(frame, deadline_ns=…\)",
    ),
    "another": (lambda p: setattr(p, "deadline", now()), AttributeError, "it is of one call"),
    "of its capture": (lambda p: setattr(p, "captured_ns", 1), AttributeError, r"\(frame, captured_ns=…\)"),
    "misspelled": (lambda p: setattr(p, "setings", 1), AttributeError, "did you mean settings"),
    "private": (lambda p: setattr(p, "_deadline_ns", 1), AttributeError, "no attribute"),
    "of its session": (
        lambda p: setattr(next(iter(p.sessions.values())), "deadline_ns", now() - SECOND),
        AttributeError,
        r"of one call: run\(inputs, deadline_ns=…\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_fail_open(
    pipeline: Pipeline[Any], call: Call, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(pipeline)


TAKEN: dict[str, Call] = {
    "nothing": lambda p: p(FRAME),
    "a capture": lambda p: p(FRAME, now()),
    "a capture that is long ago": lambda p: p(FRAME, 1),
    "a capture of numpy": lambda p: p(FRAME, np.int64(now())),
    "no deadline": lambda p: p(FRAME, now(), 0),
    "a deadline": lambda p: p(FRAME, now(), now() + 60 * SECOND),
    "a deadline of a batch": lambda p: p.batch([FRAME] * 2, [now(), None], now() + 60 * SECOND)[0],
}


@pytest.mark.parametrize("call", TAKEN.values(), ids=TAKEN)
def test_ages_are_never_negative(pipeline: Pipeline[Any], call: Call) -> None:
    age = call(pipeline).age_ms
    assert age is None or age >= 0

"""Short native calls keep the GIL: to have it back from a thread that computes takes a switch interval."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import edgecv
from edgecv import boxes, image, rois

KEPT_BYTES = 16 << 20
CALLS = 50
# Of a call that gives the GIL up each time: it is taken before the other thread has woken up.
MOST_CALLS = 100 * CALLS


@contextmanager
def another_thread() -> Iterator[Callable[[], int]]:
    """How often a thread had the GIL that takes it only where this one gives it up."""
    interval = sys.getswitchinterval()
    turns, is_over = [0], threading.Event()

    def take_turns() -> None:
        while not is_over.is_set():
            turns[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=take_turns)
    # Longer than any test: nobody has to give it up.
    sys.setswitchinterval(1000)
    try:
        thread.start()
        while not turns[0]:
            time.sleep(0.001)
        yield lambda: turns[0]
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(interval)


def to_blob(height: int, width: int) -> Callable[[], object]:
    preprocess = image.Preprocessor(image.BlobSpec((320, 320)))
    frame, blob = np.zeros((height, width, 3), np.uint8), np.empty((3, 320, 320), np.float32)
    return lambda: preprocess(frame, blob)


def confidence(count: int) -> boxes.FloatArray:
    return np.linspace(0, 1, count, dtype=np.float32)


def upright(count: int) -> boxes.FloatArray:
    return np.tile(np.array([[0, 0, 9, 9]], np.float32), (count, 1))


def zeros(*shape: int) -> boxes.FloatArray:
    return np.zeros(shape, np.float32)


def oriented(count: int) -> boxes.FloatArray:
    return np.full((count, 5), 3, np.float32)


# NumPy gives the GIL up where it makes and fills arrays: they are there before.
KEPT: dict[str, Callable[[], object]] = {
    "to_blob": to_blob(1080, 1920),
    "select": partial(boxes.select, zeros(8400, 80), 0.5),
    "nms": partial(boxes.nms, upright(1000), confidence(1000), max_det=300),
    "nms_rotated": partial(boxes.nms_rotated, oriented(100), confidence(100), max_det=50),
    "soft_nms": partial(boxes.soft_nms, upright(100), confidence(100)),
    "iou": partial(boxes.iou, upright(100), upright(100)),
    "iou_rotated": partial(boxes.iou_rotated, oriented(50), oriented(50)),
    "cxcywh_to_xyxy": partial(boxes.cxcywh_to_xyxy, upright(8400)),
    "has_nan": partial(boxes.has_nan, zeros(84 * 8400)),
    "pool": partial(rois.pool, zeros(64, 20, 20), upright(50)),
    "propose": partial(
        rois.propose, zeros(9, 10, 10), zeros(36, 10, 10), upright(9), image_xyxy=(0.0, 0.0, 320.0, 320.0)
    ),
}
LONG = zeros(KEPT_BYTES // 4 + 1)
GIVEN_UP: dict[str, Callable[[], object]] = {
    "to_blob": to_blob(2160, 3840),
    "select": partial(boxes.select, LONG[None], 0.5),
    "nms": partial(boxes.nms, upright(4000), confidence(4000), max_det=300),
    "nms_rotated": partial(boxes.nms_rotated, oriented(1000), confidence(1000), max_det=50),
    "has_nan": partial(boxes.has_nan, LONG),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_short_call_keeps_the_gil(name: str) -> None:
    call = KEPT[name]
    with another_thread() as turns:
        before = turns()
        for _ in range(CALLS):
            call()
        assert turns() == before


@pytest.mark.parametrize("name", GIVEN_UP)
def test_a_long_call_gives_it_up(name: str) -> None:
    call = GIVEN_UP[name]
    with another_thread() as turns:
        before = turns()
        assert any(call() is not None and turns() > before for _ in range(MOST_CALLS))


def test_a_run_gives_it_up_and_what_is_before_it_does_not() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    with edgecv.load("parts-nano", backend="simd", threads=1) as detector, another_thread() as turns:
        before = turns()
        for _ in range(CALLS):
            detector.preprocess(frame)  # type: ignore[attr-defined]
        assert turns() == before
        assert any(detector(frame) is not None and turns() > before for _ in range(MOST_CALLS))

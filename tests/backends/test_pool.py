"""Pools that sessions of several networks share: they take turns, at most until their deadlines."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.backends import Session
from edgecv.errors import BackendError, CancelledError, DeadlineError, InputError, SessionBusyError
from tests.networks import photo, tiny_classifier, tiny_yolov8


def opened(pool: edgecv.Pool, **options: Any) -> Session[Any]:
    return edgecv.compile(tiny_yolov8(), backend="simd", pool=pool, **options)


BLOB = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}


@pytest.mark.parametrize("threads", [1, 2])
def test_networks_that_share_a_pool_give_what_they_give_alone(threads: int) -> None:
    frame = photo(120, 80)
    with edgecv.compile(tiny_yolov8(), backend="simd", threads=1) as alone:
        expected = alone.run(BLOB)["output0"]
    with (
        edgecv.Pool(threads) as pool,
        opened(pool) as first,
        edgecv.compile(tiny_classifier(), backend="simd", pool=pool) as second,
    ):
        assert (first.placement.threads, second.placement.threads) == (threads, threads)
        blob = {"data": np.zeros((1, 3, 32, 32), np.float32)}
        right = second.run(blob)["prob"]

        def detect(_: int) -> bool:
            return bool(np.array_equal(first.run(BLOB)["output0"], expected))

        def classify(_: int) -> bool:
            return bool(np.array_equal(second.run(blob)["prob"], right))

        with ThreadPoolExecutor(2) as several:
            one = several.submit(lambda: all(map(detect, range(200))))
            other = several.submit(lambda: all(map(classify, range(200))))
            assert one.result()
            assert other.result()
    assert frame.shape == (80, 120, 3)


def test_a_turn_is_waited_for_until_the_deadline() -> None:
    with edgecv.Pool(1) as pool, opened(pool) as session:
        taken, done = threading.Event(), threading.Event()

        def hold() -> None:
            with pool.turn():
                taken.set()
                done.wait(60)

        threading.Thread(target=hold).start()
        taken.wait(60)
        started = time.monotonic()
        with pytest.raises(DeadlineError, match="another run had its threads until the deadline"):
            session.run(BLOB, deadline_ns=time.monotonic_ns() + 100_000_000)
        assert time.monotonic() - started >= 0.1
        threading.Timer(0.1, done.set).start()
        session.run(BLOB, deadline_ns=time.monotonic_ns() + 60_000_000_000)


def test_a_run_that_waits_for_its_turn_can_be_cancelled() -> None:
    with edgecv.Pool(1) as pool, opened(pool) as session, pool.turn():
        errors: list[BaseException] = []

        def run() -> None:
            try:
                session.run(BLOB)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while not session._is_running:
            time.sleep(0.001)
        session.cancel()
        thread.join(60)
    assert [type(error) for error in errors] == [CancelledError]


def test_a_pool_that_this_thread_runs_on_does_not_wait_for_itself() -> None:
    with edgecv.Pool(1) as pool, pool.turn(), pytest.raises(SessionBusyError, match="this very thread"):
        pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_has_a_pool_that_nobody_holds() -> None:
    with edgecv.Pool(2) as pool, opened(pool) as session, pool.turn():
        child = os.fork()
        if not child:
            code = 1
            try:
                session.run(BLOB, deadline_ns=time.monotonic_ns() + 30_000_000_000)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_session_that_closes_leaves_the_pool_to_the_others() -> None:
    with edgecv.Pool(2) as pool:
        first, second = opened(pool), opened(pool)
        first.close()
        second.run(BLOB)
        clone = second.clone(pool)
        clone.run(BLOB)
        pool.close()
        with pytest.raises(BackendError, match="pool: it is closed"):
            second.run(BLOB)


def test_threads_and_pool_have_to_agree() -> None:
    with edgecv.Pool(2) as pool:
        with pytest.raises(InputError, match="threads: 3 was asked for, and the pool has 2"):
            opened(pool, threads=3)
        with opened(pool, threads=2) as session:
            assert session.placement.threads == 2
        with opened(pool) as session, session.clone() as own:
            assert own.placement == session.placement


def test_processors() -> None:
    cpu = min(os.sched_getaffinity(0))
    with edgecv.Pool(2, cpus=[cpu]) as pool, opened(pool) as session:
        assert (pool.threads, pool.cpus) == (2, (cpu,))
        session.run(BLOB)
    with pytest.raises(InputError, match="cpus: expected at least one"):
        edgecv.Pool(2, cpus=[])


def test_detectors_of_one_pool_and_their_clones(tmp_path: Any) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_yolov8())
    frame = photo(120, 80)
    with (
        edgecv.Pool(2) as pool,
        edgecv.load(tmp_path / "tiny.onnx", pool=pool, conf=0.01) as detector,
        detector.clone() as apart,
        detector.clone(pool) as beside,
    ):
        found = detector(frame)
        assert len(found) > 0
        assert apart(frame) == found == beside(frame)
        assert found.placement is not None
        assert found.placement.threads == 2

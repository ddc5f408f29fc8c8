"""The percentiles of a benchmark."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.bench.statistics import MIN_SAMPLES_P99, MIN_SAMPLES_P99_9, percentile, summarize

FINITE = st.floats(0, 1e6, allow_subnormal=False)


@pytest.mark.parametrize(
    ("n", "percent", "rank"),
    [
        pytest.param(1, 50, 1, id="one sample is every percentile"),
        pytest.param(1, 99.9, 1, id="one sample, tail"),
        pytest.param(2, 50, 1, id="lower of two"),
        pytest.param(10, 90, 9, id="exact rank"),
        pytest.param(11, 90, 10, id="rank is rounded up"),
        pytest.param(100, 99, 99, id="p99 of 100"),
        pytest.param(1000, 99.9, 999, id="p99.9 of 1000, exact in decimal only"),
        pytest.param(2000, 99.9, 1998, id="two samples beyond"),
        pytest.param(100, 100, 100, id="p100 is the largest"),
        pytest.param(100, 0.1, 1, id="below the first rank"),
    ],
)
def test_percentile_is_the_nearest_rank(n: int, percent: float, rank: int) -> None:
    assert percentile(range(1, n + 1), percent) == rank


@given(st.lists(FINITE, min_size=1, max_size=300), st.integers(1, 1000))
def test_percentile_equals_numpy(samples: list[float], tenths: int) -> None:
    expected = np.percentile(samples, tenths / 10, method="inverted_cdf")
    found = percentile(sorted(samples), tenths / 10)
    # NumPy computes the rank in binary: it may be one off where it is a whole number.
    ordered = sorted(samples)
    near = {ordered[min(max(ordered.index(expected) + step, 0), len(ordered) - 1)] for step in (-1, 0, 1)}
    assert found in near
    assert sum(s <= found for s in samples) * 1000 >= tenths * len(samples), "enough samples lie at or below"
    assert sum(s < found for s in samples) * 1000 < tenths * len(samples), "and no smaller one does"


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_summary_is_in_order(samples: list[float]) -> None:
    summary = summarize(samples)
    assert summary.n == len(samples)
    assert summary.min == min(samples)
    assert summary.max == max(samples)
    assert summary.min <= summary.p50 <= summary.p90 <= summary.max
    assert summary.mean == pytest.approx(math.fsum(samples) / len(samples))
    if summary.p99 is not None:
        assert summary.p90 <= summary.p99 <= summary.max
    assert {summary.p50, summary.p90, summary.p99} - {None} <= set(samples), "every percentile was measured"
    assert summarize(samples[::-1]) == summary


@pytest.mark.parametrize(
    ("figure", "least", "expected"), [("p99", MIN_SAMPLES_P99, 99), ("p99_9", MIN_SAMPLES_P99_9, 1998)]
)
def test_a_tail_needs_samples(figure: str, least: int, expected: float) -> None:
    samples = [float(i) for i in range(1, least + 1)]
    assert getattr(summarize(samples[1:]), figure) is None
    assert getattr(summarize(samples), figure) == expected

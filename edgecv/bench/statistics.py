"""What a set of latencies comes to: the few numbers that a control loop is built on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

# Below it fewer than two samples lie beyond the percentile (of p99: than one), and an outlier would be the
# result.
MIN_SAMPLES_P99 = 100
MIN_SAMPLES_P99_9 = 2000

PERCENTILE_DEFINITION = (
    "nearest rank: the smallest sample that at least p percent of all samples do not exceed; "
    f"p99 is null below {MIN_SAMPLES_P99} samples, p99.9 below {MIN_SAMPLES_P99_9}"
)


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Latency over n samples, milliseconds. p99 is None below 100 samples; p99_9, "p99.9" in JSON, below
    2,000.
    """

    n: int
    min: float
    mean: float
    p50: float
    p90: float
    p99: float | None
    p99_9: float | None = msgspec.field(name="p99.9")
    max: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a sample that was measured, never a value between two.

    ordered: n >= 1 samples, rising. percent: over 0, up to 100; its tenths count, no finer part.
    """
    # Whole numbers: 0.999 * 2000 is not 1998 in binary, and a rank must not depend on that.
    tenths = round(percent * 10)
    rank = -(-len(ordered) * tenths // 1000)
    return ordered[max(rank, 1) - 1]


def summarize(samples_ms: Sequence[float]) -> Summary:
    """samples_ms: at least one, in any order."""
    ordered = sorted(samples_ms)
    n = len(ordered)
    return Summary(
        n=n,
        min=ordered[0],
        mean=math.fsum(ordered) / n,
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99) if n >= MIN_SAMPLES_P99 else None,
        p99_9=percentile(ordered, 99.9) if n >= MIN_SAMPLES_P99_9 else None,
        max=ordered[-1],
    )

"""How much one measurement differs from another, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

Verdict = Literal["faster", "slower", "no difference", "too few turns"]

# Of fewer turns resampling knows too little: of five the widest interval is missed once in 16 times.
MIN_TURNS = 5
RESAMPLES = 10_000
CONFIDENCE = 0.95


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Ratio(_Struct, frozen=True, kw_only=True):
    """The later figure over the earlier one: below 1 is faster. low, high: the interval that holds it, None
    of too few turns. verdict: "faster" or "slower" only where the interval leaves 1 out.
    """

    ratio: float
    low: float | None
    high: float | None
    verdict: Verdict


class Compared(_Struct, frozen=True, kw_only=True):
    """A contender that both runs have, or why it cannot be compared.

    p50: of the turns' medians; min: of the turns' least; each by the median of the turns.
    """

    model: str
    backend: str | None
    threads: int | None
    batch: int
    p50: Ratio | None = None
    min: Ratio | None = None
    error: str | None = None


class Comparison(_Struct, frozen=True, kw_only=True):
    """This run against an earlier one. before: its file. noise_p50, noise_min: by which the intervals are
    widened, shares of 1: how far equal measurements lay apart in either run. differences: of the conditions,
    a line each.
    """

    before: str
    confidence: float = CONFIDENCE
    noise_p50: float
    noise_min: float
    differences: tuple[str, ...]
    contenders: tuple[Compared, ...]


def ratio(before: Sequence[float], after: Sequence[float], noise: float = 0.0) -> Ratio:
    """The median of `after` over the median of `before`, with the interval that holds it.

    before, after: a positive figure of each turn. noise: a share of 1 by which equal runs differ. The
    interval is the percentile bootstrap's (Efron 1979) over turns, which are drawn anew on both sides, from
    the same seed each time; noise then widens it on both sides, since turns of one process do not show how
    processes differ.
    """
    found = float(np.median(after) / np.median(before))
    if min(len(before), len(after)) < MIN_TURNS:
        return Ratio(ratio=found, low=None, high=None, verdict="too few turns")
    rng = np.random.default_rng(0)
    drawn = [_medians(rng, np.asarray(turns, np.float64)) for turns in (before, after)]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn[1] / drawn[0], (tail, 100 - tail))
    low, high = float(low) / (1 + noise), float(high) * (1 + noise)
    verdict: Verdict = "faster" if high < 1 else "slower" if low > 1 else "no difference"
    return Ratio(ratio=found, low=low, high=high, verdict=verdict)


def _medians(rng: np.random.Generator, turns: np.ndarray) -> np.ndarray:
    drawn = turns[rng.integers(0, len(turns), (RESAMPLES, len(turns)))]
    return np.asarray(np.median(drawn, axis=1))

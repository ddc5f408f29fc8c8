"""Which points no other point beats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from edgecv.errors import InputError

Best = Literal["min", "max"]


def pareto_front(points: Sequence[tuple[float, float]], *, x: Best, y: Best) -> list[int]:
    """Indices of the points that no other point beats, from the lowest x to the highest.

    points: (x, y), without NaN. x, y: whether the least or the most of it is best. A point beats another
    where it is at least as good in both and better in one; equal points do not beat each other, and stand
    in the order in which they were given. Raises InputError.
    """
    for name, best in (("x", x), ("y", y)):
        if best not in ("min", "max"):
            raise InputError(f"pareto_front: expected {name} min or max, got {best!r}")
    costs = [(px if x == "min" else -px, py if y == "min" else -py) for px, py in points]
    for i, cost in enumerate(costs):
        if any(map(math.isnan, cost)):
            raise InputError(f"pareto_front: expected numbers, got NaN in point {i}")
    kept: list[int] = []
    # In this order whatever beats a point stands before it, and the last one kept has the best y so far.
    for i in sorted(range(len(costs)), key=costs.__getitem__):
        if not kept or costs[i][1] < costs[kept[-1]][1] or costs[i] == costs[kept[-1]]:
            kept.append(i)
    return sorted(kept, key=lambda i: (points[i][0], i))


def staircase(front: Sequence[tuple[float, float]], *, x: Best) -> list[tuple[float, float]]:
    """The front's points with the corners between them: the best y that is reached at each x.

    front: points as `pareto_front` orders them. x: which end of its axis is best.
    """
    steps = list(front[:1])
    for before, after in itertools.pairwise(front):
        # Where the least x is best, a point's y is reached from its x on; otherwise up to its x.
        steps += [(after[0], before[1]) if x == "min" else (before[0], after[1]), after]
    return steps
